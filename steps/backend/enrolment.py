"""Speakers enrolled with several utterances: what each back end takes of them.

By the book, a PLDA is given the mean of a speaker's embeddings and their true number; it then knows that the mean of five is
surer than one embedding. Averaging gives it the mean as if it were one embedding. Cosine takes the mean embedding. Or every
utterance is scored on its own, and the scores are averaged.

Source: Kaldi ivector-plda-scoring --num-utts (by the book); Rajan, Afanasyev, Hautamaki and Kinnunen, "From single to multiple
    enrollment i-vectors: practical PLDA scoring variants for speaker verification", 2014 (the comparison).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index, unit_rows
from steps.backend.windows import Windows

POOLINGS = ("by_the_book", "mean")
ScoreTrials = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
TRIALS_AT_A_TIME = 1_000_000


def enrolments(embeddings: npt.ArrayLike, models: Sequence[npt.ArrayLike]) -> Windows:
    """Return the embeddings of each enrolled speaker, from utterance embeddings [N, D] and a list of rows for each speaker.

    Raises:
        ValueError: no speakers, one without utterances or with the same one twice, or a row that is not there.
    """
    embeddings_ND = checked_embeddings(embeddings, "enrolment embeddings")
    lists = [np.asarray(rows) for rows in models]
    if not lists:
        raise ValueError("models: expected a list of rows for each enrolled speaker, found no speakers")
    for number, rows in enumerate(lists):
        if rows.ndim != 1 or rows.size == 0 or np.unique(rows).size != rows.size:
            raise ValueError(
                f"models: expected rows of embeddings, each once, found {rows.tolist()} for speaker {number}; "
                "leave out speakers without enrolment utterances, and trials with them"
            )
    rows_R = checked_index(np.concatenate(lists), len(embeddings_ND), "models")
    return Windows(embeddings_ND[rows_R], np.concatenate([[0], np.cumsum([rows.size for rows in lists])]))


def mean_embeddings(models: Windows, *, length_norm: bool = False) -> np.ndarray:
    """Return one embedding for each enrolled speaker, [M, D]: the mean of the speaker's, as cosine takes it.

    Args:
        models: embeddings of each speaker.
        length_norm: scale the utterances' embeddings to unit length first, so that a long one has no more say.

    Raises:
        ValueError: `length_norm` with an embedding of zeros.
    """
    if length_norm:
        models = Windows(unit_rows(models.rows_RD, "enrolment embeddings"), models.start_N1)
    return models.means()


def plda_enrolment(models: Windows, pooling: str = "by_the_book") -> tuple[np.ndarray, np.ndarray]:
    """Return (mean embedding [M, D], number of embeddings [M]) of each enrolled speaker, for PLDA's `num_enrol`.

    Args:
        models: embeddings of each speaker.
        pooling: "by_the_book", the true number; "mean", one.

    Raises:
        ValueError: another pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: expected one of {', '.join(POOLINGS)}, found {pooling!r}")
    return models.means(), models.counts_N if pooling == "by_the_book" else np.ones(len(models), dtype=np.int64)


def resolved(enrol: npt.ArrayLike | Windows, num_enrol: npt.ArrayLike | None) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """Return (enrolment embeddings, counts), where the first may be several embeddings a speaker and the second left out."""
    if isinstance(enrol, Windows):
        return enrol.means(), enrol.counts_N if num_enrol is None else num_enrol
    return enrol, 1 if num_enrol is None else num_enrol


def average_scores(
    score_trials: ScoreTrials,
    models: Windows,
    test: npt.ArrayLike,
    enrol_index: npt.ArrayLike,
    test_index: npt.ArrayLike,
) -> np.ndarray:
    """Return for each trial the mean score of the test item against the speaker's utterances one by one, as [P].

    Args:
        score_trials: scores of (enrolment embeddings, test embeddings, rows of the first, rows of the second), for instance
            `PLDA.score_trials`.
        models: embeddings of each enrolled speaker.
        test: test embeddings [N, D].
        enrol_index: speaker of each trial.
        test_index: row of the test item of each trial.

    Raises:
        ValueError: an index out of range, lists of different length, and what `score_trials` refuses.
    """
    test_ND = checked_embeddings(test, "test embeddings", dim=models.rows_RD.shape[1])
    enrol_P = checked_index(enrol_index, len(models), "enrol_index")
    test_P = checked_index(test_index, len(test_ND), "test_index")
    if enrol_P.size != test_P.size:
        raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
    scores_P = np.empty(enrol_P.size)
    step = max(1, int(TRIALS_AT_A_TIME / models.counts_N.mean()))
    for start in range(0, enrol_P.size, step):
        block = slice(start, start + step)
        count_B = models.counts_N[enrol_P[block]]
        first_B = np.concatenate([[0], np.cumsum(count_B)[:-1]])
        # Rows start, start + 1, ... of each trial's speaker, one after the other.
        row_R = np.repeat(models.start_N1[enrol_P[block]] - first_B, count_B) + np.arange(count_B.sum())
        score_R = score_trials(models.rows_RD, test_ND, row_R, np.repeat(test_P[block], count_B))
        scores_P[block] = np.add.reduceat(score_R, first_B) / count_B
    return scores_P
