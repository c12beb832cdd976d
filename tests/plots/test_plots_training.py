"""Training curves show what the log holds and nothing else."""

import math

import numpy as np
import pytest

from steps.plots.training import training_figure


def _log(num_epochs, **changes):
    whole = [
        {"epoch": e, "loss": 5.0 / e, "accuracy": e / 100, "dev_eer": 0.2 / e, "learning_rate": 0.1, "margin": 0.2}
        for e in range(1, num_epochs + 1)
    ]
    return [record | changes for record in whole]


def _panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def _drawn(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata())]


def test_each_quantity_has_a_panel_and_each_system_a_line():
    panels = _panels(training_figure({"a": _log(4), "b": _log(3)}, "t"))
    assert list(panels) == [
        "Training loss", "Training accuracy (%)", "EER of the dev set (%)", "Learning rate", "Margin"
    ]  # fmt: skip
    assert all(len(_drawn(axes)) == 2 for axes in panels.values())
    x, y = _drawn(panels["Training loss"])[1].get_data()
    assert x.tolist() == [1, 2, 3]
    assert y.tolist() == [5.0, 2.5, 5.0 / 3]


def test_rates_are_in_per_cent():
    panels = _panels(training_figure({"a": _log(4)}, "t"))
    np.testing.assert_allclose(_drawn(panels["Training accuracy (%)"])[0].get_ydata(), [1, 2, 3, 4])
    np.testing.assert_allclose(_drawn(panels["EER of the dev set (%)"])[0].get_ydata(), [20, 10, 20 / 3, 5])


def test_a_quantity_that_nobody_has_gets_no_panel():
    panels = _panels(training_figure({"a": _log(4, margin=None, dev_eer=math.nan), "b": [{"epoch": 1, "loss": 1}]}, "t"))
    assert list(panels) == ["Training loss", "Training accuracy (%)", "Learning rate"]
    assert len(_drawn(panels["Learning rate"])) == 1


def test_a_loss_that_is_no_number_leaves_a_gap_and_a_rare_dev_eer_does_not():
    log = _log(5)
    log[2] |= {"loss": math.nan}
    log[1] |= {"dev_eer": None}
    panels = _panels(training_figure({"a": log}, "t"))
    assert np.isnan(_drawn(panels["Training loss"])[0].get_ydata()).tolist() == [False, False, True, False, False]
    assert _drawn(panels["EER of the dev set (%)"])[0].get_xdata().tolist() == [1, 3, 4, 5]


def test_a_system_keeps_its_look_in_every_panel():
    figure = training_figure({"a": _log(3, margin=None), "b": _log(3)}, "t")
    handles = {handle.get_label(): handle.get_color() for handle in figure.legends[0].legend_handles}
    assert _drawn(_panels(figure)["Margin"])[0].get_color() == handles["b"] != handles["a"]


def test_learning_rates_over_several_decades_are_drawn_on_a_logarithmic_axis():
    falling = [{"epoch": e, "learning_rate": 10.0**-e} for e in range(1, 5)]
    assert _panels(training_figure({"a": falling}, "t"))["Learning rate"].get_yscale() == "log"
    assert _panels(training_figure({"a": _log(3)}, "t"))["Learning rate"].get_yscale() == "linear"


@pytest.mark.parametrize("systems", [{}, {"a": []}, {"a": [{"epoch": 1, "loss": None}]}])
def test_nothing_to_draw_is_refused(systems):
    with pytest.raises(ValueError, match="expected records with at least one of loss"):
        training_figure(systems, "t")
