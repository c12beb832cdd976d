"""From any number of frames to one vector."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import at_least_float32, zero_padding

# Under the root, so that the gradient of a silent channel is finite. Source: VBx-training-recipe, resnet2.py.
VARIANCE_FLOOR = 1e-10


def mean_over_time(x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Returns the mean over the real frames of x, [B, ..., T] -> [B, ...]; at least float32."""
    x = at_least_float32(x)
    if mask_BT is None:
        return x.mean(dim=-1)
    count_B = mask_BT.sum(dim=-1)
    return zero_padding(x, mask_BT).sum(dim=-1) / count_B.view(-1, *(1,) * (x.ndim - 2))


def statistics(x: Tensor, mask_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation over the real frames of x, [B, ..., T] -> [B, ...] each; at least float32.

    The variance is that of the population, sqrt(E[x^2] - E[x]^2 + 1e-10), summed as E[(x - E[x])^2]: the difference of
    two nearly equal float32 means can fall below zero.

    Source: Snyder et al., Interspeech 2017; the floor as in VBx-training-recipe, resnet2.py.
    """
    mean = mean_over_time(x, mask_BT)
    deviation2 = (x - mean[..., None]).square()
    return mean, (mean_over_time(deviation2, mask_BT) + VARIANCE_FLOOR).sqrt()


def max_over_time(x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Returns the maximum over the real frames of x, [B, ..., T] -> [B, ...]; at least float32."""
    if mask_BT is not None:
        x = x.masked_fill(~mask_BT.view(mask_BT.shape[0], *(1,) * (x.ndim - 2), -1), float("-inf"))
    return at_least_float32(x).amax(dim=-1)


class MeanPooling(nn.Module):
    """Temporal average pooling, [B, ..., T] -> [B, product of ...]."""

    factor = 1
    # frames that the pooling needs
    min_frames = 1

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return mean_over_time(x, mask_BT).flatten(1)


class StatisticsPooling(nn.Module):
    """All means, then all standard deviations over time, [B, ..., T] -> [B, 2 * product of ...]."""

    factor = 2
    # one frame has no deviation: its embedding would be that of a constant signal
    min_frames = 2

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        mean, deviation = statistics(x, mask_BT)
        return torch.cat([mean.flatten(1), deviation.flatten(1)], dim=1)


class MaxPooling(nn.Module):
    """The maximum over time, [B, ..., T] -> [B, product of ...]."""

    factor = 1
    min_frames = 1

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return max_over_time(x, mask_BT).flatten(1)


class GlobalMeanPooling(nn.Module):
    """The mean over all bins and frames of a channel, [B, C, F, T] -> [B, C]."""

    factor = 1
    min_frames = 1

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return mean_over_time(x, mask_BT).mean(dim=2)


class GlobalMaxPooling(nn.Module):
    """The maximum over all bins and frames of a channel, [B, C, F, T] -> [B, C]."""

    factor = 1
    min_frames = 1

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return max_over_time(x, mask_BT).amax(dim=2)


POOLINGS = {"mean": MeanPooling, "statistics": StatisticsPooling}
