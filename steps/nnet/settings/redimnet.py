"""Settings of ReDimNet."""

import math
from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_counts


@dataclass(frozen=True, kw_only=True)
class ReDimNet:
    """A network whose stages see their input as a plane of bins and frames and as a sequence; the defaults are B2.

    B0, B1 and B2 stand in conf/model. Feature bins must be divisible by the product of `strides`; the published B1 and B2
    have 72, B0 has 60, of log-mel spectra every 15 ms (of 25 ms, 20 to 7600 Hz), their mean over time taken off.

    Source: Yakovlev et al., Interspeech 2024, arXiv 2407.18223; IDRnD/redimnet; the sizes' stages as in wenet-e2e/wespeaker,
    wespeaker/models/redimnet.py (after the authors' configurations).
    """

    type: str = "redimnet"
    # channels of the plane before the first stage; channels x bins is the width of the sequences, the same in all stages
    channels: int = 16
    # of each stage: the bins are divided, the channels multiplied by it
    strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2)
    # of each stage: blocks on the plane
    blocks: tuple[int, ...] = (2, 2, 3, 4, 4, 4)
    # of each stage: how many times as many channels these blocks have
    expansions: tuple[int, ...] = (1, 1, 1, 1, 1, 1)
    # of each stage: the width of the sequences over that of the block on the sequence; 0: the stage has no such block
    reductions: tuple[int, ...] = (12, 12, 12, 8, 8, 4)
    # blocks on the plane: "convnext" (a grouped 3x3 convolution, a 1x1) or "basic" (two of these)
    block: str = "convnext"
    # channels in a group of the 3x3 convolutions
    group_channels: int = 4
    # hidden units of the pooling's attention, which also sees the clip's mean and standard deviation
    attention_dim: int = 128
    # dimensions of the embedding
    embedding_dim: int = 192

    def __post_init__(self) -> None:
        expect(self, "type", ("redimnet",))
        expect(self, "block", ("convnext", "basic"))
        for name in ("channels", "group_channels", "attention_dim", "embedding_dim"):
            expect_counts(self, name, getattr(self, name))
        stages = ("strides", "blocks", "expansions", "reductions")
        for name in stages[:3]:
            expect_counts(self, name, *getattr(self, name))
        if min(self.reductions, default=0) < 0:
            raise ValueError(f"model.reductions: expected numbers of at least 0, found {self.reductions}")
        lengths = {name: len(getattr(self, name)) for name in stages}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"model: expected as many strides as blocks, expansions and reductions, found {lengths}")

    def stage_channels(self) -> tuple[int, ...]:
        """Returns the channels of the plane that leaves each stage."""
        return tuple(self.channels * math.prod(self.strides[: stage + 1]) for stage in range(len(self.strides)))
