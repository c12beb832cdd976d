"""Frames, windows and log energies against numpy, scipy and torch.stft."""

import numpy as np
import pytest
import scipy.signal
import torch

from steps.signal.framing import frames, log_energy, padded, power, window
from steps.signal.settings import Fbank, LogMel, Spectrogram

FRAMED = {
    "kaldi": Fbank(name="a", num_mel_bins=23),
    "kaldi_snipped": Fbank(name="a", num_mel_bins=23, snip_edges=True),
    "kaldi_wide_shift": Fbank(name="a", num_mel_bins=23, frame_length=0.02, frame_shift=0.03),
    "snipped": Spectrogram(name="a"),
    "centred": Spectrogram(name="a", framing="centred"),
    "centred_odd": Spectrogram(name="a", framing="centred", frame_length=401 / 16000, frame_shift=0.015),
    "log_mel": LogMel(name="a"),
}


def expected_frames(samples_W: np.ndarray, settings) -> np.ndarray:
    """Frames out of a signal that numpy pads far beyond what is needed."""
    width, shift, far = settings.frame_samples, settings.frame_shift_samples, len(samples_W) - 1
    if isinstance(settings, Fbank):
        mirrored_W = np.pad(samples_W, far, mode="symmetric")
        starts = [shift * t + shift // 2 - width // 2 for t in range((len(samples_W) + shift // 2) // shift)]
        if settings.snip_edges:
            starts = range(0, len(samples_W) - width + 1, shift)
    else:
        mirrored_W = np.pad(samples_W, far, mode="reflect")
        starts = range(0, len(samples_W) - width + 1, shift)
        if settings.framing == "centred":
            left_of_window = (settings.n_fft - width) // 2  # librosa.util.pad_center
            starts = [shift * t - settings.n_fft // 2 + left_of_window for t in range(1 + len(samples_W) // shift)]
    return np.stack([mirrored_W[far + start : far + start + width] for start in starts])


@pytest.mark.parametrize("settings", FRAMED.values(), ids=FRAMED)
def test_frames_are_cut_from_the_mirrored_signal(settings):
    least = settings.frame_samples
    for num_samples in (least, least + 1, least + 79, least + 80, 2 * least + 159, 9000):
        samples_W = np.random.default_rng(num_samples).standard_normal(num_samples)
        found_TW = frames(padded(torch.from_numpy(samples_W), settings), settings).numpy()
        expected_TW = expected_frames(samples_W, settings)
        assert len(expected_TW) == settings.num_frames(num_samples)
        np.testing.assert_array_equal(found_TW, expected_TW)


@pytest.mark.parametrize("name", ["hamming", "hann"])
@pytest.mark.parametrize("periodic", [False, True])
def test_windows_are_scipys(name, periodic):
    expected_W = scipy.signal.get_window(name, 400, fftbins=periodic)
    np.testing.assert_allclose(window(name, 400, torch.device("cpu"), periodic=periodic), expected_W, rtol=0, atol=1e-7)


def test_power_is_that_of_the_padded_frame():
    frames_TW = torch.from_numpy(np.random.default_rng(0).standard_normal((7, 400)))
    expected_TF = np.abs(np.fft.fft(np.pad(frames_TW.numpy(), ((0, 0), (0, 112)))))[:, :257] ** 2
    np.testing.assert_allclose(power(frames_TW, 512), expected_TF, rtol=1e-9)


@pytest.mark.parametrize("settings", FRAMED.values(), ids=FRAMED)
def test_log_energy_is_that_of_the_frames_less_their_mean(settings):
    waveform_W = (0.1 * np.random.default_rng(0).standard_normal(9000) + 0.2).astype(np.float32)
    frames_TW = expected_frames(waveform_W.astype(np.float64) * 32768, settings)
    expected_T = np.log(((frames_TW - frames_TW.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    np.testing.assert_allclose(log_energy(torch.from_numpy(waveform_W), settings), expected_T, rtol=0, atol=1e-5)
