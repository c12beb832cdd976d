"""Sweeps: a figure with its interval against what was varied, as lines or as a map of two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from steps.plots.figure import line_style, settle, style

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_SHIFT = 0.07  # between the lines at a category, so that their intervals do not hide each other
_LOG_RATIO = 20.0  # numbers that span more than this are drawn on a logarithmic axis
_MAX_TICKS = 14  # numbers on an axis that are ticks themselves
_MAX_NAME = 7  # letters of a category that fits under its tick without being turned

Point = tuple[float | str, float, tuple[float, float] | None]  # where, figure, ends of its interval


def sweep_figure(
    lines: Mapping[str, Sequence[Point]], title: str, *, axis_name: str, name: str = "EER (%)", factor: float = 100.0,
    legend_title: str | None = None,
) -> Figure:  # fmt: skip
    """Return a line a label over a numeric axis, or over categories if any place is a text; bars are intervals.

    Args:
        lines: label -> points (place, figure, interval or None); numbers are sorted, categories keep their order.
        title: of the picture.
        axis_name: of what varies, with its unit.
        name: of the figure, with its unit.
        factor: from the numbers to that unit.
        legend_title: of the labels.

    Raises:
        ValueError: no point, or a number that is not finite.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("lines: expected at least one with at least one point, found none")
    for place, value, bounds in points:
        if not np.isfinite([*(() if isinstance(place, str) else (place,)), value, *(bounds or ())]).all():
            raise ValueError(f"lines: expected finite numbers, found {(place, value, bounds)}")
    places = [place for place, *_ in points]
    categories = list(dict.fromkeys(map(_text, places))) if any(isinstance(place, str) for place in places) else None
    with style():
        figure = Figure(figsize=(7.8, 4.2))
        axes = figure.subplots()
        for index, (label, line) in enumerate(lines.items()):
            _line(axes, line, label, index, len(lines), categories, factor)
        _dress(axes, categories, places)
        axes.set(title=title, xlabel=axis_name, ylabel=name)
        axes.set_ylim(bottom=0 if axes.get_ylim()[0] >= 0 and axes.get_ylim()[0] < 0.4 * axes.get_ylim()[1] else None)
        if any(lines) and (len(lines) > 1 or legend_title):
            figure.legend(loc="outside right upper", title=legend_title, alignment="left")
        settle(figure)
    return figure


def heat_map(
    values_RC: npt.ArrayLike, row_names: Sequence[str], column_names: Sequence[str], title: str, *, row_axis: str = "",
    column_axis: str = "", name: str = "EER (%)", factor: float = 100.0,
) -> Figure:  # fmt: skip
    """Return a map of a figure over two axes, each cell with its number; nan is an empty cell.

    Args:
        values_RC: figures, a row for each of the first axis and a column for each of the second.
        row_names: of the rows, from top to bottom.
        column_names: of the columns.
        title: of the picture.
        row_axis: what the rows are.
        column_axis: what the columns are.
        name: of the figure, with its unit.
        factor: from the numbers to that unit.

    Raises:
        ValueError: another shape than the names, infinite numbers, or no number.
    """
    shown = factor * np.asarray(values_RC, dtype=np.float64)
    if shown.shape != (len(row_names), len(column_names)) or np.isinf(shown).any() or not np.isfinite(shown).any():
        raise ValueError(
            f"values: expected numbers of shape {(len(row_names), len(column_names))}, at least one of them known, "
            f"found shape {shown.shape}"
        )
    with style():
        height, width = 0.42 * len(row_names) + 1.7, 0.85 * len(column_names) + 0.085 * max(map(len, row_names)) + 2.0
        figure = Figure(figsize=(max(width, 5.0), max(height, 2.8)))
        axes = figure.subplots()
        image = axes.pcolormesh(shown, cmap="cividis_r", edgecolors="white", linewidth=1.0)
        low, high = np.nanmin(shown), np.nanmax(shown)
        for (row, column), value in np.ndenumerate(shown):
            if np.isfinite(value):
                dark = value > low + 0.55 * (high - low)
                axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=9,
                          color="white" if dark else "black")  # fmt: skip
        turned = max(map(len, column_names)) > 9
        axes.set_xticks(np.arange(len(column_names)) + 0.5, labels=list(column_names), rotation=35 if turned else 0,
                        ha="right" if turned else "center", rotation_mode="anchor" if turned else None)  # fmt: skip
        axes.set_yticks(np.arange(len(row_names)) + 0.5, labels=list(row_names))
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set(title=title, xlabel=column_axis, ylabel=row_axis, ylim=(len(row_names), 0))
        bar = figure.colorbar(image, ax=axes, label=name)
        bar.outline.set_visible(False)
        settle(figure)
    return figure


def _text(place: float | str) -> str:
    return place if isinstance(place, str) else f"{place:g}"


def _line(
    axes: Axes, line: Sequence[Point], label: str, index: int, num: int, categories: list[str] | None, factor: float
) -> None:
    ordered = sorted(line, key=lambda point: categories.index(_text(point[0])) if categories else point[0])
    if categories:
        x = np.array([float(categories.index(_text(place))) for place, *_ in ordered])
        x += (index - (num - 1) / 2) * min(_SHIFT, 0.6 / num)
    else:
        x = np.array([float(place) for place, *_ in ordered])
    y = factor * np.array([value for _, value, _ in ordered])
    bounds = factor * np.array([bounds or (value, value) for _, value, bounds in ordered])
    look = line_style(index)
    marker = _MARKERS[index % len(_MARKERS)]
    axes.plot(x, y, marker=marker, markersize=5, linewidth=0.8 if categories else 1.5, label=label, **look)
    # Bars of their own: an interval of percentiles need not hold the figure, and an error bar's length must not be negative.
    axes.vlines(x, bounds[:, 0], bounds[:, 1], color=look["color"], linewidth=1.1, alpha=0.7)


def _dress(axes: Axes, categories: list[str] | None, places: Sequence[float | str]) -> None:
    if categories:
        turned = len(categories) > 3 and max(map(len, categories)) > _MAX_NAME
        axes.set_xticks(range(len(categories)), labels=categories, rotation=30 if turned else 0,
                        ha="right" if turned else "center", rotation_mode="anchor" if turned else None)  # fmt: skip
        axes.set_xlim(-0.5, len(categories) - 0.5)
        axes.grid(visible=False, axis="x")
        return
    numbers = sorted(set(map(float, places)))
    if numbers[0] > 0 and numbers[-1] >= _LOG_RATIO * numbers[0]:
        axes.set_xscale("log")
    if len(numbers) <= _MAX_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(numbers))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
