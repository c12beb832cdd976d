"""Sums over dimensions for lists of trials, against one trial after the other."""

import numpy as np
import pytest

from steps.backend import bilinear
from steps.backend.bilinear import quadratic_trials, trial_dots, weighted_squares


@pytest.mark.parametrize("block", [1, 35, 10**6])  # one trial, seven trials, all at a time
@pytest.mark.parametrize("groups", [1, 3, 150])  # 150 are more than are handled together
def test_trials_equal_the_sum_written_out(monkeypatch, block, groups):
    monkeypatch.setattr(bilinear, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(bilinear, "SQUARED_NUMBERS", block)
    rng = np.random.default_rng(0)
    left, right, weight = rng.normal(size=(200, 5)), rng.normal(size=(20, 5)), rng.normal(size=(groups, 5))
    group, add = rng.integers(0, groups, 200), rng.normal(size=200)
    rows, columns = rng.integers(0, 200, 500), rng.integers(0, 20, 500)
    expected = [
        add[m] + sum(left[m, d] * right[n, d] + weight[group[m], d] * right[n, d] ** 2 for d in range(5))
        for m, n in zip(rows, columns, strict=True)
    ]
    np.testing.assert_allclose(quadratic_trials(left, add, group, weight, right, rows, columns), expected, atol=1e-12)
    np.testing.assert_allclose(trial_dots(left, right, rows, columns), (left[rows] * right[columns]).sum(1), atol=1e-12)
    np.testing.assert_allclose(weighted_squares(right, weight), right**2 @ weight.T, atol=1e-12)


def test_no_trials_and_no_dimensions_give_no_error():
    none = np.empty(0, dtype=int)
    assert trial_dots(np.ones((2, 3)), np.ones((4, 3)), none, none).shape == (0,)
    np.testing.assert_array_equal(trial_dots(np.ones((2, 0)), np.ones((4, 0)), np.array([0, 1]), np.array([3, 3])), [0, 0])
