"""Settings of time-delay networks."""

from dataclasses import dataclass

from steps.nnet.settings.checks import POOLINGS, expect, expect_counts


@dataclass(frozen=True, kw_only=True)
class XVector:
    """A TDNN embedding network; the defaults are Kaldi's x-vector, other tuples give its deeper relatives.

    Layer i of the frame part sees `kernel_sizes[i]` frames `dilations[i]` apart: (3, 2) is Kaldi's {-2, 0, 2}.

    Source: Snyder et al., "X-vectors", ICASSP 2018; Kaldi egs/voxceleb/v2, run_xvector_1a.sh.
    """

    type: str = "xvector"
    # channels out of each frame layer
    channels: tuple[int, ...] = (512, 512, 512, 512, 1500)
    # frames seen by each frame layer
    kernel_sizes: tuple[int, ...] = (5, 3, 3, 1, 1)
    # frames between those
    dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
    # "statistics" (mean and standard deviation over time) or "mean"
    pooling: str = "statistics"
    # dimensions of the embedding, the affine output of the first segment layer
    embedding_dim: int = 512
    # whether BN without parameters follows the embedding's affine map: centred embeddings train in fewer epochs
    embedding_norm: bool = False
    # 2: the classifier sits behind ReLU, BN and a second segment layer (softmax); 1: on the embedding (margin losses)
    segment_layers: int = 2

    def __post_init__(self) -> None:
        expect(self, "type", ("xvector",))
        expect(self, "pooling", POOLINGS)
        expect(self, "segment_layers", (1, 2))
        expect_counts(self, "embedding_dim", self.embedding_dim)
        for name in ("channels", "kernel_sizes", "dilations"):
            expect_counts(self, name, *getattr(self, name))
        lengths = {name: len(getattr(self, name)) for name in ("channels", "kernel_sizes", "dilations")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"model: expected as many channels as kernel_sizes and dilations, found {lengths}")
