"""Bidirectional LSTM networks."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from steps.nnet.initial import glorot_uniform, keras_lstm
from steps.nnet.layers import EmbeddingLayer, at_least_float32, check_min_frames, padded_lengths
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import BiLSTM


class BiLSTMNet(EmbeddingNetwork):
    """Two bidirectional LSTM layers; the embedding is the last state of each direction of the second one.

    The backward direction has its last state at the first frame, after it has read the whole clip. Linear layers without a
    nonlinearity, dropout between them, stand in `classifier_input`. Each gate has two biases, as in cuDNN and torch.

    Under bfloat16 autocast the LSTM layers run in bfloat16: twice as fast as float32 on a CPU with AVX-512 BF16, with
    gradients whose cosine with those of float32 exceeds 0.9999 (200 frames). Dropout draws from torch's global generator,
    which checkpoints hold; that inside nn.LSTM would draw from a cuDNN state which they do not. A CPU without AVX-512 has no
    LSTM in bfloat16: there the network runs in float32 only.

    Source: papers/zhaw_bilstm_aam.txt; edualc/ZHAW_deep_voice, networks/pairwise_lstm; initial weights are Keras'.
    """

    bf16_layers = ("lstm",)

    def __init__(self, settings: BiLSTM, num_bins: int) -> None:
        super().__init__()
        width = settings.width
        self.first = nn.LSTM(num_bins, width, batch_first=True, bidirectional=True)
        self.second = nn.LSTM(2 * width, width, batch_first=True, bidirectional=True)
        self.dropout = settings.dropout
        inputs = (2 * width, *settings.dense_dims)
        dense = [EmbeddingLayer(*dims) for dims in zip(inputs, settings.dense_dims, strict=False)]
        between = [[layer, nn.Dropout(settings.dense_dropout)] for layer in dense[:-1]]
        self.dense = nn.Sequential(*sum(between, []), dense[-1])
        for lstm in (self.first, self.second):
            keras_lstm(lstm)
        glorot_uniform(dense)
        self.min_frames = 1
        self.embedding_dim, self.classifier_dim = 2 * width, settings.dense_dims[-1]

    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD; frames of clip b from `num_frames_B[b]` on are padding and are not read.

        Raises:
            ValueError: a clip is shorter than `min_frames`.
        """
        check_min_frames(feats_BTF, num_frames_B, self.min_frames)
        lengths_B = padded_lengths(feats_BTF, num_frames_B)
        frames: Tensor | PackedSequence = feats_BTF
        if lengths_B is not None:
            frames = pack_padded_sequence(feats_BTF, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = self.first(frames)
        _, (last_2BC, _) = self.second(self._dropped(states))
        return at_least_float32(torch.cat([last_2BC[0], last_2BC[1]], dim=1))

    def _dropped(self, states: Tensor | PackedSequence) -> Tensor | PackedSequence:
        if isinstance(states, PackedSequence):
            return states._replace(data=functional.dropout(states.data, self.dropout, self.training))
        return functional.dropout(states, self.dropout, self.training)

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns the output of the last linear layer."""
        return self.dense(embedding_BD)

    def frame_part(self) -> list[nn.Module]:
        """Returns the first LSTM layer: the second one turns frames into a vector."""
        return [self.first]
