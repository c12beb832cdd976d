"""The error curve every figure is read from: the weight of trials missed or falsely accepted.

Sorting (`order_scores`) and weighing (`ErrorCurve`) are apart, because a bootstrap sorts once and weighs a
thousand times.
Suffixes: K thresholds in ascending order, the last one (infinity) rejects every trial; N trials.
"""

from __future__ import annotations

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
    if truth.shape != (num_trials,) or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"is_target: expected {num_trials} booleans, found {truth.dtype} of shape {truth.shape}")
    truth = truth.astype(bool)
    num_target = int(truth.sum())
    if num_target in (0, num_trials):
        raise ValueError(f"is_target: expected trials of both kinds, found {num_target} targets in {num_trials} trials")
    return truth


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

    def missed_at(self, index: int) -> float:
        """Return the weight of target trials rejected at one threshold."""
        return float(self.target_mass[self.order.targets_below[index]])

    def accepted_at(self, index: int) -> float:
        """Return the weight of non-target trials accepted at one threshold."""
        return self.total_nontarget - float(self.nontarget_mass[self.order.nontargets_below[index]])

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Return miss and false-alarm rate at every threshold, as fractions."""
        missed_K = self.target_mass[self.order.targets_below]
        accepted_K = self.total_nontarget - self.nontarget_mass[self.order.nontargets_below]
        return missed_K / self.total_target, accepted_K / self.total_nontarget


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

    Raises:
        ValueError: scores or weights that `checked_scores` or `checked_weights` refuse.
    """
    order = order_scores(target_scores, nontarget_scores)
    weights_t = checked_weights(target_weights, order.target_order.size, "target weights")
    weights_n = checked_weights(nontarget_weights, order.nontarget_order.size, "non-target weights")
    return ErrorCurve(order, cumulate(weights_t[order.target_order]), cumulate(weights_n[order.nontarget_order]))
