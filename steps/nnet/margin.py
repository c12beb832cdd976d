"""Training heads: from embeddings and speakers to a loss.

c_j is the cosine between embedding and class vector j, y the speaker, s the scale, m the margin. Heads compute in
float32 (or double, if given that) also under autocast: at s = 32 the 8 bits of a bfloat16 cosine move a logit by 0.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.layers import at_least_float32
from steps.nnet.settings import AAM, AM, Softmax

# Floor of sin^2: the angle's gradient 1 / sin is infinite where an embedding meets its class vector.
SIN2_FLOOR = 1e-7


class SoftmaxHead(nn.Module):
    """Cross-entropy over W x + b. Its margin is always 0."""

    margin = 0.0

    def __init__(self, settings: Softmax, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers))

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean loss and the logits (detached, for accuracy)."""
        with torch.autocast(x_BD.device.type, enabled=False):
            logits_BS = functional.linear(at_least_float32(x_BD), self.weight_SD, self.bias_S)
            return functional.cross_entropy(logits_BS, labels_B), logits_BS.detach()


class MarginHead(nn.Module):
    """Cross-entropy over s c_j, in which the target's cosine is replaced by the smaller `target_cosine(c_y)`.

    `margin` may be set at any time, for a schedule.
    """

    def __init__(self, settings: AM | AAM, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.scale = settings.scale
        self.margin = settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean loss and the logits s c_j without margin (detached, for accuracy)."""
        with torch.autocast(x_BD.device.type, enabled=False):
            unit_BD = functional.normalize(at_least_float32(x_BD))
            cosine_BS = unit_BD @ functional.normalize(self.weight_SD).T
            label_B1 = labels_B[:, None]
            target_B1 = self.target_cosine(cosine_BS.gather(1, label_B1))
            loss = functional.cross_entropy(self.scale * cosine_BS.scatter(1, label_B1, target_B1), labels_B)
            return loss, self.scale * cosine_BS.detach()

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


HEADS = {"softmax": SoftmaxHead, "am": AMHead, "aam": AAMHead}


def build_head(settings: Softmax | AM | AAM, input_dim: int, num_speakers: int) -> nn.Module:
    """Returns the head of these settings for inputs of `model.classifier_dim`; weights from torch's global generator.

    Raises:
        ValueError: no head has this type, or there are fewer than two speakers.
    """
    if settings.type not in HEADS:
        raise ValueError(f"head.type: expected one of {sorted(HEADS)}, found {settings.type!r}")
    if num_speakers < 2:
        raise ValueError(f"training needs at least 2 speakers, found {num_speakers}")
    return HEADS[settings.type](settings, input_dim, num_speakers)


def class_vectors(num_speakers: int, dim: int) -> nn.Parameter:
    """Returns fresh class vectors, normal with Glorot's variance; its size sets how fast their directions move."""
    weight_SD = torch.empty(num_speakers, dim)
    nn.init.xavier_normal_(weight_SD)
    return nn.Parameter(weight_SD)
