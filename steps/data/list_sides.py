"""A trial list beside what is known of its utterances: who enrols, who is tested, and whether both share a speaker or a session.

Suffixes: P trials, N utterances of the set, M enrolled items (utterances or models), E pairs of an enrolled item and an utterance
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steps.data.enrolment import Models
from steps.data.manifests import Utterances
from steps.data.score_files import TrialIndex

NONE = -1  # as a code: not documented


@dataclass(frozen=True, eq=False)
class ListSides:
    """The trials of a list whose recordings are in the set."""

    is_target: np.ndarray  # [P]
    enrol_P: np.ndarray  # enrolled item
    test_P: np.ndarray  # row of the set
    item_E: np.ndarray  # ascending, each item at least once
    row_E: np.ndarray  # row of the set
    names: list[str]  # [M] of the enrolled items
    num_models: int  # of the items, the last ones
    num_missing: int  # trials whose recordings are not there
    num_utterances: int  # N

    def __len__(self) -> int:
        return len(self.test_P)

    def first(self, values_N: np.ndarray) -> np.ndarray:
        """Return the value of the first utterance of each item, [M]: of what all of them share, such as the speaker."""
        return values_N[self.row_E[self._starts]]

    def mean(self, values_N: np.ndarray) -> np.ndarray:
        """Return the mean over the utterances of each item, [M]."""
        value_E = values_N[self.row_E].astype(np.float64)
        return np.add.reduceat(value_E, self._starts) / np.diff(np.append(self._starts, len(value_E)))

    def shares(self, code_N: np.ndarray) -> np.ndarray:
        """Return whether the code of the test is that of one of the utterances enrolled, [P]; NONE is shared with nobody."""
        num = int(code_N.max(initial=0)) + 1
        known = code_N[self.row_E] != NONE
        there = np.unique(self.item_E[known] * num + code_N[self.row_E][known])
        test_P = code_N[self.test_P]
        return (test_P != NONE) & _is_in(self.enrol_P * num + test_P, there)

    @property
    def _starts(self) -> np.ndarray:
        return np.flatnonzero(np.diff(self.item_E, prepend=-1))


def list_sides(trials: TrialIndex, models: Models, utterances: Utterances) -> ListSides:
    """Return the sides of a list's trials; those whose utterances are not in the set are left out, and counted.

    Args:
        trials: of the list.
        models: those that the list may enrol.
        utterances: of the set that the list is about.
    """
    row_of = {name: row for row, name in enumerate(utterances.ids)}
    rows_of_id = [_rows(name, models, row_of) for name in trials.ids]
    is_known_I = np.array([min(rows) >= 0 for rows in rows_of_id])
    test_I = np.array([row_of.get(name, NONE) for name in trials.ids])
    known_P = is_known_I[trials.enrol_P] & (test_I[trials.test_P] >= 0)
    number_P = trials.enrol_P[known_P]
    used = np.unique(number_P)
    is_model = np.array([trials.ids[number] in models for number in used], dtype=bool)
    order = np.concatenate([used[~is_model], used[is_model]]).astype(np.int64)
    place = np.zeros(len(trials.ids), dtype=np.int64)
    place[order] = np.arange(len(order))
    rows = [rows_of_id[number] for number in order.tolist()]
    return ListSides(
        is_target=trials.is_target[known_P],
        enrol_P=place[number_P],
        test_P=test_I[trials.test_P[known_P]].astype(np.int64),
        item_E=np.repeat(np.arange(len(rows)), [len(each) for each in rows]),
        row_E=np.array([row for each in rows for row in each], dtype=np.int64),
        names=[trials.ids[number] for number in order.tolist()],
        num_models=int(is_model.sum()),
        num_missing=int((~known_P).sum()),
        num_utterances=len(utterances),
    )


def file_codes(utterances: Utterances) -> np.ndarray:
    """Return a code for the file of each utterance, [N], the same for parts of one file."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(path, len(numbers)) for path in utterances.paths], dtype=np.int64)


def label_codes(utterances: Utterances, name: str, within: np.ndarray | None = None) -> np.ndarray:
    """Return the code of a label (speaker, gender, session, corpus) of each utterance, [N]; NONE where it is not documented.

    Args:
        utterances: of a set.
        name: of the label.
        within: codes that the label only means something within: a session within its speaker.
    """
    labels = utterances.labels[name]
    code_N = np.asarray(labels.codes).astype(np.int64)
    known_N = np.array([text != "" for text in labels.names], dtype=bool)[code_N]
    if within is not None:
        code_N = code_N + len(labels.names) * within
    return np.where(known_N, code_N, NONE)


def _rows(name: str, models: Mapping[str, tuple[str, ...]], row_of: Mapping[str, int]) -> list[int]:
    return [row_of.get(each, NONE) for each in models.get(name, (name,))]


def _is_in(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[place] == values
