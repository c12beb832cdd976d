"""Mixing at a signal-to-noise ratio."""

import numpy as np
import pytest

from steps.signal.noise import babble, fit_length, mix_at_snr


def gaussian(num_samples: int, seed: int, scale: float = 0.1) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def snr_of(signal_W: np.ndarray, mixed_W: np.ndarray) -> float:
    noise_W = mixed_W.astype(np.float64) - signal_W
    return 10 * np.log10(np.mean(signal_W.astype(np.float64) ** 2) / np.mean(noise_W**2))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 7.3, 20.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_the_snr_is_met(snr_db, scale):
    signal_W, noise_W = gaussian(48000, 0), gaussian(48000, 1, scale)
    mixed_W = mix_at_snr(signal_W, noise_W, snr_db)
    assert mixed_W.dtype == np.float32
    assert mixed_W.shape == signal_W.shape
    assert snr_of(signal_W, mixed_W) == pytest.approx(snr_db, abs=0.1)


def test_silence_on_either_side_leaves_the_signal():
    signal_W, zeros_W = gaussian(100, 0), np.zeros(100, dtype=np.float32)
    assert np.array_equal(mix_at_snr(signal_W, zeros_W, 5.0), signal_W)
    assert np.array_equal(mix_at_snr(zeros_W, signal_W, 5.0), zeros_W)


def test_other_lengths_and_infinite_ratios_are_refused():
    with pytest.raises(ValueError, match="fit_length"):
        mix_at_snr(gaussian(100, 0), gaussian(99, 1), 5.0)
    with pytest.raises(ValueError, match="snr_db"):
        mix_at_snr(gaussian(100, 0), gaussian(100, 1), float("inf"))


def test_a_long_noise_is_cropped_anywhere():
    noise_W = np.arange(10, dtype=np.float32)
    rng = np.random.default_rng(0)
    starts = {int(fit_length(noise_W, 8, rng)[0]) for _ in range(50)}
    assert starts == {0, 1, 2}
    assert np.array_equal(fit_length(noise_W, 10, rng), noise_W)


def test_a_short_noise_goes_round():
    noise_W = np.arange(5, dtype=np.float32)
    fitted_W = fit_length(noise_W, 13, np.random.default_rng(0))
    assert np.array_equal(fitted_W, (fitted_W[0] + np.arange(13)) % 5)


def test_no_noise_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        fit_length(np.zeros(0, dtype=np.float32), 5, np.random.default_rng(0))


def test_each_talker_has_its_own_snr():
    signal_W = gaussian(160000, 0)
    talkers = [gaussian(160000, seed, 0.01 * seed) for seed in (1, 2, 3)]
    snrs = [20.0, 13.0, 15.0]
    mixed_W = babble(signal_W, talkers, snrs)
    expected_power = sum(10 ** (-snr / 10) for snr in snrs)  # independent talkers: powers add
    assert snr_of(signal_W, mixed_W) == pytest.approx(-10 * np.log10(expected_power), abs=0.1)
    alone_W = babble(signal_W, talkers[:1], snrs[:1])
    assert snr_of(signal_W, alone_W) == pytest.approx(20.0, abs=0.1)


def test_a_talker_without_snr_is_refused():
    with pytest.raises(ValueError, match="each of 2 talkers, found 1"):
        babble(gaussian(10, 0), [gaussian(10, 1), gaussian(10, 2)], [3.0])
