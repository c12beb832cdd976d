"""Dendrograms of the windows of both sides of a trial, the picture behind scores by hierarchical clustering.

Source: Figure 6 of the ZHAW paper on BiLSTM embeddings with an angular margin: average linkage, heights from 0 to 1, a trial of
    one speaker beside one of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, is_valid_linkage

from steps.plots.figure import GREY, NONTARGET, TARGET, settle, style

_LEAF = 10.0  # scipy puts leaf i at 10 i + 5
_COLOURS = (TARGET, NONTARGET)
_MARKERS = ("o", "^")
_MIXED = GREY


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The windows of the two sides of a trial, clustered together."""

    linkage: npt.ArrayLike  # scipy's matrix [W - 1, 4]
    is_test: npt.ArrayLike  # [W] whether a window is of the second side
    title: str


def dendrogram_figure(
    trees: Sequence[Tree], title: str, *, sides: tuple[str, str] = ("enrolment", "test"), top: float = 1.0
) -> Figure:
    """Return dendrograms side by side: leaves and branches in the colour of their side, grey where both are joined.

    The broken line stands at the height of the last merge, which is the score of a trial (lower: rather the same speaker).

    Args:
        trees: of trials, say one of one speaker and one of two.
        title: of the whole picture.
        sides: what the two sides are called.
        top: end of the height axis, common to all; a tree that is higher makes it longer.

    Raises:
        ValueError: no tree, no valid linkage matrix, not one side a window, or windows of one side only.
    """
    if not trees:
        raise ValueError("trees: expected at least one, found none")
    known = [_checked(tree) for tree in trees]
    high = max(top, *(1.05 * float(linkage[:, 2].max()) for linkage, _ in known))
    with style():
        figure = Figure(figsize=(4.1 * len(trees) + 0.6, 3.8))
        panels = figure.subplots(1, len(trees), sharey=True, squeeze=False).ravel()
        for axes, tree, (linkage, is_test) in zip(panels, trees, known, strict=True):
            _draw(axes, linkage, is_test)
            axes.set_title(tree.title, fontweight="normal", fontsize=10)
            axes.set(ylim=(-0.035 * high, high), xticks=[])
            axes.set_xlabel(f"{is_test.size} windows")
            axes.grid(visible=False, axis="x")
        panels[0].set_ylabel("Height (mean cosine distance)")
        handles = [panels[0].plot([], [], m, color=c, label=s)[0] for m, c, s in zip(_MARKERS, _COLOURS, sides, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left", fontsize=11)
        settle(figure)
    return figure


def _checked(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    linkage, is_test = np.asarray(tree.linkage, dtype=np.float64), np.asarray(tree.is_test)
    if not is_valid_linkage(linkage) or not np.isfinite(linkage).all():
        raise ValueError(f"{tree.title}: linkage: expected scipy's matrix [windows - 1, 4], found shape {linkage.shape}")
    if is_test.shape != (len(linkage) + 1,) or not np.isin(is_test, (0, 1)).all():
        raise ValueError(f"{tree.title}: is_test: expected {len(linkage) + 1} booleans, found shape {is_test.shape}")
    is_test = is_test.astype(bool)
    if is_test.all() or not is_test.any():
        raise ValueError(f"{tree.title}: is_test: expected windows of both sides")
    return linkage, is_test


def _draw(axes: Axes, linkage: np.ndarray, is_test: np.ndarray) -> None:
    num = is_test.size
    members: dict[int, set[bool]] = {i: {bool(side)} for i, side in enumerate(is_test)}
    for i, (left, right) in enumerate(linkage[:, :2].astype(int)):
        members[num + i] = members[left] | members[right]

    def colour(node: int) -> str:
        return _MIXED if len(members[node]) == 2 else _COLOURS[next(iter(members[node]))]

    drawn = dendrogram(linkage, no_plot=True, link_color_func=colour)
    lines = [np.column_stack(link) for link in zip(drawn["icoord"], drawn["dcoord"], strict=True)]
    axes.add_collection(LineCollection(lines, colors=drawn["color_list"], linewidths=1.3))
    places, sides = (np.arange(num) + 0.5) * _LEAF, is_test[drawn["leaves"]]
    for side, (marker, shade) in enumerate(zip(_MARKERS, _COLOURS, strict=True)):
        kept = sides == bool(side)
        axes.plot(places[kept], np.zeros(kept.sum()), marker, color=shade, markersize=4.5, clip_on=False, zorder=3)
    height = float(linkage[-1, 2])
    axes.axhline(height, color="black", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(f"{height:.2f}", (0.0, height), xytext=(3, 3), textcoords="offset points", fontsize=8.5)
    axes.set_xlim(0, num * _LEAF)
