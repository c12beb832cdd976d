"""Settings of the convolutional network over spectrogram segments of one length."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_counts

# Frames and bins that the two blocks need at their input to leave one position: 4x4 kernels, then 4x4 pooling, step 2, twice.
SMALLEST_INPUT = 19


@dataclass(frozen=True, kw_only=True)
class SegmentCNN:
    """Two convolutions and two dense layers over a second of speech; the defaults are those for 100 training speakers.

    For n speakers the papers use `embedding_dim = 10 n` and `dense_dim = 5 n`.

    Source: Lukic et al., MLSP 2016 and 2017; stdm/ZHAW_deep_voice, networks/pairwise_kldiv (network_factory.py).
    """

    type: str = "cnn_kl"
    # channels of the two convolutions
    channels: tuple[int, ...] = (32, 64)
    # frames that the network sees at once (1 s at 10 ms): train on crops of just so many
    segment_frames: int = 100
    # outputs of the first dense layer, the embedding
    embedding_dim: int = 1000
    # share of them (behind their batch norm) that are 0 in training
    dropout: float = 0.5
    # outputs of the second dense layer, which the classifier sees
    dense_dim: int = 500

    def __post_init__(self) -> None:
        expect(self, "type", ("cnn_kl",))
        expect_counts(self, "channels", *self.channels)
        expect_counts(self, "embedding_dim", self.embedding_dim)
        expect_counts(self, "dense_dim", self.dense_dim)
        if len(self.channels) != 2:
            raise ValueError(f"SegmentCNN.channels: expected those of two convolutions, found {self.channels}")
        if self.segment_frames < SMALLEST_INPUT:
            raise ValueError(f"SegmentCNN.segment_frames: expected at least {SMALLEST_INPUT}, found {self.segment_frames}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"SegmentCNN.dropout: expected 0 to below 1, found {self.dropout}")
