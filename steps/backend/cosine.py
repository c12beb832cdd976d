"""Cosine scores: row by row, for a list of trials, or all against all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.pairs import dot, score_trials


def score_pairs(enrol: npt.ArrayLike, test: npt.ArrayLike) -> np.ndarray:
    """Return the cosine of each row of `enrol` [P, D] with the same row of `test` [P, D], as [P].

    Raises:
        ValueError: different shapes, values that are not finite, or a row of zeros.
    """
    enrol_PD = checked_embeddings(enrol, "enrolment embeddings")
    test_PD = checked_embeddings(test, "test embeddings", dim=enrol_PD.shape[1])
    if len(enrol_PD) != len(test_PD):
        raise ValueError(f"test embeddings: expected {len(enrol_PD)} rows as in enrolment, found {len(test_PD)}")
    return np.einsum("pd,pd->p", unit_rows(enrol_PD, "enrolment embeddings"), unit_rows(test_PD, "test embeddings"))


def cosine_pairs(embeddings: npt.ArrayLike, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
    """Return the cosine of embeddings `enrol_index[p]` and `test_index[p]` for each trial, as [P].

    Gathers in chunks, so that memory does not grow with trials times dimensions.

    Raises:
        ValueError: an index out of range, lists of different length, or an embedding of zeros.
    """
    return score_trials(dot, unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings"), enrol_index, test_index)


def cosine_matrix(enrol: npt.ArrayLike, test: npt.ArrayLike) -> np.ndarray:
    """Return the cosine of every row of `enrol` [M, D] with every row of `test` [N, D], as [M, N].

    Raises:
        ValueError: different dimensions, values that are not finite, or a row of zeros.
    """
    enrol_MD = checked_embeddings(enrol, "enrolment embeddings")
    test_ND = checked_embeddings(test, "test embeddings", dim=enrol_MD.shape[1])
    return unit_rows(enrol_MD, "enrolment embeddings") @ unit_rows(test_ND, "test embeddings").T
