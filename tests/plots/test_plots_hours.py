"""Dev EER by hours: points are where the log says, and the mean of runs is that of each epoch."""

import numpy as np
import pytest

from steps.plots.hours import hours_figure


def log(seconds, eers):
    return [{"epoch": e, "seconds_seen": s, "dev_eer": r} for e, (s, r) in enumerate(zip(seconds, eers, strict=True), 1)]


def lines(figure):
    return [line.get_xydata() for line in figure.axes[0].get_lines()]


def test_a_single_run_is_one_line_in_hours_and_per_cent():
    (line,) = lines(hours_figure({"a": [log([3600, 9000], [0.3, 0.25])]}, "t"))
    np.testing.assert_allclose(line, [[1.0, 30.0], [2.5, 25.0]])


def test_several_runs_are_thin_lines_and_their_mean_by_epoch():
    figure = hours_figure({"a": [log([3600, 7200], [0.3, 0.2])], "b": [log([3600, 7200, 9000], [0.4, 0.2, 0.1]),
                                                                       log([7200, 10800], [0.2, 0.1])]}, "t")  # fmt: skip
    found = lines(figure)
    assert len(found) == 4
    np.testing.assert_allclose(found[3], [[1.5, 30.0], [2.5, 15.0]])  # the third epoch has but one run
    np.testing.assert_allclose(found[1], [[1.0, 40.0], [2.0, 20.0], [2.5, 10.0]])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["a", "b"]
    widths = [line.get_linewidth() for line in figure.axes[0].get_lines()]
    assert widths[1] == widths[2] < widths[3]


def test_an_epoch_without_an_eer_leaves_no_point():
    (line,) = lines(hours_figure({"a": [log([3600, 7200, 10800], [0.3, None, float("nan")])], "b": [[]]}, "t"))
    np.testing.assert_allclose(line, [[1.0, 30.0]])


@pytest.mark.parametrize("systems", [{}, {"a": []}, {"a": [[{"epoch": 1, "dev_eer": 0.2}]]}])
def test_nothing_to_draw_is_refused(systems):
    with pytest.raises(ValueError, match="expected records with seconds_seen and dev_eer, found none"):
        hours_figure(systems, "t")
