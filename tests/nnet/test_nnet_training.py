"""The training loop: schedules against closed form, resuming against not stopping, and a toy problem that it must solve."""

import math

import pytest
import torch
from torch import nn

from steps.nnet import checkpoint
from steps.nnet.models import build_head, build_model
from steps.nnet.precision import supports_bf16
from steps.nnet.settings import AAM, ResNet, Softmax, XVector
from steps.nnet.train_settings import Train
from steps.nnet.training import Training, hardest, make_optimizer
from steps.nnet.transfer import freeze

CPU = torch.device("cpu")
NUM_BINS, NUM_SPEAKERS, BATCH = 8, 3, 6
TDNN = XVector(channels=(8, 8, 8, 8, 12), embedding_dim=6)


def settings(**changes) -> Train:
    values = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.1, "final_learning_rate": 0.01, "precision": "float32"}
    return Train(**values | changes)


def a_run(chosen: Train, *, steps_per_epoch: int = 4, model=TDNN, head=None) -> Training:
    torch.manual_seed(7)
    network = build_model(model, NUM_BINS)
    return Training(
        chosen, network, build_head(head or AAM(), network.classifier_dim, NUM_SPEAKERS),
        steps_per_epoch=steps_per_epoch, device=CPU,
    )  # fmt: skip


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Speaker s has its energy in bin s: easily told apart."""
    generator = torch.Generator().manual_seed(number)
    labels_B = torch.arange(BATCH) % NUM_SPEAKERS
    feats_BTF = torch.randn(BATCH, 20, NUM_BINS, generator=generator)
    feats_BTF[torch.arange(BATCH), :, labels_B] += 2.0
    return feats_BTF, labels_B


def go_on(training: Training, num_epochs: int, *, stop_at: int = -1) -> bool:
    """Train to the end of `num_epochs`, or until `stop_at` updates are done; whether it was stopped."""
    while training.epoch <= num_epochs:
        while training.step < training.steps_per_epoch:
            if training.update == stop_at:
                return True
            training.train_batch(*batch(training.update))
        if training.update == stop_at:
            return True
        training.end_epoch(0.5 / training.epoch)
    return False


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": value for part in ("model", "head") for name, value in getattr(training, part).state_dict().items()}


def without_time(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "amsgrad", "adamw", "adadelta"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, optimizer, stop_at):
    chosen = settings(optimizer=optimizer, max_gradient_norm=1.0, margin_end_epoch=2.0, warmup_epochs=0.5)
    whole, first, second = (a_run(chosen) for _ in range(3))
    go_on(whole, 3)
    assert go_on(first, 3, stop_at=stop_at)
    checkpoint.save(tmp_path / "state.pt", first.state_dict())
    with torch.no_grad():  # whatever a fresh run begins with must not matter
        for parameter in second.model.parameters():
            parameter.add_(1.0)
    torch.manual_seed(99)
    second.load_state_dict(checkpoint.load(tmp_path / "state.pt"))
    go_on(second, 3)
    assert without_time(second.history) == without_time(whole.history)
    found, expected = weights(second), weights(whole)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_resumed_residual_network_is_the_uninterrupted_one(tmp_path, precision):
    """Its weights lie in memory with channels last: a state that loses the layout gives other last bits."""
    if precision == "bf16" and not supports_bf16(CPU):
        pytest.skip("this processor has no bfloat16")
    network = ResNet(blocks=(1, 1, 1, 1), channels=16, embedding_dim=6, embedding_norm=True, head_input="bn_relu")
    chosen = settings(precision=precision, epochs=2)
    whole, first, second = (a_run(chosen, model=network, head=Softmax(), steps_per_epoch=2) for _ in range(3))
    go_on(whole, 2)
    assert go_on(first, 2, stop_at=3)
    checkpoint.save(tmp_path / "state.pt", first.state_dict())
    second.load_state_dict(checkpoint.load(tmp_path / "state.pt"))
    go_on(second, 2)
    found, expected = weights(second), weights(whole)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_random_state_is_part_of_the_state(tmp_path):
    training = a_run(settings())
    training.train_batch(*batch(0))
    checkpoint.save(tmp_path / "state.pt", training.state_dict())
    expected = torch.rand(3)
    other = a_run(settings())
    torch.manual_seed(99)
    other.load_state_dict(checkpoint.load(tmp_path / "state.pt"))
    assert torch.equal(torch.rand(3), expected)


def trajectory(chosen: Train, steps_per_epoch: int) -> tuple[list[float], list[float]]:
    """Learning rates and margins that the updates really had."""
    training, rates, margins = a_run(chosen, steps_per_epoch=steps_per_epoch), [], []
    step, forward = training.optimizer.step, training.head.forward

    def watched_step():
        rates.append({group["lr"] for group in training.optimizer.param_groups})
        return step()

    def watched_forward(*arguments):
        margins.append(training.head.margin)
        return forward(*arguments)

    training.optimizer.step, training.head.forward = watched_step, watched_forward
    go_on(training, chosen.epochs)
    assert all(len(each) == 1 for each in rates)
    return [next(iter(each)) for each in rates], margins


def test_learning_rates_of_an_exponential_decay_with_warm_up():
    chosen = settings(epochs=4, learning_rate=0.2, final_learning_rate=0.002, warmup_epochs=0.5)
    found, _ = trajectory(chosen, 4)
    decaying = [0.2 * 0.01 ** (k / 13) for k in range(14)]  # 14 updates after 2 of warm-up, the last at the final rate
    assert found == pytest.approx([0.1, 0.2, *decaying])


def test_learning_rates_of_a_cosine_decay():
    found, _ = trajectory(settings(epochs=2, learning_rate=0.2, final_learning_rate=0.1, decay="cosine"), 4)
    assert found == pytest.approx([0.15 + 0.05 * math.cos(math.pi * k / 7) for k in range(8)])


def test_a_decay_from_the_first_update_is_under_the_warm_up_in_the_updates_themselves():
    chosen = settings(epochs=4, learning_rate=0.2, final_learning_rate=0.002, warmup_epochs=0.5, decay_start="first_update")
    found, _ = trajectory(chosen, 4)
    assert found == pytest.approx([min(k / 2, 1.0) * 0.2 * 0.01 ** (k / 16) for k in range(16)], rel=1e-12)


def test_margins_of_a_linear_ramp():
    _, found = trajectory(settings(epochs=4, margin_start_epoch=1.0, margin_end_epoch=3.0), 4)
    assert found == pytest.approx([0.0] * 4 + [0.2 * k / 8 for k in range(8)] + [0.2] * 4)


def test_the_full_margin_is_there_from_the_first_update_without_a_ramp():
    _, found = trajectory(settings(epochs=1), 3)
    assert found == [0.2] * 3


def test_a_softmax_head_has_no_margin():
    training = a_run(settings(margin_end_epoch=2.0), head=Softmax())
    go_on(training, 1)
    assert training.history[0]["margin"] == 0.0


def test_a_record_tells_of_its_epoch():
    training = a_run(settings(epochs=2, margin_end_epoch=2.0), steps_per_epoch=2)
    losses = []
    forward = training.head.forward

    def watched(*arguments):
        losses_K, hits_K = forward(*arguments)
        losses.append(losses_K.mean().item())
        return losses_K, hits_K

    training.head.forward = watched
    go_on(training, 2)
    second = training.history[1]
    assert second["loss"] == pytest.approx((losses[2] + losses[3]) / 2)
    assert second["num_examples"] == 2 * BATCH
    assert second["learning_rate"] == pytest.approx(0.01)
    assert second["margin"] == pytest.approx(0.2 * 0.75)  # of the last update: 3 of 4 parts of the ramp
    assert second["dev_eer"] == 0.25
    assert second["epoch"] == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_spares_vectors(optimizer):
    """With gradients of zero nothing but weight decay moves a weight."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    nn.init.ones_(model[0].bias)
    before = {name: value.clone() for name, value in model.named_parameters()}
    chosen = make_optimizer(settings(optimizer=optimizer, weight_decay=0.5), [model])
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    chosen.step()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"0.weight"}


