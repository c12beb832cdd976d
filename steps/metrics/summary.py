"""All figures of one trial list, under the names that result.json uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steps.metrics.cllr import cllr, min_cllr_of_curve
from steps.metrics.costs import act_dcf, min_dcf_of_curve
from steps.metrics.curve import checked_scores, checked_truth, error_curve
from steps.metrics.error_rates import eer_of_curve, eer_rocch_of_curve


def trial_figures(
    scores: npt.ArrayLike,
    is_target: npt.ArrayLike,
    *,
    llrs: npt.ArrayLike | None = None,
    priors: tuple[float, ...] = (0.01, 0.05),
) -> dict[str, Any]:
    """Return eer, eer_rocch, min_dcf, act_dcf, cllr and min_cllr of scored trials, rates as fractions.

    `min_dcf` and `act_dcf` are keyed by the prior as text. `act_dcf` and `cllr` are of the calibrated
    natural-log LLRs and None where a system has none; all others, `min_cllr` too, are of the raw scores.

    Raises:
        ValueError: arrays of different length, values that are not finite, or trials of one kind only.
    """
    scores_N = checked_scores(scores, "scores")
    truth_N = checked_truth(is_target, scores_N.size)
    curve = error_curve(scores_N[truth_N], scores_N[~truth_N])
    figures: dict[str, Any] = {
        "eer": eer_of_curve(curve),
        "eer_rocch": eer_rocch_of_curve(curve),
        "min_dcf": {str(prior): min_dcf_of_curve(curve, prior) for prior in priors},
        "act_dcf": None,
        "cllr": None,
        "min_cllr": min_cllr_of_curve(curve),
    }
    if llrs is not None:
        target, nontarget = _split_llrs(llrs, truth_N)
        figures["act_dcf"] = {str(prior): act_dcf(target, nontarget, prior) for prior in priors}
        figures["cllr"] = cllr(target, nontarget)
    return figures


def _split_llrs(llrs: npt.ArrayLike, truth_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    llrs_N = checked_scores(llrs, "llrs")
    if llrs_N.shape != truth_N.shape:
        raise ValueError(f"llrs: expected one a score, that is {truth_N.size}, found {llrs_N.size}")
    return llrs_N[truth_N], llrs_N[~truth_N]
