"""A trial list as back ends take it: rows of embeddings; and what cannot be scored of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from steps.backend.items import Items
from steps.core.errors import RecipeError
from steps.data.enrolment import Models, model_speakers, read_models
from steps.data.trials import Trials, read_trials
from steps.scoring.embedded import Embedded


@dataclass(frozen=True, eq=False)
class TrialRows:
    """The trials of a list that can be scored."""

    path: Path
    trials: Trials
    enrol: Items | None  # what is enrolled, where a list enrols models of several utterances; None: the utterances
    enrol_rows: tuple[np.ndarray, ...]  # utterances of each enrolled item; empty where `enrol` is None
    enrol_P: np.ndarray  # row of `enrol`, or of the utterances
    test_P: np.ndarray
    num_missing: int  # trials left out for want of an embedding
    speakers: Mapping[str, str]  # of the enrolled models; utterances are in utt2spk

    def taken(self, kept_P: np.ndarray) -> TrialRows:
        """Return some of the trials."""
        trials, rows = taken(self.trials, kept_P), (self.enrol_P[kept_P], self.test_P[kept_P])
        return replace(self, trials=trials, enrol_P=rows[0], test_P=rows[1])


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
    trials = read_trials(path)
    models = read_models(enrolment) if enrolment is not None and enrolment.is_file() else {}
    speakers = model_speakers(models, utt2spk, str(enrolment)) if models else {}
    enrol_rows = _enrolled(trials, models, embedded)
    test_rows = {name: embedded.row.get(name, -1) for name in dict.fromkeys(trials.test_ids)}
    place = {name: number for number, name in enumerate(enrol_rows)}
    known_M = np.array([min(rows) >= 0 for rows in enrol_rows.values()])
    enrol_P = np.fromiter((place[name] for name in trials.enrol_ids), dtype=np.int64, count=len(trials))
    test_P = np.fromiter((test_rows[name] for name in trials.test_ids), dtype=np.int64, count=len(trials))
    known_P = known_M[enrol_P] & (test_P >= 0)
    num_missing = int((~known_P).sum())
    if num_missing:
        first = int((~known_P).argmax())
        _refuse(path, trials, first, known_M[enrol_P[first]], known_P, allow_missing, where)
        log.warning("%s: %d of %d trials have no embedding and are left out", path, num_missing, len(trials))
        trials, enrol_P, test_P = taken(trials, known_P), enrol_P[known_P], test_P[known_P]
    rows = [np.array(each) for each in enrol_rows.values()]
    if not models:
        return TrialRows(path, trials, None, (), np.array([each[0] for each in rows])[enrol_P], test_P, num_missing, {})
    used_M, enrol_P = np.unique(enrol_P, return_inverse=True)
    used = tuple(rows[index] for index in used_M)
    return TrialRows(path, trials, embedded.items.joined(list(used)), used, enrol_P, test_P, num_missing, speakers)


def taken(trials: Trials, kept_P: np.ndarray) -> Trials:
    """Return the trials for which `kept_P` holds."""
    kept = np.flatnonzero(kept_P).tolist()
    return Trials([trials.enrol_ids[i] for i in kept], [trials.test_ids[i] for i in kept], trials.is_target[kept_P])


def _enrolled(trials: Trials, models: Models, embedded: Embedded) -> dict[str, list[int]]:
    """Rows of each enrolled item's utterances; -1 for one without embedding."""
    names = dict.fromkeys(trials.enrol_ids)
    return {name: [embedded.row.get(each, -1) for each in models.get(name, (name,))] for name in names}


def _refuse(
    path: Path, trials: Trials, first: int, enrol_known: bool, known_P: np.ndarray, allow_missing: bool, where: Path
) -> None:
    side, name = ("test utterance", trials.test_ids[first]) if enrol_known else ("enrolment", trials.enrol_ids[first])
    if not allow_missing or not known_P.any():
        raise RecipeError(
            f"{path}:{first + 1}: {side} '{name}' has no embedding in {where} ({len(known_P)} "
            f"trials, {int((~known_P).sum())} missing); run stage 5, or set score.allow_missing = true"
        )
