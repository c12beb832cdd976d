"""ResNet-34 and ResNet-50 on spectrograms, as in VoxCeleb2."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import BasicBlock, EmbeddingLayer
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.planes import (
    GROUP_WINDOWS,
    Bottleneck,
    ColumnConv,
    PlaneConv,
    PlaneMaxPool,
    fewest_inputs,
    mask_at,
    plane_of,
    rows_left,
    through_groups,
    use_channels_last,
)
from steps.nnet.pooling import mean_over_time
from steps.nnet.settings import VGGResNet

# A bottleneck block has four times the channels of its inner convolutions.
EXPANSION = 4


class VGGResidualNet(EmbeddingNetwork):
    """The ResNet of image recognition with one input channel, fc1 over all bins that are left, mean over time; then a linear map.

    257 bins x 300 frames become 9 x 10 positions, so fc1 is the paper's 9 x 1 (its text says 512 bins, which would leave 16
    rows). The paper does not say what follows fc1: batch norm and ReLU here, as everywhere else; convolutions with a
    batch norm have no bias. Without the linear map the embedding is the mean of fc1. Initial weights are torch's.

    Source: Chung et al., "VoxCeleb2", Interspeech 2018, table 3; He et al., CVPR 2016.
    """

    def __init__(self, settings: VGGResNet, num_bins: int) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            [PlaneConv(1, settings.channels, kernel=7, stride=2, padding=3), PlaneMaxPool(kernel=3, stride=2, padding=1)]
        )
        self.groups = nn.ModuleList()
        outputs = settings.channels
        for group, (num_blocks, window) in enumerate(zip(settings.blocks, GROUP_WINDOWS, strict=True)):
            inputs, channels = outputs, settings.channels * 2**group
            outputs = channels * EXPANSION if settings.block == "bottleneck" else channels
            if settings.block == "bottleneck":
                first = Bottleneck(inputs, channels, outputs, stride=window.stride, project=True)
                rest = [Bottleneck(outputs, channels, outputs, stride=1, project=False) for _ in range(num_blocks - 1)]
            else:
                first = BasicBlock(inputs, channels, window.stride)
                rest = [BasicBlock(channels, channels, 1) for _ in range(num_blocks - 1)]
            self.groups.append(nn.ModuleList([first, *rest]))
        rows = rows_left(settings.type, [*(layer.bins for layer in self.stem), *GROUP_WINDOWS], num_bins)
        self.fc1 = ColumnConv(outputs, rows, settings.fc1_dim, bias=False)
        self.norm1 = nn.BatchNorm1d(settings.fc1_dim)
        self.embedding = nn.Identity()
        if settings.embedding_dim:
            self.embedding = EmbeddingLayer(settings.fc1_dim, settings.embedding_dim)
        self.min_frames = fewest_inputs([*(layer.frames for layer in self.stem), *GROUP_WINDOWS])
        self.embedding_dim = self.classifier_dim = settings.embedding_dim or settings.fc1_dim
        use_channels_last(self)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B, also=[self.norm1])
        x_BCFT = plane_of(feats_BTF, lengths_B)
        for layer in self.stem:
            x_BCFT, lengths_B = layer(x_BCFT, lengths_B)
        x_BCFT, lengths_B = through_groups(self.groups, x_BCFT, lengths_B)
        x_BCT = torch.relu(self.norm1(self.fc1(x_BCFT)))
        return self.embedding(mean_over_time(x_BCT, mask_at(x_BCT, lengths_B)))

    def frame_part(self) -> list[nn.Module]:
        """Returns the layers before the pooling; not fc1 where it is the embedding layer, that is, without a linear map."""
        fixed = [self.stem, self.groups, self.norm1]
        return fixed if isinstance(self.embedding, nn.Identity) else [*fixed, self.fc1]
