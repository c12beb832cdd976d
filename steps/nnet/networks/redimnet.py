"""ReDimNet: stages that see their input both as a plane of bins and frames and as a sequence of vectors."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.attention import AttentiveStatisticsPooling
from steps.nnet.layers import (
    EmbeddingLayer,
    mask_of,
    zero_padding,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import ReDimNet

# Of the block on the sequence. Source: IDRnD/redimnet, TimeContextBlock1d, "conv+att".
TIME_KERNELS = (7, 19, 31, 59)
NUM_HEADS = 4
NORM_EPSILON = 1e-6


class ReDimNetwork(EmbeddingNetwork):
    """A 3x3 convolution, stages, attentive statistics with context, batch norm, one affine map.

    All stages hand on sequences of width channels * bins; each gets a weighted sum of all sequences before it, and so does
    the pooling. There is no stride in time. Initial weights are torch's, those of the sums equal.

    Parameters and what is published: conf/model/redimnet_b0.toml to b2. The batch norm behind the pooling is that of the
    authors' program; WeSpeaker's has none.

    Source: Yakovlev et al., Interspeech 2024; IDRnD/redimnet, redimnet/model.py. Its pooling has a variance with N - 1 in
    the context and clamps where ours adds the floor of `steps.nnet.pooling`.
    """

    # one frame has no deviation
    min_frames = 2

    def __init__(self, settings: ReDimNet, num_bins: int) -> None:
        super().__init__()
        divisor = math.prod(settings.strides)
        if num_bins % divisor:
            raise ValueError(f"model.type 'redimnet': expected feature bins divisible by {divisor}, found {num_bins}")
        width = settings.channels * num_bins
        self.stem = nn.Conv2d(1, settings.channels, 3, padding=1)
        self.stem_norm = ChannelNorm(settings.channels)
        self.stages = nn.ModuleList(Stage(settings, stage, num_bins) for stage in range(len(settings.strides)))
        # the first stage has but one sequence to weigh
        self.sums = nn.ModuleList(WeightedSum(number, width) for number in range(2, len(self.stages) + 2))
        self.pooling = AttentiveStatisticsPooling(width, settings.attention_dim, global_context=True)
        self.pooling_norm = nn.BatchNorm1d(2 * width)
        self.embedding = EmbeddingLayer(2 * width, settings.embedding_dim)
        self.embedding_dim = self.classifier_dim = settings.embedding_dim

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        mask_BT = mask_of(lengths_B, feats_BTF.shape[1])
        x_BCFT = zero_padding(feats_BTF.transpose(1, 2).unsqueeze(1), mask_BT)
        sequences = [to_sequence(self.stem_norm(self.stem(x_BCFT)))]
        total = sequences[0]
        for stage, weighted_sum in zip(self.stages, self.sums, strict=True):
            sequences.append(stage(total, mask_BT))
            total = weighted_sum(sequences)
        return self.embedding(self.pooling_norm(self.pooling(total, mask_BT)))

    def frame_part(self) -> list[nn.Module]:
        """Returns everything before the pooling."""
        return [self.stem, self.stem_norm, self.stages, self.sums]


def to_sequence(x_BCFT: Tensor) -> Tensor:
    """Returns [B, F * C, T], the channels of a bin next to each other."""
    return x_BCFT.transpose(1, 2).flatten(1, 2)


def to_plane(x_BWT: Tensor, channels: int) -> Tensor:
    """Returns x_BCFT of a sequence: the inverse of `to_sequence`."""
    return x_BWT.unflatten(1, (-1, channels)).transpose(1, 2)


class WeightedSum(nn.Module):
    """The sum of sequences under weights that are learnt per channel and sum to one."""

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.logits_NW = nn.Parameter(torch.zeros(number, width))

    def forward(self, sequences: list[Tensor]) -> Tensor:
        weight_NW = self.logits_NW.softmax(dim=0)
        return sum(weight_W[:, None] * x_BWT for weight_W, x_BWT in zip(weight_NW, sequences, strict=True))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, ...]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Stage(nn.Module):
    """A convolution over neighbouring bins, blocks on the plane, and a block on the sequence.

    Shape: x_BWT -> the same.
    """

    def __init__(self, settings: ReDimNet, stage: int, num_bins: int) -> None:
        super().__init__()
        stride, expansion = settings.strides[stage], settings.expansions[stage]
        self.out_channels = settings.stage_channels()[stage]
        self.in_channels = self.out_channels // stride
        inner = self.out_channels * expansion
        self.down = nn.Conv2d(self.in_channels, inner, (stride, 1), stride=(stride, 1))
        block = PlaneConvNeXt if settings.block == "convnext" else GroupedBasicBlock
        groups = num_groups(inner, settings.group_channels)
        self.blocks = nn.ModuleList(block(inner, groups) for _ in range(settings.blocks[stage]))
        self.squeeze = None
        if expansion != 1:
            self.squeeze = Squeeze(inner, self.out_channels, num_groups(self.out_channels, settings.group_channels))
        width, reduction = settings.channels * num_bins, settings.reductions[stage]
        self.context = TimeContext(width, width // reduction) if reduction else None

    def forward(self, x_BWT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        x_BCFT = self.down(to_plane(x_BWT, self.in_channels))
        for block in self.blocks:
            x_BCFT = block(x_BCFT, mask_BT)
        if self.squeeze is not None:
            x_BCFT = self.squeeze(x_BCFT, mask_BT)
        x_BWT = to_sequence(x_BCFT)
        return x_BWT if self.context is None else self.context(x_BWT, mask_BT)


def num_groups(channels: int, group_channels: int) -> int:
    """Returns how many groups of `group_channels` there are; one where there are fewer than two.

    Raises:
        ValueError: the channels cannot be dealt out to the groups evenly.
    """
    groups = max(1, channels // group_channels)
    if channels % groups:
        raise ValueError(f"model.group_channels: expected {channels} channels in equal groups, found {groups} groups")
    return groups


class ConvNeXt(nn.Module):
    """A grouped convolution, batch norm, GELU and a 1x1 convolution, added to the input.

    Shape: [B, C, ..., T] -> the same.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.mix = conv, norm, mix

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return x + self.mix(functional.gelu(self.norm(self.conv(zero_padding(x, mask_BT)))))


