"""The joint bootstrap over speakers, replicate by replicate against plain code that repeats trials."""

import functools

import numpy as np
import pytest

from steps.metrics.costs import min_dcf, min_dcf_of_curve
from steps.metrics.error_rates import eer
from steps.metrics.intervals import draw_speaker_counts, interval, mean_bootstrap, speaker_bootstrap


def make_trials(seed: int, num_speakers: int, num_trials: int):
    """Trials among speakers who differ in how alike they are to themselves; scores rounded to have ties."""
    rng = np.random.default_rng(seed)
    is_target = rng.random(num_trials) < 0.4
    enrol = rng.integers(num_speakers, size=num_trials)
    other = (enrol + 1 + rng.integers(num_speakers - 1, size=num_trials)) % num_speakers
    test = np.where(is_target, enrol, other)
    ease = rng.normal(0, 1, num_speakers)
    scores = (rng.normal(size=num_trials) + is_target * 2 + ease[enrol]).round(1)
    return scores, is_target, enrol, test


def plain_replicate(scores, is_target, enrol, test, rng, figure):
    """One replicate as house rules word it: trials repeated by the product of their speakers' counts."""
    speakers = sorted({*enrol.tolist(), *test.tolist()})
    while True:
        drawn = rng.integers(len(speakers), size=len(speakers))
        counts = {speaker: int((drawn == i).sum()) for i, speaker in enumerate(speakers)}
        times = np.array([counts[e] * counts[t] for e, t in zip(enrol.tolist(), test.tolist(), strict=True)])
        target = np.repeat(scores[is_target], times[is_target])
        nontarget = np.repeat(scores[~is_target], times[~is_target])
        if target.size and nontarget.size:
            return figure(target, nontarget)


@pytest.mark.parametrize(("num_speakers", "num_trials"), [(3, 8), (20, 400), (50, 3000)])
def test_replicates_equal_repeating_trials_exactly(num_speakers, num_trials):
    trials = make_trials(11, num_speakers, num_trials)
    ours = speaker_bootstrap(*trials, rng=np.random.default_rng(7), num_replicates=40)
    rng = np.random.default_rng(7)
    expected = [plain_replicate(*trials, rng, eer) for _ in range(40)]
    np.testing.assert_array_equal(ours, expected)


def test_other_statistics_use_the_same_draws():
    trials = make_trials(12, 15, 600)
    statistic = functools.partial(min_dcf_of_curve, p_target=0.05)
    ours = speaker_bootstrap(*trials, rng=np.random.default_rng(3), num_replicates=20, statistic=statistic)
    rng = np.random.default_rng(3)
    figure = functools.partial(min_dcf, p_target=0.05)
    np.testing.assert_array_equal(ours, [plain_replicate(*trials, rng, figure) for _ in range(20)])


def test_fast_path_equals_the_weighted_eer():
    scores, is_target, enrol, test = make_trials(13, 12, 500)
    ours = speaker_bootstrap(scores, is_target, enrol, test, rng=np.random.default_rng(5), num_replicates=1)
    counts = draw_speaker_counts(12, np.random.default_rng(5))
    weights = counts[enrol] * counts[test]
    weighted = eer(scores[is_target], scores[~is_target], weights[is_target], weights[~is_target])
    assert ours[0] == weighted


def test_replicates_without_targets_are_drawn_again():
    # Only speaker 0 has a target trial: 30 per cent of draws of three speakers miss it.
    scores, is_target = np.array([1.0, 0.0, 0.5]), np.array([True, False, False])
    enrol, test = np.array([0, 1, 2]), np.array([0, 2, 1])
    replicates = speaker_bootstrap(scores, is_target, enrol, test, rng=np.random.default_rng(0), num_replicates=200)
    np.testing.assert_array_equal(replicates, np.zeros(200))


def test_speaker_numbering_with_gaps_changes_nothing():
    scores, is_target, enrol, test = make_trials(14, 10, 300)
    dense = speaker_bootstrap(scores, is_target, enrol, test, rng=np.random.default_rng(1), num_replicates=30)
    sparse = speaker_bootstrap(
        scores, is_target, enrol * 1000 + 5, test * 1000 + 5, rng=np.random.default_rng(1), num_replicates=30
    )
    np.testing.assert_array_equal(dense, sparse)


def test_counts_sum_to_the_number_of_speakers():
    counts = draw_speaker_counts(100, np.random.default_rng(2))
    assert counts.shape == (100,)
    assert counts.sum() == 100
    # About a share 1/e of speakers is left out of a draw with replacement.
    assert 20 < (counts == 0).sum() < 55


def test_interval_is_wider_than_one_that_takes_trials_for_independent():
    scores, is_target, enrol, test = make_trials(15, 25, 8000)
    by_speaker = speaker_bootstrap(scores, is_target, enrol, test, rng=np.random.default_rng(1), num_replicates=300)
    own = np.arange(8000)
    by_trial = speaker_bootstrap(scores, is_target, own, own, rng=np.random.default_rng(1), num_replicates=300)
    low, high = interval(by_speaker)
    naive_low, naive_high = interval(by_trial)
    assert low < eer(scores[is_target], scores[~is_target]) < high
    assert high - low > 1.5 * (naive_high - naive_low)


def test_interval_takes_the_named_percentiles():
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
    assert interval(np.arange(1001.0), level=0.5) == (250.0, 750.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_target": [True, True]}, "both kinds, found 2 targets"),
        ({"is_target": [True]}, "expected 2 booleans"),
        ({"enrol_speaker_index": [0.0, 1.0]}, "enrol_speaker_index: expected 2 whole numbers"),
        ({"test_speaker_index": [0]}, "test_speaker_index"),
        ({"scores": [0.0, np.nan]}, "scores: expected finite numbers"),
        ({"num_replicates": 0}, "num_replicates"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "scores": [1.0, 0.0],
        "is_target": [True, False],
        "enrol_speaker_index": [0, 0],
        "test_speaker_index": [0, 1],
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(ValueError, match=message):
        speaker_bootstrap(**(arguments | change))


@pytest.mark.parametrize("shape", [(30,), (30, 2)])
def test_means_by_speaker_are_those_of_repeated_items(shape):
    rng = np.random.default_rng(1)
    values, speaker = rng.normal(size=shape), rng.integers(5, size=30)
    found = mean_bootstrap(values, np.array(list("abcde"))[speaker], rng=np.random.default_rng(2), num_replicates=7)
    assert found.shape == (7, *shape[1:])
    again = np.random.default_rng(2)
    for row in found:
        counts = draw_speaker_counts(5, again)
        assert row == pytest.approx(np.repeat(values, counts[speaker], axis=0).mean(axis=0))


@pytest.mark.parametrize(
    ("values", "speakers", "num_replicates", "message"),
    [
        ([], [], 5, "finite ones with a speaker each"),
        ([1.0], ["a", "b"], 5, "finite ones with a speaker each"),
        ([np.nan], ["a"], 5, "finite ones with a speaker each"),
        ([1.0], ["a"], 0, "num_replicates"),
    ],
)
def test_bad_items_are_refused(values, speakers, num_replicates, message):
    with pytest.raises(ValueError, match=message):
        mean_bootstrap(values, speakers, rng=np.random.default_rng(0), num_replicates=num_replicates)
