"""CAM++: a densely connected TDNN with context-aware masks behind a two-dimensional residual front."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import (
    EmbeddingLayer,
    at_least_float32,
    mask_of,
    zero_padding,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.pooling import StatisticsPooling, mean_over_time
from steps.nnet.settings import CAMPPlus


class CAMPPlusNet(EmbeddingNetwork):
    """The front, a TDNN layer of stride 2, dense blocks with transitions, statistics pooling, one linear map.

    The embedding is the linear map's output (no bias) behind batch norm without scale and shift. Convolutions of one
    dimension and the embedding's map start from He's normal numbers, their biases from zero.

    Deviation from the public code: the deviations pooled are those of the population (n), there n - 1.

    Source: Wang et al., arXiv 2303.00332; modelscope/3D-Speaker, speakerlab/models/campplus.
    """

    def __init__(self, settings: CAMPPlus, num_bins: int) -> None:
        super().__init__()
        self.front = Front(settings, num_bins)
        self.tdnn = nn.Conv1d(self.front.out_channels, settings.init_channels, 5, stride=2, padding=2, bias=False)
        self.norm = nn.BatchNorm1d(settings.init_channels)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        channels = settings.init_channels
        for num_layers, dilation in zip(settings.layers, settings.dilations, strict=True):
            widths = [channels + number * settings.growth for number in range(num_layers + 1)]
            self.blocks.append(nn.ModuleList(MaskedDenseLayer(settings, width, dilation) for width in widths[:-1]))
            channels = widths[-1] // 2
            self.transitions.append(norm_relu_dense(widths[-1], channels))
        self.out_norm = nn.BatchNorm1d(channels)
        self.pooling = StatisticsPooling()
        self.embedding = EmbeddingLayer(self.pooling.factor * channels, settings.embedding_dim, bias=False)
        self.center = nn.BatchNorm1d(settings.embedding_dim, affine=False) if settings.embedding_norm else nn.Identity()
        # fewest frames of which the strided layer makes as many as the pooling needs
        self.min_frames = (self.pooling.min_frames - 1) * 2 + 1
        self.embedding_dim = self.classifier_dim = settings.embedding_dim
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        mask_BT = mask_of(lengths_B, feats_BTF.shape[1])
        x_BCT = self.tdnn(self.front(feats_BTF, mask_BT))
        if mask_BT is not None:
            # the strided layer sees a frame from its middle: every second mask
            mask_BT = mask_BT[:, ::2]
        x_BCT = torch.relu(self.norm(x_BCT))
        for layers, transition in zip(self.blocks, self.transitions, strict=True):
            for layer in layers:
                x_BCT = torch.cat([x_BCT, layer(x_BCT, mask_BT)], dim=1)
            x_BCT = transition(x_BCT)
        return self.center(self.embedding(self.pooling(torch.relu(self.out_norm(x_BCT)), mask_BT)))

    def frame_part(self) -> list[nn.Module]:
        """Returns all layers before the pooling."""
        return [self.front, self.tdnn, self.norm, self.blocks, self.transitions, self.out_norm]


class Front(nn.Module):
    """3x3 convolutions that keep the frames and make an eighth of the bins.

    One convolution, two groups of residual blocks, the first block of each with a stride of 2 over the bins, and a last
    convolution of that stride. Shape: feats_BTF -> [B, out_channels, T], all bins of a channel one after the other.
    """

    def __init__(self, settings: CAMPPlus, num_bins: int) -> None:
        super().__init__()
        channels = settings.front_channels
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList()
        bins = num_bins
        for num_blocks in settings.front_blocks:
            self.blocks.append(FrontBlock(channels, 2))
            self.blocks.extend(FrontBlock(channels, 1) for _ in range(num_blocks - 1))
            bins = -(-bins // 2)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.out_channels = channels * -(-bins // 2)
        # faster with bfloat16; why only with multiples of 16 channels, see ResidualNet
        if channels % 16 == 0:
            self.to(memory_format=torch.channels_last)

    def forward(self, feats_BTF: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        x_BCFT = zero_padding(feats_BTF.transpose(1, 2).unsqueeze(1), mask_BT)
        x_BCFT = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), mask_BT)
        for block in self.blocks:
            x_BCFT = block(x_BCFT, mask_BT)
        return zero_padding(torch.relu(self.norm2(self.conv2(x_BCFT))), mask_BT).flatten(1, 2)


class FrontBlock(nn.Module):
    """The ResNet's basic block with a stride over the bins only; a projection (1x1, batch norm) where it is not 1."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1:
            projection = nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), mask_BT)
        outer = self.norm2(self.conv2(inner)) + self.shortcut(x_BCFT)
        return zero_padding(torch.relu(outer), mask_BT)


class MaskedDenseLayer(nn.Module):
    """The channels that one layer of a dense block adds: bottleneck, convolution of three frames, times a mask.

    The mask, in 0..1 per channel and frame, comes from two dense layers on the bottleneck's mean over the clip plus that
    over the segment in which the frame lies. Shape: x_BCT -> [B, growth, T].

    Source: Wang et al., arXiv 2303.00332, section 2.2 and 2.3.
    """

    def __init__(self, settings: CAMPPlus, in_channels: int, dilation: int) -> None:
        super().__init__()
        bottleneck = settings.bottleneck_factor * settings.growth
        self.bottleneck = norm_relu_dense(in_channels, bottleneck)
        self.norm = nn.BatchNorm1d(bottleneck)
        self.conv = nn.Conv1d(bottleneck, settings.growth, 3, padding=dilation, dilation=dilation, bias=False)
        # dense layers over frames, so convolutions of one frame
        self.inner = nn.Conv1d(bottleneck, bottleneck // 2, 1)
        self.outer = nn.Conv1d(bottleneck // 2, settings.growth, 1)
        self.segment_frames = settings.segment_frames

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        h_BCT = zero_padding(torch.relu(self.norm(self.bottleneck(x_BCT))), mask_BT)
        # one column for each segment: all its frames have the same mask
        context_BCN = mean_over_time(h_BCT, mask_BT)[..., None] + segment_means(h_BCT, self.segment_frames, mask_BT)
        gate_BCN = torch.sigmoid(self.outer(torch.relu(self.inner(context_BCN))))
        gate_BCT = gate_BCN.repeat_interleave(self.segment_frames, dim=2)[..., : h_BCT.shape[2]]
        return self.conv(h_BCT) * gate_BCT


def norm_relu_dense(in_channels: int, out_channels: int) -> nn.Sequential:
    """Returns batch norm, ReLU and a linear map of the channels, in this order."""
    return nn.Sequential(nn.BatchNorm1d(in_channels), nn.ReLU(), nn.Conv1d(in_channels, out_channels, 1, bias=False))


def segment_means(x_BCT: Tensor, segment_frames: int, mask_BT: Tensor | None = None) -> Tensor:
    """Returns the mean over the real frames of each segment, the last one perhaps shorter: [B, C, segments].

    x is zero behind a clip's end. Segments without a real frame have the mean 0.
    """
    x_BCT = at_least_float32(x_BCT)
    missing = -x_BCT.shape[2] % segment_frames
    sums_BCN = nn.functional.pad(x_BCT, (0, missing)).unflatten(2, (-1, segment_frames)).sum(dim=3)
    real_BT = x_BCT.new_ones(1, x_BCT.shape[2]) if mask_BT is None else mask_BT.to(x_BCT.dtype)
    counts_BN = nn.functional.pad(real_BT, (0, missing)).unflatten(1, (-1, segment_frames)).sum(dim=2)
    return sums_BCN / counts_BN.clamp(min=1)[:, None]
