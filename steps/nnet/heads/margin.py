"""Heads that classify speakers: softmax, and margins on the cosine.

c_j is the cosine between embedding and class vector j, y the speaker, s the scale, m the margin.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, apart, class_vectors, classified, cross_entropies, together
from steps.nnet.layers import at_least_float32
from steps.nnet.settings.margin import AAM, AM, Combined, Softmax, SubCentre

# Floor of sin^2: the angle's gradient 1 / sin is infinite where an embedding meets its class vector.
SIN2_FLOOR = 1e-7
# Where the ZHAW code clips cosines before it takes angles (Keras's epsilon).
COSINE_LIMIT = 1.0 - 1e-7


class SoftmaxHead(Head):
    """Cross-entropy over W x + b; with `bias = false` over W x, and `bias_S` is None. Its margin is always 0."""

    def __init__(self, settings: Softmax, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers)) if settings.bias else None

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B."""
        with torch.autocast(x_BD.device.type, enabled=False):
            logits_BS = functional.linear(at_least_float32(x_BD), self.weight_SD, self.bias_S)
            return cross_entropies(logits_BS, labels_B), classified(logits_BS, labels_B)


class MarginHead(Head):
    """Cross-entropy over s c_j, in which the target's cosine is replaced by the smaller `target_cosine(c_y)`.

    `margin` may be set at any time, for a schedule.
    """

    def __init__(self, settings: AM | AAM | Combined | SubCentre, input_dim: int, num_vectors: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_vectors, input_dim)
        self.scale = settings.scale
        self.margin = settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B, the latter without margin."""
        with torch.autocast(x_BD.device.type, enabled=False):
            cosine_BS = self.cosines(functional.normalize(at_least_float32(x_BD)))
            hits_B = classified(cosine_BS, labels_B)
            target_B, others_BS = apart(cosine_BS, labels_B)
            cosine_BS = together(self.target_cosine(target_B), self.other_cosines(others_BS), labels_B)
            return cross_entropies(cosine_BS.mul_(self.scale), labels_B), hits_B

    def cosines(self, unit_BD: Tensor) -> Tensor:
        """Returns cosine_BS, which the caller may overwrite."""
        return unit_BD @ functional.normalize(self.weight_SD).T

    def target_cosine(self, cosine: Tensor) -> Tensor:
        raise NotImplementedError

    def other_cosines(self, cosine_BS: Tensor) -> Tensor:
        """Returns what the other speakers' cosines become; those of the targets are minus infinity."""
        return cosine_BS


class AMHead(MarginHead):
    """c_y - m.

    Source: Wang et al., arXiv 1801.05599, equation 4.
    """

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin


class AAMHead(MarginHead):
    """cos(angle + m) and, beyond pi, what the guard says (see the settings); with easy margin c_y where c_y <= 0.

    Source: Deng et al., arXiv 1801.07698, equation 3; guards of VBx-training-recipe, local/models/metrics.py, and of
    wespeaker, models/projections.py.
    """

    def __init__(self, settings: AAM, input_dim: int, num_speakers: int) -> None:
        super().__init__(settings, input_dim, num_speakers)
        self.easy_margin, self.guard = settings.easy_margin, settings.guard

    def target_cosine(self, cosine: Tensor) -> Tensor:
        if self.easy_margin:
            return torch.where(cosine > 0.0, shifted_cosine(cosine, self.margin), cosine)
        return guarded_cosine(cosine, self.margin, self.guard)


class CombinedHead(MarginHead):
    """cos(m_s angle + m_a) - m_c; m_a is `margin`. No guard where m_s angle + m_a passes pi.

    Source: edualc/ZHAW_deep_voice, networks/losses.py (equation 2 of Lehmann and Stadelmann).
    """

    def __init__(self, settings: Combined, input_dim: int, num_speakers: int) -> None:
        super().__init__(settings, input_dim, num_speakers)
        self.cosine_margin, self.angle_factor = settings.cosine_margin, settings.angle_factor

    def target_cosine(self, cosine: Tensor) -> Tensor:
        angle = cosine.clamp(min=-COSINE_LIMIT, max=COSINE_LIMIT).acos()
        return (self.angle_factor * angle + self.margin).cos() - self.cosine_margin


class SubCentreHead(MarginHead):
    """AAM on the cosine of each speaker's nearest centre; the nearest other speakers get cos(angle - penalty).

    Row y * num_centres + r of the weight is centre r of speaker y. While `margin` is below that of the settings, in a
    schedule, the penalty is smaller in proportion, as in wespeaker: without margin there is none.

    Source: Zhao et al., arXiv 2110.05042; wespeaker, models/projections.py (its guard is `guard = "wespeaker"`).
    """

    def __init__(self, settings: SubCentre, input_dim: int, num_speakers: int) -> None:
        super().__init__(settings, input_dim, num_speakers * settings.num_centres)
        self.guard, self.num_centres = settings.guard, settings.num_centres
        self.num_hard = min(settings.num_hard, num_speakers - 1)
        self.full_margin, self.full_penalty = settings.margin, settings.hard_penalty

    def cosines(self, unit_BD: Tensor) -> Tensor:
        cosine_BN = super().cosines(unit_BD)
        if self.num_centres == 1:
            return cosine_BN
        return cosine_BN.unflatten(1, (-1, self.num_centres)).max(dim=2).values

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return guarded_cosine(cosine, self.margin, self.guard)

    def other_cosines(self, cosine_BS: Tensor) -> Tensor:
        if not self.num_hard:
            return cosine_BS
        hard_BK, index_BK = cosine_BS.topk(self.num_hard, dim=1)
        return cosine_BS.scatter_(1, index_BK, shifted_cosine(hard_BK, -self.penalty()))

    def penalty(self) -> float:
        """Returns the radians that the nearest other speakers get at the present margin."""
        return self.full_penalty * (self.margin / self.full_margin if self.full_margin else 1.0)


def shifted_cosine(cosine: Tensor, radians: float) -> Tensor:
    """Returns cos(angle + radians)."""
    sine = (1.0 - cosine.square()).clamp(min=SIN2_FLOOR).sqrt()
    return cosine * math.cos(radians) - sine * math.sin(radians)


def guarded_cosine(cosine: Tensor, margin: float, guard: str) -> Tensor:
    """Returns cos(angle + margin) where that is below pi; beyond, the cosine less margin sin(margin) ("but") or less
    1 + cos(pi - margin) ("wespeaker"), neither of which rises with the angle."""
    drop = margin * math.sin(margin) if guard == "but" else 1.0 + math.cos(math.pi - margin)
    return torch.where(cosine > math.cos(math.pi - margin), shifted_cosine(cosine, margin), cosine - drop)
