"""Pairs of a frame and a Gaussian component, in the order of the components: each component's share is one matrix product.

A CPU takes component by component (batched products of small matrices in double are three times slower there); a GPU, for which
thousands of small launches would take longer than the work, takes tiles of `TILE` pairs of one component, the last one filled up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 32  # pairs
TILES_AT_ONCE = 4096  # bounds the memory of gathered matrices


@dataclass(frozen=True)
class Pairs:
    """P pairs: `order_P` is their place in the array that they were made from, `frame_P` their frame, `count_C` how many of
    each component there are."""

    order_P: Tensor
    frame_P: Tensor
    count_C: Tensor

    @classmethod
    def sorted(cls, index_TK: Tensor, num_components: int) -> "Pairs":
        """Returns all pairs of a selection `[T, K]`."""
        flat_P = index_TK.reshape(-1)
        order_P = flat_P.argsort(stable=True)
        return cls(order_P, order_P // index_TK.shape[1], torch.bincount(flat_P, minlength=num_components))

    def groups(self) -> list[tuple[int, slice]]:
        """Returns each component that has pairs, and where they are."""
        ends = self.count_C.cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        return [(c, slice(start, end)) for c, (start, end) in enumerate(zip(starts, ends, strict=True)) if end > start]

    def tiles(self) -> tuple[Tensor, Tensor]:
        """Returns the component of each tile `[G]`, and the pairs in it `[G, TILE]`, P where it is filled up."""
        per_C = (self.count_C + TILE - 1) // TILE
        component_G = torch.repeat_interleave(torch.arange(len(per_C), device=per_C.device), per_C)
        within_G = torch.arange(len(component_G), device=per_C.device) - (per_C.cumsum(0) - per_C)[component_G]
        slot_GL = within_G[:, None] * TILE + torch.arange(TILE, device=per_C.device)
        start_C = self.count_C.cumsum(0) - self.count_C
        pair_GL = torch.where(
            slot_GL < self.count_C[component_G][:, None], start_C[component_G][:, None] + slot_GL, len(self.frame_P)
        )
        return component_G, pair_GL


def log_forms(feats_TF: Tensor, pairs: Pairs, means_CF: Tensor, whitening_CFF: Tensor, tiled: bool | None = None) -> Tensor:
    """Returns -1/2 |(x - m_c) W_c|^2 for each pair, `[P]`.

    Args:
        feats_TF: frames.
        pairs: of these frames.
        means_CF: of the components.
        whitening_CFF: W, with W W' the inverse of the covariance.
        tiled: whether to go by tiles; None: on a GPU.
    """
    forms_P = feats_TF.new_empty(len(pairs.frame_P) + 1)
    if not _tiled(feats_TF, tiled):
        for c, rows in pairs.groups():
            forms_P[rows] = ((feats_TF[pairs.frame_P[rows]] - means_CF[c]) @ whitening_CFF[c]).square().sum(dim=1)
        return forms_P[:-1].mul_(-0.5)
    frame_P = torch.cat([pairs.frame_P, pairs.frame_P.new_zeros(1)])
    for component_G, pair_GL in zip(*(part.split(TILES_AT_ONCE) for part in pairs.tiles()), strict=True):
        centred_GLF = feats_TF[frame_P[pair_GL]] - means_CF[component_G][:, None]
        forms_P[pair_GL] = torch.bmm(centred_GLF, whitening_CFF[component_G]).square().sum(dim=2)
    return forms_P[:-1].mul_(-0.5)


def scatters(feats_TF: Tensor, pairs: Pairs, weight_P: Tensor, means_CF: Tensor, tiled: bool | None = None) -> Tensor:
    """Returns the sum of weight (x - m_c)(x - m_c)' over the pairs of each component, `[C, F, F]`.

    Args:
        feats_TF: frames.
        pairs: of these frames.
        weight_P: of each pair, in the pairs' order.
        means_CF: of the components.
        tiled: whether to go by tiles; None: on a GPU.
    """
    num_components, num_bins = means_CF.shape
    sums_CFF = feats_TF.new_zeros(num_components, num_bins, num_bins)
    if not _tiled(feats_TF, tiled):
        for c, rows in pairs.groups():
            centred_PF = feats_TF[pairs.frame_P[rows]] - means_CF[c]
            sums_CFF[c] = (centred_PF * weight_P[rows, None]).T @ centred_PF
        return sums_CFF
    frame_P = torch.cat([pairs.frame_P, pairs.frame_P.new_zeros(1)])
    weight_P = torch.cat([weight_P, weight_P.new_zeros(1)])
    for component_G, pair_GL in zip(*(part.split(TILES_AT_ONCE) for part in pairs.tiles()), strict=True):
        centred_GLF = feats_TF[frame_P[pair_GL]] - means_CF[component_G][:, None]
        weighted_GLF = centred_GLF * weight_P[pair_GL][..., None]
        sums_CFF.index_add_(0, component_G, torch.bmm(weighted_GLF.transpose(1, 2), centred_GLF))
    return sums_CFF


def _tiled(feats_TF: Tensor, tiled: bool | None) -> bool:
    return feats_TF.is_cuda if tiled is None else tiled
