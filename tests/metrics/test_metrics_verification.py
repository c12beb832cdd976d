"""Thresholds and accuracies by trying every threshold; intervals by trials written as often as they weigh."""

import numpy as np
import pytest

from steps.metrics.replicates import draw_replicates
from steps.metrics.verification import (
    ambiguous,
    balanced_accuracy,
    best_threshold,
    bootstrap_accuracy,
    bootstrap_share,
)


def accuracy(scores, truth, threshold):
    accepted = [score for score, target in zip(scores, truth, strict=True) if target and score >= threshold]
    rejected = [score for score, target in zip(scores, truth, strict=True) if not target and score < threshold]
    return (len(accepted) / sum(truth) + len(rejected) / (len(truth) - sum(truth))) / 2


@pytest.mark.parametrize("seed", range(6))
def test_the_threshold_is_the_best_of_all_and_lies_between_two_scores(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(60) < 0.3
    scores = np.round(rng.normal(size=60) + 1.5 * truth, 1)  # with ties, also of both kinds
    threshold, found = best_threshold(scores, truth)
    values = np.unique(scores)
    of_each = [accuracy(scores, truth, value) for value in values]
    assert found == pytest.approx(max(of_each))
    assert balanced_accuracy(scores, truth, threshold) == pytest.approx(found)
    best = int(np.flatnonzero(np.isclose(of_each, max(of_each)))[0])  # of equally good ones the lowest
    assert best > 0
    assert threshold == pytest.approx((values[best - 1] + values[best]) / 2)


def test_the_threshold_where_there_is_little_to_choose():
    assert best_threshold([0.0, 1.0], [False, True]) == (0.5, 1.0)
    assert best_threshold([1.0, 1.0, 1.0], [False, True, True]) == (1.0, 0.5)  # accept all
    assert best_threshold([0.0, 1.0], [True, False]) == (0.0, 0.5)  # no threshold is better than chance
    assert best_threshold([0.0, 1.0, 2.0, 3.0], [False, True, False, True]) == (0.5, 0.75)  # of two equally good ones the lower
    low, high = 1.0, np.nextafter(1.0, 2.0)
    assert best_threshold([low, high], [False, True]) == (high, 1.0)
    # One of three targets lost costs less than two of four others let in.
    assert best_threshold([0.0, 2.0, 4.0, 1.0, 1.0, -1.0, -2.0], [True] * 3 + [False] * 4)[0] == 1.5


def test_both_kinds_count_the_same_however_many_there_are():
    scores, truth = np.array([1.0, 1.0, -1.0, -1.0, 1.0, -1.0]), np.array([True] * 4 + [False] * 2)
    assert balanced_accuracy(scores, truth, 0.0) == 0.5
    assert balanced_accuracy([0.0, -0.1], [True, False], 0.0) == 1.0  # a score at the threshold accepts
    assert balanced_accuracy([1.0, -1.0, -1.0, -1.0], [True, True, True, False], 0.0) == pytest.approx(2 / 3)


def speakers(num):
    rng = np.random.default_rng(1)
    enrol, test = rng.integers(5, size=(2, num))
    return enrol, test, enrol == test


def test_intervals_weigh_trials_by_how_often_their_speakers_were_drawn():
    enrol, test, truth = speakers(80)
    scores = np.random.default_rng(2).normal(size=80) + truth
    replicates = draw_replicates(truth, enrol, test, rng=np.random.default_rng(3), num_replicates=25)
    values = (scores > 0.3) & (enrol != 2)
    right, share = [], []
    for counts in replicates.counts_SR.T.astype(int):
        times = counts[enrol] * counts[test]
        right.append(accuracy(np.repeat(scores, times), np.repeat(truth, times), 0.3))
        of_kinds = [np.repeat(values[kind], times[kind]).mean() for kind in (truth, ~truth)]
        share.append(truth.mean() * of_kinds[0] + (1 - truth.mean()) * of_kinds[1])  # a list has no more targets than it has
    assert np.std(right) > 0.01
    np.testing.assert_allclose(bootstrap_accuracy(scores, replicates, 0.3), right)
    np.testing.assert_allclose(bootstrap_share(values, replicates), share)


def test_ambiguous_are_targets_that_merge_high_and_others_that_merge_low():
    heights = np.array([0.59, 0.6, 0.9, 0.1, 0.39, 0.4, 0.41, 0.8])
    truth = np.array([True] * 4 + [False] * 4)
    assert ambiguous(heights, truth).tolist() == [False, True, True, False, True, True, False, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_threshold([0.0, np.inf], [True, False]), "scores: expected finite numbers"),
        (lambda: best_threshold([0.0, 1.0], [True, True]), "expected trials of both kinds"),
        (lambda: balanced_accuracy([0.0, 1.0], [True, False], np.nan), "threshold: expected a number, found nan"),
        (lambda: ambiguous([0.0, 1.0], [True]), "expected 2 booleans"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
