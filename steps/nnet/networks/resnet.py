"""Residual networks over the time-frequency plane."""

import torch
from torch import Tensor, nn

from steps.nnet.choose_pooling import build_pooling
from steps.nnet.layers import (
    BasicBlock,
    EmbeddingLayer,
    mask_of,
    zero_padding,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.residual import EXPANSION, BottleneckBlock, SimAMBlock
from steps.nnet.settings import ResNet

# Of the four groups of blocks; each group but the first halves frames and bins and doubles the channels.
STRIDES = (1, 2, 2, 2)


class ResidualNet(EmbeddingNetwork):
    """A 3x3 convolution, four groups of residual blocks, pooling over time per channel and bin, one affine map.

    80 bins x 200 frames become 10 x 25 positions of 8 * channels, of 32 * channels with bottlenecks. There is no
    max-pooling. Initial weights are torch's.

    Source: Zeinali et al., arXiv 1910.12592; VBx-training-recipe, local/models/resnet2.py; wenet-e2e/wespeaker, resnet.py.
    """

    def __init__(self, settings: ResNet, num_bins: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, settings.channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(settings.channels)
        self.groups = nn.ModuleList()
        channels, bins = settings.channels, num_bins
        for group, (num_blocks, stride) in enumerate(zip(settings.blocks, STRIDES, strict=True)):
            blocks, channels = group_of_blocks(settings, channels, settings.channels * 2**group, num_blocks, stride)
            self.groups.append(blocks)
            bins = halved(bins, stride)
        self.pooling, pooled_dim = build_pooling(settings, channels, bins)
        self.embedding = EmbeddingLayer(pooled_dim, settings.embedding_dim)
        self.center = nn.BatchNorm1d(settings.embedding_dim, affine=False) if settings.embedding_norm else nn.Identity()
        self.segment = nn.Identity()
        if settings.head_input == "bn_relu":
            self.segment = nn.Sequential(nn.BatchNorm1d(settings.embedding_dim), nn.ReLU())
        # fewest frames of which the last group has as many as the pooling needs
        self.min_frames = (self.pooling.min_frames - 1) * 8 + 1
        self.embedding_dim = self.classifier_dim = settings.embedding_dim
        # Channels last in memory: 5 to 25% faster on CPUs with bfloat16. Convolutions hand the layout on. For some widths
        # torch's kernels are not sound in it, so only multiples of 16, where they are, get it.
        if settings.channels % 16 == 0:
            self.to(memory_format=torch.channels_last)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        mask_BT = mask_of(lengths_B, feats_BTF.shape[1])
        x_BCFT = zero_padding(feats_BTF.transpose(1, 2).unsqueeze(1), mask_BT)
        x_BCFT = zero_padding(torch.relu(self.norm(self.conv(x_BCFT))), mask_BT)
        for blocks, stride in zip(self.groups, STRIDES, strict=True):
            in_mask_BT, lengths_B = mask_BT, None if lengths_B is None else halved(lengths_B, stride)
            mask_BT = mask_of(lengths_B, halved(x_BCFT.shape[-1], stride))
            for block in blocks:
                masks = (mask_BT, in_mask_BT) if isinstance(block, BottleneckBlock) else (mask_BT,)
                x_BCFT, in_mask_BT = block(x_BCFT, *masks), mask_BT
        return self.center(self.embedding(self.pooling(x_BCFT, mask_BT)))

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns what the training head sees: the embedding, or BN and ReLU of it."""
        return self.segment(embedding_BD)

    def frame_part(self) -> list[nn.Module]:
        """Returns all convolutions."""
        return [self.conv, self.norm, self.groups]


def group_of_blocks(settings: ResNet, in_channels: int, channels: int, num_blocks: int, stride: int) -> tuple[nn.ModuleList, int]:
    """Returns a group of blocks, the first of them with the stride, and the channels that leave it."""
    if settings.block == "bottleneck":
        block, out_channels = BottleneckBlock, EXPANSION * channels
    else:
        block, out_channels = SimAMBlock if settings.attention == "simam" else BasicBlock, channels
    rest = [block(out_channels, channels, 1) for _ in range(num_blocks - 1)]
    return nn.ModuleList([block(in_channels, channels, stride), *rest]), out_channels


def halved(size, stride: int):
    """Returns the output size, int or tensor, of a convolution of width 3 with padding 1."""
    return (size - 1) // stride + 1
