"""Which augmentation an example gets."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from steps.core.config import load_settings
from steps.signal.policy import augment, augment_copy, check_bank, draw_speed
from steps.signal.settings import Augment

KINDS = {"p_noise": 1.0, "p_music": 1.0, "p_babble": 1.0, "p_reverb": 1.0, "p_codec": 1.0, "p_band": 1.0}
RATE = 16000


class ListBank:
    """A bank of arrays that notes what was read from it."""

    def __init__(self, **sounds: list[np.ndarray]):
        self.sounds = sounds
        self.reads = []
        self.shares = {}

    def cumulative_shares(self, kind):
        return np.cumsum(self.shares[kind]) if kind in self.shares else None

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


@pytest.mark.parametrize("draw", ["set", "range"])
@pytest.mark.parametrize("kind", ["noise", "music"])
def test_every_kind_of_noise_is_heard_at_a_ratio_of_its_own_settings(kind, draw):
    """Kaldi's sets and clovaai's ranges; each is measured on the mixture, online and as a copy."""
    values = {"noise": {15.0, 10.0, 5.0, 0.0}, "music": {15.0, 10.0, 8.0, 5.0}}[kind]
    bank, signal_W, rng = full_bank(), gaussian(32000, 0), np.random.default_rng(1)
    bank.sounds["noise"] = [gaussian(40000, 7)]  # as long as the signal: one noise without pauses
    copies, found = Augment(mode="copies", copies=(kind,), snr_draw=draw), []
    for _ in range(20):
        for mixed_W, words in (
            augment(signal_W, rng, online(**{f"p_{kind}": 1.0}, snr_draw=draw), bank),
            augment_copy(kind, signal_W, rng, copies, bank),
        ):
            found.append(snr_of(signal_W, mixed_W))
            assert found[-1] == pytest.approx(float(re.fullmatch(rf"{kind}\[0\]@(.+)dB", words)[1]), abs=0.1)
            assert len(mixed_W) == len(signal_W)
    if draw == "set":
        assert {round(each, 2) for each in found} == values
    else:
        assert min(values) - 0.01 <= min(found) < max(found) <= max(values) + 0.01
        assert len({round(each) for each in found}) > 5


def test_each_talker_of_babble_is_heard_at_its_own_ratio():
    """Talkers that are tones of different pitch can be told apart in the mixture, by projection."""
    times_W = np.arange(16000) / RATE
    tones = [np.cos(2 * np.pi * (200 + 100 * n) * times_W).astype(np.float32) for n in range(8)]
    bank, signal_W = ListBank(babble=tones, speech=[gaussian(16000, 5)]), gaussian(16000, 0)
    for seed in range(12):
        mixed_W, words = augment(signal_W, np.random.default_rng(seed), online(p_babble=1.0), bank)
        told = [(int(index), float(snr)) for index, snr in re.findall(r"babble\[(\d)\]@([\d.]+)dB", words)]
        assert 3 <= len(told) <= 7
        assert {snr for _, snr in told} <= {20.0, 17.0, 15.0, 13.0}
        added_W = mixed_W.astype(np.float64) - signal_W
        for index in {index for index, _ in told}:
            # Tones are as long as the signal, so they begin at their beginning: one that is drawn twice adds up in phase.
            spectrum = 2 * np.mean(added_W * np.exp(-2j * np.pi * (200 + 100 * index) * times_W))
            gains = [10 ** (-snr / 20) for each, snr in told if each == index]
            level_db = 10 * np.log10(np.mean(signal_W.astype(np.float64) ** 2) / (abs(spectrum) ** 2 / 2))
            assert level_db == pytest.approx(-20 * np.log10(sum(gains)), abs=0.1)


def test_babble_is_made_of_training_speech_where_there_is_no_other():
    bank = full_bank()
    augment(gaussian(8000, 0), np.random.default_rng(0), online(p_babble=1.0), bank)
    assert {kind for kind, *_ in bank.reads} == {"speech"}
    bank.sounds["babble"], bank.reads = [gaussian(9000, 1)], []
    augment(gaussian(8000, 0), np.random.default_rng(0), online(p_babble=1.0), bank)
    assert {kind for kind, *_ in bank.reads} == {"babble"}
    check_bank(online(p_babble=1.0), ListBank(babble=[gaussian(9000, 1)]))


def test_the_direct_sound_stays_at_its_sample_in_every_room_and_noise_is_added_to_what_is_heard():
    clicks_W = np.zeros(16000, dtype=np.float32)
    clicks_W[[0, 3000, 9000]] = 1.0, 0.8, -0.9
    rooms, rng = [], np.random.default_rng(3)
    for peak in (0, 17, 160):  # samples of delay
        room_W = 0.05 * rng.standard_normal(1000) * np.exp(-np.arange(1000) / 100)
        room_W[:peak] *= 0.1
        room_W[peak] = 1.0
        rooms.append(room_W.astype(np.float32))
    for index, room_W in enumerate(rooms):
        found_W, words = augment(clicks_W, np.random.default_rng(0), online(p_reverb=1.0), ListBank(rir=[room_W]))
        assert words == "reverb[0]", index
        assert found_W.shape == clicks_W.shape
        assert sorted(np.argsort(-np.abs(found_W))[:3]) == [0, 3000, 9000]
        np.testing.assert_allclose(found_W[[3000, 9000]] / found_W[0], [0.8, -0.9], atol=0.02)
        assert np.sum(found_W.astype(np.float64) ** 2) == pytest.approx(np.sum(clicks_W.astype(np.float64) ** 2), rel=1e-4)
        settings = online(p_reverb=1.0, p_noise=1e-9, reverb_then_noise=1.0)
        bank = ListBank(rir=[room_W], noise=[gaussian(20000, 1)])
        noisy_W, words = augment(clicks_W, np.random.default_rng(0), settings, bank)
        snr_db = float(re.fullmatch(r"reverb\[0\]\+noise\[0\]@([\d.]+)dB", words)[1])
        assert snr_of(found_W, noisy_W) == pytest.approx(snr_db, abs=0.1)


def test_sounds_are_drawn_by_their_shares():
    bank = full_bank()
    bank.sounds["rir"] *= 3
    bank.shares = {"rir": [0.5, 0.1, 0.4], "noise": [0.0, 1.0]}
    rng, settings = np.random.default_rng(0), online(p_reverb=1.0, p_noise=1.0)
    words = Counter(augment(gaussian(800, 0), rng, settings, bank)[1].partition("@")[0] for _ in range(800))
    assert words["noise[1]"] / 800 == pytest.approx(0.5, abs=0.06)
    for index, share in enumerate(bank.shares["rir"]):
        assert words[f"reverb[{index}]"] / 800 == pytest.approx(share / 2, abs=0.05)
    assert set(words) == {"noise[1]", "reverb[0]", "reverb[1]", "reverb[2]"}
    copy = augment_copy("reverb", gaussian(800, 0), np.random.default_rng(0), COPIES, bank)[1]
    assert copy in words


def test_babble_has_so_many_talkers():
    settings = online(p_babble=1.0, babble_min_speakers=2, babble_max_speakers=4)
    rng, bank, signal_W = np.random.default_rng(0), full_bank(), gaussian(8000, 0)
    counts = Counter(augment(signal_W, rng, settings, bank)[1].count("babble") for _ in range(100))
    assert set(counts) == {2, 3, 4}


PUBLISHED = {  # share of each outcome; range of SNRs and numbers of talkers
    "online_kaldi": ({"clean": 0.2, "reverb": 0.2, "noise": 0.2, "music": 0.2, "babble": 0.2}, (0, 15, 5, 15, 13, 20), (3, 7)),
    "online_clovaai": ({"clean": 0.2, "reverb": 0.2, "noise": 0.2, "music": 0.2, "babble": 0.2}, (0, 15, 5, 15, 13, 20), (3, 7)),
    # A room for one half of the augmented ones, any of MUSAN's 2,016 files for the other.
    "online_wespeaker": (
        {"clean": 0.4, "reverb": 0.3} | {name: 0.3 * n / 2016 for name, n in (("noise", 930), ("music", 660), ("babble", 426))},
        (0, 15, 5, 15, 10, 30), (1, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_policies_give_the_shares_and_ratios_of_their_programs(name):
    shares, ranges, talkers = PUBLISHED[name]
    path = Path(__file__).parents[2] / "conf" / "augment" / f"{name}.toml"
    settings = load_settings({"augment": Augment}, [path], [])[0].augment
    bank, rng = full_bank(), np.random.default_rng(0)
    bank.sounds["rir"] = [np.array([1.0, 0.5], dtype=np.float32)]
    words = [augment(gaussian(200, 0), rng, settings, bank)[1] for _ in range(2000)]
    counts = Counter(re.split(r"[\[:]", word)[0] for word in words)
    for kind, share in shares.items():
        assert counts[kind] / len(words) == pytest.approx(share, abs=0.035), kind
    assert set(counts) == set(shares)
    found = {kind: [float(snr) for snr in re.findall(kind + r"\[\d\]@([\d.]+)dB", " ".join(words))] for kind in list(shares)[2:]}
    for kind, least, most in zip(("noise", "music", "babble"), ranges[::2], ranges[1::2], strict=True):
        assert least <= min(found[kind]) < least + 2
        assert most - 2 < max(found[kind]) <= most
    several = {word.count("babble") for word in words} - {0}
    assert (min(several), max(several)) == talkers


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
