"""Adaptation to recordings without labels: a back end of one domain is given the mean and covariance of another.

All three forms take embeddings of the new domain, in the space that the PLDA was trained in, and no speakers.

"kaldi": where the new domain has more variance than the model explains, the excess is shared out between the within-speaker and
    the between-speaker covariance.
"coral": correlation alignment. Training embeddings are whitened with their own covariance and coloured with the new one; the PLDA
    is then trained on these (`Coral`), or its two covariances are mapped in the same way (`adapt_coral`).
"coral_plus": the two covariances that CORAL gives are used only in directions in which they are larger than the old ones.

Source: Kaldi ivector-adapt-plda (PldaUnsupervisedAdaptor); Sun, Feng and Saenko, "Return of frustratingly easy domain
    adaptation", AAAI 2016; Alam, Bhattacharya and Kenny, "Speaker verification in mismatched conditions with frustratingly easy
    domain adaptation", Odyssey 2018; Lee, Wang and Koshinaka, "The CORAL+ algorithm for unsupervised domain adaptation of PLDA",
    ICASSP 2019.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from steps.backend.estimator import checked_embeddings, require_fitted
from steps.backend.plda import PLDA, diagonalise
from steps.backend.ridge import TOLERANCE, is_singular

DEFAULT_RIDGE = 0.01


def adapt_kaldi(
    plda: PLDA,
    in_domain: npt.ArrayLike,
    *,
    within_share: float = 0.75,
    between_share: float = 0.25,
    mean_diff_scale: float = 1.0,
) -> PLDA:
    """Return a PLDA with the mean of the in-domain embeddings [N, D], and covariances grown to explain theirs.

    In the space where the model's total covariance is the identity, directions are those of the in-domain covariance. An
    eigenvalue s above 1 adds `within_share` (s - 1) to the within-speaker and `between_share` (s - 1) to the between-speaker
    covariance there; directions with less variance than the model has stay as they are.

    Args:
        plda: a fitted PLDA.
        in_domain: embeddings of the new domain, without labels.
        within_share: of the excess, to the within-speaker covariance. 0.75 is that of Kaldi's SRE16 recipe; the program's own
            default is 0.3.
        between_share: of the excess, to the between-speaker covariance (recipe 0.25, program 0.7).
        mean_diff_scale: weight of the outer product of the difference of means in the in-domain covariance.

    Raises:
        ValueError: a share or scale below 0, fewer than two embeddings, or another D.
    """
    _check_weights(within_share=within_share, between_share=between_share, mean_diff_scale=mean_diff_scale)
    mean_D, covariance_DD = _moments(plda, in_domain)
    shift_D = mean_D - plda.mean_D_
    covariance_DD += mean_diff_scale * np.outer(shift_D, shift_D)
    between_DD, within_DD = plda.covariances()
    total_scale_D = np.sqrt(1.0 + plda.psi_D_)
    to_unit_DD = plda.transform_DD_ / total_scale_D[:, None]
    value_D, direction_DD = eigh(to_unit_DD @ covariance_DD @ to_unit_DD.T)
    back_DD = np.linalg.inv(plda.transform_DD_) * total_scale_D @ direction_DD
    excess_DD = (back_DD * np.maximum(value_D - 1.0, 0.0)) @ back_DD.T
    return PLDA.from_covariances(
        mean_D, between_DD + between_share * excess_DD, within_DD + within_share * excess_DD, length_norm=plda.length_norm
    )


class Coral:
    """Maps training embeddings of one domain so that their mean and covariance are those of another.

    Fitted attributes: `mean_D_` and `matrix_DD_` (of `(x - mean_D_) @ matrix_DD_ + target_mean_D_`), `target_mean_D_`.

    Args:
        ridge: added to the diagonal of both covariances, as a share of the mean variance of a dimension of each. Without it, a
            direction that the in-domain embeddings do not have is lost, and one that the others do not have cannot be whitened.
    """

    def __init__(self, ridge: float = DEFAULT_RIDGE) -> None:
        self.ridge = ridge

    def fit(self, out_of_domain: npt.ArrayLike, in_domain: npt.ArrayLike) -> Self:
        """Return self, from embeddings [N, D] of the labelled set and [M, D] of the new domain.

        Raises:
            ValueError: fewer than two embeddings, another D, or a singular covariance without ridge.
        """
        out_ND = checked_embeddings(out_of_domain, "out-of-domain embeddings")
        self.mean_D_, out_DD = _mean_and_covariance(out_ND, "out-of-domain embeddings")
        in_ND = checked_embeddings(in_domain, "in-domain embeddings", dim=out_ND.shape[1])
        self.target_mean_D_, in_DD = _mean_and_covariance(in_ND, "in-domain embeddings")
        self.matrix_DD_ = _alignment(out_DD, in_DD, self.ridge)
        return self

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return embeddings [N, D] of the labelled set as they would be in the new domain.

        Embeddings to be tested are in that domain: leave them alone.
        """
        require_fitted(self, "matrix_DD_")
        embeddings_ND = checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size)
        return (embeddings_ND - self.mean_D_) @ self.matrix_DD_ + self.target_mean_D_


