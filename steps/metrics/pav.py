"""Pool-adjacent-violators: the best monotone calibration of scores and the convex hull of the ROC."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from steps.metrics.curve import ErrorCurve


def pav_blocks(curve: ErrorCurve) -> tuple[np.ndarray, np.ndarray]:
    """Return target and non-target weight of each block of pooled scores, in ascending order of score.

    Equal scores enter as one group, so their order in a file cannot matter. The share of targets does not
    fall from block to block; block edges are the corners of the ROC convex hull (and perhaps points on its
    edges).

    Source: Ayer et al., "An empirical distribution function for sampling with incomplete information", 1955;
        the link to the ROC hull is Fawcett and Niculescu-Mizil, "PAV and the ROC convex hull", 2007. Solver:
        scipy (linear time).
    """
    parts = [pool_groups(target_G, nontarget_G) for target_G, nontarget_G in curve.groups()]
    if len(parts) == 1:
        return parts[0]
    # What is pooled within a part stays so in the whole: the blocks of all parts are pooled again.
    return pool_groups(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def pool_groups(target_G: np.ndarray, nontarget_G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return target and non-target weight of the blocks that groups of scores, ascending, are pooled into."""
    total_G = target_G + nontarget_G
    present = total_G > 0  # a bootstrap may give a score no weight, and the solver divides by it
    target_G, nontarget_G, total_G = target_G[present], nontarget_G[present], total_G[present]
    starts = isotonic_regression(target_G / total_G, weights=total_G).blocks[:-1]
    return np.add.reduceat(target_G, starts), np.add.reduceat(nontarget_G, starts)
