"""Heads over episodes: each utterance is classified among the speakers of its batch, whose other utterances stand for them.

A batch has N speakers with M utterances each, speaker after speaker.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head, classified, cross_entropies
from steps.nnet.heads.layouts import group_shape, squared_distances
from steps.nnet.layers import at_least_float32
from steps.nnet.settings import GE2E, AngularPrototypical, Prototypical


class ScaledCosine(nn.Module):
    """w * cosine + b with learnt w and b.

    w = softplus(v) of the learnt v, so it is always above 0, and about as large a step in v as in w at the usual values.
    The clamping of public programs either does nothing (its result is dropped) or stops the learning of w at its floor.
    """

    def __init__(self, scale: float, bias: float) -> None:
        super().__init__()
        # The inverse of softplus; log(e^w - 1) itself overflows for large w.
        self.raw_scale = nn.Parameter(torch.tensor(scale + math.log(-math.expm1(-scale))))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    @property
    def scale(self) -> Tensor:
        """w."""
        return functional.softplus(self.raw_scale)

    def forward(self, cosine: Tensor) -> Tensor:
        return self.scale * cosine + self.bias


class GE2EHead(Head):
    """S_ij,k = w cos(e_ij, c_k) + b of utterance j of speaker i and the centroid of speaker k; two parameters, w > 0 and b.

    Embeddings are normalised first; a centroid is the mean of its speaker's, for k = i without utterance j itself.
    Softmax form: -S_ij,i + log sum_k exp S_ij,k. Contrast form: 1 - sigmoid(S_ij,i) + max_k!=i sigmoid(S_ij,k). A loss for each
    utterance (the paper sums them). A hit: the own centroid is the nearest.

    Source: Wan et al., arXiv 1710.10467, equations 5 to 9.
    """

    whole_batch = True

    def __init__(self, settings: GE2E, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.form = settings.form
        self.similarity = ScaledCosine(settings.scale, settings.bias)

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B.

        Raises:
            ValueError: the batch is not of groups, of one speaker, or with one utterance of each.
        """
        num_speakers, size = group_shape(labels_B)
        with torch.autocast(x_BD.device.type, enabled=False):
            unit_NMD = functional.normalize(at_least_float32(x_BD)).view(num_speakers, size, -1)
            sum_N1D = unit_NMD.sum(dim=1, keepdim=True)
            cosine_NMS = unit_NMD @ functional.normalize(sum_N1D.squeeze(1)).T
            own_NM = (unit_NMD * functional.normalize(sum_N1D - unit_NMD, dim=2)).sum(dim=2)
            speaker_B = torch.arange(num_speakers, device=x_BD.device).repeat_interleave(size)
            cosine_BS = cosine_NMS.flatten(0, 1).scatter(1, speaker_B[:, None], own_NM.view(-1, 1))
            similarity_BS = self.similarity(cosine_BS)
            losses_B = self._losses(similarity_BS, speaker_B)
            return losses_B, classified(similarity_BS, speaker_B)

    def _losses(self, similarity_BS: Tensor, speaker_B: Tensor) -> Tensor:
        if self.form == "softmax":
            return cross_entropies(similarity_BS, speaker_B)
        own_B1 = similarity_BS.gather(1, speaker_B[:, None])
        others_BS = similarity_BS.scatter(1, speaker_B[:, None], -torch.inf)
        return 1.0 - own_B1.squeeze(1).sigmoid() + others_BS.amax(dim=1).sigmoid()


class PrototypicalHead(Head):
    """Cross-entropy over -|query - mean support of speaker k|^2; embeddings as they are, no parameters.

    The first `queries` utterances of each speaker are queries, the others support. A loss for each query, speaker after
    speaker. A hit: the own support is the nearest.

    Source: Snell et al., arXiv 1703.05175, equations 1 and 2; clovaai/voxceleb_trainer, loss/proto.py (first utterance).
    """

    whole_batch = True

    def __init__(self, settings: Prototypical | AngularPrototypical, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.queries = settings.queries

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_K and hits_K of the queries.

        Raises:
            ValueError: the batch is not of groups, of one speaker, or with no support.
        """
        num_speakers, size = group_shape(labels_B, self.queries + 1)
        with torch.autocast(x_BD.device.type, enabled=False):
            x_NMD = at_least_float32(x_BD).view(num_speakers, size, -1)
            logits_KS = self.logits(x_NMD[:, : self.queries].flatten(0, 1), x_NMD[:, self.queries :].mean(dim=1))
            speaker_K = torch.arange(num_speakers, device=x_BD.device).repeat_interleave(self.queries)
            return cross_entropies(logits_KS, speaker_K), classified(logits_KS, speaker_K)

    def logits(self, query_KD: Tensor, support_SD: Tensor) -> Tensor:
        return -squared_distances(query_KD, support_SD)


class AngularPrototypicalHead(PrototypicalHead):
    """Cross-entropy over w cos(query, mean support of speaker k) + b; two parameters, w > 0 and b.

    The support is averaged as it is, not normalised first. Softmax ignores b, which so stays where it began.

    Source: Chung et al., arXiv 2003.11982, equation 7.
    """

    def __init__(self, settings: AngularPrototypical, input_dim: int, num_speakers: int) -> None:
        super().__init__(settings, input_dim, num_speakers)
        self.similarity = ScaledCosine(settings.scale, settings.bias)

    def logits(self, query_KD: Tensor, support_SD: Tensor) -> Tensor:
        return self.similarity(functional.normalize(query_KD) @ functional.normalize(support_SD).T)
