"""Total variability: x_t = m_c + T_c w + noise of covariance S_c, with one w ~ N(0, I) for a whole utterance.

The classic model with a prior of mean 0. Kaldi's has the means as a first column of T and moves the mean of its prior instead;
here, too, the means are estimated together with T (a regression with an intercept), and the minimum-divergence step moves what
the i-vectors have in common into them and makes the prior N(0, I) again. So what is extracted needs no offset:

    w_u = (I + sum_c N_uc T_c' S_c^-1 T_c)^-1 sum_c T_c' S_c^-1 (F_uc - N_uc (m_c - m0_c))

with the statistics N, F about the UBM's means m0. Each EM iteration raises the likelihood of the frames given their components
(all maximisations are exact), unless a covariance is floored.

Shapes: U utterances, C components, R dimensions of the i-vector, X the R (R + 1) / 2 numbers of a symmetric matrix.

Source: Dehak et al., IEEE TASLP 2011; Kenny, "Joint factor analysis", CRIM-06/08-13 (minimum divergence); Kaldi
src/ivector/ivector-extractor.cc (update of the covariances and their floor).
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from steps.nnet.ivector.mixture import Mixture
from steps.nnet.ivector.statistics import Statistics
from steps.nnet.ivector.ubm import floored

MIN_COUNT = 100.0  # frames (of posterior mass); components with fewer keep their parameters, as in Kaldi
COMPONENTS_AT_ONCE = 64  # of the maximisation, whose matrices are not packed


@dataclass(frozen=True)
class Extractor:
    """Means, loadings T and covariances of the components, in double."""

    means_CF: Tensor
    loadings_CFR: Tensor
    covariances_CFF: Tensor

    def to(self, device: torch.device) -> "Extractor":
        """Returns the same in double on a device."""
        return Extractor(*(getattr(self, each.name).to(device, torch.float64) for each in fields(self)))


def begin(mixture: Mixture, dim: int, rng: np.random.Generator) -> Extractor:
    """Returns means and covariances of the UBM with random loadings: normal, with a tenth of the covariances in all."""
    mixture = mixture.full()
    shape = (*mixture.means_CF.shape, dim)
    normal_CFR = torch.from_numpy(rng.standard_normal(shape)).to(mixture.means_CF.device)
    loadings_CFR = torch.linalg.cholesky(mixture.covariances) @ normal_CFR * math.sqrt(0.1 / dim)
    return Extractor(mixture.means_CF, loadings_CFR, mixture.covariances)


class Posterior:
    """Mean and covariance of w given statistics; what it needs of an extractor is computed once."""

    def __init__(self, extractor: Extractor, ubm_means_CF: Tensor) -> None:
        num_components, num_bins, dim = extractor.loadings_CFR.shape
        self.dim = dim
        self.shift_CF = extractor.means_CF - ubm_means_CF
        self.row_X, self.column_X = torch.tril_indices(dim, dim, device=self.shift_CF.device)
        lower_CFF = torch.linalg.cholesky(extractor.covariances_CFF)
        self.log_det_C = 2 * lower_CFF.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        weighted_CFR = torch.cholesky_solve(extractor.loadings_CFR, lower_CFF)  # S^-1 T
        self.precision_CX = self.shift_CF.new_empty(num_components, len(self.row_X))
        for c in range(num_components):  # all at once would take twice the memory of the packed ones
            self.precision_CX[c] = (extractor.loadings_CFR[c].T @ weighted_CFR[c])[self.row_X, self.column_X]
        self.weighted_XR = weighted_CFR.reshape(num_components * num_bins, dim)

    def pack(self, matrix_URR: Tensor) -> Tensor:
        """Returns the lower triangles of symmetric matrices, `[U, X]`."""
        return matrix_URR[:, self.row_X, self.column_X]

    def unpack(self, packed_UX: Tensor) -> Tensor:
        """Returns the symmetric matrices of `pack`."""
        matrix_URR = packed_UX.new_empty(len(packed_UX), self.dim, self.dim)
        matrix_URR[:, self.row_X, self.column_X] = packed_UX
        matrix_URR[:, self.column_X, self.row_X] = packed_UX
        return matrix_URR

    def centred(self, statistics: Statistics) -> Tensor:
        """Returns first-order statistics about the extractor's means, `[U, C, F]`."""
        return statistics.first_UCF - statistics.count_UC[..., None] * self.shift_CF

    def solve(self, statistics: Statistics) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the mean of w `[U, R]`, the lower Cholesky factor of its precision `[U, R, R]`, and T' S^-1 F `[U, R]`."""
        precision_URR = self.unpack(statistics.count_UC @ self.precision_CX)
        precision_URR.diagonal(dim1=1, dim2=2).add_(1.0)
        linear_UR = self.centred(statistics).flatten(1) @ self.weighted_XR
        lower_URR = torch.linalg.cholesky(precision_URR)
        return torch.cholesky_solve(linear_UR[..., None], lower_URR)[..., 0], lower_URR, linear_UR

    def mean(self, statistics: Statistics) -> Tensor:
        """Returns the i-vectors, `[U, R]`."""
        return self.solve(statistics)[0]


