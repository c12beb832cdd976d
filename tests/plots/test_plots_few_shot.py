"""Few-shot curves: a panel a number of shots, chance in each, intervals where there is room for them."""

import numpy as np
import pytest

from steps.plots.few_shot import few_shot_figure

CURVES = {
    "siamese": {1: [(20, 0.3, (0.2, 0.4)), (2, 0.8, (0.7, 0.9)), (5, 0.5, None)], 5: [(2, 0.9, None), (20, 0.4, None)]},
    "classifier": {5: [(2, 0.95, (0.9, 1.0)), (20, 0.6, (0.5, 0.7))]},
}


def _line(axes, label):
    x, y = next(line for line in axes.get_lines() if line.get_label() == label).get_data()
    return list(x), list(np.round(y, 9))


def test_each_number_of_shots_has_a_panel_with_its_systems_and_chance():
    one, five = (figure := few_shot_figure(CURVES, "t")).axes
    assert [axes.get_title("left") for axes in (one, five)] == ["1-shot", "5-shot"]
    assert _line(one, "siamese") == ([2, 5, 20], [80, 50, 30])
    assert _line(one, "chance") == ([2, 5, 20], [50, 20, 5])
    assert _line(five, "classifier") == ([2, 20], [95, 60])
    assert [line.get_label() for line in one.get_lines()] == ["chance", "siamese"]
    colours = {axes.get_lines()[1].get_color() for axes in (one, five)}
    assert len(colours) == 1  # a system has one colour everywhere
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["siamese", "classifier", "chance"]


def test_bands_are_the_intervals_and_give_way_where_there_are_many_systems():
    one, five = few_shot_figure(CURVES, "t").axes
    [band] = one.collections
    low, high = band.get_datalim(one.transData).intervaly
    assert (low, high) == pytest.approx((20, 90))
    assert len(five.collections) == 2
    many = {f"s{number}": CURVES["classifier"] for number in range(7)}
    [axes] = few_shot_figure(many, "t").axes
    assert not axes.collections
    assert len(axes.get_lines()) == 8


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({}, "at least one point"),
        ({"a": {1: []}}, "at least one point"),
        ({"a": {1: [(1, 0.5, None)]}}, "a: expected tasks of two speakers"),
        ({"a": {1: [(2, 1.5, None)]}}, "fractions in 0..1"),
        ({"a": {1: [(2, 0.5, (0.4, np.nan))]}}, "fractions in 0..1"),
    ],
)
def test_what_is_no_curve_is_refused(curves, message):
    with pytest.raises(ValueError, match=message):
        few_shot_figure(curves, "t")
