"""Identification: CMC curves (closed set), and detection-and-identification rate against false alarms (open set)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from steps.plots.figure import checked_rates, height_for, line_style, settle, style

_MARKED = 12  # ranks; longer curves are drawn without a dot a rank
_TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_ROUNDING = 1e-9


def cmc_figure(curves: Mapping[str, npt.ArrayLike], title: str, *, max_rank: int = 20) -> Figure:
    """Return cumulative match characteristics: the share of probes whose speaker is among the best r, against r.

    Args:
        curves: label -> rates [R] at rank 1, 2, ..., as fractions.
        title: of the picture.
        max_rank: last rank to show.

    Source: Phillips, Grother and Micheals, "Evaluation methods in face recognition", Handbook of Face Recognition, 2011.

    Raises:
        ValueError: no curve, rates outside 0..1, rates that fall with the rank, or max_rank under 1.
    """
    rates = {label: checked_rates(curve, label) for label, curve in curves.items()}
    _check(rates, "rates")
    if max_rank < 1:
        raise ValueError(f"max_rank: expected at least 1, found {max_rank}")
    num_ranks = min(max_rank, max(curve.size for curve in rates.values()))
    with style():
        figure = Figure(figsize=(7.4, height_for(len(rates), 4.2)))
        axes = figure.subplots()
        for index, (label, curve) in enumerate(rates.items()):
            shown = 100 * curve[:num_ranks]
            marker = "o" if num_ranks <= _MARKED else ""
            axes.plot(np.arange(1, shown.size + 1), shown, label=label, marker=marker, markersize=4, **line_style(index))
        low = 100 * min(curve[0] for curve in rates.values())
        axes.set(xlim=(0.7, num_ranks + 0.3), ylim=(max(0.0, 10 * np.floor((low - 2) / 10)), 100.9), title=title)
        axes.set(xlabel="Rank", ylabel="Identification rate (%)")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        figure.legend(loc="outside right upper")
        settle(figure)
    return figure


def open_set_figure(curves: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], title: str) -> Figure:
    """Return the rate of correct detection and identification (DIR) against the false-alarm rate of unknown speakers.

    Args:
        curves: label -> (far, dir), fractions at the same thresholds: the share of probes of speakers who are not enrolled
            with a best score of at least the threshold, and that of enrolled speakers' probes whose own speaker scores best and
            reaches it.
        title: of the picture.

    Source: as `cmc_figure`.

    Raises:
        ValueError: no curve, arrays of different length, rates outside 0..1, or a DIR that falls as the FAR rises.
    """
    points = {}
    for label, (far, dirs) in curves.items():
        x, y = checked_rates(far, f"{label}: far"), checked_rates(dirs, f"{label}: dir")
        if x.shape != y.shape:
            raise ValueError(f"{label}: expected as many far as dir, found {x.size}, {y.size}")
        order = np.lexsort((y, x))
        points[label] = (x[order], y[order])
    _check({label: y for label, (_, y) in points.items()}, "dir")
    low = max(min((float(x[x > 0].min(initial=1.0)) for x, _ in points.values()), default=1.0), _TICKS[0])
    low = max([tick for tick in _TICKS if tick <= min(low, 0.1)], default=_TICKS[0])
    with style():
        figure = Figure(figsize=(7.4, height_for(len(points), 4.2)))
        axes = figure.subplots()
        for index, (label, (x, y)) in enumerate(points.items()):
            axes.plot(np.maximum(x, low / 4), 100 * y, label=label, drawstyle="steps-post", **line_style(index))
        axes.set_xscale("log")
        axes.set(xlim=(low, 1), ylim=(0, 101), title=title)
        axes.set(xlabel="False-alarm rate of unknown speakers (%)", ylabel="Detection and identification rate (%)")
        axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick >= low]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        figure.legend(loc="outside right upper")
        settle(figure)
    return figure


def _check(curves: Mapping[str, np.ndarray], name: str) -> None:
    if not curves:
        raise ValueError("curves: expected at least one, found none")
    for label, curve in curves.items():
        if (np.diff(curve) < -_ROUNDING).any():
            raise ValueError(f"{label}: {name}: expected a curve that does not fall")
