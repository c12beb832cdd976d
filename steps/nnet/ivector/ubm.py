"""EM for the universal background model: from random frames by way of diagonal to full covariances.

Sums over frames are kept in double. Components never vanish: one with fewer than MIN_COUNT frames keeps its mean and covariance,
and weights stay over MIN_WEIGHT, so that the mixture has the size that the settings say (Kaldi with
--remove-low-count-gaussians=false).

Source: Kaldi src/gmmbin/gmm-global-init-from-feats.cc, src/gmm/mle-diag-gmm.cc, mle-full-gmm.cc, diag-gmm.cc (Split).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from steps.nnet.ivector.mixture import CHUNK, Densities, DiagonalDensities, Mixture, posteriors
from steps.nnet.ivector.pairs import Pairs, scatters

MIN_COUNT = 10.0  # frames (of posterior mass), Kaldi's min-gaussian-occupancy
MIN_WEIGHT = 1e-5  # Kaldi's min-gaussian-weight
SPLIT_STEP = 0.1  # standard deviations that the halves of a component are moved by, on average and apart


@dataclass
class Sums:
    """What EM needs of frames: counts, sums, and second moments (about 0, diagonal) or scatters (about the means, full)."""

    count_C: Tensor
    first_CF: Tensor
    second: Tensor
    log_likelihood: float = 0.0
    num_frames: int = 0

    @classmethod
    def zero(cls, mixture: Mixture) -> "Sums":
        """Returns sums of no frames."""
        parts = (mixture.weights_C, mixture.means_CF, mixture.covariances)
        return cls(*(torch.zeros_like(part, dtype=torch.float64) for part in parts))

    def add(self, count_C: Tensor, first_CF: Tensor, second: Tensor, log_likelihood_T: Tensor) -> None:
        """Adds the sums of some frames."""
        self.count_C += count_C
        self.first_CF += first_CF
        self.second += second
        self.log_likelihood += float(log_likelihood_T.double().sum())
        self.num_frames += len(log_likelihood_T)


def global_moments(feats_TF: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance (with n) of all frames, each `[F]` in double.

    Raises:
        ValueError: a bin is the same in all frames.
    """
    feats_TF = feats_TF.double()
    mean_F, variance_F = feats_TF.mean(dim=0), feats_TF.var(dim=0, correction=0)
    if not bool((variance_F > 0).all()):
        still = (variance_F <= 0).nonzero().flatten().tolist()
        raise ValueError(f"features: expected bins that vary, found the same value in all {len(feats_TF)} frames in bins {still}")
    return mean_F, variance_F


def begin(feats_TF: Tensor, num_components: int, rng: np.random.Generator) -> Mixture:
    """Returns a diagonal mixture with equal weights, its means distinct random frames, its variances those of all frames.

    Raises:
        ValueError: there are fewer than ten frames per component.
    """
    if len(feats_TF) < 10 * num_components:
        raise ValueError(
            f"UBM: expected at least 10 frames for each of {num_components} components, found {len(feats_TF)} frames"
        )
    _, variance_F = global_moments(feats_TF)
    chosen = torch.from_numpy(np.sort(rng.choice(len(feats_TF), num_components, replace=False)))
    weights_C = torch.full((num_components,), 1.0 / num_components, dtype=torch.float64, device=feats_TF.device)
    return Mixture(weights_C, feats_TF[chosen.to(feats_TF.device)].double(), variance_F.repeat(num_components, 1))


def split(mixture: Mixture, num_components: int, rng: np.random.Generator) -> Mixture:
    """Returns a diagonal mixture of more components: again and again the heaviest one is halved.

    Its halves share its weight and variances; their means lie a random step from the old one, in opposite directions.
    """
    weights, means, variances = (
        list(part.cpu().numpy()) for part in (mixture.weights_C, mixture.means_CF, mixture.covariances)
    )  # fmt: skip
    while len(weights) < num_components:
        heaviest = int(np.argmax(weights))
        step = SPLIT_STEP * np.sqrt(variances[heaviest]) * rng.standard_normal(len(means[heaviest]))
        weights[heaviest] /= 2
        weights.append(weights[heaviest])
        means.append(means[heaviest] + step)
        means[heaviest] = means[heaviest] - step
        variances.append(variances[heaviest])
    return Mixture(*(torch.from_numpy(np.array(part)).to(mixture.means_CF.device) for part in (weights, means, variances)))


