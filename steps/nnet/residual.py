"""Residual blocks over the time-frequency plane, besides the basic block of `steps.nnet.layers`."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import BasicBlock, at_least_float32, zero_padding

# Channels out of a bottleneck per channel inside it. Source: He et al., CVPR 2016.
EXPANSION = 4
# Added to the variance of a plane. Source: Yang et al., ICML 2021.
SIMAM_LAMBDA = 1e-4


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm and a shortcut; the stride sits on the 3x3.

    The shortcut is projected (1x1 and batch norm) where the shape changes.

    Shape: x_BCFT -> [B, 4 * channels, ceil(F / stride), ceil(T / stride)]; mask_BT is that of the output,
    in_mask_BT that of the input.

    Source: He et al., CVPR 2016, with the stride where wenet-e2e/wespeaker, resnet.py, has it (`steps.nnet.planes` has
    the block of the paper, the stride on the first 1x1).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, EXPANSION * channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(EXPANSION * channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != EXPANSION * channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, EXPANSION * channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(EXPANSION * channels),
            )

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None, in_mask_BT: Tensor | None = None) -> Tensor:
        inner = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), in_mask_BT)
        inner = torch.relu(self.norm2(self.conv2(inner)))
        outer = self.norm3(self.conv3(inner)) + self.shortcut(x_BCFT)
        return zero_padding(torch.relu(outer), mask_BT)


class SimAMBlock(BasicBlock):
    """A basic block whose second batch norm's output is gated by `simam` before the shortcut is added.

    Source: Qin et al., arXiv 2110.06534; wenet-e2e/wespeaker, samresnet.py.
    """

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), mask_BT)
        outer = simam(self.norm2(self.conv2(inner)), mask_BT) + self.shortcut(x_BCFT)
        return zero_padding(torch.relu(outer), mask_BT)


def simam(x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Returns x gated by how far each value lies from the mean of its plane; no parameters.

    x sigmoid(d / (4 (v + lambda)) + 1/2), d the squared distance from the mean over bins and real frames, v the sum of d over
    the plane's N values divided by N - 1. Mean and variance are computed in float32.

    Source: Yang et al., ICML 2021, equation 5 and its code listing.
    """
    x = at_least_float32(x_BCFT)
    bins, frames = x.shape[-2:]
    if mask_BT is None:
        count = bins * frames
        distance = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        variance = distance.sum(dim=(2, 3), keepdim=True) / max(count - 1, 1)
    else:
        count_B111 = bins * mask_BT.sum(dim=1).view(-1, 1, 1, 1)
        mean = zero_padding(x, mask_BT).sum(dim=(2, 3), keepdim=True) / count_B111
        distance = zero_padding((x - mean).square(), mask_BT)
        variance = distance.sum(dim=(2, 3), keepdim=True) / (count_B111 - 1).clamp(min=1)
    return x_BCFT * torch.sigmoid(distance / (4 * (variance + SIMAM_LAMBDA)) + 0.5).to(x_BCFT.dtype)
