"""Calibration: from scores to log-likelihood ratios. Linear, linear with measures of quality, or by isotonic regression.

The linear ones are prior-weighted logistic regression; `fusion.py` shares their solver. Suffixes: P trials, Q measures of
quality, G groups of equal scores, B blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression
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


class QualityCalibration:
    """LLR = scale_ * score + qualities @ weights_Q_ + offset_, natural logarithm, by prior-weighted logistic regression.

    So the threshold that the score is held against may depend on how long or how clear the two sides are. The measures
    are symmetric in the two sides (see `quality.py`).

    Args:
        prior: probability of a target trial the calibration is best for (see `LinearCalibration`).
        measures: name of each measure, in the order of the columns.

    Source: Thienpondt, Desplanques and Demuynck, "The IDLab VoxSRC-20 submission: large margin fine-tuning and
        quality-aware score calibration in DNN based speaker verification", ICASSP 2021.
    """

    def __init__(self, prior: float, measures: Sequence[str]) -> None:
        self.prior = prior
        self.measures = measures

    def fit(self, scores: npt.ArrayLike, qualities: npt.ArrayLike, is_target: npt.ArrayLike) -> Self:
        """Return self, trained on scores [P] and qualities [P, Q] of trials that must not be test trials.

        Raises:
            ValueError: as `LinearCalibration`; no measure, a name twice, not a column for each measure, or a measure that
                does not vary.
        """
        if not len(self.measures) or len(set(self.measures)) != len(self.measures):
            raise ValueError(f"measures: expected one or more different names, found {tuple(self.measures)}")
        features = self._features(scores, qualities)
        flat_Q = np.ptp(features[:, 1:], axis=0) == 0
        if flat_Q.any():
            name = self.measures[int(flat_Q.argmax())]
            raise ValueError(f"qualities: expected measures that vary, found one value only of '{name}'; leave it out")
        weights, self.offset_ = fit_logistic(features, is_target, self.prior)
        self.scale_, self.weights_Q_ = float(weights[0]), weights[1:]
        return self

    def transform(self, scores: npt.ArrayLike, qualities: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [P] of scores [P] and qualities [P, Q]."""
        require_fitted(self, "weights_Q_")
        return self._features(scores, qualities) @ np.concatenate([[self.scale_], self.weights_Q_]) + self.offset_

    def _features(self, scores: npt.ArrayLike, qualities: npt.ArrayLike) -> np.ndarray:
        """The score and the measures of each trial, [P, 1 + Q]."""
        score_P1 = _column(scores)
        quality_PQ = checked_embeddings(qualities, "qualities")
        if quality_PQ.shape != (len(score_P1), len(self.measures)):
            raise ValueError(
                f"qualities: expected a row for each of {len(score_P1)} scores and the columns {', '.join(self.measures)}, "
                f"found shape {quality_PQ.shape}"
            )
        return np.hstack([score_P1, quality_PQ])


class IsotonicCalibration:
    """The monotone map from scores to LLRs that fits the training trials best, by pool-adjacent-violators (PAV).

    Trials in order of score are pooled into blocks; the LLR of a block is ln(share of the targets in it / share of the
    non-targets in it), so no prior enters: PAV is best for every prior at once. Equal scores are one group, whatever their
    order. Fitted attributes, one number for each block from the lowest up: `low_B_` and `high_B_` (its lowest and highest
    training score) and `llr_B_`, which rises.

    New scores: within a block its LLR; below the first or above the last block, theirs (the map is flat outside the
    training scores: there is nothing to say how fast it should go on); between blocks as `interpolation` says.

    It does not fall, but it is flat within blocks: it can merge scores, so error rates belong to the scores, not to these LLRs.

    Args:
        smoothing: weight of an imagined target and non-target trial below all scores, and of such a pair above all. 1 is
            Laplace's rule of succession: end blocks with trials of one kind only get a finite LLR, no stronger than the
            number of training trials supports. 0: minus and plus infinity there, and Cllr on the training trials is min Cllr.
        interpolation: "linear": straight from the LLR of the lower block to that of the upper one; "step": a jump half-way
            between the blocks. Next to an infinite block, "linear" keeps the LLR of the finite neighbour (0 if there is none).

    Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002;
        Brummer and du Preez, "Application-independent evaluation of speaker detection", 2006. The pairs at the ends are the
        'laplace' option of Brummer's FoCal toolkit (function opt_loglr).
    """

    def __init__(self, smoothing: float = 1.0, interpolation: str = "linear") -> None:
        self.smoothing = smoothing
        self.interpolation = interpolation

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike) -> Self:
        """Return self, trained on scores [N] of trials that must not be test trials.

        Raises:
            ValueError: scores that are not one finite number a trial, trials of one kind only, a negative smoothing, or an
                unknown interpolation.
        """
        if not 0.0 <= self.smoothing < np.inf:
            raise ValueError(f"smoothing: expected a number from 0, found {self.smoothing}")
        if self.interpolation not in ("linear", "step"):
            raise ValueError(f"interpolation: expected 'linear' or 'step', found {self.interpolation!r}")
        scores_N = _column(scores)[:, 0]
        truth_N = _checked_truth(is_target, scores_N.size)
        values_G, group_N = np.unique(scores_N, return_inverse=True)
        target_G = np.bincount(group_N, weights=truth_N, minlength=values_G.size)
        nontarget_G = np.bincount(group_N, weights=~truth_N, minlength=values_G.size)
        starts_B, target_B, nontarget_B = _pooled(target_G, nontarget_G, self.smoothing)
        self.low_B_ = values_G[starts_B]
        self.high_B_ = values_G[np.append(starts_B[1:], values_G.size) - 1]
        with np.errstate(divide="ignore"):
            self.llr_B_ = np.log(target_B / truth_N.sum()) - np.log(nontarget_B / (~truth_N).sum())
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [N] of scores [N]."""
        require_fitted(self, "llr_B_")
        scores_N = _column(scores)[:, 0]
        low_B, high_B, llr_B = self.low_B_, self.high_B_, self.llr_B_
        if self.interpolation == "step":
            return llr_B[np.searchsorted((high_B[:-1] + low_B[1:]) / 2, scores_N, side="right")]
        finite_B = np.isfinite(llr_B)
        llrs_N = np.zeros(scores_N.size)
        if finite_B.any():
            knots, first = np.unique(np.stack([low_B[finite_B], high_B[finite_B]], axis=1), return_index=True)
            llrs_N = np.interp(scores_N, knots, np.repeat(llr_B[finite_B], 2)[first])
        if llr_B[0] == -np.inf:
            llrs_N[scores_N <= high_B[0]] = -np.inf
        if llr_B[-1] == np.inf:
            llrs_N[scores_N >= low_B[-1]] = np.inf
        return llrs_N


def _pooled(target_G: np.ndarray, nontarget_G: np.ndarray, smoothing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first group of each block, and the target and non-target trials in it, imagined ones at the ends included."""
    ends = [smoothing] if smoothing else []
    targets, nontargets = (np.concatenate([ends, counts_G, ends]) for counts_G in (target_G, nontarget_G))
    total = targets + nontargets
    starts = isotonic_regression(targets / total, weights=total).blocks[:-1]
    target_B, nontarget_B = np.add.reduceat(targets, starts), np.add.reduceat(nontargets, starts)
    first, last = len(ends), targets.size - len(ends)
    # A block of nothing but the imagined pair holds no score; a block that begins with the lower pair begins with group 0.
    holds_B = (np.append(starts[1:], targets.size) > first) & (starts < last)
    return np.maximum(starts[holds_B] - first, 0), target_B[holds_B], nontarget_B[holds_B]


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
