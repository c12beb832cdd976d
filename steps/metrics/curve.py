"""The error curve every figure is read from: the weight of trials missed or falsely accepted.

Sorting (`order_scores`) and weighing (`ErrorCurve`) are apart, because a bootstrap sorts once and weighs a
thousand times. Where every trial weighs 1, `CountCurve` is the same curve without an array beside the sorted scores:
figures are looked up in them, so that a hundred million trials take their own size and seconds.
Suffixes: K thresholds in ascending order, the last one (infinity) rejects every trial; N trials; T target and M
non-target scores, sorted; G groups of equal or neighbouring scores.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def checked_scores(scores: npt.ArrayLike, name: str, *, allow_infinite: bool = False) -> np.ndarray:
    """Return the scores as a float64 array of one dimension.

    Raises:
        ValueError: not one-dimensional, empty, or with a value that is not a number (or infinite, unless
            allowed).
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: expected a one-dimensional array with at least one score, found shape {array.shape}")
    bad = np.isnan(array) if allow_infinite else ~np.isfinite(array)
    if bad.any():
        raise ValueError(
            f"{name}: expected {'numbers' if allow_infinite else 'finite numbers'}, "
            f"found {int(bad.sum())} other values of {array.size}, the first at index {int(bad.argmax())}"
        )
    return array


