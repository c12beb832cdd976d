"""Calibration: from scores to log-likelihood ratios by prior-weighted logistic regression.

The only module of the back ends that uses scikit-learn; `fusion.py` shares its solver.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from steps.backend.estimator import checked_embeddings, require_fitted

# Ridge beside the objective: RIDGE * min(prior, 1 - prior) * |w|^2 / 2, in nats and for scores of unit deviation.
# Where the optimum exists it moves w by about one part in 10^5. Perfectly separated scores have no optimum without it:
# then it stops LLRs near 15, and no special case is needed.
RIDGE = 1e-6


def fit_logistic(features_NK: np.ndarray, is_target: npt.ArrayLike, prior: float) -> tuple[np.ndarray, float]:
    """Return (weights [K], offset) for which `features @ weights + offset` are natural-log LLRs.

    They minimise prior * mean over targets of ln(1 + exp(-LLR - logit prior)) + (1 - prior) * mean over non-targets
    of ln(1 + exp(LLR + logit prior)), which for a prior of 0.5 is Cllr times ln 2, plus a ridge that matters only
    where the targets are perfectly separated from the non-targets (see `RIDGE`).

    Source: Brummer et al., "Fusion of heterogeneous speaker recognition systems in the STBU submission for the NIST
        SRE 2006", 2007.

    Raises:
        ValueError: a prior outside (0, 1), trials of one kind only, or a column that does not vary.
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior: expected a probability between 0 and 1, both excluded, found {prior}")
    truth_N = _checked_truth(is_target, len(features_NK))
    mean_K, std_K = features_NK.mean(axis=0), features_NK.std(axis=0)
    if (np.ptp(features_NK, axis=0) == 0).any():
        column = int((np.ptp(features_NK, axis=0) == 0).argmax())
        raise ValueError(f"scores: expected scores that vary, found one value only in column {column}")
    share_N = np.where(truth_N, prior / truth_N.sum(), (1.0 - prior) / (~truth_N).sum())
    # Shares add up to 1, so scikit-learn's C * sum(share * loss) + |w|^2 / 2 is the objective with a ridge of 1 / C.
    ridge = RIDGE * min(prior, 1.0 - prior)
    model = LogisticRegression(C=1.0 / ridge, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    model.fit((features_NK - mean_K) / std_K, truth_N, sample_weight=share_N)
    weights_K = model.coef_[0] / std_K
    log_prior_odds = np.log(prior) - np.log1p(-prior)
    return weights_K, float(model.intercept_[0] - log_prior_odds - weights_K @ mean_K)


class LinearCalibration:
    """LLR = scale_ * score + offset_, natural logarithm.

    Args:
        prior: probability of a target trial the calibration is best for. It weighs the training trials and is no part
            of the LLR.
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike) -> Self:
        """Return self, trained on scores [N] of trials that must not be test trials.

        Raises:
            ValueError: as `fit_logistic`, or scores that are not one finite number a trial.
        """
        weights_K, self.offset_ = fit_logistic(_column(scores), is_target, self.prior)
        self.scale_ = float(weights_K[0])
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [N] of scores [N]."""
        require_fitted(self, "scale_")
        return self.scale_ * _column(scores)[:, 0] + self.offset_


def _column(scores: npt.ArrayLike) -> np.ndarray:
    scores_N = np.asarray(scores, dtype=np.float64)
    if scores_N.ndim != 1:
        raise ValueError(f"scores: expected one a trial, found shape {scores_N.shape}")
    return checked_embeddings(scores_N[:, None], "scores")


def _checked_truth(is_target: npt.ArrayLike, num_trials: int) -> np.ndarray:
    truth_N = np.asarray(is_target)
    if truth_N.shape != (num_trials,) or not np.isin(truth_N, (0, 1)).all():
        raise ValueError(f"is_target: expected {num_trials} booleans, found {truth_N.dtype} of shape {truth_N.shape}")
    truth_N = truth_N.astype(bool)
    if truth_N.all() or not truth_N.any():
        raise ValueError(f"is_target: expected trials of both kinds, found {truth_N.sum()} targets in {num_trials} trials")
    return truth_N
