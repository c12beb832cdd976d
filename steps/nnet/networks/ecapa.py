"""ECAPA-TDNN: dilated multi-scale blocks with squeeze and excitation, joined in front of an attentive pooling."""

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
from steps.nnet.pooling import mean_over_time
from steps.nnet.settings import ECAPA


class ECAPANet(EmbeddingNetwork):
    """A convolution of five frames, SE-Res2Blocks, a dense layer on all their outputs, attentive pooling, one affine map.

    Batch norm (with scale and shift) follows each ReLU of the first layer and the blocks, and stands between pooling and
    embedding. With `summed` a block takes the sum of the outputs of all layers before it, else that of the last one; either
    is also what the block's residual connection adds to its output. All layers keep the number of frames.

    Source: Desplanques et al., arXiv 2005.07143, figure 2 and section 3; which public form this is: see the settings.
    """

    def __init__(self, settings: ECAPA, num_bins: int) -> None:
        super().__init__()
        channels, joined, padding = settings.channels, settings.joined_channels, settings.padding
        self.first = ConvReluNorm(num_bins, channels, 5, padding=padding)
        self.blocks = nn.ModuleList(SERes2Block(settings, dilation) for dilation in settings.dilations)
        self.join = nn.Sequential(nn.Conv1d(channels * len(self.blocks), joined, 1), nn.ReLU())
        if settings.joined_norm:
            self.join.append(nn.BatchNorm1d(joined))
        hidden = "relu_bn_tanh" if settings.attention_norm else "tanh"
        self.pooling = AttentiveStatisticsPooling(joined, settings.attention_dim, settings.global_context, hidden=hidden)
        self.summed = settings.summed
        self.pooled_norm = nn.BatchNorm1d(self.pooling.factor * joined)
        self.embedding = EmbeddingLayer(self.pooling.factor * joined, settings.embedding_dim)
        self.center = nn.BatchNorm1d(settings.embedding_dim, affine=False) if settings.embedding_norm else nn.Identity()
        # no more frames can be mirrored than the clip has behind its first one
        beyond = max(2, *settings.dilations) if padding == "reflect" else 0
        self.min_frames = max(self.pooling.min_frames, beyond + 1)
        self.embedding_dim = self.classifier_dim = settings.embedding_dim

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B, also=[self.pooling])
        mask_BT = mask_of(lengths_B, feats_BTF.shape[1])
        x_BCT = self.first(feats_BTF.transpose(1, 2), mask_BT)
        outputs = []
        for block in self.blocks:
            outputs.append(block(x_BCT, mask_BT))
            x_BCT = x_BCT + outputs[-1] if self.summed else outputs[-1]
        pooled_BC = self.pooling(self.join(torch.cat(outputs, dim=1)), mask_BT)
        return self.center(self.embedding(self.pooled_norm(pooled_BC)))

    def frame_part(self) -> list[nn.Module]:
        """Returns all layers before the pooling."""
        return [self.first, self.blocks, self.join]


class ConvReluNorm(nn.Module):
    """A convolution that keeps the number of frames, ReLU, batch norm: x_BCT -> [B, out_channels, T].

    With the padding "reflect" what lies beyond a clip's end are its own frames mirrored, in a padded batch too.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1, padding: str = "zeros"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        self.norm = nn.BatchNorm1d(out_channels)
        self.beyond = (kernel_size - 1) // 2 * dilation
        self.padding = padding

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        if self.beyond and self.padding == "reflect":
            x_BCT = mirrored(x_BCT, self.beyond, mask_BT)
        elif self.beyond:
            x_BCT = functional.pad(zero_padding(x_BCT, mask_BT), (self.beyond, self.beyond))
        return self.norm(torch.relu(self.conv(x_BCT)))


class Res2Convolution(nn.Module):
    """Groups of channels, of which the first passes and each other one, plus the output of the one before, is convolved.

    The second group gets nothing added. Shape: x_BCT -> the same.

    Source: Gao et al., "Res2Net", arXiv 1904.01169, eq. 1.
    """

    def __init__(self, channels: int, scale: int, kernel_size: int, dilation: int, padding: str) -> None:
        super().__init__()
        width = channels // scale
        self.layers = nn.ModuleList(ConvReluNorm(width, width, kernel_size, dilation, padding) for _ in range(scale - 1))

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        first_BCT, *groups = x_BCT.chunk(len(self.layers) + 1, dim=1)
        outputs = [first_BCT]
        for number, (group_BCT, layer) in enumerate(zip(groups, self.layers, strict=True)):
            outputs.append(layer(group_BCT + outputs[-1] if number else group_BCT, mask_BT))
        return torch.cat(outputs, dim=1)


class SqueezeExcitation(nn.Module):
    """Each channel times a gate in 0..1, computed from the means of all channels over the clip: x_BCT -> the same.

    Source: Hu et al., arXiv 1709.01507; Desplanques et al., arXiv 2005.07143, eq. 4 and 5.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, dim)
        self.excite = nn.Linear(dim, channels)

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        gate_BC = torch.sigmoid(self.excite(torch.relu(self.squeeze(mean_over_time(x_BCT, mask_BT)))))
        return x_BCT * gate_BC[..., None]


class SERes2Block(nn.Module):
    """A dense layer, the multi-scale convolution, a dense layer, squeeze and excitation, plus the input."""

    def __init__(self, settings: ECAPA, dilation: int) -> None:
        super().__init__()
        channels = settings.channels
        self.dense1 = ConvReluNorm(channels, channels)
        self.res2 = Res2Convolution(channels, settings.scale, 3, dilation, settings.padding)
        self.dense2 = ConvReluNorm(channels, channels)
        self.gates = SqueezeExcitation(channels, settings.se_dim)

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return x_BCT + self.gates(self.dense2(self.res2(self.dense1(x_BCT), mask_BT)), mask_BT)


def mirrored(x_BCT: Tensor, beyond: int, mask_BT: Tensor | None) -> Tensor:
    """Returns x with so many frames more at both ends of each clip, mirrored at its first and at its last real frame."""
    if mask_BT is None:
        return functional.pad(x_BCT, (beyond, beyond), mode="reflect")
    last_B = mask_BT.sum(dim=1, keepdim=True) - 1
    position_T = torch.arange(-beyond, x_BCT.shape[2] + beyond, device=x_BCT.device).abs()
    # twice the distance back from the last frame; what lies further behind is padding of any value
    source_BT = torch.where(position_T <= last_B, position_T, (2 * last_B - position_T).clamp(min=0))
    return x_BCT.gather(2, source_BT[:, None].expand(-1, x_BCT.shape[1], -1))
