"""Tippett plots: which share of the trials of a kind misleads, at every log-likelihood ratio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steps.plots.figure import GREY, NONTARGET, TARGET, checked_numbers, settle, style

_MAX_POINTS = 250  # of a line; more are not seen, and make the file large
_OUTER = 0.5  # per cent of the LLRs on each side that may lie outside the picture
_WIDEST = 3.0  # scores before calibration may widen the picture to so many times what it was
_KINDS = (("target", TARGET, True), ("non-target", NONTARGET, False))

Pair = tuple[npt.ArrayLike, npt.ArrayLike]


def tippett_figure(
    target_llrs: npt.ArrayLike, nontarget_llrs: npt.ArrayLike, title: str, *, before: Pair | None = None
) -> Figure:
    """Return the cumulative LLRs of both kinds of trials, after calibration in full lines, before it in broken ones.

    At a threshold x the line of the targets shows the share with an LLR below x (what is missed), that of the
    non-targets the share with an LLR of at least x (false alarms); where they cross lies the EER. The legend says how many
    point to the wrong side of 0.

    Args:
        target_llrs: natural logarithm, of the target trials.
        nontarget_llrs: the same of the non-target trials.
        title: of the picture.
        before: (target, non-target) scores before calibration, read as LLRs.

    Source: Meuwly, "Reconnaissance de locuteurs en sciences forensiques", 2001; in the form of Morrison et al., "Consensus on
        validation of forensic voice comparison", Science & Justice 61, 2021, with both kinds as rates of error.

    Raises:
        ValueError: LLRs or scores empty, not one-dimensional or not finite.
    """
    after_2 = [checked_numbers(target_llrs, "target LLRs"), checked_numbers(nontarget_llrs, "non-target LLRs")]
    before_2 = [
        checked_numbers(s, f"{kind} scores before") for s, kind in zip(before or (), ("target", "non-target"), strict=False)
    ]
    low, high = _limits(after_2, before_2)
    with style():
        figure = Figure(figsize=(7.4, 3.8))
        axes = figure.subplots()
        _lines(axes, after_2, (low, high), "-", "after" if before_2 else "")
        if before_2:
            _lines(axes, before_2, (low, high), (0, (3, 2)), "before")
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=1)
        axes.set(xlim=(low, high), ylim=(0, 100), title=title)
        axes.set(xlabel="Log-likelihood ratio x (natural log)", ylabel="Share of the trials of a kind (%)")
        figure.legend(loc="outside right upper", alignment="left")
        settle(figure)
    return figure


def shares(scores: npt.ArrayLike, thresholds: npt.ArrayLike, *, is_target: bool) -> np.ndarray:
    """Return at each threshold the share of the scores that err: targets below it, or non-targets at or above it."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    below = np.searchsorted(ordered, thresholds, side="left") / ordered.size
    return below if is_target else 1 - below


def _lines(axes: Axes, scores_2: list[np.ndarray], limits: tuple[float, float], dashes: object, when: str) -> None:
    for scores, name, colour, is_target in zip(
        scores_2, ("target", "non-target"), (TARGET, NONTARGET), (True, False), strict=True
    ):
        distinct = np.unique(scores)
        kept = distinct[np.unique(np.linspace(0, distinct.size - 1, min(distinct.size, _MAX_POINTS)).astype(int))]
        x = np.concatenate([[limits[0]], kept, [np.nextafter(kept[-1], np.inf), limits[1]]])
        wrong = float(shares(scores, [0.0], is_target=is_target)[0])
        side = "below" if is_target else "at or above"
        label = f"{', '.join(filter(None, (name, when)))}:\n{100 * wrong:.1f}% of {scores.size:,} {side} 0"
        y = 100 * shares(scores, x, is_target=is_target)
        # The share changes just above a score (below it: fewer), so between two scores it is that of the upper one.
        axes.plot(x, y, color=colour, linestyle=dashes, drawstyle="steps-pre", label=label)


def _limits(after_2: list[np.ndarray], before_2: list[np.ndarray]) -> tuple[float, float]:
    """Return the ends of the LLR axis: what calibrated LLRs need, wider if those before calibration need more, to a limit."""

    def ends(pair: list[np.ndarray]) -> tuple[float, float]:
        both = np.array([np.percentile(scores, [_OUTER, 100 - _OUTER]) for scores in pair])
        return min(float(both.min()), 0.0), max(float(both.max()), 0.0)

    low, high = ends(after_2)
    width = (high - low) or 1.0
    if before_2:
        other_low, other_high = ends(before_2)
        spare = 0.5 * (_WIDEST - 1) * width
        low, high = max(min(low, other_low), low - spare), min(max(high, other_high), high + spare)
    return low - 0.03 * width, high + 0.03 * width
