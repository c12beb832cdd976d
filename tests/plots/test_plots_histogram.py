"""Score histograms show shares of trials, each kind for itself."""

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from steps.plots.histogram import score_histogram


def _outlines(figure):
    """The two outlines by their legend text."""
    patches = [p for p in figure.axes[0].patches if isinstance(p, StepPatch) and p.get_label().startswith(("t", "n"))]
    return {patch.get_label().split()[0]: patch.get_data() for patch in patches}


@pytest.mark.parametrize("num_target", [3, 500])
def test_each_kind_adds_up_to_100_per_cent_over_common_bins(num_target):
    rng = np.random.default_rng(0)
    outlines = _outlines(score_histogram(rng.normal(3, 1, num_target), rng.normal(0, 1, 5000), "t"))
    assert outlines["target"].values.sum() == pytest.approx(100)
    assert outlines["non-target"].values.sum() == pytest.approx(100)
    np.testing.assert_array_equal(outlines["target"].edges, outlines["non-target"].edges)


def test_the_shares_are_counts_by_hand():
    target, nontarget = [0.0, 1.0, 1.0, 1.0], [-1.0, -1.0]
    outlines = _outlines(score_histogram(target, nontarget, "t"))
    assert outlines["target"].values[-1] == 75
    assert outlines["non-target"].values[0] == 100


def test_more_trials_get_finer_bins():
    rng = np.random.default_rng(0)
    few, many = (_outlines(score_histogram(rng.normal(3, 1, n), rng.normal(0, 1, n), "t")) for n in (20, 20000))
    assert len(few["target"].values) < len(many["target"].values) <= 80


def test_thresholds_are_upright_lines_and_infinite_ones_are_left_out():
    figure = score_histogram([1, 2], [0, 1], "t", thresholds={"EER": 0.75, "never": np.inf})
    assert [tuple(line.get_xdata()) for line in figure.axes[0].get_lines()] == [(0.75, 0.75)]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["non-target (2 trials)", "target (2 trials)", "EER: 0.75"]


def test_scores_that_are_all_equal_still_make_a_picture():
    outlines = _outlines(score_histogram([1.0, 1.0], [1.0], "t"))
    assert outlines["target"].values.max() == outlines["non-target"].values.max() == 100


@pytest.mark.parametrize("bad", [[], [[1.0]], [np.nan], [np.inf]])
def test_what_are_no_scores_is_refused(bad):
    with pytest.raises(ValueError, match="^target scores: expected finite"):
        score_histogram(bad, [1.0], "t")
    with pytest.raises(ValueError, match="^non-target scores: expected finite"):
        score_histogram([1.0], bad, "t")
