"""The pre-activation ResNet that was trained with speaker-basis losses."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.layers import (
    EmbeddingLayer,
    at_least_float32,
    zero_padding,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.planes import GROUP_WINDOWS, Window, fewest_inputs, mask_at, plane_of, rows_left, use_channels_last
from steps.nnet.pooling import mean_over_time
from steps.nnet.settings import PreActResNet

# Of the 7x7 convolution: only bins are halved.
STEM_BINS = Window(7, 2, 1)
STEM_FRAMES = Window(7, 1, 1)


class PreActBlock(nn.Module):
    """Twice batch norm, ReLU, 3x3 convolution, and a shortcut: 1x1 without batch norm where the channels change.

    The shortcut starts before the first batch norm, with `shared` behind its ReLU.

    Shape: x_BCFT, lengths_B (None where no clip is padded) -> [B, channels, ceil(F / stride), ceil(T / stride)] and its lengths.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, shared: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Identity()
        if in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        self.shared = shared
        self.window = Window(1, stride)

    def forward(self, x_BCFT: Tensor, lengths_B: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        active = activated(self.norm1, x_BCFT, lengths_B)
        shortcut = self.shortcut(active if self.shared else x_BCFT)
        if lengths_B is not None:
            lengths_B = self.window.outputs(lengths_B)
        return self.conv2(activated(self.norm2, self.conv1(active), lengths_B)) + shortcut, lengths_B


def activated(norm: nn.BatchNorm2d, x_BCFT: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Returns ReLU of the batch norm, 0 in padding frames."""
    return zero_padding(torch.relu(norm(x_BCFT)), mask_at(x_BCFT, lengths_B))


class PreActResidualNet(EmbeddingNetwork):
    """A 7x7 convolution, pre-activation blocks, mean plus maximum over bins and frames, one affine map to a fixed norm.

    64 bins x 300 frames become 30 x 296 positions, then 15 x 148, 8 x 74, 4 x 37. Only the very first block's shortcut
    starts behind batch norm and ReLU. Convolutions start with He's normal weights (fan out), the embedding's bias at 0.

    Source: Heo et al., arXiv 1902.02455; hsss/speaker_verification_pytorch, models/spec_resnet_preact.py.
    """

    def __init__(self, settings: PreActResNet, num_bins: int) -> None:
        super().__init__()
        rows_left(settings.type, [STEM_BINS, *GROUP_WINDOWS], num_bins)
        strides = (STEM_BINS.stride, STEM_FRAMES.stride)
        self.stem = nn.Conv2d(1, settings.channels, STEM_BINS.kernel, stride=strides, padding=STEM_BINS.padding, bias=False)
        self.blocks = nn.ModuleList()
        outputs = settings.channels
        for group, (num_blocks, window) in enumerate(zip(settings.blocks, GROUP_WINDOWS, strict=True)):
            for block in range(num_blocks):
                inputs, outputs = outputs, settings.channels * 2**group
                stride = window.stride if block == 0 else 1
                self.blocks.append(PreActBlock(inputs, outputs, stride=stride, shared=group == block == 0))
        self.norm = nn.BatchNorm2d(outputs)
        self.embedding = EmbeddingLayer(outputs, settings.embedding_dim)
        self.embedding_scale = settings.embedding_scale
        self.min_frames = fewest_inputs([STEM_FRAMES, *GROUP_WINDOWS])
        self.embedding_dim = self.classifier_dim = settings.embedding_dim
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.zeros_(self.embedding.bias)
        use_channels_last(self)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD of norm `embedding_scale`; frames of clip b from `num_frames_B[b]` on change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        x_BCFT = self.stem(plane_of(feats_BTF, lengths_B))
        if lengths_B is not None:
            lengths_B = STEM_FRAMES.outputs(lengths_B)
        for block in self.blocks:
            x_BCFT, lengths_B = block(x_BCFT, lengths_B)
        x_BCFT = at_least_float32(activated(self.norm, x_BCFT, lengths_B))
        mean_BC = mean_over_time(x_BCFT, mask_at(x_BCFT, lengths_B)).mean(dim=-1)
        # no activation is below 0, so the zeros of padding frames never are the maximum
        embedding_BD = self.embedding(mean_BC + x_BCFT.amax(dim=(2, 3)))
        return self.embedding_scale * functional.normalize(embedding_BD)

    def frame_part(self) -> list[nn.Module]:
        """Returns all convolutions."""
        return [self.stem, self.blocks, self.norm]
