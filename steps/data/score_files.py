"""Long trial lists and score files: ids as numbers into a table, read and written block by block.

`Trials` (trials.py) holds two references a trial and serves lists of a few hundred thousand; `TrialIndex` holds two
numbers of four bytes, which is also what a back end wants. Files are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.columns import Block, decode, read_blocks
from steps.data.id_table import IdTable
from steps.data.number_text import format_numbers
from steps.data.trial_forms import FORMS, NO_LABEL, Lines, Table, form_of

_SCORE_FORM = "'<enrolment id> <test id> <score>'"
_MALFORMED_SCORE = "{path}:{number}: malformed score {line!r}; expected " + _SCORE_FORM + "; run stage 6 (score) again"
_WRITE_LINES = 1 << 14  # written at a time; small enough for the cache


@dataclass(frozen=True, eq=False)
class TrialIndex:
    """A trial list: trial p compares ids[enrol_P[p]] with ids[test_P[p]]."""

    ids: list[str]  # each once; sorted if they come from a file
    enrol_P: np.ndarray  # int32
    test_P: np.ndarray  # int32
    is_target: np.ndarray | None  # [P] bool; None: the list has no labels

    def __post_init__(self) -> None:
        num_labels = len(self.enrol_P) if self.is_target is None else len(self.is_target)
        if not len(self.enrol_P) == len(self.test_P) == num_labels:
            raise ValueError(
                f"a trial list needs columns of one length, found {len(self.enrol_P)} enrolment ids, "
                f"{len(self.test_P)} test ids and {num_labels} labels"
            )

    @classmethod
    def of(cls, enrol_ids: Sequence[str], test_ids: Sequence[str], is_target: np.ndarray | None) -> TrialIndex:
        """Return the index of trials given as two ids each."""
        ids = list(dict.fromkeys(chain(enrol_ids, test_ids)))
        number = {name: row for row, name in enumerate(ids)}
        sides = (np.fromiter(map(number.__getitem__, side), np.int32, len(side)) for side in (enrol_ids, test_ids))
        return cls(ids, *sides, None if is_target is None else np.asarray(is_target, dtype=bool))

    def __len__(self) -> int:
        return len(self.enrol_P)

    @property
    def num_target(self) -> int:
        """Number of target trials; 0 without labels."""
        return 0 if self.is_target is None else int(np.count_nonzero(self.is_target))

    @property
    def num_nontarget(self) -> int:
        """Number of non-target trials; 0 without labels."""
        return 0 if self.is_target is None else len(self) - self.num_target

    @property
    def enrol_ids(self) -> list[str]:
        """The enrolment id of each trial, made anew at each call."""
        return [self.ids[number] for number in self.enrol_P.tolist()]

    @property
    def test_ids(self) -> list[str]:
        """The test id of each trial, made anew at each call."""
        return [self.ids[number] for number in self.test_P.tolist()]

    def select(self, rows: np.ndarray) -> TrialIndex:
        """Return the trials of some rows, or of a mask, in that order; the table of ids stays whole."""
        return TrialIndex(
            self.ids, self.enrol_P[rows], self.test_P[rows], None if self.is_target is None else self.is_target[rows]
        )

    def rows_of(self, row_of_id: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [P] of enrolment and test, -1 for an id that is not among the keys."""
        row_N = np.fromiter((row_of_id.get(name, -1) for name in self.ids), np.int64, len(self.ids))
        return row_N[self.enrol_P], row_N[self.test_P]

    def pair(self, row: int) -> str:
        """Return the two ids of a trial, for a message."""
        return f"'{self.ids[self.enrol_P[row]]}' and '{self.ids[self.test_P[row]]}'"


class _PairColumns:
    """The ids of pairs, as they are read."""

    def __init__(self, table: IdTable | None = None) -> None:
        self.table = table or IdTable()
        self.parts: list[np.ndarray] = []

    def add(self, block: Block, first: int) -> None:
        """Add the pairs in columns `first` and `first` + 1."""
        sides = [self.table.numbers(block.words(column)).astype(np.int32) for column in (first, first + 1)]
        self.parts.append(np.stack(sides))

    def finish(self, path: Path, what: str) -> tuple[list[str], np.ndarray]:
        """The ids, sorted, and the numbers [2, P] of the pairs."""
        ids = np.array(self.table.ids)
        order = np.argsort(ids)
        rank = np.empty(len(ids), dtype=np.int32)
        rank[order] = np.arange(len(ids), dtype=np.int32)
        names = decode(path, b"\n".join(ids[order].tolist()), what).split("\n") if len(ids) else []
        numbers_2P = np.concatenate(self.parts, axis=1) if self.parts else np.zeros((2, 0), dtype=np.int32)
        return names, rank[numbers_2P]


