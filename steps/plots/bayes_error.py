"""Bayes error over the prior: what decisions cost at every application, as scores are and at their best thresholds.

Source: Brummer and de Villiers, "The BOSARIS toolkit user guide", 2011 (normalised Bayes error rate plot, rule of 30);
    Brummer, "Measuring, refining and calibrating speaker and language information extracted from speech", 2010 (applied
    probability of error, APE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from steps.plots.figure import GREY, checked_numbers, line_style, settle, style

_TOP = 1.4  # of a normalised plot: costs above are of no use, as deciding by the prior alone costs 1


@dataclass(frozen=True, kw_only=True)
class BayesErrors:
    """What a system costs at each prior: normalised DCFs, 1 being the cost of deciding by the prior alone."""

    actual: npt.ArrayLike | None = None  # at the Bayes threshold; None for scores that are no LLRs
    minimum: npt.ArrayLike  # at the best threshold
    before: npt.ArrayLike | None = None  # actual, before calibration
    # prior log odds outside which the best threshold leaves under 30 false alarms (left end) or misses (right end)
    trusted: tuple[float, float] | None = None


def bayes_error_figure(
    log_odds: npt.ArrayLike,
    systems: Mapping[str, BayesErrors],
    title: str,
    *,
    marked: Mapping[str, float] | None = None,
    normalised: bool = True,
) -> Figure:
    """Return actual (full line) and least (broken line) cost against the prior log odds, a colour a system.

    Args:
        log_odds: ascending prior log odds, logit(P_target); C_miss = C_fa = 1.
        systems: label -> costs, one a prior; the label of a single system may be empty.
        title: of the picture.
        marked: name -> prior log odds of an operating point to mark with an upright line.
        normalised: else the probability of error itself (APE), below that of deciding by the prior alone.

    Raises:
        ValueError: no system, log odds that do not rise, or costs that are not finite, negative or not one a prior.
    """
    x = checked_numbers(log_odds, "log_odds")
    if (np.diff(x) <= 0).any():
        raise ValueError("log_odds: expected numbers that rise")
    if not systems:
        raise ValueError("systems: expected at least one, found none")
    scale = np.ones_like(x) if normalised else expit(-np.abs(x))  # min(p, 1 - p)
    with style():
        figure = Figure(figsize=(7.4, 4.2))
        axes = figure.subplots()
        tops = [_draw(axes, x, scale, label, each, index) for index, (label, each) in enumerate(systems.items())]
        axes.plot(x, scale, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label="deciding by the prior", zorder=1)
        for name, place in (marked or {}).items():
            axes.axvline(place, color="black", linewidth=0.9, linestyle=":")
            axes.annotate(name, (place, 1), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
                          rotation=90, ha="left", va="top", fontsize=8.5, color="black")  # fmt: skip
        top = min(_TOP, 1.08 * max([*tops, 1.0])) if normalised else 1.15 * float(scale.max())
        axes.set(xlim=(x[0], x[-1]), ylim=(0, top), title=title, xlabel="Prior log odds, logit(P_target)")
        axes.set_ylabel("Normalised Bayes error rate" if normalised else "Probability of error")
        figure.legend(loc="outside right upper", alignment="left")
        settle(figure)
    return figure


def _draw(axes: Axes, x: np.ndarray, scale: np.ndarray, label: str, costs: BayesErrors, index: int) -> float:
    """Draw the lines of a system; return the highest cost of the least one."""
    colour = line_style(index)["color"]
    looks = (("actual", costs.actual, "-", 1.8), ("minimum", costs.minimum, "--", 1.4), ("before", costs.before, ":", 1.4))
    highest = 0.0
    for kind, values, dashes, width in looks:
        if values is None:
            continue
        y = checked_numbers(values, f"{label}: {kind}")
        if y.shape != x.shape or y.min() < 0:
            raise ValueError(f"{label}: {kind}: expected {x.size} costs of at least 0, found {y.size}, the least {y.min()}")
        words = {"actual": "actual", "minimum": "minimum", "before": "actual, before calibration"}[kind]
        axes.plot(x, y * scale, color=colour, linestyle=dashes, linewidth=width, label=_legend(label, words))
        highest = max(highest, float(y.max()) if kind != "before" else 0.0)
    for place in costs.trusted or ():
        if x[0] < place < x[-1]:
            at = np.interp(place, x, np.asarray(costs.minimum, dtype=np.float64) * scale)
            axes.plot(place, at, "|", color=colour, markersize=13, markeredgewidth=1.8)
    if costs.trusted:
        axes.plot(
            [], [], "|", color=colour, markersize=10, markeredgewidth=1.8, label=_legend(label, "30 errors at the best threshold")
        )
    return highest


def _legend(label: str, words: str) -> str:
    return f"{label}: {words}" if label else words
