"""CMC and open-set curves."""

import numpy as np
import pytest

from steps.plots.ranks import cmc_figure, open_set_figure


def _line(figure, label):
    return next(line for line in figure.axes[0].get_lines() if line.get_label() == label)


def test_a_cmc_curve_begins_at_rank_1_and_is_in_per_cent():
    x, y = _line(cmc_figure({"a": [0.5, 0.75, 1.0], "b": [0.9, 0.9, 0.95]}, "t"), "a").get_data()
    assert (x.tolist(), y.tolist()) == ([1, 2, 3], [50, 75, 100])


def test_long_curves_are_cut_at_the_last_rank_to_show():
    figure = cmc_figure({"a": np.linspace(0.5, 1, 500)}, "t", max_rank=10)
    assert len(_line(figure, "a").get_xdata()) == 10
    assert figure.axes[0].get_ylim()[0] <= 50


def test_open_set_curves_rise_over_a_logarithmic_axis_whatever_the_order_of_thresholds():
    far, dirs = [1.0, 0.1, 0.01, 0.0], [0.9, 0.8, 0.5, 0.4]
    figure = open_set_figure({"a": (far, dirs)}, "t")
    x, y = _line(figure, "a").get_data()
    assert figure.axes[0].get_xscale() == "log"
    assert y.tolist() == [40, 50, 80, 90]
    assert x[1:].tolist() == [0.01, 0.1, 1.0]
    assert 0 < x[0] < figure.axes[0].get_xlim()[0]  # a rate of 0 leaves the picture


@pytest.mark.parametrize(
    ("curve", "message"),
    [([0.5, 0.4], "does not fall"), ([0.5, 1.1], "fractions in 0..1"), ([], "a: expected finite"), ([np.nan], "expected finite")],
)
def test_what_is_no_cmc_curve_is_refused(curve, message):
    with pytest.raises(ValueError, match=message):
        cmc_figure({"a": curve}, "t")


def test_what_is_no_open_set_curve_is_refused():
    with pytest.raises(ValueError, match="as many far as dir"):
        open_set_figure({"a": ([0.1, 0.2], [0.1])}, "t")
    with pytest.raises(ValueError, match="does not fall"):
        open_set_figure({"a": ([0.1, 0.2], [0.5, 0.4])}, "t")
    for make in (cmc_figure, open_set_figure):
        with pytest.raises(ValueError, match="expected at least one"):
            make({}, "t")
    with pytest.raises(ValueError, match="max_rank"):
        cmc_figure({"a": [1.0]}, "t", max_rank=0)
