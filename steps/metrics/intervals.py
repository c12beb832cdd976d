"""Intervals of figures by a joint bootstrap over speakers.

Trials share speakers, so they are far from independent and a bootstrap over trials gives intervals that are
too narrow. Here speakers are drawn, and a trial weighs what its two speakers weigh; see replicates.py.
Suffixes: P trials, R replicates, N items, S speakers.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from steps.metrics.costs import min_dcf_of_curve
from steps.metrics.curve import checked_scores, checked_truth
from steps.metrics.error_rates import eer_of_curve
from steps.metrics.replicates import (
    Statistic,
    bootstrap_curves,
    bootstrap_eer,
    bootstrap_min_dcf,
    draw_replicates,
    draw_speaker_counts,
)


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
            `functools.partial(min_dcf_of_curve, p_target=0.01)`; these two are found fast, any other by one
            error curve a replicate.

    Source: the weights are those of the joint bootstrap in L. Ferrer's ConfidenceIntervals and DCA-PLDA; see
        also Poh and Bengio, "Estimating the confidence interval of expected performance curve in biometric
        authentication using joint bootstrap", 2007.

    Raises:
        ValueError: arrays of different length, non-finite scores, no target or no non-target trial,
            `num_replicates` under 1.
    """
    scores_P = checked_scores(scores, "scores")
    checked_truth(is_target, scores_P.size)
    replicates = draw_replicates(
        is_target, enrol_speaker_index, test_speaker_index, rng=rng, num_replicates=num_replicates
    )  # fmt: skip
    if statistic is eer_of_curve:
        return bootstrap_eer(scores_P, replicates)
    if isinstance(statistic, partial) and statistic.func is min_dcf_of_curve and set(statistic.keywords) == {"p_target"}:
        return bootstrap_min_dcf(scores_P, replicates, statistic.keywords["p_target"])
    return bootstrap_curves(scores_P, replicates, statistic)


def mean_bootstrap(
    values: npt.ArrayLike, speaker_index: npt.ArrayLike, *, rng: np.random.Generator, num_replicates: int = 1000
) -> np.ndarray:
    """Return the mean of `num_replicates` bootstrap replicates over the speakers of items, [R] (or [R, ...]).

    Each replicate draws as many speakers as there are, with replacement, and takes all items of those drawn.

    Args:
        values: one value an item, [N] (or [N, ...]).
        speaker_index: `[N]` speaker of each item, anything that numpy can sort.
        rng: source of the draws.
        num_replicates: how many replicates.

    Raises:
        ValueError: no items, not one speaker an item, values that are not finite, `num_replicates` under 1.
    """
    values_N = np.asarray(values, dtype=np.float64)
    speaker_N = np.asarray(speaker_index)
    if not values_N.ndim or not len(values_N) or speaker_N.shape != values_N.shape[:1] or not np.isfinite(values_N).all():
        raise ValueError(f"values: expected finite ones with a speaker each, found shapes {values_N.shape}, {speaker_N.shape}")
    if num_replicates < 1:
        raise ValueError(f"num_replicates: expected at least 1, found {num_replicates}")
    ids_S, code_N = np.unique(speaker_N, return_inverse=True)
    counts_RS = np.stack([draw_speaker_counts(ids_S.size, rng) for _ in range(num_replicates)]).astype(np.float64)
    flat_NV = values_N.reshape(len(values_N), -1)
    sum_SV = np.stack([np.bincount(code_N, column_N, ids_S.size) for column_N in flat_NV.T], axis=1)
    means_RV = (counts_RS @ sum_SV) / (counts_RS @ np.bincount(code_N))[:, None]
    return means_RV.reshape(num_replicates, *values_N.shape[1:])


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
