"""Settings of the heads that add to a classification what its class vectors or its centres should look like."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_above, expect_counts, expect_margin, expect_range


@dataclass(frozen=True, kw_only=True)
class Centre:
    """A classification loss plus weight / 2 * ||x - c_y||^2, the distance of an embedding from its speaker's centre.

    A centre is no weight: after each training batch it moves by -rate * sum(c - x) / (1 + count) over the count
    embeddings of its speaker. `base` is the classification: "softmax" (the papers'), or "am" or "aam" with the scale and
    the margin set here.

    Source: Wen et al., "A discriminative feature learning approach for deep face recognition", ECCV 2016; rate and weight
    as in RawNet1 (Jungjee/RawNet).
    """

    type: str = "centre"
    # "softmax", "am" or "aam"
    base: str = "softmax"
    # factor on the cosines of "am" and "aam"; 0 with softmax
    scale: float = 0.0
    # margin of "am" and "aam"; 0 with softmax
    margin: float = 0.0
    # lambda: weight of the distances
    weight: float = 0.001
    # alpha: share of the way that a centre goes
    rate: float = 0.5

    def __post_init__(self) -> None:
        expect(self, "type", ("centre",))
        expect(self, "base", ("softmax", "am", "aam"))
        if self.base != "softmax":
            expect_margin(self.scale, self.margin)
        elif self.scale or self.margin:
            raise ValueError(f"head.scale, head.margin: softmax has none, expected 0, found {self.scale} and {self.margin}")
        expect_above(self, "weight", 0.0)
        expect_range(self, "rate", 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Heo:
    """Softmax whose class vectors, the speaker bases b, are pushed apart, and whose nearest other speakers count again.

    losses = cross-entropy over W x + b + between_weight * between(W) + hard(x, W). The embedding should come in scaled to
    a fixed norm (10 in the published code): the cross-entropy takes it as it is; the other parts look at directions only.

    between: "form1", the mean over all S^2 pairs of 5 cos(b_i, b_j) (Keras code of RawNet1), or "form2", the log of the
    mean of exp((5 cos)^2) (the first author's code); a speaker with itself counts with a cosine of 0 in both.
    hard, over the num_hard other speakers h with the largest cosines: "log_sum" (published code),
    log(1 + sum exp(s max(cos_h, 0) - s cos_y)), or "sum_log" (paper), sum of log(1 + exp(s (cos_h - cos_y))).
    The paper's ablations: CCE is both "none" (or type = "softmax"); CCE+BS, CCE+H and CCE+BS+H switch them on;
    CCE+centre is type = "centre".

    Source: Heo et al., arXiv 1902.02455; hsss/speaker_verification_pytorch, 01-train.py and configs/HBC.yaml;
    Jungjee/RawNet, RawNet1/Keras. Which form of the between-speaker loss is the paper's is not known.
    """

    type: str = "heo"
    # "none", "form1" or "form2"
    between: str = "form2"
    # weight of that part
    between_weight: float = 0.1
    # "none", "log_sum" or "sum_log"
    hard: str = "log_sum"
    # other speakers that count as hard; all of them if there are not as many
    num_hard: int = 25
    # s; 0: that of the form's source, 10 for "log_sum" and 1 for "sum_log"
    hard_scale: float = 0.0

    def __post_init__(self) -> None:
        expect(self, "type", ("heo",))
        expect(self, "between", ("none", "form1", "form2"))
        expect(self, "hard", ("none", "log_sum", "sum_log"))
        expect_above(self, "between_weight", 0.0)
        expect_counts(self, "num_hard", self.num_hard)
        expect_range(self, "hard_scale", 0.0, 1000.0)
