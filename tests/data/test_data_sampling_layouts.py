"""Batches of pairs, of groups and of whole recordings: who is with whom, how often each comes, and what is refused."""

from collections import Counter

import numpy as np
import pytest

from steps.data.mining import mine_hard_negatives
from steps.data.sampling import epoch_batches

SIZES = (1, 2, 3, 4, 10)
LABELS = np.repeat(np.arange(5), SIZES)[np.random.default_rng(0).permutation(20)]
MANY = np.repeat(np.arange(40), 5)[np.random.default_rng(1).permutation(200)]
BASE = {
    "seed": 1, "epoch": 1, "labels": LABELS, "sampling": "pairs", "examples_per_epoch": 0, "batch_size": 8,
    "min_frames": 50, "max_frames": 50,
}  # fmt: skip
GROUPS = {"sampling": "groups", "labels": MANY, "batch_size": 32, "group_size": 4}
LENGTHS = np.random.default_rng(2).integers(30, 300, size=200)
WHOLE = {"sampling": "whole", "labels": MANY, "lengths_N": LENGTHS, "max_frames": 200}


def batches(**changes):
    return epoch_batches(**BASE | changes)


def rows(found) -> np.ndarray:
    return np.array([[example.utterance for example in batch.examples] for batch in found])


def pairs(found) -> np.ndarray:
    """Utterances `[batches, pairs, 2]`."""
    found = rows(found)
    return found.reshape(len(found), -1, 2)


