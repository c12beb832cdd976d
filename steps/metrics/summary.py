"""All figures of one trial list, under the names that result.json uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from steps.metrics.cllr import cllr, min_cllr_of_curve
from steps.metrics.costs import act_dcf, min_dcf_of_curve
from steps.metrics.curve import checked_scores, checked_truth, error_curve
from steps.metrics.error_rates import eer_of_curve, eer_rocch_of_curve
from steps.metrics.intervals import interval
from steps.metrics.replicates import draw_replicates, figure_replicates


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
        llrs_N = _checked_llrs(llrs, truth_N.size)
        target, nontarget = llrs_N[truth_N], llrs_N[~truth_N]
        figures["act_dcf"] = {str(prior): act_dcf(target, nontarget, prior) for prior in priors}
        figures["cllr"] = cllr(target, nontarget)
    return figures


def trial_intervals(
    scores: npt.ArrayLike,
    is_target: npt.ArrayLike,
    enrol_speaker_index: npt.ArrayLike,
    test_speaker_index: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    llrs: npt.ArrayLike | None = None,
    priors: tuple[float, ...] = (0.01, 0.05),
    num_replicates: int = 1000,
) -> dict[str, Any]:
    """Return eer_ci95, min_dcf_ci95, act_dcf_ci95 and cllr_ci95, each [low, high], from one set of replicates.

    Those of the costs are keyed by the prior as text. `act_dcf_ci95` and `cllr_ci95` are None where there are no
    LLRs. `eer_ci95` is that of `interval(speaker_bootstrap(...))` with an equally seeded generator.

    Raises:
        ValueError: as `trial_figures` and `speaker_bootstrap`.
    """
    scores_P = checked_scores(scores, "scores")
    checked_truth(is_target, scores_P.size)
    replicates = draw_replicates(
        is_target, enrol_speaker_index, test_speaker_index, rng=rng, num_replicates=num_replicates
    )  # fmt: skip

    def ci95(figure: str, values: npt.ArrayLike, p_target: float = 0.5) -> list[float]:
        return list(interval(figure_replicates(figure, values, replicates, p_target=p_target)[0]))

    found: dict[str, Any] = {
        "eer_ci95": ci95("eer", scores_P),
        "min_dcf_ci95": {str(prior): ci95("min_dcf", scores_P, prior) for prior in priors},
        "act_dcf_ci95": None,
        "cllr_ci95": None,
    }
    if llrs is not None:
        llrs_P = _checked_llrs(llrs, scores_P.size)
        found["act_dcf_ci95"] = {str(prior): ci95("act_dcf", llrs_P, prior) for prior in priors}
        found["cllr_ci95"] = ci95("cllr", llrs_P)
    return found


def _checked_llrs(llrs: npt.ArrayLike, num_trials: int) -> np.ndarray:
    llrs_P = checked_scores(llrs, "llrs")
    if llrs_P.size != num_trials:
        raise ValueError(f"llrs: expected one a score, that is {num_trials}, found {llrs_P.size}")
    return llrs_P
