"""Scores of pairs of embeddings by dot product, Euclidean distance, or the head of a siamese network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index

CHUNK_NUMBERS = 4_000_000  # float64 numbers gathered at a time, 32 MB a side
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # two arrays [..., D] that broadcast -> [...]; higher = more alike


def dot(enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the products over the last axis."""
    return np.einsum("...d,...d->...", enrol, test)


def negative_euclidean(enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return minus the distances over the last axis."""
    return -np.linalg.norm(enrol - test, axis=-1)


def siamese(head: Mapping[str, Any], dim: int) -> Score:
    """Return the score of a siamese head: the log odds that it gives to "the same speaker".

    The head's sigmoid is the probability of "different": its input is weight * distance + bias ("euclidean"), or a
    weighted sum of absolute differences + bias ("weighted_l1").

    Args:
        head: `type`, `weights` (one, or one for each dimension) and `bias`, as pair_head.json of a model holds them.
        dim: of the embeddings.

    Raises:
        ValueError: another type, or not as many weights as it needs.
    """
    kind, weights_D = head.get("type"), np.asarray(head.get("weights", ()), dtype=np.float64)
    expected = {"euclidean": 1, "weighted_l1": dim}.get(str(kind))
    if expected is None or weights_D.shape != (expected,):
        raise ValueError(
            f"pair head: expected type euclidean with 1 weight or weighted_l1 with {dim}, found {kind!r} with {weights_D.size}"
        )
    bias = float(head["bias"])
    if kind == "euclidean":
        return lambda enrol, test: weights_D[0] * negative_euclidean(enrol, test) - bias
    return lambda enrol, test: -(np.abs(enrol - test) @ weights_D) - bias


def score_trials(score: Score, embeddings: npt.ArrayLike, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
    """Return the score of embeddings `enrol_index[p]` and `test_index[p]` for each trial, as [P]; in chunks.

    Raises:
        ValueError: an index out of range, lists of different length, or embeddings that are not finite.
    """
    x_ND = checked_embeddings(embeddings, "embeddings")
    enrol_P = checked_index(enrol_index, len(x_ND), "enrol_index")
    test_P = checked_index(test_index, len(x_ND), "test_index")
    if enrol_P.size != test_P.size:
        raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
    scores_P = np.empty(enrol_P.size)
    step = max(1, CHUNK_NUMBERS // x_ND.shape[1])
    for start in range(0, enrol_P.size, step):
        chunk = slice(start, start + step)
        scores_P[chunk] = score(x_ND[enrol_P[chunk]], x_ND[test_P[chunk]])
    return scores_P


def score_matrix(score: Score, enrol: npt.ArrayLike, test: npt.ArrayLike) -> np.ndarray:
    """Return the score of every row of `enrol` [M, D] with every row of `test` [N, D], as [M, N]; a row at a time.

    Raises:
        ValueError: different dimensions, or values that are not finite.
    """
    enrol_MD = checked_embeddings(enrol, "enrolment embeddings")
    test_ND = checked_embeddings(test, "test embeddings", dim=enrol_MD.shape[1])
    return np.stack([score(row_D[None], test_ND) for row_D in enrol_MD])
