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

from steps.signal.settings import Fbank, Mfcc

INT16_SCALE = 32768.0
FLOOR = torch.finfo(torch.float32).eps  # Kaldi's floor under a logarithm
BLOCK = 200  # frames at a time: bounds the memory for an hour of speech, and keeps 4 s from being unmapped at each call


def fbank(waveform_W: torch.Tensor, settings: Fbank, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns log mel energies `feats_TF`; leading batch dimensions of the waveform are kept.

    Args:
        waveform_W: float samples in +-1, `[..., W]`.
        settings: what to compute; normalisation and VAD are left to normalise.py and vad.py.
        rng: source of the dither, needed if settings.dither > 0.

    Raises:
        ValueError: the waveform is shorter than one frame, not finite or not floating-point; dither without rng.
    """
    samples_W = _checked(waveform_W, settings) * INT16_SCALE
    samples_W = _dithered(samples_W, settings.dither, rng)
    log_mel_TF, energy_T = _log_mel(samples_W, settings, with_energy=settings.use_energy)
    return log_mel_TF if energy_T is None else torch.cat([energy_T.unsqueeze(-1), log_mel_TF], dim=-1)


def mfcc(waveform_W: torch.Tensor, settings: Mfcc, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns cepstral coefficients `feats_TF`, C0 (or the log energy) first.

    Arguments and errors are those of `fbank`.
    """
    samples_W = _checked(waveform_W, settings) * INT16_SCALE
    samples_W = _dithered(samples_W, settings.dither, rng)
    log_mel_TF, energy_T = _log_mel(samples_W, settings, with_energy=settings.use_energy)
    dct_FF = _lifted_dct(settings.num_mel_bins, settings.num_ceps, settings.cepstral_lifter, log_mel_TF.device)
    ceps_TF = log_mel_TF @ dct_FF
    if energy_T is not None:
        ceps_TF[..., 0] = energy_T
    return ceps_TF


def log_energy(waveform_W: torch.Tensor, settings: Fbank | Mfcc) -> torch.Tensor:
    """Returns the natural log of the energy of each frame, `[..., T]`.

    This is Kaldi's "raw energy", what its VAD looks at: of samples of +-32768, after removal of the mean,
    before pre-emphasis and window. No dither is added.
    """
    samples_W = _checked(waveform_W, settings) * INT16_SCALE
    padded_W = samples_W if settings.snip_edges else _mirrored(samples_W, settings)
    frames_TW = padded_W.unfold(-1, settings.frame_samples, settings.frame_shift_samples)
    mean_T1 = frames_TW.mean(-1, keepdim=True) if settings.remove_dc else torch.zeros_like(frames_TW[..., :1])
    return _log_energy(frames_TW, mean_T1)


def _checked(waveform_W: torch.Tensor, settings: Fbank | Mfcc) -> torch.Tensor:
    num_samples = waveform_W.shape[-1]
    if not waveform_W.is_floating_point():
        raise ValueError(f"waveform: expected floating-point samples in +-1, found {waveform_W.dtype}")
    if num_samples < settings.frame_samples:
        raise ValueError(
            f"waveform of {num_samples} samples is shorter than one frame of {settings.frame_samples} samples "
            f"({settings.frame_length:g} s at {settings.sampling_rate} Hz)"
        )
    # One sum instead of isfinite() on each sample: samples in +-1 cannot overflow it, and NaN or infinity stays in it.
    if not math.isfinite(waveform_W.sum().item()):
        count = int((~torch.isfinite(waveform_W)).sum())
        raise ValueError(f"waveform: expected finite samples, found {count} of {num_samples} NaN or infinite")
    return waveform_W.float()


def _dithered(samples_W: torch.Tensor, dither: float, rng: np.random.Generator | None) -> torch.Tensor:
    """Adds the dither to the samples; Kaldi draws it anew for each frame, which differs only where frames overlap."""
    if dither == 0:
        return samples_W
    if rng is None:
        raise ValueError(f"dither = {dither:g} needs a random generator (rng), found None")
    noise_W = torch.from_numpy(rng.standard_normal(samples_W.shape, dtype=np.float32))
    return samples_W + dither * noise_W.to(samples_W.device)


def _mirrored(samples_W: torch.Tensor, settings: Fbank | Mfcc) -> torch.Tensor:
    """Returns the samples with both ends mirrored, so that frame t is centred on sample (t + 1/2) * shift.

    The sample at the edge is repeated ("symmetric" in numpy's words; torch's "reflect" would leave it out).
    """
    window, shift = settings.frame_samples, settings.frame_shift_samples
    num_samples = samples_W.shape[-1]
    left = window // 2 - shift // 2  # negative if the shift is longer than the frame: then the start is skipped
    right = (settings.num_frames(num_samples) - 1) * shift + window - left - num_samples
    parts = [samples_W[..., max(0, -left) : num_samples + min(0, right)]]
    if left > 0:
        parts.insert(0, samples_W[..., :left].flip(-1))
    if right > 0:
        parts.append(samples_W[..., num_samples - right :].flip(-1))
    return torch.cat(parts, dim=-1)


def _log_energy(frames_TW: torch.Tensor, mean_T1: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(frames_TW - mean_T1, dim=-1).square().clamp_min(FLOOR).log()


def _log_mel(samples_W: torch.Tensor, settings: Fbank | Mfcc, *, with_energy: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns log mel energies `[..., T, num_mel_bins]`, and the log energy `[..., T]` if it is asked for."""
    width, shift, preemphasis = settings.frame_samples, settings.frame_shift_samples, settings.preemphasis
    padded_W = samples_W if settings.snip_edges else _mirrored(samples_W, settings)
    raw_TW = padded_W.unfold(-1, width, shift)
    emphasised_W = torch.cat([padded_W[..., :1], padded_W[..., 1:] - preemphasis * padded_W[..., :-1]], dim=-1)
    emphasised_TW = emphasised_W.unfold(-1, width, shift)
    mean_T1 = raw_TW.mean(-1, keepdim=True) if settings.remove_dc else torch.zeros_like(raw_TW[..., :1])
    window_W = _window(settings.window, width, samples_W.device)
    first_T1 = (raw_TW[..., :1] - mean_T1) * ((1 - preemphasis) * window_W[0])
    bank_FF = _mel_bank(*_mel_arguments(settings), samples_W.device)
    num_frames = raw_TW.shape[-2]
    mel_TF = samples_W.new_empty((*raw_TW.shape[:-1], settings.num_mel_bins))
    frames_TW = samples_W.new_zeros((*raw_TW.shape[:-2], min(BLOCK, num_frames), _fft_length(settings)))
    for start in range(0, num_frames, BLOCK):
        length = min(BLOCK, num_frames - start)
        block_TW = frames_TW.narrow(-2, 0, length)
        inner_TW = block_TW[..., :width]
        mean_block_T1 = mean_T1.narrow(-2, start, length)
        torch.sub(emphasised_TW.narrow(-2, start, length), mean_block_T1, alpha=1 - preemphasis, out=inner_TW)
        inner_TW *= window_W
        inner_TW[..., :1] = first_T1.narrow(-2, start, length)
        mel_TF.narrow(-2, start, length).copy_(_power(block_TW) @ bank_FF)
    energy_T = _log_energy(raw_TW, mean_T1) if with_energy else None
    return mel_TF.clamp_min_(FLOOR).log_(), energy_T


def _power(frames_TW: torch.Tensor) -> torch.Tensor:
    spectrum_TF = torch.fft.rfft(frames_TW)
    # A complex product takes half the time of real**2 + imag**2 on a CPU; strided, it would slow down what follows.
    return (spectrum_TF * spectrum_TF.conj()).real.contiguous()


def _mel_arguments(settings: Fbank | Mfcc) -> tuple[int, int, int, float, float]:
    rate, fft_length = settings.sampling_rate, _fft_length(settings)
    return settings.num_mel_bins, rate, fft_length, settings.low_freq, settings.upper_freq


def _fft_length(settings: Fbank | Mfcc) -> int:
    return 1 << (settings.frame_samples - 1).bit_length()


@lru_cache(maxsize=32)
def _window(name: str, width: int, device: torch.device) -> torch.Tensor:
    cosine_W = torch.cos(2 * math.pi * torch.arange(width, dtype=torch.float64) / (width - 1))
    windows = {
        "povey": (0.5 - 0.5 * cosine_W) ** 0.85,
        "hamming": 0.54 - 0.46 * cosine_W,
        "hann": 0.5 - 0.5 * cosine_W,
        "rectangular": torch.ones(width, dtype=torch.float64),
    }
    return windows[name].float().to(device)


def _mel(hertz: torch.Tensor) -> torch.Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


@lru_cache(maxsize=32)
def _mel_bank(num_bins: int, sampling_rate: int, fft_length: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """Returns the filters `[fft_length / 2 + 1, num_bins]`, triangular on the mel scale.

    As in Kaldi the bin at the Nyquist frequency has no weight.
    """
    mel_F = _mel(torch.arange(fft_length // 2, dtype=torch.float64) * sampling_rate / fft_length)
    low_mel, high_mel = _mel(torch.tensor([low, high], dtype=torch.float64)).tolist()
    edges = torch.linspace(low_mel, high_mel, num_bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising_FF = (mel_F[:, None] - left) / (centre - left)
    falling_FF = (right - mel_F[:, None]) / (right - centre)
    bank_FF = torch.minimum(rising_FF, falling_FF).clamp_min(0.0)
    empty = int((bank_FF.amax(dim=0) == 0).sum())
    if empty:
        raise ValueError(
            f"num_mel_bins = {num_bins}: expected each filter to cover a bin of the FFT of {fft_length} points at "
            f"{sampling_rate} Hz, found {empty} empty; use fewer filters or longer frames"
        )
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