class PlaneConvNeXt(ConvNeXt):
    """The block of the plane, with 3x3 convolutions in groups."""

    def __init__(self, channels: int, groups: int) -> None:
        conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups)
        super().__init__(conv, nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1))


class TimeConvNeXt(ConvNeXt):
    """The block of the sequence, each channel by itself."""

    def __init__(self, channels: int, kernel: int) -> None:
        conv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        super().__init__(conv, nn.BatchNorm1d(channels), nn.Conv1d(channels, channels, 1))


class GroupedBasicBlock(nn.Module):
    """A basic block whose convolutions are a grouped 3x3 and a 1x1, with ReLU before the first batch norm."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.mix1 = nn.Conv2d(channels, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.mix2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = self.norm1(torch.relu(self.mix1(self.conv1(zero_padding(x_BCFT, mask_BT)))))
        outer = self.norm2(self.mix2(self.conv2(zero_padding(inner, mask_BT))))
        return torch.relu(outer + x_BCFT)


class Squeeze(nn.Module):
    """From the expanded channels of a stage's blocks to those that leave it: grouped 3x3, batch norm, GELU, 1x1."""

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, groups=groups)
        self.norm = nn.BatchNorm2d(channels, eps=NORM_EPSILON)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return self.mix(functional.gelu(self.norm(self.conv(zero_padding(x_BCFT, mask_BT)))))


class TimeContext(nn.Module):
    """The block on the sequence: narrowed by a 1x1 convolution, four ConvNeXt blocks of growing width, self-attention; added.

    Shape: x_BWT -> the same.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(width, inner, 1)
        self.norm = ChannelNorm(inner)
        self.convs = nn.ModuleList(TimeConvNeXt(inner, kernel) for kernel in TIME_KERNELS)
        self.attention = EncoderLayer(inner)
        self.widen = nn.Conv1d(inner, width, 1)

    def forward(self, x_BWT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = self.norm(self.narrow(x_BWT))
        for conv in self.convs:
            inner = conv(inner, mask_BT)
        inner = self.attention(inner.transpose(1, 2), mask_BT).transpose(1, 2)
        return x_BWT + self.widen(inner)


class EncoderLayer(nn.Module):
    """Self-attention and two affine maps of one width, each added and then layer-normalised (the layer of wav2vec 2.0).

    Shape: x_BTC -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % NUM_HEADS:
            raise ValueError(f"model.reductions: expected widths divisible by {NUM_HEADS} heads, found {channels}")
        self.query, self.key = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.attention_norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.inner, self.outer = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPSILON)

    def forward(self, x_BTC: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        heads = (part(x_BTC).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mask = None if mask_BT is None else mask_BT[:, None, None]
        seen_BHTC = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
        x_BTC = self.attention_norm(x_BTC + self.out(seen_BHTC.transpose(1, 2).flatten(2)))
        return self.norm(x_BTC + self.outer(functional.gelu(self.inner(x_BTC), approximate="tanh")))
