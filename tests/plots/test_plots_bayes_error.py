"""Bayes-error plots show the costs that they are given, as they are or as probabilities of error."""

import numpy as np
import pytest
from scipy.special import expit

from steps.plots.bayes_error import BayesErrors, bayes_error_figure

ODDS = np.array([-2.0, 0.0, 3.0])
COSTS = BayesErrors(actual=[0.9, 0.3, 1.2], minimum=[0.5, 0.2, 0.4], before=[5.0, 2.0, 3.0], trusted=(-1.0, 2.0))


def _lines(figure):
    return {str(line.get_label()): line for line in figure.axes[0].get_lines()}


def test_lines_hold_the_costs_and_kinds_differ_in_their_dashes():
    lines = _lines(bayes_error_figure(ODDS, {"a": COSTS}, "t", marked={"P = 0.1": -2.2}))
    assert lines["a: actual"].get_ydata().tolist() == [0.9, 0.3, 1.2]
    assert lines["a: minimum"].get_ydata().tolist() == [0.5, 0.2, 0.4]
    assert len({lines[f"a: {kind}"].get_linestyle() for kind in ("actual", "minimum", "actual, before calibration")}) == 3
    assert lines["deciding by the prior"].get_ydata().tolist() == [1, 1, 1]


def test_probabilities_of_error_are_costs_times_the_rarer_prior():
    figure = bayes_error_figure(ODDS, {"a": COSTS}, "t", normalised=False)
    rarer = np.minimum(expit(ODDS), expit(-ODDS))
    np.testing.assert_allclose(_lines(figure)["a: actual"].get_ydata(), rarer * [0.9, 0.3, 1.2])
    np.testing.assert_allclose(_lines(figure)["deciding by the prior"].get_ydata(), rarer)
    assert figure.axes[0].get_ylim()[1] < 0.6


def test_costs_far_above_one_do_not_make_the_rest_flat():
    assert bayes_error_figure(ODDS, {"a": COSTS}, "t").axes[0].get_ylim()[1] <= 1.4


def test_marks_stand_on_the_least_cost_where_30_errors_are_left():
    axes = bayes_error_figure(ODDS, {"": COSTS}, "t").axes[0]
    marks = [line for line in axes.get_lines() if line.get_marker() == "|" and len(line.get_xdata())]
    assert [tuple(np.ravel(mark.get_data())) for mark in marks] == [(-1.0, pytest.approx(0.35)), (2.0, pytest.approx(1 / 3))]


def test_an_uncalibrated_system_has_its_least_cost_only_and_one_system_needs_no_name():
    figure = bayes_error_figure(ODDS, {"": BayesErrors(minimum=[0.5, 0.2, 0.4])}, "t")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["minimum", "deciding by the prior"]


@pytest.mark.parametrize(
    ("odds", "systems", "message"),
    [
        ([1.0, 0.0], {"a": BayesErrors(minimum=[0, 0])}, "log_odds: expected numbers that rise"),
        ([0.0, 1.0], {}, "systems: expected at least one"),
        ([0.0, 1.0], {"a": BayesErrors(minimum=[0.1])}, "a: minimum: expected 2 costs"),
        ([0.0, 1.0], {"a": BayesErrors(minimum=[0.1, -0.1])}, "a: minimum: expected 2 costs of at least 0"),
        ([0.0, 1.0], {"a": BayesErrors(minimum=[0.1, 0.1], actual=[0.1, np.nan])}, "a: actual: expected finite"),
    ],
)
def test_what_are_no_costs_is_refused(odds, systems, message):
    with pytest.raises(ValueError, match=message):
        bayes_error_figure(odds, systems, "t")
