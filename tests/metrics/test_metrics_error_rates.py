"""Error rates against brute force in exact fractions, and against properties that define them."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from steps.metrics import curve
from steps.metrics.cllr import min_cllr_of_curve
from steps.metrics.costs import min_dcf, min_dcf_of_curve
from steps.metrics.curve import error_curve
from steps.metrics.error_rates import det_points, eer, eer_of_curve, eer_rocch, eer_rocch_of_curve, error_rates


def tied_scores(seed: int) -> tuple[list[int], list[int]]:
    """Target and non-target scores of few distinct values, so that most are equal to others of either kind."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-4, 5, size=rng.integers(1, 13)).tolist() for _ in range(2))


def brute_rates(target: list, nontarget: list) -> list[tuple[Fraction, Fraction]]:
    """Miss and false-alarm rate at each distinct score and above all, by counting."""
    thresholds = [*sorted({*target, *nontarget}), float("inf")]
    return [
        (Fraction(sum(s < t for s in target), len(target)), Fraction(sum(s >= t for s in nontarget), len(nontarget)))
        for t in thresholds
    ]


def brute_eer(target: list, nontarget: list) -> float:
    miss, false_alarm = min(brute_rates(target, nontarget), key=lambda rates: abs(rates[0] - rates[1]))
    return float((miss + false_alarm) / 2)


@pytest.mark.parametrize("seed", range(100))
def test_rates_and_eer_equal_counting_in_fractions(seed):
    target, nontarget = tied_scores(seed)
    thresholds, p_miss, p_fa = error_rates(target, nontarget)
    expected = brute_rates(target, nontarget)
    assert thresholds[-1] == np.inf
    assert len(thresholds) == len(expected)
    assert list(zip(p_miss, p_fa, strict=True)) == [(float(m), float(f)) for m, f in expected]
    # One ulp: the mean of two rounded quotients against one rounded quotient.
    assert eer(target, nontarget) == pytest.approx(brute_eer(target, nontarget), abs=2e-16)


