"""Classification with the distance of each embedding from its speaker's centre."""

import torch
from torch import Tensor
from torch.nn import functional

from steps.nnet.heads.base import Head
from steps.nnet.heads.margin import AAMHead, AMHead, SoftmaxHead
from steps.nnet.layers import at_least_float32
from steps.nnet.settings.basis import Centre
from steps.nnet.settings.margin import AAM, AM, Softmax


class CentreHead(Head):
    """losses_B = those of the base + weight / 2 * ||x - c_y||^2, so their mean has the mean of the distances.

    The papers write the sum over a batch; RawNet1's code takes the mean for both parts, as here. The centres, a buffer
    that starts at zero, move once in each forward pass in training mode, after the losses are taken:
    c_j <- c_j - rate * sum(c_j - x) / (1 + count_j), over the count_j embeddings of speaker j.

    Source: Wen et al., ECCV 2016; Jungjee/RawNet, RawNet1/Keras.
    """

    whole_batch = True

    def __init__(self, settings: Centre, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        if settings.base == "softmax":
            self.base: Head = SoftmaxHead(Softmax(), input_dim, num_speakers)
        elif settings.base == "am":
            self.base = AMHead(AM(scale=settings.scale, margin=settings.margin), input_dim, num_speakers)
        else:
            self.base = AAMHead(AAM(scale=settings.scale, margin=settings.margin), input_dim, num_speakers)
        self.margin, self.weight, self.rate = settings.margin, settings.weight, settings.rate
        self.register_buffer("centres_SD", torch.zeros(num_speakers, input_dim))

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and the base's hits_B; in training mode the centres move."""
        self.base.margin, self.base.update = self.margin, self.update
        losses_B, hits_B = self.base(x_BD, labels_B)
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            distance_B = (x_BD - self.centres_SD[labels_B]).square().sum(dim=1)
            losses_B = losses_B + self.weight / 2.0 * distance_B
        if self.training:
            self._move_centres(x_BD.detach(), labels_B)
        return losses_B, hits_B

    @torch.no_grad()
    def _move_centres(self, x_BD: Tensor, labels_B: Tensor) -> None:
        """A matrix product adds up each speaker's embeddings: index_add would do so in any order on a GPU."""
        with torch.autocast(x_BD.device.type, enabled=False):
            present_N, place_B = labels_B.unique(return_inverse=True)
            member_NB = functional.one_hot(place_B, len(present_N)).T.to(self.centres_SD.dtype)
            count_N1 = member_NB.sum(dim=1, keepdim=True)
            centres_ND = self.centres_SD[present_N]
            offset_ND = count_N1 * centres_ND - member_NB @ x_BD.to(centres_ND.dtype)
            self.centres_SD[present_N] = centres_ND - self.rate * offset_ND / (1.0 + count_N1)
