"""Calibration against a search for the least Cllr, against scikit-learn's isotonic regression, and against closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from steps.backend.calibration import IsotonicCalibration, LinearCalibration, QualityCalibration
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


def with_qualities(seed: int = 0, num: int = 3000):
    """Scores whose best threshold moves with one quality; the other one says nothing."""
    rng = np.random.default_rng(seed)
    truth, qualities = rng.random(num) < 0.3, rng.normal(size=(num, 2))
    return rng.normal(size=num) + 2 * truth + 1.5 * qualities[:, 0], qualities, truth


@pytest.mark.parametrize("prior", [0.05, 0.5])
def test_quality_weights_minimise_the_prior_weighted_cost(prior):
    scores, qualities, truth = with_qualities()
    fitted = QualityCalibration(prior, ("first", "second")).fit(scores, qualities, truth)
    columns = np.column_stack([scores, qualities])
    found = minimize(
        lambda p: objective([1.0, p[3]], columns @ p[:3], truth, prior), np.zeros(4), method="BFGS", options={"gtol": 1e-9}
    )
    np.testing.assert_allclose([fitted.scale_, *fitted.weights_Q_, fitted.offset_], found.x, rtol=2e-3, atol=2e-3)
    # In closed form 2 (s - 1.5 q) - 2.
    np.testing.assert_allclose([fitted.scale_, *fitted.weights_Q_, fitted.offset_], [2, -3, 0, -2], atol=0.45)


def test_quality_calibration_beats_the_linear_one_on_other_trials():
    train, test = with_qualities(0), with_qualities(1)
    plain = LinearCalibration(0.5).fit(train[0], train[2]).transform(test[0])
    better = QualityCalibration(0.5, ("a", "b")).fit(*train).transform(*test[:2])
    assert cllr(better[test[2]], better[~test[2]]) < cllr(plain[test[2]], plain[~test[2]]) - 0.1


def test_quality_state_is_plain():
    scores, qualities, truth = with_qualities(num=200)
    fitted = QualityCalibration(0.5, ("a", "b")).fit(scores, qualities, truth)
    other = QualityCalibration(0.5, ("a", "b"))
    set_state(other, get_state(fitted))
    np.testing.assert_array_equal(other.transform(scores, qualities), fitted.transform(scores, qualities))


def test_bad_qualities_are_refused():
    scores, qualities, truth = with_qualities(num=50)
    flat = np.column_stack([qualities[:, 0], np.ones(50)])
    with pytest.raises(ValueError, match="one value only of 'b'; leave it out"):
        QualityCalibration(0.5, ("a", "b")).fit(scores, flat, truth)
    for wrong in (qualities[:, :1], qualities[:-1]):
        with pytest.raises(ValueError, match="a row for each of 50 scores and the columns a, b"):
            QualityCalibration(0.5, ("a", "b")).fit(scores, wrong, truth)
    with pytest.raises(ValueError, match="different names"):
        QualityCalibration(0.5, ("a", "a")).fit(scores, qualities, truth)
    with pytest.raises(ValueError, match="call fit first"):
        QualityCalibration(0.5, ("a", "b")).transform(scores, qualities)


def tied_scores(seed: int = 0, num: int = 400):
    scores, truth = gaussian_scores(seed, num, gap=1.5)
    return np.round(scores, 1), truth


def test_isotonic_llrs_are_the_log_odds_of_isotonic_regression():
    scores, truth = tied_scores()
    fitted = IsotonicCalibration(smoothing=0).fit(scores, truth)
    shares = IsotonicRegression().fit(scores, truth.astype(float)).predict(scores)
    with np.errstate(divide="ignore"):
        expected = np.log(shares) - np.log(1 - shares) - np.log(truth.mean() / (1 - truth.mean()))
    np.testing.assert_allclose(fitted.transform(scores), expected, atol=1e-9)
    assert fitted.llr_B_[0] == -np.inf
    assert (np.diff(fitted.llr_B_) > 0).all()


@pytest.mark.parametrize("interpolation", ["linear", "step"])
def test_isotonic_cllr_on_its_own_trials_is_min_cllr(interpolation):
    for scores, truth in (tied_scores(1), gaussian_scores(2, 500), gaussian_scores(3, 50, gap=20.0)):
        llrs = IsotonicCalibration(0, interpolation).fit(scores, truth).transform(scores)
        assert cllr(llrs[truth], llrs[~truth]) == pytest.approx(min_cllr(scores[truth], scores[~truth]), abs=1e-12)


def test_smoothing_is_isotonic_regression_with_a_pair_of_trials_at_both_ends():
    scores, truth = tied_scores(4)
    padded = np.concatenate([[-99, -99], scores, [99, 99]])
    targets = np.concatenate([[1, 0], truth, [1, 0]])
    shares = IsotonicRegression().fit(padded, targets.astype(float)).predict(scores)
    expected = np.log(shares / (1 - shares)) - np.log(truth.sum() / (~truth).sum())
    fitted = IsotonicCalibration().fit(scores, truth)
    np.testing.assert_allclose(fitted.transform(scores), expected, atol=1e-9)
    assert np.isfinite(fitted.llr_B_).all()


def test_separated_scores_are_smoothed_by_the_rule_of_succession():
    scores, truth = np.arange(10.0), np.arange(10) >= 4
    # 4 non-targets and 6 targets; one more of each kind in each block.
    low, high = np.log((1 / 6) / (5 / 4)), np.log((7 / 6) / (1 / 4))
    llrs = IsotonicCalibration().fit(scores, truth).transform([-50.0, 3.0, 3.25, 4.0, 50.0])
    np.testing.assert_allclose(llrs, [low, low, low + (high - low) / 4, high, high], atol=1e-12)
    np.testing.assert_array_equal(
        IsotonicCalibration(0).fit(scores, truth).transform([-50.0, 3.0, 3.5, 4.0]), [-np.inf, -np.inf, 0, np.inf]
    )


def test_isotonic_interpolation_by_hand():
    scores, truth = [0.0, 0.0, 1.0, 2.0, 4.0, 4.0], [0, 1, 1, 0, 1, 1]
    # Shares of targets: 1/2 at 0; 1 and 0 pooled to 1/2, and with the first to 1/2 (equal means); 1 at 4. Prior odds 2.
    step = IsotonicCalibration(0, "step").fit(scores, truth)
    np.testing.assert_allclose(step.transform([-9.0, 2.0, 2.9]), -np.log(2))
    np.testing.assert_array_equal(step.transform([3.0, 4.0, 9.0]), np.inf)
    linear = IsotonicCalibration(1, "linear").fit(scores, truth)
    # Pairs at the ends: below (1 + 2) of (2 + 4), above (1 + 2) of (2 + 2), all over the odds of 2.
    low, high = np.log(1 / 2), np.log(3 / 2)
    np.testing.assert_allclose(
        linear.transform([-9.0, 2.0, 2.5, 3.0, 4.0]), [low, low, 0.75 * low + 0.25 * high, (low + high) / 2, high]
    )


def test_isotonic_calibration_never_falls_and_ignores_order_and_monotone_maps():
    scores, truth = tied_scores(5)
    fitted = IsotonicCalibration().fit(scores, truth)
    assert (np.diff(fitted.transform(np.linspace(-9, 9, 5000))) >= 0).all()
    order = np.random.default_rng(0).permutation(scores.size)
    np.testing.assert_array_equal(
        IsotonicCalibration().fit(scores[order], truth[order]).transform(scores), fitted.transform(scores)
    )
    np.testing.assert_allclose(
        IsotonicCalibration().fit(np.exp(scores), truth).transform(np.exp(scores)), fitted.transform(scores), atol=1e-12
    )


def test_isotonic_gaussian_scores_get_their_closed_form_llr():
    scores, truth = gaussian_scores(1, 100_000)
    inside = np.linspace(-0.5, 2.5, 20)
    np.testing.assert_allclose(IsotonicCalibration().fit(scores, truth).transform(inside), 2 * inside - 2, atol=0.25)


def test_isotonic_state_is_plain_also_with_one_block():
    for scores, truth in (tied_scores(6), (np.array([1.0, 0.0]), np.array([False, True]))):
        fitted, other = IsotonicCalibration().fit(scores, truth), IsotonicCalibration()
        set_state(other, get_state(fitted))
        np.testing.assert_array_equal(other.transform(scores), fitted.transform(scores))
    assert fitted.llr_B_.size == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [((-1.0,), "smoothing: expected a number from 0"), ((1.0, "cubic"), "'linear' or 'step', found 'cubic'")],
)
def test_bad_isotonic_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        IsotonicCalibration(*settings).fit([0.0, 1.0], [0, 1])
    with pytest.raises(ValueError, match="call fit first"):
        IsotonicCalibration().transform([0.0])
