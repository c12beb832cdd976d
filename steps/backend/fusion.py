"""Fusion of the scores of several systems on the same trials. Suffixes: N trials, K systems, F folds of speakers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from steps.backend.calibration import LinearCalibration, fit_logistic
from steps.backend.estimator import checked_embeddings, require_fitted

Criterion = Callable[[np.ndarray, np.ndarray], float]  # (LLRs of targets, of non-targets) -> cost; lower is better


class Fusion(Protocol):
    """What makes one LLR of the scores of several systems."""

    prior: float

    def fit(self, scores: np.ndarray, is_target: np.ndarray) -> Self: ...

    def transform(self, scores: np.ndarray) -> np.ndarray: ...


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
        return _standardised(self, scores).mean(axis=1)


class CalibratedMeanFusion:
    """The mean of standardised scores and the linear calibration of it: LLR = scale_ * mean + offset_.

    Args:
        prior: of the calibration (see `LinearCalibration`).
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike) -> Self:
        """Return self, trained on scores [N, K]; `mean_K_` and `std_K_` as in `MeanFusion`.

        Raises:
            ValueError: as `MeanFusion` and `LinearCalibration`.
        """
        fusion = MeanFusion().fit(scores)
        calibration = LinearCalibration(self.prior).fit(fusion.transform(scores), is_target)
        self.mean_K_, self.std_K_ = fusion.mean_K_, fusion.std_K_
        self.scale_, self.offset_ = calibration.scale_, calibration.offset_
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [N] of scores [N, K]."""
        require_fitted(self, "scale_")
        return self.scale_ * self.means(scores) + self.offset_

    def means(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the mean standardised scores [N] of scores [N, K], before the calibration."""
        return _standardised(self, scores).mean(axis=1)


class GenderGatedFusion:
    """Scores of a model trained on everybody, and of models trained on male and on female speakers, as one score.

    All scores are standardised on the training trials, each system's on all of them. Where both sides are predicted to be of
    one gender, the score is (everybody + that gender's model) / 2, elsewhere that of everybody's model alone. The genders are
    predictions (see `gender.py`), never the documented ones: those are not known of a test utterance. Gives no LLR.

    Columns of the scores: everybody, male, female.
    """

    def fit(self, scores: npt.ArrayLike, is_target: npt.ArrayLike | None = None) -> Self:
        """Return self with `mean_K_` and `std_K_` of the scores [N, 3].

        Raises:
            ValueError: not three systems, or as `MeanFusion`.
        """
        fusion = MeanFusion().fit(checked_embeddings(scores, "scores (everybody, male, female)", dim=3))
        self.mean_K_, self.std_K_ = fusion.mean_K_, fusion.std_K_
        return self

    def transform(self, scores: npt.ArrayLike, enrol_log_odds: npt.ArrayLike, test_log_odds: npt.ArrayLike) -> np.ndarray:
        """Return the fused scores [N] of scores [N, 3].

        Args:
            scores: of everybody's, the male and the female model.
            enrol_log_odds: log odds of "female", predicted of each trial's enrolment, [N]; above 0 is female.
            test_log_odds: the same of its test utterance.

        Raises:
            ValueError: not fitted, not one log odds a trial, or numbers that are not finite.
        """
        z_NK = _standardised(self, scores)
        enrol_N, test_N = (
            _is_female(log_odds, len(z_NK), name)
            for log_odds, name in ((enrol_log_odds, "enrol_log_odds"), (test_log_odds, "test_log_odds"))
        )
        own_N = np.where(enrol_N, z_NK[:, 2], z_NK[:, 1])
        return np.where(enrol_N == test_N, (z_NK[:, 0] + own_N) / 2, z_NK[:, 0])


