"""Softmax with losses on its speaker bases, the class vectors: pushed apart, and hard negatives among all speakers.

b_j is the direction of class vector j, cos_j the cosine between embedding and b_j, y the speaker.
"""

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from steps.nnet.heads.base import Head, apart, class_vectors, classified, cross_entropies, log1p_exp
from steps.nnet.layers import at_least_float32
from steps.nnet.settings.basis import Heo

# Factor on the cosines between bases, in both published forms.
BETWEEN_SCALE = 5.0
# Factor on the cosines of hard negatives, where the settings leave it to the form.
HARD_SCALES = {"log_sum": 10.0, "sum_log": 1.0}
# Cosines between bases in memory at a time: 64 MiB of float32.
BLOCK_SIZE = 2**24


class HeoHead(Head):
    """Cross-entropy over W x + b, plus the between-speaker and hard-negative parts of the settings. Its margin is 0.

    The cross-entropy takes x and W as they are (the network scales x to norm 10); the other parts normalise both.
    The between-speaker part is the same for all of a batch and added to each of its losses.

    Source: Heo et al., arXiv 1902.02455; hsss/speaker_verification_pytorch, 01-train.py, models/spec_resnet_preact_HBC.py.
    """

    def __init__(self, settings: Heo, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.weight_SD = class_vectors(num_speakers, input_dim)
        self.bias_S = nn.Parameter(torch.zeros(num_speakers))
        self.settings = settings
        self.num_hard = min(settings.num_hard, num_speakers - 1)

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and the softmax's hits_B."""
        s = self.settings
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            logits_BS = functional.linear(x_BD, self.weight_SD, self.bias_S)
            losses_B, hits_B = cross_entropies(logits_BS, labels_B), classified(logits_BS, labels_B)
            if s.between == s.hard == "none":
                return losses_B, hits_B
            basis_SD = functional.normalize(self.weight_SD)
            if s.hard != "none":
                losses_B = losses_B + self.hard_negatives(functional.normalize(x_BD) @ basis_SD.T, labels_B)
            if s.between != "none":
                form = mean_cosine if s.between == "form1" else log_mean_exp_square
                losses_B = losses_B + s.between_weight * form(basis_SD)
            return losses_B, hits_B

    def hard_negatives(self, cosine_BS: Tensor, labels_B: Tensor) -> Tensor:
        """Returns losses_B of the other speakers with the largest cosines; overwrites the cosines."""
        form = self.settings.hard
        scale = self.settings.hard_scale or HARD_SCALES[form]
        target_B, others_BS = apart(cosine_BS, labels_B)
        hard_BK = others_BS.topk(self.num_hard, dim=1).values
        if form == "sum_log":
            return log1p_exp(scale * (hard_BK - target_B[:, None])).sum(dim=1)
        return log1p_exp((scale * hard_BK.relu()).logsumexp(dim=1) - scale * target_B)


def mean_cosine(basis_SD: Tensor) -> Tensor:
    """Returns the mean of 5 cos(b_i, b_j) over all S^2 pairs, a basis with itself counting 0 (form 1).

    The sum over pairs is ||sum of b||^2, less that of each basis with itself; no pair is formed.
    """
    sum_of_pairs = basis_SD.sum(dim=0).square().sum() - basis_SD.square().sum()
    return BETWEEN_SCALE * sum_of_pairs / len(basis_SD) ** 2


def log_mean_exp_square(basis_SD: Tensor) -> Tensor:
    """Returns the log of the mean of exp((5 cos(b_i, b_j))^2) over all S^2 pairs, with cos(b_i, b_i) = 0 (form 2)."""
    return _LogMeanExpSquare.apply(basis_SD)


class _LogMeanExpSquare(torch.autograd.Function):
    """Form 2 by blocks of rows. The gradient is formed in the same pass: S^2 numbers are never in memory, nor made twice.

    exp(25) times 10^10 pairs is far below the largest float32: no maximum has to be known beforehand.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, basis_SD: Tensor) -> Tensor:
        num_speakers = len(basis_SD)
        num_rows = max(1, BLOCK_SIZE // num_speakers)
        factor = BETWEEN_SCALE**2
        total = basis_SD.new_zeros((), dtype=torch.float64)
        gradient_SD = torch.empty_like(basis_SD)
        for start in range(0, num_speakers, num_rows):
            rows_RD = basis_SD[start : start + num_rows]
            cosine_RS = rows_RD @ basis_SD.T
            cosine_RS.diagonal(start).zero_()
            terms_RS = cosine_RS.square().mul_(factor).exp_()
            total += terms_RS.sum(dtype=torch.float64)
            gradient_SD[start : start + num_rows] = cosine_RS.mul_(terms_RS) @ basis_SD
        # Each pair stands there twice, and the square's derivative has another 2.
        ctx.save_for_backward(gradient_SD.mul_(4.0 * factor / total))
        return (total.log() - 2.0 * math.log(num_speakers)).to(basis_SD.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (gradient_SD,) = ctx.saved_tensors
        return gradient * gradient_SD
