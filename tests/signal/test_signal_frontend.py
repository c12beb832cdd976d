"""The chain from a waveform to the network's input."""

import dataclasses

import numpy as np
import pytest
import torch

from steps.signal.features import fbank
from steps.signal.framing import log_energy
from steps.signal.frontend import extract
from steps.signal.settings import Fbank, LogMel, Mfcc, Plp, Spectrogram, Waveform


def speech_like(num_samples: int = 64000) -> np.ndarray:
    """One second of noise, one of almost silence, and so on."""
    waveform_W = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    loud_W = (np.arange(num_samples) // 16000) % 2 == 0
    return waveform_W * np.where(loud_W, np.float32(0.1), np.float32(1e-5))


@pytest.mark.parametrize(
    "settings",
    [
        Fbank(name="a", num_mel_bins=40, use_energy=True, normalise="sliding_mean"),
        Mfcc(name="a", normalise="utterance_mean_variance"),
        Plp(name="a", normalise="sliding_mean_variance"),
        Spectrogram(name="a", normalise="frame_mean_variance", normalise_epsilon=1e-5),
        Spectrogram(name="a", framing="centred", bins="mirrored", normalise="utterance_mean_variance"),
        LogMel(name="a", normalise="utterance_mean"),
        Waveform(name="a", decimate=4),
    ],
)
def test_shape_is_what_the_settings_say(settings):
    feats_TF = extract(speech_like(), 16000, settings)
    assert feats_TF.dtype == np.float32
    assert feats_TF.shape == (settings.num_frames(64000), settings.num_bins)


def test_vad_keeps_the_loud_seconds_and_normalises_before_it():
    plain = Fbank(name="a", num_mel_bins=40, normalise="utterance_mean")
    with_vad = Fbank(name="a", num_mel_bins=40, normalise="utterance_mean", vad="energy")
    all_TF, speech_TF = extract(speech_like(), 16000, plain), extract(speech_like(), 16000, with_vad)
    expected = [t for t in range(400) if (t // 100) % 2 == 0]
    # Context lets in at most 3 frames beyond each of the three edges.
    assert len(expected) <= len(speech_TF) <= len(expected) + 9
    np.testing.assert_array_equal(speech_TF[:100], all_TF[:100])


@pytest.mark.parametrize(
    ("settings", "num_frames"),
    [
        (Plp(name="a"), 400),
        (Spectrogram(name="a"), 398),
        (Spectrogram(name="a", framing="centred"), 401),
        (Spectrogram(name="a", front_end="vggvox"), 398),
        (LogMel(name="a"), 401),
    ],
    ids=lambda value: getattr(value, "type", None),
)
def test_vad_drops_the_same_seconds_of_all_features(settings, num_frames):
    with_vad = dataclasses.replace(settings, vad="energy")
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    all_TF, speech_TF = extract(speech_like(), 16000, settings, rng=rng), extract(speech_like(), 16000, with_vad, rng=again)
    assert len(all_TF) == num_frames
    # Two seconds of speech; a frame of up to 64 ms and a context of 2 frames reach beyond each of the three edges.
    assert 195 <= len(speech_TF) <= 200 + 3 * (7 + 2)
    np.testing.assert_array_equal(speech_TF[:100], all_TF[:100])
    loud_then_silent = np.concatenate([speech_like(16000), np.zeros(48000, dtype=np.float32)])
    assert 98 <= len(extract(speech_like(), 16000, with_vad, rng=rng, vad_from=loud_then_silent)) <= 109


def test_vad_looks_at_the_energy_of_the_waveform():
    settings = Mfcc(name="a", use_energy=False, vad="energy")
    energy_T = log_energy(torch.from_numpy(speech_like()), settings).numpy()
    assert len(extract(speech_like(), 16000, settings)) >= (energy_T > 5.5 + 0.5 * energy_T.mean()).sum()


def test_nothing_but_silence_is_refused():
    with pytest.raises(ValueError, match="found none in 1.00 s"):
        extract(np.zeros(16000, dtype=np.float32), 16000, Fbank(name="a", num_mel_bins=40, vad="energy"))


def test_another_sampling_rate_is_an_error_unless_allowed():
    waveform_W = speech_like(8000)
    with pytest.raises(ValueError, match="expected 16000 Hz, found 8000 Hz"):
        extract(waveform_W, 8000, Fbank(name="a", num_mel_bins=40))
    assert extract(waveform_W, 8000, Fbank(name="a", num_mel_bins=40, resample=True)).shape == (100, 40)
    assert extract(waveform_W, 8000, Waveform(name="a", resample=True)).shape == (16000, 1)
    for kind, shape in ((Plp, (100, 13)), (Spectrogram, (98, 257)), (LogMel, (101, 128))):
        with pytest.raises(ValueError, match="expected 16000 Hz, found 8000 Hz"):
            extract(waveform_W, 8000, kind(name="a"))
        assert extract(waveform_W, 8000, kind(name="a", resample=True)).shape == shape


def test_without_normalisation_it_is_fbank():
    settings = Fbank(name="a", num_mel_bins=40)
    expected_TF = fbank(torch.from_numpy(speech_like()), settings).numpy()
    np.testing.assert_array_equal(extract(speech_like(), 16000, settings), expected_TF)


def test_waveform_by_stride_is_every_fourth_sample():
    settings = Waveform(name="a", decimate=4, decimate_filter="stride")
    np.testing.assert_array_equal(extract(speech_like(), 16000, settings)[:, 0], speech_like()[::4])


@pytest.mark.parametrize(
    "settings", [Fbank(name="a", num_mel_bins=40), Plp(name="a"), Spectrogram(name="a"), LogMel(name="a"), Waveform(name="a")]
)
def test_stereo_integers_and_nan_are_refused(settings):
    with pytest.raises(ValueError, match="one dimension"):
        extract(np.zeros((2, 16000), dtype=np.float32), 16000, settings)
    with pytest.raises(ValueError, match="floating-point.*int16"):
        extract(np.zeros(16000, dtype=np.int16), 16000, settings)
    with pytest.raises(ValueError, match="NaN"):
        extract(np.full(16000, np.nan, dtype=np.float32), 16000, settings)


def test_double_precision_samples_give_the_same():
    settings = Fbank(name="a", num_mel_bins=40)
    feats_TF = extract(speech_like().astype(np.float64), 16000, settings)
    np.testing.assert_array_equal(feats_TF, extract(speech_like(), 16000, settings))
