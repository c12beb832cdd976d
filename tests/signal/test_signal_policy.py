"""Which augmentation an example gets."""

import re
from collections import Counter

import numpy as np
import pytest

from steps.signal.policy import augment, augment_copy, check_bank, draw_speed
from steps.signal.settings import Augment

KINDS = {"p_noise": 1.0, "p_music": 1.0, "p_babble": 1.0, "p_reverb": 1.0, "p_codec": 1.0, "p_band": 1.0}
RATE = 16000


class ListBank:
    """A bank of arrays that notes what was read from it."""

    def __init__(self, **sounds: list[np.ndarray]):
        self.sounds = sounds
        self.reads = []

    def num(self, kind):
        return len(self.sounds.get(kind, []))

    def length(self, kind, index):
        return len(self.sounds[kind][index])

    def get(self, kind, index, start, num_samples):
        assert start >= 0
        assert start + num_samples <= self.length(kind, index)
        self.reads.append((kind, index, start, num_samples))
        return self.sounds[kind][index][start : start + num_samples]


def gaussian(num_samples: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def full_bank() -> ListBank:
    rir_W = np.zeros(2000, dtype=np.float32)
    rir_W[50], rir_W[900] = 1.0, 0.5
    return ListBank(
        noise=[gaussian(n, n) for n in (5000, 70000)],
        music=[gaussian(90000, 3)],
        speech=[gaussian(n, n) for n in (20000, 64000, 100000)],
        rir=[rir_W],
    )


def snr_of(signal_W: np.ndarray, mixed_W: np.ndarray) -> float:
    noise_W = mixed_W.astype(np.float64) - signal_W
    return 10 * np.log10(np.mean(signal_W.astype(np.float64) ** 2) / np.mean(noise_W**2))


def online(**changes) -> Augment:
    return Augment(**{"mode": "online", "p_augment": 1.0, **changes})


def test_every_kind_keeps_length_and_type_and_follows_the_generator():
    settings, bank, signal_W = online(**KINDS, reverb_then_noise=0.5), full_bank(), gaussian(32000, 0)
    before_W, seen = signal_W.copy(), set()
    for seed in range(80):
        found_W, words = augment(signal_W, np.random.default_rng(seed), settings, bank)
        again_W, same_words = augment(signal_W, np.random.default_rng(seed), settings, bank)
        assert found_W.shape == signal_W.shape
        assert found_W.dtype == np.float32
        assert np.isfinite(found_W).all()
        assert np.array_equal(found_W, again_W)
        assert words == same_words
        seen |= set(re.findall(r"[a-z]+(?=[\[:])", words))
    assert seen == {"noise", "music", "babble", "reverb", "codec", "band"}
    assert np.array_equal(signal_W, before_W)


def test_the_weights_are_met():
    settings = online(p_augment=0.6, p_noise=3.0, p_codec=1.0)
    bank, signal_W, rng = full_bank(), gaussian(800, 0), np.random.default_rng(0)
    words = Counter(re.split(r"[\[:]", augment(signal_W, rng, settings, bank)[1])[0] for _ in range(3000))
    assert words["clean"] / 3000 == pytest.approx(0.4, abs=0.04)
    assert words["noise"] / 3000 == pytest.approx(0.45, abs=0.04)
    assert words["codec"] / 3000 == pytest.approx(0.15, abs=0.04)
    assert set(words) == {"clean", "noise", "codec"}


def test_clean_is_the_signal_itself():
    settings = Augment(mode="online", speed_factors=(0.9,))
    found_W, words = augment(gaussian(100, 0), np.random.default_rng(0), settings, ListBank())
    assert words == "clean"
    assert np.array_equal(found_W, gaussian(100, 0))


@pytest.mark.parametrize("draw", ["set", "range"])
def test_the_words_tell_the_snr_that_is_heard(draw):
    settings = online(p_noise=1.0, snr_noise=(0.0, 7.0, 15.0), snr_draw=draw)
    bank, signal_W, rng = full_bank(), gaussian(32000, 0), np.random.default_rng(0)
    told = []
    for _ in range(60):
        found_W, words = augment(signal_W, rng, settings, bank)
        told.append(float(re.fullmatch(r"noise\[[01]\]@(-?[0-9.]+)dB", words)[1]))
        assert snr_of(signal_W, found_W) == pytest.approx(told[-1], abs=0.1)
    if draw == "set":
        assert set(told) == {0.0, 7.0, 15.0}
    else:
        assert min(told) >= 0
        assert max(told) <= 15
        assert len(set(told)) > 20


def test_babble_has_so_many_talkers():
    settings = online(p_babble=1.0, babble_min_speakers=2, babble_max_speakers=4)
    rng, bank, signal_W = np.random.default_rng(0), full_bank(), gaussian(8000, 0)
    counts = Counter(augment(signal_W, rng, settings, bank)[1].count("babble") for _ in range(100))
    assert set(counts) == {2, 3, 4}


def test_reverb_then_noise_has_its_share():
    settings = online(p_reverb=1.0, p_music=1e-9, reverb_then_noise=0.25)
    rng, bank, signal_W = np.random.default_rng(0), full_bank(), gaussian(800, 0)
    words = [augment(signal_W, rng, settings, bank)[1] for _ in range(1000)]
    assert all(word.startswith("reverb[0]") for word in words)
    assert np.mean(["+music[0]@" in word for word in words]) == pytest.approx(0.25, abs=0.06)


def test_a_long_sound_is_read_in_part():
    bank = full_bank()
    for seed in range(20):
        augment(gaussian(8000, 0), np.random.default_rng(seed), online(p_music=1.0), bank)
    assert {num_samples for _, _, _, num_samples in bank.reads} == {8000}
    assert len({start for _, _, start, _ in bank.reads}) > 15


def test_silent_noise_is_told():
    bank = ListBank(noise=[np.zeros(9000, dtype=np.float32)])
    found_W, words = augment(gaussian(8000, 0), np.random.default_rng(0), online(p_noise=1.0), bank)
    assert words.endswith(":silent")
    assert np.array_equal(found_W, gaussian(8000, 0))


@pytest.mark.parametrize(("kind", "sounds"), [("noise", "noise"), ("music", "music"), ("babble", "speech"), ("reverb", "rir")])
def test_missing_sounds_are_an_error_only_if_they_are_wanted(kind, sounds):
    bank = full_bank()
    del bank.sounds[sounds]
    others = {key: value for key, value in KINDS.items() if key != f"p_{kind}"}
    check_bank(online(**others), bank)
    with pytest.raises(ValueError, match=f"p_{kind}.*'{sounds}'"):
        augment(gaussian(800, 0), np.random.default_rng(0), online(**KINDS), bank)
    with pytest.raises(ValueError, match=f"'{kind}'.*'{sounds}'"):
        check_bank(Augment(mode="copies", copies=(kind,)), bank)


COPIES = Augment(mode="copies", copies=("reverb", "noise", "music", "babble", "codec", "band"), speed_factors=(0.9, 1.1))


@pytest.mark.parametrize("kind", COPIES.copy_kinds)
def test_every_copy_can_be_made(kind):
    found_W, words = augment_copy(kind, gaussian(40000, 0), np.random.default_rng(0), COPIES, full_bank())
    expected = {"speed0.9": 44445, "speed1.1": 36364}.get(kind, 40000)
    assert found_W.shape == (expected,)
    assert found_W.dtype == np.float32
    assert words.startswith(kind)


def test_noises_of_a_copy_have_pauses_of_a_second_between_them():
    bank = ListBank(noise=[gaussian(5000, 1)])
    signal_W = gaussian(40000, 0)
    found_W, words = augment_copy("noise", signal_W, np.random.default_rng(0), COPIES, bank)
    changed_W = found_W != signal_W
    starts = [0, 21000]
    expected_W = np.zeros(40000, dtype=bool)
    for start in starts:
        expected_W[start : start + 5000] = True
    assert not changed_W[~expected_W].any()
    assert changed_W[expected_W].mean() > 0.99
    for start, snr_db in zip(starts, re.findall(r"@([0-9.]+)dB", words), strict=True):
        added_W = (found_W - signal_W)[start : start + 5000].astype(np.float64)
        assert 10 * np.log10(np.mean(signal_W**2) / np.mean(added_W**2)) == pytest.approx(float(snr_db), abs=0.1)


def test_a_copy_that_is_not_in_the_settings_is_refused():
    settings = Augment(mode="copies", copies=("noise",))
    with pytest.raises(ValueError, match="expected one of noise, found 'music'"):
        augment_copy("music", gaussian(100, 0), np.random.default_rng(0), settings, full_bank())


def test_speeds_are_drawn_evenly():
    rng = np.random.default_rng(0)
    settings = Augment(mode="online", speed_factors=(0.9, 1.1))
    counts = Counter(draw_speed(rng, settings) for _ in range(3000))
    assert set(counts) == {0.9, 1.0, 1.1}
    assert all(abs(count / 3000 - 1 / 3) < 0.04 for count in counts.values())
