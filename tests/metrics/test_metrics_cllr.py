"""Cllr against its formula; minimum Cllr against the max-min form of isotonic regression and scikit-learn."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from steps.metrics.cllr import cllr, min_cllr


def tied_scores(seed: int) -> tuple[list[int], list[int]]:
    """Target and non-target scores of few distinct values, so that most are equal to others of either kind."""
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-4, 5, size=rng.integers(1, 11)).tolist() for _ in range(2))


def cost_of_posteriors(posterior_t, posterior_n, num_t: int, num_n: int) -> float:
    """Cllr of the LLRs that posteriors at the empirical prior stand for; infinite ones included."""
    with np.errstate(divide="ignore"):
        offset = np.log(num_t / num_n)
        llr_t = np.log(posterior_t) - np.log1p(-posterior_t) - offset
        llr_n = np.log(posterior_n) - np.log1p(-posterior_n) - offset
    return cllr(llr_t, llr_n)


def brute_isotonic(share: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """max over j <= i of min over k >= i of the weighted mean of j..k: the closed form of isotonic regression."""
    size = share.size

    def mean(j: int, k: int) -> float:
        return np.average(share[j : k + 1], weights=weight[j : k + 1])

    return np.array([max(min(mean(j, k) for k in range(i, size)) for j in range(i + 1)) for i in range(size)])


def test_cllr_of_hand_picked_llrs():
    assert cllr([0.0, 0.0], [0.0]) == pytest.approx(1.0)
    # log2(1 + 1/3) and log2(1 + 1/7), averaged.
    assert cllr([np.log(3)], [-np.log(7)]) == pytest.approx(0.5 * (np.log2(4 / 3) + np.log2(8 / 7)))
    assert cllr([np.inf], [-np.inf]) == 0.0
    assert cllr([-np.inf, 1.0], [0.0]) == np.inf
    # No overflow: each nat on the wrong side costs 1 / ln 2 bits, halved by the mean over kinds.
    assert cllr([-5000.0], [-np.inf]) == pytest.approx(2500 / np.log(2))


@pytest.mark.parametrize("seed", range(60))
def test_min_cllr_equals_brute_force_isotonic_calibration(seed):
    target, nontarget = tied_scores(seed)
    values = np.unique([*target, *nontarget])
    num_t = np.array([target.count(v) for v in values], dtype=float)
    num_n = np.array([nontarget.count(v) for v in values], dtype=float)
    posterior = brute_isotonic(num_t / (num_t + num_n), num_t + num_n)
    at = {value: p for value, p in zip(values, posterior, strict=True)}
    expected = cost_of_posteriors(
        np.array([at[s] for s in target]), np.array([at[s] for s in nontarget]), len(target), len(nontarget)
    )
    assert min_cllr(target, nontarget) == pytest.approx(expected, abs=1e-9)


def test_min_cllr_equals_scikit_learn_on_many_tied_scores():
    rng = np.random.default_rng(5)
    target, nontarget = rng.normal(1, 1, 2000).round(2), rng.normal(0, 1, 3000).round(2)
    truth = np.r_[np.ones(2000), np.zeros(3000)]
    posterior = IsotonicRegression().fit_transform(np.r_[target, nontarget], truth)
    assert min_cllr(target, nontarget) == pytest.approx(
        cost_of_posteriors(posterior[:2000], posterior[2000:], 2000, 3000), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(60))
def test_min_cllr_is_at_most_cllr_of_any_increasing_map(seed):
    target, nontarget = tied_scores(seed)
    rng = np.random.default_rng(seed)
    for scale, offset in zip(rng.uniform(0.1, 3, 20), rng.uniform(-2, 2, 20), strict=True):
        assert min_cllr(target, nontarget) <= cllr(*(scale * np.array(s) + offset for s in (target, nontarget))) + 1e-12
    assert min_cllr(target, nontarget) <= 1 + 1e-12


def test_separated_scores_have_no_min_cllr_and_constant_ones_a_bit():
    assert min_cllr([2.0, 3.0], [0.0, 1.0]) == 0.0
    assert min_cllr([1.0] * 3, [1.0] * 7) == pytest.approx(1.0)


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="target LLRs: expected numbers"):
        cllr([np.nan], [0.0])
