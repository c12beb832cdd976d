"""Settings of the heads that compare the embeddings of a batch: pairs, triplets and episodes.

`batches` of each class names the kinds of `train.sampling` whose batches the head can use.
"""

from dataclasses import dataclass
from typing import ClassVar

from steps.nnet.settings.checks import expect, expect_above, expect_counts, expect_range


@dataclass(frozen=True, kw_only=True)
class Contrastive:
    """Contrastive loss: distance^2 of a pair of one speaker, max(0, margin - distance)^2 of a pair of two, Euclidean.

    `batches` is ("pairs",) for consecutive pairs, ("pairs", "groups") for all of them.

    Source: Hadsell et al., CVPR 2006, equation 4, whose factor 1/2 is `half`. Defaults: the margin of VGGVox's loss layer.
    What the VoxCeleb papers mined within a batch is unknown: `pairs = "all"` with `hardest_negatives = 0.1` is our choice.
    """

    batches: ClassVar[tuple[str, ...]] = ("pairs", "groups")

    type: str = "contrastive"
    # distance beyond which two speakers cost nothing; two unit vectors are at most 2 apart
    margin: float = 1.0
    # embeddings are divided by their length first
    normalise: bool = True
    # losses times 1/2
    half: bool = False
    # "consecutive": examples 2i and 2i + 1; "all": each example with each other one of the batch
    pairs: str = "consecutive"
    # share of the batch's pairs of different speakers that count, the nearest; at least one
    hardest_negatives: float = 1.0

    def __post_init__(self) -> None:
        expect(self, "type", ("contrastive",))
        expect(self, "pairs", ("consecutive", "all"))
        expect_above(self, "margin", 0.0)
        expect_above(self, "hardest_negatives", 0.0)
        expect_range(self, "hardest_negatives", 0.0, 1.0)
        if self.pairs == "consecutive":
            # Groups have no consecutive pairs of different speakers.
            object.__setattr__(self, "batches", ("pairs",))


@dataclass(frozen=True, kw_only=True)
class Triplet:
    """Triplet loss: max(0, d(anchor, positive) - d(anchor, negative) + margin), d the squared Euclidean distance.

    Source: Schroff et al., arXiv 1503.03832 (unit vectors, margin 0.2); "hard": Hermans et al., arXiv 1703.07737.
    """

    batches: ClassVar[tuple[str, ...]] = ("groups",)

    type: str = "triplet"
    # of squared distances
    margin: float = 0.2
    # embeddings are divided by their length first
    normalise: bool = True
    # "all" triplets of a batch; "semi_hard": for each anchor and positive the nearest negative beyond the positive, or the
    # farthest one where none is beyond; "hard": for each anchor its farthest positive and its nearest negative
    mining: str = "all"

    def __post_init__(self) -> None:
        expect(self, "type", ("triplet",))
        expect(self, "mining", ("all", "semi_hard", "hard"))
        expect_above(self, "margin", 0.0)


@dataclass(frozen=True, kw_only=True)
class Siamese:
    """A learnt decision about pairs: sigmoid(w . distance + b) is the probability that two speakers differ.

    Source: voicemap (Euclidean distance, one weight); "weighted_l1": Koch et al., ICML 2015 deep learning workshop.
    """

    batches: ClassVar[tuple[str, ...]] = ("pairs",)

    type: str = "siamese"
    # "euclidean": one number, so one weight; "weighted_l1": |difference| of each dimension, a weight for each
    distance: str = "euclidean"
    # "bce": binary cross-entropy with label 1 = different; "contrastive": contrastive loss in which the sigmoid is the distance
    loss: str = "bce"
    # of the contrastive loss
    margin: float = 1.0

    def __post_init__(self) -> None:
        expect(self, "type", ("siamese",))
        expect(self, "distance", ("euclidean", "weighted_l1"))
        expect(self, "loss", ("bce", "contrastive"))
        expect_above(self, "margin", 0.0)
        if self.loss == "bce" and self.margin != 1.0:
            raise ValueError(f"Siamese.margin: only with loss = 'contrastive', found {self.margin} with loss = 'bce'")


@dataclass(frozen=True, kw_only=True)
class PairwiseKL:
    """Divergences between the speaker probabilities of all pairs of a batch: small for one speaker, over a margin for two.

    Of the kinds of sampling only "speaker" is missing: there hardly any speaker comes twice in a batch.

    Source: Lukic et al., MLSP 2017; Stadelmann et al., ANNPR 2018.
    """

    batches: ClassVar[tuple[str, ...]] = ("utterance", "pairs", "groups")

    type: str = "pairwise_kl"
    # nats; 3 for the BiLSTM, 2 for the CNN
    margin: float = 3.0

    def __post_init__(self) -> None:
        expect(self, "type", ("pairwise_kl",))
        expect_above(self, "margin", 0.0)


@dataclass(frozen=True, kw_only=True)
class GE2E:
    """Generalised end-to-end loss: each utterance against the centroids of all speakers of its batch.

    Source: Wan et al., arXiv 1710.10467.
    """

    batches: ClassVar[tuple[str, ...]] = ("groups",)

    type: str = "ge2e"
    # "softmax": cross-entropy over the centroids (equation 6); "contrast": the own one against the nearest other (equation 7)
    form: str = "softmax"
    # factor on the cosines at the start; it is learnt and stays above 0
    scale: float = 10.0
    # added to them at the start; it is learnt
    bias: float = -5.0

    def __post_init__(self) -> None:
        expect(self, "type", ("ge2e",))
        expect(self, "form", ("softmax", "contrast"))
        expect_above(self, "scale", 0.0)


@dataclass(frozen=True, kw_only=True)
class Prototypical:
    """Cross-entropy over minus the squared Euclidean distances of a query to the mean support embedding of each speaker.

    Source: Snell et al., arXiv 1703.05175.
    """

    batches: ClassVar[tuple[str, ...]] = ("groups",)

    type: str = "prototypical"
    # utterances of each speaker, the first of a group, that are classified; the others are the support
    queries: int = 1

    def __post_init__(self) -> None:
        expect(self, "type", ("prototypical",))
        expect_counts(self, "queries", self.queries)


@dataclass(frozen=True, kw_only=True)
class AngularPrototypical:
    """Cross-entropy over scale * cosine + bias of a query and the mean support embedding of each speaker.

    Source: Chung et al., arXiv 2003.11982.
    """

    batches: ClassVar[tuple[str, ...]] = ("groups",)

    type: str = "angular_prototypical"
    # utterances of each speaker, the first of a group, that are classified; the others are the support
    queries: int = 1
    # factor on the cosines at the start; it is learnt and stays above 0
    scale: float = 10.0
    # added to them at the start; it is learnt (softmax does not see it)
    bias: float = -5.0

    def __post_init__(self) -> None:
        expect(self, "type", ("angular_prototypical",))
        expect_counts(self, "queries", self.queries)
        expect_above(self, "scale", 0.0)
