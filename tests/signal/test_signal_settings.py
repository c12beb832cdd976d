"""Settings refuse what cannot work, and know the shape of the features without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from steps.signal.settings import Augment, Fbank, Mfcc, SpecAugment, Waveform

ONLINE = {"mode": "online", "p_augment": 0.6, "p_noise": 1.0}


def test_settings_import_neither_torch_nor_numpy():
    code = "import sys, steps.signal.settings; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "num_bins"),
    [
        (Fbank(name="a", num_mel_bins=80), 80),
        (Fbank(name="a", num_mel_bins=80, use_energy=True), 81),
        (Mfcc(name="a", num_mel_bins=30, num_ceps=24), 24),
        (Waveform(name="a", decimate=4), 1),
    ],
)
def test_num_bins(settings, num_bins):
    assert settings.num_bins == num_bins


def test_frames_of_one_second():
    assert Fbank(name="a", num_mel_bins=23).num_frames(16000) == 100
    assert Fbank(name="a", num_mel_bins=23, snip_edges=True).num_frames(16000) == 98
    assert Waveform(name="a", decimate=4).num_frames(16001) == 4001


def test_frame_samples_are_whole_and_not_one_short():
    settings = Fbank(name="a", num_mel_bins=10, sampling_rate=100, low_freq=1, frame_length=0.29, frame_shift=0.115)
    assert (settings.frame_samples, settings.frame_shift_samples) == (29, 11)


def test_high_freq_of_0_or_less_counts_from_nyquist():
    assert Fbank(name="a", num_mel_bins=23, high_freq=-400).upper_freq == 7600
    assert Fbank(name="a", num_mel_bins=23).upper_freq == 8000
    assert Fbank(name="a", num_mel_bins=23, high_freq=7600).upper_freq == 7600


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"type": "mfcc"}, "fbank.type"),
        ({"name": "a/b"}, "fbank.name"),
        ({"name": ""}, "fbank.name"),
        ({"window": "kaiser"}, "fbank.window.*povey.*kaiser"),
        ({"high_freq": 9000.0}, "fbank.high_freq.*8000 Hz.*9000"),
        ({"high_freq": 10.0}, "fbank.high_freq"),
        ({"low_freq": 8000.0}, "fbank.low_freq"),
        ({"normalise": "mean"}, "fbank.normalise.*utterance_mean.*'mean'"),
        ({"normalise_window": 0}, "fbank.normalise_window"),
        ({"vad": "webrtc"}, "fbank.vad"),
        ({"vad_proportion": 1.5}, "fbank.vad_proportion"),
        ({"dither": -1.0}, "fbank.dither"),
        ({"frame_shift": 0.0}, "fbank.frame_shift"),
        ({"num_mel_bins": 0}, "fbank.num_mel_bins"),
        ({"preemphasis": 1.5}, "fbank.preemphasis"),
    ],
)
def test_wrong_fbank_is_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=words):
        Fbank(**{"name": "a", "num_mel_bins": 80, **wrong})


def test_more_cepstra_than_filters_are_refused():
    with pytest.raises(ValueError, match="num_mel_bins = 23.*found 24"):
        Mfcc(name="a", num_ceps=24)


@pytest.mark.parametrize("wrong", [{"decimate": 0}, {"decimate_filter": "fir"}, {"sampling_rate": 0}, {"type": "wave"}])
def test_wrong_waveform_is_refused(wrong):
    with pytest.raises(ValueError, match="waveform." + next(iter(wrong))):
        Waveform(**{"name": "a", **wrong})


def test_copies_are_named():
    settings = Augment(mode="copies", copies=("reverb", "noise", "music", "babble"), speed_factors=(0.9, 1.1))
    assert settings.copy_kinds == ("reverb", "noise", "music", "babble", "speed0.9", "speed1.1")
    assert settings.num_copies == 6


def test_mode_none_switches_everything_off():
    assert Augment(p_augment=0.5, p_noise=1.0, copies=("noise",)).num_copies == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mode": "offline"}, "augment.mode"),
        ({**ONLINE, "copies": ("noise",)}, "augment.copies"),
        ({**ONLINE, "p_noise": -1.0}, "augment.p_noise"),
        ({**ONLINE, "p_noise": 0.0}, "augment.p_augment"),
        ({**ONLINE, "p_augment": 0.0}, "augment.p_augment"),
        ({**ONLINE, "p_augment": 1.1}, "augment.p_augment"),
        ({**ONLINE, "reverb_then_noise": 0.5}, "augment.reverb_then_noise"),
        ({**ONLINE, "snr_noise": ()}, "augment.snr_noise"),
        ({**ONLINE, "snr_draw": "normal"}, "augment.snr_draw"),
        ({**ONLINE, "babble_min_speakers": 8}, "augment.babble_min_speakers"),
        ({**ONLINE, "codec_kinds": ("mp3",)}, "augment.codec_kinds.*mp3"),
        ({**ONLINE, "band_kinds": ("low_pass_8000",)}, "augment.band_kinds.*8000 Hz"),
        ({**ONLINE, "band_kinds": ("high_pass_300",)}, "augment.band_kinds"),
        ({**ONLINE, "speed_factors": (1.0,)}, "augment.speed_factors"),
        ({**ONLINE, "speed_as_new_speakers": True}, "augment.speed_factors"),
        ({"mode": "online"}, "augment"),
        ({"mode": "copies"}, "augment.copies"),
        ({"mode": "copies", "copies": ("noise", "noise")}, "augment.copies"),
        ({"mode": "copies", "copies": ("noise",), "p_noise": 1.0}, "no probabilities.*p_noise"),
        ({"mode": "copies", "copies": ("noise",), "copies_share": 0.0}, "augment.copies_share"),
        ({"mode": "copies", "speed_factors": (0.9,), "copies_share": 0.5}, "augment.copies_share"),
        ({**ONLINE, "copies_share": 0.5}, "augment.copies_share"),
    ],
)
def test_wrong_augment_is_refused_by_name(wrong, words):
    with pytest.raises(ValueError, match=words):
        Augment(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": 1.5, "num_time_masks": 1, "max_time_frames": 5},
        {"p": 0.5},
        {"num_time_masks": 1, "max_time_frames": 5},
        {"p": 0.5, "num_freq_masks": 2},
    ],
)
def test_wrong_specaugment_is_refused(wrong):
    with pytest.raises(ValueError, match=r"specaugment\."):
        SpecAugment(**wrong)
