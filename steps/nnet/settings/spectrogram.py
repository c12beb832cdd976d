"""Settings of the two-dimensional networks of the VoxCeleb papers: VGG-M, their ResNets, the thin ResNet, Heo's ResNet."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_above, expect_counts


def _expect_length(settings: object, name: str, length: int) -> None:
    found = getattr(settings, name)
    if len(found) != length:
        raise ValueError(f"{type(settings).__name__}.{name}: expected {length} numbers, found {len(found)}: {found}")
    expect_counts(settings, name, *found)


@dataclass(frozen=True, kw_only=True)
class VGGM:
    """VGG-M on spectrograms; the defaults are the CNN of VoxCeleb1.

    A narrow one: `channels = [32, 64, 96, 64, 64]`, `fc_dims = [512, 256]`. The input needs at least 97 bins.

    Source: Nagrani et al., "VoxCeleb", Interspeech 2017, table 4; a-nagrani/VGGVox.
    """

    type: str = "vggm"
    # channels of conv1 to conv5
    channels: tuple[int, ...] = (96, 256, 384, 256, 256)
    # dimensions of fc6 and fc7
    fc_dims: tuple[int, ...] = (4096, 1024)
    # dimensions of fc8, a linear map behind fc7 (256 in the paper); 0: the embedding is fc7 itself
    embedding_dim: int = 0

    def __post_init__(self) -> None:
        expect(self, "type", ("vggm",))
        _expect_length(self, "channels", 5)
        _expect_length(self, "fc_dims", 2)
        expect_above(self, "embedding_dim", -1)


@dataclass(frozen=True, kw_only=True)
class VGGResNet:
    """The ResNets of VoxCeleb2; the defaults are ResNet-34. ResNet-50: `block = "bottleneck"`, `fc1_dim = 2048`.

    Source: Chung et al., "VoxCeleb2", Interspeech 2018, table 3.
    """

    type: str = "vgg_resnet"
    # "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1 with four times the channels)
    block: str = "basic"
    # blocks in each of the four groups
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    # channels of the first layer and group; every further group has twice as many
    channels: int = 64
    # dimensions of fc1, the convolution over all remaining bins that is averaged over time
    fc1_dim: int = 512
    # dimensions of a linear map behind the average (512 in the paper's contrastive stage); 0: the embedding is fc1's average
    embedding_dim: int = 0

    def __post_init__(self) -> None:
        expect(self, "type", ("vgg_resnet",))
        expect(self, "block", ("basic", "bottleneck"))
        _expect_length(self, "blocks", 4)
        expect_counts(self, "channels", self.channels)
        expect_counts(self, "fc1_dim", self.fc1_dim)
        expect_above(self, "embedding_dim", -1)


@dataclass(frozen=True, kw_only=True)
class ThinResNet:
    """The thin ResNet-34 with GhostVLAD; `ghosts = 0` is NetVLAD, `clusters = 0` and `ghosts = 0` temporal average pooling.

    A narrow one: half or a quarter of all channels. The input needs at least 34 bins.

    Source: Xie et al., arXiv 1902.10107; WeidiXie/VGG-Speaker-Recognition, src/backbone.py (resnet_2D) and src/model.py.
    """

    type: str = "thin_resnet"
    # channels of the 7x7 convolution
    stem_channels: int = 64
    # bottleneck blocks in each of the four groups
    blocks: tuple[int, ...] = (2, 3, 3, 3)
    # channels inside the blocks of each group
    inner_channels: tuple[int, ...] = (48, 96, 128, 256)
    # channels out of the blocks of each group
    outer_channels: tuple[int, ...] = (96, 128, 256, 512)
    # dimensions of the frame-level features that are pooled
    feature_dim: int = 512
    # VLAD clusters that count; 0: mean over time
    clusters: int = 8
    # VLAD clusters that draw assignments and are dropped
    ghosts: int = 2
    # dimensions of the embedding
    embedding_dim: int = 512

    def __post_init__(self) -> None:
        expect(self, "type", ("thin_resnet",))
        for name in ("blocks", "inner_channels", "outer_channels"):
            _expect_length(self, name, 4)
        for name in ("stem_channels", "feature_dim", "embedding_dim"):
            expect_counts(self, name, getattr(self, name))
        for name in ("clusters", "ghosts"):
            expect_above(self, name, -1)
        if self.ghosts and not self.clusters:
            raise ValueError(f"ThinResNet.ghosts: expected 0, as there are no clusters, found {self.ghosts}")


@dataclass(frozen=True, kw_only=True)
class PreActResNet:
    """The pre-activation ResNet trained with speaker-basis losses; the input needs at least 5 bins.

    Source: Heo et al., arXiv 1902.02455; hsss/speaker_verification_pytorch, models/spec_resnet_preact.py.
    """

    type: str = "preact_resnet"
    # basic blocks of two convolutions in each of the four groups
    blocks: tuple[int, ...] = (3, 4, 6, 4)
    # channels of the first layer and group; every further group has twice as many
    channels: int = 64
    # dimensions of the embedding
    embedding_dim: int = 1024
    # Euclidean norm of every embedding
    embedding_scale: float = 10.0

    def __post_init__(self) -> None:
        expect(self, "type", ("preact_resnet",))
        _expect_length(self, "blocks", 4)
        expect_counts(self, "channels", self.channels)
        expect_counts(self, "embedding_dim", self.embedding_dim)
        expect_above(self, "embedding_scale", 0.0)
