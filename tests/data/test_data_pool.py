"""The pool of active learning: shares, limits and choice against loops."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.data.pool import candidates, first_pool, most_uncertain
from steps.data.sampling import epoch_batches

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 2, 3, 7, 8], [1, 9, 10, 11, 70]))


@pytest.mark.parametrize(("share", "counts"), [(0.1, [1, 1, 1, 2, 7]), (0.5, [1, 5, 5, 6, 35]), (1.0, [1, 9, 10, 11, 70])])
def test_each_speaker_begins_with_a_share_rounded_up(share, counts):
    in_pool_N = first_pool(np.random.default_rng(1), LABELS, share)
    assert [int(in_pool_N[label == LABELS].sum()) for label in (0, 2, 3, 7, 8)] == counts


def test_rounding_up_is_not_fooled_by_binary_fractions():
    assert first_pool(np.random.default_rng(0), np.zeros(100, dtype=int), 0.55).sum() == 55  # 0.55 * 100 is 55.00000000000001


def test_the_first_pool_has_no_preference():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], [10, 4])
    times_N = sum(first_pool(rng, labels, 0.2).astype(int) for _ in range(3000))
    for own, p in ((times_N[:10], 0.2), (times_N[10:], 0.25)):
        assert np.abs(own - 3000 * p).max() < 4.5 * math.sqrt(3000 * p * (1 - p))


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_no_share_is_no_pool(share):
    with pytest.raises(ValueError, match=r"share of each speaker's utterances: expected above 0"):
        first_pool(np.random.default_rng(0), LABELS, share)


def test_candidates_are_all_that_is_left_of_so_many_speakers():
    in_pool_N = first_pool(np.random.default_rng(1), LABELS, 0.1)  # all of speaker 0
    seen = Counter()
    for seed in range(400):
        found = candidates(np.random.default_rng(seed), LABELS, in_pool_N, 2)
        speakers = {int(LABELS[n]) for n in found}
        assert len(speakers) == 2
        assert found.tolist() == [n for n in range(len(LABELS)) if LABELS[n] in speakers and not in_pool_N[n]]
        seen.update(speakers)
    assert set(seen) == {2, 3, 7, 8}
    assert all(abs(count - 200) < 4.5 * 10 for count in seen.values())


@pytest.mark.parametrize("num_speakers", [0, 4, 100])
def test_with_no_limit_everything_outside_the_pool_is_tried(num_speakers):
    in_pool_N = first_pool(np.random.default_rng(1), LABELS, 0.1)
    found = candidates(np.random.default_rng(0), LABELS, in_pool_N, num_speakers)
    assert found.tolist() == np.flatnonzero(~in_pool_N).tolist()
    assert candidates(np.random.default_rng(0), LABELS, np.ones(len(LABELS), dtype=bool), num_speakers).tolist() == []


def by_loop(uncertainty, labels, count, per_speaker):
    chosen, taken = [], Counter()
    for place in sorted(range(len(labels)), key=lambda place: (-uncertainty[place], place)):
        if len(chosen) < count and (not per_speaker or taken[labels[place]] < per_speaker):
            chosen.append(place)
            taken[labels[place]] += 1
    return sorted(chosen)


@given(
    pairs=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.7]), st.integers(0, 4)), max_size=30),
    count=st.integers(1, 12), per_speaker=st.integers(0, 5),
)  # fmt: skip
def test_the_most_uncertain_are_those_of_a_loop(pairs, count, per_speaker):
    uncertainty_K = np.array([pair[0] for pair in pairs])
    labels_K = np.array([pair[1] for pair in pairs], dtype=np.int64)
    found = most_uncertain(uncertainty_K, labels_K, count, per_speaker).tolist()
    assert found == by_loop(uncertainty_K.tolist(), labels_K.tolist(), count, per_speaker)


@pytest.mark.parametrize("values", [[0.1, float("nan"), 0.2], [0.1, 0.2]])
def test_uncertainties_that_are_no_numbers_are_refused(values):
    with pytest.raises(ValueError, match="uncertainties: expected 3 finite numbers"):
        most_uncertain(np.array(values), np.array([0, 1, 1]), 2, 0)


@pytest.mark.parametrize("sampling", ["utterance", "speaker"])
def test_batches_are_made_of_the_pool_as_of_a_training_set_of_its_own(sampling):
    pool_K = np.array([2, 3, 5, 40, 41, 60, 77, 90, 99])
    values = {
        "seed": 1,
        "epoch": 2,
        "sampling": sampling,
        "examples_per_epoch": 0,
        "batch_size": 4,
        "min_frames": 5,
        "max_frames": 9,
    }
    found = epoch_batches(labels=LABELS, among_K=pool_K, **values)
    alone = epoch_batches(labels=LABELS[pool_K], **values)
    assert [batch.num_frames for batch in found] == [batch.num_frames for batch in alone]
    assert [[e.utterance for e in batch.examples] for batch in found] == [
        [pool_K[e.utterance] for e in batch.examples] for batch in alone
    ]
    assert len(found) == 2
    assert all(type(example.utterance) is int for batch in found for example in batch.examples)


@pytest.mark.parametrize("changes", [{"sampling": "whole"}, {"sampling": "pairs"}, {"among_K": np.array([], dtype=int)}])
def test_a_pool_is_not_for_other_batches(changes):
    values = {"seed": 1, "epoch": 1, "labels": LABELS, "sampling": "utterance", "examples_per_epoch": 0, "batch_size": 4,
              "min_frames": 5, "max_frames": 5, "among_K": np.arange(9)}  # fmt: skip
    with pytest.raises(ValueError, match="expected at least one, and sampling 'utterance' or 'speaker'"):
        epoch_batches(**values | changes)
