"""The BiLSTM against loops over time in numpy; parameter counts against the sums of the papers' tables."""

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model, num_parameters
from steps.nnet.precision import runs_in_bf16
from steps.nnet.settings import BiLSTM
from tests.nnet.networks.contract import check_contract, feats, small_model

SMALL = BiLSTM(width=5, dense_dims=(7, 6))


@pytest.mark.parametrize("settings", [SMALL, BiLSTM(width=3, dense_dims=(4,), dense_dropout=0.0)])
def test_the_contract_of_networks(settings):
    check_contract(settings, num_frames=23)


@pytest.mark.parametrize(("width", "total"), [(256, 6_486_528), (512, 13_572_608), (1024, 40_327_680)])
def test_parameters_with_the_5994_class_vectors_are_those_of_the_sheet(width, total):
    with torch.device("meta"):
        model = build_model(BiLSTM(width=width), 128)
    assert num_parameters(model) + 5994 * 512 == total
    assert (model.embedding_dim, model.classifier_dim) == (2 * width, 512)


@pytest.mark.parametrize(("width", "count"), [(256, 2_367_488), (512, 8_929_280), (1024, 34_635_776)])
def test_lstm_parameters_have_two_biases_a_gate(width, count):
    gates, directions = 4, 2
    of_layer = [directions * gates * width * (inputs + width + 2) for inputs in (128, 2 * width)]
    with torch.device("meta"):
        model = build_model(BiLSTM(width=width), 128)
    assert num_parameters(model.first) + num_parameters(model.second) == sum(of_layer) == count


def test_the_network_of_the_pairwise_kl_loss_has_a_second_bias_for_each_gate():
    with torch.device("meta"):
        model = build_model(BiLSTM(width=256, dense_dims=(1000, 500)), 128)
    output_layer = 500 * 100 + 100
    second_biases = 2 * 2 * 4 * 256  # layers, directions, gates, cells
    assert num_parameters(model) + output_layer - second_biases == 3_426_992


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def one_direction(x_TC, lstm, suffix):
    """Returns the states of one direction over the rows of x, gates in the order input, forget, cell, output."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w, u, b, c = (getattr(lstm, f"{name}_l0{suffix}").detach().numpy() for name in names)
    state, cell, states = np.zeros(u.shape[1]), np.zeros(u.shape[1]), []
    for x_C in x_TC:
        i, f, g, o = np.split(w @ x_C + b + u @ state + c, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        state = sigmoid(o) * np.tanh(cell)
        states.append(state)
    return np.stack(states)


def by_loops(model, x_TC):
    forward_TC = one_direction(x_TC, model.first, "")
    backward_TC = one_direction(x_TC[::-1], model.first, "_reverse")[::-1]
    y_TC = np.concatenate([forward_TC, backward_TC], axis=1)
    last = [one_direction(y_TC, model.second, "")[-1], one_direction(y_TC[::-1], model.second, "_reverse")[-1]]
    return np.concatenate(last)


def moved_from_zero(model):
    """Gives every bias another value, so that one that is left out or taken for another is seen."""
    for name, parameter in model.named_parameters():
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    return model


def test_embedding_and_classifier_input_are_those_of_loops_over_time():
    model = moved_from_zero(small_model(SMALL)).double()
    feats_BTF = feats(2, 11).double()
    with torch.no_grad():
        found_BD = model(feats_BTF)
        x_BD = model.classifier_input(found_BD).numpy()
    expected_BD = np.stack([by_loops(model, clip.numpy()) for clip in feats_BTF])
    np.testing.assert_allclose(found_BD.numpy(), expected_BD, rtol=1e-10)
    first, last = (model.dense[place] for place in (0, 2))
    for layer in (first, last):
        expected_BD = expected_BD @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(x_BD, expected_BD, rtol=1e-10)


def test_float32_and_padded_clips_give_what_loops_give():
    model = moved_from_zero(small_model(SMALL))
    feats_BTF, lengths_B = feats(3, 19), torch.tensor([8, 19, 3])
    with torch.no_grad():
        found_BD = model(feats_BTF, lengths_B).numpy()
    model.double()
    for found_D, clip, length in zip(found_BD, feats_BTF, lengths_B, strict=True):
        np.testing.assert_allclose(found_D, by_loops(model, clip[:length].double().numpy()), atol=1e-5)


def test_dropout_between_the_lstm_layers_hits_half_the_states_and_scales_the_rest():
    model = build_model(BiLSTM(width=40, dropout=0.5, dense_dims=(4,), dense_dropout=0.0), 20).train()
    seen = {}
    model.first.register_forward_hook(lambda module, inputs, output: seen.update(before=output[0]))
    model.second.register_forward_pre_hook(lambda module, inputs: seen.update(after=inputs[0]))
    with torch.no_grad():
        model(feats(8, 30))
    kept = seen["after"] != 0
    # 19,200 draws: the standard deviation of their share is 0.0036
    assert abs(float(kept.float().mean()) - 0.5) < 0.02
    torch.testing.assert_close(seen["after"][kept], 2 * seen["before"][kept])


def test_dropout_follows_the_global_generator_whose_state_checkpoints_hold():
    model = small_model(BiLSTM(width=5, dense_dims=(7, 6))).train()
    torch.manual_seed(3)
    one = model.classifier_input(model(feats(2, 9)))
    two = model.classifier_input(model(feats(2, 9)))
    torch.manual_seed(3)
    again = model.classifier_input(model(feats(2, 9)))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)


def test_initial_weights_are_those_of_keras():
    torch.manual_seed(0)
    model = build_model(BiLSTM(width=24, dense_dims=(50, 40)), 30)
    for suffix in ("_l0", "_l0_reverse"):
        hidden = getattr(model.second, f"weight_hh{suffix}").detach()
        torch.testing.assert_close(hidden.T @ hidden, torch.eye(24), rtol=0, atol=1e-5)
        inputs = getattr(model.second, f"weight_ih{suffix}").detach()
        limit = (6 / (48 + 4 * 24)) ** 0.5
        assert 0.97 * limit < inputs.abs().max() <= limit
        bias = getattr(model.second, f"bias_ih{suffix}") + getattr(model.second, f"bias_hh{suffix}")
        assert bias.tolist() == [0.0] * 24 + [1.0] * 24 + [0.0] * 48  # gates input, forget, cell, output
    limit = (6 / (50 + 40)) ** 0.5
    assert 0.97 * limit < model.dense[2].weight.abs().max() <= limit
    assert not model.dense[2].bias.any()


@pytest.mark.skipif(not runs_in_bf16(torch.device("cpu"), "lstm"), reason="this CPU has no LSTM in bfloat16")
def test_embeddings_are_float32_and_near_the_same_under_bfloat16_autocast():
    model = small_model(BiLSTM(width=32))
    feats_BTF = feats(3, 60)
    with torch.no_grad():
        full_BD = model(feats_BTF)
        with torch.autocast("cpu", torch.bfloat16):
            half_BD = model(feats_BTF)
    assert half_BD.dtype == torch.float32
    assert not torch.equal(half_BD, full_BD)
    assert torch.nn.functional.cosine_similarity(half_BD, full_BD).min() > 0.999


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "BiLSTM.width: expected numbers of at least 1"),
        ({"dense_dims": ()}, "BiLSTM.dense_dims: expected numbers of at least 1"),
        ({"dropout": 1.0}, "BiLSTM.dropout: expected 0 to below 1, found 1.0"),
        ({"dense_dims": (5,)}, "dense_dropout: has no effect"),
        ({"type": "lstm"}, "BiLSTM.type"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        BiLSTM(**values)