def diagonal_sums(mixture: Mixture, feats_TF: Tensor, sums: Sums, num_selected: int = 0) -> None:
    """Adds frames `[T, F]` to the sums of a diagonal mixture.

    Args:
        mixture: of the iteration before.
        feats_TF: their number format is that of the products.
        sums: added to.
        num_selected: only the likeliest so many components of a frame count; 0: all.
    """
    densities = DiagonalDensities(mixture, feats_TF.dtype)
    for part_TF in feats_TF.split(CHUNK[feats_TF.device.type]):
        log_TC = densities(part_TF)
        if 0 < num_selected < mixture.num_components:
            least_T1 = log_TC.topk(num_selected, dim=1).values[:, -1:]
            log_TC = log_TC.masked_fill_(log_TC < least_T1, -torch.inf)
        posterior_TC, log_likelihood_T = posteriors(log_TC)
        moments_CX = posterior_TC.T @ torch.cat([part_TF, part_TF.square()], dim=1)
        sums.add(posterior_TC.sum(dim=0, dtype=torch.float64), *moments_CX.double().chunk(2, dim=1), log_likelihood_T)


def full_sums(mixture: Mixture, feats_TF: Tensor, sums: Sums, num_selected: int = 0, densities: Densities | None = None) -> None:
    """Adds frames `[T, F]` to the sums of a mixture with full covariances; arguments as of `diagonal_sums`.

    Args:
        densities: of this mixture and selection, where they are at hand.
    """
    densities = densities or Densities(mixture, num_selected, feats_TF.dtype)
    for part_TF in feats_TF.split(CHUNK[feats_TF.device.type]):
        index_TK = densities.select(part_TF)
        posterior_TK, log_likelihood_T = posteriors(densities(part_TF, index_TK))
        part_TF = part_TF.double()
        pairs = Pairs.sorted(index_TK, mixture.num_components)
        weight_P = posterior_TK.reshape(-1)[pairs.order_P]
        count_C = torch.zeros_like(sums.count_C).index_add_(0, index_TK.reshape(-1), posterior_TK.reshape(-1))
        first_CF = torch.zeros_like(sums.first_CF)
        first_CF.index_add_(0, index_TK.reshape(-1)[pairs.order_P], part_TF[pairs.frame_P] * weight_P[:, None])
        sums.add(count_C, first_CF, scatters(part_TF, pairs, weight_P, mixture.means_CF), log_likelihood_T)


def update(mixture: Mixture, sums: Sums, floor_F: Tensor) -> Mixture:
    """Returns the mixture that maximises the expected likelihood.

    Args:
        mixture: that the sums were made with.
        sums: of `diagonal_sums` or `full_sums`.
        floor_F: least variances; covariance matrices stay over the diagonal matrix of them in every direction.
    """
    enough_C = sums.count_C >= MIN_COUNT
    count_C = sums.count_C.clamp_min(MIN_COUNT)
    means_CF = torch.where(enough_C[:, None], sums.first_CF / count_C[:, None], mixture.means_CF)
    if mixture.is_full:
        shift_CF = means_CF - mixture.means_CF
        covariances = sums.second / count_C[:, None, None] - shift_CF[:, :, None] * shift_CF[:, None, :]
        covariances = floored(covariances, torch.diag(floor_F))
        covariances = torch.where(enough_C[:, None, None], covariances, mixture.covariances)
    else:
        covariances = torch.maximum(sums.second / count_C[:, None] - means_CF.square(), floor_F)
        covariances = torch.where(enough_C[:, None], covariances, mixture.covariances)
    weights_C = (sums.count_C / sums.count_C.sum()).clamp_min(MIN_WEIGHT)
    return Mixture(weights_C / weights_C.sum(), means_CF, covariances)


def floored(covariances_CFF: Tensor, floor_FF: Tensor) -> Tensor:
    """Returns symmetric matrices that are nowhere below the floor: in no direction u is u'Su less than u'Vu.

    Those that are nowhere below it are returned as they are (made symmetric). A floor of 0 asks for nothing.

    Source: Kaldi src/matrix/sp-matrix.cc, SpMatrix::ApplyFloor.
    """
    covariances_CFF = (covariances_CFF + covariances_CFF.transpose(1, 2)) / 2
    if not bool(floor_FF.any()):
        return covariances_CFF
    below_C = torch.linalg.cholesky_ex(covariances_CFF - floor_FF).info != 0
    if not bool(below_C.any()):
        return covariances_CFF
    lower_FF = torch.linalg.cholesky(floor_FF)
    whitened = torch.linalg.solve_triangular(lower_FF, covariances_CFF[below_C], upper=False)
    whitened = torch.linalg.solve_triangular(lower_FF, whitened.transpose(1, 2), upper=False)
    values, vectors = torch.linalg.eigh((whitened + whitened.transpose(1, 2)) / 2)
    raised = (vectors * values.clamp_min(1.0)[:, None, :]) @ vectors.transpose(1, 2)
    covariances_CFF[below_C] = lower_FF @ raised @ lower_FF.T
    return covariances_CFF
