"""Sweeps as lines and as maps."""

import numpy as np
import pytest

from steps.plots.sweep import heat_map, sweep_figure

LINES = {"o": [(2.0, 0.1, (0.05, 0.2)), (0.5, 0.3, None), (1.0, 0.2, (0.1, 0.25))], "e": [(1.0, 0.4, None)]}


def _line(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def test_numbers_are_sorted_and_in_per_cent_and_intervals_upright():
    axes = sweep_figure(LINES, "t", axis_name="s").axes[0]
    x, y = _line(axes, "o").get_data()
    np.testing.assert_allclose([x, y], [[0.5, 1, 2], [30, 20, 10]])
    bars = [segment.tolist() for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(bars, [[[0.5, 30], [0.5, 30]], [[1, 10], [1, 25]], [[2, 5], [2, 20]]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "1", "2"]


def test_values_over_decades_get_a_logarithmic_axis():
    wide = {"o": [(20.0, 0.1, None), (400.0, 0.2, None)]}
    assert sweep_figure(wide, "t", axis_name="ms").axes[0].get_xscale() == "log"
    assert sweep_figure(LINES, "t", axis_name="s").axes[0].get_xscale() == "linear"


def test_one_text_makes_categories_in_the_order_given_beside_each_other():
    lines = {"o": [("ward", 0.1, (0.05, 0.2)), ("average", 0.3, None)], "e": [("average", 0.2, None), (5.0, 0.2, None)]}
    axes = sweep_figure(lines, "t", axis_name="linkage").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ward", "average", "5"]
    first, second = _line(axes, "o"), _line(axes, "e")
    np.testing.assert_allclose(first.get_ydata(), [10, 30])
    assert np.round(first.get_xdata()).tolist() == [0, 1]
    assert first.get_xdata()[1] < second.get_xdata()[0] < 1.5  # intervals do not hide each other


def test_a_map_has_a_number_in_each_cell_that_is_known():
    axes = heat_map([[0.1, np.nan, 0.3], [0.4, 0.5, 0.6]], ["r1", "r2"], ["a", "b", "c"], "t").axes[0]
    cells = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.5): "10.00", (2.5, 0.5): "30.00", (0.5, 1.5): "40.00", (1.5, 1.5): "50.00", (2.5, 1.5): "60.00"}
    assert axes.get_ylim() == (2, 0)  # the first row on top
    dark = [text.get_color() for text in axes.texts]
    assert dark == ["black", "black", "white", "white", "white"]


@pytest.mark.parametrize("lines", [{}, {"o": []}, {"o": [(1.0, np.nan, None)]}, {"o": [(np.inf, 1.0, None)]}])
def test_what_are_no_points_is_refused(lines):
    with pytest.raises(ValueError, match="lines: expected"):
        sweep_figure(lines, "t", axis_name="s")


@pytest.mark.parametrize("values", [[[0.1]], [[np.nan, np.nan]], [[np.inf, 0.1]]])
def test_what_is_no_map_is_refused(values):
    with pytest.raises(ValueError, match=r"values: expected numbers of shape \(1, 2\)"):
        heat_map(values, ["r"], ["a", "b"], "t")
