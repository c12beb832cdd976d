"""Heads that classify speakers: softmax, and margins on the cosine.

c_j is the cosine between embedding and class vector j, y the speaker, s the scale, m the margin.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, class_vectors, classified, cross_entropies
from steps.nnet.layers import at_least_float32
from steps.nnet.settings import AAM, AM, Softmax

# Floor of sin^2: the angle's gradient 1 / sin is infinite where an embedding meets its class vector.
SIN2_FLOOR = 1e-7


class SoftmaxHead(Head):
    """Cross-entropy over W x + b. Its margin is always 0."""

    def __init__(self, settings: Softmax, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers))

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B."""
        with torch.autocast(x_BD.device.type, enabled=False):
            logits_BS = functional.linear(at_least_float32(x_BD), self.weight_SD, self.bias_S)
            return cross_entropies(logits_BS, labels_B), classified(logits_BS, labels_B)


class MarginHead(Head):
    """Cross-entropy over s c_j, in which the target's cosine is replaced by the smaller `target_cosine(c_y)`.

    `margin` may be set at any time, for a schedule.
    """

    def __init__(self, settings: AM | AAM, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.scale = settings.scale
        self.margin = settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B, the latter without margin."""
        with torch.autocast(x_BD.device.type, enabled=False):
            unit_BD = functional.normalize(at_least_float32(x_BD))
            cosine_BS = unit_BD @ functional.normalize(self.weight_SD).T
            label_B1 = labels_B[:, None]
            target_B1 = self.target_cosine(cosine_BS.gather(1, label_B1))
            losses_B = cross_entropies(self.scale * cosine_BS.scatter(1, label_B1, target_B1), labels_B)
            return losses_B, classified(cosine_BS, labels_B)

    def target_cosine(self, cosine: Tensor) -> Tensor:
        raise NotImplementedError


class AMHead(MarginHead):
    """c_y - m.

    Source: Wang et al., arXiv 1801.05599, equation 4.
    """

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin


class AAMHead(MarginHead):
    """cos(angle + m); where c_y <= cos(pi - m), c_y - m sin m; with easy margin c_y where c_y <= 0.

    Source: Deng et al., arXiv 1801.07698, equation 3; guard as in VBx-training-recipe, local/models/metrics.py.
    """

    def __init__(self, settings: AAM, input_dim: int, num_speakers: int) -> None:
        super().__init__(settings, input_dim, num_speakers)
        self.easy_margin = settings.easy_margin

    def target_cosine(self, cosine: Tensor) -> Tensor:
        m = self.margin
        sine = (1.0 - cosine.square()).clamp(min=SIN2_FLOOR).sqrt()
        shifted = cosine * math.cos(m) - sine * math.sin(m)
        if self.easy_margin:
            return torch.where(cosine > 0.0, shifted, cosine)
        return torch.where(cosine > math.cos(math.pi - m), shifted, cosine - m * math.sin(m))
