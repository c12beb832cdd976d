"""Reverberation with a room impulse response."""

import numpy as np
from scipy.signal import fftconvolve, oaconvolve

from steps.signal.noise import power


def reverberate(signal_W: np.ndarray, rir_W: np.ndarray) -> np.ndarray:
    """Returns the signal as heard in the room: same length, same energy, not delayed, float32.

    The convolution is read from the largest peak of the response on, so that the direct sound stays where it
    was (Kaldi's --shift-output; Kaldi takes the largest sample, we the largest absolute value, which differs
    for responses of inverted polarity). The tail after the last sample is cut, then the energy is set to the
    signal's; Kaldi measures it before the cut. A silent signal is returned unchanged.

    Raises:
        ValueError: the response is empty, all zeros or not finite.
    """
    signal_W = np.asarray(signal_W, dtype=np.float32)
    rir_W = np.asarray(rir_W, dtype=np.float32)
    if len(rir_W) == 0 or not np.isfinite(rir_W).all() or not rir_W.any():
        state = "no samples" if len(rir_W) == 0 else "NaN, infinity or only zeros"
        raise ValueError(f"rir_W: expected a finite response that is not all zeros, found {state}")
    signal_power = power(signal_W)
    if signal_power == 0:
        return signal_W.copy()
    peak = int(np.argmax(np.abs(rir_W)))
    # Blocks pay off when the signal is many responses long; below that one transform is faster.
    convolve = oaconvolve if len(signal_W) > 8 * len(rir_W) else fftconvolve
    reverberant_W = convolve(signal_W, rir_W)[peak : peak + len(signal_W)]
    reverberant_power = power(reverberant_W)
    if reverberant_power == 0:
        return signal_W.copy()
    return (reverberant_W * np.float32(np.sqrt(signal_power / reverberant_power))).astype(np.float32, copy=False)
