"""Dendrograms: branches at the heights of the merges, in the colours of the sides they join."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from scipy.cluster.hierarchy import leaves_list, linkage

from steps.plots.dendrogram import Tree, dendrogram_figure
from steps.plots.figure import GREY, NONTARGET, TARGET

POINTS = np.array([[0.0], [0.01], [0.03], [0.5], [0.52]])
SIDES = [False, False, True, True, True]


def _tree(**changes):
    return Tree(**({"linkage": linkage(POINTS, "average"), "is_test": SIDES, "title": "same"} | changes))


def _branches(axes):
    found = next(each for each in axes.collections if isinstance(each, LineCollection))
    return {
        round(float(path[1][1]), 3): to_hex(colour).upper()
        for path, colour in zip(found.get_segments(), found.get_colors(), strict=True)
    }


def test_branches_have_the_height_of_their_merge_and_the_colour_of_their_side():
    figure = dendrogram_figure([_tree(), _tree(title="other")], "t")
    matrix = linkage(POINTS, "average")
    branches = _branches(figure.axes[0])
    assert sorted(branches) == [round(height, 3) for height in sorted(matrix[:, 2])]
    assert branches[0.01] == TARGET  # two windows of the first side
    assert branches[0.02] == NONTARGET
    assert branches[0.025] == branches[round(matrix[-1, 2], 3)] == GREY


def test_leaves_are_marked_by_side_and_the_last_merge_by_a_line():
    axes = dendrogram_figure([_tree()], "t").axes[0]
    marks = {line.get_marker(): line for line in axes.get_lines() if line.get_marker() in ("o", "^") and len(line.get_xdata())}
    assert (len(marks["o"].get_xdata()), len(marks["^"].get_xdata())) == (2, 3)
    shuffled = [4, 0, 3, 1, 2]  # scipy moves the leaves; their sides go along
    axes_of_shuffled = dendrogram_figure(
        [_tree(linkage=linkage(POINTS[shuffled], "average"), is_test=[1, 0, 1, 0, 1])], "t"
    ).axes[0]
    first = next(line for line in axes_of_shuffled.get_lines() if line.get_marker() == "o" and len(line.get_xdata()))
    matrix = linkage(POINTS[shuffled], "average")
    assert first.get_xdata().tolist() == [10 * i + 5 for i, leaf in enumerate(leaves_list(matrix)) if leaf in (1, 3)]
    height = linkage(POINTS, "average")[-1, 2]
    assert [text.get_text() for text in axes.texts] == [f"{height:.2f}"]


def test_heights_go_from_0_to_1_and_further_only_for_a_higher_tree():
    assert dendrogram_figure([_tree()], "t").axes[0].get_ylim()[1] == 1
    assert dendrogram_figure([_tree(linkage=linkage(4 * POINTS, "average"))], "t").axes[0].get_ylim()[1] > 1.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linkage": np.ones((3, 3))}, "same: linkage: expected scipy's matrix"),
        ({"is_test": [True, False]}, "same: is_test: expected 5 booleans"),
        ({"is_test": [True] * 5}, "same: is_test: expected windows of both sides"),
    ],
)
def test_what_is_no_tree_of_two_sides_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dendrogram_figure([_tree(**changes)], "t")
    with pytest.raises(ValueError, match="trees: expected at least one"):
        dendrogram_figure([], "t")
