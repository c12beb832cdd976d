"""Intervals of figures by a joint bootstrap over speakers.

Trials share speakers, so they are far from independent and a bootstrap over trials gives intervals that are
too narrow. Here speakers are drawn, and a trial weighs what its two speakers weigh.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from steps.metrics.curve import ErrorCurve, checked_scores, checked_truth, cumulate, order_scores
from steps.metrics.error_rates import eer_of_curve

Statistic = Callable[[ErrorCurve], float]


def speaker_bootstrap(
    scores: npt.ArrayLike,
    is_target: npt.ArrayLike,
    enrol_speaker_index: npt.ArrayLike,
    test_speaker_index: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    num_replicates: int = 1000,
    statistic: Statistic = eer_of_curve,
) -> np.ndarray:
    """Return the statistic of `num_replicates` joint bootstrap replicates over speakers, as an array.

    Each replicate draws as many speakers as the trials have, with replacement. A trial weighs the product of
    how often its two speakers were drawn, a same-speaker trial the square. A replicate without targets or
    without non-targets is drawn again. The draws depend on `rng` and the trials' speakers only: two systems
    scored on the same list with equally seeded generators give paired replicates.

    Args:
        scores: one score a trial.
        is_target: truth of each trial.
        enrol_speaker_index: a whole number that stands for the enrolled speaker of each trial; gaps do not
            matter.
        test_speaker_index: the same for the test speaker, in the same numbering.
        rng: source of the draws.
        num_replicates: how many replicates.
        statistic: figure of an error curve, for instance `eer_of_curve` or
            `functools.partial(min_dcf_of_curve, p_target=0.01)`.

    Source: the weights are those of the joint bootstrap in L. Ferrer's ConfidenceIntervals and DCA-PLDA; see
        also Poh and Bengio, "Estimating the confidence interval of expected performance curve in biometric
        authentication using joint bootstrap", 2007.

    Raises:
        ValueError: arrays of different length, non-finite scores, no target or no non-target trial,
            `num_replicates` under 1.
    """
    scores_N = checked_scores(scores, "scores")
    is_target_N, speakers_2N = _checked_trials(scores_N, is_target, enrol_speaker_index, test_speaker_index)
    if num_replicates < 1:
        raise ValueError(f"num_replicates: expected at least 1, found {num_replicates}")
    order = order_scores(scores_N[is_target_N], scores_N[~is_target_N])
    ids, dense_2N = np.unique(speakers_2N, return_inverse=True)
    dense_2N = dense_2N.reshape(2, -1).astype(np.int32)
    target_2T = np.ascontiguousarray(dense_2N[:, is_target_N][:, order.target_order])
    nontarget_2M = np.ascontiguousarray(dense_2N[:, ~is_target_N][:, order.nontarget_order])

    replicates = np.empty(num_replicates)
    for index in range(num_replicates):
        while True:
            counts = draw_speaker_counts(ids.size, rng).astype(np.float64)
            curve = ErrorCurve(order, _cumulated_products(counts, target_2T), _cumulated_products(counts, nontarget_2M))
            if curve.total_target > 0 and curve.total_nontarget > 0:
                break
        replicates[index] = statistic(curve)
    return replicates


def draw_speaker_counts(num_speakers: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each speaker occurs among `num_speakers` draws with replacement."""
    return np.bincount(rng.integers(num_speakers, size=num_speakers), minlength=num_speakers)


def interval(replicates: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap replicates: 2.5 and 97.5 per cent for a level of 0.95.

    Raises:
        ValueError: no replicates, or a level outside (0, 1).
    """
    values = checked_scores(replicates, "replicates")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a fraction between 0 and 1, both excluded, found {level}")
    # Written so that 0.95 gives 2.5 and 97.5 and not their neighbours in binary.
    outside = round(50.0 * (1.0 - level), 9)
    low, high = np.percentile(values, [outside, 100.0 - outside])
    return float(low), float(high)


def _cumulated_products(counts: np.ndarray, pairs_2N: np.ndarray) -> np.ndarray:
    weights = counts.take(pairs_2N[0])
    weights *= counts.take(pairs_2N[1])
    return cumulate(weights)


def _checked_trials(
    scores_N: np.ndarray, is_target: npt.ArrayLike, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    is_target_N = checked_truth(is_target, scores_N.size)
    speakers = [np.asarray(index) for index in (enrol_index, test_index)]
    for name, index in zip(("enrol_speaker_index", "test_speaker_index"), speakers, strict=True):
        if index.shape != scores_N.shape or not np.issubdtype(index.dtype, np.integer):
            raise ValueError(f"{name}: expected {scores_N.size} whole numbers, found {index.dtype} of shape {index.shape}")
    return is_target_N, np.stack(speakers)
