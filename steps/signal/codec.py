"""Telephone channels and coarse coding, without any outside program.

These are models of what a channel does, not the codecs themselves: no packet loss, no adaptive coding. All
keep the length and return float32; filters are causal, so there is a delay of a fraction of a millisecond to
a few milliseconds.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.signal import butter, resample_poly, sosfilt

TELEPHONE_RATE = 8000  # Hz
TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712


def apply_codec(kind: str, signal_W: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Returns the signal through a coder: one of settings.CODEC_KINDS.

    mu_law: 8-bit mu-law (255 levels) at the given sampling rate.
    telephone: the telephone band, coded in 8-bit mu-law at 8 kHz.
    pcm_8bit: linear quantisation to 256 levels.
    """
    if kind == "mu_law":
        return mu_law(signal_W)
    if kind == "pcm_8bit":
        return quantise(signal_W, 8)
    if kind == "telephone":
        return _at_telephone_rate(signal_W, sampling_rate, lambda narrow_W: mu_law(_band_pass(narrow_W)))
    raise ValueError(f"codec kind: expected mu_law, telephone or pcm_8bit, found {kind!r}")


def apply_band(kind: str, signal_W: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Returns the signal limited in frequency: "telephone_band", or "low_pass_<Hz>" with the cut-off."""
    if kind == "telephone_band":
        return telephone_band(signal_W, sampling_rate)
    prefix, _, cutoff = kind.rpartition("_")
    if prefix != "low_pass" or not cutoff.isdigit():
        raise ValueError(f"band kind: expected telephone_band or low_pass_<Hz>, found {kind!r}")
    return low_pass(signal_W, sampling_rate, float(cutoff))


def mu_law(signal_W: np.ndarray) -> np.ndarray:
    """Returns the signal after mu-law companding (mu = 255) to 255 levels and back; samples outside +-1 are clipped.

    The continuous formula sign(x) ln(1 + mu |x|) / ln(1 + mu), not the chords of ITU-T G.711. One of the 256
    codes is left out so that 0 is a level: silence stays silent.
    """
    mu = np.float32(255)
    clipped_W = np.clip(np.asarray(signal_W, dtype=np.float32), -1, 1)
    companded_W = np.sign(clipped_W) * np.log1p(mu * np.abs(clipped_W)) / np.log1p(mu)
    levels_W = np.round(companded_W * 127) / np.float32(127)
    return (np.sign(levels_W) * np.expm1(np.abs(levels_W) * np.log1p(mu)) / mu).astype(np.float32)


def quantise(signal_W: np.ndarray, bits: int) -> np.ndarray:
    """Returns the signal rounded to 2**bits equal steps, as in a PCM file; no dither, clipped to +-1."""
    scale = np.float32(2 ** (bits - 1))
    return np.clip(np.round(np.asarray(signal_W, dtype=np.float32) * scale), -scale, scale - 1) / scale


def telephone_band(signal_W: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Returns what is left between 300 and 3400 Hz: to 8 kHz, 4th order Butterworth at both ends, and back."""
    return _at_telephone_rate(signal_W, sampling_rate, _band_pass)


def low_pass(signal_W: np.ndarray, sampling_rate: int, cutoff: float) -> np.ndarray:
    """Returns the signal below `cutoff` Hz (-3 dB there; Butterworth of order 8, 48 dB an octave)."""
    if not 0 < cutoff < sampling_rate / 2:
        raise ValueError(f"cutoff: expected 0 to {sampling_rate / 2:g} Hz (Nyquist), found {cutoff!r}")
    return _filtered(_butterworth(8, (cutoff,), "lowpass", sampling_rate), signal_W)


def _band_pass(signal_W: np.ndarray) -> np.ndarray:
    return _filtered(_butterworth(4, TELEPHONE_BAND, "bandpass", TELEPHONE_RATE), signal_W)


def _at_telephone_rate(signal_W: np.ndarray, sampling_rate: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns the signal resampled to 8 kHz, changed, and resampled back to its own rate and length."""
    signal_W = np.asarray(signal_W, dtype=np.float32)
    if sampling_rate < TELEPHONE_RATE:
        raise ValueError(f"telephone: expected a sampling rate of {TELEPHONE_RATE} Hz or more, found {sampling_rate}")
    divisor = math.gcd(sampling_rate, TELEPHONE_RATE)
    up, down = TELEPHONE_RATE // divisor, sampling_rate // divisor
    # scipy's short filter (aliases 55 dB down) takes 1 ms for 4 s where resample.py takes 9: this runs in data loaders.
    narrow_W = change(resample_poly(signal_W, up, down))
    return resample_poly(narrow_W, down, up)[: len(signal_W)].astype(np.float32, copy=False)


def _filtered(sections: np.ndarray, signal_W: np.ndarray) -> np.ndarray:
    return sosfilt(sections, np.asarray(signal_W, dtype=np.float32)).astype(np.float32, copy=False)


@lru_cache(maxsize=32)
def _butterworth(order: int, edges: tuple[float, ...], kind: str, sampling_rate: int) -> np.ndarray:
    return butter(order, edges if len(edges) > 1 else edges[0], kind, fs=sampling_rate, output="sos")