@pytest.mark.parametrize(
    ("labels", "batch_size"), [(LABELS, 8), (LABELS, 64), (MANY, 128), (LABELS, 20), (np.arange(30) % 2, 24)]
)
def test_half_of_the_pairs_are_alike_and_come_first(labels, batch_size):
    found = labels[pairs(batches(labels=labels, batch_size=batch_size, examples_per_epoch=2000))]
    assert found.shape == (2000 // batch_size, batch_size // 2, 2)
    alike = found[:, :, 0] == found[:, :, 1]
    assert alike[:, : batch_size // 4].all()
    assert not alike[:, batch_size // 4 :].any()


@pytest.mark.parametrize(("labels", "batch_size"), [(LABELS, 8), (LABELS, 64), (MANY, 128), (np.arange(30) % 2, 24)])
def test_second_sides_of_differing_pairs_are_of_speakers_on_no_first_side(labels, batch_size):
    for batch in labels[pairs(batches(labels=labels, batch_size=batch_size, examples_per_epoch=2000))]:
        differing = batch[batch_size // 4 :]
        assert not set(differing[:, 0]) & set(differing[:, 1])


def alike_pairs(**changes) -> np.ndarray:
    found = pairs(batches(examples_per_epoch=40_000, **changes))
    return found[:, : found.shape[1] // 2].reshape(-1, 2)


def test_an_alike_pair_has_two_files_wherever_the_speaker_has_two():
    found = alike_pairs()
    single = int(np.flatnonzero(LABELS == 0)[0])
    assert set(found[found[:, 0] == found[:, 1], 0]) == {single}
    # Any other file of the speaker is as likely: 500 first sides of an utterance, 9 others to join.
    first = int(np.flatnonzero(LABELS == 4)[0])
    counts = Counter(found[found[:, 0] == first, 1].tolist())
    assert set(counts) == set(np.flatnonzero(LABELS == 4).tolist()) - {first}
    mean = sum(counts.values()) / 9
    assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values())


def test_an_alike_pair_may_be_one_file_if_so_set():
    found = alike_pairs(pair_same_file=True)
    found = found[LABELS[found[:, 0]] == 4]
    share = (found[:, 0] == found[:, 1]).mean()
    assert abs(share - 0.1) < 5 * (0.09 / len(found)) ** 0.5


@pytest.mark.parametrize("kind", ["alike", "differing"])
def test_first_sides_are_drawn_evenly_or_by_length(kind):
    lengths = np.arange(1, 21) * 10
    for weights, chance in (("uniform", np.full(20, 0.05)), ("length", lengths / lengths.sum())):
        found = pairs(batches(pair_weights=weights, lengths_N=lengths, examples_per_epoch=80_000))
        first = found[:, :2, 0] if kind == "alike" else found[:, 2:, 0]
        counts = np.bincount(first.ravel(), minlength=20)
        expected = chance * first.size
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_second_sides_of_differing_pairs_are_drawn_by_length_from_those_left():
    labels, lengths = np.array([0, 1, 1, 2, 2]), np.array([7, 1, 3, 2, 4])
    found = pairs(batches(labels=labels, pair_weights="length", lengths_N=lengths, batch_size=4, examples_per_epoch=80_000))
    seconds = found[:, 1][found[:, 1, 0] == 0, 1]
    counts = np.bincount(seconds, minlength=5)
    expected = np.array([0, 1, 3, 2, 4]) / 10 * len(seconds)
    assert counts[0] == 0
    assert (np.abs(counts - expected)[1:] < 5 * np.sqrt(expected[1:])).all()


def test_an_epoch_has_at_least_one_full_batch_of_pairs_or_groups():
    assert rows(batches(examples_per_epoch=3)).shape == (1, 8)
    assert rows(batches(**GROUPS, examples_per_epoch=3)).shape == (1, 32)


@pytest.mark.parametrize(("num", "size"), [(8, 4), (12, 3), (7, 2), (40, 5), (23, 5)])
def test_groups_are_of_different_speakers_and_have_different_utterances(num, size):
    found = rows(batches(**GROUPS | {"group_size": size, "batch_size": num * size + 1, "examples_per_epoch": 3000}))
    assert found.shape[1] == num * size
    speakers = MANY[found].reshape(len(found), num, size)
    assert (speakers == speakers[:, :, :1]).all()
    assert all(len(set(row)) == num for row in speakers[:, :, 0].tolist())
    assert all(len(set(row)) == num * size for row in found.tolist())
    # Speakers come in turn, and so do the utterances of each.
    counts = np.bincount(speakers[:, :, 0].ravel(), minlength=40)
    assert np.ptp(counts) <= 1
    uses = np.bincount(found.ravel(), minlength=200)
    assert all(np.ptp(uses[speaker == MANY]) <= 1 for speaker in range(40))


def test_groups_are_mixed_anew_in_each_batch():
    found = MANY[rows(batches(**GROUPS, examples_per_epoch=32 * 400))][:, ::4]
    together = np.zeros((40, 40))
    for batch in found:
        together[np.ix_(batch, batch)] += 1
    others = together[~np.eye(40, dtype=bool)]
    # 400 batches of 8 speakers: 400 * 8 * 7 / (40 * 39) = 14.4 times on average, standard deviation about 3.8.
    assert others.mean() == pytest.approx(400 * 56 / 1560)
    assert others.min() > 0
    assert others.max() < 36


def test_speakers_with_too_few_utterances_are_counted_in_the_refusal():
    with pytest.raises(ValueError, match=r"3 of 5 speakers have fewer \(the fewest: 1\); add --set train.min_utterances=4"):
        batches(sampling="groups", group_size=4, batch_size=8)
    found = rows(batches(sampling="groups", group_size=4, batch_size=8, group_with_repeats=True, examples_per_epoch=800))
    groups = found.reshape(-1, 4)
    assert np.ptp(np.bincount(LABELS[groups[:, 0]])) <= 1
    for group in groups:
        assert len(set(LABELS[group])) == 1
        assert len(set(group)) == min(4, SIZES[LABELS[group[0]]])


def test_whole_batches_hold_recordings_of_like_length():
    found = batches(**WHOLE)
    lengths = np.clip(LENGTHS[rows(found)], 50, 200)
    assert [batch.num_frames for batch in found] == lengths.min(axis=1).tolist()
    assert sorted(rows(found).ravel().tolist()) == list(range(200))
    in_turn = lengths[np.lexsort((lengths.max(axis=1), lengths.min(axis=1)))]
    assert (in_turn[:-1].max(axis=1) <= in_turn[1:].min(axis=1)).all()
    assert not (np.diff(lengths.min(axis=1)) >= 0).all()


def test_whole_batches_leave_out_others_in_each_epoch():
    left_out = [set(range(200)) - set(rows(batches(**WHOLE, epoch=epoch, batch_size=48)).ravel()) for epoch in (1, 2, 3)]
    assert [len(each) for each in left_out] == [8, 8, 8]
    assert len(set.union(*left_out)) > 16
    assert rows(batches(**WHOLE, examples_per_epoch=16)).shape == (2, 8)


@pytest.mark.parametrize("changes", [{"labels": MANY}, GROUPS, WHOLE])
def test_seed_and_epoch_decide_and_nothing_else(changes):
    changes = {"max_frames": 90} | changes
    np.random.seed(0)
    first = batches(**changes, seed=3, epoch=2)
    np.random.seed(1)
    assert batches(**changes, seed=3, epoch=2) == first
    for other in (batches(**changes, seed=4, epoch=2), batches(**changes, seed=3, epoch=3)):
        assert not np.array_equal(rows(other), rows(first))
        assert [batch.num_frames for batch in other] != [batch.num_frames for batch in first]
    assert [example.draw for batch in first for example in batch.examples] == list(range(rows(first).size))
    assert [batch.number for batch in first] == list(range(len(first)))


def mined_pairs(labels, num):
    rng = np.random.default_rng(0)
    found = rng.integers(len(labels), size=(10 * num, 2))
    return found[labels[found[:, 0]] != labels[found[:, 1]]][:num]


def test_mined_pairs_are_the_differing_ones_and_each_comes_round():
    mined = mined_pairs(MANY, 30)
    found = batches(labels=MANY, examples_per_epoch=8 * 15, mined_P2=mined)
    alike, differing = pairs(found)[:, :2], pairs(found)[:, 2:]
    assert (MANY[alike[:, :, 0]] == MANY[alike[:, :, 1]]).all()
    assert sorted(differing.reshape(-1, 2).tolist()) == sorted(mined.tolist())
    # Alike pairs are those of batches without mining.
    np.testing.assert_array_equal(alike, pairs(batches(labels=MANY, examples_per_epoch=8 * 15))[:, :2])


def test_mining_returns_the_nearest_of_all_pairs():
    """With so many draws every pair is drawn, and the answer is that of sorting them all."""
    rng = np.random.default_rng(3)
    embeddings = rng.standard_normal((20, 4)) * rng.uniform(0.1, 10, size=(20, 1))
    found = mine_hard_negatives(np.random.default_rng(0), LABELS, embeddings, 20_000, 0.1)
    every = [
        (float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)), i, j)
        for i, a in enumerate(embeddings)
        for j, b in enumerate(embeddings)
        if i < j and LABELS[i] != LABELS[j]
    ]
    expected = [[i, j] for _, i, j in sorted(every, reverse=True)][: round(0.1 * len(every))]
    assert found.tolist() == expected


def test_mining_draws_pairs_evenly_and_again_with_the_same_generator():
    labels, embeddings = np.array([0, 0, 1, 2]), np.eye(4)
    counts = Counter()
    for seed in range(1000):
        found = mine_hard_negatives(np.random.default_rng(seed), labels, embeddings, 1, 0.5)
        np.testing.assert_array_equal(found, mine_hard_negatives(np.random.default_rng(seed), labels, embeddings, 1, 0.5))
        counts[tuple(found[0].tolist())] += 1
    # First even over 4, second even over those of others: (0, 2) has 1/4 * 1/2 + 1/4 * 1/3, (2, 3) has 2 * 1/4 * 1/3.
    for pair, chance in {(0, 2): 5 / 24, (0, 3): 5 / 24, (1, 2): 5 / 24, (1, 3): 5 / 24, (2, 3): 1 / 6}.items():
        assert abs(counts[pair] - 1000 * chance) < 5 * (1000 * chance) ** 0.5
    assert sum(counts.values()) == 1000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10}, "multiple of 4"),
        ({"labels": np.zeros(20, dtype=int)}, "the training set has one speaker"),
        ({"pair_weights": "length"}, "expected 20 above 0, found none"),
        ({"pair_weights": "length", "lengths_N": np.zeros(20)}, "the smallest 0"),
        ({"pair_weights": "speaker"}, "found 'speaker'"),
        ({"mined_P2": np.zeros((0, 2), dtype=int)}, r"found shape \(0, 2\)"),
        ({"mined_P2": np.array([[0, 20]])}, "indices below 20"),
        ({"mined_P2": np.array([np.flatnonzero(LABELS == 4)[:2]])}, "found 1 of 1 of one"),
        ({"sampling": "groups"}, "found group_size = 0, batch_size = 8"),
        ({"sampling": "groups", "group_size": 8}, "at least 2 utterances of at least 2 speakers"),
        ({"sampling": "groups", "group_size": 1}, "at least 2 utterances"),
        ({"sampling": "groups", "group_size": 2, "batch_size": 12}, "batches of 6 speakers .* has only 5"),
        ({"sampling": "whole"}, "lengths of utterances: expected 20 above 0, found none"),
        ({"sampling": "whole", "lengths_N": np.ones(3)}, "found 3"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        batches(**changes)


@pytest.mark.parametrize(
    ("labels", "num", "share", "message"),
    [
        (LABELS[:3], 10, 0.1, "embeddings of 3 utterances"),
        (np.zeros(20), 10, 0.1, "at least 2 speakers, found 1"),
        (LABELS, 0, 0.1, "found 0, 0.1"),
        (LABELS, 10, 1.5, "found 10, 1.5"),
    ],
)
def test_mining_refuses_what_cannot_be(labels, num, share, message):
    with pytest.raises(ValueError, match=message):
        mine_hard_negatives(np.random.default_rng(0), labels, np.ones((20, 3)), num, share)
