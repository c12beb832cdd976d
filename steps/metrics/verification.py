"""Accuracy of accepting and rejecting at a threshold, and how many trials look like the other kind.

Accuracy is balanced, the mean of the two kinds' shares of right decisions: what a list with as many target as non-target trials
would give, as in voicemap. A score >= threshold accepts.
Suffixes: P trials, R replicates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.metrics.curve import checked_scores, checked_truth
from steps.metrics.replicates import Replicates, bootstrap_means

# A same-speaker trial whose windows merge as high as the second looks like one of two speakers, and one of two speakers that
# merges as low as the first like one of the same.
# Source: the dendrograms of ZHAW's figure 6, edualc/ZHAW_deep_voice; average linkage of cosine distances.
AMBIGUOUS_HEIGHTS = (0.4, 0.6)


def best_threshold(scores: npt.ArrayLike, is_target: npt.ArrayLike) -> tuple[float, float]:
    """Return (threshold, its balanced accuracy) that is best on these trials: half way between two scores.

    Of equally good ones the lowest; where nothing beats chance that is the lowest score, which accepts all.

    Raises:
        ValueError: scores that are not finite, not one a trial, or trials of one kind only.
    """
    scores_P = checked_scores(scores, "scores")
    truth_P = checked_truth(is_target, scores_P.size)
    target, nontarget = np.sort(scores_P[truth_P]), np.sort(scores_P[~truth_P])
    thresholds = np.unique(scores_P)
    accepted = target.size - np.searchsorted(target, thresholds)
    rejected = np.searchsorted(nontarget, thresholds)
    right = accepted * nontarget.size + rejected * target.size  # whole numbers: ties are ties
    best = int(right.argmax())
    accuracy = float(0.5 * right[best] / (target.size * nontarget.size))
    if best == 0:
        return float(thresholds[0]), accuracy
    low, high = thresholds[best - 1], thresholds[best]
    middle = low + (high - low) / 2
    return float(middle if middle > low else high), accuracy  # scores may be neighbours in binary


def balanced_accuracy(scores: npt.ArrayLike, is_target: npt.ArrayLike, threshold: float) -> float:
    """Return the mean of the share of targets that are accepted and that of non-targets that are rejected.

    Raises:
        ValueError: as `best_threshold`, or a threshold that is not a number.
    """
    scores_P, truth_P = _checked(scores, is_target, threshold)
    right_P = (scores_P >= threshold) == truth_P
    return float(0.5 * (right_P[truth_P].mean() + right_P[~truth_P].mean()))


def bootstrap_accuracy(scores: npt.ArrayLike, replicates: Replicates, threshold: float) -> np.ndarray:
    """Return the balanced accuracy of each replicate, [R]; the threshold stays.

    Raises:
        ValueError: not one finite score for each trial of the replicates, or a threshold that is not a number.
    """
    scores_P, truth_P = _checked(scores, _truth(replicates), threshold)
    return 0.5 * sum(bootstrap_means((scores_P >= threshold) == truth_P, replicates))


def ambiguous(heights: npt.ArrayLike, is_target: npt.ArrayLike) -> np.ndarray:
    """Return whether each trial is ambiguous, [P]: a target trial that merges high, or a non-target trial that merges low.

    Args:
        heights: of the last merge of the windows of both sides, cosine distances.
        is_target: truth of each trial.

    Raises:
        ValueError: as `best_threshold`.
    """
    height_P = checked_scores(heights, "heights")
    truth_P = checked_truth(is_target, height_P.size)
    low, high = AMBIGUOUS_HEIGHTS
    return np.where(truth_P, height_P >= high, height_P <= low)


def bootstrap_share(values: npt.ArrayLike, replicates: Replicates) -> np.ndarray:
    """Return the mean of a value of each trial over a list in each replicate, [R], with as many targets as the list has.

    The kinds are weighed apart and then put together as they are in the list: a target trial weighs a square (see
    `draw_replicates`), and so the replicates of a list hold more targets than the list.

    Raises:
        ValueError: not one number for each trial of the replicates.
    """
    of_targets_R, of_nontargets_R = bootstrap_means(values, replicates)
    num_target, num_nontarget = replicates.targets.trial_P.size, replicates.nontargets.trial_P.size
    return (num_target * of_targets_R + num_nontarget * of_nontargets_R) / (num_target + num_nontarget)


def _truth(replicates: Replicates) -> np.ndarray:
    truth_P = np.zeros(replicates.num_trials, dtype=bool)
    truth_P[replicates.targets.trial_P] = True
    return truth_P


def _checked(scores: npt.ArrayLike, is_target: npt.ArrayLike, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    scores_P = checked_scores(scores, "scores")
    if np.isnan(threshold):
        raise ValueError(f"threshold: expected a number, found {threshold}")
    return scores_P, checked_truth(is_target, scores_P.size)