def test_worked_example_with_equal_scores_across_kinds():
    thresholds, p_miss, p_fa = error_rates([2.0, 3.0, 4.0], [1.0, 3.0])
    np.testing.assert_array_equal(thresholds, [1, 2, 3, 4, np.inf])
    np.testing.assert_allclose(p_miss, [0, 0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(p_fa, [1, 0.5, 0.5, 0, 0])
    assert eer([2.0, 3.0, 4.0], [1.0, 3.0]) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_of_two_equally_near_thresholds_the_lower_counts():
    # At threshold 1 the rates are (0, 1/2), at 2 they are (3/4, 1/4): half apart both times, with means 1/4 and 1/2.
    target, nontarget = [1.0, 1.0, 1.0, 2.0], [0.0, 0.0, 1.0, 2.0]
    assert [(float(m), float(f)) for m, f in brute_rates(target, nontarget)] == [(0, 1), (0, 0.5), (0.75, 0.25), (1, 0)]
    assert eer(target, nontarget) == 0.25


@pytest.mark.parametrize(
    ("target", "nontarget", "expected"),
    [([2.0, 3.0], [0.0, 1.0], 0.0), ([0.0, 1.0], [2.0, 3.0], 1.0), ([1.0], [1.0], 0.5), ([1.0, 1.0], [1.0] * 5, 0.5)],
)
def test_eer_of_separated_reversed_and_constant_scores(target, nontarget, expected):
    assert eer(target, nontarget) == expected


def test_eer_does_not_depend_on_order_or_on_monotone_maps():
    rng = np.random.default_rng(1)
    target, nontarget = rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 500).round(1)
    value = eer(target, nontarget)
    assert eer(rng.permutation(target), rng.permutation(nontarget)) == value
    assert eer(np.arctan(target), np.arctan(nontarget)) == value
    assert eer_rocch(np.arctan(target), np.arctan(nontarget)) == pytest.approx(eer_rocch(target, nontarget), abs=1e-14)


def test_eer_of_gaussian_scores_approaches_the_closed_form():
    rng = np.random.default_rng(2)
    # Unit normals 2 apart: EER = Phi(-1) = 0.158655; 100,000 trials a side put its standard error near 0.0008.
    target, nontarget = rng.normal(2, 1, 100_000), rng.normal(0, 1, 100_000)
    assert eer(target, nontarget) == pytest.approx(0.158655, abs=0.004)
    assert eer_rocch(target, nontarget) == pytest.approx(0.158655, abs=0.004)


@pytest.mark.parametrize("seed", range(60))
def test_whole_weights_equal_repeated_trials(seed):
    target, nontarget = tied_scores(seed)
    weights = [np.random.default_rng(seed).integers(0, 4, size=len(scores)) for scores in (target, nontarget)]
    for counts in weights:
        counts[0] += 1  # one kind of trials must not vanish
    repeated = [np.repeat(s, w).tolist() for s, w in zip((target, nontarget), weights, strict=True)]
    assert eer(target, nontarget, *weights) == pytest.approx(brute_eer(*repeated), abs=2e-16)
    assert eer_rocch(target, nontarget, *weights) == pytest.approx(eer_rocch(*repeated), abs=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_sorted_counts_give_the_figures_of_weights_of_one_bit_for_bit(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(curve, "GROUP_CHUNK", [3, 50, 500_000][seed % 3])
    target, nontarget = rng.normal(1, 1, rng.integers(1, 300)), rng.normal(0, 1, rng.integers(1, 9000))
    if seed % 4:
        target, nontarget = target.round(seed % 4), nontarget.round(seed % 4)
    if seed % 2:
        target, nontarget = target.astype(np.float32), nontarget.astype(np.float32)
    if seed % 5 == 0:
        target, nontarget = nontarget, target
    counted = error_curve(target, nontarget)
    weighed = error_curve(target, nontarget, np.ones(target.size), np.ones(nontarget.size))
    assert type(counted) is not type(weighed)
    assert eer_of_curve(counted) == eer_of_curve(weighed)
    for prior in (0.001, 0.05, 0.5, 0.99):
        assert min_dcf_of_curve(counted, prior) == min_dcf_of_curve(weighed, prior)
    np.testing.assert_array_equal(counted.thresholds, weighed.thresholds)
    np.testing.assert_array_equal(counted.rates(), weighed.rates())
    # Blocks on one edge of the hull may be put together in another order, which is a matter of the last bit.
    assert eer_rocch_of_curve(counted) == pytest.approx(eer_rocch_of_curve(weighed), abs=1e-15)
    assert min_cllr_of_curve(counted) == pytest.approx(min_cllr_of_curve(weighed), abs=1e-15)


@pytest.mark.parametrize("swap", [False, True])
def test_the_least_cost_is_found_without_a_look_at_every_threshold(swap):
    rng = np.random.default_rng(9)
    scores = [rng.normal(1, 1, 60_000), rng.normal(0, 1, 80_000)]
    target, nontarget = scores[::-1] if swap else scores
    p_miss, p_fa = error_curve(target, nontarget).rates()
    for prior in np.linspace(0.05, 0.95, 19).tolist():
        expected = (prior * p_miss + (1 - prior) * p_fa).min() / min(prior, 1 - prior)
        assert min_dcf(target, nontarget, prior) == expected


@pytest.mark.parametrize("seed", range(60))
def test_eer_rocch_is_the_largest_minimum_bayes_error(seed):
    target, nontarget = tied_scores(seed)
    rates = np.array(brute_rates(target, nontarget), dtype=float)

    def bayes_error(prior: float) -> float:
        return (prior * rates[:, 0] + (1 - prior) * rates[:, 1]).min()

    # Concave in the prior, so a bounded search finds the top; a grid would leave an error of its step.
    found = minimize_scalar(lambda p: -bayes_error(p), bounds=(0, 1), method="bounded", options={"xatol": 1e-12})
    assert eer_rocch(target, nontarget) == pytest.approx(-found.fun, abs=1e-6)


def test_eer_rocch_of_two_points_by_hand():
    # Corners (fa, miss): (1, 0), (0, 1/2), (0, 1). The hull's edge miss = (1 - fa) / 2 meets miss = fa at 1/3.
    assert eer_rocch([0.0, 2.0], [1.0]) == pytest.approx(1 / 3, abs=1e-15)


def test_det_points_are_points_of_the_curve_with_both_ends():
    rng = np.random.default_rng(3)
    target, nontarget = rng.normal(2, 1, 5000), rng.normal(0, 1, 7000)
    _, all_miss, all_fa = error_rates(target, nontarget)
    p_miss, p_fa = det_points(target, nontarget, max_points=300)
    assert 150 < p_miss.size <= 300
    assert (p_miss[0], p_fa[0]) == (0.0, 1.0)
    assert (p_miss[-1], p_fa[-1]) == (1.0, 0.0)
    assert set(zip(p_miss, p_fa, strict=True)) <= set(zip(all_miss, all_fa, strict=True))
    # Nowhere a gap: the plot must not cut a corner.
    assert np.abs(np.diff(p_miss)).max() < 0.05
    assert np.abs(np.diff(p_fa)).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [1.0]), "target scores: expected a one-dimensional array with at least one score"),
        (([np.nan], [1.0]), "finite"),
        (([1.0], [np.inf, 0.0]), "non-target scores"),
        (([1.0], [0.0], [1.0, 2.0], [1.0]), "one weight for each"),
        (([1.0], [0.0], [-1.0], [1.0]), ">= 0"),
        (([1.0], [0.0], [1.0], [0.0]), "positive sum"),
    ],
)
def test_bad_scores_and_weights_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        eer(*arguments)
