"""The thin ResNet-34 with GhostVLAD, NetVLAD or temporal average pooling."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import EmbeddingLayer
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
from steps.nnet.settings import ThinResNet
from steps.nnet.vlad import VLAD

# Of Keras, in which the network was published: epsilon, and the share of the newest batch in the running statistics.
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.01


class ThinResidualNet(EmbeddingNetwork):
    """A 7x7 convolution, eleven bottleneck blocks, features and cluster assignments over all bins, VLAD, one layer with ReLU.

    257 bins x 250 frames become 16 x 16 positions, 7 x 16 behind the last max-pooling: the two convolutions over all bins
    are the paper's 7 x 1. The name "ResNet-34" is the paper's. Keras' padding "same" is symmetric here, as the only layers
    with a stride are 1x1 convolutions. Weights start orthogonal, biases at 0; batch norms have Keras' epsilon and momentum.
    Without clusters the features are averaged over time; the public code averages the last max-pooling instead.

    Source: Xie et al., arXiv 1902.10107; WeidiXie/VGG-Speaker-Recognition, src/backbone.py (resnet_2D) and src/model.py.
    """

    def __init__(self, settings: ThinResNet, num_bins: int) -> None:
        super().__init__()
        self.stem = nn.ModuleList([PlaneConv(1, settings.stem_channels, kernel=7, padding=3), PlaneMaxPool(kernel=2, stride=2)])
        self.groups = nn.ModuleList()
        outputs = settings.stem_channels
        widths = zip(settings.blocks, settings.inner_channels, settings.outer_channels, GROUP_WINDOWS, strict=True)
        for num_blocks, inner, outer, window in widths:
            inputs, outputs = outputs, outer
            first = Bottleneck(inputs, inner, outer, stride=window.stride, project=True)
            rest = [Bottleneck(outer, inner, outer, stride=1, project=False) for _ in range(num_blocks - 1)]
            self.groups.append(nn.ModuleList([first, *rest]))
        self.pool = PlaneMaxPool(kernel=(3, 1), stride=(2, 1))
        windows = [*(layer.bins for layer in self.stem), *GROUP_WINDOWS, self.pool.bins]
        rows = rows_left(settings.type, windows, num_bins)
        self.features = ColumnConv(outputs, rows, settings.feature_dim)
        self.assignment = self.vlad = None
        if settings.clusters:
            self.assignment = ColumnConv(outputs, rows, settings.clusters + settings.ghosts)
            self.vlad = VLAD(settings.feature_dim, settings.clusters)
        self.embedding = EmbeddingLayer(settings.feature_dim * max(1, settings.clusters), settings.embedding_dim)
        self.min_frames = fewest_inputs([*(layer.frames for layer in self.stem), *GROUP_WINDOWS, self.pool.frames])
        self.embedding_dim = self.classifier_dim = settings.embedding_dim
        self.apply(initialise)
        use_channels_last(self)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD, nowhere below 0; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        x_BCFT = plane_of(feats_BTF, lengths_B)
        for layer in self.stem:
            x_BCFT, lengths_B = layer(x_BCFT, lengths_B)
        x_BCFT, lengths_B = through_groups(self.groups, x_BCFT, lengths_B)
        x_BCFT, lengths_B = self.pool(x_BCFT, lengths_B)
        return torch.relu(self.embedding(self.pooled(x_BCFT, mask_at(x_BCFT, lengths_B))))

    def pooled(self, x_BCFT: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Returns the clip's vector that the embedding layer sees, in at least float32."""
        features_BCT = torch.relu(self.features(x_BCFT))
        if self.vlad is None:
            return mean_over_time(features_BCT, mask_BT)
        return self.vlad(features_BCT, self.assignment(x_BCFT), mask_BT)

    def frame_part(self) -> list[nn.Module]:
        """Returns all convolutions but that of the cluster assignments, which is part of the pooling."""
        return [self.stem, self.groups, self.features]


def initialise(module: nn.Module) -> None:
    """Makes a layer start as in the public code: orthogonal weights, biases 0, Keras' batch norm."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.eps, module.momentum = BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM
