"""Resampling, decimation and speed on tones, whose answers are known."""

import numpy as np
import pytest
import scipy.signal

from steps.signal.resample import decimate, resample
from steps.signal.speed import change_speed, speed_input_length


def tone(frequency: float, rate: int, num_samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(num_samples) / rate).astype(np.float32)


def inner(waveform_W: np.ndarray) -> np.ndarray:
    """Without the edges, where the filter looks past the end."""
    return waveform_W[400:-400]


@pytest.mark.parametrize(("from_rate", "to_rate"), [(16000, 8000), (8000, 16000), (44100, 16000), (48000, 16000)])
@pytest.mark.parametrize("frequency", [100.0, 1000.0, 3300.0])
def test_a_tone_stays_that_tone(from_rate, to_rate, frequency):
    num_samples = from_rate // 2 + 7
    found_W = resample(tone(frequency, from_rate, num_samples), from_rate, to_rate)
    assert found_W.dtype == np.float32
    assert len(found_W) == -(-num_samples * to_rate // from_rate)
    expected_W = tone(frequency, to_rate, len(found_W))
    np.testing.assert_allclose(inner(found_W), inner(expected_W), rtol=0, atol=2e-4)


def test_what_would_alias_is_removed():
    found_W = resample(tone(4500.0, 16000, 16000), 16000, 8000)
    assert np.abs(inner(found_W)).max() < 1e-4  # -80 dB


def test_resample_agrees_with_scipy_on_a_band_limited_signal():
    spectrum = np.zeros(8001, dtype=complex)
    rng = np.random.default_rng(0)
    spectrum[1:3000] = rng.standard_normal(2999) + 1j * rng.standard_normal(2999)  # up to 3 kHz, period 1 s
    waveform_W = np.fft.irfft(spectrum).astype(np.float32)
    expected_W = scipy.signal.resample(waveform_W, 8000)  # exact for a periodic signal
    scale = np.abs(expected_W).max()
    np.testing.assert_allclose(inner(resample(waveform_W, 16000, 8000)), inner(expected_W), rtol=0, atol=1e-3 * scale)


def test_the_same_rate_is_a_copy():
    waveform_W = tone(100.0, 16000, 100)
    found_W = resample(waveform_W, 16000, 16000)
    assert np.array_equal(found_W, waveform_W)
    assert not np.shares_memory(found_W, waveform_W)


@pytest.mark.parametrize("rate", [0, -8000, 8000.5])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="to_rate"):
        resample(np.zeros(10, dtype=np.float32), 16000, rate)


def test_decimation_by_stride_aliases_and_by_resampling_does_not():
    high_W = tone(3000.0, 16000, 16001)
    strided_W, filtered_W = decimate(high_W, 4, "stride"), decimate(high_W, 4, "resample")
    assert len(strided_W) == len(filtered_W) == 4001
    # 3 kHz sampled at 4 kHz cannot be told from -1 kHz.
    np.testing.assert_allclose(strided_W, -tone(1000.0, 4000, 4001), rtol=0, atol=1e-3)
    assert np.abs(inner(filtered_W)).max() < 1e-3


def test_decimation_by_an_unknown_filter_is_refused():
    with pytest.raises(ValueError, match="boxcar"):
        decimate(np.zeros(8), 2, "boxcar")


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_speed_multiplies_the_frequency(factor):
    num_samples = 20000
    found_W = change_speed(tone(1000.0, 16000, num_samples), factor)
    assert len(found_W) == int(np.ceil(round(num_samples / factor, 6)))
    np.testing.assert_allclose(inner(found_W), inner(tone(1000.0 * factor, 16000, len(found_W))), rtol=0, atol=2e-4)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1, 0.75])
@pytest.mark.parametrize("num_samples", [1, 2, 3200, 47999, 48000, 48001])
def test_speed_input_length_is_the_least_that_suffices(factor, num_samples):
    length = speed_input_length(num_samples, factor)
    assert len(change_speed(np.zeros(length, dtype=np.float32), factor)) >= num_samples
    assert len(change_speed(np.zeros(length - 1, dtype=np.float32), factor)) < num_samples


@pytest.mark.parametrize("factor", [0.0, -1.0, 0.98765])
def test_impossible_speeds_are_refused(factor):
    with pytest.raises(ValueError, match="speed factor"):
        change_speed(np.zeros(10, dtype=np.float32), factor)
