"""Cosine scores against scipy's distance, the three ways against each other."""

import numpy as np
import pytest
from scipy.spatial.distance import cosine as cosine_distance

from steps.backend import cosine
from steps.backend.cosine import (
    cosine_matrix,
    cosine_pairs,
    fixed_point_rows,
    float_rows,
    row_lengths,
    score_pairs,
    unit_rows_float32,
)


def test_all_three_ways_equal_scipy(monkeypatch):
    monkeypatch.setattr(cosine, "CHUNK_TRIALS", 10)  # so that chunks are joined
    monkeypatch.setattr(cosine, "CHUNK_ROWS", 6)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(20, 7))
    enrol, test = rng.integers(20, size=55), rng.integers(20, size=55)
    expected = [1 - cosine_distance(embeddings[e], embeddings[t]) for e, t in zip(enrol, test, strict=True)]
    np.testing.assert_allclose(cosine_pairs(embeddings, enrol, test), expected, atol=1e-14)
    np.testing.assert_allclose(score_pairs(embeddings[enrol], embeddings[test]), expected, atol=1e-14)
    np.testing.assert_allclose(cosine_matrix(embeddings, embeddings)[enrol, test], expected, atol=1e-14)


def test_float32_embeddings_are_scored_in_double_precision():
    embeddings = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    scores = cosine_pairs(embeddings, [0, 1], [2, 3])
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, cosine_pairs(embeddings.astype(np.float64), [0, 1], [2, 3]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_unit_rows_in_single_precision_are_those_in_double_rounded_once(monkeypatch, dtype):
    monkeypatch.setattr(cosine, "CHUNK_ROWS", 6)
    embeddings = (10 * np.random.default_rng(2).normal(size=(20, 5))).astype(dtype)
    found = unit_rows_float32(embeddings, "x")
    exact = embeddings.astype(np.float64) / np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact.astype(np.float32))
    embeddings[7] = 0
    with pytest.raises(
        ValueError, match="x: expected embeddings with a length above 0, found 1 of 20 without, the first in row 7"
    ):
        unit_rows_float32(embeddings, "x")


def test_bad_numbers_in_single_precision_are_found(monkeypatch):
    monkeypatch.setattr(cosine, "CHUNK_ROWS", 2)
    embeddings = np.ones((5, 3), dtype=np.float32)
    embeddings[4, 1] = np.inf
    with pytest.raises(ValueError, match="embeddings: expected finite numbers, found others in 1 of 5 rows, the first in row 4"):
        cosine_pairs(embeddings, [0], [1])


def test_no_trials_give_no_scores():
    assert cosine_pairs(np.ones((2, 3)), np.array([], dtype=int), np.array([], dtype=int)).shape == (0,)


@pytest.mark.parametrize(
    ("enrol", "test", "message"),
    [
        ([0, 3], [0, 0], "enrol_index: expected 0 to 2, found 0 to 3"),
        ([-1], [0], "enrol_index: expected 0 to 2, found -1"),
        ([0, 1], [0], "test_index: expected 2 trials"),
        ([0.5], [0], "whole numbers"),
    ],
)
def test_bad_trial_indices_are_refused(enrol, test, message):
    with pytest.raises(ValueError, match=message):
        cosine_pairs(np.eye(3), enrol, test)


def test_zero_embeddings_and_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match="test embeddings: expected embeddings with a length above 0"):
        score_pairs(np.ones((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="expected 2 rows as in enrolment, found 1"):
        score_pairs(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        cosine_matrix(np.ones((2, 3)), np.ones((1, 4)))


@pytest.mark.parametrize("dim", [1, 3, 192, 5000])
def test_products_of_rows_in_fixed_point_are_exact_and_near_the_cosines(dim):
    rng = np.random.default_rng(dim)
    rows = np.concatenate([rng.normal(size=(12, dim)), np.ones((2, dim)), -np.ones((1, dim)), np.eye(1, dim) * 1e20])
    rows = float_rows(rows.astype(np.float32), "x")
    fixed = fixed_point_rows(rows, row_lengths(rows, "x"))
    found = fixed @ fixed.T
    numbers = [[int(value) for value in row] for row in fixed * 2**26]  # Python's whole numbers have no last bits
    assert (np.array(numbers) / 2**26 == fixed).all()
    for i, one in enumerate(numbers):
        for j, other in enumerate(numbers):
            exact = sum(a * b for a, b in zip(one, other, strict=True))
            assert int(found[i, j] * 2**52) == exact
            assert abs(exact) < 2**53
    error = abs(found - cosine_matrix(rows, rows))
    assert error.max() <= dim**0.5 * 2.0**-26
    assert error[:12, :12].max() < 5e-8


def test_embeddings_longer_than_double_precision_holds_are_refused_and_not_made_zeros():
    embeddings = np.ones((3, 4))
    embeddings[1] = 1e200
    for way in (lambda: row_lengths(embeddings, "x"), lambda: unit_rows_float32(embeddings, "x")):
        with pytest.raises(ValueError, match="finite length, found one beyond double precision in row 1"):
            way()
    with pytest.raises(ValueError, match="beyond double precision in row 1"):
        cosine_pairs(embeddings, [0], [1])
