"""Settings of the heads of the SphereFace family: a multiplied angle, and binary classification."""

from dataclasses import dataclass

from steps.nnet.settings.checks import expect, expect_above, expect_counts, expect_margin, expect_range


@dataclass(frozen=True, kw_only=True)
class ASoftmax:
    """Angular softmax (SphereFace): the target's angle counts `multiple` times, which is brought in little by little.

    psi(angle) = (-1)^k cos(m angle) - 2 k with k = floor(m angle / pi) falls all the way to pi. Logits keep the length of
    the embedding: ||x|| cos for others, ||x|| (cos + (psi - cos) / (1 + lambda)) for the target, where after `it` updates
    lambda = max(lambda_min, lambda_start / (1 + lambda_decay * it)).

    Source: Liu et al., arXiv 1704.08063; constants of VBx-training-recipe, local/models/metrics.py.
    """

    type: str = "a_softmax"
    # m: factor on the target's angle
    multiple: int = 4
    # lambda at the first update
    lambda_start: float = 1000.0
    # how fast lambda falls, per update
    lambda_decay: float = 0.12
    # where lambda stays
    lambda_min: float = 5.0

    def __post_init__(self) -> None:
        expect(self, "type", ("a_softmax",))
        expect_counts(self, "multiple", self.multiple)
        expect_above(self, "lambda_start", 0.0)
        expect_range(self, "lambda_decay", 0.0, 1e6)
        expect_range(self, "lambda_min", 0.0, self.lambda_start)


@dataclass(frozen=True, kw_only=True)
class SphereFace2:
    """One binary classifier per speaker: is it this one or not?

    With g(z) = 2 ((z + 1) / 2)^power - 1 and a learnt bias b, form "C" costs
    balance * log(1 + exp(-(scale * (g(cos_y) - margin) + b)))
    + (1 - balance) * sum over others of log(1 + exp(scale * (g(cos_j) + margin) + b));
    form "A" shifts angles instead: g(cos(angle_y + margin)) and g(cos(angle_j - margin)).

    Source: Wen et al., arXiv 2108.01513; Han et al., "Exploring binary classification loss for speaker verification",
    ICASSP 2023 (0.2 for C, 0.15 for A there), and wespeaker, models/projections.py.
    """

    type: str = "sphereface2"
    # "C" (on the cosine) or "A" (on the angle)
    form: str = "C"
    # factor on g
    scale: float = 32.0
    # cosine (C) or radians (A)
    margin: float = 0.2
    # lambda: weight of the target; the others have 1 - balance
    balance: float = 0.7
    # t: how much g spreads large cosines
    power: int = 3

    def __post_init__(self) -> None:
        expect(self, "type", ("sphereface2",))
        expect(self, "form", ("C", "A"))
        expect_margin(self.scale, self.margin)
        expect_range(self, "balance", 0.0, 1.0)
        expect_counts(self, "power", self.power)
