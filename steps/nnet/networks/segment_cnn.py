"""The convolutional network over spectrogram segments that was trained with the pairwise KL loss."""

import torch
from torch import Tensor, nn

from steps.nnet.initial import glorot_uniform
from steps.nnet.layers import EmbeddingLayer, at_least_float32, check_min_frames, padded_lengths
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import SegmentCNN
from steps.nnet.settings.segment_cnn import SMALLEST_INPUT

# Of Lasagne's BatchNormLayer, in which the network was published: epsilon, and the share of the newest batch in the
# running statistics.
LASAGNE_EPSILON = 1e-4
LASAGNE_MOMENTUM = 0.1


class SegmentCNNNet(EmbeddingNetwork):
    """Twice 4x4 convolution, ReLU, BN, 4x4 max-pooling with step 2, all without padding; then two dense layers with ReLU.

    The embedding is the first dense layer behind its ReLU. Its BN and dropout and the second dense layer stand in
    `classifier_input`. The dense layer fixes the input's length: a longer clip has the mean of the embeddings of its
    segments, half overlapping and starting at its first frame; frames behind the last whole segment are not read. (The
    papers averaged the embeddings of segments too, outside the network.)

    Source: Lukic et al., MLSP 2016 and 2017; stdm/ZHAW_deep_voice, networks/pairwise_kldiv: network_factory.py for the
    layers, create_embeddings.py (out_layer 7) for the embedding. Initial weights and batch norm constants are Lasagne's.
    """

    def __init__(self, settings: SegmentCNN, num_bins: int) -> None:
        super().__init__()
        if num_bins < SMALLEST_INPUT:
            raise ValueError(f"the network needs at least {SMALLEST_INPUT} bins, found {num_bins}")
        first, second = settings.channels
        self.blocks = nn.Sequential(*_block(1, first), *_block(first, second))
        positions = _pooled(_pooled(num_bins)) * _pooled(_pooled(settings.segment_frames))
        self.embedding = EmbeddingLayer(second * positions, settings.embedding_dim)
        self.norm = nn.BatchNorm1d(settings.embedding_dim, eps=LASAGNE_EPSILON, momentum=LASAGNE_MOMENTUM)
        self.dropout = nn.Dropout(settings.dropout)
        self.dense = nn.Linear(settings.embedding_dim, settings.dense_dim)
        glorot_uniform(m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        self.segment_frames = self.min_frames = settings.segment_frames
        self.hop = settings.segment_frames // 2
        self.embedding_dim, self.classifier_dim = settings.embedding_dim, settings.dense_dim
        # Faster on CPUs; why only with multiples of 16 channels, see ResidualNet.
        if first % 16 == 0 and second % 16 == 0:
            self.to(memory_format=torch.channels_last)

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and are not read.

        Raises:
            ValueError: a clip is shorter than `min_frames`.
        """
        check_min_frames(feats_BTF, num_frames_B, self.min_frames)
        lengths_B = padded_lengths(feats_BTF, num_frames_B)
        segments_BNFT = feats_BTF.unfold(1, self.segment_frames, self.hop)
        num_segments = segments_BNFT.shape[1]
        if num_segments == 1:
            return self._embedded(segments_BNFT[:, 0])
        if lengths_B is None:
            lengths_B = torch.full((len(feats_BTF),), feats_BTF.shape[1], device=feats_BTF.device)
        count_B = (lengths_B - self.segment_frames) // self.hop + 1
        clip_N, place_N = torch.nonzero(torch.arange(num_segments, device=count_B.device) < count_B[:, None], as_tuple=True)
        embedding_ND = self._embedded(segments_BNFT[clip_N, place_N])
        total_BD = embedding_ND.new_zeros(len(feats_BTF), self.embedding_dim).index_add(0, clip_N, embedding_ND)
        return total_BD / count_B[:, None]

    def _embedded(self, segments_NFT: Tensor) -> Tensor:
        x_NCFT = self.blocks(segments_NFT.unsqueeze(1))
        return torch.relu(self.embedding(x_NCFT.flatten(1)))

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns the output of the second dense layer."""
        return torch.relu(at_least_float32(self.dense(self.dropout(self.norm(embedding_BD)))))

    def frame_part(self) -> list[nn.Module]:
        """Returns the convolutions."""
        return [self.blocks]


def _block(in_channels: int, channels: int) -> list[nn.Module]:
    norm = nn.BatchNorm2d(channels, eps=LASAGNE_EPSILON, momentum=LASAGNE_MOMENTUM)
    return [nn.Conv2d(in_channels, channels, 4), nn.ReLU(), norm, nn.MaxPool2d(4, stride=2)]


def _pooled(size: int) -> int:
    """Returns how many positions a block leaves of `size`: the convolution takes three off, pooling halves."""
    return (size - 3 - 4) // 2 + 1
