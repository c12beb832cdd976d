"""Measures of quality of a trial, for calibration: what is known of its two sides beside the score.

Of each side: the logarithm of its duration, the length of its raw embedding, and the mean of its top cohort scores. Of the
two numbers a symmetric function is taken, so that a trial and its reverse are calibrated alike.

Source: Thienpondt, Desplanques and Demuynck, "The IDLab VoxSRC-20 submission: large margin fine-tuning and quality-aware
    score calibration in DNN based speaker verification", ICASSP 2021 (these three kinds of measures; as remembered, with the
    lower and the higher of the two sides); WeSpeaker, wespeaker/bin/score_calibration.py (lower, higher, their difference
    and ratio; durations in seconds with an upper limit, no logarithm). Lower and higher span the same linear functions as
    sum and difference, so with either pair the LLRs are the same.

Suffixes: M enrolments, N items, P trials, D dimensions, C cohort, Q measures of a trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index
from steps.backend.windows import Windows

FUNCTIONS = {
    "min": np.minimum,
    "max": np.maximum,
    "sum": np.add,
    "difference": lambda enrol_P, test_P: np.abs(enrol_P - test_P),
    "ratio": lambda enrol_P, test_P: np.maximum(enrol_P, test_P) / np.minimum(enrol_P, test_P),  # of positive measures
}


def log_duration(seconds: npt.ArrayLike, *, longest: float = np.inf) -> np.ndarray:
    """Return the natural logarithm of durations [N] in seconds.

    Args:
        seconds: durations; of an enrolment with several utterances, their sum.
        longest: durations above it count as it, so that trials longer than all of training are not extrapolated to.

    Raises:
        ValueError: a duration that is not above 0, or a limit that is not.
    """
    seconds_N = _measure(seconds, "durations")
    if not (seconds_N > 0).all() or not longest > 0:
        raise ValueError(f"durations: expected seconds above 0, found {seconds_N.min()}, with an upper limit of {longest}")
    return np.log(np.minimum(seconds_N, longest))


def magnitude(embeddings: npt.ArrayLike | Windows) -> np.ndarray:
    """Return the Euclidean length [N] of embeddings [N, D] as the network gives them: before centring, LDA or length norm.

    Of items with several rows it is the length of their mean: it is short also where the rows disagree.

    Raises:
        ValueError: values that are not finite.
    """
    rows_ND = embeddings.means() if isinstance(embeddings, Windows) else embeddings
    return np.linalg.norm(checked_embeddings(rows_ND, "embeddings"), axis=1)


def cohort_mean(cohort_scores: npt.ArrayLike, *, top_n: int | str = "all") -> np.ndarray:
    """Return the mean [N] of the `top_n` highest cohort scores of each item, or of all.

    It is the `mean` of the score norm's `CohortStatistics`, which may be used where they are known.

    Args:
        cohort_scores: [N, C], of items against a cohort of training speakers.
        top_n: how many count; IDLab: 100.

    Raises:
        ValueError: `top_n` under 1 or over C.
    """
    scores_NC = checked_embeddings(cohort_scores, "cohort scores")
    size = scores_NC.shape[1]
    if top_n == "all":
        return scores_NC.mean(axis=1)
    if not isinstance(top_n, int) or not 1 <= top_n <= size:
        raise ValueError(f"top_n: expected 'all' or 1 to {size}, the size of the cohort, found {top_n!r}")
    return np.partition(scores_NC, size - top_n, axis=1)[:, size - top_n :].mean(axis=1)


def quality_matrix(
    enrol: Mapping[str, npt.ArrayLike],
    test: Mapping[str, npt.ArrayLike],
    enrol_index: npt.ArrayLike,
    test_index: npt.ArrayLike,
    *,
    functions: Sequence[str] = ("min", "max"),
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return (qualities [P, Q], their names): every function of every measure, such as "min log_duration".

    Args:
        enrol: name -> measure [M] of the enrolments.
        test: the same names -> measure [N] of the test items. May be the same mapping.
        enrol_index: enrolment of each trial, [P].
        test_index: test item of each trial, [P].
        functions: of the two sides: "min", "max", "sum", "difference" (absolute) and "ratio" (higher / lower).

    Raises:
        ValueError: no measure, other names in `test`, measures of different length, values that are not finite, an unknown
            function, a ratio of what is not above 0, an index out of range, or lists of different length.
    """
    if not enrol or set(enrol) != set(test):
        raise ValueError(f"measures: expected the same names on both sides, at least one, found {[*enrol]} and {[*test]}")
    unknown = [name for name in functions if name not in FUNCTIONS]
    if unknown or not functions or len(set(functions)) != len(functions):
        raise ValueError(f"functions: expected different ones of {', '.join(FUNCTIONS)}, found {', '.join(functions) or 'none'}")
    columns, names = [], []
    for measure in enrol:
        enrol_M, test_N = _measure(enrol[measure], f"enrolment {measure}"), _measure(test[measure], f"test {measure}")
        if "ratio" in functions and not min(enrol_M.min(), test_N.min()) > 0:
            raise ValueError(f"{measure}: expected values above 0 for a ratio, found {min(enrol_M.min(), test_N.min())}")
        enrol_P = enrol_M[checked_index(enrol_index, enrol_M.size, f"enrol_index ({measure})")]
        test_P = test_N[checked_index(test_index, test_N.size, f"test_index ({measure})")]
        if enrol_P.size != test_P.size:
            raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
        columns += [FUNCTIONS[function](enrol_P, test_P) for function in functions]
        names += [f"{function} {measure}" for function in functions]
    return np.stack(columns, axis=1), tuple(names)


def _measure(values: npt.ArrayLike, name: str) -> np.ndarray:
    """One finite number an item, [N]."""
    values_N = np.asarray(values, dtype=np.float64)
    if values_N.ndim != 1:
        raise ValueError(f"{name}: expected one number an item, found shape {values_N.shape}")
    return checked_embeddings(values_N[:, None], name)[:, 0]
