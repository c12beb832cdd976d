"""Log mel filter-bank energies and MFCC, equal to Kaldi's.

One pass over all frames of an utterance: removal of the mean and pre-emphasis are linear, so pre-emphasis
runs once over the samples and the mean of each frame is taken off afterwards, scaled by (1 - preemphasis);
only the first sample of a frame, which Kaldi pre-emphasises with itself, is set apart. Kaldi works on samples
of +-32768; ours are +-1 and are scaled here.

Source: Kaldi src/feat/{feature-window,feature-fbank,feature-mfcc,mel-computations}.cc; checked against
kaldi-native-fbank 1.22 and torchaudio 2.11 compliance.kaldi.
"""

import math
from functools import lru_cache

import numpy as np
import torch

from steps.signal.framing import BLOCK, FLOOR, INT16_SCALE, check_filters, checked, energies, frames, means, padded, power, window
from steps.signal.settings import Fbank, Mfcc, Plp


def fbank(waveform_W: torch.Tensor, settings: Fbank, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns log mel energies `feats_TF`; leading batch dimensions of the waveform are kept.

    Args:
        waveform_W: float samples in +-1, `[..., W]`.
        settings: what to compute; normalisation and VAD are left to normalise.py and vad.py.
        rng: source of the dither, needed if settings.dither > 0.

    Raises:
        ValueError: the waveform is shorter than one frame, not finite or not floating-point; dither without rng.
    """
    mel_TF, energy_T = mel_energies(waveform_W, settings, rng=rng)
    log_mel_TF = mel_TF.clamp_min_(FLOOR).log_()
    return log_mel_TF if energy_T is None else torch.cat([energy_T.unsqueeze(-1), log_mel_TF], dim=-1)


def mfcc(waveform_W: torch.Tensor, settings: Mfcc, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns cepstral coefficients `feats_TF`, C0 (or the log energy) first.

    Arguments and errors are those of `fbank`.
    """
    mel_TF, energy_T = mel_energies(waveform_W, settings, rng=rng)
    dct_FF = _lifted_dct(settings.num_mel_bins, settings.num_ceps, settings.cepstral_lifter, mel_TF.device)
    ceps_TF = mel_TF.clamp_min_(FLOOR).log_() @ dct_FF
    if energy_T is not None:
        ceps_TF[..., 0] = energy_T
    return ceps_TF


def mel_energies(
    waveform_W: torch.Tensor, settings: Fbank | Mfcc | Plp, *, rng: np.random.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the energies of Kaldi's mel filters `[..., T, num_mel_bins]`, and with use_energy the log energy `[..., T]`.

    The energies are of samples of +-32768 and not floored. Arguments and errors are those of `fbank`.
    """
    samples_W = _dithered(checked(waveform_W, settings) * INT16_SCALE, settings.dither, rng)
    width, preemphasis = settings.frame_samples, settings.preemphasis
    padded_W = padded(samples_W, settings)
    raw_TW = frames(padded_W, settings)
    emphasised_W = torch.cat([padded_W[..., :1], padded_W[..., 1:] - preemphasis * padded_W[..., :-1]], dim=-1)
    emphasised_TW = frames(emphasised_W, settings)
    mean_T1 = means(raw_TW, settings)
    window_W = window(settings.window, width, samples_W.device)
    first_T1 = (raw_TW[..., :1] - mean_T1) * ((1 - preemphasis) * window_W[0])
    bank_FF = _mel_bank(*_mel_arguments(settings), samples_W.device)
    num_frames = raw_TW.shape[-2]
    mel_TF = samples_W.new_empty((*raw_TW.shape[:-1], settings.num_mel_bins))
    frames_TW = samples_W.new_zeros((*raw_TW.shape[:-2], min(BLOCK, num_frames), settings.n_fft))
    for start in range(0, num_frames, BLOCK):
        length = min(BLOCK, num_frames - start)
        block_TW = frames_TW.narrow(-2, 0, length)
        inner_TW = block_TW[..., :width]
        mean_block_T1 = mean_T1.narrow(-2, start, length)
        torch.sub(emphasised_TW.narrow(-2, start, length), mean_block_T1, alpha=1 - preemphasis, out=inner_TW)
        inner_TW *= window_W
        inner_TW[..., :1] = first_T1.narrow(-2, start, length)
        mel_TF.narrow(-2, start, length).copy_(power(block_TW, settings.n_fft) @ bank_FF)
    return mel_TF, energies(raw_TW, mean_T1) if settings.use_energy else None


def filter_centres(settings: Fbank | Mfcc | Plp) -> torch.Tensor:
    """Returns the centre frequency of each of Kaldi's mel filters in Hz, float64."""
    edges = _mel_edges(settings.num_mel_bins, settings.low_freq, settings.upper_freq)
    return 700.0 * torch.expm1(edges[1:-1] / 1127.0)


def _dithered(samples_W: torch.Tensor, dither: float, rng: np.random.Generator | None) -> torch.Tensor:
    """Adds the dither to the samples; Kaldi draws it anew for each frame, which differs only where frames overlap."""
    if dither == 0:
        return samples_W
    if rng is None:
        raise ValueError(f"dither = {dither:g} needs a random generator (rng), found None")
    noise_W = torch.from_numpy(rng.standard_normal(samples_W.shape, dtype=np.float32))
    return samples_W + dither * noise_W.to(samples_W.device)


def _mel_arguments(settings: Fbank | Mfcc | Plp) -> tuple[int, int, int, float, float]:
    return settings.num_mel_bins, settings.sampling_rate, settings.n_fft, settings.low_freq, settings.upper_freq


def _mel(hertz: torch.Tensor) -> torch.Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _mel_edges(num_bins: int, low: float, high: float) -> torch.Tensor:
    low_mel, high_mel = _mel(torch.tensor([low, high], dtype=torch.float64)).tolist()
    return torch.linspace(low_mel, high_mel, num_bins + 2, dtype=torch.float64)


@lru_cache(maxsize=32)
def _mel_bank(num_bins: int, sampling_rate: int, n_fft: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """Returns the filters `[n_fft / 2 + 1, num_bins]`, triangular on the mel scale.

    As in Kaldi the bin at the Nyquist frequency has no weight.
    """
    mel_F = _mel(torch.arange(n_fft // 2, dtype=torch.float64) * sampling_rate / n_fft)
    edges = _mel_edges(num_bins, low, high)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising_FF = (mel_F[:, None] - left) / (centre - left)
    falling_FF = (right - mel_F[:, None]) / (right - centre)
    bank_FF = torch.minimum(rising_FF, falling_FF).clamp_min(0.0)
    check_filters(bank_FF, sampling_rate, n_fft)
    return torch.cat([bank_FF, bank_FF.new_zeros(1, num_bins)]).float().to(device)


@lru_cache(maxsize=32)
def _lifted_dct(num_bins: int, num_ceps: int, lifter: float, device: torch.device) -> torch.Tensor:
    """Returns the orthonormal DCT-II `[num_bins, num_ceps]` times the lifter 1 + Q/2 sin(pi k / Q)."""
    k = torch.arange(num_ceps, dtype=torch.float64)
    n = torch.arange(num_bins, dtype=torch.float64)[:, None]
    dct_FF = torch.cos(math.pi / num_bins * (n + 0.5) * k) * math.sqrt(2 / num_bins)
    dct_FF[:, 0] = math.sqrt(1 / num_bins)
    if lifter > 0:
        dct_FF = dct_FF * (1 + 0.5 * lifter * torch.sin(math.pi * k / lifter))
    return dct_FF.float().to(device)
