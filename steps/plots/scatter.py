"""Embeddings in the plane: a point an item, its speaker as colour, the speaker's gender as shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steps.plots.figure import many_colours, settle, style

# As in voicemap's picture: circle male, triangle female; a square where nobody knows.
_MARKERS = {"m": ("o", "male"), "f": ("^", "female"), "": ("s", "unknown gender")}
_MAX_LEGEND = 24  # speakers; more are told apart by nobody


def embedding_scatter(
    points_N2: npt.ArrayLike,
    speakers: Sequence[str],
    title: str,
    *,
    genders: Sequence[str | None] | None = None,
    axis_names: tuple[str, str] = ("", ""),
) -> Figure:
    """Return points in the plane in the colours of their speakers; circles are male, triangles female.

    Args:
        points_N2: from `steps.backend.projection`, say.
        speakers: one a point.
        title: of the picture.
        genders: one a point, beginning with m or f in either case; None, or any other text: unknown.
        axis_names: labels of the two axes; without one an axis has no numbers either, for those of t-SNE mean nothing.

    Raises:
        ValueError: points that are not finite or not in the plane, or not one speaker or gender a point.
    """
    points = np.asarray(points_N2, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(f"points: expected finite numbers [items, 2], at least one item, found shape {points.shape}")
    for name, values in (("speakers", speakers), ("genders", genders)):
        if values is not None and len(values) != len(points):
            raise ValueError(f"{name}: expected one for each of {len(points)} points, found {len(values)}")
    shape_N = np.array([_gender(gender) for gender in genders]) if genders is not None else np.full(len(points), "")
    names, code_N = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    with style():
        figure = Figure(figsize=(7.4, 5.4) if names.size <= _MAX_LEGEND else (6.2, 5.4))
        axes = figure.subplots()
        colours = many_colours(names.size)
        _draw(axes, points, code_N, shape_N, colours)
        axes.set(title=title, xlabel=axis_names[0], ylabel=axis_names[1])
        for axis, name in zip((axes.xaxis, axes.yaxis), axis_names, strict=True):
            if not name:
                axis.set_ticklabels([])
                axis.set_tick_params(length=0)
        axes.set_aspect("equal", adjustable="datalim")
        _legend(figure, axes, names, colours, [m for m in _MARKERS if genders is not None and (shape_N == m).any()])
        settle(figure, rounds=2)
    return figure


def _gender(text: str | None) -> str:
    letter = (text or "").strip().lower()[:1]
    return letter if letter in ("m", "f") else ""


def _draw(axes: Axes, points: np.ndarray, code_N: np.ndarray, shape_N: np.ndarray, colours: list[str]) -> None:
    size = float(np.clip(6000 / len(points), 10, 45))
    for code, colour in enumerate(colours):
        for letter, (marker, _) in _MARKERS.items():
            kept = (code_N == code) & (shape_N == letter)
            if kept.any():
                axes.scatter(*points[kept].T, s=size, marker=marker if (shape_N != "").any() else "o", color=colour,
                             edgecolors="white", linewidths=0.4)  # fmt: skip


def _legend(figure: Figure, axes: Axes, names: np.ndarray, colours: list[str], shapes: list[str]) -> None:
    handles = [
        axes.plot([], [], _MARKERS[letter][0], color="#444444", markersize=6, label=_MARKERS[letter][1])[0] for letter in shapes
    ]
    if names.size <= _MAX_LEGEND:
        handles += [
            axes.plot([], [], "s", color=colour, markersize=6, label=name)[0] for name, colour in zip(names, colours, strict=True)
        ]
    else:
        handles.append(axes.plot([], [], " ", label=f"{names.size} speakers, a colour each")[0])
    place = "outside right upper" if names.size <= _MAX_LEGEND else "outside lower center"
    figure.legend(handles=handles, loc=place, ncols=1 if names.size <= _MAX_LEGEND else 4)
