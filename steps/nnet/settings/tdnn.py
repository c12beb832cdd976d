"""Settings of time-delay networks."""

from dataclasses import dataclass

from steps.nnet.settings.checks import POOLINGS, TIME_POOLINGS, expect, expect_above, expect_counts, expect_pooling, expect_range


@dataclass(frozen=True, kw_only=True)
class XVector:
    """A TDNN embedding network; the defaults are Kaldi's x-vector, other tuples give its deeper relatives.

    Layer i of the frame part sees `kernel_sizes[i]` frames `dilations[i]` apart: (3, 2) is Kaldi's {-2, 0, 2}.

    E-TDNN, BIG TDNN: conf/model. Zeinali et al. say of the latter that some variants have residual connections between
    frame layers, not where. Chosen here: frame layers are taken in pairs (one with context, one without, in these
    networks); what enters a pair is added to what leaves it, behind ReLU and BN, the frames that the pair has no output
    for cropped off both ends. The first pair, whose input are the features, has no such connection, nor has one of
    another width than its input: in BIG TDNN layers 3+4, 5+6 and 7+8 have one. No parameters are added.

    Source: Snyder et al., "X-vectors", ICASSP 2018; Kaldi egs/voxceleb/v2, run_xvector_1a.sh; Zeinali et al.,
    arXiv 1910.12592 (residual).
    """

    type: str = "xvector"
    # channels out of each frame layer
    channels: tuple[int, ...] = (512, 512, 512, 512, 1500)
    # frames seen by each frame layer
    kernel_sizes: tuple[int, ...] = (5, 3, 3, 1, 1)
    # frames between those
    dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
    # "statistics" (mean and standard deviation over time), "mean", "max", or one with attention: "attentive_statistics",
    # "channel_attentive", "channel_attentive_bn", "multi_head", "multi_query" (steps/nnet/attentive_pooling.py)
    pooling: str = "statistics"
    # hidden units of the pooling's attention
    attention_dim: int = 128
    # groups of channels with attention weights of their own
    heads: int = 1
    # sets of attention weights per group ("multi_query")
    queries: int = 1
    # dimensions of the embedding, the affine output of the first segment layer
    embedding_dim: int = 512
    # whether BN without parameters follows the embedding's affine map: centred embeddings train in fewer epochs
    embedding_norm: bool = False
    # 2: the classifier sits behind ReLU, BN and a second segment layer (softmax); 1: on the embedding (margin losses)
    segment_layers: int = 2
    # whether the input of the second, third, ... pair of frame layers is added to its output where they are equally wide
    residual: bool = False

    def __post_init__(self) -> None:
        expect(self, "type", ("xvector",))
        expect_pooling(self, TIME_POOLINGS)
        expect(self, "segment_layers", (1, 2))
        expect_counts(self, "embedding_dim", self.embedding_dim)
        for name in ("channels", "kernel_sizes", "dilations"):
            expect_counts(self, name, *getattr(self, name))
        lengths = {name: len(getattr(self, name)) for name in ("channels", "kernel_sizes", "dilations")}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"model: expected as many channels as kernel_sizes and dilations, found {lengths}")
        if self.residual and not self.residual_pairs():
            raise ValueError(f"model.residual: no pair of layers after the first keeps its width in {self.channels}")

    def residual_pairs(self) -> tuple[int, ...]:
        """Returns the first layer (counted from 0) of each pair with a residual connection."""
        if not self.residual:
            return ()
        last = len(self.channels) - 1
        return tuple(i for i in range(2, last, 2) if self.channels[i - 1] == self.channels[i + 1])


@dataclass(frozen=True, kw_only=True)
class FTDNN:
    """The factorised TDNN of JHU; the defaults are the published sizes, smaller ones give a narrow variant.

    Source: Garcia-Romero et al., Interspeech 2019; Povey et al., Interspeech 2018 (the layer); Snowdar/asv-subtools,
    factored_xvector.py.
    """

    type: str = "ftdnn"
    # channels of layer 1, an ordinary TDNN layer of five frames
    first_channels: int = 512
    # channels of layers 2 to 9, the factorised ones
    channels: int = 1024
    # channels between the two factors of each of these
    bottleneck: int = 256
    # channels of layer 10, a dense one before the pooling
    penultimate: int = 2048
    # factor on the input of a factorised layer, added to its output (layers 3, 4, 5, 6 and 8)
    bypass: float = 0.66
    # updates of the weights from one step towards semi-orthogonal first factors to the next
    orthogonal_every: int = 4
    # whether these steps are half or a quarter as long while the factor is far from it, as in Kaldi
    orthogonal_slowed: bool = False
    # "statistics" (mean and standard deviation over time) or "mean"
    pooling: str = "statistics"
    # dimensions of the embedding, the affine output of the first segment layer
    embedding_dim: int = 512
    # whether BN without parameters follows the embedding's affine map: centred embeddings train in fewer epochs
    embedding_norm: bool = False
    # 2: the classifier sits behind ReLU, BN and a second segment layer (softmax); 1: on the embedding (margin losses)
    segment_layers: int = 2

    def __post_init__(self) -> None:
        expect(self, "type", ("ftdnn",))
        expect(self, "pooling", POOLINGS)
        expect(self, "segment_layers", (1, 2))
        expect_range(self, "bypass", 0.0, 1.0)
        for name in ("first_channels", "channels", "bottleneck", "penultimate", "orthogonal_every", "embedding_dim"):
            expect_counts(self, name, getattr(self, name))
        widest = min(self.channels, 2 * self.first_channels)
        if self.bottleneck > widest:
            raise ValueError(
                f"FTDNN.bottleneck: expected at most {widest} (channels, twice first_channels), for more rows than columns "
                f"cannot be orthogonal, found {self.bottleneck}"
            )


