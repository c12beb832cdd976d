"""Cllr: what log-likelihood ratios cost in bits, as they are and after the best monotone calibration.

Source: Brummer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech and
    Language 20, 2006.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.metrics.curve import ErrorCurve, checked_scores, error_curve
from steps.metrics.pav import pav_blocks


def cllr(target_llrs: npt.ArrayLike, nontarget_llrs: npt.ArrayLike) -> float:
    """Return Cllr in bits of natural-log LLRs: 0 is perfect, 1 is what LLRs of 0 everywhere cost.

    Infinite LLRs are allowed; one on the wrong side makes the result infinite.

    Raises:
        ValueError: LLRs empty, not one-dimensional or not numbers.
    """
    target = checked_scores(target_llrs, "target LLRs", allow_infinite=True)
    nontarget = checked_scores(nontarget_llrs, "non-target LLRs", allow_infinite=True)
    nats = 0.5 * (np.logaddexp(0.0, -target).mean() + np.logaddexp(0.0, nontarget).mean())
    return float(nats / np.log(2.0))


def min_cllr(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike) -> float:
    """Return the least Cllr, in bits, that a monotone map of these scores could reach (by PAV).

    Equal scores get one LLR. At most 1.

    Raises:
        ValueError: scores empty, not one-dimensional or not finite.
    """
    return min_cllr_of_curve(error_curve(target_scores, nontarget_scores))


def min_cllr_of_curve(curve: ErrorCurve) -> float:
    """Return the minimum Cllr (see `min_cllr`) of an error curve."""
    target_B, nontarget_B = pav_blocks(curve)
    share_t, share_n = target_B / curve.total_target, nontarget_B / curve.total_nontarget
    # The LLR of a block is ln(share_t / share_n), hence 1 + exp(-LLR) = (share_t + share_n) / share_t. Blocks
    # of one kind only have an infinite LLR and cost nothing; they are left out before the logarithm.
    both = share_t + share_n
    cost_t = share_t[target_B > 0] @ np.log2(both[target_B > 0] / share_t[target_B > 0])
    cost_n = share_n[nontarget_B > 0] @ np.log2(both[nontarget_B > 0] / share_n[nontarget_B > 0])
    return float(0.5 * (cost_t + cost_n))