def read_trial_index(path: Path) -> TrialIndex:
    """Return the trials of a list, in its order; all forms of `read_trials` are read.

    A pair may be there more than once, but not as target and as non-target.

    Raises:
        RecipeError: missing or empty list, a malformed line, two forms in one file, a pair with two truths.
    """
    form = form_of(path)
    trials = _of_table(path, form) if isinstance(form, Table) else _of_lines(path, form)
    if not len(trials):
        raise RecipeError(f"{path}: the trial list is empty; expected lines {FORMS}; give another list")
    _refuse_two_truths(path, trials)
    return trials


def _of_lines(path: Path, form: Lines) -> TrialIndex:
    columns, labels = _PairColumns(), []
    for block, label_L in form.blocks(path):
        labels.append(label_L)
        columns.add(block, form.enrol)
    ids, (enrol_P, test_P) = columns.finish(path, "trial list")
    known = [label_L for label_L in labels if label_L is not None]
    return TrialIndex(ids, enrol_P, test_P, np.concatenate(known) if known else None)


def _of_table(path: Path, form: Table) -> TrialIndex:
    _, enrol_ids, test_ids, labels = zip(*rows, strict=True) if (rows := list(form.rows(path))) else [()] * 4
    ids = sorted({*enrol_ids, *test_ids})
    number = {name: row for row, name in enumerate(ids)}
    sides = (np.fromiter(map(number.__getitem__, side), np.int32, len(side)) for side in (enrol_ids, test_ids))
    return TrialIndex(ids, *sides, np.array(labels, dtype=bool) if "label" in form.columns else None)


def labelled_blocks(path: Path) -> Iterator[tuple[Block, np.ndarray, int]]:
    """Yield (lines of a trial list, whether each is a target trial, column of the enrolment id), block by block.

    Raises:
        RecipeError: missing list, a malformed line, two forms in one file, a table, or no labels.
    """
    form = form_of(path)
    if isinstance(form, Table):
        raise RecipeError(f"{path}: is a table; expected lines '<1|0> <enrolment id> <test id>', as stage 1 writes them")
    for block, label_L in form.blocks(path):
        if label_L is None:
            raise RecipeError(
                f"{path}: has no labels; expected lines '<1|0> <enrolment id> <test id>', of which figures are made"
            )
        yield block, label_L, form.enrol


def pair_keys(enrol_P: np.ndarray, test_P: np.ndarray, num_ids: int) -> np.ndarray:
    """Return one int64 for each pair of ids, another for every other pair."""
    return enrol_P.astype(np.int64) * num_ids + test_P


def _refuse_two_truths(path: Path, trials: TrialIndex) -> None:
    """A pair, in either order, is of one speaker or it is not."""
    if trials.is_target is None:
        return
    low_P, high_P = np.minimum(trials.enrol_P, trials.test_P), np.maximum(trials.enrol_P, trials.test_P)
    key_P = pair_keys(low_P, high_P, len(trials.ids)) * 2 + trials.is_target
    ordered = np.sort(key_P)
    # The last bit is the truth: an even number and the odd one after it are one pair.
    double = np.flatnonzero((np.diff(ordered) == 1) & (ordered[1:] & 1 == 1))
    if not double.size:
        return
    rows = np.sort([np.flatnonzero(key_P == key)[0] for key in ordered[double[0] : double[0] + 2]])
    lines = [line_of_trial(path, row) for row in rows]
    raise RecipeError(
        f"{path}:{lines[1]}: the trial of {trials.pair(rows[1])} is a {_kind(trials, rows[1])} trial, and in line {lines[0]} "
        f"a {_kind(trials, rows[0])} trial; expected one truth for a pair ({double.size} with two); correct the list"
    )


def _kind(trials: TrialIndex, row: int) -> str:
    return "target" if trials.is_target[row] else "non-target"


def line_of_trial(path: Path, row: int) -> int:
    """Return the line, from 1, in which a trial of a list stands: blank lines and headers are no trials."""
    form = form_of(path)
    if isinstance(form, Table):
        return next(islice(form.rows(path), row, None))[0]
    for block, _ in form.blocks(path):
        if row < len(block):
            return int(block.number_L[row])
        row -= len(block)
    raise AssertionError("the row was read from this file")


