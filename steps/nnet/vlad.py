"""Vectors of locally aggregated descriptors: from any number of frames to one residual vector per cluster."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.layers import at_least_float32, zero_padding

# Smallest norm that a cluster's residual is divided by: Keras floors the squared norm at 1e-12.
NORM_FLOOR = 1e-6


class VLAD(nn.Module):
    """NetVLAD, or GhostVLAD where there are more assignments than clusters: the surplus takes its share and is dropped.

    With a_k the softmax over all assignments and c_k the centre of cluster k: V_k = sum over frames of a_k (x - c_k),
    scaled to unit length, all V_k in a row. The row as a whole is not scaled again. Ghosts have no centres here: those of
    the public code change nothing.

    Source: Arandjelovic et al., CVPR 2016; Zhong et al., ACCV 2018 (ghosts); WeidiXie/VGG-Speaker-Recognition, src/model.py.
    """

    def __init__(self, dim: int, clusters: int) -> None:
        super().__init__()
        self.centres_KC = nn.Parameter(nn.init.orthogonal_(torch.empty(clusters, dim)))

    def forward(self, x_BCT: Tensor, assignment_BKT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Returns [B, clusters * C], at least float32, from features and assignments before the softmax (ghosts last)."""
        with torch.autocast(x_BCT.device.type, enabled=False):
            share_BKT = at_least_float32(assignment_BKT).softmax(dim=1)[:, : len(self.centres_KC)]
            share_BKT = zero_padding(share_BKT, mask_BT)
            summed_BKC = share_BKT @ at_least_float32(x_BCT).transpose(1, 2)
            residual_BKC = summed_BKC - share_BKT.sum(dim=2, keepdim=True) * self.centres_KC
            return functional.normalize(residual_BKC, dim=2, eps=NORM_FLOOR).flatten(1)
