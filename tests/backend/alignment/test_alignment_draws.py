"""Batches hold the speakers and utterances that they promise."""

import numpy as np
import pytest

from steps.backend.alignment.draws import SpeakerDraws, hold_out_speakers

CODES = np.repeat([0, 1, 2, 3, 4], [1, 2, 5, 8, 20])


def test_disjoint_draws_share_no_utterance():
    draws = SpeakerDraws(CODES, 4, 4)
    assert draws.codes_S.tolist() == [1, 2, 3, 4]  # a speaker of one utterance cannot be drawn
    assert draws.num_items == 35
    for seed in range(20):
        enrol_SM, query_SQ = draws.batch(draws.codes_S, np.random.default_rng(seed))
        assert enrol_SM.shape == query_SQ.shape == (4, 4)
        for code, enrol, query in zip(draws.codes_S, enrol_SM, query_SQ, strict=True):
            assert not set(enrol) & set(query)
            assert {code} == set(CODES[enrol]) | set(CODES[query])
            if code >= 3:
                assert len(set(enrol)) == len(set(query)) == 4


def test_unequal_numbers_of_profile_and_query_utterances():
    enrol_SM, query_SQ = SpeakerDraws(CODES, 1, 6).batch(np.array([1, 2, 4]), np.random.default_rng(0))
    assert enrol_SM.shape == (3, 1)
    assert query_SQ.shape == (3, 6)
    assert [len(set(row)) for row in query_SQ] == [1, 4, 6]


def test_shared_draws_are_the_same_on_both_sides_and_hold_all_of_a_small_speaker():
    enrol_SM, query_SQ = SpeakerDraws(CODES, 4, 4, "shared").batch(np.array([1, 2, 4]), np.random.default_rng(0))
    assert np.array_equal(enrol_SM, query_SQ)
    assert [len(set(row)) for row in enrol_SM] == [2, 5, 8]


def test_speakers_of_a_batch_differ_and_come_equally_often():
    draws = SpeakerDraws(np.repeat(np.arange(7), 4), 2, 2)
    batches = list(draws.batches(3, 140, np.random.default_rng(0)))
    assert len(batches) == 140
    seen = np.array([sorted(enrol_SM[:, 0] // 4) for enrol_SM, _ in batches])
    assert (np.diff(seen, axis=1) > 0).all()
    assert np.bincount(seen.ravel()).min() > 40  # 60 each on average


def test_the_same_generator_gives_the_same_batches():
    draws = SpeakerDraws(CODES, 2, 2)
    first, second = (list(draws.batches(2, 9, np.random.default_rng(5))) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_held_out_speakers_are_whole_and_have_two_utterances():
    codes = np.concatenate([np.arange(100), np.repeat(np.arange(100, 160), 3)])
    is_held_N = hold_out_speakers(codes, 0.05, np.random.default_rng(0))
    held, rest = set(codes[is_held_N]), set(codes[~is_held_N])
    assert not held & rest
    assert len(held) == 3  # of the 60 that may be held out
    assert min(held) >= 100
    few = np.repeat(np.arange(4), 2)
    assert len(set(few[hold_out_speakers(few, 0.9, np.random.default_rng(0))])) == 2


def test_too_few_speakers_are_refused():
    with pytest.raises(ValueError, match="found 3 of 5 speakers"):
        hold_out_speakers(np.array([0, 1, 2, 2, 3, 3, 4, 4]), 0.05, np.random.default_rng(0))
