"""Conversion of the sampling rate."""

import math
from functools import lru_cache

import numpy as np
import torch
from torchaudio.transforms import Resample


def resample(waveform_W: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Returns the same sound at another sampling rate, float32, ceil(W * to_rate / from_rate) samples.

    Band-limited interpolation with a Kaiser window of 64 zero crossings: flat to 0.9 of the lower Nyquist
    frequency, what would alias is over 80 dB down from there on. The filter is cached per pair of rates.

    Raises:
        ValueError: a rate that is not a positive whole number.
    """
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        if rate != int(rate) or rate <= 0:
            raise ValueError(f"{name}: expected a positive whole number of Hz, found {rate!r}")
    waveform_W = np.ascontiguousarray(waveform_W, dtype=np.float32)
    if from_rate == to_rate or len(waveform_W) == 0:
        return waveform_W.copy()
    divisor = math.gcd(int(from_rate), int(to_rate))
    convert = _resampler(int(from_rate) // divisor, int(to_rate) // divisor)
    with torch.inference_mode():
        return convert(torch.from_numpy(waveform_W)).numpy()


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Returns the number of samples that `resample` makes of so many."""
    return -(-num_samples * to_rate // from_rate)


def decimate(waveform_W: np.ndarray, factor: int, decimate_filter: str) -> np.ndarray:
    """Returns every factor-th sample, ceil(W / factor) of them, starting with the first.

    Args:
        waveform_W: samples.
        factor: 1 or more.
        decimate_filter: "resample" first removes what lies over the new Nyquist frequency; "stride" does not:
            it aliases, as in voicemap.
    """
    if factor != int(factor) or factor < 1:
        raise ValueError(f"decimate: expected a whole factor of 1 or more, found {factor!r}")
    if decimate_filter == "resample":
        return resample(waveform_W, factor, 1)
    if decimate_filter == "stride":
        return np.array(waveform_W[::factor], dtype=np.float32)
    raise ValueError(f"decimate_filter: expected 'resample' or 'stride', found {decimate_filter!r}")


@lru_cache(maxsize=16)
def _resampler(from_rate: int, to_rate: int) -> Resample:
    # The filter that resampy calls kaiser_best; torchaudio's default has 6 zero crossings and aliases audibly.
    return Resample(
        from_rate,
        to_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )
