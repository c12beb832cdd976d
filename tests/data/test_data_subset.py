"""A part of a training set."""

import numpy as np
import pytest

from steps.data.subset import draw_subset

# Five speakers with n utterances of 10 s each, n = 2 ... 6.
UTT2SPK = {f"{speaker}{number}": speaker for count, speaker in enumerate("abcde", 2) for number in range(count)}
SECONDS = dict.fromkeys(UTT2SPK, 10.0)


def drawn(seed=0, **how):
    return draw_subset(np.random.default_rng(seed), UTT2SPK, SECONDS, **how)


def speakers_of(names):
    return {UTT2SPK[name] for name in names}


def test_without_minutes_all_utterances_of_the_speakers_drawn_are_taken():
    for seed in range(20):
        names = drawn(seed, num_speakers=2)
        assert len(speakers_of(names)) == 2
        assert names == sorted(name for name in UTT2SPK if UTT2SPK[name] in speakers_of(names))


def test_each_speaker_gives_an_equal_share_and_those_who_cannot_are_not_drawn():
    for seed in range(20):
        names = drawn(seed, num_speakers=2, minutes=1.5)  # 45 s each: d has 50 s, e has 60 s
        assert speakers_of(names) == {"d", "e"}
        assert sorted(UTT2SPK[name] for name in names) in (["d"] * 4 + ["e"] * 4, ["d"] * 5 + ["e"] * 4)


def test_what_is_nearest_to_the_share_is_taken():
    seconds = {"a": 3.0, "b": 9.0}
    utt2spk = dict.fromkeys(seconds, "x")
    # 60 * 0.1 = 6 s: 3 s and 12 s are 3 s and 6 s away; 9 s is as near as 12 s is not
    for seed in range(10):
        names = draw_subset(np.random.default_rng(seed), utt2spk, seconds, num_speakers=1, minutes=0.1)
        assert names in (["a"], ["b"])


def test_every_speaker_and_every_utterance_has_its_chance():
    speakers, utterances = set(), set()
    for seed in range(200):
        names = drawn(seed, num_speakers=1, minutes=0.25)
        speakers |= speakers_of(names)
        utterances |= set(names)
    assert speakers == set("abcde")
    assert utterances == set(UTT2SPK)


def test_the_order_of_the_utterances_decides_nothing():
    turned = dict(reversed(UTT2SPK.items()))
    assert draw_subset(np.random.default_rng(3), turned, SECONDS, num_speakers=3, minutes=1.0) == drawn(
        3, num_speakers=3, minutes=1.0
    )


def test_too_few_speakers_are_an_error():
    with pytest.raises(ValueError, match=r"at most the 5 speakers that there are, found 6"):
        drawn(num_speakers=6)
    with pytest.raises(ValueError, match=r"at most the 2 speakers with at least 45 s of speech that there are, found 3"):
        drawn(num_speakers=3, minutes=2.25)
