"""Detection costs against brute force over every decision set that a threshold can make."""

import numpy as np
import pytest

from steps.metrics.costs import act_dcf, bayes_threshold, min_dcf

PRIORS = [0.001, 0.01, 0.05, 0.5, 0.9]


def tied_scores(seed: int) -> tuple[list[int], list[int]]:
    """Target and non-target scores of few distinct values, so that most are equal to others of either kind."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-5, 6, size=rng.integers(1, 13)).tolist() for _ in range(2))


def brute_cost(target, nontarget, threshold, prior) -> float:
    miss = sum(s < threshold for s in target) / len(target)
    false_alarm = sum(s >= threshold for s in nontarget) / len(nontarget)
    return (prior * miss + (1 - prior) * false_alarm) / min(prior, 1 - prior)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("seed", range(20))
def test_min_dcf_equals_trying_every_threshold(seed, prior):
    target, nontarget = tied_scores(seed)
    thresholds = [-1e9, *target, *nontarget, 1e9]
    expected = min(brute_cost(target, nontarget, t, prior) for t in thresholds)
    # A few roundings of numbers up to 1/prior.
    assert min_dcf(target, nontarget, prior) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("seed", range(20))
def test_min_dcf_never_exceeds_act_dcf_nor_one(seed, prior):
    target, nontarget = tied_scores(seed)
    assert min_dcf(target, nontarget, prior) <= act_dcf(target, nontarget, prior)
    assert min_dcf(target, nontarget, prior) <= 1.0


def test_worked_example():
    # p = 0.1: threshold ln 9 = 2.197. One of four targets missed, one of five non-targets accepted:
    # (0.1 * 0.25 + 0.9 * 0.2) / 0.1 = 2.05.
    assert act_dcf([3, 3, 3, 2], [2.5, 0, 0, 0, 0], 0.1) == pytest.approx(2.05)
    # At threshold 3 nothing is accepted falsely: 0.25.
    assert min_dcf([3, 3, 3, 2], [2.5, 0, 0, 0, 0], 0.1) == pytest.approx(0.25)


def test_an_llr_on_the_bayes_threshold_is_accepted():
    threshold = bayes_threshold(0.05)
    assert threshold == pytest.approx(np.log(19))
    assert act_dcf([threshold], [threshold - 1e-9], 0.05) == 0.0
    assert act_dcf([threshold - 1e-9], [threshold - 1e-9], 0.05) == 1.0
    assert act_dcf([np.inf], [-np.inf], 0.05) == 0.0


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, np.nan])
def test_a_prior_outside_0_and_1_is_refused(prior):
    with pytest.raises(ValueError, match="p_target"):
        min_dcf([1.0], [0.0], prior)
    with pytest.raises(ValueError, match="p_target"):
        act_dcf([1.0], [0.0], prior)
