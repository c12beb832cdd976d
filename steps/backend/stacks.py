"""The windows of both sides of a trial, one under the other: their products, in batches of trials of like size.

Trials share windows, so products within an utterance are taken once. Those between two utterances are one matrix product
a trial, or one for each row of trials where an enrolment meets all utterances of a cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_index
from steps.backend.windows import Windows

CHUNK_NUMBERS = 131_072  # float64 numbers of a batch of stacks: 1 MB, the cache of a core
PAIRS = 100_000  # of all pairs of two sets, at a time


@dataclass(frozen=True)
class Run:
    """Trials of one number of windows on each side.

    Attributes:
        index_Q: which trials.
        cross_Qet: products of each window of the enrolment with each of the test item.
        enrol_squared_Qe: squared lengths of the windows of the enrolment.
        test_squared_Qt: likewise of the test item.
    """

    index_Q: np.ndarray
    cross_Qet: np.ndarray
    enrol_squared_Qe: np.ndarray
    test_squared_Qt: np.ndarray


@dataclass(frozen=True)
class Chunk:
    """Stacks of some trials, the largest first.

    Attributes:
        index_Q: which trials.
        num_Q: windows of each stack, falling; those of the enrolment come first.
        product_Qnn: products of the windows of a stack with one another; what lies beyond num_Q is zero.
    """

    index_Q: np.ndarray
    num_Q: np.ndarray
    product_Qnn: np.ndarray


class Stacks:
    """Products of the windows of trials.

    Args:
        windows: of all items.
        enrol_index: item of each trial's enrolment, [P].
        test_index: its test item, [P].
        unit: scale each window to unit length, so that products are cosines.

    Raises:
        ValueError: an index out of range, lists of different length, values that are not finite, or (if `unit`) a window
            of zeros.
    """

    def __init__(self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike, *, unit: bool = True) -> None:
        enrol_P = checked_index(enrol_index, len(windows), "enrol_index")
        test_P = checked_index(test_index, len(windows), "test_index")
        if enrol_P.size != test_P.size:
            raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
        self.windows, self.enrol_P, self.test_P = windows, enrol_P, test_P
        # Only items that trials name, by their number of windows, so that those of one number lie side by side.
        used = np.zeros(len(windows), dtype=bool)
        used[enrol_P] = used[test_P] = True
        self.item_U = np.flatnonzero(used)
        self.item_U = self.item_U[np.argsort(windows.counts_N[self.item_U], kind="stable")]
        self.count_U = windows.counts_N[self.item_U]
        self.start_U1 = np.concatenate([[0], np.cumsum(self.count_U)])
        self.rows_RD = self._rows()
        self.squared_R = np.einsum("rd,rd->r", self.rows_RD, self.rows_RD)
        if not np.isfinite(self.squared_R).all():
            bad = int((~np.isfinite(self.squared_R)).sum())
            raise ValueError(f"windows: expected finite numbers, found others in {bad} of {self.squared_R.size} windows")
        if unit:
            self.refuse_zeros()
        self.scale_R = 1 / np.sqrt(self.squared_R) if unit else None
        place_N = np.zeros(len(windows), dtype=np.int64)
        place_N[self.item_U] = np.arange(self.item_U.size)
        self._enrol_P, self._test_P = place_N[enrol_P], place_N[test_P]
        self._within: dict[int, tuple[int, np.ndarray]] = {}

    def _rows(self) -> np.ndarray:
        shift_U = self.windows.start_N1[self.item_U] - self.start_U1[:-1]
        rows_RD = np.asarray(self.windows.rows_RD, dtype=np.float64)
        if not shift_U.any():
            return rows_RD[: self.start_U1[-1]]
        return rows_RD[np.repeat(shift_U, self.count_U) + np.arange(self.start_U1[-1])]

    def refuse_zeros(self) -> None:
        """Refuse windows of zeros, which have no direction.

        Raises:
            ValueError: there are some.
        """
        if not self.squared_R.all():
            bad = int((self.squared_R == 0).sum())
            raise ValueError(f"windows: expected lengths above 0, found {bad} of {self.squared_R.size} windows without")

    def rows_of(self, trial: int) -> np.ndarray:
        """Return the windows of a trial as they were given: those of the enrolment, then those of the test item."""
        return np.concatenate([self.windows.item(self.enrol_P[trial]), self.windows.item(self.test_P[trial])])

    def runs(self) -> Iterator[Run]:
        """Yield all trials, in runs of one number of windows on each side."""
        num_enrol_P, num_test_P = self.count_U[self._enrol_P], self.count_U[self._test_P]
        order_P = np.lexsort((self._test_P, self._enrol_P, num_test_P, num_enrol_P))
        for start, stop in _runs(num_enrol_P[order_P], num_test_P[order_P]):
            first = order_P[start]
            step = max(1, CHUNK_NUMBERS // int(num_enrol_P[first] * num_test_P[first]))
            for begin in range(start, stop, step):
                index_Q = order_P[begin : min(stop, begin + step)]
                squared = [self.squared_R[self._rows_at(places_P[index_Q])] for places_P in (self._enrol_P, self._test_P)]
                yield Run(index_Q, self._cross(index_Q), *squared)

    def chunks(self, numbers: int | None = None) -> Iterator[Chunk]:
        """Yield the stacks of all trials, those with most windows first; about so many products at a time."""
        num_enrol_P, num_test_P = self.count_U[self._enrol_P], self.count_U[self._test_P]
        num_P = num_enrol_P + num_test_P
        order_P = np.lexsort((self._test_P, self._enrol_P, num_enrol_P, -num_P))
        start = 0
        while start < order_P.size:
            size = int(num_P[order_P[start]])
            index_Q = order_P[start : start + max(1, (numbers or CHUNK_NUMBERS) // size**2)]
            yield Chunk(index_Q, num_P[index_Q], self._stacks(index_Q, size))
            start += index_Q.size

    def _stacks(self, index_Q: np.ndarray, size: int) -> np.ndarray:
        stack_Qnn = np.zeros((index_Q.size, size, size))
        enrol_Q, test_Q = self._enrol_P[index_Q], self._test_P[index_Q]
        num_enrol_Q, num_test_Q = self.count_U[enrol_Q], self.count_U[test_Q]
        for start, stop in _runs(num_enrol_Q, num_test_Q):
            split, num = int(num_enrol_Q[start]), int(num_enrol_Q[start] + num_test_Q[start])
            part = stack_Qnn[start:stop]
            cross_Qet = self._cross(index_Q[start:stop])
            part[:, :split, split:num] = cross_Qet
            part[:, split:num, :split] = cross_Qet.transpose(0, 2, 1)
            part[:, :split, :split] = self._products_within(enrol_Q[start:stop], split)
            part[:, split:num, split:num] = self._products_within(test_Q[start:stop], num - split)
        return stack_Qnn

    def _cross(self, index_Q: np.ndarray) -> np.ndarray:
        """Products between the two sides of trials of one number of windows on each, [Q, enrolment, test]."""
        enrol_Q, test_Q = self._enrol_P[index_Q], self._test_P[index_Q]
        (first_enrol, enrol_UeD), (first_test, test_UtD) = self._block(enrol_Q[0]), self._block(test_Q[0])
        enrol_Q, test_Q = enrol_Q - first_enrol, test_Q - first_test
        cross_Qet = np.empty((index_Q.size, enrol_UeD.shape[1], test_UtD.shape[1]))
        # An enrolment with test items that lie side by side is one product.
        ends = np.flatnonzero((np.diff(enrol_Q) != 0) | (np.diff(test_Q) != 1)) + 1
        if 2 * ends.size > index_Q.size:
            test_UDt = test_UtD.transpose(0, 2, 1)
            for one, other, cross_et in zip(enrol_Q.tolist(), test_Q.tolist(), cross_Qet, strict=True):
                np.dot(enrol_UeD[one], test_UDt[other], out=cross_et)
        else:
            for begin, end in pairwise([0, *ends.tolist(), index_Q.size]):
                one_eD, others_qtD = enrol_UeD[enrol_Q[begin]], test_UtD[test_Q[begin] : test_Q[begin] + end - begin]
                cross_eR = one_eD @ others_qtD.reshape(-1, one_eD.shape[1]).T
                cross_Qet[begin:end] = cross_eR.reshape(len(one_eD), end - begin, -1).transpose(1, 0, 2)
        if self.scale_R is not None:
            cross_Qet *= self.scale_R[self._rows_at(self._enrol_P[index_Q])][:, :, None]
            cross_Qet *= self.scale_R[self._rows_at(self._test_P[index_Q])][:, None, :]
        return cross_Qet

    def _products_within(self, place_Q: np.ndarray, count: int) -> np.ndarray:
        if count not in self._within:
            first, rows_UcD = self._block(place_Q[0])
            products_Ucc = rows_UcD @ rows_UcD.transpose(0, 2, 1)
            if self.scale_R is not None:
                scale_Uc = self.scale_R[self._rows_at(first + np.arange(len(rows_UcD)))]
                products_Ucc *= scale_Uc[:, :, None] * scale_Uc[:, None, :]
            self._within[count] = first, products_Ucc
        first, products_Ucc = self._within[count]
        return products_Ucc[place_Q - first]

    def _rows_at(self, place_Q: np.ndarray) -> np.ndarray:
        """Rows of the windows of items that have one number of them, [Q, windows]."""
        return self.start_U1[place_Q][:, None] + np.arange(self.count_U[place_Q[0]])

    def _block(self, place: int) -> tuple[int, np.ndarray]:
        """(First of the items with as many windows as this one, all their windows [items, windows, D])."""
        count = int(self.count_U[place])
        first, last = np.searchsorted(self.count_U, [count, count + 1]).tolist()
        return first, self.rows_RD[self.start_U1[first] : self.start_U1[last]].reshape(last - first, count, -1)


def _runs(*keys_P: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each stretch in which all keys stay as they are."""
    size = keys_P[0].size
    changes = np.zeros(max(0, size - 1), dtype=bool)
    for key_P in keys_P:
        changes |= np.diff(key_P) != 0
    return list(pairwise([0, *(np.flatnonzero(changes) + 1).tolist(), size])) if size else []


def score_all_pairs(
    score_trials: Callable[[Windows, np.ndarray, np.ndarray], np.ndarray], enrol: Windows, test: Windows
) -> np.ndarray:
    """Return the scores of every item of `enrol` (M) with every item of `test` (N), as [M, N], some rows at a time.

    Raises:
        ValueError: different dimensions, or what `score_trials` refuses.
    """
    dims = enrol.rows_RD.shape[1], test.rows_RD.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(f"test windows: expected {dims[0]} dimensions as in enrolment, found {dims[1]}")
    step = max(1, PAIRS // len(test))
    blocks = []
    for start in range(0, len(enrol), step):
        block = enrol[start : start + step]
        enrol_P = np.repeat(np.arange(len(block)), len(test))
        test_P = np.tile(np.arange(len(test)) + len(block), len(block))
        blocks.append(score_trials(block.followed_by(test), enrol_P, test_P).reshape(len(block), len(test)))
    return np.concatenate(blocks)