def adapt_coral(plda: PLDA, in_domain: npt.ArrayLike, *, ridge: float = DEFAULT_RIDGE) -> PLDA:
    """Return the PLDA that training on embeddings aligned by CORAL tends to: both covariances mapped, the in-domain mean.

    Its out-of-domain covariance is the model's, within plus between speakers, and so it needs no training embeddings.

    Args:
        plda: a fitted PLDA.
        in_domain: embeddings [N, D] of the new domain, without labels.
        ridge: as in `Coral`.

    Raises:
        ValueError: fewer than two embeddings, another D, or a singular covariance without ridge.
    """
    mean_D, between_DD, within_DD = _aligned(plda, in_domain, ridge)
    return PLDA.from_covariances(mean_D, between_DD, within_DD, length_norm=plda.length_norm)


def adapt_coral_plus(
    plda: PLDA, in_domain: npt.ArrayLike, *, within_weight: float = 0.8, between_weight: float = 0.2, ridge: float = 0.0
) -> PLDA:
    """Return a PLDA with the in-domain mean, and covariances that have grown towards those of CORAL and nowhere shrunk.

    For each of the two covariances: in the basis in which the old one is the identity and that of `adapt_coral` a diagonal E,
    `weight * max(E - 1, 0)` is added.

    Args:
        plda: a fitted PLDA.
        in_domain: embeddings [N, D] of the new domain, without labels.
        within_weight: share of that excess which the within-speaker covariance gets.
        between_weight: likewise between-speaker covariance. Neither default could be checked against the paper.
        ridge: as in `Coral`; none is needed, as directions without in-domain variance are left alone.

    Raises:
        ValueError: a weight outside 0 to 1, fewer than two embeddings, or another D.
    """
    _check_weights(within_weight=within_weight, between_weight=between_weight)
    for name, weight in (("within_weight", within_weight), ("between_weight", between_weight)):
        if weight > 1.0:
            raise ValueError(f"{name}: expected 0 to 1, found {weight}")
    mean_D, coral_between_DD, coral_within_DD = _aligned(plda, in_domain, ridge, singular=True)
    between_DD, within_DD = plda.covariances()
    return PLDA.from_covariances(
        mean_D,
        between_DD + between_weight * _excess(between_DD, coral_between_DD),
        within_DD + within_weight * _excess(within_DD, coral_within_DD),
        length_norm=plda.length_norm,
    )


def _aligned(
    plda: PLDA, in_domain: npt.ArrayLike, ridge: float, *, singular: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (in-domain mean, between-speaker and within-speaker covariance after CORAL)."""
    mean_D, covariance_DD = _moments(plda, in_domain)
    between_DD, within_DD = plda.covariances()
    matrix_DD = _alignment(between_DD + within_DD, covariance_DD, ridge, singular=singular)
    return mean_D, matrix_DD.T @ between_DD @ matrix_DD, matrix_DD.T @ within_DD @ matrix_DD


def _alignment(out_DD: np.ndarray, in_DD: np.ndarray, ridge: float, *, singular: bool = False) -> np.ndarray:
    """Return out^-1/2 in^1/2, both with a ridge: rows x with covariance `out` become x @ it with covariance `in`."""
    if not 0.0 <= ridge < np.inf:
        raise ValueError(f"ridge: expected 0 or more, found {ridge}")
    out_DD, in_DD = (matrix + ridge * np.trace(matrix) / len(matrix) * np.eye(len(matrix)) for matrix in (out_DD, in_DD))
    for name, matrix in (("out-of-domain", out_DD), ("in-domain", in_DD)):
        if is_singular(matrix) and not (singular and name == "in-domain"):
            raise ValueError(
                f"{name} embeddings: expected a covariance that can be inverted, found a singular one of {len(matrix)} "
                "dimensions; set a ridge above 0, give more embeddings, or fewer dimensions (lda_dim)"
            )
    return _power(out_DD, -0.5) @ _power(in_DD, 0.5)


def _power(covariance_DD: np.ndarray, exponent: float) -> np.ndarray:
    value_D, vector_DD = eigh(covariance_DD)
    return vector_DD * np.maximum(value_D, 0.0) ** exponent @ vector_DD.T


def _excess(old_DD: np.ndarray, new_DD: np.ndarray) -> np.ndarray:
    """Return what `new` has more than `old` in the directions in which it has more; both are diagonal there."""
    floor = max(TOLERANCE * np.trace(old_DD) / len(old_DD), np.finfo(float).tiny)
    _, value_D, back_DD = diagonalise(new_DD, old_DD + floor * np.eye(len(old_DD)))
    return (back_DD * np.maximum(value_D - 1.0, 0.0)) @ back_DD.T


def _moments(plda: PLDA, in_domain: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    require_fitted(plda, "psi_D_")
    embeddings_ND = checked_embeddings(in_domain, "in-domain embeddings", dim=plda.mean_D_.size)
    return _mean_and_covariance(embeddings_ND, "in-domain embeddings")


def _mean_and_covariance(embeddings_ND: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance (divided by N)."""
    mean_D = embeddings_ND.mean(axis=0)
    centred_ND = embeddings_ND - mean_D
    covariance_DD = centred_ND.T @ centred_ND / len(embeddings_ND)
    if not covariance_DD.trace() > 0.0:
        raise ValueError(f"{name}: expected two or more that differ, found {len(embeddings_ND)}")
    return mean_D, covariance_DD


def _check_weights(**weights: float) -> None:
    for name, weight in weights.items():
        if not 0.0 <= weight < np.inf:
            raise ValueError(f"{name}: expected 0 or more, found {weight}")
