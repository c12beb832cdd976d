"""Fusion against the closed-form LLR of independent Gaussian systems and against calibration of one system."""

import numpy as np
import pytest

from steps.backend.calibration import LinearCalibration
from steps.backend.fusion import LinearFusion, MeanFusion
from steps.metrics.error_rates import eer


def two_systems(seed: int = 0, num: int = 40_000):
    rng = np.random.default_rng(seed)
    truth = rng.random(num) < 0.4
    return rng.normal(size=(num, 2)) + truth[:, None] * np.array([1.0, 2.0]), truth


def test_weights_of_independent_gaussian_systems_are_their_gaps():
    # Unit normals with gaps 1 and 2: LLR = 1 s1 + 2 s2 - (1 + 4) / 2. Standard errors are near 0.03.
    scores, truth = two_systems()
    fusion = LinearFusion(0.5).fit(scores, truth)
    np.testing.assert_allclose(fusion.weights_K_, [1, 2], atol=0.12)
    assert fusion.offset_ == pytest.approx(-2.5, abs=0.12)


def test_fusion_beats_each_system():
    scores, truth = two_systems()
    llrs = LinearFusion(0.05).fit(scores[::2], truth[::2]).transform(scores[1::2])
    fused = eer(llrs[truth[1::2]], llrs[~truth[1::2]])
    # Closed form: gap sqrt(5), EER Phi(-sqrt(5) / 2) = 0.1318; the better system alone Phi(-1) = 0.1587.
    assert fused == pytest.approx(0.1318, abs=0.01)


def test_one_system_is_its_calibration():
    scores, truth = two_systems(num=2000)
    fused = LinearFusion(0.1).fit(scores[:, :1], truth).transform(scores[:, :1])
    np.testing.assert_array_equal(fused, LinearCalibration(0.1).fit(scores[:, 0], truth).transform(scores[:, 0]))


def test_a_system_and_its_copy_share_the_weight():
    scores, truth = two_systems(num=2000)
    alone = LinearCalibration(0.5).fit(scores[:, 0], truth).transform(scores[:, 0])
    twice = LinearFusion(0.5).fit(scores[:, [0, 0]], truth)
    assert twice.weights_K_[0] == pytest.approx(twice.weights_K_[1])
    # The ridge counts half for two equal weights, hence not bit for bit.
    np.testing.assert_allclose(twice.transform(scores[:, [0, 0]]), alone, atol=1e-3)


def test_mean_fusion_is_the_mean_of_standard_scores():
    train, test = np.array([[0.0, 10.0], [2.0, 30.0]]), np.array([[1.0, 20.0], [3.0, 20.0]])
    # Means 1 and 20, standard deviations (with n) 1 and 10.
    np.testing.assert_allclose(MeanFusion().fit(train).transform(test), [0.0, 1.0])


def test_bad_input_is_refused():
    scores, truth = two_systems(num=50)
    with pytest.raises(ValueError, match="expected 2 dimensions as in training, found 1"):
        LinearFusion(0.5).fit(scores, truth).transform(scores[:, :1])
    constant = np.column_stack([scores[:, 0], np.ones(50)])
    for fusion in (LinearFusion(0.5), MeanFusion()):
        with pytest.raises(ValueError, match="one value only in column 1"):
            fusion.fit(constant, truth)
        with pytest.raises(ValueError, match="call fit first"):
            fusion.transform(scores)
