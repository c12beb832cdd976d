"""Perceptual linear prediction cepstra, equal to Kaldi's.

Mel energies are weighted with the ear's sensitivity and compressed into loudness; this spectrum is fitted by an all-pole
model, and the cepstrum of the model is the feature.

Source: Hermansky, JASA 1990; Kaldi src/feat/{feature-plp,mel-computations,feature-functions}.cc.
"""

import math
from functools import lru_cache

import numpy as np
import torch

from steps.signal.features import filter_centres, mel_energies
from steps.signal.framing import FLOOR
from steps.signal.settings import Plp

LEAST_RESIDUAL = 1e-5  # Kaldi's floor under the factor 1 - k^2 by which one step of the recursion shrinks the residual


def plp(waveform_W: torch.Tensor, settings: Plp, *, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Returns cepstral coefficients `feats_TF`, C0 (or the log energy) first, or last with htk_compat.

    C0 is the log of the residual energy of the prediction, at least 0 (Kaldi floors it at the smallest positive float).
    From the autocorrelation on it is computed in float64. Mel energies are floored at float32's epsilon, so that digital
    silence is finite; Kaldi does without, and needs its dither.

    Args:
        waveform_W: float samples in +-1, `[..., W]`.
        settings: what to compute; normalisation and VAD are left to normalise.py and vad.py.
        rng: source of the dither, needed if settings.dither > 0.

    Raises:
        ValueError: the waveform is shorter than one frame, not finite or not floating-point; dither without rng.
    """
    mel_TF, energy_T = mel_energies(waveform_W, settings, rng=rng)
    loudness_TF = (mel_TF.clamp_min_(FLOOR).double() * equal_loudness(settings).to(mel_TF.device)).pow(settings.compress_factor)
    loudness_TF = torch.cat([loudness_TF[..., :1], loudness_TF, loudness_TF[..., -1:]], dim=-1)
    lags_FF = _cosines(loudness_TF.shape[-1], settings.lpc_order + 1, mel_TF.device)
    lpc_TF, residual_T = levinson(loudness_TF @ lags_FF)
    c0_T = residual_T.log().clamp_min(torch.finfo(torch.float32).tiny)
    ceps_TF = torch.cat([c0_T.unsqueeze(-1), lpc_cepstrum(lpc_TF)], dim=-1)[..., : settings.num_ceps]
    ceps_TF = (ceps_TF * _lifter(settings, mel_TF.device)).float()
    if energy_T is not None:
        ceps_TF[..., 0] = energy_T
    return ceps_TF.roll(-1, dims=-1) if settings.htk_compat else ceps_TF


def equal_loudness(settings: Plp) -> torch.Tensor:
    """Returns the weight of each mel filter, float64: Hermansky's curve at its centre frequency."""
    square_F = filter_centres(settings).square()
    return (square_F / (square_F + 1.6e5)).square() * (square_F + 1.44e6) / (square_F + 9.61e6)


def levinson(autocorrelation_TF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the coefficients a_1..a_n of A(z) = 1 + sum a_i z^-i `[..., n]` and the residual energy `[...]`.

    A(z) is the filter of order n that whitens a signal of this autocorrelation (lags 0..n, lag 0 positive).
    """
    order = autocorrelation_TF.shape[-1] - 1
    lpc_TF = torch.zeros_like(autocorrelation_TF[..., 1:])
    residual_T = autocorrelation_TF[..., 0]
    for i in range(order):
        past_TF = lpc_TF[..., :i]
        correlation_T = autocorrelation_TF[..., i + 1] + (past_TF * autocorrelation_TF[..., 1 : i + 1].flip(-1)).sum(-1)
        reflection_T = correlation_T / residual_T
        residual_T = residual_T * (1 - reflection_T.square()).clamp_min(LEAST_RESIDUAL)
        lpc_TF[..., :i] = past_TF - reflection_T.unsqueeze(-1) * past_TF.flip(-1)
        lpc_TF[..., i] = -reflection_T
    return lpc_TF, residual_T


def lpc_cepstrum(lpc_TF: torch.Tensor) -> torch.Tensor:
    """Returns the cepstral coefficients c_1..c_n of 1 / A(z), where A(z) = 1 + sum a_i z^-i: `[..., n]`."""
    order = lpc_TF.shape[-1]
    ceps_TF = torch.zeros_like(lpc_TF)
    weighted_TF = torch.zeros_like(lpc_TF)  # k c_k, k from 1
    for n in range(1, order + 1):  # n c_n = -n a_n - sum_k k c_k a_(n-k)
        weighted_TF[..., n - 1] = -n * lpc_TF[..., n - 1] - (weighted_TF[..., : n - 1] * lpc_TF[..., : n - 1].flip(-1)).sum(-1)
        ceps_TF[..., n - 1] = weighted_TF[..., n - 1] / n
    return ceps_TF


@lru_cache(maxsize=32)
def _cosines(num_lines: int, num_lags: int, device: torch.device) -> torch.Tensor:
    """Returns the inverse DFT of an even spectrum that is known at `num_lines` points from 0 to Nyquist, `[lines, lags]`."""
    line = torch.arange(num_lines, dtype=torch.float64)[:, None]
    cosines_FF = torch.cos(math.pi / (num_lines - 1) * line * torch.arange(num_lags, dtype=torch.float64)) / (num_lines - 1)
    cosines_FF[[0, -1]] /= 2
    return cosines_FF.to(device)


def _lifter(settings: Plp, device: torch.device) -> torch.Tensor:
    k = torch.arange(settings.num_ceps, dtype=torch.float64, device=device)
    q = settings.cepstral_lifter
    return settings.cepstral_scale * (1 + 0.5 * q * torch.sin(math.pi * k / q) if q > 0 else torch.ones_like(k))
