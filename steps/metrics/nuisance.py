"""Whether something that is not the voice tells target from non-target trials: its equal error rate as if it were a score.

A list in which all target trials lie within a session, or all others between a woman and a man, is solved in part by whoever
knows sessions or genders. 50 % says that a thing tells nothing.
Suffixes: P trials, G groups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.metrics.curve import checked_scores, checked_truth, error_curve
from steps.metrics.error_rates import eer_rocch_of_curve


def nuisance_eer(values: npt.ArrayLike, is_target: npt.ArrayLike) -> float:
    """Return the equal error rate (convex hull of the ROC) of a value of each trial, in the better of its two directions.

    The hull decides about ties by chance, as values such as "the same gender" are nearly all ties.

    Args:
        values: [P], for instance minus the difference of two durations.
        is_target: [P].

    Raises:
        ValueError: arrays of different length, values that are not finite, or trials of one kind only.
    """
    value_P = checked_scores(values, "values")
    truth_P = checked_truth(is_target, value_P.size)
    target, nontarget = value_P[truth_P], value_P[~truth_P]
    return min(eer_rocch_of_curve(error_curve(*pair)) for pair in ((target, nontarget), (-target, -nontarget)))


def chance_width(num_target: int, num_nontarget: int) -> float:
    """Return how far from one half the rate of a value that tells nothing may lie: three standard errors.

    The standard error of the mean of miss and false-alarm rate at the middle of both kinds, as if trials were independent.

    Raises:
        ValueError: no trial of a kind.
    """
    if num_target < 1 or num_nontarget < 1:
        raise ValueError(f"expected trials of both kinds, found {num_target} and {num_nontarget}")
    return 3 * 0.25 * (1 / num_target + 1 / num_nontarget) ** 0.5


def target_shares(is_target: npt.ArrayLike, group: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (share of target trials, number of trials) of each group, [G] each, in the order of the groups' numbers.

    Args:
        is_target: [P].
        group: [P] whole numbers from 0; groups without a trial have the share nan.

    Raises:
        ValueError: arrays of different length.
    """
    truth_P, group_P = np.asarray(is_target, dtype=bool), np.asarray(group)
    if truth_P.shape != group_P.shape or truth_P.ndim != 1:
        raise ValueError(f"expected a group for each trial, found shapes {truth_P.shape} and {group_P.shape}")
    num_G = np.bincount(group_P)
    with np.errstate(invalid="ignore"):
        return np.bincount(group_P, truth_P) / num_G, num_G
