"""Scores of pairs against loops, and the head of a siamese network against its sigmoid."""

import math

import numpy as np
import pytest

from steps.backend import pairs
from steps.backend.scorer import Scorer
from steps.backend.settings import Score

X_ND = np.random.default_rng(0).normal(size=(9, 4))
ENROL, TEST = np.array([0, 1, 2, 3, 8]), np.array([5, 1, 7, 0, 2])
HEADS = {
    "euclidean": {"type": "euclidean", "weights": [1.5], "bias": -2.0},
    "weighted_l1": {"type": "weighted_l1", "weights": [0.5, -1.0, 2.0, 0.1], "bias": 0.3},
}


def by_loop(backend, a, b):
    if backend == "dot":
        return sum(p * q for p, q in zip(a, b, strict=True))
    return -math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def probability_of_different(head, a, b):
    if head["type"] == "euclidean":
        value = head["weights"][0] * math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
    else:
        value = sum(w * abs(p - q) for w, p, q in zip(head["weights"], a, b, strict=True))
    return 1 / (1 + math.exp(-value - head["bias"]))


@pytest.mark.parametrize("backend", ["dot", "euclidean"])
def test_scores_are_those_of_loops(backend):
    found = Scorer(Score(backend=backend, transforms=())).score(X_ND, ENROL, TEST)
    assert found == pytest.approx([by_loop(backend, X_ND[i], X_ND[j]) for i, j in zip(ENROL, TEST, strict=True)])


@pytest.mark.parametrize("kind", ["euclidean", "weighted_l1"])
def test_a_siamese_score_is_the_log_odds_of_the_head_s_sigmoid(kind):
    found = Scorer(Score(backend="siamese", transforms=()), HEADS[kind]).score(X_ND, ENROL, TEST)
    for score, i, j in zip(found, ENROL, TEST, strict=True):
        different = probability_of_different(HEADS[kind], X_ND[i], X_ND[j])
        assert score == pytest.approx(math.log((1 - different) / different))


def test_chunks_change_nothing(monkeypatch):
    whole = pairs.score_trials(pairs.dot, X_ND, ENROL, TEST)
    monkeypatch.setattr(pairs, "CHUNK_NUMBERS", 8)
    assert np.array_equal(pairs.score_trials(pairs.dot, X_ND, ENROL, TEST), whole)


@pytest.mark.parametrize("score", [pairs.dot, pairs.negative_euclidean, pairs.siamese(HEADS["weighted_l1"], 4)])
def test_the_matrix_has_the_scores_of_all_pairs(score):
    matrix = pairs.score_matrix(score, X_ND[:3], X_ND)
    every = pairs.score_trials(score, X_ND, np.repeat(np.arange(3), 9), np.tile(np.arange(9), 3))
    np.testing.assert_allclose(matrix, every.reshape(3, 9), rtol=1e-12)


@pytest.mark.parametrize("backend", ["dot", "euclidean"])
def test_score_normalisation_takes_these_scores_too(backend):
    rng = np.random.default_rng(1)
    train_ND, speakers = rng.normal(size=(40, 4)), np.repeat(np.arange(10), 4)
    settings = Score(backend=backend, transforms=(), norm="s_norm")
    found = Scorer(settings).fit(train_ND, speakers).score(X_ND, ENROL, TEST)
    cohort = [train_ND[speakers == s].mean(axis=0) for s in range(10)]
    for score, i, j in zip(found, ENROL, TEST, strict=True):
        plain, sides = by_loop(backend, X_ND[i], X_ND[j]), []
        for row in (i, j):
            values = np.array([by_loop(backend, X_ND[row], each) for each in cohort])
            sides.append((plain - values.mean()) / values.std())
        assert score == pytest.approx(sum(sides) / 2)


@pytest.mark.parametrize(
    "head", [{}, {"type": "cosine", "weights": [1.0], "bias": 0}, {"type": "weighted_l1", "weights": [1.0], "bias": 0}]
)
def test_a_head_of_another_shape_is_refused(head):
    with pytest.raises(ValueError, match="pair head: expected type euclidean with 1 weight or weighted_l1 with 4"):
        pairs.siamese(head, 4)


def test_the_siamese_back_end_needs_a_siamese_network():
    with pytest.raises(ValueError, match="siamese"):
        Scorer(Score(backend="siamese"))


def test_indices_out_of_range_and_lists_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="enrol_index"):
        pairs.score_trials(pairs.dot, X_ND, [9], [0])
    with pytest.raises(ValueError, match="expected 2 trials"):
        pairs.score_trials(pairs.dot, X_ND, [0, 1], [0])