def checked_weights(weights: npt.ArrayLike | None, num_trials: int, name: str) -> np.ndarray:
    """Return trial weights as a float64 array; ones where none are given.

    Raises:
        ValueError: another length than the scores, a negative or non-finite weight, or nothing but zeros.
    """
    if weights is None:
        return np.ones(num_trials)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (num_trials,):
        raise ValueError(f"{name}: expected one weight for each of {num_trials} scores, found shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
        raise ValueError(
            f"{name}: expected finite weights >= 0 with a positive sum, found minimum {array.min()}, sum {array.sum()}"
        )
    return array


def checked_truth(is_target: npt.ArrayLike, num_trials: int) -> np.ndarray:
    """Return the truth of the trials as a boolean array.

    Raises:
        ValueError: not one boolean (or 0/1) a trial, or all trials of one kind.
    """
    truth = np.asarray(is_target)
    if truth.shape != (num_trials,) or (truth.dtype != bool and not np.isin(truth, (0, 1)).all()):
        raise ValueError(f"is_target: expected {num_trials} booleans, found {truth.dtype} of shape {truth.shape}")
    truth = truth.astype(bool, copy=False)
    num_target = int(np.count_nonzero(truth))
    if num_target in (0, num_trials):
        raise ValueError(f"is_target: expected trials of both kinds, found {num_target} targets in {num_trials} trials")
    return truth


Cost = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of miss and false-alarm rates
GROUP_CHUNK = 500_000  # scores whose groups are made at a time: about 100 MB in the making


@dataclass(frozen=True)
class ScoreOrder:
    """Where each score stands. Equal scores share one threshold.

    Attributes:
        thresholds: the distinct scores, ascending, and infinity; a score >= threshold is accepted.
        targets_below: number of target scores below each threshold.
        nontargets_below: number of non-target scores below each threshold.
        target_order: permutation that sorts the target scores.
        nontarget_order: permutation that sorts the non-target scores.
    """

    thresholds: np.ndarray
    targets_below: np.ndarray
    nontargets_below: np.ndarray
    target_order: np.ndarray
    nontarget_order: np.ndarray


def order_scores(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike) -> ScoreOrder:
    """Return the order of the scores of target and non-target trials.

    Raises:
        ValueError: scores empty, not one-dimensional or not finite.
    """
    target = checked_scores(target_scores, "target scores")
    nontarget = checked_scores(nontarget_scores, "non-target scores")
    target_order = np.argsort(target, kind="stable")
    nontarget_order = np.argsort(nontarget, kind="stable")
    thresholds = np.append(np.unique(np.concatenate([target, nontarget])), np.inf)
    return ScoreOrder(
        thresholds=thresholds,
        targets_below=np.searchsorted(target[target_order], thresholds, side="left"),
        nontargets_below=np.searchsorted(nontarget[nontarget_order], thresholds, side="left"),
        target_order=target_order,
        nontarget_order=nontarget_order,
    )


@dataclass(frozen=True)
class ErrorCurve:
    """Trial weights cumulated along a `ScoreOrder`.

    Sums of whole-number weights (the counts of a bootstrap) are exact, so figures do not depend on the order
    of summation.

    Attributes:
        order: the order of the scores.
        target_mass: weight of the i lowest target scores, i = 0..number of targets.
        nontarget_mass: weight of the i lowest non-target scores.
    """

    order: ScoreOrder
    target_mass: np.ndarray
    nontarget_mass: np.ndarray

    @property
    def total_target(self) -> float:
        """Weight of all target trials."""
        return float(self.target_mass[-1])

    @property
    def total_nontarget(self) -> float:
        """Weight of all non-target trials."""
        return float(self.nontarget_mass[-1])

    @property
    def thresholds(self) -> np.ndarray:
        """The distinct scores, ascending, and infinity."""
        return self.order.thresholds

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return miss and false-alarm rate at every threshold, as fractions."""
        missed_K = self.target_mass[self.order.targets_below]
        accepted_K = self.total_nontarget - self.nontarget_mass[self.order.nontargets_below]
        return missed_K / self.total_target, accepted_K / self.total_nontarget

    def nearest_rates(self) -> tuple[float, float]:
        """Return miss and false-alarm rate where they are nearest; the lower of two equally good thresholds counts."""
        total_t, total_n = self.total_target, self.total_nontarget
        below_t, below_n = self.order.targets_below, self.order.nontargets_below

        def masses(index: int) -> tuple[float, float]:
            missed = float(self.target_mass[below_t[index]])
            return missed, total_n - float(self.nontarget_mass[below_n[index]])

        def difference(index: int) -> float:
            # (p_miss - p_fa) without the division: whole-number weights are compared exactly. Rises with the
            # threshold, from -total_t * total_n (all accepted) to +total_t * total_n (all rejected).
            missed, accepted = masses(index)
            return missed * total_n - accepted * total_t

        above = bisect_left(range(self.thresholds.size), 0.0, key=difference)
        missed, accepted = masses(above - 1 if -difference(above - 1) <= difference(above) else above)
        return missed / total_t, accepted / total_n

    def lowest(self, cost: Cost) -> float:
        """Return the least value, over all thresholds, of a cost that falls with neither of the rates."""
        return float(cost(*self.rates()).min())

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (target, non-target) weight of groups of scores, ascending; equal scores are in one group."""
        yield np.diff(self.target_mass[self.order.targets_below]), np.diff(self.nontarget_mass[self.order.nontargets_below])


class CountCurve(ErrorCurve):
    """The error curve of trials that weigh 1 each, read from the sorted scores; nothing else is stored.

    Counts are whole numbers in Python, so figures are exact for any number of trials. It has no `order`: only the
    sorted scores are known, not where they stood.

    Args:
        target_T: target scores, sorted.
        nontarget_M: non-target scores, sorted, of the same type.
    """

    def __init__(self, target_T: np.ndarray, nontarget_M: np.ndarray) -> None:
        self.target_T, self.nontarget_M = target_T, nontarget_M

    @property
    def total_target(self) -> float:
        """Number of target trials."""
        return float(self.target_T.size)

    @property
    def total_nontarget(self) -> float:
        """Number of non-target trials."""
        return float(self.nontarget_M.size)

    @property
    def thresholds(self) -> np.ndarray:
        """The distinct scores, ascending, and infinity, as float64; made anew at each call."""
        # Stable: what is made of two sorted runs is merged in one go, and not sorted.
        pooled_N = np.sort(np.concatenate([self.target_T, self.nontarget_M]), kind="stable")
        first_N = np.append(True, pooled_N[1:] != pooled_N[:-1])
        return np.append(pooled_N[first_N].astype(np.float64), np.inf)

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return miss and false-alarm rate at every threshold, as fractions."""
        thresholds_K = self.thresholds[:-1].astype(self.target_T.dtype)
        missed_K = np.append(np.searchsorted(self.target_T, thresholds_K), self.target_T.size)
        rejected_K = np.append(np.searchsorted(self.nontarget_M, thresholds_K), self.nontarget_M.size)
        return missed_K / self.total_target, (self.nontarget_M.size - rejected_K) / self.total_nontarget

    def nearest_rates(self) -> tuple[float, float]:
        """Return miss and false-alarm rate where they are nearest; the lower of two equally good thresholds counts."""
        num_t, num_n = self.target_T.size, self.nontarget_M.size

        def counts(score: np.generic | None) -> tuple[int, int]:
            if score is None:  # infinity
                return num_t, 0
            return int(self.target_T.searchsorted(score)), num_n - int(self.nontarget_M.searchsorted(score))

        def difference(score: np.generic | None) -> int:
            missed, accepted = counts(score)
            return missed * num_n - accepted * num_t

        # The first score of either kind at which no more is accepted than missed, and the last score before it.
        firsts = [
            scores[index]
            for scores in (self.target_T, self.nontarget_M)
            if (index := bisect_left(range(scores.size), 0, key=lambda i: difference(scores[i]))) < scores.size
        ]
        above = min(firsts, default=None)
        missed, accepted = counts(above)
        below = max([*self.target_T[:missed][-1:], *self.nontarget_M[: num_n - accepted][-1:]])
        missed, accepted = counts(below if -difference(below) <= difference(above) else above)
        return missed / float(num_t), accepted / float(num_n)

    def lowest(self, cost: Cost) -> float:
        """Return the least value, over all thresholds, of a cost that falls with neither of the rates.

        A threshold that is no score of the rarer kind, nor the next above one, can be moved until it is without
        raising either rate; runs of such scores are passed over where even their best corner costs more than
        something already seen.
        """
        # Numbers of scores of the rarer kind below the threshold; a step apart, and both ends.
        coarse_I = np.append(np.arange(0, self._rarer.size, max(1, self._rarer.size >> 12)), self._rarer.size)
        p_miss, p_fa = self._rates_after(coarse_I)
        best = float(cost(p_miss, p_fa).min())
        # Within a run the miss rate is no lower than at its begin, the false-alarm rate no lower than at its end.
        open_runs = np.flatnonzero(cost(p_miss[:-1], p_fa[1:]) < best)
        for start in range(0, open_runs.size, 64):
            runs = open_runs[start : start + 64]
            index_I = np.concatenate([np.arange(coarse_I[run], coarse_I[run + 1]) for run in runs])
            best = min(best, float(cost(*self._rates_after(index_I)).min()))
        return best

    @property
    def _rarer(self) -> np.ndarray:
        return self.target_T if self.target_T.size <= self.nontarget_M.size else self.nontarget_M

    def _rates_after(self, index_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Miss and false-alarm rate with the threshold such that index_I scores of the rarer kind are below it.

        Where these end amid equal scores, the rate of the rarer kind is given too high: no cost comes out too low.
        """
        num_t, num_n = self.target_T.size, self.nontarget_M.size
        if num_t <= num_n:  # the threshold is the next target score
            at_I = self.target_T[np.minimum(index_I, num_t - 1)]
            accepted_I = np.where(index_I < num_t, num_n - self.nontarget_M.searchsorted(at_I), 0)
            return index_I / self.total_target, accepted_I / self.total_nontarget
        last_I = self.nontarget_M[np.maximum(index_I - 1, 0)]  # the threshold is just above it
        missed_I = np.where(index_I > 0, self.target_T.searchsorted(last_I, side="right"), 0)
        return missed_I / self.total_target, (num_n - index_I) / self.total_nontarget

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (target, non-target) numbers of groups of scores, ascending; equal scores are in one group.

        Scores of the more frequent kind between two of the rarer kind are one group.
        """
        rarer, other = self._rarer, self.nontarget_M if self._rarer is self.target_T else self.target_T
        last = np.zeros(2, dtype=np.int64)
        for start in range(0, rarer.size, GROUP_CHUNK):
            values = rarer[start : start + GROUP_CHUNK]
            values = values[np.append(start == 0 or values[0] != rarer[start - 1], values[1:] != values[:-1])]
            # Before and after each value: (scores of the rarer kind, scores of the other kind) passed.
            corners = np.empty((2 * values.size + 1, 2), dtype=np.int64)
            corners[0] = last
            for row, side in ((1, "left"), (2, "right")):
                corners[row::2, 0] = rarer.searchsorted(values, side=side)
                corners[row::2, 1] = other.searchsorted(values, side=side)
            if start + GROUP_CHUNK >= rarer.size:
                corners = np.vstack([corners, [rarer.size, other.size]])
            last = corners[-1]
            steps = np.diff(corners, axis=0)
            steps = steps[steps.any(axis=1)].astype(np.float64)
            yield (steps[:, 0], steps[:, 1]) if rarer is self.target_T else (steps[:, 1], steps[:, 0])


def cumulate(weights: np.ndarray) -> np.ndarray:
    """Return the cumulated sum of the weights, with a zero in front."""
    mass = np.empty(weights.size + 1)
    mass[0] = 0.0
    np.cumsum(weights, out=mass[1:])
    return mass


def error_curve(
    target_scores: npt.ArrayLike,
    nontarget_scores: npt.ArrayLike,
    target_weights: npt.ArrayLike | None = None,
    nontarget_weights: npt.ArrayLike | None = None,
) -> ErrorCurve:
    """Return the error curve of scores whose trials weigh 1, or as given in the order of the scores.

    Scores in single precision are compared in it: they are what they are, and half as long.

    Raises:
        ValueError: scores or weights that `checked_scores` or `checked_weights` refuse.
    """
    if target_weights is None and nontarget_weights is None:
        target, nontarget = sorted_scores(target_scores, "target scores"), sorted_scores(nontarget_scores, "non-target scores")
        common = np.promote_types(target.dtype, nontarget.dtype)
        return CountCurve(target.astype(common, copy=False), nontarget.astype(common, copy=False))
    order = order_scores(target_scores, nontarget_scores)
    weights_t = checked_weights(target_weights, order.target_order.size, "target weights")
    weights_n = checked_weights(nontarget_weights, order.nontarget_order.size, "non-target weights")
    return ErrorCurve(order, cumulate(weights_t[order.target_order]), cumulate(weights_n[order.nontarget_order]))


def sorted_scores(scores: npt.ArrayLike, name: str) -> np.ndarray:
    """Return the scores sorted, float32 where they are and float64 otherwise.

    Raises:
        ValueError: scores that `checked_scores` refuses.
    """
    array = np.asarray(scores)
    if array.ndim != 1 or array.size == 0:
        checked_scores(array, name)
    ordered = np.sort(array if array.dtype == np.float32 else array.astype(np.float64, copy=False))
    if not (np.isfinite(ordered[0]) and np.isfinite(ordered[-1])):  # what is no number is sorted to the end
        checked_scores(array, name)
    return ordered
