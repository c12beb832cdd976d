"""The voicemap network: convolutions over samples at 4 kHz."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.initial import glorot_uniform
from steps.nnet.layers import (
    EmbeddingLayer,
    at_least_float32,
    frame_mask,
    mask_of,
    zero_padding,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import Voicemap

# Of Keras' BatchNormalization: epsilon, and the share of the newest batch in the running statistics (1 - momentum there).
KERAS_EPSILON = 1e-3
KERAS_MOMENTUM = 0.01
# Root mean square that samples are brought to: that of LibriSpeech in the author's measure.
TARGET_RMS = 0.038021
# Under the root: a clip of zeros stays zeros.
POWER_FLOOR = 1e-12


class VoicemapNet(EmbeddingNetwork):
    """Whitening; four blocks of convolution, ReLU, BN, channel dropout, max-pooling; global maximum; one affine map.

    Convolutions keep the length with zeros at both ends, one more at the right where the kernel is even, as TensorFlow's
    padding "same" does. Pooling drops an incomplete last window. Takes samples in +-1 as one column, at 4 kHz.

    Source: papers/voicemap_blog.txt; oscarknagg/voicemap, voicemap/models.py and utils.py; constants and initial weights
    are Keras'.
    """

    def __init__(self, settings: Voicemap, num_bins: int) -> None:
        super().__init__()
        if num_bins != 1:
            raise ValueError(f"the network takes samples as one column (features.type = 'waveform'), found {num_bins} columns")
        self.whitening = settings.whitening
        self.blocks = nn.ModuleList()
        inputs = 1
        for number, pool_size in enumerate(settings.pool_sizes, start=1):
            channels = number * settings.filters
            kernel_size = settings.kernel_size if number == 1 else 3
            self.blocks.append(VoicemapBlock(inputs, channels, kernel_size, pool_size, settings.dropout))
            inputs = channels
        self.embedding = EmbeddingLayer(inputs, settings.embedding_dim)
        glorot_uniform([self.embedding, *(block.conv for block in self.blocks)])
        self.min_frames = 1
        for pool_size in settings.pool_sizes:
            self.min_frames *= pool_size
        self.embedding_dim = self.classifier_dim = settings.embedding_dim

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD of samples [B, W, 1]; those of clip b from `num_frames_B[b]` on are padding.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        mask_BT = mask_of(lengths_B, feats_BTF.shape[1])
        x_BCT = self._whitened(feats_BTF.transpose(1, 2), mask_BT)
        for block in self.blocks:
            x_BCT = block(x_BCT)
            if lengths_B is not None:
                lengths_B = lengths_B // block.pool_size
                mask_BT = frame_mask(lengths_B, x_BCT.shape[2])
                x_BCT = zero_padding(x_BCT, mask_BT)
        if mask_BT is not None:
            x_BCT = x_BCT.masked_fill(~mask_BT[:, None], -torch.inf)
        return self.embedding(x_BCT.amax(dim=2))

    def _whitened(self, x_B1T: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Returns the samples of each clip without their mean, times the gain that settings.whitening asks for.

        The gain is that of the samples before the mean is taken off. In evaluation mode a clip is a batch of its own, so
        that its embedding does not depend on others. Padding counts for nothing and is 0.
        """
        x_B1T = zero_padding(at_least_float32(x_B1T), mask_BT)
        if self.whitening == "none":
            return x_B1T
        count_B11 = x_B1T.shape[2] if mask_BT is None else mask_BT.sum(dim=1)[:, None, None]
        mean_B11 = x_B1T.sum(dim=2, keepdim=True) / count_B11
        energy_B11 = x_B1T.square().sum(dim=2, keepdim=True)
        if self.whitening == "batch" and self.training:
            count = x_B1T.shape[0] * x_B1T.shape[2] if mask_BT is None else mask_BT.sum()
            power_B11 = energy_B11.sum() / count
        else:
            power_B11 = energy_B11 / count_B11
        gain_B11 = TARGET_RMS / power_B11.clamp(min=POWER_FLOOR).sqrt()
        return zero_padding((x_B1T - mean_B11) * gain_B11, mask_BT)

    def frame_part(self) -> list[nn.Module]:
        """Returns the convolution blocks."""
        return [self.blocks]


class VoicemapBlock(nn.Module):
    """Convolution of unchanged length, ReLU, batch norm, dropout of whole channels, max-pooling without overlap.

    Shape: x_BCT -> [B, channels, T // pool_size].
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, pool_size: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, channels, kernel_size)
        self.norm = nn.BatchNorm1d(channels, eps=KERAS_EPSILON, momentum=KERAS_MOMENTUM)
        self.dropout = nn.Dropout1d(dropout)
        left = (kernel_size - 1) // 2
        self.padding = (left, kernel_size - 1 - left)
        self.pool_size = pool_size

    def forward(self, x_BCT: Tensor) -> Tensor:
        x_BCT = torch.relu(self.conv(functional.pad(x_BCT, self.padding)))
        return functional.max_pool1d(self.dropout(self.norm(x_BCT)), self.pool_size)
