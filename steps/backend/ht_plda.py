"""Heavy-tailed PLDA in its fast form: every embedding becomes a Gaussian likelihood of the speaker, sharper or blunter.

r | z ~ Student-t(F z, nu, W) with z ~ N(0, I) of `rank` dimensions, D of r, W a precision. As a function of z that is again a
t-distribution, with nu + D - rank degrees of freedom, so nearly a Gaussian where D is well above the rank: with
P = F' W, B0 = P F and G = W - P' B0^-1 P its precision is b B0, b = (nu + D - rank) / (nu + r' G r), and its natural mean
a = b P r. An outlier has a small b, and so little to say. Several embeddings of a speaker add their a and b. With

    e(a, b) = 1/2 [a' (I + b B0)^-1 a - log det (I + b B0)],

the log of that likelihood's expectation over z, a trial's log-likelihood ratio is e(a1 + a2, b1 + b2) - e(a1, b1) - e(a2, b2).
All precisions share their directions: z is turned once so that B0 is a diagonal, and e is a sum over dimensions. With nu
infinite b is 1, and all is Gaussian PLDA.

Source: Silnova, Brummer, Garcia-Romero, Snyder and Burget, "Fast variational Bayes for heavy-tailed PLDA applied to i-vectors and
    x-vectors", Interspeech 2018; Brummer, Silnova, Burget and Stafylakis, "Gaussian meta-embeddings for efficient scoring of a
    heavy-tailed PLDA model", Odyssey 2018. The form of the update is that of bsxfan/meta-embeddings, VB4HTPLDA.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from numpy.polynomial.chebyshev import chebvander
from scipy.linalg import cho_factor, cho_solve
from scipy.special import digamma, gammaln

from steps.backend.bilinear import quadratic_trials
from steps.backend.estimator import checked_embeddings, checked_index, class_means, require_fitted, speaker_codes
from steps.backend.plda import training_statistics
from steps.backend.ridge import ridge_note
from steps.backend.simplified_plda import FactorModel, basis, check_rank, leading_factors, maximise, posteriors
from steps.backend.transforms import Speakers
from steps.backend.windows import Windows

BLOCK_NUMBERS = 25_000  # float64 numbers gathered at a time: the buffers of a block of trials stay in a core's cache
MATRIX_ROWS = 512  # test items whose b are interpolated together
SERIES_ERROR = 1e-14  # relative error of that interpolation
TINY = 1e-12  # share of the largest below which a precision counts as 0


class HTPLDA:
    """Heavy-tailed PLDA; scores are natural-log likelihood ratios. Embeddings are not to be length-normalised before it.

    Fitted attributes: `mean_D_` (of the speakers' means), `loading_DR_` (F), `within_DD_` (inverse of W), `ridge_` (see `note`)
    and `lower_bound_I_`: the variational lower bound of the log-likelihood before each iteration, to watch convergence by. With
    nu infinite it is the log-likelihood itself, and rises; the fast form makes no such promise for other nu.

    Args:
        rank: dimensions of z: below D, and better well below; for nu infinite, up to D.
        nu: degrees of freedom of the tails; `float("inf")` for Gaussian PLDA.
        num_iterations: iterations of variational Bayes.
        init: "random" (F drawn from N(0, 1), W = I, as in the public program) or "moments" (as simplified PLDA starts).
        seed: of "random".
        ridge: as in `PLDA`.
    """

    def __init__(
        self, rank: int = 150, nu: float = 2.0, num_iterations: int = 50, init: str = "random", seed: int = 1, ridge: float = 0.0
    ) -> None:
        self.rank = rank
        self.nu = nu
        self.num_iterations = num_iterations
        self.init = init
        self.seed = seed
        self.ridge = ridge

    @classmethod
    def from_parameters(cls, mean: npt.ArrayLike, loading: npt.ArrayLike, within: npt.ArrayLike, *, nu: float) -> Self:
        """Return a fitted model with this mean [D], F [D, R], inverse of W [D, D] and nu.

        Raises:
            ValueError: shapes that do not fit, a rank that is too large, or a nu that is not above 0.
        """
        mean_D, loading_DR, within_DD = (np.asarray(array, dtype=np.float64) for array in (mean, loading, within))
        if mean_D.ndim != 1 or loading_DR.ndim != 2 or not len(loading_DR) == mean_D.size or within_DD.shape != 2 * mean_D.shape:
            raise ValueError(
                f"parameters: expected mean [D], loading [D, R] and within [D, D], found {mean_D.shape}, {loading_DR.shape} "
                f"and {within_DD.shape}"
            )
        model = cls(rank=loading_DR.shape[1], nu=nu)
        model._check_settings(mean_D.size)
        model.mean_D_, model.loading_DR_, model.within_DD_, model.ridge_ = mean_D, loading_DR, within_DD, 0.0
        return model

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers) -> Self:
        """Return self, estimated by variational Bayes on embeddings [N, D] with one speaker each.

        Raises:
            ValueError: settings that do not fit; fewer than two speakers, or none with two embeddings.
        """
        self.mean_D_, mean_SD, count_S, scatter_DD, self.ridge_ = training_statistics(embeddings, speakers, self.ridge)
        self._check_settings(self.mean_D_.size)
        centred_ND = checked_embeddings(embeddings, "training embeddings") - self.mean_D_
        _, code_N = speaker_codes(speakers, len(centred_ND))
        model, bounds = self._start(mean_SD, scatter_DD / len(centred_ND)), []
        for _ in range(self.num_iterations):
            scale_N = self._scales(model, centred_ND)
            sum_SD, weight_S = _weighted_sums(centred_ND, scale_N, code_N, count_S)
            second_DD = (centred_ND * scale_N[:, None]).T @ centred_ND
            second_DD[np.diag_indices_from(second_DD)] += scale_N.sum() * self.ridge_
            found = posteriors(model, sum_SD, weight_S)
            bounds.append(self._lower_bound(model, scale_N, second_DD, found.log_expectation_S))
            model = maximise(found, sum_SD, second_DD)
        self.loading_DR_, _, _ = basis(model)
        self.within_DD_, self.lower_bound_I_ = model.within_DD, np.array(bounds)
        return self

    @property
    def note(self) -> str:
        """What a log should say of the estimate: a ridge that the data needed. Empty where there is nothing to say."""
        return ridge_note(getattr(self, "ridge_", 0.0), self.ridge, "PLDA")

    def meta_embeddings(self, embeddings: npt.ArrayLike | Windows) -> tuple[np.ndarray, np.ndarray]:
        """Return (a [N, R], b [N]) of embeddings [N, D], or of `Windows` of several embeddings each, added up.

        Raises:
            ValueError: not fitted, or another D.
        """
        require_fitted(self, "within_DD_")
        if isinstance(embeddings, Windows):
            a_RowR, b_Row = self.meta_embeddings(embeddings.rows_RD)
            starts = embeddings.start_N1[:-1]
            return np.add.reduceat(a_RowR, starts, axis=0), np.add.reduceat(b_Row, starts)
        centred_ND = checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size) - self.mean_D_
        model = FactorModel(self.loading_DR_, self.within_DD_)
        b_N = self._scales(model, centred_ND)
        _, projection_RD, _ = basis(model)
        return b_N[:, None] * (centred_ND @ projection_RD.T), b_N

    def score_matrix(self, enrol: npt.ArrayLike | Windows, test: npt.ArrayLike | Windows) -> np.ndarray:
        """Return the LLR of every enrolment [M, D] against every test item [N, D], as [M, N].

        Args:
            enrol: one embedding each, or `Windows` of several, pooled by the book.
            test: likewise.
        """
        a_MR, b_M, a_NR, b_N, precision_R = self._sides(enrol, test)
        llr_MN = np.empty((len(b_M), len(b_N)))
        for start in range(0, len(b_M), MATRIX_ROWS):
            block = slice(start, start + MATRIX_ROWS)
            llr_MN[block] = _expectations_of_sums(a_MR[block], b_M[block], a_NR, b_N, precision_R)
        llr_MN -= log_expectations(a_MR, b_M, precision_R)[:, None]
        llr_MN -= log_expectations(a_NR, b_N, precision_R)[None]
        return llr_MN

    def score_trials(
        self,
        enrol: npt.ArrayLike | Windows,
        test: npt.ArrayLike | Windows,
        enrol_index: npt.ArrayLike,
        test_index: npt.ArrayLike,
    ) -> np.ndarray:
        """Return the LLR of enrolment `enrol_index[p]` against test item `test_index[p]` for each trial, as [P].

        Args:
            enrol: as `score_matrix`.
            test: likewise.
            enrol_index: row of each trial's enrolment.
            test_index: row of each trial's test item.

        Raises:
            ValueError: as `meta_embeddings`, an index out of range, or lists of different length.
        """
        a_MR, b_M, a_NR, b_N, precision_R = self._sides(enrol, test)
        enrol_P = checked_index(enrol_index, len(b_M), "enrol_index")
        test_P = checked_index(test_index, len(b_N), "test_index")
        if enrol_P.size != test_P.size:
            raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
        alone_M, alone_N = log_expectations(a_MR, b_M, precision_R), log_expectations(a_NR, b_N, precision_R)
        if np.isinf(self.nu) and np.ptp(b_N) == 0.0:
            count_K, group_M = np.unique(b_M, return_inverse=True)
            shrink_KR = 1.0 / (1.0 + (count_K[:, None] + b_N[0]) * precision_R)
            left_MR = a_MR * shrink_KR[group_M]
            left_M = 0.5 * (np.einsum("mr,mr->m", a_MR, left_MR) + np.log(shrink_KR).sum(axis=1)[group_M]) - alone_M
            scores_P = quadratic_trials(left_MR, left_M, group_M, 0.5 * shrink_KR, a_NR, enrol_P, test_P)
        else:
            scores_P = _expectations_of_trials(a_MR, b_M, a_NR, b_N, precision_R, enrol_P, test_P)
            scores_P -= alone_M[enrol_P]
        scores_P -= alone_N[test_P]
        return scores_P

    def _check_settings(self, dim: int) -> None:
        if not self.nu > 0.0:
            raise ValueError(f"nu: expected more than 0, infinity for Gaussian, found {self.nu}")
        check_rank(self.rank, dim, below=np.isfinite(self.nu))
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations: expected at least 1, found {self.num_iterations}")
        if self.init not in ("random", "moments"):
            raise ValueError(f"init: expected 'random' or 'moments', found {self.init!r}")

    def _start(self, mean_SD: np.ndarray, within_DD: np.ndarray) -> FactorModel:
        if self.init == "moments":
            return leading_factors(mean_SD.T @ mean_SD / len(mean_SD), within_DD, self.rank)
        dim = len(within_DD)
        return FactorModel(np.random.default_rng(self.seed).normal(size=(dim, self.rank)), np.eye(dim))

    def _scales(self, model: FactorModel, centred_ND: np.ndarray) -> np.ndarray:
        """b of each embedding, [N]."""
        if np.isinf(self.nu):
            return np.ones(len(centred_ND))
        _, projection_RD, precision_R = basis(model)
        # r' G r is what W measures of r less what the speaker's subspace can explain.
        whole_N = np.einsum("nd,nd->n", centred_ND @ np.linalg.inv(model.within_DD), centred_ND)
        inverse_R = np.divide(1.0, precision_R, out=np.zeros_like(precision_R), where=precision_R > TINY * precision_R.max())
        rest_N = np.maximum(whole_N - (centred_ND @ projection_RD.T) ** 2 @ inverse_R, 0.0)
        degrees = self.nu + len(model.within_DD) - self.rank
        return degrees / (self.nu + rest_N)

    def _sides(
        self, enrol: npt.ArrayLike | Windows, test: npt.ArrayLike | Windows
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return (a, b of enrolments, a, b of test items, diagonal of B0)."""
        a_MR, b_M = self.meta_embeddings(enrol)
        a_NR, b_N = (a_MR, b_M) if test is enrol else self.meta_embeddings(test)
        _, _, precision_R = basis(FactorModel(self.loading_DR_, self.within_DD_))
        return a_MR, b_M, a_NR, b_N, precision_R

    def _lower_bound(
        self, model: FactorModel, scale_N: np.ndarray, second_DD: np.ndarray, log_expectation_S: np.ndarray
    ) -> float:
        """Variational lower bound, with the posterior of each precision a gamma of mean b and shape (nu + D - rank) / 2."""
        factor, dim = cho_factor(model.within_DD, lower=True), len(second_DD)
        logdet = 2.0 * np.log(np.diag(factor[0])).sum()
        alone = scale_N.size * (logdet + dim * np.log(2.0 * np.pi)) + np.trace(cho_solve(factor, second_DD))
        bound = float(log_expectation_S.sum() - 0.5 * alone)
        if np.isinf(self.nu):
            return bound
        shape, prior = (self.nu + dim - self.rank) / 2.0, self.nu / 2.0
        rate_N = shape / scale_N
        mean_log_N = digamma(shape) - np.log(rate_N)
        divergence_N = shape * np.log(rate_N) - gammaln(shape) + (shape - 1.0) * mean_log_N - shape
        divergence_N -= prior * np.log(prior) - gammaln(prior) + (prior - 1.0) * mean_log_N - prior * scale_N
        return bound + float((0.5 * dim * mean_log_N - divergence_N).sum())


def log_expectations(a_NR: np.ndarray, b_N: np.ndarray, precision_R: np.ndarray) -> np.ndarray:
    """Return e(a, b) of each item, [N]: log of the expectation of exp(a'z - b/2 z'B0 z) over z ~ N(0, I), B0 a diagonal."""
    total_NR = 1.0 + b_N[:, None] * precision_R
    return 0.5 * (a_NR**2 / total_NR - np.log(total_NR)).sum(axis=1)


def _weighted_sums(
    items_ND: np.ndarray, weight_N: np.ndarray, code_N: np.ndarray, count_S: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (weighted sum of each speaker's items [S, D], sum of their weights [S])."""
    mean_SD, _ = class_means(items_ND * weight_N[:, None], code_N, count_S.size)
    return mean_SD * count_S[:, None], np.bincount(code_N, weights=weight_N, minlength=count_S.size)


def _expectations_of_trials(
    a_MR: np.ndarray,
    b_M: np.ndarray,
    a_NR: np.ndarray,
    b_N: np.ndarray,
    precision_R: np.ndarray,
    enrol_P: np.ndarray,
    test_P: np.ndarray,
) -> np.ndarray:
    """e(a_m + a_n, b_m + b_n) for each trial (m, n), as [P]; in blocks that stay in a core's cache."""
    rank = precision_R.size
    rows, expectation_P = max(1, BLOCK_NUMBERS // rank), np.empty(enrol_P.size)
    sum_BR, other_BR = np.empty((rows, rank)), np.empty((rows, rank))
    for start in range(0, enrol_P.size, rows):
        block = slice(start, start + rows)
        m, n = enrol_P[block], test_P[block]
        sums, total = sum_BR[: m.size], other_BR[: m.size]
        np.take(a_MR, m, axis=0, out=sums, mode="clip")
        sums += np.take(a_NR, n, axis=0, out=total, mode="clip")
        np.multiply((b_M[m] + b_N[n])[:, None], precision_R, out=total)
        total += 1.0
        np.multiply(sums, sums, out=sums)
        np.divide(sums, total, out=sums)
        expectation_P[block] = 0.5 * (sums.sum(axis=1) - _log_products(total))
    return expectation_P


def _log_products(total_BR: np.ndarray) -> np.ndarray:
    """Sum of the logarithms of each row of numbers from 1 on, as logarithms of products of about eight: these cost less."""
    for _ in range(3):
        half = total_BR.shape[1] // 2
        if half == 0:
            break
        product = total_BR[:, :half] * total_BR[:, half : 2 * half]
        if total_BR.shape[1] % 2:
            product[:, 0] *= total_BR[:, -1]
        total_BR = product
    return np.log(total_BR).sum(axis=1)


def _expectations_of_sums(
    a_MR: np.ndarray, b_M: np.ndarray, a_NR: np.ndarray, b_N: np.ndarray, precision_R: np.ndarray
) -> np.ndarray:
    """e(a_m + a_n, b_m + b_n) for all pairs, as [M, N].

    With b_n fixed that would be matrix products. As a function of b_n it is smooth, so it is computed for a few values of b_n and
    interpolated (Chebyshev), to nearly all digits; test items of like b_n go together, so that a few values are enough.
    """
    expectation_MN = np.empty((len(b_M), len(b_N)))
    order_N = np.argsort(b_N, kind="stable")
    pole = -float(b_M.min()) - 1.0 / max(float(precision_R.max(initial=0.0)), TINY)
    for start in range(0, order_N.size, MATRIX_ROWS):
        block = order_N[start : start + MATRIX_ROWS]
        node_K, weight_BK = _interpolation(b_N[block], pole)
        a_BR, result_MB = a_NR[block], np.zeros((len(b_M), block.size))
        for node, weight_B in zip(node_K, weight_BK.T, strict=True):
            shrink_MR = 1.0 / (1.0 + (b_M + node)[:, None] * precision_R)
            left_MR = a_MR * shrink_MR
            own_M = np.einsum("mr,mr->m", a_MR, left_MR) + np.log(shrink_MR).sum(axis=1)
            part_MB = left_MR @ (2.0 * a_BR).T + shrink_MR @ (a_BR**2).T + own_M[:, None]
            result_MB += part_MB * weight_B
        expectation_MN[:, block] = 0.5 * result_MB
    return expectation_MN


def _interpolation(value_B: np.ndarray, pole: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (nodes [K], weights [B, K]) that interpolate a function without a singularity above `pole` at the values.

    The error of K Chebyshev nodes falls as rho^-K, rho the size of the largest ellipse about the values that leaves out the pole.

    Source: Trefethen, "Approximation theory and approximation practice", 2013, theorem 8.2.
    """
    low, high = float(value_B.min()), float(value_B.max())
    middle, radius = (low + high) / 2.0, (high - low) / 2.0
    if radius <= TINY * abs(middle):
        return np.array([middle]), np.ones((value_B.size, 1))
    distance = (middle - pole) / radius
    rho = distance + np.sqrt(distance**2 - 1.0)
    num = int(np.ceil(-np.log(SERIES_ERROR) / np.log(rho))) + 1
    node_K = np.cos((np.arange(num) + 0.5) * np.pi / num)
    basis_KK, basis_BK = chebvander(node_K, num - 1), chebvander((value_B - middle) / radius, num - 1)
    basis_KK[:, 1:] *= 2.0
    return middle + radius * node_K, basis_BK @ basis_KK.T / num
