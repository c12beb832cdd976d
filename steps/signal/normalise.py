"""Mean and variance normalisation of features over the utterance, a sliding window, or each frame."""

import torch

VARIANCE_FLOOR = 1e-10  # Kaldi's: a bin that never changes becomes 0 rather than infinite


def normalise(feats_TF: torch.Tensor, how: str, window: int = 300, epsilon: float = 0.0) -> torch.Tensor:
    """Returns the features `[..., T, F]` normalised in the way that the settings name.

    A standard deviation s (with n) divides as sqrt(max(s^2, 1e-10)), or with `epsilon` as s + epsilon, which is what
    numpy programs such as VGG-Speaker-Recognition and ZHAW_deep_voice write. The two differ where s is not far over
    epsilon: magnitudes of quiet frames of samples in +-1.

    Args:
        feats_TF: features, at least one frame.
        how: "none", "utterance_mean", "utterance_mean_variance", "sliding_mean", "sliding_mean_variance" or
            "frame_mean_variance".
        window: frames, length of the sliding window; the other ways do not use it.
        epsilon: added to standard deviations; 0: the variance is floored.
    """
    if how == "none":
        return feats_TF
    if how == "frame_mean_variance":
        return normalise_frames(feats_TF, epsilon=epsilon)
    scope, _, statistics = how.partition("_")
    if statistics not in ("mean", "mean_variance") or scope not in ("utterance", "sliding"):
        raise ValueError(f"normalise: expected one of settings.NORMALISATIONS, found {how!r}")
    variance = statistics == "mean_variance"
    if scope == "sliding":
        return normalise_sliding(feats_TF, window, variance, epsilon=epsilon)
    return normalise_utterance(feats_TF, variance, epsilon=epsilon)


def normalise_utterance(feats_TF: torch.Tensor, variance: bool, *, epsilon: float = 0.0) -> torch.Tensor:
    """Returns each bin minus its mean over all frames, with `variance` over its standard deviation (with n)."""
    centred_TF = feats_TF - feats_TF.mean(dim=-2, keepdim=True)
    if not variance:
        return centred_TF
    return centred_TF * _inverse(centred_TF.square().mean(dim=-2, keepdim=True), epsilon)


def normalise_frames(feats_TF: torch.Tensor, *, epsilon: float = 0.0) -> torch.Tensor:
    """Returns each frame minus its own mean over bins and divided by its own standard deviation (with n)."""
    centred_TF = feats_TF - feats_TF.mean(dim=-1, keepdim=True)
    return centred_TF * _inverse(centred_TF.square().mean(dim=-1, keepdim=True), epsilon)


def normalise_sliding(feats_TF: torch.Tensor, window: int, variance: bool, *, epsilon: float = 0.0) -> torch.Tensor:
    """Returns the features normalised over the `window` frames around each frame.

    Frame t looks at frames t - window // 2 up to, not including, that plus window. At the edges the window is
    moved inside the utterance, not shortened; an utterance not longer than the window is normalised as a
    whole. A window of one frame gives 0.

    Source: Kaldi src/feat/feature-functions.cc, SlidingWindowCmnInternal with --center=true.
    """
    num_frames = feats_TF.shape[-2]
    if num_frames <= window:
        return normalise_utterance(feats_TF, variance, epsilon=epsilon)
    start_T = (torch.arange(num_frames, device=feats_TF.device) - window // 2).clamp(0, num_frames - window)
    # The utterance's mean is taken off before squaring, so that the difference of two running sums keeps its digits.
    centred_TF = (feats_TF - feats_TF.mean(dim=-2, keepdim=True)).double()
    mean_TF = _window_sums(centred_TF, start_T, window) / window
    normalised_TF = centred_TF - mean_TF
    if variance:
        variance_TF = _window_sums(centred_TF.square(), start_T, window) / window - mean_TF.square()
        normalised_TF = normalised_TF * _inverse(variance_TF, epsilon)
    return normalised_TF.to(feats_TF.dtype)


def _inverse(variance: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Returns what to multiply with in order to divide by a standard deviation."""
    if epsilon == 0:
        return variance.clamp_min(VARIANCE_FLOOR).rsqrt()
    return (variance.clamp_min(0.0).sqrt() + epsilon).reciprocal()


def _window_sums(values_TF: torch.Tensor, start_T: torch.Tensor, window: int) -> torch.Tensor:
    """Returns, for each start, the sum of the `window` frames from there on."""
    sums_TF = torch.nn.functional.pad(values_TF.cumsum(dim=-2), (0, 0, 1, 0))
    return sums_TF.index_select(-2, start_T + window) - sums_TF.index_select(-2, start_T)