class GreedyFusion:
    """Fusion of the systems that help: one is added at a time, the one that lowers the criterion most on unseen speakers.

    The first is the best single system. Each candidate set is judged by cross-validation over speakers
    (`cross_validated_llrs`), so what a system adds must hold for speakers that its weight was not trained on; the choice
    itself has seen all of them. Of equally good systems the first listed is taken. It stops when none lowers the criterion,
    or at `max_systems`; then the fusion is fitted on all trials.

    Fitted attributes: `order_` (columns in the order they were taken), `criteria_` (criterion after
    each) and `num_systems_` (K).

    Args:
        fusion: what is fitted on the systems, `LinearFusion` or `CalibratedMeanFusion`; the criterion needs LLRs.
        max_systems: stop at this many; None: no limit.
        num_folds: of the speakers.
        criterion: cost of (LLRs of targets, of non-targets); None: `weighted_cllr` at the prior of the fusion. `steps.metrics`
            has others.
    """

    def __init__(
        self, fusion: Fusion, *, max_systems: int | None = None, num_folds: int = 5, criterion: Criterion | None = None
    ) -> None:
        self.fusion = fusion
        self.max_systems = max_systems
        self.num_folds = num_folds
        self.criterion = criterion

    @property
    def steps(self) -> tuple[Fusion]:
        """The fusion, so that its state is part of this one's (see `get_state`)."""
        return (self.fusion,)

    def fit(
        self,
        scores: npt.ArrayLike,
        is_target: npt.ArrayLike,
        enrol_speakers: Sequence[Any] | np.ndarray,
        test_speakers: Sequence[Any] | np.ndarray,
    ) -> Self:
        """Return self, trained on scores [N, K] of trials with the speakers of both sides.

        Raises:
            ValueError: `max_systems` under 1, not one truth a trial, or as `speaker_folds` and `cross_validated_llrs`.
        """
        scores_NK, truth_N = checked_embeddings(scores, "scores"), np.asarray(is_target, dtype=bool)
        if self.max_systems is not None and self.max_systems < 1:
            raise ValueError(f"max_systems: expected at least 1, found {self.max_systems}")
        if truth_N.shape != (len(scores_NK),):
            raise ValueError(f"is_target: expected {len(scores_NK)} booleans, found shape {truth_N.shape}")
        fold_N2 = speaker_folds(enrol_speakers, test_speakers, truth_N, self.num_folds)
        criterion = self.criterion or (lambda target, nontarget: weighted_cllr(target, nontarget, self.fusion.prior))

        def cost(columns: list[int]) -> float:
            llrs_N = cross_validated_llrs(self.fusion, scores_NK[:, columns], truth_N, fold_N2)
            return float(criterion(llrs_N[truth_N], llrs_N[~truth_N]))

        order, costs = greedy_order(cost, scores_NK.shape[1], self.max_systems)
        self.order_, self.criteria_, self.num_systems_ = np.array(order), np.array(costs), scores_NK.shape[1]
        self.fusion.fit(scores_NK[:, self.order_], truth_N)
        return self

    def transform(self, scores: npt.ArrayLike) -> np.ndarray:
        """Return the LLRs [N] of scores [N, K] of all systems, those left out included."""
        require_fitted(self, "order_")
        return self.fusion.transform(checked_embeddings(scores, "scores", dim=self.num_systems_)[:, self.order_])


def greedy_order(
    cost: Callable[[list[int]], float], num_systems: int, max_systems: int | None = None
) -> tuple[list[int], list[float]]:
    """Return (systems in the order they are taken, cost after each), adding the one that lowers the cost most.

    Stops when none lowers it. Of equal costs the lowest index wins.

    Args:
        cost: of a set of systems, given as indices.
        num_systems: how many there are.
        max_systems: how many are taken at most.
    """
    order: list[int] = []
    costs: list[float] = []
    while len(order) < min(num_systems, max_systems or num_systems):
        rest = [index for index in range(num_systems) if index not in order]
        best, index = min((cost([*order, index]), index) for index in rest)
        if costs and not best < costs[-1]:
            break
        order.append(index)
        costs.append(best)
    return order, costs


