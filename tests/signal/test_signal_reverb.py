"""Reverberation against direct convolution and responses with a known answer."""

import numpy as np
import pytest

from steps.signal.reverb import reverberate


def gaussian(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def room(num_samples: int, peak: int) -> np.ndarray:
    """A decaying noise after a direct sound at `peak`."""
    decay_W = np.exp(-np.arange(num_samples - peak) / (num_samples / 7))
    rir_W = np.zeros(num_samples, dtype=np.float32)
    rir_W[peak:] = 0.2 * decay_W * np.random.default_rng(1).standard_normal(num_samples - peak)
    rir_W[peak] = 1.0
    return rir_W


@pytest.mark.parametrize(("num_samples", "length"), [(3000, 800), (20000, 800), (500, 2000)])
def test_it_is_the_convolution_from_the_peak_on(num_samples, length):
    signal_W, rir_W = gaussian(num_samples), room(length, 57)
    direct_W = np.convolve(signal_W.astype(np.float64), rir_W.astype(np.float64))[57 : 57 + num_samples]
    direct_W *= np.sqrt(np.sum(signal_W.astype(np.float64) ** 2) / np.sum(direct_W**2))
    found_W = reverberate(signal_W, rir_W)
    assert found_W.dtype == np.float32
    np.testing.assert_allclose(found_W, direct_W, rtol=0, atol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 0.03])
def test_a_delayed_scaled_pulse_changes_nothing(gain):
    signal_W, rir_W = gaussian(5000), np.zeros(300, dtype=np.float32)
    rir_W[123] = gain
    np.testing.assert_allclose(reverberate(signal_W, rir_W), signal_W, rtol=0, atol=1e-6)


def test_an_inverted_response_is_aligned_too():
    signal_W, rir_W = gaussian(5000), np.zeros(300, dtype=np.float32)
    rir_W[123], rir_W[200] = -1.0, 0.1
    # 0.1 of an echo is left: 20 dB down.
    assert np.corrcoef(reverberate(signal_W, rir_W), -signal_W)[0, 1] > 0.99


def test_the_energy_is_kept():
    signal_W = gaussian(32000)
    found_W = reverberate(signal_W, room(8000, 100))
    assert np.sum(found_W.astype(np.float64) ** 2) == pytest.approx(np.sum(signal_W.astype(np.float64) ** 2), rel=1e-5)


def test_silence_stays_silent():
    assert not reverberate(np.zeros(1000, dtype=np.float32), room(100, 5)).any()


@pytest.mark.parametrize("rir_W", [np.zeros(0), np.zeros(100), np.full(100, np.nan)])
def test_a_response_without_a_peak_is_refused(rir_W):
    with pytest.raises(ValueError, match="rir_W"):
        reverberate(gaussian(1000), rir_W)
