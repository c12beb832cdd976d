"""Adding sounds to speech at a chosen signal-to-noise ratio.

SNR is the ratio of mean powers over the samples given, in dB. Sums are not clipped: what leaves +-1 stays as
it is.
"""

from collections.abc import Sequence

import numpy as np


def mix_at_snr(signal_W: np.ndarray, noise_W: np.ndarray, snr_db: float) -> np.ndarray:
    """Returns signal + gain * noise, float32 `[W]`, with the noise snr_db below the signal.

    If the signal or the noise is silent (all zeros) there is no such gain: the signal is returned unchanged.

    Raises:
        ValueError: different lengths, or an SNR that is not finite.
    """
    signal_W = np.asarray(signal_W, dtype=np.float32)
    noise_W = np.asarray(noise_W, dtype=np.float32)
    if signal_W.shape != noise_W.shape:
        raise ValueError(f"noise_W: expected the signal's shape {signal_W.shape}, found {noise_W.shape}; use fit_length")
    return signal_W + noise_gain(signal_W, noise_W, snr_db) * noise_W


def noise_gain(signal_W: np.ndarray, noise_W: np.ndarray, snr_db: float) -> np.float32:
    """Returns the factor that puts the noise snr_db below the signal; 0 if either is silent. The lengths may differ."""
    if not np.isfinite(snr_db):
        raise ValueError(f"snr_db: expected a finite number, found {snr_db!r}")
    signal_power, noise_power = power(signal_W), power(noise_W)
    if signal_power == 0 or noise_power == 0:
        return np.float32(0)
    return np.float32(np.sqrt(signal_power / noise_power) * 10 ** (-snr_db / 20))


def power(signal_W: np.ndarray) -> float:
    """Returns the mean square of the samples; 0 for none."""
    return float(np.dot(signal_W, signal_W)) / len(signal_W) if len(signal_W) else 0.0


def fit_length(noise_W: np.ndarray, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns num_samples of the noise from a random start: cropped if it is longer, repeated if it is shorter.

    Raises:
        ValueError: the noise has no samples.
    """
    if len(noise_W) == 0:
        raise ValueError("noise_W: expected at least one sample, found none")
    if len(noise_W) >= num_samples:
        start = int(rng.integers(len(noise_W) - num_samples + 1))
        return noise_W[start : start + num_samples]
    start = int(rng.integers(len(noise_W)))
    return np.resize(np.roll(noise_W, -start), num_samples)


def babble(signal_W: np.ndarray, speeches: Sequence[np.ndarray], snr_db: Sequence[float]) -> np.ndarray:
    """Returns the signal with other talkers behind it, each at its own SNR.

    N talkers at s dB each are about s - 10 log10(N) dB together, as in Kaldi's and clovaai's recipes. Silent
    talkers add nothing.

    Args:
        signal_W: the speech.
        speeches: one waveform per talker, each as long as the signal.
        snr_db: dB, one value per talker.
    """
    if len(speeches) != len(snr_db):
        raise ValueError(f"snr_db: expected one value for each of {len(speeches)} talkers, found {len(snr_db)}")
    signal_W = np.asarray(signal_W, dtype=np.float32)
    talkers_W = np.zeros_like(signal_W)
    for speech_W, snr in zip(speeches, snr_db, strict=True):
        talkers_W += mix_at_snr(signal_W, speech_W, snr) - signal_W
    return signal_W + talkers_W
