"""Tippett plots show rates of error at every threshold; counting says which."""

import numpy as np
import pytest

from steps.plots.tippett import shares, tippett_figure


def _lines(figure):
    return {line.get_label().split(":")[0]: line for line in figure.axes[0].get_lines() if ":" in str(line.get_label())}


def test_shares_are_counts_by_hand():
    scores = [1.0, 2.0, 2.0, 5.0]
    assert shares(scores, [0.0, 1.0, 2.0, 2.5, 6.0], is_target=True).tolist() == [0, 0, 0.25, 0.75, 1]
    assert shares(scores, [0.0, 1.0, 2.0, 2.5, 6.0], is_target=False).tolist() == [1, 1, 0.75, 0.25, 0]


@pytest.mark.parametrize("num", [4, 30, 3000])
def test_the_lines_are_miss_and_false_alarm_rates(num):
    rng = np.random.default_rng(num)
    target, nontarget = rng.normal(2, 1, num), rng.normal(-2, 1, num + 7)
    lines = _lines(tippett_figure(target, nontarget, "t"))
    for x, y in zip(*lines["target"].get_data(), strict=True):
        assert y == pytest.approx(100 * np.mean(target < x), abs=1e-9)
    for x, y in zip(*lines["non-target"].get_data(), strict=True):
        assert y == pytest.approx(100 * np.mean(nontarget >= x), abs=1e-9)
    assert lines["target"].get_drawstyle() == "steps-pre"
    assert len(lines["target"].get_xdata()) <= 260


def test_the_legend_counts_what_misleads():
    figure = tippett_figure([-1.0, 1.0, 2.0, 3.0], [-3.0, -2.0, 0.0], "t")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["target:\n25.0% of 4 below 0", "non-target:\n33.3% of 3 at or above 0"]


def test_scores_before_calibration_are_broken_lines_and_do_not_push_the_llrs_together():
    rng = np.random.default_rng(0)
    llrs = rng.normal(4, 2, 500), rng.normal(-4, 2, 500)
    plain = tippett_figure(*llrs, "t").axes[0].get_xlim()
    figure = tippett_figure(*llrs, "t", before=(1000 * llrs[0], 1000 * llrs[1]))
    lines = _lines(figure)
    assert set(lines) == {"target, after", "non-target, after", "target, before", "non-target, before"}
    assert lines["target, before"].get_linestyle() != lines["target, after"].get_linestyle() == "-"
    assert np.ptp(plain) < np.ptp(figure.axes[0].get_xlim()) < 3.2 * np.ptp(plain)


@pytest.mark.parametrize("bad", [[], [[1.0]], [np.nan], [np.inf]])
def test_what_are_no_llrs_is_refused(bad):
    for kind, arguments in (("target LLRs", (bad, [1.0])), ("non-target LLRs", ([1.0], bad))):
        with pytest.raises(ValueError, match=f"^{kind}: expected finite"):
            tippett_figure(*arguments, "t")
    with pytest.raises(ValueError, match="^non-target scores before: expected finite"):
        tippett_figure([1.0], [0.0], "t", before=([1.0], bad))
