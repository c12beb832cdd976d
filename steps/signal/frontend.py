"""From a waveform to what the network is fed with."""

import numpy as np
import torch

from steps.signal.deltas import add_deltas
from steps.signal.features import fbank, mfcc
from steps.signal.framing import log_energy
from steps.signal.normalise import normalise
from steps.signal.plp import plp
from steps.signal.resample import decimate, resample
from steps.signal.settings import Fbank, LogMel, Mfcc, Plp, Spectrogram, Waveform
from steps.signal.spectral import log_mel, spectrogram
from steps.signal.vad import energy_vad

COMPUTE = {Fbank: fbank, Mfcc: mfcc, Plp: plp, Spectrogram: spectrogram, LogMel: log_mel}

Framed = Fbank | Mfcc | Plp | Spectrogram | LogMel


def extract(
    waveform_W: np.ndarray,
    sampling_rate: int,
    settings: Framed | Waveform,
    *,
    rng: np.random.Generator | None = None,
    vad_from: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the network's input, float32 `[T, settings.num_bins]`.

    Resampling (if allowed), features, their derivatives, normalisation, then removal of frames without speech, in Kaldi's
    order: derivatives and the statistics of the normalisation include the frames that the VAD drops. For Waveform: resampling and
    decimation, `[W, 1]` in +-1.

    Args:
        waveform_W: mono samples in +-1.
        sampling_rate: Hz, of the waveform.
        settings: what to compute.
        rng: source of the dither, needed if settings.dither > 0 or front_end = "vggvox".
        vad_from: a clean signal of the same length whose VAD decisions are used, as Kaldi does for augmented copies.

    Raises:
        ValueError: wrong sampling rate, shape or type, shorter than one frame, not finite, no frame is speech, or no rng.
    """
    if waveform_W.ndim != 1:
        raise ValueError(f"waveform_W: expected one dimension (mono), found shape {waveform_W.shape}")
    if not np.issubdtype(waveform_W.dtype, np.floating):
        raise ValueError(f"waveform_W: expected floating-point samples in +-1, found {waveform_W.dtype}")
    samples_W = _at_rate(waveform_W, sampling_rate, settings)
    if isinstance(settings, Waveform):
        _check_samples(samples_W)
        return decimate(samples_W, settings.decimate, settings.decimate_filter)[:, None]
    samples_W = torch.from_numpy(np.ascontiguousarray(samples_W, dtype=np.float32))
    with torch.inference_mode():
        feats_TF = COMPUTE[type(settings)](samples_W, settings, rng=rng)
        feats_TF = add_deltas(feats_TF, getattr(settings, "delta_order", 0), getattr(settings, "delta_window", 0))
        feats_TF = normalise(feats_TF, settings.normalise, settings.normalise_window, settings.normalise_epsilon)
        if settings.vad == "energy":
            judged_W = samples_W if vad_from is None else torch.from_numpy(_at_rate(vad_from, sampling_rate, settings))
            feats_TF = feats_TF[_is_speech(judged_W, settings)]
            if len(feats_TF) == 0:
                raise ValueError(f"energy VAD: expected speech, found none in {len(samples_W) / settings.sampling_rate:.2f} s")
        return feats_TF.numpy()


def _at_rate(waveform_W: np.ndarray, sampling_rate: int, settings: Framed | Waveform) -> np.ndarray:
    if sampling_rate == settings.sampling_rate:
        return waveform_W
    if not settings.resample:
        raise ValueError(
            f"sampling rate: expected {settings.sampling_rate} Hz, found {sampling_rate} Hz; "
            f"convert the audio, or add --set features.resample=true"
        )
    return resample(waveform_W, sampling_rate, settings.sampling_rate)


def _check_samples(samples_W: np.ndarray) -> None:
    if len(samples_W) == 0:
        raise ValueError("waveform: expected at least one sample, found none")
    if not np.isfinite(samples_W.sum()):
        raise ValueError("waveform: expected finite samples, found NaN or infinity")


def _is_speech(samples_W: torch.Tensor, settings: Framed) -> torch.Tensor:
    return energy_vad(
        log_energy(samples_W, settings),
        threshold=settings.vad_threshold,
        mean_scale=settings.vad_mean_scale,
        context=settings.vad_context,
        proportion=settings.vad_proportion,
    )
