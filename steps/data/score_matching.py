"""Scores of a file put in the order of a trial list, or read beside the list without holding either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.data.columns import Block
from steps.data.id_table import IdTable, words_of
from steps.data.score_files import TrialIndex, labelled_blocks, pair_keys, read_numbers, score_blocks

_AGAIN = "run stage 6 (score) again"


def match_scores(
    trials: TrialIndex, path: Path, *, allow_missing: bool = False, list_name: str = "the trial list"
) -> tuple[np.ndarray, np.ndarray]:
    """Return (scores [K], rows of the list [K]): the score of each trial, in the order of the list.

    The file may be in another order. K is the number of trials, or with `allow_missing` of those that have a score. A
    trial that is in the list twice needs two scores; the first in the file is that of the first in the list.

    Raises:
        RecipeError: a missing or malformed file, a score that is not finite, a trial that is not in the list or more often
            in the file than there; a trial without a score, unless allowed; no score at all.
    """
    enrol_K, test_K, score_K, line_K = _read_known(trials, path, list_name)
    kept = np.arange(len(trials))
    if np.array_equal(enrol_K, trials.enrol_P) and np.array_equal(test_K, trials.test_P):
        return score_K, kept
    key_P, key_K = (pair_keys(*pair, len(trials.ids)) for pair in ((trials.enrol_P, trials.test_P), (enrol_K, test_K)))
    order_P, order_K = np.argsort(key_P, kind="stable"), np.argsort(key_K, kind="stable")
    sorted_P, sorted_K = key_P[order_P], key_K[order_K]
    # The n-th of equal trials in the file belongs to the n-th in the list.
    place_K = sorted_P.searchsorted(sorted_K) + np.arange(len(sorted_K)) - sorted_K.searchsorted(sorted_K)
    is_extra = sorted_P[np.minimum(place_K, len(trials) - 1)] != sorted_K
    is_extra |= place_K >= len(trials)
    if is_extra.any():
        row = int(order_K[is_extra].min())
        _refuse_extra(trials, path, key_K, line_K, row, list_name)
    found_P = np.full(len(trials), -1)
    found_P[order_P[place_K]] = order_K
    kept = np.flatnonzero(found_P >= 0)
    if len(kept) < len(trials) and not (allow_missing and len(kept)):
        first = int((found_P < 0).argmax())
        raise RecipeError(
            f"{path}: no score for {len(trials) - len(kept)} of {len(trials)} trials of {list_name}, the first that of "
            f"{trials.pair(first)} (trial {first + 1}); expected one for each; {_AGAIN}, or add --set score.allow_missing=true"
        )
    return score_K[found_P[kept]], kept


def _refuse_extra(trials: TrialIndex, path: Path, key_K: np.ndarray, line_K: np.ndarray, row: int, list_name: str) -> None:
    enrol, test = divmod(int(key_K[row]), len(trials.ids))
    pair = f"'{trials.ids[enrol]}' and '{trials.ids[test]}'"
    before = np.flatnonzero(key_K[:row] == key_K[row])
    if before.size:
        raise RecipeError(
            f"{path}:{line_K[row]}: a second score of {pair}, after that in line {line_K[before[0]]}; expected each trial as "
            f"often as in {list_name}; {_AGAIN}"
        )
    raise _not_in_list(path, line_K[row], pair, list_name)


def _not_in_list(path: Path, line: int, pair: str, list_name: str) -> RecipeError:
    return RecipeError(
        f"{path}:{line}: a score of {pair}, which is no trial of {list_name}; expected its trials and no others; "
        f"give the scores of this list, or {_AGAIN}"
    )


def _read_known(trials: TrialIndex, path: Path, list_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(enrol [K], test [K], scores [K], lines [K]) of a score file, ids as numbers into the list's table."""
    words_NW = words_of([name.encode() for name in trials.ids])
    table, row_of_number, parts, start = IdTable(), None, [], 0
    for block in score_blocks(path):
        rows = slice(start, start + len(block))
        start += len(block)
        expected = trials.enrol_P[rows], trials.test_P[rows]
        if all(_are_ids(block, column, words_NW, side) for column, side in enumerate(expected)):
            parts.append((*expected, read_numbers(block), block.number_L))
            continue
        if row_of_number is None:
            row_of_number = np.argsort(table.numbers(words_NW))
        found = [table.numbers(block.words(column), add=False) for column in (0, 1)]
        unknown = (found[0] < 0) | (found[1] < 0)
        if unknown.any():
            row = int(unknown.argmax())
            pair = " and ".join(f"'{block.field(row, column).decode(errors='replace')}'" for column in (0, 1))
            raise _not_in_list(path, block.number_L[row], pair, list_name)
        rows_of_ids = (row_of_number[side].astype(np.int32) for side in found)
        parts.append((*rows_of_ids, read_numbers(block), block.number_L))
    if not parts:
        raise RecipeError(f"{path}: the score file is empty; expected a score for each of {len(trials)} trials; {_AGAIN}")
    enrol_K, test_K, score_K, line_K = (np.concatenate(column) for column in zip(*parts, strict=True))
    return enrol_K, test_K, score_K, line_K


