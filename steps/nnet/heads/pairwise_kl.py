"""Pairwise Kullback-Leibler divergence: a network learns to tell speakers apart by the probabilities it gives to known ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, class_vectors
from steps.nnet.heads.layouts import same_all, upper
from steps.nnet.layers import at_least_float32
from steps.nnet.settings import PairwiseKL

# Added to each probability, as in the public program.
EPSILON = 1e-16


class PairwiseKLHead(Head):
    """Divergences between the softmax outputs p, q of all i < j pairs of a batch.

    One speaker: KL(p || q) + KL(q || p). Two: max(0, m - KL(p || q)) + max(0, m - KL(q || p)). The classes of the softmax are
    the training speakers, but nothing says which class is whose. A loss for each of the B (B - 1) / 2 pairs, so that their
    mean is the paper's loss. A hit: the mean of both divergences is below m / 2 exactly if one speaker; at that value, where
    no hinge is active, the two costs are equal.

    Source: Lukic et al., MLSP 2017; stdm/ZHAW_deep_voice, networks/losses.py.
    """

    whole_batch = True

    def __init__(self, settings: PairwiseKL, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.margin = settings.margin
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers))

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_K and hits_K over all pairs.

        Raises:
            ValueError: all examples are of one speaker.
        """
        same_K = same_all(labels_B)
        with torch.autocast(x_BD.device.type, enabled=False):
            logits_BS = functional.linear(at_least_float32(x_BD), self.weight_SD, self.bias_S)
            divergence_BB = divergences(logits_BS.softmax(dim=1) + EPSILON)
            there_K, back_K = upper(divergence_BB), upper(divergence_BB.T)
            apart_K = (self.margin - there_K).clamp(min=0.0) + (self.margin - back_K).clamp(min=0.0)
            losses_K = torch.where(same_K, there_K + back_K, apart_K)
            hits_K = ((there_K + back_K).detach() / 2 < self.margin / 2) == same_K
            return losses_K, hits_K


def divergences(p_BS: Tensor) -> Tensor:
    """Returns KL(p_i || p_j) `[B, B]` in nats, as sum p_i log p_i - (P log P')_ij."""
    log_BS = p_BS.log()
    return (p_BS * log_BS).sum(dim=1, keepdim=True) - p_BS @ log_BS.T
