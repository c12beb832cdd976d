"""Forest plots: one figure of many systems with its intervals, a panel a list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steps.plots.figure import GREY, TARGET, settle, style

_ROOM = 4  # lists side by side
_HIGHLIGHT = "#D55E00"

Estimate = tuple[float, tuple[float, float] | None]  # figure, ends of its interval


def forest_figure(
    lists: Mapping[str, Mapping[str, Estimate]], title: str, *, name: str = "EER (%)", factor: float = 100.0,
    reference: str | None = None, zero: bool = False,
) -> Figure:  # fmt: skip
    """Return a panel a list and a row a system: a dot for the figure, a line for its interval.

    Args:
        lists: list -> system -> (figure, (low, high) or None). Systems keep the order in which they occur; a list may
            lack some.
        title: of the picture.
        name: of the figure, with its unit.
        factor: from the numbers to that unit.
        reference: a system in another colour, with an upright line through its figure.
        zero: whether to draw a line at 0, for differences.

    Raises:
        ValueError: no list, no system, numbers that are not finite, or an interval with its ends exchanged.
    """
    systems = list(dict.fromkeys(system for rows in lists.values() for system in rows))
    if not systems:
        raise ValueError("lists: expected at least one with at least one system, found none")
    for list_name, rows in lists.items():
        for system, (value, bounds) in rows.items():
            numbers = (value, *(bounds or ()))
            if not np.isfinite(numbers).all() or (bounds is not None and bounds[0] > bounds[1]):
                raise ValueError(f"{list_name}: {system}: expected a number and an interval, found {value}, {bounds}")
    columns = min(len(lists), _ROOM)
    rows_of_panels = -(-len(lists) // columns)
    widest = 0.075 * max(map(len, systems))
    with style():
        figure = Figure(figsize=(widest + 2.7 * columns + 0.3, rows_of_panels * (0.24 * len(systems) + 1.0) + 0.4))
        panels = figure.subplots(rows_of_panels, columns, squeeze=False, sharey=True).ravel()
        for axes, (list_name, estimates) in zip(panels, lists.items(), strict=False):
            _draw(axes, estimates, systems, factor, reference, zero)
            axes.set_title(list_name, fontweight="normal", fontsize=10)
            axes.set_xlabel(name)
        for axes in panels[len(lists) :]:
            axes.remove()
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left", fontsize=11)
        settle(figure)
    return figure


def _draw(
    axes: Axes, estimates: Mapping[str, Estimate], systems: list[str], factor: float, reference: str | None, zero: bool
) -> None:
    for place, system in enumerate(systems):
        if system not in estimates:
            continue
        value, bounds = estimates[system]
        colour = _HIGHLIGHT if system == reference else TARGET
        if bounds is not None:
            axes.plot([factor * bounds[0], factor * bounds[1]], [place, place], color=colour, linewidth=1.6)
            axes.plot([factor * end for end in bounds], [place, place], "|", color=colour, markersize=6)
        axes.plot(factor * value, place, "o", color=colour, markersize=5.5, markeredgecolor="white", zorder=3)
    if reference in estimates:
        axes.axvline(factor * estimates[reference][0], color=_HIGHLIGHT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(systems)), labels=systems)
    axes.set_ylim(len(systems) - 0.4, -0.6)  # the first one on top
    axes.tick_params(axis="y", length=0)
    if zero:
        axes.axvline(0, color=GREY, linewidth=1.0, zorder=1)
    else:
        axes.set_xlim(left=0)
