"""Derivatives of features over time, as Kaldi's add-deltas appends them."""

import torch


def delta_filters(order: int, window: int) -> list[torch.Tensor]:
    """Returns the filters of derivatives 1 to `order`, float64 `[2 i window + 1]` for derivative i.

    The first is j / sum(j^2) for j from -window to window (the slope of a least-squares line), each further one the first
    convolved with the one before it.
    """
    offsets = torch.arange(-window, window + 1, dtype=torch.float64)
    slope = offsets / offsets.square().sum()
    filters = [slope]
    for _ in range(order - 1):
        # conv1d is a correlation: of an antisymmetric filter with the other one, flipped twice, the signs come out as needed.
        wider = torch.nn.functional.conv1d(filters[-1].view(1, 1, -1), slope.flip(0).view(1, 1, -1), padding=2 * window)
        filters.append(wider.flatten())
    return filters


def add_deltas(feats_TF: torch.Tensor, order: int, window: int) -> torch.Tensor:
    """Returns the features followed by their derivatives, `[..., T, (order + 1) F]`; leading batch dimensions are kept.

    Beyond its ends an utterance goes on as its first and its last frame, for every derivative (filtering the first
    derivative once more, as HTK does and torchaudio does if called twice, gives others at the ends).

    Args:
        feats_TF: features, at least one frame.
        order: derivatives; 0 returns the features themselves.
        window: frames on each side that the first derivative looks at; derivative i looks at i times as many.

    Source: Kaldi src/feat/feature-functions.cc, DeltaFeatures.
    """
    if order == 0:
        return feats_TF
    num_frames = feats_TF.shape[-2]
    parts = [feats_TF]
    for taps in delta_filters(order, window):
        reach = len(taps) // 2
        frame_T = torch.arange(-reach, num_frames + reach, device=feats_TF.device).clamp(0, num_frames - 1)
        extended_TF = feats_TF.index_select(-2, frame_T)
        derivative_TF = torch.zeros_like(feats_TF)
        for place, weight in enumerate(taps.tolist()):
            if weight:
                derivative_TF.add_(extended_TF.narrow(-2, place, num_frames), alpha=weight)
        parts.append(derivative_TF)
    return torch.cat(parts, dim=-1)
