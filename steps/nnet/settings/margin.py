"""Settings of the heads that classify speakers: softmax and margins on the cosine or the angle."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_above, expect_counts, expect_margin, expect_range

GUARDS = ("but", "wespeaker")


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Cross-entropy over W x + b, or over W x.

    Source of the latter: WeidiXie/VGG-Speaker-Recognition, src/model.py (its class layer has use_bias=False).
    """

    type: str = "softmax"
    # whether each speaker has a bias b
    bias: bool = True

    def __post_init__(self) -> None:
        expect(self, "type", ("softmax",))


@dataclass(frozen=True, kw_only=True)
class L2Softmax:
    """Cross-entropy over alpha W x / ||x|| + b: embeddings lie on a sphere, class vectors keep their length.

    With too small an alpha even a perfect network cannot make a speaker probable: `least_alpha` in heads/l2_softmax.py
    gives the bound (11.6 for a probability of 0.95 among 5,994 speakers).

    Source: Ranjan et al., arXiv 1703.09507.
    """

    type: str = "l2_softmax"
    # radius of the sphere; where it is learnt, its start
    alpha: float = 16.0
    # whether alpha is trained
    learn_alpha: bool = False

    def __post_init__(self) -> None:
        expect(self, "type", ("l2_softmax",))
        expect_above(self, "alpha", 0.0)


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
        expect(self, "type", ("am",))
        expect_margin(self.scale, self.margin)


@dataclass(frozen=True, kw_only=True)
class AAM:
    """Additive margin on the angle (AAM-softmax, ArcFace): target logit scale * cos(angle + margin).

    cos(angle + margin) rises again once angle + margin passes pi. From there on, cos <= cos(pi - margin), a guard replaces
    it: "but" (also clovaai) gives cos - margin * sin(margin), "wespeaker" gives cos - (1 + cos(pi - margin)), which joins
    without a step. With `easy_margin` there is no guard: the target is plain cos wherever cos <= 0, that is, only targets
    nearer than a right angle get a margin.

    Source: Deng et al., arXiv 1801.07698; scale 32 and margin 0.2 as in VBx-training-recipe.
    """

    type: str = "aam"
    # factor on the cosines
    scale: float = 32.0
    # radians added to the target's angle
    margin: float = 0.2
    # margin only where cos > 0
    easy_margin: bool = False
    # "but" or "wespeaker": the target where angle + margin is beyond pi
    guard: str = "but"

    def __post_init__(self) -> None:
        expect(self, "type", ("aam",))
        expect_margin(self.scale, self.margin)
        expect(self, "guard", GUARDS)
        if self.easy_margin and self.guard != "but":
            raise ValueError(f"head.guard: has no effect with easy_margin; leave it out, found {self.guard!r}")


@dataclass(frozen=True, kw_only=True)
class Combined:
    """Margins of three kinds at once: target logit scale * (cos(angle_factor * angle + margin) - cosine_margin).

    The defaults are those of the ZHAW BiLSTM system. There is no guard where the changed angle passes pi, as in its code:
    harmless with a margin of 0.05.

    Source: Lehmann and Stadelmann (ZHAW), equation 2 (m_s, m_a, m_c); edualc/ZHAW_deep_voice, networks/losses.py.
    """

    type: str = "combined"
    # factor on the cosines
    scale: float = 30.0
    # m_a: radians added to the target's angle; what a margin schedule moves
    margin: float = 0.05
    # m_c: taken off the target's cosine
    cosine_margin: float = 1e-4
    # m_s: factor on the target's angle
    angle_factor: float = 1.0

    def __post_init__(self) -> None:
        expect(self, "type", ("combined",))
        expect_margin(self.scale, self.margin)
        expect_range(self, "cosine_margin", 0.0, 1.5)
        expect_range(self, "angle_factor", 1.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class SubCentre:
    """AAM-softmax with several centres a speaker and a penalty on the speakers that come nearest (inter-top-k).

    A speaker's cosine is that of the nearest of its centres, target or not. The `num_hard` largest cosines of other
    speakers become cos(angle - hard_penalty). `num_centres = 1` and `num_hard = 0` switch the two off.

    Source: Deng et al., "Sub-center ArcFace", ECCV 2020; Zhao et al., arXiv 2110.05042; wespeaker, models/projections.py.
    """

    type: str = "sub_centre"
    # factor on the cosines
    scale: float = 32.0
    # radians added to the target's angle
    margin: float = 0.2
    # "but" or "wespeaker", as in AAM
    guard: str = "but"
    # class vectors of each speaker
    num_centres: int = 3
    # other speakers that are made harder; all of them if there are not as many
    num_hard: int = 5
    # radians taken off their angles; in proportion to the margin while a schedule raises that
    hard_penalty: float = 0.06

    def __post_init__(self) -> None:
        expect(self, "type", ("sub_centre",))
        expect_margin(self.scale, self.margin)
        expect(self, "guard", GUARDS)
        expect_counts(self, "num_centres", self.num_centres)
        expect_range(self, "num_hard", 0, 1_000_000)
        expect_range(self, "hard_penalty", 0.0, 1.5)
