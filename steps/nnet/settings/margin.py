"""Settings of the heads that classify speakers: softmax and margins on the cosine."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_margin


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Cross-entropy over W x + b."""

    type: str = "softmax"

    def __post_init__(self) -> None:
        expect(self, "type", ("softmax",))


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
        expect(self, "type", ("aam",))
        expect_margin(self.scale, self.margin)
