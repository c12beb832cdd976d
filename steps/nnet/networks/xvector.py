"""The x-vector network and the TDNNs that differ from it only in their frame layers."""

from torch import Tensor, nn

from steps.nnet.choose_pooling import build_pooling
from steps.nnet.layers import (
    KALDI_BATCH_NORM_EPSILON,
    EmbeddingLayer,
    TDNNLayer,
    frame_mask,
)
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import FTDNN, XVector


class TimeDelayNetwork(EmbeddingNetwork):
    """Frame layers without padding, pooling over time, one affine map to the embedding.

    ReLU, BN and the second segment layer stand in `classifier_input`: they serve training, the embedding is taken
    before them. Subclasses make their frame layers, call `add_segment_part`, and define `frame_level`.
    """

    def add_segment_part(self, settings: XVector | FTDNN, pooling: nn.Module, pooled_dim: int, context: int) -> None:
        """Makes all behind the frame layers, which take `context` frames off a clip."""
        self.pooling = pooling
        self.embedding = EmbeddingLayer(pooled_dim, settings.embedding_dim)
        self.center = nn.BatchNorm1d(settings.embedding_dim, affine=False) if settings.embedding_norm else nn.Identity()
        self.segment = second_segment_layer(settings.embedding_dim) if settings.segment_layers == 2 else nn.Identity()
        self.context = context
        self.min_frames = context + pooling.min_frames
        self.embedding_dim = self.classifier_dim = settings.embedding_dim

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip is shorter than `min_frames`, or padded clips in training mode.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        mask_BT = None if lengths_B is None else frame_mask(lengths_B - self.context, feats_BTF.shape[1] - self.context)
        x_BCT = self.frame_level(feats_BTF.transpose(1, 2))
        return self.center(self.embedding(self.pooling(x_BCT, mask_BT)))

    def frame_level(self, x_BCT: Tensor) -> Tensor:
        """Returns the output of the last frame layer."""
        raise NotImplementedError

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns what the training head sees: the embedding, or the output of the second segment layer."""
        return self.segment(embedding_BD)


class XVectorNet(TimeDelayNetwork):
    """TDNN layers.

    Source: Kaldi egs/voxceleb/v2, run_xvector_1a.sh (tdnn1 to tdnn5, stats, tdnn6.affine = embedding, tdnn7).
    """

    def __init__(self, settings: XVector, num_bins: int) -> None:
        super().__init__()
        inputs = (num_bins, *settings.channels)
        self.frame_layers = nn.Sequential(*map(TDNNLayer, inputs, settings.channels, settings.kernel_sizes, settings.dilations))
        self.residual_pairs = settings.residual_pairs()
        context = sum(layer.context for layer in self.frame_layers)
        self.add_segment_part(settings, *build_pooling(settings, settings.channels[-1]), context)

    def frame_level(self, x_BCT: Tensor) -> Tensor:
        for number, layer in enumerate(self.frame_layers):
            if number in self.residual_pairs:
                entered_BCT = x_BCT
            x_BCT = layer(x_BCT)
            if number - 1 in self.residual_pairs:
                x_BCT = x_BCT + center_crop(entered_BCT, x_BCT.shape[2])
        return x_BCT

    def frame_part(self) -> list[nn.Module]:
        """Returns the TDNN layers."""
        return [self.frame_layers]


def center_crop(x_BCT: Tensor, num_frames: int) -> Tensor:
    """Returns the middle frames: those that layers without padding have an output for."""
    return x_BCT.narrow(2, (x_BCT.shape[2] - num_frames) // 2, num_frames)


def second_segment_layer(dim: int) -> nn.Sequential:
    """Returns what follows the embedding: its ReLU and BN, then a second affine, ReLU, BN."""
    return nn.Sequential(
        nn.ReLU(),
        nn.BatchNorm1d(dim, eps=KALDI_BATCH_NORM_EPSILON, affine=False),
        nn.Linear(dim, dim),
        nn.ReLU(),
        nn.BatchNorm1d(dim, eps=KALDI_BATCH_NORM_EPSILON, affine=False),
    )