def speaker_folds(
    enrol_speakers: Sequence[Any] | np.ndarray,
    test_speakers: Sequence[Any] | np.ndarray,
    is_target: npt.ArrayLike,
    num_folds: int,
) -> np.ndarray:
    """Return the fold of the enrolment's and of the test's speaker of each trial, [N, 2].

    Speakers go to the folds in turn, those with the most target trials first (then by name), so that each fold has its share
    of both kinds; no random number is drawn.

    Raises:
        ValueError: not a speaker for each side and trial, fewer than 3 folds (a trial needs a fusion without the folds of
            both its sides), or fewer than 2 speakers a fold.
    """
    truth_N = np.asarray(is_target, dtype=bool)
    sides = [np.asarray(side) for side in (enrol_speakers, test_speakers)]
    if any(side.shape != truth_N.shape for side in sides):
        raise ValueError(f"speakers: expected one for each side of {truth_N.size} trials, found {[side.shape for side in sides]}")
    ids_S, code_N2 = np.unique(np.stack(sides, axis=1), return_inverse=True)
    code_N2 = code_N2.reshape(-1, 2)
    if num_folds < 3 or 2 * num_folds > ids_S.size:
        raise ValueError(
            f"num_folds: expected 3 or more with at least 2 speakers each, found {num_folds} for {ids_S.size} speakers; "
            "set fewer folds, or hold out more speakers"
        )
    num_target_S = np.bincount(code_N2[truth_N, 0], minlength=ids_S.size)
    fold_S = np.empty(ids_S.size, dtype=np.int64)
    fold_S[np.argsort(-num_target_S, kind="stable")] = np.arange(ids_S.size) % num_folds
    return fold_S[code_N2]


def cross_validated_llrs(fusion: Fusion, scores_NK: np.ndarray, is_target: np.ndarray, fold_N2: np.ndarray) -> np.ndarray:
    """Return for each trial the LLR [N] of a copy of `fusion` that was trained without the speakers of either side.

    The two speakers of a non-target trial may be of different folds. So there is a fusion for each fold and for each pair of
    folds, trained on the trials that touch neither; every trial counts, once.

    Raises:
        ValueError: a fusion would have training trials of one kind only; the message names the folds.
    """
    low_N, high_N = fold_N2.min(axis=1), fold_N2.max(axis=1)
    llrs_N = np.empty(len(scores_NK))
    for low, high in np.unique(np.stack([low_N, high_N], axis=1), axis=0).tolist():
        touches_N = np.isin(fold_N2, (low, high)).any(axis=1)
        num_target = int(is_target[~touches_N].sum())
        if num_target in (0, int((~touches_N).sum())):
            raise ValueError(
                f"cross-validation: without the speakers of folds {low} and {high} there are {num_target} targets in "
                f"{int((~touches_N).sum())} trials; expected both kinds; set more folds, or hold out more speakers"
            )
        fitted = copy(fusion).fit(scores_NK[~touches_N], is_target[~touches_N])
        here_N = (low_N == low) & (high_N == high)
        llrs_N[here_N] = fitted.transform(scores_NK[here_N])
    return llrs_N


def weighted_cllr(target_llrs: npt.ArrayLike, nontarget_llrs: npt.ArrayLike, prior: float) -> float:
    """Return the prior-weighted cross-entropy of LLRs in bits, over that of the prior alone: 1 is what LLRs of 0 cost.

    For a prior of 0.5 it is Cllr.

    Raises:
        ValueError: a prior outside (0, 1).
    """
    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior: expected a probability between 0 and 1, both excluded, found {prior}")
    offset = np.log(prior) - np.log1p(-prior)
    cost_t = np.logaddexp(0.0, -(np.asarray(target_llrs) + offset)).mean()
    cost_n = np.logaddexp(0.0, np.asarray(nontarget_llrs) + offset).mean()
    entropy = -prior * np.log(prior) - (1.0 - prior) * np.log1p(-prior)
    return float((prior * cost_t + (1.0 - prior) * cost_n) / entropy)


def _standardised(fitted: MeanFusion | CalibratedMeanFusion | GenderGatedFusion, scores: npt.ArrayLike) -> np.ndarray:
    """The scores [N, K] less each system's mean, over its standard deviation, both of the training trials."""
    require_fitted(fitted, "mean_K_")
    return (checked_embeddings(scores, "scores", dim=fitted.mean_K_.size) - fitted.mean_K_) / fitted.std_K_


def _is_female(log_odds: npt.ArrayLike, num_trials: int, name: str) -> np.ndarray:
    odds_N = np.asarray(log_odds, dtype=np.float64)
    if odds_N.shape != (num_trials,) or not np.isfinite(odds_N).all():
        raise ValueError(f"{name}: expected one finite number for each of {num_trials} trials, found shape {odds_N.shape}")
    return odds_N > 0
