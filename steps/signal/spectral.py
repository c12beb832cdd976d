"""Linear spectrograms and librosa's mel spectrogram.

Source: librosa 0.6 to 0.9 (stft, filters.mel), when `stft` reflected the edges (0.10 pads with zeros); VGGVox
mfcc/mfccspec.m and rm_dc_n_dither.m; VGG-Speaker-Recognition src/utils.py; ZHAW_deep_voice common/extrapolation/setup.py.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from steps.signal.feature_settings import VGGVOX_POLES
from steps.signal.framing import BLOCK, FLOOR, INT16_SCALE, check_filters, checked, frames, padded, power, window
from steps.signal.settings import LogMel, Spectrogram

VGGVOX_DITHER = 1e-6  # times the standard deviation of the signal
VGGVOX_PREEMPHASIS = 0.97


def spectrogram(waveform_W: torch.Tensor, settings: Spectrogram, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns the spectrogram `feats_TF` from 0 Hz up; leading batch dimensions of the waveform are kept.

    Magnitudes of the FFT without any factor, their squares, or their natural logs (floored at float32's epsilon).

    Args:
        waveform_W: float samples in +-1, `[..., W]`.
        settings: what to compute; normalisation and VAD are left to normalise.py and vad.py.
        rng: source of the dither of front_end "vggvox".

    Raises:
        ValueError: the waveform is shorter than one frame, not finite or not floating-point; "vggvox" without rng.
    """
    samples_W = checked(waveform_W, settings)
    if settings.front_end == "vggvox":
        samples_W = vggvox_front_end(samples_W, settings.sampling_rate, rng)
    half = settings.n_fft // 2
    num_kept = half if settings.bins == "half_without_nyquist" else half + 1
    feats_TF = samples_W.new_empty((*samples_W.shape[:-1], settings.num_frames(samples_W.shape[-1]), settings.num_bins))
    for start, power_TF in _blocks(samples_W, settings):
        block_TF = feats_TF.narrow(-2, start, power_TF.shape[-2])
        block_TF[..., :num_kept] = _valued(power_TF[..., :num_kept], settings.value)
        if settings.bins == "mirrored":
            block_TF[..., half + 1 :] = block_TF[..., 1:half].flip(-1)
    return feats_TF


def vggvox_front_end(samples_W: torch.Tensor, sampling_rate: int, rng: np.random.Generator | None) -> torch.Tensor:
    """Returns what VGGVox's Matlab front end makes of samples in +-1 before framing.

    In this order, over the whole signal, which is 0 before its start: times 32768; the filter
    (1 - z^-1) / (1 - p z^-1) with p = 0.99 at 16 kHz and 0.999 at 8 kHz; triangular noise between +-1e-6 of the
    signal's standard deviation (with W - 1); pre-emphasis 1 - 0.97 z^-1. Silence gets no noise, and stays 0.

    Raises:
        ValueError: no rng.
    """
    from scipy.signal import lfilter  # takes as long to load as a third of torch, and few features need it

    if rng is None:
        raise ValueError("front_end = 'vggvox' needs a random generator (rng) for its dither, found None")
    pole = VGGVOX_POLES[sampling_rate]
    signal_W = lfilter([1.0, -1.0], [1.0, -pole], samples_W.double().cpu().numpy() * INT16_SCALE, axis=-1)
    triangular_W = rng.random(signal_W.shape) + rng.random(signal_W.shape) - 1.0
    signal_W = signal_W + VGGVOX_DITHER * signal_W.std(axis=-1, ddof=1, keepdims=True) * triangular_W
    signal_W = lfilter([1.0, -VGGVOX_PREEMPHASIS], [1.0], signal_W, axis=-1)
    return torch.from_numpy(signal_W).to(samples_W)


def log_mel(waveform_W: torch.Tensor, settings: LogMel, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns log10(1 + log_gain * E) of the energies E of librosa's mel filters, `feats_TF`.

    Of samples in +-1 (librosa.load), so that silence is 0. Arguments and errors are those of `spectrogram`; there is
    no dither, and `rng` is not used.
    """
    samples_W = checked(waveform_W, settings)
    bank_FF = slaney_bank(
        settings.num_mel_bins, settings.sampling_rate, settings.n_fft, settings.low_freq, settings.upper_freq, samples_W.device
    )
    feats_TF = samples_W.new_empty((*samples_W.shape[:-1], settings.num_frames(samples_W.shape[-1]), settings.num_bins))
    for start, power_TF in _blocks(samples_W, settings):
        feats_TF.narrow(-2, start, power_TF.shape[-2]).copy_(power_TF @ bank_FF)
    return feats_TF.mul_(settings.log_gain).log1p_().mul_(1 / math.log(10))


@lru_cache(maxsize=32)
def slaney_bank(num_bins: int, sampling_rate: int, n_fft: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """Returns librosa's mel filters `[n_fft / 2 + 1, num_bins]` with htk=False and norm="slaney".

    Triangles between points that are evenly spaced on Slaney's scale, and straight in Hz; the area of each is 1 Hz.

    Raises:
        ValueError: a filter covers no bin of the FFT.
    """
    hertz_F = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * sampling_rate / n_fft
    edges = _slaney_hertz(torch.linspace(_slaney_mel(low), _slaney_mel(high), num_bins + 2, dtype=torch.float64))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising_FF = (hertz_F[:, None] - left) / (centre - left)
    falling_FF = (right - hertz_F[:, None]) / (right - centre)
    bank_FF = torch.minimum(rising_FF, falling_FF).clamp_min(0.0) * (2.0 / (right - left))
    check_filters(bank_FF, sampling_rate, n_fft)
    return bank_FF.float().to(device)


def _slaney_mel(hertz: float) -> float:
    """15 mel for 1 kHz and linear up to there; 27 mel for a factor of 6.4 beyond."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def _slaney_hertz(mel: torch.Tensor) -> torch.Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * (math.log(6.4) / 27)))


def _blocks(samples_W: torch.Tensor, settings: Spectrogram | LogMel) -> Iterator[tuple[int, torch.Tensor]]:
    """Yields the first frame and the power spectra `[..., T, n_fft / 2 + 1]` of a block of frames after another."""
    frames_TW = frames(padded(samples_W, settings), settings)
    window_W = window(settings.window, settings.frame_samples, samples_W.device, periodic=settings.periodic_window)
    num_frames = frames_TW.shape[-2]
    for start in range(0, num_frames, BLOCK):
        block_TW = frames_TW.narrow(-2, start, min(BLOCK, num_frames - start))
        # Where the window lies within the n_fft points (librosa: in their middle) only turns phases.
        yield start, power(block_TW * window_W, settings.n_fft)


def _valued(power_TF: torch.Tensor, value: str) -> torch.Tensor:
    if value == "power":
        return power_TF
    magnitude_TF = power_TF.sqrt()
    return magnitude_TF if value == "magnitude" else magnitude_TF.clamp_min(FLOOR).log()
