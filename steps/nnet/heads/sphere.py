"""Heads of the SphereFace family: a multiplied angle, and one binary classifier per speaker."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, apart, class_vectors, classified, cross_entropies, log1p_exp, together
from steps.nnet.heads.margin import guarded_cosine, shifted_cosine
from steps.nnet.layers import at_least_float32
from steps.nnet.settings.sphere import ASoftmax, SphereFace2

# Embeddings shorter than this count as having no direction.
LEAST_NORM = 1e-12


class ASoftmaxHead(Head):
    """Cross-entropy over ||x|| c_j, the target's being ||x|| (c_y + (psi - c_y) / (1 + lambda)), lambda falling.

    Class vectors have unit length, there is no bias. Lambda is that of `update`, counted from 0 (the code it comes from
    counts from 1); `margin` is always 0, as this annealing takes the place of a margin schedule.

    Source: Liu et al., arXiv 1704.08063; VBx-training-recipe, local/models/metrics.py.
    """

    def __init__(self, settings: ASoftmax, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.settings = settings

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B, the latter without margin."""
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            logits_BS = x_BD @ functional.normalize(self.weight_SD).T
            hits_B = classified(logits_BS, labels_B)
            target_B, others_BS = apart(logits_BS, labels_B)
            norm_B = torch.linalg.vector_norm(x_BD, dim=1)
            cosine_B = target_B / norm_B.clamp(min=LEAST_NORM)
            psi_B = falling_cosine(cosine_B, self.settings.multiple)
            target_B = target_B + norm_B * (psi_B - cosine_B) / (1.0 + self.annealing())
            return cross_entropies(together(target_B, others_BS, labels_B), labels_B), hits_B

    def annealing(self) -> float:
        """Returns lambda at the present update."""
        s = self.settings
        return max(s.lambda_min, s.lambda_start / (1.0 + s.lambda_decay * self.update))


def falling_cosine(cosine: Tensor, multiple: int) -> Tensor:
    """Returns psi(angle) = (-1)^k cos(m angle) - 2 k, k = floor(m angle / pi): 1 at angle 0, falling to 1 - 2 m at pi.

    cos(m angle) is the Chebyshev polynomial of the cosine, so its gradient is finite everywhere; k has none.
    """
    before, multiplied = torch.ones_like(cosine), cosine
    for _ in range(multiple - 1):
        before, multiplied = multiplied, 2.0 * cosine * multiplied - before
    angle = cosine.detach().clamp(min=-1.0, max=1.0).acos()
    k = (multiple * angle / math.pi).floor()
    return torch.where(k % 2 == 0, multiplied, -multiplied) - 2.0 * k


class SphereFace2Head(Head):
    """For each speaker the cost of telling whether it is this one, summed over speakers.

    Form C takes the margin off the target's g(c_y) and adds it to the others'; form A shifts the angles, with the guard
    of wespeaker where the target's passes pi. The bias starts at 0. Costs are not divided by the scale.

    Source: Wen et al., arXiv 2108.01513; Han et al., ICASSP 2023; wespeaker, models/projections.py.
    """

    def __init__(self, settings: SphereFace2, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias = nn.Parameter(torch.zeros(()))
        self.settings, self.margin = settings, settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B, the latter by the cosines."""
        with torch.autocast(x_BD.device.type, enabled=False):
            s = self.settings
            cosine_BS = functional.normalize(at_least_float32(x_BD)) @ functional.normalize(self.weight_SD).T
            target_B = cosine_BS.gather(1, labels_B[:, None]).squeeze(1)
            # The target's place gets minus infinity only after g, whose gradient there would be infinite.
            _, logits_BS = apart(s.scale * self.harder(cosine_BS, target=False) + self.bias, labels_B)
            target_costs_B = log1p_exp(-(s.scale * self.harder(target_B, target=True) + self.bias))
            losses_B = s.balance * target_costs_B + (1.0 - s.balance) * log1p_exp(logits_BS).sum(dim=1)
            return losses_B, classified(cosine_BS, labels_B)

    def harder(self, cosine: Tensor, *, target: bool) -> Tensor:
        """Returns g(cosine) with the margin against the target, or for the others."""
        power, m = self.settings.power, self.margin
        if self.settings.form == "C":
            return spread(cosine, power) - (m if target else -m)
        return spread(guarded_cosine(cosine, m, "wespeaker") if target else shifted_cosine(cosine, -m), power)


def spread(cosine: Tensor, power: int) -> Tensor:
    """Returns g(z) = 2 ((z + 1) / 2)^power - 1, from [-1, 1] onto itself."""
    return 2.0 * ((cosine + 1.0) / 2.0) ** power - 1.0
