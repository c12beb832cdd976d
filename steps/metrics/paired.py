"""Paired comparison of systems scored on the same trials: is the difference more than the choice of speakers?

All systems are weighed with the same replicates of the joint bootstrap over speakers, so that what makes a
draw of speakers easy or hard for all of them falls out of the difference.

Weights of same-speaker trials. The intervals of single figures let such a trial weigh the square of its speaker's
count (`same_speaker = "square"`). For a test that is too cautious: the square of a count varies 2.75 times as much as
the count. Simulated were two equally good systems, 20 or 59 speakers of 8 utterances, 300 or 500 times. With "square" p
was <= 0.05 in 0 to 1.4 per cent of cases, and the replicates spread 1.45 to 1.6 times as widely as the difference did
from case to case. With "once", the default here, the EER's p was <= 0.05 in 5.2 to 5.6, <= 0.1 in 10 to 12 and <= 0.5 in
49 to 51 per cent, that of minDCF(0.05) <= 0.05 in 3.3 to 4.6 per cent, and the spread was right within a tenth. The two
forms of p-value were alike, but for the centred one of minDCF with 20 speakers (1.6 per cent).
Suffixes: P trials, R replicates, K systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.metrics.cllr import cllr, min_cllr
from steps.metrics.costs import act_dcf, min_dcf
from steps.metrics.curve import checked_scores
from steps.metrics.error_rates import eer
from steps.metrics.intervals import interval
from steps.metrics.replicates import FIGURES, draw_replicates, figure_replicates

OF_LLRS = ("act_dcf", "cllr")


def compare_systems(
    scores: Mapping[str, npt.ArrayLike],
    is_target: npt.ArrayLike,
    enrol_speaker_index: npt.ArrayLike,
    test_speaker_index: npt.ArrayLike,
    *,
    reference: str,
    rng: np.random.Generator,
    figures: Sequence[str] = ("eer",),
    llrs: Mapping[str, npt.ArrayLike] | None = None,
    p_target: float = 0.01,
    num_replicates: int = 1000,
    same_speaker: str = "once",
    p_value_of: str = "percentile",
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, for each system but the reference and each figure, how it differs from the reference.

    The record of a system and a figure has `value` (of the system), `reference` (of the reference), `difference`
    (system - reference: below 0 is better, for all these figures), `ci95` (percentile interval of the difference),
    `p_value` (two-sided) and `p_holm` (the same, corrected by Holm's rule for the number of systems compared).
    All numbers are plain floats. A system without LLRs has no record of `act_dcf` and `cllr`, nor has any where the
    reference lacks them.

    Args:
        scores: of each system by name, [P], all of the same trials in the same order.
        is_target: truth of each trial.
        enrol_speaker_index: see `speaker_bootstrap`.
        test_speaker_index: see `speaker_bootstrap`.
        reference: name of the system that the others are compared with.
        rng: source of the draws.
        figures: some of `FIGURES`; "min_cllr" takes a few seconds a system and thousand replicates, all others are fast.
        llrs: calibrated LLRs of systems by name, [P]; for "act_dcf" and "cllr".
        p_target: prior of the two costs.
        num_replicates: how many replicates.
        same_speaker: see the head of this module.
        p_value_of: "percentile" or "centred": see `p_value`.

    Raises:
        ValueError: unknown reference or figure, fewer than two systems, scores of different length or not finite,
            LLRs of a system that has no scores.
    """
    _check(scores, reference, figures, llrs or {})
    replicates = draw_replicates(
        is_target, enrol_speaker_index, test_speaker_index,
        rng=rng, num_replicates=num_replicates, same_speaker=same_speaker,
    )  # fmt: skip
    truth_P = np.asarray(is_target).astype(bool)
    others = [name for name in scores if name != reference]
    records: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in others}
    for figure in figures:
        source = (llrs or {}) if figure in OF_LLRS else scores
        if reference not in source:
            continue
        compared = [reference, *(name for name in others if name in source)]
        values_KP = np.stack([_row(source[name], name, truth_P.size) for name in compared])
        values_K = [_value(figure, row_P, truth_P, p_target) for row_P in values_KP]
        replicates_KR = figure_replicates(figure, values_KP, replicates, p_target=p_target)
        found = [
            _record(value, values_K[0], row_R - replicates_KR[0], p_value_of)
            for value, row_R in zip(values_K[1:], replicates_KR[1:], strict=True)
        ]
        corrected = holm([record["p_value"] for record in found])
        for name, record, p_holm in zip(compared[1:], found, corrected, strict=True):
            records[name][figure] = record | {"p_holm": p_holm}
    return records


