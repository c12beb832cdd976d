"""What is added to covariances that cannot be inverted."""

import numpy as np
import pytest

from steps.backend.ridge import added_ridge, is_singular, mean_variance, ridge_note


def test_singular_is_what_lacks_a_dimension_up_to_rounding():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    full = x.T @ x
    assert not is_singular(full)
    assert not is_singular(full * 1e-12)  # the scale says nothing
    assert not is_singular(np.diag([1.0, 1e-8]))
    assert is_singular(np.diag([1.0, 1e-11]))
    assert is_singular(x[:3].T @ x[:3])
    copied = np.hstack([x, (x[:, :1] * 3).astype(np.float32)])  # a copy in single precision is a copy
    assert is_singular(copied.T @ copied)


@pytest.mark.parametrize(("ridge", "share"), [(0.0, 0.0), (0.5, 0.5)])
def test_ridge_is_a_share_of_the_mean_variance(ridge, share):
    x = np.random.default_rng(1).normal(size=(50, 3)) * [1.0, 2.0, 5.0] + 7.0
    assert mean_variance(x) == pytest.approx(np.trace(np.cov(x.T, bias=True)) / 3)
    assert added_ridge(np.eye(3), x, ridge) == pytest.approx(share * mean_variance(x))
    assert added_ridge(np.diag([1.0, 1.0, 0.0]), x, ridge) == pytest.approx((share or 0.1) * mean_variance(x))


def test_note_speaks_of_what_was_not_asked_for():
    assert ridge_note(0.0, 0.0, "LDA") == ridge_note(0.2, 0.5, "LDA") == ""
    assert ridge_note(0.2, 0.0, "LDA").startswith("LDA: the training embeddings do not span all dimensions")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="expected embeddings that differ, found 4 equal ones"):
        added_ridge(np.eye(2), np.ones((4, 2)), 0.1)
    for ridge in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="ridge: expected 0 or more"):
            added_ridge(np.eye(2), np.eye(2), ridge)
