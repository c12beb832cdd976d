"""DET plots stand on probit axes; scipy says where."""

import numpy as np
import pytest
from scipy.stats import norm

from steps.metrics.error_rates import det_points
from steps.plots.det import det_figure, probit


def _curve(separation, num_trials=2000, seed=0):
    rng = np.random.default_rng(seed)
    return det_points(rng.normal(separation, 1, num_trials), rng.normal(0, 1, num_trials))


def _line(figure, label):
    return next(line for line in figure.axes[0].get_lines() if line.get_label() == label)


def test_probit_is_the_normal_quantile():
    rates = np.array([[1e-6, 0.01, 0.3], [0.5, 0.9, 1 - 1e-9]])
    np.testing.assert_allclose(probit(rates), norm.ppf(rates), rtol=1e-12, atol=1e-15)


def test_false_alarms_go_to_the_right_and_misses_up():
    p_miss, p_fa = np.array([0.02, 0.1, 0.3]), np.array([0.2, 0.05, 0.01])
    x, y = _line(det_figure({"a": (p_miss, p_fa)}, "t"), "a").get_data()
    np.testing.assert_allclose(x, norm.ppf(p_fa), rtol=1e-12)
    np.testing.assert_allclose(y, norm.ppf(p_miss), rtol=1e-12)


def test_gaussian_scores_of_equal_variance_make_a_straight_line_of_slope_minus_one():
    grid = np.linspace(-3, 5, 200)
    curve = norm.cdf(grid - 2), norm.sf(grid)
    x, y = _line(det_figure({"a": curve}, "t"), "a").get_data()
    inside = np.abs(x) < 2
    np.testing.assert_allclose((x + y)[inside], -2, atol=1e-9)


def test_ticks_are_per_cent_and_both_axes_alike():
    axes = det_figure({"a": _curve(2.0)}, "t").axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        for place, label in zip(axis.get_ticklocs(), labels, strict=True):
            assert label == "" or float(label) == pytest.approx(100 * norm.cdf(place))
        assert {"1", "5", "10", "40"} <= set(labels)
    assert axes.get_xlim() == axes.get_ylim()
    assert "%" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()


@pytest.mark.parametrize(("separation", "num_trials"), [(4.0, 20000), (1.0, 300), (0.0, 300)])
def test_the_eer_of_every_system_lies_in_the_picture(separation, num_trials):
    p_miss, p_fa = _curve(separation, num_trials)
    axes = det_figure({"a": (p_miss, p_fa)}, "t").axes[0]
    eer = probit(np.maximum(p_miss, p_fa).min())
    assert axes.get_xlim()[0] < eer < axes.get_xlim()[1]


def test_the_diagonal_is_where_both_rates_are_equal():
    axes = det_figure({"a": _curve(2.0)}, "t").axes[0]
    x, y = axes.get_lines()[-1].get_data()
    np.testing.assert_array_equal(x, y)
    assert tuple(x) == axes.get_xlim()


def test_rates_of_0_and_1_leave_the_picture_and_a_perfect_system_has_one():
    figure = det_figure({"perfect": ([0, 0, 1], [1, 0, 0])}, "t")
    x, y = _line(figure, "perfect").get_data()
    low, high = figure.axes[0].get_xlim()
    assert np.isfinite([x, y]).all()
    assert min(x) < low
    assert max(x) > high


def test_a_point_outside_the_picture_is_not_put_on_its_edge():
    figure = det_figure({"a": _curve(1.0)}, "t", points={"a": (0.99, 0.0)})
    assert not [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and len(line.get_xdata())]


def test_a_marked_point_stands_where_it_was_measured_in_the_colour_of_its_line():
    figure = det_figure({"a": _curve(1.0), "b": _curve(2.0)}, "t", points={"b": (0.2, 0.02)}, points_name="best")
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    assert len(marks) == 1
    np.testing.assert_allclose(np.ravel(marks[0].get_data()), norm.ppf([0.02, 0.2]))
    assert marks[0].get_color() == _line(figure, "b").get_color() != _line(figure, "a").get_color()
    assert "best" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("curves", "points", "message"),
    [
        ({}, None, "expected at least one"),
        ({"a": ([0.1, 0.2], [0.1])}, None, "a: expected as many"),
        ({"a": ([], [])}, None, "a: expected as many"),
        ({"a": ([0.1, 20], [0.1, 0.2])}, None, "p_miss: expected fractions"),
        ({"a": ([0.1], [np.nan])}, None, "p_fa: expected fractions"),
        ({"a": ([0.1], [0.1])}, {"b": (0.1, 0.1)}, "no curve is called b"),
    ],
)
def test_what_is_no_curve_is_refused(curves, points, message):
    with pytest.raises(ValueError, match=message):
        det_figure(curves, "t", points=points)
