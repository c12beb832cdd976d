"""Settings of residual networks over the time-frequency plane."""

from dataclasses import dataclass

from steps.nnet.settings.checks import PLANE_POOLINGS, TIME_POOLINGS, expect, expect_counts, expect_pooling


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """A two-dimensional residual network; the defaults are ResNet34 with 32 channels (BUT, WeSpeaker).

    `channels = 16` gives the thin network. "ResNet-256" and "ResNet-160" of the BUT system are `embedding_dim`. The depths
    of WeSpeaker (18 to 293), SimAM-ResNets, DKU's network and the one with attentive pooling stand in conf/model.

    Source: Zeinali et al., arXiv 1910.12592; phonexiaresearch/VBx-training-recipe, local/models/resnet2.py;
    wenet-e2e/wespeaker, wespeaker/models/resnet.py and samresnet.py.
    """

    type: str = "resnet"
    # "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1 to four times the channels)
    block: str = "basic"
    # blocks in each of the four groups
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    # channels of the first group, in a bottleneck those of its 3x3 convolution; every further group has twice as many
    channels: int = 32
    # inside the blocks: "none", or "simam", a gate without parameters on the second convolution's output
    attention: str = "none"
    # "statistics" (mean and standard deviation over time), "mean", "max"; over bins and time: "global_mean", "global_max"; with
    # attention: "attentive_statistics", "channel_attentive", "channel_attentive_bn", "multi_head", "multi_query"
    # (steps/nnet/attentive_pooling.py)
    pooling: str = "statistics"
    # hidden units of the pooling's attention
    attention_dim: int = 128
    # groups of channels (a channel at a bin counts as one) with attention weights of their own
    heads: int = 1
    # sets of attention weights per group ("multi_query")
    queries: int = 1
    # dimensions of the embedding
    embedding_dim: int = 256
    # whether BN without parameters follows the embedding's affine map: centred embeddings train in fewer epochs
    embedding_norm: bool = False
    # what the classifier sees: "embedding" (margin losses) or "bn_relu", the embedding behind BN and ReLU (softmax)
    head_input: str = "embedding"

    def __post_init__(self) -> None:
        expect(self, "type", ("resnet",))
        expect(self, "block", ("basic", "bottleneck"))
        expect(self, "attention", ("none", "simam"))
        expect(self, "head_input", ("embedding", "bn_relu"))
        expect_pooling(self, (*TIME_POOLINGS, *PLANE_POOLINGS))
        expect_counts(self, "blocks", *self.blocks)
        expect_counts(self, "channels", self.channels)
        expect_counts(self, "embedding_dim", self.embedding_dim)
        if len(self.blocks) != 4:
            raise ValueError(f"model.blocks: expected four groups, found {len(self.blocks)}: {self.blocks}")
        if self.attention == "simam" and self.block != "basic":
            raise ValueError(f"model.attention: 'simam' goes with block 'basic', found {self.block!r}")