def read_score_index(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return (ids, enrol_P, test_P, float64 scores [P]) of a score file, in its order.

    Raises:
        RecipeError: missing or empty file, a malformed line, or a score that is not a finite number.
    """
    columns, scores = _PairColumns(), []
    for block in score_blocks(path):
        scores.append(read_numbers(block))
        columns.add(block, 0)
    if not scores:
        raise RecipeError(f"{path}: the score file is empty; expected a score per trial; run stage 6 (score) again")
    ids, (enrol_P, test_P) = columns.finish(path, "score file")
    return ids, enrol_P, test_P, np.concatenate(scores)


def score_blocks(path: Path) -> Iterator[Block]:
    """Yield the lines of a score file, block by block.

    Raises:
        RecipeError: missing file or a malformed line.
    """
    return read_blocks(path, "score file", 3, _MALFORMED_SCORE)


def read_numbers(block: Block) -> np.ndarray:
    """Return the scores of a block of a score file.

    Raises:
        RecipeError: a score that is not a finite number.
    """
    try:
        score_L = block.numbers(2)
    except ValueError as error:
        line = error.args[0]
        raise RecipeError(_MALFORMED_SCORE.format(path=block.path, number=block.number_L[line], line=block.line(line))) from None
    if not np.isfinite(score_L).all():
        first = int((~np.isfinite(score_L)).argmax())
        enrol, test = (block.field(first, column).decode(errors="replace") for column in (0, 1))
        raise RecipeError(
            f"{block.path}:{block.number_L[first]}: score {score_L[first]} for '{enrol}' and '{test}'; "
            "expected finite numbers; run stage 6 (score) again"
        )
    return score_L


def write_trial_index(path: Path, trials: TrialIndex) -> None:
    """Write lines `<1|0> <enrolment id> <test id>` in the order of the list, with `-` where there are no labels.

    Raises:
        RecipeError: there is no trial.
    """
    if not len(trials):
        raise RecipeError(f"{path}: the trial list is empty; expected at least one trial; check what the list is made from")
    table, letter_P = _IdBytes(trials.ids), np.full(len(trials), ord(NO_LABEL), dtype=np.uint8)
    if trials.is_target is not None:
        letter_P = trials.is_target.astype(np.uint8) + np.uint8(ord("0"))
    with atomic_write(path, "wb") as file:
        for rows in _slices(len(trials)):
            file.write(_join([letter_P[rows, None], table[trials.enrol_P[rows]], table[trials.test_P[rows]]]))


def write_score_index(path: Path, trials: TrialIndex, scores: np.ndarray) -> np.ndarray:
    """Write lines `<enrolment id> <test id> <score>` as `write_scores` does; return the scores that the file holds.

    Raises:
        ValueError: not a score for each trial, or one that is not finite.
    """
    scores_P = np.asarray(scores)
    if scores_P.shape != (len(trials),):
        raise ValueError(f"{path}: expected a score for each of {len(trials)} trials, found shape {scores_P.shape}")
    if not np.isfinite(scores_P).all():
        first = int((~np.isfinite(scores_P)).argmax())
        raise ValueError(f"{path}: score {scores_P[first]} for {trials.pair(first)}; expected finite scores")
    table, written_P = _IdBytes(trials.ids), np.empty(len(trials))
    with atomic_write(path, "wb") as file:
        for rows in _slices(len(trials)):
            text, written_P[rows] = format_numbers(scores_P[rows])
            file.write(_join([table[trials.enrol_P[rows]], table[trials.test_P[rows]], text]))
    return written_P


def _slices(num: int) -> Iterator[slice]:
    return (slice(start, start + _WRITE_LINES) for start in range(0, num, _WRITE_LINES))


class _IdBytes:
    """Ids as rows of bytes, zeros behind their ends."""

    def __init__(self, ids: Sequence[str]) -> None:
        table = np.array([name.encode() for name in ids] or [b""])
        self.table = table.view(f"V{table.dtype.itemsize}")

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.table[rows].view(np.uint8).reshape(len(rows), -1)


def _join(fields: list[np.ndarray]) -> bytes:
    """Lines of fields given as bytes [L, B] with zeros where there is nothing; zeros are left out."""
    widths = [field.shape[1] for field in fields]
    line_LB = np.empty((len(fields[0]), sum(widths) + len(widths)), dtype=np.uint8)
    begin = 0
    for field, width in zip(fields, widths, strict=True):
        line_LB[:, begin : begin + width] = field
        line_LB[:, begin + width] = ord(" ")
        begin += width + 1
    line_LB[:, -1] = ord("\n")
    return line_LB.tobytes().translate(None, b"\0")
