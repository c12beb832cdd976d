"""Fusion of the scores of several systems on the same trials. Suffix K: systems."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from steps.backend.calibration import fit_logistic
from steps.backend.estimator import checked_embeddings, require_fitted


class LinearFusion:
    """LLR = scores @ weights_K_ + offset_, natural logarithm, by prior-weighted logistic regression.

    Args:
        prior: probability of a target trial the fusion is best for (see `LinearCalibration`).
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike) -> Self:
        """Return self, trained on scores [N, K] of trials that must not be test trials.

        Raises:
            ValueError: as `fit_logistic`, or scores that are not finite.
        """
        self.weights_K_, self.offset_ = fit_logistic(checked_embeddings(scores, "scores"), is_target, self.prior)
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [N] of scores [N, K]."""
        require_fitted(self, "weights_K_")
        return checked_embeddings(scores, "scores", dim=self.weights_K_.size) @ self.weights_K_ + self.offset_


class MeanFusion:
    """The mean over systems of scores standardised on the training trials. Needs no truth, and gives no LLR."""

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike | None = None) -> Self:
        """Return self with mean and standard deviation (with n) of each system's scores [N, K].

        Raises:
            ValueError: a system whose scores do not vary, or scores that are not finite.
        """
        scores_NK = checked_embeddings(scores, "scores")
        flat_K = np.ptp(scores_NK, axis=0) == 0
        if flat_K.any():
            raise ValueError(f"scores: expected scores that vary, found one value only in column {int(flat_K.argmax())}")
        self.mean_K_, self.std_K_ = scores_NK.mean(axis=0), scores_NK.std(axis=0)
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the fused scores [N] of scores [N, K]."""
        require_fitted(self, "mean_K_")
        return ((checked_embeddings(scores, "scores", dim=self.mean_K_.size) - self.mean_K_) / self.std_K_).mean(axis=1)
