"""VGG-M on spectrograms."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import EmbeddingLayer
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.planes import (
    ColumnConv,
    PlaneConv,
    PlaneMaxPool,
    fewest_inputs,
    mask_at,
    plane_of,
    rows_left,
    use_channels_last,
)
from steps.nnet.pooling import mean_over_time
from steps.nnet.settings import VGGM


class VGGMNet(EmbeddingNetwork):
    """Five convolutions and three max-poolings, fc6 over all bins that are left, mean over time, fc7; fc8 if asked for.

    512 bins x 300 frames become 9 x 8 positions, 257 or 256 bins 4 x 8; fc6 is as high as that. Batch norm and ReLU follow
    every layer up to fc7, whose embedding is taken behind them (the paper does not say where); fc8 is linear. All layers
    have biases beside their batch norms, as in the parameter count. Initial weights are torch's.

    Source: Nagrani et al., "VoxCeleb", Interspeech 2017, table 4; a-nagrani/VGGVox.
    """

    def __init__(self, settings: VGGM, num_bins: int) -> None:
        super().__init__()
        conv1, conv2, conv3, conv4, conv5 = settings.channels
        fc6, fc7 = settings.fc_dims
        self.layers = nn.ModuleList(
            [
                PlaneConv(1, conv1, kernel=7, stride=2, padding=1, bias=True),
                PlaneMaxPool(kernel=3, stride=2),
                PlaneConv(conv1, conv2, kernel=5, stride=2, padding=1, bias=True),
                PlaneMaxPool(kernel=3, stride=2),
                PlaneConv(conv2, conv3, kernel=3, padding=1, bias=True),
                PlaneConv(conv3, conv4, kernel=3, padding=1, bias=True),
                PlaneConv(conv4, conv5, kernel=3, padding=1, bias=True),
                PlaneMaxPool(kernel=(5, 3), stride=(3, 2)),
            ]
        )
        rows = rows_left(settings.type, (layer.bins for layer in self.layers), num_bins)
        self.fc6 = ColumnConv(conv5, rows, fc6)
        self.norm6 = nn.BatchNorm1d(fc6)
        self.fc7 = EmbeddingLayer(fc6, fc7)
        self.norm7 = nn.BatchNorm1d(fc7)
        self.embedding = EmbeddingLayer(fc7, settings.embedding_dim) if settings.embedding_dim else nn.Identity()
        self.min_frames = fewest_inputs(layer.frames for layer in self.layers)
        self.embedding_dim = self.classifier_dim = settings.embedding_dim or fc7
        use_channels_last(self)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        x_BCFT = plane_of(feats_BTF, lengths_B)
        for layer in self.layers:
            x_BCFT, lengths_B = layer(x_BCFT, lengths_B)
        x_BCT = torch.relu(self.norm6(self.fc6(x_BCFT)))
        x_BC = torch.relu(self.norm7(self.fc7(mean_over_time(x_BCT, mask_at(x_BCT, lengths_B)))))
        return self.embedding(x_BC)

    def frame_part(self) -> list[nn.Module]:
        """Returns the convolutions and fc6."""
        return [self.layers, self.fc6, self.norm6]
