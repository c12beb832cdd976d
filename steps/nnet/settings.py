"""Settings of the networks and of their training heads; standard library only, so that planning a stage loads no torch.

`type` names the class in TOML (`type = "xvector"`): `MODEL_SETTINGS` and `HEAD_SETTINGS` map it to the dataclass.
"""

from dataclasses import dataclass

POOLINGS = ("statistics", "mean")


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
        _expect(self, "type", ("xvector",))
        _expect(self, "pooling", POOLINGS)
        _expect(self, "segment_layers", (1, 2))
        _expect_counts(self, "embedding_dim", self.embedding_dim)
        for name in ("channels", "kernel_sizes", "dilations"):
            _expect_counts(self, name, *getattr(self, name))
        lengths = {name: len(getattr(self, name)) for name in ("channels", "kernel_sizes", "dilations")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"model: expected as many channels as kernel_sizes and dilations, found {lengths}")


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
        _expect(self, "type", ("resnet",))
        _expect(self, "pooling", POOLINGS)
        _expect(self, "head_input", ("embedding", "bn_relu"))
        _expect_counts(self, "blocks", *self.blocks)
        _expect_counts(self, "channels", self.channels)
        _expect_counts(self, "embedding_dim", self.embedding_dim)
        if len(self.blocks) != 4:
            raise ValueError(f"model.blocks: expected four groups, found {len(self.blocks)}: {self.blocks}")


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Cross-entropy over W x + b."""

    type: str = "softmax"

    def __post_init__(self) -> None:
        _expect(self, "type", ("softmax",))


@dataclass(frozen=True, kw_only=True)
class AM:
    """Additive margin on the cosine (AM-softmax, CosFace): target logit scale * (cos - margin).

    Source: Wang et al., arXiv 1801.05599 (scale 30, margin 0.35 there); speaker recipes use a margin of 0.2.
    """

    type: str = "am"
    # factor on the cosines
    scale: float = 30.0
    # cosine taken off the target
    margin: float = 0.2

    def __post_init__(self) -> None:
        _expect(self, "type", ("am",))
        _expect_margin(self.scale, self.margin)


@dataclass(frozen=True, kw_only=True)
class AAM:
    """Additive margin on the angle (AAM-softmax, ArcFace): target logit scale * cos(angle + margin).

    cos(angle + margin) rises again once angle + margin passes pi. Guard, as in the BUT and clovaai code: from there on,
    cos <= cos(pi - margin), the target is cos - margin * sin(margin). With `easy_margin` it is plain cos wherever
    cos <= 0, that is, only targets nearer than a right angle get a margin.

    Source: Deng et al., arXiv 1801.07698; scale 32 and margin 0.2 as in VBx-training-recipe.
    """

    type: str = "aam"
    # factor on the cosines
    scale: float = 32.0
    # radians added to the target's angle
    margin: float = 0.2
    # margin only where cos > 0
    easy_margin: bool = False

    def __post_init__(self) -> None:
        _expect(self, "type", ("aam",))
        _expect_margin(self.scale, self.margin)


MODEL_SETTINGS = {"xvector": XVector, "resnet": ResNet}
HEAD_SETTINGS = {"softmax": Softmax, "am": AM, "aam": AAM}


def _expect(settings: object, name: str, allowed: tuple) -> None:
    found = getattr(settings, name)
    if found not in allowed:
        raise ValueError(f"{type(settings).__name__}.{name}: expected one of {allowed}, found {found!r}")


def _expect_counts(settings: object, name: str, *values: int) -> None:
    if not values or min(values) < 1:
        raise ValueError(f"{type(settings).__name__}.{name}: expected numbers of at least 1, found {values}")


def _expect_margin(scale: float, margin: float) -> None:
    if scale <= 0:
        raise ValueError(f"head.scale: expected a number above 0, found {scale}")
    if not 0 <= margin < 1.5:
        raise ValueError(f"head.margin: expected a number from 0 to below 1.5, found {margin}")
