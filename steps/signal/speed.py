"""Speed perturbation: faster is also higher, as a tape played faster."""

from fractions import Fraction

import numpy as np

from steps.signal.resample import resample


def change_speed(waveform_W: np.ndarray, factor: float) -> np.ndarray:
    """Returns the waveform played `factor` times as fast, ceil(W / factor) samples.

    Pitch and formants are multiplied by the factor. Same as sox "speed" and Kaldi's perturb_data_dir_speed, with
    our resampling filter. Factor 1 returns a copy.

    Raises:
        ValueError: the factor is not positive or no fraction with a denominator up to 100.
    """
    ratio = _ratio(factor)
    return resample(waveform_W, ratio.numerator, ratio.denominator)


def speed_input_length(num_samples: int, factor: float) -> int:
    """Returns the least number of samples that `change_speed` turns into num_samples or more: what a crop has to read.

    If the factor is under 1 the result can be a sample longer: cut it to num_samples.
    """
    ratio = _ratio(factor)
    return (num_samples - 1) * ratio.numerator // ratio.denominator + 1


def _ratio(factor: float) -> Fraction:
    ratio = Fraction(factor).limit_denominator(100)
    if ratio <= 0 or abs(float(ratio) - factor) > 1e-9:
        raise ValueError(f"speed factor: expected a positive fraction with a denominator up to 100, found {factor!r}")
    return ratio
