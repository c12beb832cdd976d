"""Simplified PLDA: the speaker lives in a subspace of chosen rank, the rest is a full within-speaker covariance.

x = m + F y + e with y ~ N(0, I) of `rank` dimensions, one for each speaker, and e ~ N(0, W). That is the two-covariance model
with between-speaker covariance F F', and with all dimensions it is that model itself; so it is scored as `PLDA` is.

Source: Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010 (section 2.5 without channel factors);
    Sizov, Lee and Kinnunen, "Unifying probabilistic linear discriminant analysis variants in biometric authentication", 2014
    (EM and minimum divergence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, cholesky, eigh

from steps.backend.plda import PLDA, diagonalise, training_statistics
from steps.backend.transforms import Speakers


class SimplifiedPLDA(PLDA):
    """PLDA whose between-speaker covariance has `rank` dimensions, estimated by EM with minimum divergence.

    Fitted attributes: those of `PLDA`, whose `psi_D_` is 0 from `rank` on, and `log_likelihood_I_`, that of the training
    embeddings (natural log, total) before each iteration and after the last.

    Args:
        rank: dimensions of the speaker's subspace, 1 to D. More than the number of speakers less one adds nothing.
        num_iterations: EM iterations. They start from the moments within and between speakers, so few are needed.
        length_norm: as in `PLDA`.
        ridge: as in `PLDA`.
    """

    def __init__(self, rank: int, num_iterations: int = 10, length_norm: str = "kaldi", ridge: float = 0.0) -> None:
        super().__init__(num_iterations, length_norm, ridge)
        self.rank = rank

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers) -> Self:
        """Return self, estimated on embeddings [N, D] with one speaker each; the mean is that of the speakers' means.

        Raises:
            ValueError: as `PLDA.fit`, or a rank outside 1 to D.
        """
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations: expected at least 1, found {self.num_iterations}")
        self.mean_D_, mean_SD, count_S, scatter_DD, self.ridge_ = training_statistics(embeddings, speakers, self.ridge)
        check_rank(self.rank, self.mean_D_.size)
        sum_SD = count_S[:, None] * mean_SD
        second_DD = scatter_DD + sum_SD.T @ mean_SD
        between_DD = mean_SD.T @ mean_SD / len(mean_SD)
        model = leading_factors(between_DD, scatter_DD / count_S.sum(), self.rank)
        values = []
        for _ in range(self.num_iterations):
            found = posteriors(model, sum_SD, count_S.astype(np.float64))
            values.append(_log_likelihood(model, found, second_DD, int(count_S.sum())))
            model = maximise(found, sum_SD, second_DD)
        found = posteriors(model, sum_SD, count_S.astype(np.float64))
        self.log_likelihood_I_ = np.array([*values, _log_likelihood(model, found, second_DD, int(count_S.sum()))])
        self.transform_DD_, psi_D, _ = diagonalise(model.loading_DR @ model.loading_DR.T, model.within_DD)
        self.psi_D_ = np.where(np.arange(psi_D.size) < self.rank, psi_D, 0.0)
        return self


@dataclass(frozen=True, eq=False)
class FactorModel:
    """F [D, R] and the within-speaker covariance [D, D]."""

    loading_DR: np.ndarray
    within_DD: np.ndarray


@dataclass(frozen=True, eq=False)
class Posteriors:
    """Posterior of each speaker's y, in the basis in which F' W^-1 F is the diagonal of `precision_R`."""

    loading_DR: np.ndarray  # F in that basis
    precision_R: np.ndarray
    mean_SR: np.ndarray
    variance_SR: np.ndarray
    weight_S: np.ndarray  # (effective) number of embeddings
    log_expectation_S: np.ndarray  # of the likelihood of y, over the prior (see ht_plda.py)


def check_rank(rank: int, dim: int, *, below: bool = False) -> None:
    """Refuse a rank outside 1 to D, or from D on where it must be below.

    Raises:
        ValueError: such a rank.
    """
    largest = dim - 1 if below else dim
    if not 1 <= rank <= largest:
        raise ValueError(f"rank: expected 1 to {largest}, for {dim} dimensions, found {rank}")


def leading_factors(between_DD: np.ndarray, within_DD: np.ndarray, rank: int) -> FactorModel:
    """Return a model whose F F' is the between-speaker covariance's best approximation of that rank, measured by within."""
    _, psi_D, back_DD = diagonalise(between_DD, within_DD)
    return FactorModel(back_DD[:, :rank] * np.sqrt(psi_D[:rank]), within_DD)


def basis(model: FactorModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (F, F' W^-1, diagonal of F' W^-1 F), with F [D, R] turned so that the last is a diagonal, largest first.

    Turning the speaker's subspace changes nothing: its prior is as wide in all directions.
    """
    weighted_DR = cho_solve(cho_factor(model.within_DD, lower=True), model.loading_DR)
    product_RR = model.loading_DR.T @ weighted_DR
    precision_R, turn_RR = eigh((product_RR + product_RR.T) / 2)
    turn_RR = turn_RR[:, ::-1]
    return model.loading_DR @ turn_RR, (weighted_DR @ turn_RR).T, np.maximum(precision_R[::-1], 0.0)


def posteriors(model: FactorModel, sum_SD: np.ndarray, weight_S: np.ndarray) -> Posteriors:
    """Return the posterior of each speaker's y given the (weighted) sum of their embeddings [S, D] and number [S]."""
    loading_DR, projection_RD, precision_R = basis(model)
    natural_SR = sum_SD @ projection_RD.T
    total_SR = 1.0 + weight_S[:, None] * precision_R
    mean_SR = natural_SR / total_SR
    log_expectation_S = 0.5 * (natural_SR * mean_SR - np.log(total_SR)).sum(axis=1)
    return Posteriors(loading_DR, precision_R, mean_SR, 1.0 / total_SR, weight_S, log_expectation_S)


def maximise(found: Posteriors, sum_SD: np.ndarray, second_DD: np.ndarray) -> FactorModel:
    """Return the model that maximises the expected likelihood, F scaled so that the prior of y is met (minimum divergence).

    Args:
        found: posteriors of y.
        sum_SD: weighted sum of each speaker's embeddings.
        second_DD: weighted sum of outer products of all embeddings.
    """
    mean_SR, weight_S1 = found.mean_SR, found.weight_S[:, None]
    cross_RD = mean_SR.T @ sum_SD
    moment_RR = (weight_S1 * mean_SR).T @ mean_SR + np.diag((weight_S1 * found.variance_SR).sum(axis=0))
    loading_DR = np.linalg.solve(moment_RR, cross_RD).T
    explained_DD = loading_DR @ cross_RD
    within_DD = (second_DD - (explained_DD + explained_DD.T) / 2) / found.weight_S.sum()
    prior_RR = (mean_SR.T @ mean_SR + np.diag(found.variance_SR.sum(axis=0))) / len(mean_SR)
    return FactorModel(loading_DR @ cholesky(prior_RR, lower=True), within_DD)


def _log_likelihood(model: FactorModel, found: Posteriors, second_DD: np.ndarray, num_items: int) -> float:
    """Log-density of all embeddings: as if every y were 0, and what knowing y adds."""
    factor = cho_factor(model.within_DD, lower=True)
    logdet = 2.0 * np.log(np.diag(factor[0])).sum()
    alone = num_items * (logdet + len(second_DD) * np.log(2.0 * np.pi)) + np.trace(cho_solve(factor, second_DD))
    return float(found.log_expectation_S.sum() - 0.5 * alone)
