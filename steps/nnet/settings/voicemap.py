"""Settings of the voicemap network over raw samples."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_counts


@dataclass(frozen=True, kw_only=True)
class Voicemap:
    """Four one-dimensional convolutions over samples at 4 kHz; the defaults are the best network of the blog's grid.

    The published weights are of `pool_sizes = (2, 2, 2, 2)`; steps.convert reads theirs from their file.

    Source: papers/voicemap_blog.txt; oscarknagg/voicemap, voicemap/models.py and utils.py (Keras 2.2.2).
    """

    type: str = "voicemap"
    # channels of the first convolution; the others have twice, three and four times as many
    filters: int = 128
    # samples that the first convolution sees (8 ms at 4 kHz); the others see 3 positions
    kernel_size: int = 32
    # positions that each max-pooling takes together, without overlap
    pool_sizes: tuple[int, ...] = (4, 2, 2, 2)
    # dimensions of the embedding
    embedding_dim: int = 64
    # probability that a channel of a block is silent in training (SpatialDropout1D)
    dropout: float = 0.0
    # mean 0 for each clip, and a gain to a root mean square of 0.038021: "example" computes the gain from each clip by itself,
    # "batch" in training from all clips of the batch together (as published), "none" leaves samples as they are
    whitening: str = "example"

    def __post_init__(self) -> None:
        expect(self, "type", ("voicemap",))
        expect(self, "whitening", ("example", "batch", "none"))
        for name in ("filters", "kernel_size", "embedding_dim"):
            expect_counts(self, name, getattr(self, name))
        expect_counts(self, "pool_sizes", *self.pool_sizes)
        if len(self.pool_sizes) != 4:
            raise ValueError(f"Voicemap.pool_sizes: expected one for each of four blocks, found {self.pool_sizes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"Voicemap.dropout: expected 0 to below 1, found {self.dropout}")
