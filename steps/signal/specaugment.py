"""Masks over time and frequency."""

import numpy as np

from steps.signal.settings import SpecAugment


def spec_augment(feats_TF: np.ndarray, rng: np.random.Generator, settings: SpecAugment) -> np.ndarray:
    """Returns a copy of the features with some frames and bins set to 0; with probability 1 - p, the features.

    0 is the mean only after mean normalisation: apply this to normalised features. Each mask is 0 to
    max_time_frames frames (max_freq_bins bins) long, every length and every place equally likely, but never
    longer than half of the example, so that short examples keep something. Masks may overlap.

    Source: Park et al., "SpecAugment", Interspeech 2019, section 2 (no time warping; the bound of one half is ours).
    """
    if settings.p == 0 or rng.random() >= settings.p:
        return feats_TF
    masked_TF = feats_TF.copy()
    num_frames, num_bins = feats_TF.shape
    for _ in range(settings.num_time_masks):
        start, end = _span(num_frames, settings.max_time_frames, rng)
        masked_TF[start:end] = 0
    for _ in range(settings.num_freq_masks):
        start, end = _span(num_bins, settings.max_freq_bins, rng)
        masked_TF[:, start:end] = 0
    return masked_TF


def _span(size: int, longest: int, rng: np.random.Generator) -> tuple[int, int]:
    length = int(rng.integers(min(longest, size // 2) + 1))
    start = int(rng.integers(size - length + 1))
    return start, start + length