@dataclass
class Sums:
    """What an EM iteration needs of utterances."""

    count_C: Tensor
    first_CF: Tensor  # about the extractor's means
    weighted_CR: Tensor  # sum of N_uc E[w]
    cross_CFR: Tensor  # sum of F_uc E[w]'
    moment_CX: Tensor  # sum of N_uc E[ww'], packed
    mean_R: Tensor  # sum of E[w]
    second_RR: Tensor  # sum of E[ww']
    gain: float = 0.0  # log-likelihood that w adds
    num_utterances: int = 0

    @classmethod
    def zero(cls, posterior: Posterior) -> "Sums":
        """Returns sums of no utterances."""
        (num_components, num_bins), dim = posterior.shift_CF.shape, posterior.dim
        shapes = (
            (num_components,), (num_components, num_bins), (num_components, dim), (num_components, num_bins, dim),
            (num_components, len(posterior.row_X)), (dim,), (dim, dim),
        )  # fmt: skip
        return cls(*(posterior.shift_CF.new_zeros(shape) for shape in shapes))

    def add(self, posterior: Posterior, statistics: Statistics) -> None:
        """The E-step of some utterances."""
        mean_UR, lower_URR, linear_UR = posterior.solve(statistics)
        log_det_U = 2 * lower_URR.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        self.gain += float(0.5 * ((linear_UR * mean_UR).sum() - log_det_U.sum()))
        moment_URR = torch.cholesky_inverse(lower_URR) + mean_UR[:, :, None] * mean_UR[:, None, :]
        centred_UCF = posterior.centred(statistics)
        self.count_C += statistics.count_UC.sum(dim=0)
        self.first_CF += centred_UCF.sum(dim=0)
        self.weighted_CR += statistics.count_UC.T @ mean_UR
        self.cross_CFR += (centred_UCF.flatten(1).T @ mean_UR).view_as(self.cross_CFR)
        self.moment_CX += statistics.count_UC.T @ posterior.pack(moment_URR)
        self.mean_R += mean_UR.sum(dim=0)
        self.second_RR += moment_URR.sum(dim=0)
        self.num_utterances += len(mean_UR)


def scatter_about(shift_CF: Tensor, sums: Sums, scatter_CFF: Tensor) -> Tensor:
    """Returns the second-order statistics about the extractor's means, given those about the UBM's."""
    ubm_first_CF = sums.first_CF + sums.count_C[:, None] * shift_CF
    mixed_CFF = shift_CF[:, :, None] * ubm_first_CF[:, None, :]
    square_CFF = shift_CF[:, :, None] * shift_CF[:, None, :]
    return scatter_CFF - mixed_CFF - mixed_CFF.transpose(1, 2) + sums.count_C[:, None, None] * square_CFF


