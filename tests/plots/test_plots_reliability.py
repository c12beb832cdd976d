"""Reliability diagrams: counts by hand, exact intervals by scipy.stats.binomtest, and LLRs that are right by construction."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from steps.plots.reliability import reliability_bins, reliability_figure


def test_bins_are_counted_by_hand():
    target, nontarget = logit([0.05, 0.55, 0.95, 0.96]), logit([0.05, 0.06, 0.52, 0.95])
    bins = reliability_bins(target, nontarget, num_bins=2)
    assert (bins.num_target.tolist(), bins.num_nontarget.tolist()) == ([1, 3], [2, 2])
    np.testing.assert_allclose(bins.observed, [1 / 3, 3 / 5])
    np.testing.assert_allclose(bins.predicted, [np.mean([0.05, 0.05, 0.06]), np.mean([0.55, 0.95, 0.96, 0.52, 0.95])])


def test_at_the_lists_own_prior_nothing_is_weighted_and_the_interval_is_the_exact_one():
    rng = np.random.default_rng(0)
    target, nontarget = rng.normal(1, 2, 40), rng.normal(-1, 2, 120)
    bins = reliability_bins(target, nontarget, prior=0.25, num_bins=4)
    for t, n, observed, low, high in zip(
        bins.num_target.tolist(), bins.num_nontarget.tolist(), bins.observed, bins.low, bins.high, strict=True
    ):
        exact = binomtest(t, t + n).proportion_ci(0.95, method="exact")
        np.testing.assert_allclose([observed, low, high], [t / (t + n), exact.low, exact.high], atol=1e-9)


def test_another_prior_shifts_the_odds_of_share_and_interval_alike():
    rng = np.random.default_rng(1)
    pair = rng.normal(1, 1.5, 300), rng.normal(-1, 1.5, 900)
    one = reliability_bins(*pair, prior=0.25, num_bins=1)
    other = reliability_bins(*pair, prior=0.8, num_bins=1)
    shift = logit(0.8) - logit(0.25)
    for name in ("observed", "low", "high"):
        np.testing.assert_allclose(logit(getattr(other, name)), logit(getattr(one, name)) + shift)


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_llrs_that_are_right_lie_on_the_diagonal_and_those_that_boast_do_not(prior):
    rng = np.random.default_rng(2)  # N(+m, 2m) and N(-m, 2m): the LLR of x is x
    pair = rng.normal(2, 2, 200_000), rng.normal(-2, 2, 200_000)
    bins = reliability_bins(*pair, prior=prior)
    np.testing.assert_allclose(bins.observed, bins.predicted, atol=0.03)
    boasting = reliability_bins(3 * pair[0], 3 * pair[1], prior=prior)
    right = expit(logit(prior) + (logit(boasting.predicted) - logit(prior)) / 3)
    np.testing.assert_allclose(boasting.observed[1:-1], right[1:-1], atol=0.05)
    assert np.abs(right - boasting.predicted).max() > 0.15


def test_empty_bins_have_no_point_and_probabilities_of_one_have_a_bin():
    bins = reliability_bins([800.0, 900.0], [-800.0, 0.001], num_bins=10)
    assert bins.num_target.tolist() == [0] * 9 + [2]
    assert np.isnan(bins.observed[1])
    assert np.isnan(bins.low[1])
    assert (bins.observed[0], bins.low[0], bins.observed[9], bins.high[9]) == (0, 0, 1, 1)
    figure = reliability_figure({"a": ([800.0, 900.0], [-800.0, 0.001])}, "t")
    assert len(figure.axes[0].get_lines()[1].get_xdata()) == 3


def test_bars_count_the_trials_of_each_bin():
    pair = logit([0.05, 0.55, 0.95]), logit([0.05, 0.06])
    axes = reliability_figure({"a": pair}, "t", num_bins=2).axes[1]
    assert [bar.get_height() for bar in axes.patches] == [3, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [np.inf]), "non-target LLRs: expected finite"),
        (([], [1.0]), "target LLRs: expected finite"),
        (([1.0], [1.0], 1.0), "prior: expected a probability"),
        (([1.0], [1.0], 0.5, 0), "num_bins: expected at least 1"),
    ],
)
def test_what_cannot_be_binned_is_refused(arguments, message):
    names = dict(zip(("prior", "num_bins"), arguments[2:], strict=False))
    with pytest.raises(ValueError, match=message):
        reliability_bins(*arguments[:2], **names)


def test_a_diagram_of_nothing_is_refused():
    with pytest.raises(ValueError, match="systems: expected at least one"):
        reliability_figure({}, "t")
