"""Score normalisation against a cohort: z-, t- and s-norm, plain or adaptive (only the nearest of the cohort).

Works for any scoring function: it sees scores only; for the cosine there is a way that is several times as fast.
Standard deviations are divided by n.

Source: Matejka et al., "Analysis of score normalization in multilingual speaker recognition", Interspeech 2017
    (adaptive s-norm); Auckenthaler, Carey and Lloyd-Thomas, "Score normalization for text-independent speaker
    verification systems", 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steps.backend.cosine import fixed_point_rows, float_rows, row_lengths
from steps.backend.estimator import checked_embeddings, checked_index, class_means, speaker_codes, unit_rows

TopN = int | Literal["all"]

BLOCK_ROWS = 256  # items scored at a time against the cosine's cohort


@dataclass(frozen=True)
class CohortStatistics:
    """Mean and standard deviation of each item's cohort scores, arrays [N]."""

    mean: np.ndarray
    std: np.ndarray


def speaker_means(
    embeddings: npt.ArrayLike, speakers: Sequence[Any] | np.ndarray, *, mean: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return (cohort [S, D], sorted speaker ids [S]): one embedding of unit length for each training speaker.

    Embeddings less `mean` [D] (the training mean) are scaled to unit length, averaged by speaker, and scaled again.

    Raises:
        ValueError: not one speaker an embedding, another D, or a mean of zeros.
    """
    mean_D = np.asarray(mean, dtype=np.float64)
    embeddings_ND = checked_embeddings(embeddings, "training embeddings", dim=mean_D.size)
    ids_S, code_N = speaker_codes(speakers, len(embeddings_ND))
    unit_ND = unit_rows(embeddings_ND - mean_D, "centred training embeddings")
    mean_SD, _ = class_means(unit_ND, code_N, ids_S.size)
    return unit_rows(mean_SD, "speaker means"), ids_S


def cohort_statistics(scores_NC: npt.ArrayLike, *, top_n: TopN) -> CohortStatistics:
    """Return mean and standard deviation of each row's `top_n` highest cohort scores, or of all.

    Raises:
        ValueError: `top_n` under 2 or over the cohort's size, or a row whose chosen scores are all equal.
    """
    scores_NC = checked_embeddings(scores_NC, "cohort scores")
    _check_top(top_n, scores_NC.shape[1])
    return _statistics(scores_NC, top_n, 0)


def _check_top(top_n: TopN, size: int) -> None:
    if top_n != "all" and not 2 <= top_n <= size:
        raise ValueError(f"top_n: expected 'all' or 2 to {size}, the size of the cohort, found {top_n}")


def _statistics(scores_NC: np.ndarray, top_n: TopN, first_row: int) -> CohortStatistics:
    """Statistics of rows of scores, of which the first is number `first_row` for a message; in double precision."""
    if top_n != "all" and top_n < scores_NC.shape[1]:
        scores_NC = highest(scores_NC, top_n)
    scores_NC = scores_NC.astype(np.float64, copy=False)
    # A row of equal numbers may leave a standard deviation of rounding errors.
    flat_N = scores_NC.min(axis=1) == scores_NC.max(axis=1)
    if flat_N.any():
        raise ValueError(
            f"cohort scores: expected rows that vary, found {int(flat_N.sum())} of {flat_N.size} with one value only, "
            f"the first is row {first_row + int(flat_N.argmax())}"
        )
    return CohortStatistics(scores_NC.mean(axis=1), scores_NC.std(axis=1))


def highest(scores_NC: np.ndarray, num: int) -> np.ndarray:
    """Return the `num` highest scores of each row, ascending, [N, num]; the very ones that sorting the rows finds.

    Of groups of scores the best are looked at first: the `num`-th best group has `num` scores as good above or beside it,
    so that only those as good as that need be sorted, a small part of all.
    """
    num_rows, size = scores_NC.shape
    num_groups = size // max(1, min(16, 2 * size // (5 * num)))
    group_size = size // num_groups
    if group_size < 2:
        return np.sort(np.partition(scores_NC, size - num, axis=1)[:, size - num :], axis=1)
    best_NG = scores_NC[:, : group_size * num_groups].reshape(num_rows, group_size, num_groups).max(axis=1)
    floor_N = np.partition(best_NG, num_groups - num, axis=1)[:, num_groups - num]
    found = np.flatnonzero(scores_NC >= floor_N[:, None])
    count_N = np.diff(found.searchsorted(np.arange(num_rows + 1) * size))
    kept_NK = np.full((num_rows, count_N.max()), -np.inf, dtype=scores_NC.dtype)
    kept_NK[np.arange(kept_NK.shape[1]) < count_N[:, None]] = scores_NC.ravel()[found]
    # Sorted, so that the order in which they are summed is the same whatever other rows there are.
    return np.sort(kept_NK, axis=1)[:, -num:]


def cosine_cohort_statistics(items: npt.ArrayLike, cohort: npt.ArrayLike, *, top_n: TopN, threads: int = 1) -> CohortStatistics:
    """Return the cohort statistics of items [N, D] scored by the cosine against a cohort [C, D].

    Scores are exact products of rows in fixed point (see `fixed_point_rows`), rounded to single precision: about 5e-8 from
    those of `cosine_matrix`; mean and standard deviation are in double precision. An item's statistics depend on the item and the
    cohort only, whatever N, `threads`, and the kernel and the threads of the matrix product.

    Args:
        items: enrolment or test embeddings.
        cohort: cohort embeddings.
        top_n: how many of the highest scores count, or "all".
        threads: blocks of items at work at the same time. Threads of the matrix product (OMP_NUM_THREADS) come on top: with
            one of those, as many as there are cores are best.

    Raises:
        ValueError: embeddings that are not finite, of zeros or of different D, `top_n` out of range, or an item whose
            chosen scores are all equal.
    """
    items_ND = float_rows(items, "embeddings")
    length_N = row_lengths(items_ND, "embeddings")
    cohort_CD = float_rows(cohort, "cohort", dim=items_ND.shape[1])
    cohort_DC = fixed_point_rows(cohort_CD, row_lengths(cohort_CD, "cohort")).T
    _check_top(top_n, len(cohort_CD))

    def block(start: int) -> CohortStatistics:
        rows = slice(start, start + BLOCK_ROWS)
        scores_BC = fixed_point_rows(items_ND[rows], length_N[rows]) @ cohort_DC
        return _statistics(scores_BC.astype(np.float32), top_n, start)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(block, range(0, len(items_ND), BLOCK_ROWS)))
    return CohortStatistics(np.concatenate([p.mean for p in parts]), np.concatenate([p.std for p in parts]))


def cohort_statistics_in_batches(
    score_matrix: Callable[[np.ndarray, np.ndarray], np.ndarray],
    items_ND: np.ndarray,
    cohort_CD: np.ndarray,
    *,
    top_n: TopN,
    batch_size: int = 512,
) -> CohortStatistics:
    """Return the cohort statistics of items, scored `batch_size` at a time so that memory stays bounded.

    Args:
        score_matrix: scores [n, C] of n items against the cohort, for instance `cosine_matrix` or `PLDA.score_matrix`.
        items_ND: enrolment or test embeddings.
        cohort_CD: cohort embeddings.
        top_n: how many of the highest scores count, or "all".
        batch_size: items at a time.
    """
    parts = [
        cohort_statistics(score_matrix(items_ND[start : start + batch_size], cohort_CD), top_n=top_n)
        for start in range(0, len(items_ND), batch_size)
    ]
    return CohortStatistics(np.concatenate([p.mean for p in parts]), np.concatenate([p.std for p in parts]))


def z_norm(scores_P: npt.ArrayLike, enrol_index: npt.ArrayLike, enrol: CohortStatistics) -> np.ndarray:
    """Return scores less mean, over standard deviation, of the enrolments' cohort scores."""
    return _standardise(scores_P, enrol_index, enrol, "enrol_index")


def t_norm(scores_P: npt.ArrayLike, test_index: npt.ArrayLike, test: CohortStatistics) -> np.ndarray:
    """Return scores less mean, over standard deviation, of the test items' cohort scores."""
    return _standardise(scores_P, test_index, test, "test_index")


def s_norm(
    scores_P: npt.ArrayLike,
    enrol_index: npt.ArrayLike,
    test_index: npt.ArrayLike,
    enrol: CohortStatistics,
    test: CohortStatistics,
) -> np.ndarray:
    """Return the mean of z-norm and t-norm; adaptive s-norm where the statistics are of the top N.

    Args:
        scores_P: raw score of each trial.
        enrol_index: row of each trial's enrolment in `enrol`.
        test_index: row of each trial's test item in `test`.
        enrol: cohort statistics of the enrolments.
        test: cohort statistics of the test items.

    Raises:
        ValueError: an index out of range or lists of different length.
    """
    return 0.5 * (z_norm(scores_P, enrol_index, enrol) + t_norm(scores_P, test_index, test))


def _standardise(scores: npt.ArrayLike, index: npt.ArrayLike, statistics: CohortStatistics, name: str) -> np.ndarray:
    scores_P = np.asarray(scores, dtype=np.float64)
    index_P = checked_index(index, statistics.mean.size, name)
    if scores_P.shape != index_P.shape:
        raise ValueError(f"{name}: expected one a score, that is {scores_P.shape}, found {index_P.shape}")
    return (scores_P - statistics.mean[index_P]) / statistics.std[index_P]
