"""Maps from embeddings to embeddings: centring, length normalisation, whitening, LDA in two forms, and chains of these.

Every transform has `fit(embeddings_ND, speakers)` and `transform(embeddings_ND)`; where speakers are not needed they
may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from steps.backend.estimator import checked_embeddings, class_means, require_fitted, speaker_codes, unit_rows
from steps.backend.ridge import added_ridge, ridge_note

Speakers = Sequence[Any] | np.ndarray


class Transform(Protocol):
    """What a chain expects of its steps."""

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return the transform, fitted."""
        ...

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the mapped embeddings."""
        ...


class MeanSubtraction:
    """Takes away the mean of the training embeddings, `mean_D_`."""

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return self with the mean over all embeddings; speakers are not used."""
        self.mean_D_ = checked_embeddings(embeddings, "training embeddings").mean(axis=0)
        return self

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the embeddings [N, D] less the mean."""
        require_fitted(self, "mean_D_")
        return checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size) - self.mean_D_


class LengthNorm:
    """Scales each embedding to one length: 1, or sqrt(D) as Kaldi's ivector-normalize-length does.

    It learns nothing and so needs no fit.

    Args:
        length: "unit" or "sqrt_dim".
    """

    def __init__(self, length: str = "unit") -> None:
        self.length = length

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return self; there is nothing to learn."""
        return self

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the scaled embeddings [N, D].

        Raises:
            ValueError: an embedding of zeros, or an unknown length.
        """
        if self.length not in ("unit", "sqrt_dim"):
            raise ValueError(f"length: expected 'unit' or 'sqrt_dim', found {self.length!r}")
        unit_ND = unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings")
        return unit_ND * np.sqrt(unit_ND.shape[1]) if self.length == "sqrt_dim" else unit_ND


class Whitening:
    """Centres and makes a covariance of the training embeddings the identity: `(x - mean_D_) @ matrix_DD_`.

    The matrix is symmetric (ZCA), so that dimensions keep their meaning.

    Args:
        covariance: "total", or "within" for that around the speakers' means (within-class covariance normalisation).
        floor: eigenvalues below this fraction of the largest are raised to it.
        ridge: added to the diagonal of the covariance, as a share of the mean variance of a dimension. Where it is 0 and the
            covariance is singular, `AUTO_RIDGE` of ridge.py is taken instead (see `note`). `ridge_` is what was added.

    Source: Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker recognition",
        2006.
    """

    def __init__(self, covariance: str = "total", floor: float = 1e-6, ridge: float = 0.0) -> None:
        self.covariance = covariance
        self.floor = floor
        self.ridge = ridge

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return self with mean and matrix.

        Raises:
            ValueError: an unknown covariance, or "within" without speakers or without a speaker of two embeddings.
        """
        embeddings_ND = checked_embeddings(embeddings, "training embeddings")
        self.mean_D_ = embeddings_ND.mean(axis=0)
        if self.covariance == "total":
            offset_ND = embeddings_ND - self.mean_D_
            covariance_DD = offset_ND.T @ offset_ND / len(embeddings_ND)
        elif self.covariance == "within":
            covariance_DD, _, _ = scatter_matrices(embeddings_ND, speakers)
        else:
            raise ValueError(f"covariance: expected 'total' or 'within', found {self.covariance!r}")
        self.ridge_ = added_ridge(covariance_DD, embeddings_ND, self.ridge)
        value_D, vector_DD = _floored_eigen(covariance_DD + self.ridge_ * np.eye(len(covariance_DD)), self.floor)
        self.matrix_DD_ = (vector_DD / np.sqrt(value_D)) @ vector_DD.T
        return self

    @property
    def note(self) -> str:
        """What a log should say of the estimate: a ridge that the data needed. Empty where there is nothing to say."""
        return ridge_note(getattr(self, "ridge_", 0.0), self.ridge, "whitening")

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the whitened embeddings [N, D]."""
        require_fitted(self, "matrix_DD_")
        return (checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size) - self.mean_D_) @ self.matrix_DD_


class LDA:
    """Linear discriminant analysis to `dim` dimensions, as Kaldi or as BUT's VBx recipe does it.

    "kaldi": subtract the mean; project so that the interpolation of within-speaker (and total) covariance is the
    identity and the between-speaker covariance diagonal, largest first.
    "but": subtract the mean, scale to unit length, add 0.01 to the diagonal of the within-speaker covariance, project
    likewise, subtract the mean of the projections, scale to unit length again.
    Covariances are divided by the number of embeddings, so speakers weigh as many embeddings as they have.

    Args:
        dim: dimensions kept; at most D and the number of speakers less one.
        form: "kaldi" or "but".
        total_covariance_factor: share of the total covariance in what is made the identity ("kaldi" only).
        ridge: added to the diagonal of what is made the identity ("kaldi" only), as a share of the mean variance of a dimension.
            Where it is 0 and that covariance is singular, `AUTO_RIDGE` of ridge.py is taken instead (see `note`; Kaldi's floor
            alone would blow up the dimensions that training did not see). `ridge_` is what was added.

    Source: Kaldi ivector-compute-lda (covariance floor 1e-6 of the largest eigenvalue); VBx-training-recipe
        train_transform.py.
    """

    KALDI_FLOOR = 1e-6
    BUT_RIDGE = 0.01

    def __init__(self, dim: int, form: str = "kaldi", total_covariance_factor: float = 0.0, ridge: float = 0.0) -> None:
        self.dim = dim
        self.form = form
        self.total_covariance_factor = total_covariance_factor
        self.ridge = ridge

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return self with `mean_D_`, `projection_DK_`, `offset_K_` (zeros for "kaldi") and `ridge_` (0 for "but").

        Raises:
            ValueError: settings that contradict each other or the data.
        """
        embeddings_ND = checked_embeddings(embeddings, "training embeddings")
        self._check_settings(embeddings_ND.shape[1])
        self.mean_D_ = embeddings_ND.mean(axis=0)
        within_DD, between_DD, num_speakers = scatter_matrices(self._before(embeddings_ND), speakers)
        if self.dim > num_speakers - 1:
            raise ValueError(
                f"dim: expected at most the number of speakers less one, {num_speakers - 1}, found {self.dim}; set lda_dim lower"
            )
        if self.form == "kaldi":
            self.projection_DK_ = self._kaldi_projection(within_DD, between_DD, embeddings_ND)
            self.offset_K_ = np.zeros(self.dim)
        else:
            self.ridge_ = 0.0  # the form's own is no matter of the data
            ridged_DD = within_DD + self.BUT_RIDGE * np.eye(len(within_DD))
            _, vector_DD = eigh(between_DD, ridged_DD)
            self.projection_DK_ = vector_DD[:, ::-1][:, : self.dim].copy()
            self.offset_K_ = (self._before(embeddings_ND) @ self.projection_DK_).mean(axis=0)
        return self

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the projected embeddings [N, dim]; of unit length in the "but" form."""
        require_fitted(self, "projection_DK_")
        embeddings_ND = checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size)
        projected_NK = self._before(embeddings_ND) @ self.projection_DK_ - self.offset_K_
        return unit_rows(projected_NK, "projected embeddings") if self.form == "but" else projected_NK

    def _check_settings(self, num_dims: int) -> None:
        if self.form not in ("kaldi", "but"):
            raise ValueError(f"form: expected 'kaldi' or 'but', found {self.form!r}")
        if not 1 <= self.dim <= num_dims:
            raise ValueError(f"dim: expected 1 to the embeddings' {num_dims} dimensions, found {self.dim}")
        if not 0.0 <= self.total_covariance_factor <= 1.0:
            raise ValueError(f"total_covariance_factor: expected 0 to 1, found {self.total_covariance_factor}")
        for name in ("total_covariance_factor", "ridge"):
            if self.form == "but" and getattr(self, name) != 0.0:
                raise ValueError(f"{name}: expected 0 with form 'but', which has none, found {getattr(self, name)}")

    def _before(self, embeddings_ND: np.ndarray) -> np.ndarray:
        centred_ND = embeddings_ND - self.mean_D_
        return unit_rows(centred_ND, "centred embeddings") if self.form == "but" else centred_ND

    @property
    def note(self) -> str:
        """What a log should say of the estimate: a ridge that the data needed. Empty where there is nothing to say."""
        return ridge_note(getattr(self, "ridge_", 0.0), self.ridge, "LDA")

    def _kaldi_projection(self, within_DD: np.ndarray, between_DD: np.ndarray, embeddings_ND: np.ndarray) -> np.ndarray:
        # total = within + between, so factor * total + (1 - factor) * within:
        mixed_DD = within_DD + self.total_covariance_factor * between_DD
        self.ridge_ = added_ridge(mixed_DD, embeddings_ND, self.ridge)
        value_D, vector_DD = _floored_eigen(mixed_DD + self.ridge_ * np.eye(len(mixed_DD)), self.KALDI_FLOOR)
        white_DD = vector_DD / np.sqrt(value_D)
        _, rotation_DD = eigh(white_DD.T @ between_DD @ white_DD)
        return white_DD @ rotation_DD[:, ::-1][:, : self.dim]


class Chain:
    """Transforms one after the other; each is fitted on the output of those before it.

    Like scikit-learn's Pipeline it fits the very objects it was given.
    """

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = steps

    def fit(self, embeddings: npt.ArrayLike, speakers: Speakers | None = None) -> Self:
        """Return self with all steps fitted."""
        for step in self.steps:
            embeddings = step.fit(embeddings, speakers).transform(embeddings)
        return self

    @property
    def note(self) -> str:
        """What a log should say of the steps, a line each. Empty where there is nothing to say."""
        return "\n".join(filter(None, (getattr(step, "note", "") for step in self.steps)))

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the embeddings after all steps."""
        embeddings_ND = checked_embeddings(embeddings, "embeddings")
        for step in self.steps:
            embeddings_ND = step.transform(embeddings_ND)
        return embeddings_ND


