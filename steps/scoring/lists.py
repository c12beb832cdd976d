"""A trial list as back ends take it: rows of embeddings; and what cannot be scored of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from steps.backend.items import Items
from steps.core.errors import RecipeError
from steps.data.enrolment import model_speakers, read_models
from steps.data.score_files import TrialIndex, line_of_trial, read_trial_index
from steps.scoring.embedded import Embedded


@dataclass(frozen=True, eq=False)
class TrialRows:
    """The trials of a list that can be scored."""

    path: Path
    trials: TrialIndex
    enrol: Items | None  # what is enrolled, where a list enrols models of several utterances; None: the utterances
    enrol_rows: tuple[np.ndarray, ...]  # utterances of each enrolled item; empty where `enrol` is None
    enrol_P: np.ndarray  # row of `enrol`, or of the utterances
    test_P: np.ndarray
    num_missing: int  # trials left out for want of an embedding
    speakers: Mapping[str, str]  # of the enrolled models; utterances are in utt2spk

    def taken(self, kept_P: np.ndarray) -> TrialRows:
        """Return some of the trials."""
        return replace(self, trials=self.trials.select(kept_P), enrol_P=self.enrol_P[kept_P], test_P=self.test_P[kept_P])


def read_rows(
    path: Path,
    embedded: Embedded,
    *,
    enrolment: Path | None,
    utt2spk: Mapping[str, str],
    allow_missing: bool,
    where: Path,
    log: logging.Logger,
) -> TrialRows:
    """Return the rows of a list's trials.

    Args:
        path: of the list.
        embedded: the embeddings.
        enrolment: file of the models that the list may enrol; None, or not there: it enrols utterances.
        utt2spk: speaker of each utterance.
        allow_missing: trials without embeddings are left out instead of being an error.
        where: the embeddings come from, for messages.
        log: hears of trials that are left out.

    Raises:
        RecipeError: a malformed list, an utterance without embedding, or a model that is none.
    """
    trials = read_trial_index(path)
    models = read_models(enrolment) if enrolment is not None and enrolment.is_file() else {}
    speakers = model_speakers(models, utt2spk, str(enrolment)) if models else {}
    used_M, enrol_P = np.unique(trials.enrol_P, return_inverse=True)
    enrol_rows = [_rows_of(models.get(trials.ids[number], (trials.ids[number],)), embedded) for number in used_M]
    known_M = np.array([rows.min() >= 0 for rows in enrol_rows])
    test_P = trials.rows_of(embedded.row)[1]
    known_P = known_M[enrol_P] & (test_P >= 0)
    num_missing = int((~known_P).sum())
    if num_missing:
        first = int((~known_P).argmax())
        _refuse(path, trials, first, known_M[enrol_P[first]], known_P, allow_missing, where)
        log.warning("%s: %d of %d trials have no embedding and are left out", path, num_missing, len(trials))
        trials, enrol_P, test_P = trials.select(known_P), enrol_P[known_P], test_P[known_P]
    if not models:
        return TrialRows(path, trials, None, (), np.array([rows[0] for rows in enrol_rows])[enrol_P], test_P, num_missing, {})
    left_M, enrol_P = np.unique(enrol_P, return_inverse=True)
    rows = tuple(enrol_rows[item] for item in left_M)
    return TrialRows(path, trials, embedded.items.joined(list(rows)), rows, enrol_P, test_P, num_missing, speakers)


def _rows_of(names: tuple[str, ...], embedded: Embedded) -> np.ndarray:
    """Rows of utterances; -1 for one without embedding."""
    return np.array([embedded.row.get(name, -1) for name in names])


def _refuse(
    path: Path, trials: TrialIndex, first: int, enrol_known: bool, known_P: np.ndarray, allow_missing: bool, where: Path
) -> None:
    side, number_P = ("test utterance", trials.test_P) if enrol_known else ("enrolment", trials.enrol_P)
    if not allow_missing or not known_P.any():
        name = trials.ids[number_P[first]]
        raise RecipeError(
            f"{path}:{line_of_trial(path, first)}: {side} '{name}' has no embedding in {where} ({len(known_P)} "
            f"trials, {int((~known_P).sum())} missing); run stage 5, or, if stage 1 excluded it "
            "(problems.tsv), add --set score.allow_missing=true"
        )
