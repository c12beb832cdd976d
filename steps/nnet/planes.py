"""Layers over the time-frequency plane, and how many bins and frames they need and leave.

A padded batch goes along as `lengths_B`, the real frames of each clip at this depth (None where no clip is padded).
Frames behind a clip's end are zero at the input of every layer that looks at neighbours: there a lone clip has the zero
padding of the convolution, or nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from steps.nnet.layers import frame_mask, zero_padding


class Window(NamedTuple):
    """What a convolution or pooling slides along one axis."""

    kernel: int
    stride: int = 1
    padding: int = 0

    def outputs(self, size):
        """Returns the output size, int or tensor, of so many inputs; below 1 if these are too few."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def inputs(self, size: int) -> int:
        """Returns the smallest input that gives `size` outputs."""
        return max(1, (size - 1) * self.stride + self.kernel - 2 * self.padding)


def fewest_inputs(windows: Iterable[Window]) -> int:
    """Returns the smallest input of a chain of layers that leaves one output."""
    size = 1
    for window in reversed(list(windows)):
        size = window.inputs(size)
    return size


def rows_left(name: str, windows: Iterable[Window], num_bins: int) -> int:
    """Returns how many of `num_bins` feature bins a chain of layers leaves.

    Raises:
        ValueError: none.
    """
    windows = list(windows)
    needed = fewest_inputs(windows)
    if num_bins < needed:
        raise ValueError(f"model.type {name!r}: expected at least {needed} feature bins, found {num_bins}")
    for window in windows:
        num_bins = window.outputs(num_bins)
    return num_bins


def mask_at(x: Tensor, lengths_B: Tensor | None) -> Tensor | None:
    """Returns mask_BT for x, time in its last dimension; None where no clip is padded."""
    return None if lengths_B is None else frame_mask(lengths_B, x.shape[-1])


def plane_of(feats_BTF: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Returns the features as x_BCFT with one channel and zero padding frames."""
    x_BCFT = feats_BTF.transpose(1, 2).unsqueeze(1)
    return zero_padding(x_BCFT, mask_at(x_BCFT, lengths_B))


def use_channels_last(module: nn.Module) -> None:
    """Puts a module's 2-D convolutions into the layout that CPUs compute fastest with bfloat16, if their widths allow it.

    For some widths torch's kernels are not sound in this layout: all must be multiples of 16, where they are.
    """
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    if all(layer.out_channels % 16 == 0 for layer in convolutions):
        module.to(memory_format=torch.channels_last)


class PlaneLayer(nn.Module):
    """A layer that slides over bins and frames: `bins` and `frames` are its windows.

    Shape: x_BCFT, lengths_B -> those of the output, whose padding frames are zero.
    """

    def __init__(self, kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int) -> None:
        super().__init__()
        (kernel_F, kernel_T), (stride_F, stride_T) = both(kernel), both(stride)
        self.bins = Window(kernel_F, stride_F, padding)
        self.frames = Window(kernel_T, stride_T, padding)

    def slide(self, x_BCFT: Tensor) -> Tensor:
        """Returns the layer's output, padded clips disregarded."""
        raise NotImplementedError

    def forward(self, x_BCFT: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x_BCFT = self.slide(x_BCFT)
        if lengths_B is not None:
            lengths_B = self.frames.outputs(lengths_B)
        return zero_padding(x_BCFT, mask_at(x_BCFT, lengths_B)), lengths_B


def both(size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns the sizes along bins and frames, given both or one for both."""
    return (size, size) if isinstance(size, int) else size


class PlaneConv(PlaneLayer):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int, stride: int = 1, padding: int = 0, bias: bool = False
    ) -> None:
        super().__init__(kernel, stride, padding)
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, bias=bias)
        self.norm = nn.BatchNorm2d(channels)

    def slide(self, x_BCFT: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x_BCFT)))


class PlaneMaxPool(PlaneLayer):
    """Maximum over a window, of inputs that are not below 0 (so that zeros in padding frames never win)."""

    def __init__(self, *, kernel: int | tuple[int, int], stride: int | tuple[int, int], padding: int = 0) -> None:
        super().__init__(kernel, stride, padding)
        self.pool = nn.MaxPool2d(kernel, stride=stride, padding=padding)

    def slide(self, x_BCFT: Tensor) -> Tensor:
        return self.pool(x_BCFT)


class ColumnConv(nn.Conv1d):
    """A convolution of one frame over all bins that are left: `rows` x 1 in the papers' tables.

    Shape: x_BCFT -> [B, channels, T].
    """

    def __init__(self, in_channels: int, rows: int, channels: int, bias: bool = True) -> None:
        super().__init__(in_channels * rows, channels, 1, bias=bias)

    def forward(self, x_BCFT: Tensor) -> Tensor:
        return super().forward(x_BCFT.flatten(1, 2))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm and a shortcut; the stride sits on the first 1x1.

    Shape: x_BCFT -> [B, channels, ceil(F / stride), ceil(T / stride)]; mask_BT is that of the output.

    Source: He et al., CVPR 2016 (later programs put the stride on the 3x3 convolution).
    """

    def __init__(self, in_channels: int, inner: int, channels: int, *, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 1, stride=stride, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), mask_BT)
        inner = torch.relu(self.norm2(self.conv2(inner)))
        return zero_padding(torch.relu(self.norm3(self.conv3(inner)) + self.shortcut(x_BCFT)), mask_BT)


# Of the four groups of blocks: each group but the first halves bins and frames, rounding up.
GROUP_WINDOWS = (Window(1), Window(1, 2), Window(1, 2), Window(1, 2))


def through_groups(groups: nn.ModuleList, x_BCFT: Tensor, lengths_B: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Returns the output of four groups of blocks and its lengths."""
    for blocks, window in zip(groups, GROUP_WINDOWS, strict=True):
        if lengths_B is not None:
            lengths_B = window.outputs(lengths_B)
        mask_BT = None if lengths_B is None else frame_mask(lengths_B, window.outputs(x_BCFT.shape[-1]))
        for block in blocks:
            x_BCFT = block(x_BCFT, mask_BT)
    return x_BCFT, lengths_B
