"""Few-shot tasks: accuracy against the number of speakers to tell apart, a panel for each number of support utterances.

Source: the results of O. Knagg's blog on siamese networks for speakers, 1- and 5-shot tasks of 2 to 20 speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steps.plots.figure import GREY, height_for, line_style, settle, style

Point = tuple[int, float, tuple[float, float] | None]  # speakers of a task, accuracy, ends of its interval
_BAND = 0.13  # opacity of an interval
_MAX_BANDS = 6  # more systems than these are drawn without intervals, which would hide each other


def few_shot_figure(curves: Mapping[str, Mapping[int, Sequence[Point]]], title: str) -> Figure:
    """Return accuracy in per cent over k, with a line a system, bands for intervals, and a grey line for chance, 1 / k.

    Args:
        curves: system -> number of support utterances -> points; systems may lack some.
        title: of the picture.

    Raises:
        ValueError: no point, tasks of fewer than two speakers, or an accuracy or interval outside 0..1.
    """
    shots = sorted({number for of_system in curves.values() for number, points in of_system.items() if points})
    if not shots:
        raise ValueError("curves: expected at least one point, found none")
    for system, of_system in curves.items():
        for points in of_system.values():
            _check(system, points)
    with style():
        figure = Figure(figsize=(3.6 * len(shots) + 2.2, height_for(len(curves) + 1, 3.9)))
        panels = figure.subplots(1, len(shots), sharey=True, squeeze=False).ravel()
        for axes, number in zip(panels, shots, strict=True):
            ways = sorted({way for of_system in curves.values() for way, *_ in of_system.get(number, ())})
            axes.plot(ways, [100 / way for way in ways], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)), label="chance")
            for index, (system, of_system) in enumerate(curves.items()):
                _draw(axes, system, sorted(of_system.get(number, ())), index, with_bands=len(curves) <= _MAX_BANDS)
            axes.set_title(f"{number}-shot", fontweight="normal", fontsize=10)
            axes.set(xlabel="Speakers of a task", ylim=(0, 101))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        panels[0].set_ylabel("Accuracy (%)")
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        names = [*(system for system in curves if system in handles), "chance"]
        figure.legend([handles[name] for name in names], names, loc="outside right upper")
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left", fontsize=11)
        settle(figure)
    return figure


def _check(system: str, points: Sequence[Point]) -> None:
    for way, value, bounds in points:
        numbers = np.array([value, *(bounds or ())])
        if way < 2 or not ((numbers >= 0) & (numbers <= 1)).all():
            raise ValueError(f"{system}: expected tasks of two speakers or more and fractions in 0..1, found {way}, {numbers}")


def _draw(axes: Axes, system: str, points: Sequence[Point], index: int, *, with_bands: bool) -> None:
    if not points:
        return
    ways, values, bounds = zip(*points, strict=True)
    look = line_style(index)
    axes.plot(ways, 100 * np.array(values), label=system, marker="o" if len(points) == 1 else "", markersize=4, **look)
    if with_bands:
        ends = 100 * np.array([each or (value, value) for value, each in zip(values, bounds, strict=True)])
        axes.fill_between(ways, ends[:, 0], ends[:, 1], color=look["color"], alpha=_BAND, linewidth=0)
