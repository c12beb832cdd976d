"""Settings of residual networks over the time-frequency plane."""

from dataclasses import dataclass

from steps.nnet.settings.checks import POOLINGS, expect, expect_counts


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """A two-dimensional residual network; the defaults are ResNet34 with 32 channels (BUT, WeSpeaker).

    `channels = 16` gives the thin network. "ResNet-256" and "ResNet-160" of the BUT system are `embedding_dim`.

    Source: Zeinali et al., arXiv 1910.12592; phonexiaresearch/VBx-training-recipe, local/models/resnet2.py.
    """

    type: str = "resnet"
    # basic blocks of two convolutions in each of the four groups
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    # channels of the first group; every further group has twice as many
    channels: int = 32
    # "statistics" (mean and standard deviation over time) or "mean"
    pooling: str = "statistics"
    # dimensions of the embedding
    embedding_dim: int = 256
    # whether BN without parameters follows the embedding's affine map: centred embeddings train in fewer epochs
    embedding_norm: bool = False
    # what the classifier sees: "embedding" (margin losses) or "bn_relu", the embedding behind BN and ReLU (softmax)
    head_input: str = "embedding"

    def __post_init__(self) -> None:
        expect(self, "type", ("resnet",))
        expect(self, "pooling", POOLINGS)
        expect(self, "head_input", ("embedding", "bn_relu"))
        expect_counts(self, "blocks", *self.blocks)
        expect_counts(self, "channels", self.channels)
        expect_counts(self, "embedding_dim", self.embedding_dim)
        if len(self.blocks) != 4:
            raise ValueError(f"model.blocks: expected four groups, found {len(self.blocks)}: {self.blocks}")
