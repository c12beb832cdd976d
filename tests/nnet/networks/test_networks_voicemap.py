"""voicemap against numpy: TensorFlow's padding, whitening of real samples only, and the counts of the sheet."""

import numpy as np
import pytest
import torch

from steps.nnet.models import build_head, build_model, num_parameters
from steps.nnet.settings import Softmax, Voicemap
from tests.nnet.networks.contract import check_contract, feats, small_model

RMS = 0.038021
SMALL = Voicemap(filters=3, kernel_size=8, pool_sizes=(3, 2, 2, 1), embedding_dim=5)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        Voicemap(filters=2, embedding_dim=4, whitening="batch", dropout=0.2),
        Voicemap(filters=2, kernel_size=5, pool_sizes=(2, 2, 2, 2), embedding_dim=4, whitening="none"),
    ],
)
def test_the_contract_of_networks(settings):
    check_contract(settings, num_bins=1, num_frames=250)


def test_parameters_are_those_of_the_sheet():
    with torch.device("meta"):
        encoder = build_model(Voicemap(), 1)
    classifier = build_head(Softmax(), encoder.classifier_dim, 1172)
    statistics = sum(t.numel() for name, t in encoder.named_buffers() if name.endswith(("running_mean", "running_var")))
    assert num_parameters(encoder) == 1_023_808
    assert num_parameters(encoder) + num_parameters(classifier) == 1_099_988
    assert statistics == 2_560
    assert encoder.min_frames == 32


def same(x_CT, weight_OCK, bias_O):
    """Convolution as TensorFlow's padding "same" has it: of an odd number of zeros the greater half stands at the right."""
    width = weight_OCK.shape[2]
    left = (width - 1) // 2
    padded = np.pad(x_CT, ((0, 0), (left, width - 1 - left)))
    return (
        np.stack([np.tensordot(weight_OCK, padded[:, t : t + width], 2) for t in range(x_CT.shape[1])], axis=1) + bias_O[:, None]
    )


def normed(x_CT, module):
    mean, var, weight, bias = (
        each.detach().numpy()[:, None] for each in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    return (x_CT - mean) / np.sqrt(var + 1e-3) * weight + bias


def by_hand(model, samples_W, pool_sizes):
    x = samples_W[None]
    for block, size in zip(model.blocks, pool_sizes, strict=True):
        x = normed(np.maximum(same(x, block.conv.weight.detach().numpy(), block.conv.bias.detach().numpy()), 0), block.norm)
        x = np.stack([x[:, t : t + size].max(1) for t in range(0, x.shape[1] - size + 1, size)], axis=1)
    return model.embedding.weight.detach().numpy() @ x.max(1) + model.embedding.bias.detach().numpy()


def biased(settings):
    model = small_model(settings, 1).double()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Linear):
            torch.nn.init.normal_(module.bias)
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.weight)
    return model


def test_embedding_is_that_of_numpy():
    model = biased(SMALL)
    samples_BTF = 0.1 * feats(3, 41, 1).double() + 0.05
    with torch.no_grad():
        found_BD = model(samples_BTF).numpy()
    for found_D, x_W in zip(found_BD, samples_BTF[:, :, 0].numpy(), strict=True):
        white_W = (x_W - x_W.mean()) * RMS / np.sqrt(np.mean(x_W**2))
        np.testing.assert_allclose(found_D, by_hand(model, white_W, (3, 2, 2, 1)), rtol=1e-9)


def test_an_even_kernel_sees_one_sample_more_at_the_right():
    model = build_model(Voicemap(filters=1, embedding_dim=1), 1)
    torch.nn.init.ones_(model.blocks[0].conv.weight)
    impulse_B1T = torch.zeros(1, 1, 100)
    impulse_B1T[0, 0, 50] = 1
    block = model.blocks[0]
    padded = torch.nn.functional.pad(impulse_B1T, block.padding)
    touched = torch.nonzero(block.conv(padded)[0, 0]).flatten()
    # output t sees the samples t - 15 to t + 16
    assert touched.tolist() == list(range(50 - 16, 50 + 15 + 1))


