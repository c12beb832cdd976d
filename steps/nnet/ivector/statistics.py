"""Baum-Welch statistics of utterances: how much of each is in each component, and where it lies there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from steps.nnet.ivector.mixture import CHUNK, Densities, posteriors
from steps.nnet.ivector.pairs import Pairs, scatters


@dataclass(frozen=True)
class Statistics:
    """Zeroth and first-order statistics of U utterances, the latter about the means of the UBM."""

    count_UC: Tensor
    first_UCF: Tensor

    def to(self, *target: torch.device | torch.dtype) -> "Statistics":
        """Returns the same on another device, or in another number format."""
        return Statistics(self.count_UC.to(*target), self.first_UCF.to(*target))


def baum_welch(
    densities: Densities,
    feats_TF: Tensor,
    utterance_T: Tensor,
    num_utterances: int,
    *,
    floor: float = 0.0,
    scale: float = 1.0,
    scatter_CFF: Tensor | None = None,
) -> Statistics:
    """Returns the statistics of utterances whose frames stand behind one another, in double.

    N_uc = scale * sum of g_tc and F_uc = scale * sum of g_tc (x_t - m_c) over the frames of utterance u, g_tc being the
    posterior of component c.

    Args:
        densities: of the UBM.
        feats_TF: frames.
        utterance_T: whose they are, from 0 to U - 1.
        num_utterances: U.
        floor: posteriors below this are left out (see `posteriors`).
        scale: factor of all statistics.
        scatter_CFF: the second-order statistics about the means, over all utterances, are added to this.
    """
    mixture = densities.mixture
    num_components, num_bins = mixture.means_CF.shape
    count = feats_TF.new_zeros(num_utterances * num_components, dtype=torch.float64)
    first = feats_TF.new_zeros(num_utterances * num_components, num_bins, dtype=torch.float64)
    size = CHUNK[feats_TF.device.type]
    for part_TF, owner_T in zip(feats_TF.split(size), utterance_T.split(size), strict=True):
        index_TK = densities.select(part_TF)
        posterior_TK, _ = posteriors(densities(part_TF, index_TK), floor)
        frame_P, place_P = posterior_TK.nonzero(as_tuple=True)
        component_P, weight_P = index_TK[frame_P, place_P], scale * posterior_TK[frame_P, place_P]
        part_TF = part_TF.double()
        cell_P = owner_T[frame_P] * num_components + component_P
        count.index_add_(0, cell_P, weight_P)
        first.index_add_(0, cell_P, (part_TF[frame_P] - mixture.means_CF[component_P]) * weight_P[:, None])
        if scatter_CFF is not None:
            order_P = component_P.argsort(stable=True)
            pairs = Pairs(order_P, frame_P[order_P], torch.bincount(component_P, minlength=num_components))
            scatter_CFF += scatters(part_TF, pairs, weight_P[order_P], mixture.means_CF)
    return Statistics(count.view(num_utterances, num_components), first.view(num_utterances, num_components, num_bins))