def test_sgd_decays_by_the_closed_form():
    model = nn.Linear(2, 2, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = torch.zeros(2, 2)
    make_optimizer(settings(learning_rate=0.1, weight_decay=0.5, momentum=0.0), [model]).step()
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.1 * 0.5))


def test_frozen_weights_stay_out_of_the_optimiser():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    groups = make_optimizer(settings(), [model]).param_groups
    assert [len(group["params"]) for group in groups] == [1, 0]


def test_long_gradients_are_cut_to_the_length_set():
    training = a_run(settings(max_gradient_norm=1e-3, momentum=0.0, weight_decay=0.0))
    before = {name: value.clone() for name, value in weights(training).items()}
    training.train_batch(*batch(0))
    parameters = {f"{part}.{name}" for part in ("model", "head") for name, _ in getattr(training, part).named_parameters()}
    moved = sum(float((weights(training)[name] - before[name]).square().sum()) for name in parameters)
    assert math.sqrt(moved) == pytest.approx(0.1 * 1e-3, rel=1e-3)  # learning rate times length


@pytest.mark.parametrize("head", [Softmax(), AAM(scale=10.0, margin=0.1)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_speakers_that_can_be_told_apart_are_learnt(optimizer, head):
    chosen = settings(optimizer=optimizer, learning_rate=0.02, final_learning_rate=0.002, warmup_epochs=0.5)
    training = a_run(chosen, steps_per_epoch=25, head=head)
    go_on(training, 3)
    first, last = training.history[0], training.history[-1]
    assert last["loss"] < 0.5 * first["loss"]
    assert last["accuracy"] > max(0.9, first["accuracy"])


def test_a_loss_that_is_no_number_stops_training_before_it_spoils_the_weights():
    training = a_run(settings(), steps_per_epoch=4)
    for number in range(5):
        if training.step == 4:
            training.end_epoch(None)
        training.train_batch(*batch(number))
    before = {name: parameter.clone() for name, parameter in training.model.named_parameters()}
    feats_BTF, labels_B = batch(5)
    feats_BTF[0, 3, 2] = float("nan")
    with pytest.raises(FloatingPointError, match=r"the loss is nan at update 5 \(epoch 2\)"):
        training.train_batch(feats_BTF, labels_B)
    assert all(torch.equal(parameter, before[name]) for name, parameter in training.model.named_parameters())
    assert training.update == 5


def with_history(chosen: Train, rates: list[float | None]) -> Training:
    training = a_run(chosen)
    training.history = [{"epoch": number, "dev_eer": rate} for number, rate in enumerate(rates, 1)]
    training.epoch = len(rates) + 1
    return training


@pytest.mark.parametrize(
    ("patience", "rates", "stops"),
    [
        (0, [0.1, 0.2, 0.3, 0.4], False),
        (2, [], False),
        (2, [0.3], False),
        (2, [0.3, 0.2, 0.25], False),
        (2, [0.3, 0.2, 0.25, 0.21], True),
        (2, [0.3, 0.2, 0.25, 0.19], False),
        (1, [0.2, 0.2], True),  # equal is not better
        (1, [None, None, None], False),
    ],
)
def test_patience_counts_epochs_without_a_better_dev_eer(patience, rates, stops):
    assert with_history(settings(epochs=10, patience=patience), rates).should_stop() is stops


def test_training_ends_after_its_epochs():
    assert not with_history(settings(epochs=3), [0.3, 0.2]).should_stop()
    assert with_history(settings(epochs=3), [0.3, 0.2, 0.1]).should_stop()


@pytest.mark.parametrize(
    ("average", "of", "rates", "epochs"),
    [
        (1, "last", [0.3, 0.1, 0.2], [3]),
        (2, "last", [0.3, 0.1, 0.2], [2, 3]),
        (1, "best", [0.3, 0.1, 0.2], [2]),
        (2, "best", [0.3, 0.1, 0.2], [2, 3]),
        (2, "best", [0.1, 0.3, 0.2], [1, 3]),
        (2, "best", [0.1, 0.2, 0.2], [1, 3]),  # of equals the later
        (3, "last", [0.3, 0.1], [1, 2]),  # stopped early
        (2, "best", [None, None, None], [2, 3]),
    ],
)
def test_which_epochs_make_the_model(average, of, rates, epochs):
    chosen = settings(epochs=5, average=average, average_of=of)
    assert with_history(chosen, rates).epochs_to_average() == epochs


def test_the_hardest_losses_are_the_largest():
    losses_K = torch.tensor([1.0, 5.0, 3.0, 2.0])
    assert hardest(losses_K, 0.5).tolist() == [5.0, 3.0]
    assert hardest(losses_K, 0.01).tolist() == [5.0]
    assert hardest(losses_K, 1.0) is losses_K


def test_only_the_hardest_examples_move_the_class_vectors():
    """With a share of one in six the gradient is that of the worst example alone."""
    one, all_ = (a_run(settings(hardest_share=share, momentum=0.0, weight_decay=0.0), head=Softmax()) for share in (1 / 6, 1.0))
    feats_BTF, labels_B = batch(0)
    all_._to_training_mode()
    losses_B, _ = all_.head(all_.network(feats_BTF), labels_B)
    worst = int(losses_B.argmax())
    (gradient,) = torch.autograd.grad(losses_B[worst], all_.head.bias_S)
    one.train_batch(feats_BTF, labels_B)
    torch.testing.assert_close(one.head.bias_S.detach(), -0.1 * gradient)


def test_max_change_bounds_how_far_an_update_goes():
    free, bound = (a_run(settings(momentum=0.0, weight_decay=0.0, max_change=limit)) for limit in (0.0, 1e-3))
    lengths = []
    for training in (free, bound):
        before = torch.cat([p.detach().flatten().clone() for p in (*training.model.parameters(), *training.head.parameters())])
        training.train_batch(*batch(0))
        after = torch.cat([p.detach().flatten() for p in (*training.model.parameters(), *training.head.parameters())])
        lengths.append(float((after - before).norm()))
    assert lengths[0] > 1e-2
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)


def test_frozen_frame_layers_stay_as_they_are_batch_norms_included():
    chosen = settings(init="other", freeze="frames")
    torch.manual_seed(7)
    network = build_model(TDNN, NUM_BINS)
    freeze(network.frame_part())
    training = Training(chosen, network, build_head(AAM(), 6, NUM_SPEAKERS), steps_per_epoch=4, device=CPU)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    go_on(training, 1)
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith("frame_layers")]