def log_likelihood(extractor: Extractor, posterior: Posterior, sums: Sums, scatter_CFF: Tensor) -> float:
    """Returns the log-likelihood per frame, given which component each frame is of (weights left out), w integrated out.

    Args:
        extractor: that the sums were made with.
        posterior: of this extractor.
        sums: of all utterances.
        scatter_CFF: second-order statistics of all utterances, about the UBM's means.
    """
    about_CFF = scatter_about(posterior.shift_CF, sums, scatter_CFF)
    trace_C = torch.linalg.solve(extractor.covariances_CFF, about_CFF).diagonal(dim1=1, dim2=2).sum(dim=1)
    num_bins = posterior.shift_CF.shape[1]
    gaussian = -0.5 * (sums.count_C * (num_bins * math.log(2 * math.pi) + posterior.log_det_C) + trace_C).sum()
    return (float(gaussian) + sums.gain) / float(sums.count_C.sum())


def update(
    extractor: Extractor,
    posterior: Posterior,
    sums: Sums,
    scatter_CFF: Tensor,
    *,
    update_covariances: bool = True,
    covariance_floor: float = 0.1,
    diagonal: bool = False,
) -> Extractor:
    """Returns the extractor that maximises the expected likelihood, its prior made N(0, I) again.

    Args:
        extractor: that the sums were made with.
        posterior: of this extractor.
        sums: of all utterances.
        scatter_CFF: second-order statistics of all utterances, about the UBM's means.
        update_covariances: whether the covariances change.
        covariance_floor: share of the mean covariance that they stay over.
        diagonal: whether covariances are diagonal matrices.
    """
    means_CF, loadings_CFR, covariances_CFF = (getattr(extractor, each.name).clone() for each in fields(extractor))
    about_CFF = scatter_about(posterior.shift_CF, sums, scatter_CFF)
    enough_C = sums.count_C >= MIN_COUNT
    for some_C in enough_C.nonzero().flatten().split(COMPONENTS_AT_ONCE):
        # [T, shift of the mean] A = B, the normal equations of a regression on (w, 1)
        right_CFX = torch.cat([sums.cross_CFR[some_C], sums.first_CF[some_C][..., None]], dim=2)
        left_CXX = right_CFX.new_empty(len(some_C), posterior.dim + 1, posterior.dim + 1)
        left_CXX[:, :-1, :-1] = posterior.unpack(sums.moment_CX[some_C])
        left_CXX[:, -1, :-1] = left_CXX[:, :-1, -1] = sums.weighted_CR[some_C]
        left_CXX[:, -1, -1] = sums.count_C[some_C]
        solved_CFX = torch.cholesky_solve(right_CFX.transpose(1, 2), torch.linalg.cholesky(left_CXX)).transpose(1, 2)
        loadings_CFR[some_C], means_CF[some_C] = solved_CFX[..., :-1], means_CF[some_C] + solved_CFX[..., -1]
        explained_CFF = solved_CFX @ right_CFX.transpose(1, 2)
        covariances_CFF[some_C] = (about_CFF[some_C] - explained_CFF) / sums.count_C[some_C, None, None]
    if update_covariances:
        covariances_CFF = _floored(covariances_CFF, extractor, sums.count_C, enough_C, covariance_floor, diagonal)
    else:
        covariances_CFF = extractor.covariances_CFF
    prior_mean_R = sums.mean_R / sums.num_utterances
    prior_RR = sums.second_RR / sums.num_utterances - torch.outer(prior_mean_R, prior_mean_R)
    rotation_RR = torch.linalg.cholesky((prior_RR + prior_RR.T) / 2)
    return Extractor(means_CF + loadings_CFR @ prior_mean_R, loadings_CFR @ rotation_RR, covariances_CFF)


def _floored(
    covariances_CFF: Tensor, extractor: Extractor, count_C: Tensor, enough_C: Tensor, share: float, diagonal: bool
) -> Tensor:
    """The covariances over their floor; those of components with too few frames as they were."""
    if diagonal:
        covariances_CFF = torch.diag_embed(covariances_CFF.diagonal(dim1=1, dim2=2))
    weight_C = count_C * enough_C
    average_FF = (covariances_CFF * weight_C[:, None, None]).sum(dim=0) / weight_C.sum().clamp_min(1.0)
    average_FF = (average_FF + average_FF.T) / 2
    return torch.where(enough_C[:, None, None], floored(covariances_CFF, share * average_FF), extractor.covariances_CFF)
