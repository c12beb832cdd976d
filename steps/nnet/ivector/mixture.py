"""Gaussian mixtures over frames: log densities, Gaussian selection, posteriors.

Shapes beside those of `steps.nnet.layers`: C components, K components that are looked at for one frame, P pairs of a frame and
such a component, in the order of the components. The large product over all components runs in the number format of the
features (float32): it only chooses components, or is a diagonal UBM's. What follows it is in double.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steps.nnet.ivector.pairs import Pairs, log_forms

CHUNK = {"cpu": 8192, "cuda": 65536}  # frames at once; few enough that 2048 densities of each fit into memory


@dataclass(frozen=True)
class Mixture:
    """Weights, means and covariances; these are diagonals `[C, F]` or full `[C, F, F]`."""

    weights_C: Tensor
    means_CF: Tensor
    covariances: Tensor

    @property
    def num_components(self) -> int:
        """The number of components."""
        return len(self.weights_C)

    @property
    def is_full(self) -> bool:
        """Whether covariances are matrices."""
        return self.covariances.ndim == 3

    @property
    def variances_CF(self) -> Tensor:
        """The diagonals of the covariances."""
        return self.covariances.diagonal(dim1=1, dim2=2) if self.is_full else self.covariances

    def full(self) -> "Mixture":
        """Returns the same mixture with covariance matrices."""
        return self if self.is_full else replace(self, covariances=torch.diag_embed(self.covariances))

    def to(self, device: torch.device) -> "Mixture":
        """Returns the same mixture in double on a device."""
        return Mixture(*(part.to(device, torch.float64) for part in (self.weights_C, self.means_CF, self.covariances)))


class DiagonalDensities:
    """Weighted log densities of all components with the diagonals of the covariances: one matrix product."""

    def __init__(self, mixture: Mixture, dtype: torch.dtype = torch.float32) -> None:
        variances_CF, means_CF = mixture.variances_CF.double(), mixture.means_CF.double()
        constant_C = mixture.weights_C.double().log() - 0.5 * (
            means_CF.shape[1] * math.log(2 * math.pi) + (variances_CF.log() + means_CF.square() / variances_CF).sum(dim=1)
        )
        # log N(x) = constant + x m / v - x^2 / 2v
        self.linear_XC = torch.cat([means_CF / variances_CF, -0.5 / variances_CF], dim=1).T.to(dtype).contiguous()
        self.constant_C = constant_C.to(dtype)

    def __call__(self, feats_TF: Tensor) -> Tensor:
        """Returns log w_c + log N(x_t; m_c, diag v_c), `[T, C]`, in the number format of the densities."""
        feats_TF = feats_TF.to(self.linear_XC.dtype)
        return torch.addmm(self.constant_C, torch.cat([feats_TF, feats_TF.square()], dim=1), self.linear_XC)


class Densities:
    """Weighted log densities of the `num_selected` likeliest components of each frame; 0: of all of them."""

    def __init__(self, mixture: Mixture, num_selected: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self.mixture = mixture.full()
        self.num_selected = min(num_selected or mixture.num_components, mixture.num_components)
        self.diagonal = DiagonalDensities(mixture, dtype)
        lower_CFF = torch.linalg.cholesky(self.mixture.covariances.double())
        identity_FF = torch.eye(lower_CFF.shape[1], dtype=torch.float64, device=lower_CFF.device)
        inverse_CFF = torch.linalg.solve_triangular(lower_CFF, identity_FF.expand_as(lower_CFF), upper=False)
        self.whitening_CFF = inverse_CFF.transpose(1, 2).contiguous()  # (x - m) times this has covariance I
        log_det_C = 2 * lower_CFF.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        num_bins = lower_CFF.shape[1]
        self.constant_C = mixture.weights_C.double().log() - 0.5 * (num_bins * math.log(2 * math.pi) + log_det_C)

    def select(self, feats_TF: Tensor) -> Tensor:
        """Returns the components that the diagonal densities are largest of, `[T, K]`."""
        if self.num_selected == self.mixture.num_components:
            return torch.arange(self.num_selected, device=feats_TF.device).expand(len(feats_TF), -1)
        return self.diagonal(feats_TF).topk(self.num_selected, dim=1).indices

    def __call__(self, feats_TF: Tensor, index_TK: Tensor) -> Tensor:
        """Returns log w_c + log N(x_t; m_c, S_c) of the selected components, `[T, K]` in double."""
        pairs = Pairs.sorted(index_TK, self.mixture.num_components)
        forms_P = log_forms(feats_TF.double(), pairs, self.mixture.means_CF.double(), self.whitening_CFF)
        log_TK = torch.empty(index_TK.numel(), dtype=torch.float64, device=feats_TF.device)
        log_TK[pairs.order_P] = forms_P
        return log_TK.view_as(index_TK) + self.constant_C[index_TK]


def posteriors(log_TK: Tensor, floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """Returns the components' posteriors `[T, K]`, rows of sum 1, and the log-likelihood of each frame `[T]`.

    Args:
        log_TK: weighted log densities.
        floor: posteriors below this become 0, and the others of the frame share what is left; the largest always stays.

    Source: Kaldi src/fgmmbin/fgmm-global-gselect-to-post.cc (pruning).
    """
    log_likelihood_T = log_TK.logsumexp(dim=1)
    posterior_TK = (log_TK - log_likelihood_T[:, None]).exp()
    if floor > 0:
        largest_T1 = posterior_TK.amax(dim=1, keepdim=True)
        posterior_TK = posterior_TK * ((posterior_TK >= floor) | (posterior_TK == largest_T1))
    return posterior_TK / posterior_TK.sum(dim=1, keepdim=True), log_likelihood_T