def test_a_plateau_lowers_the_rate_of_the_next_epochs():
    training = a_run(settings(epochs=5, decay="plateau", plateau_patience=2, final_learning_rate=0.005))
    rates = []
    for eer in (0.3, 0.2, 0.2, 0.25, 0.2):
        rates.append(training.current_learning_rate())
        training.train_batch(*batch(0))
        training.end_epoch(eer)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])
    for _ in range(2):
        training.history.append(training.history[-1])
    assert training.current_learning_rate() == pytest.approx(0.005)


def test_one_shot_accuracy_is_what_counts_where_it_is_monitored():
    training = a_run(settings(epochs=3, monitor="one_shot", average_of="best"))
    for eer, accuracy in ((0.1, 0.5), (0.2, 0.9), (0.05, 0.7)):
        training.train_batch(*batch(0))
        training.end_epoch(eer, accuracy)
    assert training.epochs_to_average() == [2]
    assert training.history[1]["dev_one_shot"] == 0.9


def test_adadelta_moves_as_its_paper_says():
    model = nn.Linear(1, 1, bias=False)
    before = float(model.weight.detach())
    model.weight.grad = torch.full((1, 1), 2.0)
    make_optimizer(settings(optimizer="adadelta", learning_rate=1.0, weight_decay=0.0), [model]).step()
    step = math.sqrt(1e-6) / math.sqrt(0.05 * 4.0 + 1e-6) * 2.0
    assert float(model.weight.detach()) == pytest.approx(before - step, rel=1e-5)
