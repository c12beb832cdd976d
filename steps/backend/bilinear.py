"""Scores that are a sum over dimensions of products of two items, for lists of trials too long to gather at once.

A trial costs two rows read from memory, and that is what takes the time: rows are gathered into buffers that stay in a core's
cache, so that nothing else goes to memory. Where a list names most of all pairs, a score matrix is faster.
"""

from __future__ import annotations

import numpy as np

BLOCK_NUMBERS = 50_000  # float64 numbers gathered at a time, 0.4 MB a side: both sides fit into a second-level cache
SQUARED_NUMBERS = 500_000  # squared at a time, 4 MB
GROUPS_AT_A_TIME = 64


def trial_dots(left_MD: np.ndarray, right_ND: np.ndarray, left_P: np.ndarray, right_P: np.ndarray) -> np.ndarray:
    """Return the dot product of `left_MD[left_P[p]]` and `right_ND[right_P[p]]` for each trial, as [P].

    The indices are taken as they are: check them first.
    """
    dots_P = np.empty(left_P.size)
    rows = max(1, BLOCK_NUMBERS // max(1, left_MD.shape[1]))
    left_BD, right_BD = np.empty((rows, left_MD.shape[1])), np.empty((rows, left_MD.shape[1]))
    for start in range(0, left_P.size, rows):
        block = slice(start, start + rows)
        size = min(rows, left_P.size - start)
        # mode="clip" writes straight into the buffer; "raise" would go through another one.
        np.take(left_MD, left_P[block], axis=0, out=left_BD[:size], mode="clip")
        np.take(right_ND, right_P[block], axis=0, out=right_BD[:size], mode="clip")
        np.vecdot(left_BD[:size], right_BD[:size], out=dots_P[block])
    return dots_P


def quadratic_trials(
    left_MD: np.ndarray,
    left_M: np.ndarray,
    group_M: np.ndarray,
    weight_KD: np.ndarray,
    right_ND: np.ndarray,
    left_P: np.ndarray,
    right_P: np.ndarray,
) -> np.ndarray:
    """Return for trials (m, n) `left_M[m] + sum_d (left_MD[m] * right_ND[n] + weight_KD[group_M[m]] * right_ND[n]**2)`.

    That is the form of a Gaussian likelihood ratio in which the precision depends only on which of K groups the left item is in.

    Args:
        left_MD: what is multiplied with the right item.
        left_M: what does not depend on the right item.
        group_M: group of each left item, 0 to K - 1.
        weight_KD: weights of the squares of the right item, by group.
        right_ND: right items.
        left_P: row of the left item of each trial.
        right_P: row of the right item of each trial.
    """
    scores_P = trial_dots(left_MD, right_ND, left_P, right_P)
    scores_P += left_M[left_P]
    if len(weight_KD) == 1:
        scores_P += weighted_squares(right_ND, weight_KD)[right_P, 0]
        return scores_P
    group_P = group_M[left_P]
    for first in range(0, len(weight_KD), GROUPS_AT_A_TIME):
        part_NK = weighted_squares(right_ND, weight_KD[first : first + GROUPS_AT_A_TIME])
        trials = np.flatnonzero((group_P >= first) & (group_P < first + GROUPS_AT_A_TIME))
        scores_P[trials] += part_NK[right_P[trials], group_P[trials] - first]
    return scores_P


def weighted_squares(items_ND: np.ndarray, weight_KD: np.ndarray) -> np.ndarray:
    """Return `sum_d items_ND[n]**2 * weight_KD[k]` as [N, K], without a squared copy of all items."""
    sums_NK = np.empty((len(items_ND), len(weight_KD)))
    rows = max(1, SQUARED_NUMBERS // max(1, items_ND.shape[1]))
    for start in range(0, len(items_ND), rows):
        block = slice(start, start + rows)
        sums_NK[block] = items_ND[block] ** 2 @ weight_KD.T
    return sums_NK
