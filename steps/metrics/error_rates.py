"""Miss and false-alarm rates, the equal error rate by two definitions, and the points of a DET plot.

Conventions: higher score = more likely the same speaker; a score >= threshold accepts; rates are fractions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from steps.metrics.curve import ErrorCurve, cumulate, error_curve
from steps.metrics.pav import pav_blocks


def error_rates(
    target_scores: npt.ArrayLike,
    nontarget_scores: npt.ArrayLike,
    target_weights: npt.ArrayLike | None = None,
    nontarget_weights: npt.ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (thresholds, p_miss, p_fa) at every distinct score and at infinity, thresholds ascending.

    Equal scores are one threshold. The first threshold, the lowest score, accepts every trial; the last,
    infinity, rejects all.

    Raises:
        ValueError: scores empty, not finite or not one-dimensional; weights negative, all zero or of another
            length.
    """
    curve = error_curve(target_scores, nontarget_scores, target_weights, nontarget_weights)
    return curve.thresholds, *curve.rates()


def eer(
    target_scores: npt.ArrayLike,
    nontarget_scores: npt.ArrayLike,
    target_weights: npt.ArrayLike | None = None,
    nontarget_weights: npt.ArrayLike | None = None,
) -> float:
    """Return the equal error rate (step rule): the mean of miss and false-alarm rate where they are nearest.

    Equal scores are one threshold. Of two thresholds where the rates are equally near, the lower one counts.

    Raises:
        ValueError: as `error_rates`.
    """
    return eer_of_curve(error_curve(target_scores, nontarget_scores, target_weights, nontarget_weights))


def eer_of_curve(curve: ErrorCurve) -> float:
    """Return the equal error rate (step rule, see `eer`) of an error curve; bisects, makes no array."""
    p_miss, p_fa = curve.nearest_rates()
    return 0.5 * (p_miss + p_fa)


def eer_rocch(
    target_scores: npt.ArrayLike,
    nontarget_scores: npt.ArrayLike,
    target_weights: npt.ArrayLike | None = None,
    nontarget_weights: npt.ArrayLike | None = None,
) -> float:
    """Return the equal error rate on the convex hull of the ROC.

    It equals the largest minimum Bayes error over all priors, and is at most 0.5.

    Source: Brummer and de Villiers, "The BOSARIS toolkit", 2011.

    Raises:
        ValueError: as `error_rates`.
    """
    return eer_rocch_of_curve(error_curve(target_scores, nontarget_scores, target_weights, nontarget_weights))


def eer_rocch_of_curve(curve: ErrorCurve) -> float:
    """Return the equal error rate on the ROC convex hull (see `eer_rocch`) of an error curve."""
    target_B, nontarget_B = pav_blocks(curve)
    p_miss = cumulate(target_B) / curve.total_target
    p_fa = 1.0 - cumulate(nontarget_B) / curve.total_nontarget
    difference = p_miss - p_fa
    after = int(np.argmax(difference >= 0))
    share = -difference[after - 1] / (difference[after] - difference[after - 1])
    return float(p_miss[after - 1] + share * (p_miss[after] - p_miss[after - 1]))


def det_points(
    target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike, *, max_points: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """Return (p_miss, p_fa) at no more than `max_points` thresholds, spread evenly along a DET plot.

    Even on the plot's probit axes, where a rate of 0 or 1 is taken as half a trial from the end. Both end
    points (all accepted, all rejected) are kept; the values are those of `error_rates`, never interpolated.

    Raises:
        ValueError: as `error_rates`, or `max_points` under 2.
    """
    if max_points < 2:
        raise ValueError(f"max_points: expected at least 2 (the end points), found {max_points}")
    curve = error_curve(target_scores, nontarget_scores)
    p_miss, p_fa = curve.rates()
    if p_miss.size <= max_points:
        return p_miss, p_fa
    steps = np.hypot(
        np.diff(_probit(p_miss, 0.5 / curve.total_target)),
        np.diff(_probit(p_fa, 0.5 / curve.total_nontarget)),
    )
    way = cumulate(steps)
    # Every threshold moves a trial, so each step is above 0 and the first and last are found exactly.
    chosen = np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], max_points)))
    return p_miss[chosen], p_fa[chosen]


def _probit(rates: np.ndarray, end: float) -> np.ndarray:
    return ndtri(np.clip(rates, end, 1.0 - end))
