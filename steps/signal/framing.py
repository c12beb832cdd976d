"""What all features of frames begin with: samples that are checked, edges that are filled, windows, and log energy."""

import math
from functools import lru_cache
from typing import Any

import torch

INT16_SCALE = 32768.0
FLOOR = torch.finfo(torch.float32).eps  # Kaldi's floor under a logarithm
BLOCK = 200  # frames at a time: bounds the memory for an hour of speech, and keeps 4 s from being unmapped at each call


def checked(waveform_W: torch.Tensor, settings: Any) -> torch.Tensor:
    """Returns the waveform as float32.

    Raises:
        ValueError: it is shorter than one frame, not finite or not floating-point.
    """
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


def padded(samples_W: torch.Tensor, settings: Any) -> torch.Tensor:
    """Returns the samples that frames cover, `settings.num_frames` frames of `frame_samples`, `frame_shift_samples` apart.

    What lies before the first and after the last sample is mirrored, with the sample at the edge repeated ("symmetric"
    in numpy's words; Kaldi) or not ("reflect"; librosa and torch), as settings.repeats_edge says. Samples that no frame
    covers are left out.
    """
    num_samples, edge = samples_W.shape[-1], int(not settings.repeats_edge)
    before = -settings.first_sample  # negative if the shift is longer than the frame: then the start is skipped
    length = (settings.num_frames(num_samples) - 1) * settings.frame_shift_samples + settings.frame_samples
    after = length - before - num_samples
    parts = [samples_W[..., max(0, -before) : num_samples + min(0, after)]]
    if before > 0:
        parts.insert(0, samples_W[..., edge : before + edge].flip(-1))
    if after > 0:
        parts.append(samples_W[..., num_samples - edge - after : num_samples - edge].flip(-1))
    return torch.cat(parts, dim=-1)


def frames(padded_W: torch.Tensor, settings: Any) -> torch.Tensor:
    """Returns a view of the frames of padded samples, `[..., T, W]`."""
    return padded_W.unfold(-1, settings.frame_samples, settings.frame_shift_samples)


def log_energy(waveform_W: torch.Tensor, settings: Any) -> torch.Tensor:
    """Returns the natural log of the energy of each frame, `[..., T]`.

    This is Kaldi's "raw energy", what its VAD looks at: of samples of +-32768, after removal of the mean (unless
    settings.remove_dc is false), before pre-emphasis and window. No dither is added.

    Raises:
        ValueError: as `checked`.
    """
    frames_TW = frames(padded(checked(waveform_W, settings) * INT16_SCALE, settings), settings)
    return energies(frames_TW, means(frames_TW, settings))


def means(frames_TW: torch.Tensor, settings: Any) -> torch.Tensor:
    """Returns what is to be subtracted from each frame, `[..., T, 1]`: its mean, or 0 if remove_dc is false."""
    return frames_TW.mean(-1, keepdim=True) if settings.remove_dc else torch.zeros_like(frames_TW[..., :1])


def energies(frames_TW: torch.Tensor, mean_T1: torch.Tensor) -> torch.Tensor:
    """Returns the natural log of the energy of frames less their mean, `[..., T]`."""
    return torch.linalg.vector_norm(frames_TW - mean_T1, dim=-1).square().clamp_min(FLOOR).log()


def power(frames_TW: torch.Tensor, n_fft: int) -> torch.Tensor:
    """Returns the power spectrum of each row, padded with zeros to n_fft points: `[..., T, n_fft / 2 + 1]`."""
    spectrum_TF = torch.fft.rfft(frames_TW, n_fft)
    # A complex product takes half the time of real**2 + imag**2 on a CPU; strided, it would slow down what follows.
    return (spectrum_TF * spectrum_TF.conj()).real.contiguous()


@lru_cache(maxsize=32)
def window(name: str, width: int, device: torch.device, *, periodic: bool = False) -> torch.Tensor:
    """Returns one of settings.WINDOWS, `[width]`.

    Symmetric, with a period of width - 1 samples (Kaldi, Matlab), or periodic, with one of `width` (librosa).
    """
    cosine_W = torch.cos(2 * math.pi * torch.arange(width, dtype=torch.float64) / (width if periodic else width - 1))
    windows = {
        "povey": (0.5 - 0.5 * cosine_W) ** 0.85,
        "hamming": 0.54 - 0.46 * cosine_W,
        "hann": 0.5 - 0.5 * cosine_W,
        "rectangular": torch.ones(width, dtype=torch.float64),
    }
    return windows[name].float().to(device)


def check_filters(bank_FF: torch.Tensor, sampling_rate: int, n_fft: int) -> None:
    """Raises ValueError if a mel filter, a column, covers no bin of the FFT."""
    empty = int((bank_FF.amax(dim=0) == 0).sum())
    if empty:
        raise ValueError(
            f"num_mel_bins = {bank_FF.shape[1]}: expected each filter to cover a bin of the FFT of {n_fft} points at "
            f"{sampling_rate} Hz, found {empty} empty; use fewer filters or longer frames"
        )
