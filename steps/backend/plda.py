"""Probabilistic linear discriminant analysis: the two-covariance model, estimated and scored as Kaldi does.

An embedding is mean + speaker + session, with speaker ~ N(0, B) and session ~ N(0, W). In the space `u = A (x -
mean)` W is the identity and B the diagonal of psi. The log-likelihood ratio of a trial is then a dot product, plus a number of
the enrolment, plus one of the test item that depends on nothing of the enrolment but how many embeddings it has.

Source: Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006; Kaldi src/ivector/plda.cc.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, eigh, solve_triangular

from steps.backend.bilinear import quadratic_trials
from steps.backend.enrolment import resolved
from steps.backend.estimator import checked_embeddings, checked_index, class_means, require_fitted, speaker_codes
from steps.backend.ridge import added_ridge, ridge_note
from steps.backend.transforms import Speakers
from steps.backend.windows import Windows


class PLDA:
    """Two-covariance PLDA; scores are natural-log likelihood ratios.

    Fitted attributes: `mean_D_`, `transform_DD_` (A, rows are directions, largest psi first), `psi_D_`, and `ridge_`, what was
    added to the diagonal of the within-speaker covariance (see `note`).

    Args:
        num_iterations: EM iterations (Kaldi: 10).
        length_norm: scaling after the transform. "kaldi": to the length expected under the model, given the number of
            enrolment embeddings averaged; "simple": to sqrt(D); "none".
        ridge: added to the diagonal of the within-speaker covariance, as a share of the mean variance of a dimension. Where it
            is 0 and the data do not span all dimensions within speakers, `AUTO_RIDGE` of ridge.py is taken instead.
    """

    def __init__(self, num_iterations: int = 10, length_norm: str = "kaldi", ridge: float = 0.0) -> None:
        self.num_iterations = num_iterations
        self.length_norm = length_norm
        self.ridge = ridge

    @staticmethod
    def from_covariances(
        mean: npt.ArrayLike, between: npt.ArrayLike, within: npt.ArrayLike, *, length_norm: str = "kaldi"
    ) -> PLDA:
        """Return a fitted PLDA with this mean [D], between-speaker and within-speaker covariance [D, D].

        Raises:
            ValueError: shapes that do not fit, or a within-speaker covariance that is not positive definite.
        """
        mean_D = np.asarray(mean, dtype=np.float64)
        between_DD, within_DD = (np.asarray(matrix, dtype=np.float64) for matrix in (between, within))
        if mean_D.ndim != 1 or not between_DD.shape == within_DD.shape == (mean_D.size, mean_D.size):
            raise ValueError(
                f"covariances: expected [D, D] with D of the mean, found mean {mean_D.shape}, "
                f"between {between_DD.shape}, within {within_DD.shape}"
            )
        plda = PLDA(length_norm=length_norm)
        plda.mean_D_ = mean_D
        plda.ridge_ = 0.0
        plda.transform_DD_, plda.psi_D_, _ = diagonalise(between_DD, within_DD)
        return plda

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers) -> Self:
        """Return self, estimated by EM on embeddings [N, D] with one speaker each.

        The mean is that of the speakers' means and stays fixed; both covariances start as the identity.

        Raises:
            ValueError: fewer than two speakers, or none with two embeddings; `num_iterations` under 1.
        """
        if self.num_iterations < 1:
            raise ValueError(f"num_iterations: expected at least 1, found {self.num_iterations}")
        self.mean_D_, mean_SD, count_S, scatter_DD, self.ridge_ = training_statistics(embeddings, speakers, self.ridge)
        between_DD = within_DD = np.eye(self.mean_D_.size)
        for _ in range(self.num_iterations):
            between_DD, within_DD = em_iteration(between_DD, within_DD, mean_SD, count_S, scatter_DD)
        self.transform_DD_, self.psi_D_, _ = diagonalise(between_DD, within_DD)
        return self

    @property
    def note(self) -> str:
        """What a log should say of the estimate: a ridge that the data needed. Empty where there is nothing to say."""
        return ridge_note(getattr(self, "ridge_", 0.0), self.ridge, "PLDA")

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (between-speaker, within-speaker) covariance, each [D, D], in the space of the embeddings."""
        require_fitted(self, "psi_D_")
        back_DD = np.linalg.inv(self.transform_DD_)
        return (back_DD * self.psi_D_) @ back_DD.T, back_DD @ back_DD.T

    def smooth_within(self, factor: float) -> PLDA:
        """Return a PLDA whose within-speaker covariance has grown by `factor` times the between-speaker covariance.

        Source: Kaldi Plda::SmoothWithinClassCovariance. The between-speaker covariance stays.

        Raises:
            ValueError: a factor outside 0 to 1.
        """
        require_fitted(self, "psi_D_")
        if not 0.0 <= factor <= 1.0:
            raise ValueError(f"factor: expected 0 to 1, found {factor}")
        smoothed = PLDA(self.num_iterations, self.length_norm, self.ridge)
        smoothed.ridge_ = getattr(self, "ridge_", 0.0)
        within_D = 1.0 + factor * self.psi_D_
        smoothed.mean_D_ = self.mean_D_
        smoothed.transform_DD_ = self.transform_DD_ / np.sqrt(within_D)[:, None]
        smoothed.psi_D_ = self.psi_D_ / within_D
        return smoothed

    def transform(self, embeddings: npt.ArrayLike, num_enrol: npt.ArrayLike = 1) -> np.ndarray:
        """Return the embeddings [N, D] in the space where W is the identity, length-normalised as set.

        Args:
            embeddings: embeddings, or means of several.
            num_enrol: how many embeddings each row is the mean of: one number, or one a row.

        Raises:
            ValueError: not fitted, another D, a count under 1, or an unknown `length_norm`.
        """
        require_fitted(self, "psi_D_")
        embeddings_ND = checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size)
        projected_ND = (embeddings_ND - self.mean_D_) @ self.transform_DD_.T
        if self.length_norm == "none":
            return projected_ND
        if self.length_norm == "kaldi":
            weighted_ND = projected_ND**2 / (self.psi_D_ + 1.0 / _counts(num_enrol, len(embeddings_ND)))
        elif self.length_norm == "simple":
            weighted_ND = projected_ND**2
        else:
            raise ValueError(f"length_norm: expected 'kaldi', 'simple' or 'none', found {self.length_norm!r}")
        length_N = np.sqrt(weighted_ND.sum(axis=1, keepdims=True) / self.mean_D_.size)
        # An embedding equal to the mean has no direction to keep; it stays at the origin.
        return np.divide(projected_ND, length_N, out=projected_ND, where=length_N > 0)

    def score_matrix(
        self, enrol: npt.ArrayLike | Windows, test: npt.ArrayLike, num_enrol: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Return the LLR of every enrolment [M, D] against every test embedding [N, D], as [M, N].

        Args:
            enrol: mean embedding of each enrolment, or `Windows` of several embeddings each.
            test: test embeddings.
            num_enrol: how many embeddings each enrolment is the mean of. By the book that is the true number, which is
                what `Windows` are taken with unless this says otherwise; 1 treats the mean as a single embedding.
        """
        enrol, num_enrol = resolved(enrol, num_enrol)
        active = self._active()
        left_MD, left_M, count_K, group_M = self._halves(self.transform(enrol, num_enrol)[:, :active], num_enrol)
        test_ND = self.transform(test)[:, :active]
        weight_KD = self._square_weights(count_K)
        llr_MN = left_MD @ test_ND.T
        if len(weight_KD) == 1:
            llr_MN += (test_ND**2 @ weight_KD[0])[None]
        else:
            llr_MN += weight_KD[group_M] @ (test_ND**2).T
        llr_MN += left_M[:, None]
        return llr_MN

    def score_pairs(self, enrol: npt.ArrayLike, test: npt.ArrayLike, num_enrol: npt.ArrayLike = 1) -> np.ndarray:
        """Return the LLR of each enrolment row [P, D] against the same test row [P, D], as [P].

        Raises:
            ValueError: as `transform`, or another number of rows.
        """
        enrol_PD, test_PD = self.transform(enrol, num_enrol), self.transform(test)
        if len(enrol_PD) != len(test_PD):
            raise ValueError(f"test embeddings: expected {len(enrol_PD)} rows as in enrolment, found {len(test_PD)}")
        mean_PD, variance_PD = self._predict(enrol_PD, num_enrol)
        given_P = (np.log(variance_PD) + (test_PD - mean_PD) ** 2 / variance_PD).sum(axis=1)
        return 0.5 * ((np.log1p(self.psi_D_) + test_PD**2 / (1.0 + self.psi_D_)).sum(axis=1) - given_P)

    def score_trials(
        self,
        enrol: npt.ArrayLike | Windows,
        test: npt.ArrayLike,
        enrol_index: npt.ArrayLike,
        test_index: npt.ArrayLike,
        *,
        num_enrol: npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the LLR of enrolment `enrol_index[p]` against test `test_index[p]` for each trial, as [P].

        Args:
            enrol: as `score_matrix`.
            test: test embeddings [N, D].
            enrol_index: row of each trial's enrolment.
            test_index: row of each trial's test item.
            num_enrol: as `score_matrix`.

        Raises:
            ValueError: as `transform`, an index out of range, or lists of different length.
        """
        same = enrol is test and num_enrol is None
        enrol, num_enrol = resolved(enrol, num_enrol)
        active = self._active()
        enrol_MD = self.transform(enrol, num_enrol)[:, :active]
        test_ND = enrol_MD if same else np.ascontiguousarray(self.transform(test)[:, :active])
        enrol_P = checked_index(enrol_index, len(enrol_MD), "enrol_index")
        test_P = checked_index(test_index, len(test_ND), "test_index")
        if enrol_P.size != test_P.size:
            raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
        left_MD, left_M, count_K, group_M = self._halves(enrol_MD, num_enrol)
        return quadratic_trials(left_MD, left_M, group_M, self._square_weights(count_K), test_ND, enrol_P, test_P)

    def _active(self) -> int:
        """How many dimensions have a between-speaker covariance above 0: the others cancel."""
        require_fitted(self, "psi_D_")
        return int(np.count_nonzero(self.psi_D_ > 0))

    def _halves(self, enrol_MD: np.ndarray, num_enrol: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return (what is multiplied with a test item [M, D], what is added [M], distinct counts [K], group of each row [M]).

        With mean m and variance s of a further embedding v, minus half of (v - m)^2 / s is v m / s - m^2 / 2s - v^2 / 2s;
        the last term is one of `_square_weights`.
        """
        mean_MD, variance_MD = self._predict(enrol_MD, num_enrol)
        precise_MD = mean_MD / variance_MD
        constant_M = np.log1p(self.psi_D_[: enrol_MD.shape[1]]).sum() - np.log(variance_MD).sum(axis=1)
        constant_M = 0.5 * (constant_M - np.einsum("md,md->m", mean_MD, precise_MD))
        count_K, group_M = np.unique(_counts(num_enrol, len(enrol_MD)), return_inverse=True)
        return precise_MD, constant_M, count_K, group_M.ravel()

    def _square_weights(self, count_K: np.ndarray) -> np.ndarray:
        """What the square of a test item is multiplied with in each dimension, given the number of enrolments, [K, D]."""
        psi_D = self.psi_D_[: self._active()]
        return 0.5 * (1.0 / (1.0 + psi_D) - 1.0 / (1.0 + psi_D / (count_K[:, None] * psi_D + 1.0)))

    def _predict(self, enrol_MD: np.ndarray, num_enrol: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean [M, D] and variance ([1, D] where all counts are one) of a further embedding of each enrolled speaker.

        Source: Ioffe, the unnumbered equation between 4 and 5.
        """
        count_M1, psi_D = _counts(num_enrol, len(enrol_MD)), self.psi_D_[: enrol_MD.shape[1]]
        shrink_MD = psi_D / (count_M1 * psi_D + 1.0)
        return count_M1 * shrink_MD * enrol_MD, 1.0 + shrink_MD


def training_statistics(
    embeddings: npt.ArrayLike, speakers: Speakers, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Return (mean of the speakers' means [D], their means less it [S, D], counts [S], scatter within speakers [D, D], ridge).

    The scatter is the sum of outer products of embeddings less their speaker's mean, plus N times the ridge on its diagonal.

    Raises:
        ValueError: fewer than two speakers, or none with two embeddings; embeddings that are all equal.
    """
    embeddings_ND = checked_embeddings(embeddings, "training embeddings")
    ids_S, code_N = speaker_codes(speakers, len(embeddings_ND))
    if ids_S.size < 2 or ids_S.size == code_N.size:
        raise ValueError(
            "speakers: expected two or more, some with two embeddings or more, "
            f"found {ids_S.size} speakers for {code_N.size} embeddings"
        )
    mean_SD, count_S = class_means(embeddings_ND, code_N, ids_S.size)
    offset_ND = embeddings_ND - mean_SD[code_N]
    scatter_DD = offset_ND.T @ offset_ND
    added = added_ridge(scatter_DD, embeddings_ND, ridge)
    scatter_DD[np.diag_indices_from(scatter_DD)] += len(embeddings_ND) * added
    mean_D = mean_SD.mean(axis=0)
    return mean_D, mean_SD - mean_D, count_S, scatter_DD, added


def em_iteration(
    between_DD: np.ndarray, within_DD: np.ndarray, mean_SD: np.ndarray, count_S: np.ndarray, scatter_DD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (between, within) covariance after one iteration of expectation and maximisation.

    Works in the space where within is the identity and between diagonal: there the posterior covariance of a speaker
    is diagonal for any number of embeddings, and no matrix is inverted per speaker.

    Args:
        between_DD: between-speaker covariance.
        within_DD: within-speaker covariance.
        mean_SD: centred mean of each speaker.
        count_S: number of embeddings of each speaker.
        scatter_DD: sum of outer products of embeddings less their speaker's mean.
    """
    transform_DD, psi_D, back_DD = diagonalise(between_DD, within_DD)
    observed_SD = mean_SD @ transform_DD.T
    count_S1 = count_S[:, None]
    variance_SD = psi_D / (count_S1 * psi_D + 1.0)
    speaker_SD = count_S1 * variance_SD * observed_SD
    rest_SD = np.sqrt(count_S1) * (observed_SD - speaker_SD)

    new_between_DD = speaker_SD.T @ speaker_SD + np.diag(variance_SD.sum(axis=0))
    new_within_DD = rest_SD.T @ rest_SD + np.diag((count_S1 * variance_SD).sum(axis=0))
    new_between_DD = back_DD @ new_between_DD @ back_DD.T / len(mean_SD)
    new_within_DD = (scatter_DD + back_DD @ new_within_DD @ back_DD.T) / count_S.sum()
    return new_between_DD, new_within_DD


def diagonalise(between_DD: np.ndarray, within_DD: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (A, psi, inverse of A) with A W A' the identity and A B A' the diagonal of psi, largest first.

    Raises:
        ValueError: a within-speaker covariance that is not positive definite.
    """
    try:
        lower_DD = cholesky(within_DD, lower=True)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "within-speaker covariance: expected a positive definite matrix, found another; "
            "give more data, fewer dimensions (lda_dim) or a ridge"
        ) from error
    half_DD = solve_triangular(lower_DD, between_DD, lower=True)
    white_DD = solve_triangular(lower_DD, half_DD.T, lower=True)
    value_D, vector_DD = eigh((white_DD + white_DD.T) / 2)
    psi_D, rotation_DD = np.maximum(value_D[::-1], 0.0), vector_DD[:, ::-1]
    return solve_triangular(lower_DD, rotation_DD, lower=True, trans="T").T, psi_D, lower_DD @ rotation_DD


def _counts(num_enrol: npt.ArrayLike, num_rows: int) -> np.ndarray:
    """Return the counts as [rows, 1] or [1, 1]."""
    counts = np.asarray(num_enrol, dtype=np.float64)
    if counts.shape not in ((), (num_rows,)) or (counts < 1).any():
        raise ValueError(f"num_enrol: expected one count >= 1, or one for each of {num_rows} rows, found {num_enrol!r}")
    return counts.reshape(-1, 1)
