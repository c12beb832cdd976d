"""Detection costs: minimum and actual DCF, divided by min(p, 1 - p) so that 1 is the cost of not looking.

C_miss = C_fa = 1 throughout.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.metrics.curve import ErrorCurve, checked_scores, error_curve


def min_dcf(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike, p_target: float) -> float:
    """Return the lowest normalised detection cost over all thresholds.

    Accepting all and rejecting all are among them, so it is at most 1.

    Raises:
        ValueError: scores empty or not finite, or a prior outside (0, 1).
    """
    return min_dcf_of_curve(error_curve(target_scores, nontarget_scores), p_target)


def min_dcf_of_curve(curve: ErrorCurve, p_target: float) -> float:
    """Return the minimum detection cost (see `min_dcf`) of an error curve."""
    return curve.lowest(lambda p_miss, p_fa: normalised_cost(p_miss, p_fa, p_target))


def act_dcf(target_llrs: npt.ArrayLike, nontarget_llrs: npt.ArrayLike, p_target: float) -> float:
    """Return the normalised detection cost of deciding by Bayes' rule, natural-log LLRs taken at their word.

    A trial is accepted where its LLR >= -logit(p_target). The cost may be far above 1 where LLRs are badly
    calibrated. Infinite LLRs are allowed.

    Source: Brummer and du Preez, "Application-independent evaluation of speaker detection", 2006.

    Raises:
        ValueError: LLRs empty or not numbers, or a prior outside (0, 1).
    """
    target = checked_scores(target_llrs, "target LLRs", allow_infinite=True)
    nontarget = checked_scores(nontarget_llrs, "non-target LLRs", allow_infinite=True)
    threshold = bayes_threshold(p_target)
    p_miss = np.count_nonzero(target < threshold) / target.size
    p_fa = np.count_nonzero(nontarget >= threshold) / nontarget.size
    return float(normalised_cost(np.float64(p_miss), np.float64(p_fa), p_target))


def bayes_threshold(p_target: float) -> float:
    """Return -logit(p_target): the LLR from which accepting costs no more than rejecting.

    Raises:
        ValueError: a prior outside (0, 1).
    """
    _check_prior(p_target)
    return float(np.log1p(-p_target) - np.log(p_target))


def normalised_cost(p_miss: np.ndarray, p_fa: np.ndarray, p_target: float) -> np.ndarray:
    """Return p * p_miss + (1 - p) * p_fa, over min(p, 1 - p).

    Raises:
        ValueError: a prior outside (0, 1).
    """
    _check_prior(p_target)
    return (p_target * p_miss + (1.0 - p_target) * p_fa) / min(p_target, 1.0 - p_target)


def _check_prior(p_target: float) -> None:
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target: expected a probability between 0 and 1, both excluded, found {p_target}")
