"""Heads over pairs and triplets of embeddings: contrastive, triplet, siamese."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.heads.base import Head
from steps.nnet.heads.layouts import distance, group_shape, same_all, same_consecutive, squared_distances, upper
from steps.nnet.layers import at_least_float32
from steps.nnet.settings import Contrastive, Siamese, Triplet


def contrastive_losses(distance_K: Tensor, same_K: Tensor, margin: float) -> Tensor:
    """Returns losses_K: distance^2 for one speaker, max(0, margin - distance)^2 for two."""
    return torch.where(same_K, distance_K, (margin - distance_K).clamp(min=0.0)).square()


class ContrastiveHead(Head):
    """d^2 for pairs of one speaker, max(0, m - d)^2 for pairs of two; no parameters.

    A loss for each pair that counts: those of one speaker first, then those of two speakers, the nearest first where only
    the hardest are kept. A hit: d < m / 2 exactly if one speaker; there the two costs are equal.

    Source: Hadsell et al., CVPR 2006, equation 4.
    """

    whole_batch = True

    def __init__(self, settings: Contrastive, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.settings = settings
        self.margin = settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_K and hits_K.

        Raises:
            ValueError: no pair is of two speakers, or the number of examples is odd (consecutive pairs).
        """
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            if self.settings.normalise:
                x_BD = functional.normalize(x_BD)
            distance_K, same_K = self._pairs(x_BD, labels_B)
            if self.settings.hardest_negatives < 1.0:
                distance_K, same_K = _hardest(distance_K, same_K, self.settings.hardest_negatives)
            losses_K = contrastive_losses(distance_K, same_K, self.margin)
            hits_K = (distance_K.detach() < self.margin / 2) == same_K
            return losses_K * 0.5 if self.settings.half else losses_K, hits_K

    def _pairs(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        if self.settings.pairs == "all":
            same_K = same_all(labels_B)
            return distance(upper(squared_distances(x_BD, x_BD))), same_K
        same_K = same_consecutive(labels_B)
        return distance((x_BD[0::2] - x_BD[1::2]).square().sum(dim=1)), same_K


def _hardest(distance_K: Tensor, same_K: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Returns distances and same-speaker flags of all pairs of one speaker and of the nearest pairs of two."""
    different = torch.nonzero(~same_K).squeeze(1)
    # A stable order: of equally near pairs the earlier ones are kept, on any device.
    order = torch.argsort(distance_K.detach()[different], stable=True)
    kept = different[order[: max(1, round(share * len(different)))]]
    chosen = torch.cat([torch.nonzero(same_K).squeeze(1), kept])
    return distance_K[chosen], same_K[chosen]


class TripletHead(Head):
    """max(0, d(a, p) - d(a, n) + m), d the squared Euclidean distance; no parameters.

    a and p are two examples of one speaker, n is one of another speaker. Every ordered choice of a and p counts. Losses of
    0 stay in the mean. A hit: d(a, p) < d(a, n); semi-hard mining picks triplets for which that holds, so there the accuracy
    says little.

    Source: Schroff et al., arXiv 1503.03832, equation 3; Hermans et al., arXiv 1703.07737, equation 5 ("hard").
    """

    whole_batch = True

    def __init__(self, settings: Triplet, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.settings = settings
        self.margin = settings.margin

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_K and hits_K.

        Raises:
            ValueError: the batch is not of groups, of one speaker, or with one example of each.
        """
        num_speakers, size = group_shape(labels_B)
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            if self.settings.normalise:
                x_BD = functional.normalize(x_BD)
            squared_BB = squared_distances(x_BD, x_BD)
            same_BB = labels_B[:, None] == labels_B
            other_BB = ~torch.eye(len(labels_B), dtype=torch.bool, device=labels_B.device)
            positive_BP = squared_BB[same_BB & other_BB].view(-1, size - 1)
            negative_BN = squared_BB[~same_BB].view(-1, (num_speakers - 1) * size)
            near, far = self._mined(positive_BP, negative_BN)
            gap_K = (near - far).flatten()
            return (gap_K + self.margin).clamp(min=0.0), gap_K.detach() < 0.0

    def _mined(self, positive_BP: Tensor, negative_BN: Tensor) -> tuple[Tensor, Tensor]:
        """Returns distances to positives and negatives that broadcast to those of the triplets."""
        if self.settings.mining == "hard":
            return positive_BP.amax(dim=1), negative_BN.amin(dim=1)
        positive_BP1, negative_B1N = positive_BP[:, :, None], negative_BN[:, None, :]
        if self.settings.mining == "all":
            return positive_BP1, negative_B1N
        beyond_BPN = negative_B1N > positive_BP1
        nearest_BP = negative_B1N.masked_fill(~beyond_BPN, torch.inf).amin(dim=2)
        farthest_B1 = negative_BN.amax(dim=1, keepdim=True)
        return positive_BP, torch.where(beyond_BPN.any(dim=2), nearest_BP, farthest_B1)


class SiameseHead(Head):
    """p = sigmoid(w . d + b), the probability that two speakers differ, learnt by cross-entropy or as a distance.

    d is the Euclidean distance (one weight, one bias) or |difference| of each dimension (D weights, one bias). Weights start
    with the size that Keras gives them and above 0 (there, half of all runs begin with "near means different" and recover
    slowly), the bias at 0. A hit: p > 0.5 exactly if the speakers differ.

    Source: oscarknagg/voicemap, voicemap/models.py and utils.py. Keras has no epsilon in the root: it fails at distance 0.
    """

    whole_batch = True

    def __init__(self, settings: Siamese, input_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.settings = settings
        self.margin = settings.margin if settings.loss == "contrastive" else 0.0
        self.output = nn.Linear(1 if settings.distance == "euclidean" else input_dim, 1)
        nn.init.xavier_uniform_(self.output.weight)
        with torch.no_grad():
            self.output.weight.abs_()
        nn.init.zeros_(self.output.bias)

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_K and hits_K of the pairs.

        Raises:
            ValueError: no pair is of two speakers, or the number of examples is odd.
        """
        same_K = same_consecutive(labels_B)
        with torch.autocast(x_BD.device.type, enabled=False):
            x_BD = at_least_float32(x_BD)
            logit_K = self.output(self._compared(x_BD[0::2], x_BD[1::2])).squeeze(1)
            hits_K = (logit_K.detach() > 0.0) != same_K
            if self.settings.loss == "contrastive":
                return contrastive_losses(logit_K.sigmoid(), same_K, self.margin), hits_K
            target_K = (~same_K).to(logit_K.dtype)
            return functional.binary_cross_entropy_with_logits(logit_K, target_K, reduction="none"), hits_K

    def _compared(self, first_KD: Tensor, second_KD: Tensor) -> Tensor:
        difference_KD = first_KD - second_KD
        if self.settings.distance == "weighted_l1":
            return difference_KD.abs()
        return distance(difference_KD.square().sum(dim=1, keepdim=True))

    def pair_head(self) -> dict[str, Any]:
        """Returns what scores a pair: "type" of distance, "weights" (list) and "bias" of the logit that the speakers differ."""
        return {
            "type": self.settings.distance,
            "weights": self.output.weight.detach().double().flatten().tolist(),
            "bias": float(self.output.bias.detach()),
        }