def white(whitening, samples_BTF, lengths_B=None, training=False):
    """Returns the network's whitened samples [B, W]."""
    model = small_model(Voicemap(filters=1, embedding_dim=1, whitening=whitening), 1)
    model.train(training)
    mask_BT = None if lengths_B is None else torch.arange(samples_BTF.shape[1]) < lengths_B[:, None]
    return model._whitened(samples_BTF.transpose(1, 2), mask_BT)[:, 0].numpy()


def test_whitening_measures_the_power_before_the_mean_is_taken_off():
    samples_BTF = torch.tensor([[1.0, 2.0, 4.0, 5.0], [0.1, 0.1, 0.1, 0.5]])[:, :, None]
    x = samples_BTF[:, :, 0].numpy()
    each = (x - x.mean(1, keepdims=True)) * RMS / np.sqrt((x**2).mean(1, keepdims=True))
    together = (x - x.mean(1, keepdims=True)) * RMS / np.sqrt((x**2).mean())
    np.testing.assert_allclose(white("example", samples_BTF), each, rtol=1e-5)
    np.testing.assert_allclose(white("example", samples_BTF, training=True), each, rtol=1e-5)
    np.testing.assert_allclose(white("batch", samples_BTF, training=True), together, rtol=1e-5)
    np.testing.assert_allclose(white("batch", samples_BTF), each, rtol=1e-5)
    np.testing.assert_array_equal(white("none", samples_BTF), x)


def test_whitening_counts_real_samples_only():
    samples_BTF = torch.tensor([[1.0, 2.0, 4.0, 5.0], [3.0, 1.0, 99.0, 99.0]])[:, :, None]
    lengths_B = torch.tensor([4, 2])
    short = np.array([1.0, -1.0, 0, 0])
    found = white("example", samples_BTF, lengths_B)
    np.testing.assert_allclose(found[1], short * RMS / np.sqrt(5), rtol=1e-5)
    together = RMS / np.sqrt((1 + 4 + 16 + 25 + 9 + 1) / 6)
    np.testing.assert_allclose(white("batch", samples_BTF, lengths_B, training=True)[1], short * together, rtol=1e-5)
    np.testing.assert_array_equal(white("none", samples_BTF, lengths_B)[1], [3, 1, 0, 0])


def test_silence_has_a_finite_embedding_and_finite_gradients():
    model = small_model(SMALL, 1)
    samples_BTF = torch.zeros(2, 40, 1, requires_grad=True)
    model(samples_BTF).sum().backward()
    assert torch.isfinite(samples_BTF.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_dropout_silences_whole_channels():
    model = build_model(Voicemap(filters=200, embedding_dim=2, dropout=0.3), 1).train()
    seen = []
    model.blocks[0].dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(feats(4, 64, 1))
    silent_BC = (seen[0] == 0).all(dim=2)
    assert abs(float(silent_BC.float().mean()) - 0.3) < 0.08  # 800 draws: standard deviation 0.016
    assert bool((seen[0] != 0).all(dim=2)[~silent_BC].all())


def test_batch_norms_have_the_constants_of_keras():
    for block in build_model(SMALL, 1).blocks:
        block.norm.train()
        block.norm(torch.full((2, block.norm.num_features, 5), 2.0))
        torch.testing.assert_close(block.norm.running_mean, torch.full_like(block.norm.running_mean, 0.02))


def test_more_than_one_column_is_refused():
    with pytest.raises(ValueError, match="one column .*found 40"):
        build_model(SMALL, 40)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"whitening": "sample"}, "Voicemap.whitening: expected one of"),
        ({"pool_sizes": (4, 2, 2)}, "four blocks"),
        ({"pool_sizes": (4, 2, 2, 0)}, "at least 1"),
        ({"filters": 0}, "Voicemap.filters"),
        ({"dropout": 1.0}, "Voicemap.dropout"),
        ({"type": "siamese"}, "Voicemap.type"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Voicemap(**values)