def p_value(replicates: npt.ArrayLike, difference: float, form: str = "percentile") -> float:
    """Return the two-sided bootstrap p-value of a difference of 0.

    "percentile": twice the smaller share of replicates on either side of 0, 0 itself counted on both, which is below
    0.05 where the 95 % percentile interval leaves 0 out. "centred": the share of replicates that lie as far from the
    difference as that does from 0. One is added to count and total, so that it is never 0.

    Args:
        replicates: of the difference, [R].
        difference: on the trials themselves; of "centred" only.
        form: "percentile" or "centred".

    Source: Davison and Hinkley, "Bootstrap methods and their application", 1997, sections 4.2.3 (the added one) and
        5.3; Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapters 13.3 and 16.4 (centred).

    Raises:
        ValueError: no replicates, or another form.
    """
    values_R = checked_scores(replicates, "replicates")
    if form == "percentile":
        beyond = 2 * (1 + min(np.count_nonzero(values_R <= 0), np.count_nonzero(values_R >= 0)))
    elif form == "centred":
        beyond = 1 + np.count_nonzero(np.abs(values_R - difference) >= abs(difference))
    else:
        raise ValueError(f"p-value: expected percentile or centred, found {form!r}")
    return float(min(1.0, beyond / (values_R.size + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down rule, in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics, 1979.
    """
    p_K = np.asarray(p_values, dtype=np.float64)
    order_K = np.argsort(p_K, kind="stable")
    corrected_K = np.empty(p_K.size)
    steps_K = p_K[order_K] * np.arange(p_K.size, 0, -1)
    corrected_K[order_K] = np.minimum(1.0, np.maximum.accumulate(steps_K))
    return corrected_K.tolist()


def _record(value: float, reference: float, replicates_R: np.ndarray, form: str) -> dict[str, Any]:
    difference = value - reference
    return {
        "value": value,
        "reference": reference,
        "difference": difference,
        "ci95": list(interval(replicates_R)),
        "p_value": p_value(replicates_R, difference, form),
    }


def _value(figure: str, scores_P: np.ndarray, truth_P: np.ndarray, p_target: float) -> float:
    target, nontarget = scores_P[truth_P], scores_P[~truth_P]
    costs = {"min_dcf": min_dcf, "act_dcf": act_dcf}
    if figure in costs:
        return float(costs[figure](target, nontarget, p_target))
    return float({"eer": eer, "cllr": cllr, "min_cllr": min_cllr}[figure](target, nontarget))


def _row(scores: npt.ArrayLike, name: str, num_trials: int) -> np.ndarray:
    row_P = checked_scores(scores, f"scores of {name}")
    if row_P.size != num_trials:
        raise ValueError(f"scores of {name}: expected one for each of {num_trials} trials, found {row_P.size}")
    return row_P


def _check(
    scores: Mapping[str, npt.ArrayLike], reference: str, figures: Sequence[str], llrs: Mapping[str, npt.ArrayLike]
) -> None:
    if reference not in scores or len(scores) < 2:
        raise ValueError(f"reference: expected one of at least two systems, found {reference!r} and {', '.join(scores)}")
    unknown = [name for name in figures if name not in FIGURES]
    if unknown or not figures:
        raise ValueError(f"figures: expected some of {', '.join(FIGURES)}, found {', '.join(unknown) or 'none'}")
    stray = sorted(set(llrs) - set(scores))
    if stray:
        raise ValueError(f"llrs: expected those of systems that have scores, found {', '.join(stray)} besides")
