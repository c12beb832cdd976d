"""Score normalisation against a cohort: z-, t- and s-norm, plain or adaptive (only the nearest of the cohort).

Works for any scoring function: it sees scores only. Standard deviations are divided by n.

Source: Matejka et al., "Analysis of score normalization in multilingual speaker recognition", Interspeech 2017
    (adaptive s-norm); Auckenthaler, Carey and Lloyd-Thomas, "Score normalization for text-independent speaker
    verification systems", 2000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index, class_means, speaker_codes, unit_rows

TopN = int | Literal["all"]


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
    size = scores_NC.shape[1]
    if top_n != "all" and not 2 <= top_n <= size:
        raise ValueError(f"top_n: expected 'all' or 2 to {size}, the size of the cohort, found {top_n}")
    if top_n != "all" and top_n < size:
        scores_NC = np.partition(scores_NC, size - top_n, axis=1)[:, size - top_n :]
    mean_N, std_N = scores_NC.mean(axis=1), scores_NC.std(axis=1)
    # A row of equal numbers may leave a standard deviation of rounding errors.
    flat_N = np.ptp(scores_NC, axis=1) == 0
    if flat_N.any():
        raise ValueError(
            f"cohort scores: expected rows that vary, found {int(flat_N.sum())} of {flat_N.size} with one value only, "
            f"the first is row {int(flat_N.argmax())}"
        )
    return CohortStatistics(mean_N, std_N)


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
