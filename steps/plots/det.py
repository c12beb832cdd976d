"""DET plots: miss rate against false-alarm rate on probit axes.

Source: Martin, Doddington, Kamm, Ordowski and Przybocki, "The DET curve in assessment of detection task performance",
    Eurospeech 1997.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steps.plots.figure import GREY, height_for, line_style, settle, style

# Rates, as fractions, at which an axis may have a tick.
_TICKS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_NORMAL = NormalDist()

Curve = tuple[npt.ArrayLike, npt.ArrayLike]


def det_figure(
    curves: Mapping[str, Curve],
    title: str,
    *,
    points: Mapping[str, tuple[float, float]] | None = None,
    points_name: str = "minDCF",
    legend_title: str | None = None,
) -> Figure:
    """Return a DET plot with one line a label, ticks in per cent, and the diagonal on which the EERs lie.

    Args:
        curves: label -> (p_miss, p_fa), fractions at the same thresholds, in the order of the thresholds. Both axes
            show the same range, from about the lowest rate that occurs to about twice the highest EER.
        title: of the picture.
        points: label -> (p_miss, p_fa) of one operating point to mark on that label's line, unless it lies outside.
        points_name: what the marked points are.
        legend_title: of the labels.

    Raises:
        ValueError: no curve, a curve whose arrays differ in length, rates outside 0..1, or a point without a curve.
    """
    rates = {label: _checked(label, curve) for label, curve in curves.items()}
    if not rates:
        raise ValueError("curves: expected at least one, found none")
    strays = (points or {}).keys() - rates.keys()
    if strays:
        raise ValueError(f"points: no curve is called {', '.join(sorted(strays))}")
    low, high = _limits(list(rates.values()))
    with style():
        figure = Figure(figsize=(7.4, height_for(len(rates), 5.2)))
        axes = figure.subplots()
        for index, (label, (p_miss, p_fa)) in enumerate(rates.items()):
            # Beyond the edge by a quarter, so that a line to a rate of 0 leaves the picture instead of ending in it.
            x, y = probit(np.clip(p_fa, low / 4, 1 - low / 4)), probit(np.clip(p_miss, low / 4, 1 - low / 4))
            axes.plot(x, y, label=label, **line_style(index))
        _mark(axes, points or {}, list(rates), (low, high), points_name)
        _dress(axes, low, high, title)
        # Beside the axes: inside there is no corner that the line of a good and of a bad system both leave free.
        figure.legend(loc="outside right upper", title=legend_title, alignment="left")
        settle(figure, rounds=4)
    return figure


def probit(rates: npt.ArrayLike) -> np.ndarray:
    """Return the normal deviate of each rate: where it stands on a DET axis."""
    flat = np.asarray(rates, dtype=np.float64)
    return np.array([_NORMAL.inv_cdf(rate) for rate in flat.ravel()]).reshape(flat.shape)


def _checked(label: str, curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    p_miss, p_fa = (np.asarray(rates, dtype=np.float64) for rates in curve)
    if p_miss.ndim != 1 or p_miss.shape != p_fa.shape or not p_miss.size:
        raise ValueError(f"{label}: expected as many miss as false-alarm rates, found {p_miss.shape}, {p_fa.shape}")
    for name, rates in (("p_miss", p_miss), ("p_fa", p_fa)):
        if not ((rates >= 0) & (rates <= 1)).all():
            raise ValueError(f"{label}: {name}: expected fractions in 0..1, found {rates.min()} to {rates.max()}")
    return p_miss, p_fa


def _limits(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the lowest and highest rate to show; both are ticks."""
    both = np.concatenate([np.concatenate(curve) for curve in curves])
    lowest = float(both[both > 0].min(initial=1.0))
    highest_eer = max(float(np.maximum(p_miss, p_fa).min()) for p_miss, p_fa in curves)
    low = max([tick for tick in _TICKS if tick <= min(lowest, 0.01)], default=_TICKS[0])
    high = min([tick for tick in _TICKS if tick >= max(0.4, 1.5 * highest_eer)], default=_TICKS[-1])
    return low, high


def _mark(
    axes: Axes,
    points: Mapping[str, tuple[float, float]],
    labels: list[str],
    limits: tuple[float, float],
    name: str,
) -> None:
    for label, (p_miss, p_fa) in points.items():
        if not all(limits[0] <= rate <= limits[1] for rate in (p_miss, p_fa)):
            continue  # put on the edge it would claim rates that were not measured
        x, y = probit((p_fa, p_miss))
        colour = line_style(labels.index(label))["color"]
        axes.plot(x, y, "o", color=colour, markersize=6, markeredgecolor="white", clip_on=False, zorder=3)
    if points:
        axes.plot([], [], "o", color=GREY, markersize=6, markeredgecolor="white", label=name)


def _dress(axes: Axes, low: float, high: float, title: str) -> None:
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    ends = probit([low, high])
    axes.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        "EER", (ends[0], ends[0]), xytext=(14, 14), textcoords="offset points", rotation=45, rotation_mode="anchor",
        va="bottom", color=GREY, fontsize=8.5,
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(probit(ticks), labels=_tick_labels(ticks, 0.066 * float(ends[1] - ends[0])))
    axes.set(
        xlim=ends, ylim=ends, box_aspect=1, title=title, xlabel="False-alarm rate (%)", ylabel="Miss rate (%)"
    )  # fmt: skip
    axes.tick_params(length=3)


def _tick_labels(ticks: list[float], distance: float) -> list[str]:
    """Return the ticks in per cent, empty where a label would run into the one before it."""
    labels, last = [], -np.inf
    for place, tick in zip(probit(ticks), ticks, strict=True):
        labels.append(f"{100 * tick:g}" if place - last >= distance else "")
        last = place if labels[-1] else last
    return labels
