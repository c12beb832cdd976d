"""Softmax on embeddings that lie on a sphere, and how large that sphere has to be."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, class_vectors, classified, cross_entropies
from steps.nnet.layers import at_least_float32
from steps.nnet.settings.margin import L2Softmax


def least_alpha(p: float, num_speakers: int) -> float:
    """Returns ln(p (N - 2) / (1 - p)), the least radius at which a speaker among N can get probability p.

    With 0 < p < 1 and N > 2. It assumes class vectors of unit length without bias, an embedding on its own one, another
    one opposite (neglected) and N - 2 at right angles. 5,994 speakers need 10.9 for p = 0.9, 11.6 for 0.95, 13.3 for 0.99.

    Source: Ranjan et al., arXiv 1703.09507.
    """
    return math.log(p * (num_speakers - 2) / (1.0 - p))


class L2SoftmaxHead(Head):
    """Cross-entropy over W (alpha x / ||x||) + b; class vectors keep their length. Its margin is always 0.

    `alpha` is a number, or with `learn_alpha` a parameter (without weight decay).

    Source: Ranjan et al., arXiv 1703.09507.
    """

    def __init__(self, settings: L2Softmax, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers))
        self.alpha = nn.Parameter(torch.tensor(settings.alpha)) if settings.learn_alpha else settings.alpha

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B."""
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = self.alpha * functional.normalize(at_least_float32(x_BD))
            logits_BS = functional.linear(x_BD, self.weight_SD, self.bias_S)
            return cross_entropies(logits_BS, labels_B), classified(logits_BS, labels_B)
