import math

import pytest
import torch

from steps.nnet.schedule import learning_rate, margin, plateau_factor, stepwise_factor

RATES = {"peak": 0.1, "final": 1e-4, "num_steps": 101}


def test_warm_up_is_a_straight_line_to_the_peak():
    rates = [learning_rate(step, **RATES, warmup_steps=4) for step in range(5)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


def test_exponential_decay_is_a_constant_factor_from_peak_to_final():
    rates = [learning_rate(step, **RATES) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(1e-4)
    assert [b / a for a, b in zip(rates, rates[1:], strict=False)] == pytest.approx([1e-3**0.01] * 100)


def test_cosine_decay_is_half_a_cosine():
    rates = [learning_rate(step, **RATES, decay="cosine") for step in (0, 25, 50, 75, 100)]
    middle, half = (0.1 + 1e-4) / 2, (0.1 - 1e-4) / 2
    swing = half * math.sqrt(0.5)
    assert rates == pytest.approx([0.1, middle + swing, middle, middle - swing, 1e-4])


def test_decay_begins_behind_the_warm_up():
    rates = [learning_rate(step, **RATES, warmup_steps=20) for step in (20, 60, 100)]
    assert rates == pytest.approx([0.1, math.sqrt(0.1 * 1e-4), 1e-4])


def test_decay_under_the_warm_up_by_hand():
    """Halves every step, 16 to 1 over four of them, under a rise over the first two."""
    rates = {"peak": 16.0, "final": 1.0, "num_steps": 4, "decay_start": "first_update"}
    assert [learning_rate(step, **rates, warmup_steps=2) for step in range(4)] == pytest.approx([0.0, 4.0, 4.0, 2.0])
    assert [learning_rate(step, **rates) for step in (0, 1, 3, 4, 9)] == pytest.approx([16.0, 8.0, 2.0, 1.0, 1.0])
    cosine = [learning_rate(step, **rates, warmup_steps=2, decay="cosine") for step in range(4)]
    assert cosine == pytest.approx([0.0, (8.5 + 7.5 * math.sqrt(0.5)) / 2, 8.5, 8.5 - 7.5 * math.sqrt(0.5)])


def test_constant_rate_and_steps_past_the_end():
    assert learning_rate(77, peak=0.1, final=0.1, num_steps=101, decay="constant") == 0.1
    assert learning_rate(5000, **RATES) == pytest.approx(1e-4)
    assert learning_rate(0, peak=0.1, final=1e-4, num_steps=1) == 0.1


def test_inverse_decay_is_that_of_keras():
    rates = [learning_rate(k, peak=0.1, final=0.0, num_steps=10, decay="inverse", inverse_decay=0.5) for k in (0, 1, 2, 8)]
    assert rates == pytest.approx([0.1, 0.1 / 1.5, 0.05, 0.02])


def test_stepwise_factors_hold_from_their_epochs_on():
    # The schedule of Xie et al. 2019: warm-up at a tenth, restart after 64 epochs.
    epochs, factors = (0, 2, 32, 51, 64, 96, 115), (0.1, 1.0, 0.1, 0.01, 1.0, 0.1, 0.01)
    expected = {0: 0.1, 1.99: 0.1, 2: 1.0, 31.9: 1.0, 32: 0.1, 50: 0.1, 51: 0.01, 64: 1.0, 95: 1.0, 96: 0.1, 120: 0.01}
    assert {epoch: stepwise_factor(epoch, epochs, factors) for epoch in expected} == expected
    assert stepwise_factor(3, (5,), (0.1,)) == 1.0


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateau_is_that_of_torch_which_waits_one_epoch_longer(patience):
    figures = [0.5, 0.4, 0.41, 0.3999, 0.42, 0.3, 0.3, 0.31, 0.3, 0.29995, 0.3, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.1, patience=patience - 1, threshold=1e-3, threshold_mode="abs", eps=0.0
    )
    for number, figure in enumerate(figures, 1):
        reference.step(figure)
        found = plateau_factor(figures[:number], factor=0.1, patience=patience, delta=1e-3)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), number
    assert found < 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decay": "inverse"}, "inverse"),
        ({"decay": "step"}, "found 'step'"),
        ({"final": 0.0}, "above 0"),
        ({"peak": 0.0}, "above 0"),
        ({"decay": "constant"}, "constant"),
        ({"warmup_steps": 102}, "warm-up"),
        ({"decay_start": "at_once"}, "found 'at_once'"),
        ({"decay_start": "first_update", "decay": "constant", "final": 0.0}, "found 'first_update' with 'constant'"),
    ],
)
def test_wrong_rates_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        learning_rate(0, **{**RATES, **values})


RAMP = {"initial": 0.05, "final": 0.2, "start_epoch": 2.0, "end_epoch": 4.0}


@pytest.mark.parametrize("growth", ["linear", "exponential"])
def test_margin_is_flat_outside_its_ramp_and_grows_inside(growth):
    values = [margin(2.0 + i / 50, **RAMP, growth=growth) for i in range(101)]
    assert [margin(e, **RAMP, growth=growth) for e in (0.0, 1.99, 2.0)] == [0.05] * 3
    assert [margin(e, **RAMP, growth=growth) for e in (4.0, 99.0)] == [0.2] * 2
    assert all(a < b for a, b in zip(values, values[1:], strict=False))


def test_linear_ramp_is_halfway_at_half_its_time():
    assert margin(3.0, **RAMP) == pytest.approx(0.125)


def test_exponential_ramp_has_31_of_32_parts_behind_it_at_half_its_time():
    # What lacks shrinks to 1e-3 over the ramp, to sqrt(1e-3) = 1 / 31.6 at half: (1 - 0.0316) / (1 - 0.001) of the way.
    assert margin(3.0, **RAMP, growth="exponential") == pytest.approx(0.05 + 0.15 * (1 - 0.0316228) / 0.999, rel=1e-6)


def test_a_ramp_of_no_length_is_a_step_and_a_negative_one_is_refused():
    step = {"initial": 0.0, "final": 0.2, "start_epoch": 3.0, "end_epoch": 3.0}
    assert [margin(e, **step) for e in (2.9, 3.0)] == [0.0, 0.2]
    with pytest.raises(ValueError, match="at or after epoch 3"):
        margin(0.0, **{**step, "end_epoch": 2.0})
    with pytest.raises(ValueError, match="found 'quick'"):
        margin(0.0, **step, growth="quick")
