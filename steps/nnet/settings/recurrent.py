"""Settings of recurrent networks."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_counts


@dataclass(frozen=True, kw_only=True)
class BiLSTM:
    """Two bidirectional LSTM layers and linear layers to the classifier; the defaults are the BiLSTM of ZHAW at width 512.

    `width = 256` with `dense_dims = (10 * speakers, 5 * speakers)` is the network of the pairwise KL loss.

    Source: papers/zhaw_bilstm_aam.txt; edualc/ZHAW_deep_voice, networks/pairwise_lstm; Stadelmann et al., ANNPR 2018.
    """

    type: str = "bilstm"
    # LSTM cells of each direction in both layers: 256, 512 or 1024 in the papers; the embedding has twice as many dimensions
    width: int = 512
    # share of the first layer's outputs that are 0 in training
    dropout: float = 0.5
    # outputs of the linear layers between embedding and classifier
    dense_dims: tuple[int, ...] = (1024, 512)
    # share of the outputs of each linear layer but the last that are 0 in training
    dense_dropout: float = 0.25

    def __post_init__(self) -> None:
        expect(self, "type", ("bilstm",))
        expect_counts(self, "width", self.width)
        expect_counts(self, "dense_dims", *self.dense_dims)
        for name in ("dropout", "dense_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"BiLSTM.{name}: expected 0 to below 1, found {getattr(self, name)}")
        if len(self.dense_dims) == 1 and self.dense_dropout:
            raise ValueError(f"BiLSTM.dense_dropout: has no effect with a single linear layer, found {self.dense_dropout}; set 0")
