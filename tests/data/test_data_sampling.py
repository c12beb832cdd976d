"""The order of examples: how often each comes, and that seed and epoch are all that decides it."""

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.rng import generator
from steps.data.sampling import crop_start, epoch_batches, tile

LABELS = np.repeat(np.arange(5), [1, 2, 3, 4, 10])[np.random.default_rng(0).permutation(20)]


def batches(**changes):
    values = {
        "seed": 1, "epoch": 1, "labels": LABELS, "sampling": "utterance", "examples_per_epoch": 0, "batch_size": 4,
        "min_frames": 50, "max_frames": 50,
    }  # fmt: skip
    return epoch_batches(**values | changes)


def order(found) -> list[int]:
    return [example.utterance for batch in found for example in batch.examples]


@pytest.mark.parametrize("epoch", [1, 2, 17])
def test_each_utterance_comes_once_an_epoch(epoch):
    assert sorted(order(batches(epoch=epoch))) == list(range(20))


def test_with_more_examples_than_utterances_each_comes_round_before_any_comes_again():
    found = order(batches(examples_per_epoch=52))
    assert sorted(found[:20]) == sorted(found[20:40]) == list(range(20))
    assert len(set(found[40:])) == 12


@pytest.mark.parametrize("count", [20, 48, 400])
def test_speakers_come_equally_often_and_their_utterances_in_turn(count):
    found = np.array(order(batches(sampling="speaker", examples_per_epoch=count)))
    assert len(found) == count
    speakers = Counter(LABELS[found].tolist())
    assert max(speakers.values()) - min(speakers[label] for label in range(5)) <= 1
    for label in range(5):
        own = np.flatnonzero(label == LABELS)
        drawn = found[LABELS[found] == label]
        for start in range(0, len(drawn), len(own)):
            part = drawn[start : start + len(own)]
            assert len(set(part.tolist())) == len(part)
        assert set(drawn.tolist()) <= set(own.tolist())


def test_speakers_take_turns():
    """Every speaker comes once before any comes again: no stretch of an epoch is without somebody."""
    found = LABELS[order(batches(sampling="speaker", examples_per_epoch=40))]
    assert all(sorted(found[start : start + 5]) == [0, 1, 2, 3, 4] for start in range(0, 40, 5))


@pytest.mark.parametrize("sampling", ["utterance", "speaker"])
def test_seed_and_epoch_decide_and_nothing_else(sampling):
    np.random.seed(0)
    first = batches(sampling=sampling, seed=3, epoch=2, max_frames=90)
    np.random.seed(1)
    assert batches(sampling=sampling, seed=3, epoch=2, max_frames=90) == first
    for change in ({"seed": 4, "epoch": 2}, {"seed": 3, "epoch": 3}):
        other = batches(sampling=sampling, max_frames=90, **change)
        assert order(other) != order(first)
        assert [each.num_frames for each in other] != [each.num_frames for each in first]


def plainly(labels, sampling, count, seed, epoch):
    """The order of utterances as it was drawn when the first systems were trained, one speaker after the other."""
    rng = generator(seed, "order", epoch)

    def in_turn(items, wanted):
        found = []
        while len(found) < wanted:
            found.extend(rng.permutation(items).tolist())
        return found[:wanted]

    if sampling == "utterance":
        return in_turn(np.arange(len(labels)), count)
    speakers = in_turn(np.unique(labels), count)
    found = [None] * count
    for speaker in np.unique(labels):
        places = [place for place, each in enumerate(speakers) if each == speaker]
        own = np.array([utterance for utterance, label in enumerate(labels) if label == speaker])
        for place, utterance in zip(places, in_turn(own, len(places)), strict=True):
            found[place] = utterance
    return found


@pytest.mark.parametrize("sampling", ["utterance", "speaker"])
@pytest.mark.parametrize("count", [4, 20, 152])
def test_draws_are_those_of_earlier_versions(sampling, count):
    """Trained systems depend on them."""
    labels = LABELS * 3 + 2
    for seed in range(5):
        found = batches(labels=labels, sampling=sampling, examples_per_epoch=count, seed=seed)
        assert order(found) == plainly(labels, sampling, count, seed, 1)


def test_each_example_has_a_draw_of_its_own():
    found = batches(examples_per_epoch=60)
    assert [example.draw for batch in found for example in batch.examples] == list(range(60))
    assert [batch.number for batch in found] == list(range(15))
    assert {batch.epoch for batch in found} == {1}


def test_batches_are_made_when_asked_for_and_keep_their_numbers():
    found = batches(examples_per_epoch=20, batch_size=3)
    every = list(found)
    assert [batch.number for batch in every] == list(range(6))
    assert [example.draw for batch in every for example in batch.examples] == list(range(18))
    assert (found[2:5], found[-1], found[4:][1:]) == (every[2:5], every[-1], every[5:])
    assert found != every[:5]
    assert found != [*every[:5], every[0]]
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            found[beyond]
    assert len(pickle.dumps(batches(examples_per_epoch=20_000))) < 20_000 * 12  # what an epoch is for a worker


def test_batches_are_full_and_the_rest_is_left_out():
    found = batches(batch_size=6)
    assert [len(batch.examples) for batch in found] == [6, 6, 6]


def test_a_batch_that_is_larger_than_the_epoch_holds_all():
    found = batches(batch_size=64)
    assert [len(batch.examples) for batch in found] == [20]


def test_every_epoch_has_as_many_updates():
    assert len({len(batches(epoch=epoch, batch_size=7, examples_per_epoch=33)) for epoch in range(1, 20)}) == 1


def test_lengths_are_even_over_their_range():
    lengths = [batch.num_frames for batch in batches(examples_per_epoch=8000, min_frames=50, max_frames=53)]
    counts = Counter(lengths)
    assert sorted(counts) == [50, 51, 52, 53]
    # 2000 draws, four values: the standard deviation of a count is 19.
    assert all(abs(count - 500) < 100 for count in counts.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "random"}, "expected one of utterance, speaker, pairs, groups, whole, found 'random'"),
        ({"labels": LABELS[:0]}, "found none"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        batches(**changes)


def test_a_crop_starts_wherever_it_fits():
    rng = np.random.default_rng(0)
    starts = Counter(crop_start(rng, 12, 10) for _ in range(3000))
    assert sorted(starts) == [0, 1, 2]
    assert all(abs(count - 1000) < 130 for count in starts.values())  # five standard deviations


@pytest.mark.parametrize(("available", "wanted"), [(10, 10), (9, 10), (1, 10)])
def test_a_crop_that_does_not_fit_starts_at_the_beginning(available, wanted):
    assert crop_start(np.random.default_rng(0), available, wanted) == 0


@given(st.integers(1, 30), st.integers(1, 100))
def test_tiling_repeats_from_the_beginning(available, wanted):
    rows = np.arange(2 * available).reshape(available, 2)
    found = tile(rows, wanted)
    assert found.shape == (wanted, 2)
    np.testing.assert_array_equal(found, rows[np.arange(wanted) % available])