def scatter_matrices(embeddings_ND: np.ndarray, speakers: Speakers | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (within-speaker covariance [D, D], between-speaker covariance [D, D], number of speakers).

    Both are divided by the number of embeddings and add up to the total covariance.

    Raises:
        ValueError: no speakers, or none with two embeddings.
    """
    if speakers is None:
        raise ValueError("speakers: expected one for each embedding, found none")
    ids_S, code_N = speaker_codes(speakers, len(embeddings_ND))
    mean_SD, count_S = class_means(embeddings_ND, code_N, ids_S.size)
    if ids_S.size == len(embeddings_ND):
        raise ValueError(
            f"speakers: expected some with two embeddings or more, found {ids_S.size} speakers for {code_N.size} embeddings"
        )
    offset_ND = embeddings_ND - mean_SD[code_N]
    spread_SD = np.sqrt(count_S)[:, None] * (mean_SD - embeddings_ND.mean(axis=0))
    num_items = len(embeddings_ND)
    return offset_ND.T @ offset_ND / num_items, spread_SD.T @ spread_SD / num_items, ids_S.size


def _floored_eigen(covariance_DD: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    value_D, vector_DD = eigh(covariance_DD)
    if value_D[-1] <= 0:
        raise ValueError("training embeddings: expected embeddings that differ, found a covariance of zero")
    return np.maximum(value_D, floor * value_D[-1]), vector_DD