@dataclass(frozen=True, kw_only=True)
class ECAPA:
    """ECAPA-TDNN; the defaults are the published network with 512 channels, `channels = 1024` the larger one.

    6,190,720 and 14,657,088 parameters with 80 bins (WeSpeaker prints 6.19M and 14.65M, the paper 6.2M and 14.7M). The form
    is the paper's: no batch norm behind the layer that joins the blocks, none in the attention, and each block sees the sum
    of all outputs before it (section 3.3). WeSpeaker's differs by `summed = false`; SpeechBrain's has that and
    `joined_norm = true`, `attention_norm = true`, `padding = "reflect"`, and 14,660,416 parameters. The paper puts batch
    norm behind the embedding too: `embedding_norm`, which here has no scale and shift.

    Source: Desplanques et al., arXiv 2005.07143.
    """

    type: str = "ecapa"
    # channels of the first layer and of each SE-Res2Block; a multiple of `scale`
    channels: int = 512
    # dilations of the blocks' convolutions, one for each block
    dilations: tuple[int, ...] = (2, 3, 4)
    # groups of channels in a block, of which each but the first is convolved
    scale: int = 8
    # dimensions of the bottleneck of squeeze and excitation
    se_dim: int = 128
    # whether a block sees the sum of the outputs of all layers before it, or the last one's output
    summed: bool = True
    # channels of the layer that joins the outputs of all blocks
    joined_channels: int = 1536
    # whether batch norm follows this layer's ReLU
    joined_norm: bool = False
    # dimensions of the attention's hidden layer
    attention_dim: int = 128
    # whether the attention also sees mean and standard deviation of the whole clip
    global_context: bool = True
    # whether ReLU and batch norm stand before the attention's tanh
    attention_norm: bool = False
    # what convolutions see beyond a clip's ends: "zeros" or "reflect", its frames mirrored
    padding: str = "zeros"
    # dimensions of the embedding
    embedding_dim: int = 192
    # whether BN without parameters follows the embedding's affine map
    embedding_norm: bool = False

    def __post_init__(self) -> None:
        expect(self, "type", ("ecapa",))
        expect(self, "padding", ("zeros", "reflect"))
        expect_above(self, "scale", 1)
        for name in ("channels", "se_dim", "joined_channels", "attention_dim", "embedding_dim"):
            expect_counts(self, name, getattr(self, name))
        expect_counts(self, "dilations", *self.dilations)
        if self.channels % self.scale:
            raise ValueError(f"ECAPA.channels: expected a multiple of scale = {self.scale}, found {self.channels}")


@dataclass(frozen=True, kw_only=True)
class CAMPPlus:
    """CAM++: a densely connected TDNN with context-aware masks behind a small two-dimensional residual front.

    7,176,224 parameters with 80 bins and 512 dimensions (3D-Speaker and WeSpeaker print 7.18M).

    Source: Wang et al., arXiv 2303.00332; modelscope/3D-Speaker, speakerlab/models/campplus.
    """

    type: str = "campplus"
    # channels of the two-dimensional convolutions
    front_channels: int = 32
    # residual blocks in each group of the front; each group halves the bins, a last convolution does so once more
    front_blocks: tuple[int, ...] = (2, 2)
    # channels of the strided TDNN layer behind the front
    init_channels: int = 128
    # layers of each dense block
    layers: tuple[int, ...] = (12, 24, 16)
    # dilation within each dense block
    dilations: tuple[int, ...] = (1, 2, 2)
    # channels that each layer adds
    growth: int = 32
    # channels of a layer's bottleneck, as a multiple of `growth`
    bottleneck_factor: int = 4
    # frames (of two feature frames each) over which the masks take a local mean
    segment_frames: int = 100
    # dimensions of the embedding
    embedding_dim: int = 512
    # whether BN without parameters follows the embedding's linear map, as published
    embedding_norm: bool = True

    def __post_init__(self) -> None:
        expect(self, "type", ("campplus",))
        names = ("front_channels", "init_channels", "growth", "bottleneck_factor", "segment_frames", "embedding_dim")
        for name in names:
            expect_counts(self, name, getattr(self, name))
        for name in ("front_blocks", "layers", "dilations"):
            expect_counts(self, name, *getattr(self, name))
        if len(self.layers) != len(self.dilations):
            raise ValueError(f"CAMPPlus: expected as many layers as dilations, found {self.layers} and {self.dilations}")
        if self.growth * self.bottleneck_factor < 2:
            raise ValueError("CAMPPlus: expected growth * bottleneck_factor of at least 2, found 1")
