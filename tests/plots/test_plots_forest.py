"""Forest plots: a row a system, a panel a list."""

import numpy as np
import pytest

from steps.plots.forest import forest_figure

LISTS = {"o": {"a": (0.05, (0.04, 0.07)), "b": (0.1, None)}, "e": {"b": (0.2, (0.1, 0.3))}}


def _dots(axes):
    return {int(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_marker() == "o"}


def test_dots_and_intervals_are_in_per_cent_and_systems_keep_their_rows():
    first, second = forest_figure(LISTS, "t").axes
    assert _dots(first) == {0: 5.0, 1: 10.0}
    assert _dots(second) == {1: 20.0}
    bars = [sorted(line.get_xdata()) for line in first.get_lines() if line.get_linestyle() == "-" and line.get_marker() == "None"]
    np.testing.assert_allclose(bars, [[4.0, 7.0]])
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b"]
    assert first.get_ylim()[0] > first.get_ylim()[1]  # the first one on top
    assert first.get_xlim()[0] == 0


def test_the_reference_has_a_line_and_differences_may_be_negative():
    marked, unmarked = forest_figure(LISTS, "t", reference="a").axes
    assert [tuple(line.get_xdata()) for line in marked.get_lines() if line.get_linestyle() == "--"] == [(5.0, 5.0)]
    assert not [line for line in unmarked.get_lines() if line.get_linestyle() == "--"]
    axes = forest_figure({"o": {"a": (-0.05, (-0.1, 0.01))}}, "t", zero=True).axes[0]
    assert axes.get_xlim()[0] < -10


def test_many_lists_stand_in_several_rows():
    figure = forest_figure({f"list {i}": LISTS["o"] for i in range(5)}, "t")
    assert len(figure.axes) == 5
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 2


@pytest.mark.parametrize("bad", [{}, {"o": {}}])
def test_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="lists: expected at least one"):
        forest_figure(bad, "t")


@pytest.mark.parametrize("estimate", [(np.nan, None), (0.1, (0.3, 0.2)), (0.1, (np.inf, np.inf))])
def test_what_is_no_estimate_is_refused_by_name(estimate):
    with pytest.raises(ValueError, match="o: a: expected a number and an interval"):
        forest_figure({"o": {"a": estimate}}, "t")
