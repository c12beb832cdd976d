"""Cosine scores: row by row, for a list of trials, or all against all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index, unit_rows

CHUNK_TRIALS = 1024  # gathered at a time, so that both sides stay in the cache
CHUNK_ROWS = 4096  # looked at, or scaled, at a time
FIXED_POINT = 2.0**26  # of the numbers of `fixed_point_rows`


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

    Computed in double precision, gathered in chunks: memory grows neither with trials times dimensions nor by a copy of
    the embeddings.

    Raises:
        ValueError: an index out of range, lists of different length, or an embedding of zeros.
    """
    rows_ND = float_rows(embeddings, "embeddings")
    enrol_P = checked_index(enrol_index, len(rows_ND), "enrol_index")
    test_P = checked_index(test_index, len(rows_ND), "test_index")
    if enrol_P.size != test_P.size:
        raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
    length_N = row_lengths(rows_ND, "embeddings")
    scores_P = np.empty(enrol_P.size)
    for start in range(0, enrol_P.size, CHUNK_TRIALS):
        chunk = slice(start, start + CHUNK_TRIALS)
        enrol_pD, test_pD = (rows_ND[index[chunk]].astype(np.float64, copy=False) for index in (enrol_P, test_P))
        scores_P[chunk] = np.einsum("pd,pd->p", enrol_pD, test_pD)
        scores_P[chunk] /= length_N[enrol_P[chunk]]
        scores_P[chunk] /= length_N[test_P[chunk]]
    return scores_P


def cosine_matrix(enrol: npt.ArrayLike, test: npt.ArrayLike) -> np.ndarray:
    """Return the cosine of every row of `enrol` [M, D] with every row of `test` [N, D], as [M, N].

    Raises:
        ValueError: different dimensions, values that are not finite, or a row of zeros.
    """
    enrol_MD = checked_embeddings(enrol, "enrolment embeddings")
    test_ND = checked_embeddings(test, "test embeddings", dim=enrol_MD.shape[1])
    return unit_rows(enrol_MD, "enrolment embeddings") @ unit_rows(test_ND, "test embeddings").T


def float_rows(embeddings: npt.ArrayLike, name: str, *, dim: int | None = None) -> np.ndarray:
    """Return embeddings [N, D] as they are if they are float32, else as float64; checked as `checked_embeddings` does.

    Raises:
        ValueError: not a two-dimensional array with rows, another D than `dim`, or a value that is not finite.
    """
    rows_ND = np.asarray(embeddings)
    if rows_ND.dtype != np.float32 or rows_ND.ndim != 2 or 0 in rows_ND.shape or (dim or rows_ND.shape[1]) != rows_ND.shape[1]:
        return checked_embeddings(rows_ND, name, dim=dim)
    if not all(np.isfinite(rows_ND[start : start + CHUNK_ROWS]).all() for start in range(0, len(rows_ND), CHUNK_ROWS)):
        checked_embeddings(rows_ND, name)
    return rows_ND


def row_lengths(rows_ND: np.ndarray, name: str) -> np.ndarray:
    """Return the Euclidean length of each row in double precision, [N].

    Raises:
        ValueError: a row of zeros, which has no direction, or one whose length is beyond double precision.
    """
    length_N = np.empty(len(rows_ND))
    for start in range(0, len(rows_ND), CHUNK_ROWS):
        part = rows_ND[start : start + CHUNK_ROWS].astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            length_N[start : start + CHUNK_ROWS] = np.sqrt(np.einsum("nd,nd->n", part, part))
    if not np.isfinite(length_N).all():
        row = int((~np.isfinite(length_N)).argmax())
        raise ValueError(f"{name}: expected embeddings with a finite length, found one beyond double precision in row {row}")
    if not (length_N > 0).all():
        raise ValueError(
            f"{name}: expected embeddings with a length above 0, found {int((length_N == 0).sum())} of {length_N.size} "
            f"without, the first in row {int((length_N == 0).argmax())}"
        )
    return length_N


def unit_rows_float32(embeddings: npt.ArrayLike, name: str, *, dim: int | None = None) -> np.ndarray:
    """Return embeddings [N, D] scaled to unit length in double precision and rounded to float32, for products in float32.

    Raises:
        ValueError: as `float_rows`, or a row of zeros.
    """
    rows_ND = float_rows(embeddings, name, dim=dim)
    length_N = row_lengths(rows_ND, name)
    unit_ND = np.empty(rows_ND.shape, dtype=np.float32)
    for start in range(0, len(rows_ND), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        np.divide(rows_ND[chunk], length_N[chunk, None], out=unit_ND[chunk], casting="same_kind")
    return unit_ND


def fixed_point_rows(rows_ND: np.ndarray, length_N: np.ndarray) -> np.ndarray:
    """Return rows divided by their lengths, in double precision, rounded to multiples of 2**-26: for products that are exact.

    A product of two such numbers is a multiple of 2**-52, and no sum of products of two rows of unit length exceeds 1 by more
    than their rounding: double precision holds all of them exactly. So `a @ b.T` has the same bits whatever computes it: in any
    shape, at any place within it, by any kernel of any BLAS on any CPU, with any number of threads. In single precision it has
    not: OpenBLAS's kernel for CPUs with AVX2 sums every other row in another order. A cosine is off by about 1e-8, and
    by no more than 2**-26 times the root of D.

    Args:
        rows_ND: of `float_rows`.
        length_N: of `row_lengths`.
    """
    unit_ND = np.divide(rows_ND, length_N[:, None], dtype=np.float64)
    unit_ND *= FIXED_POINT
    np.rint(unit_ND, out=unit_ND)
    unit_ND /= FIXED_POINT
    return unit_ND