def _are_ids(block: Block, column: int, words_NW: np.ndarray, number_L: np.ndarray) -> bool:
    """Whether a column holds the ids of these numbers."""
    found_LW = block.words(column)
    if len(number_L) != len(found_LW) or found_LW.shape[1] > words_NW.shape[1]:
        return False
    expected_LW = words_NW.take(number_L, axis=0)
    width = found_LW.shape[1]
    return np.array_equal(expected_LW[:, :width], found_LW) and not expected_LW[:, width:].any()


class ScoreChunks:
    """(scores, is_target) of a score file and its trial list, block by block, each time it is iterated anew.

    Both must have the same trials in the same order, as stage 6 writes them. Nothing is kept, so that files larger than
    memory serve; for `steps.metrics.streaming.stream_figures`. The ids are compared the first time.

    Raises:
        RecipeError: on iterating: a missing, empty or malformed file, a score that is not finite, other trials than in the
            list or another order.
    """

    def __init__(self, trials_path: Path, scores_path: Path) -> None:
        self.trials_path, self.scores_path = trials_path, scores_path
        self._is_checked = False

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        scored, block, num = score_blocks(self.scores_path), None, 0
        for listed, label_L, first in labelled_blocks(self.trials_path):
            done = 0
            while done < len(listed):
                if block is None or not len(block):
                    block = next(scored, None)
                if block is None:
                    raise self._missing(listed.rows(done, len(listed)), first, num)
                step = min(len(block), len(listed) - done)
                if not self._is_checked:
                    self._compare(listed.rows(done, done + step), first, block.rows(0, step))
                yield read_numbers(block.rows(0, step)), label_L[done : done + step]
                block, done, num = block.rows(step, len(block)), done + step, num + step
        if block is None or not len(block):
            block = next(scored, None)
        if block is not None:
            raise RecipeError(
                f"{self.scores_path}:{block.number_L[0]}: a score of {_pair(block, 0, 0)}; expected no more than the {num} "
                f"trials of {self.trials_path}; {_AGAIN}"
            )
        self._is_checked = True

    def _missing(self, listed: Block, first: int, num: int) -> RecipeError:
        return RecipeError(
            f"{self.scores_path}: ends after {num} scores; expected one of {_pair(listed, 0, first)} next, as line "
            f"{listed.number_L[0]} of {self.trials_path} has it; {_AGAIN}"
        )

    def _compare(self, listed: Block, first: int, scored: Block) -> None:
        lengths = [block.end_LF[:, column + 1] - block.start_LF[:, column] for block, column in ((listed, first), (scored, 0))]
        differs = lengths[0] != lengths[1]
        if not differs.any():
            differs = (listed.words(first, first + 1) != scored.words(0, 1)).any(axis=1)
        if differs.any():
            row = int(differs.argmax())
            raise RecipeError(
                f"{self.scores_path}:{scored.number_L[row]}: a score of {_pair(scored, row, 0)}; expected that of "
                f"{_pair(listed, row, first)}, as line {listed.number_L[row]} of {self.trials_path} has it; put the scores in "
                f"the order of the list, or {_AGAIN}"
            )


def _pair(block: Block, row: int, first: int) -> str:
    return " and ".join(f"'{block.field(row, column).decode(errors='replace')}'" for column in (first, first + 1))
