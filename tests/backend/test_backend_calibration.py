"""Calibration against a search for the least Cllr, and against scores whose LLR is known in closed form."""

import numpy as np
import pytest
from scipy.optimize import minimize

from steps.backend.calibration import LinearCalibration
from steps.backend.estimator import get_state, set_state
from steps.metrics.cllr import cllr, min_cllr


def gaussian_scores(seed: int = 0, num: int = 2000, gap: float = 2.0):
    rng = np.random.default_rng(seed)
    truth = rng.random(num) < 0.3
    return rng.normal(size=num) + gap * truth, truth


def objective(parameters, scores, truth, prior) -> float:
    """Prior-weighted cost in nats, as Brummer writes it."""
    log_odds = parameters[0] * scores + parameters[1] + np.log(prior / (1 - prior))
    cost_t = np.logaddexp(0, -log_odds[truth]).mean()
    return prior * cost_t + (1 - prior) * np.logaddexp(0, log_odds[~truth]).mean()


@pytest.mark.parametrize("prior", [0.001, 0.05, 0.5, 0.9])
def test_scale_and_offset_minimise_the_prior_weighted_cost(prior):
    scores, truth = gaussian_scores()
    found = minimize(objective, [1.0, 0.0], (scores, truth, prior), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    fitted = LinearCalibration(prior).fit(scores, truth)
    # The ridge moves the scale by about 1e-5 of itself, ten times that in the far tails that a prior of 0.001 looks at.
    assert fitted.scale_ == pytest.approx(found.x[0], rel=1e-3)
    assert fitted.offset_ == pytest.approx(found.x[1], rel=1e-3)
    assert objective([fitted.scale_, fitted.offset_], scores, truth, prior) <= found.fun * (1 + 1e-6)


def test_at_prior_one_half_no_affine_map_has_a_lower_cllr():
    scores, truth = gaussian_scores()
    fitted = LinearCalibration(0.5).fit(scores, truth)
    llrs = fitted.transform(scores)
    best = cllr(llrs[truth], llrs[~truth])
    assert min_cllr(scores[truth], scores[~truth]) <= best
    for scale, offset in [(1.01, 0), (0.99, 0), (1, 0.02), (1, -0.02)]:
        moved = scale * llrs + offset
        assert cllr(moved[truth], moved[~truth]) > best


def test_gaussian_scores_get_their_closed_form_llr():
    # Unit normals at 0 and 2: LLR = 2 s - 2. With 100,000 trials the standard error of the scale is near 0.02.
    scores, truth = gaussian_scores(1, 100_000)
    fitted = LinearCalibration(0.5).fit(scores, truth)
    assert fitted.scale_ == pytest.approx(2, abs=0.08)
    assert fitted.offset_ == pytest.approx(-2, abs=0.08)


def test_llrs_ignore_an_affine_map_of_the_scores():
    scores, truth = gaussian_scores()
    llrs = LinearCalibration(0.05).fit(scores, truth).transform(scores)
    mapped = 1e4 * scores - 3e5
    np.testing.assert_allclose(LinearCalibration(0.05).fit(mapped, truth).transform(mapped), llrs, atol=1e-6)


@pytest.mark.parametrize("prior", [0.01, 0.5])
def test_perfectly_separated_scores_give_finite_moderate_llrs(prior):
    scores, truth = gaussian_scores(gap=30.0)
    assert scores[truth].min() > scores[~truth].max()
    llrs = LinearCalibration(prior).fit(scores, truth).transform(scores)
    assert llrs[truth].min() > 3
    assert llrs[~truth].max() < -3
    assert np.abs(llrs).max() < 30


def test_shuffled_truth_gives_llrs_near_zero():
    scores, truth = gaussian_scores(2, 20_000)
    llrs = LinearCalibration(0.5).fit(scores, np.random.default_rng(0).permutation(truth)).transform(scores)
    assert np.abs(llrs).max() < 0.2


def test_state_is_two_numbers():
    scores, truth = gaussian_scores()
    fitted = LinearCalibration(0.5).fit(scores, truth)
    other = LinearCalibration(0.5)
    set_state(other, get_state(fitted))
    assert isinstance(other.scale_, float)
    np.testing.assert_array_equal(other.transform(scores), fitted.transform(scores))


@pytest.mark.parametrize(
    ("prior", "scores", "truth", "message"),
    [
        (0.0, [0.0, 1.0], [0, 1], "prior: expected a probability"),
        (0.5, [0.0, 1.0], [1, 1], "both kinds, found 2 targets in 2 trials"),
        (0.5, [1.0, 1.0], [0, 1], "expected scores that vary"),
        (0.5, [0.0, np.nan], [0, 1], "scores: expected finite numbers"),
        (0.5, [0.0, 1.0], [1], "is_target: expected 2 booleans"),
        (0.5, [[0.0], [1.0]], [0, 1], "scores: expected one a trial"),
    ],
)
def test_bad_input_is_refused(prior, scores, truth, message):
    with pytest.raises(ValueError, match=message):
        LinearCalibration(prior).fit(scores, truth)


def test_not_fitted_is_refused():
    with pytest.raises(ValueError, match="call fit first"):
        LinearCalibration(0.5).transform([1.0])
