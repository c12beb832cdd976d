"""Linkage scoring: the windows of both sides of a trial are clustered; the height of the last merge says how far apart they are.

All windows are stacked, compared by cosine distance, and merged until one cluster is left. Two utterances of one speaker
mix and merge low; those of two speakers become two clusters that merge last and high.

Source: the evaluation of ZHAW_deep_voice (edualc/ZHAW_deep_voice, pairwise_lstm/lstm_controller.py), which calls scipy's
    `linkage` for each trial, with seven methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from steps.backend.agglomeration import METHODS, last_heights
from steps.backend.estimator import checked_embeddings
from steps.backend.stacks import Stacks, score_all_pairs
from steps.backend.windows import Windows


class LinkageScoring:
    """Scores a trial by minus the height of the last merge of its windows; nothing is fitted.

    "centroid", "median" and "ward" are defined for Euclidean distances; they are applied to cosine distances as if these
    were, as scipy does. Centroid and median may then merge lower than before: the last merge counts, not the highest.

    Args:
        method: "single", "complete", "average", "weighted", "centroid", "median" or "ward".
    """

    def __init__(self, method: str = "average") -> None:
        self.method = method

    def score_trials(self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
        """Return the score of items `enrol_index[p]` and `test_index[p]` for each trial, as [P]: 0 or less.

        Raises:
            ValueError: another method, an index out of range, lists of different length, or a window of zeros.
        """
        return 0 - self.heights(windows, enrol_index, test_index)  # 0, never -0

    def heights(self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
        """Return the height of each trial's last merge, as [P]; see `score_trials`."""
        return linkage_heights(windows, enrol_index, test_index, (self.method,))[:, 0]

    def score_matrix(self, enrol: Windows, test: Windows) -> np.ndarray:
        """Return the score of every item of `enrol` (M) with every item of `test` (N), as [M, N].

        Raises:
            ValueError: another method, different dimensions, or a window of zeros.
        """
        return score_all_pairs(self.score_trials, enrol, test)


def linkage_heights(
    windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike, methods: Sequence[str] = METHODS
) -> np.ndarray:
    """Return the height of each trial's last merge by each method, as [P, methods]; distances are taken once for all.

    Equal to `linkage(pdist(both, "cosine"), method)[-1, 2]` of scipy to about 1e-14, ties included.

    Raises:
        ValueError: see `LinkageScoring.score_trials`.
    """
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    stacks = Stacks(windows, enrol_index, test_index)
    height_PM = np.empty((stacks.enrol_P.size, len(methods)))
    for chunk in stacks.chunks():
        distance_Qnn = np.subtract(1, chunk.product_Qnn, out=chunk.product_Qnn)
        np.maximum(distance_Qnn, 0, out=distance_Qnn)
        as_scipy_has_them = partial(_cosine_distances, stacks, chunk.index_Q)
        for column, method in enumerate(methods):
            height_PM[chunk.index_Q, column] = last_heights(distance_Qnn, chunk.num_Q, method, as_scipy_has_them)
    return height_PM


def _cosine_distances(stacks: Stacks, index_Q: np.ndarray, place: int) -> np.ndarray:
    return pdist(stacks.rows_of(int(index_Q[place])), "cosine")


def dendrogram_pair(enrol: npt.ArrayLike, test: npt.ArrayLike, method: str = "average") -> np.ndarray:
    """Return the tree of one trial as scipy's linkage matrix `[merges, 4]`, for `scipy.cluster.hierarchy.dendrogram`.

    Args:
        enrol: windows [W, D]; they are leaves 0 to W - 1.
        test: windows [V, D], the leaves after them.
        method: see `LinkageScoring`.

    Raises:
        ValueError: another method, different dimensions, values that are not finite, or a window of zeros.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    enrol_WD = checked_embeddings(enrol, "enrolment windows")
    test_VD = checked_embeddings(test, "test windows", dim=enrol_WD.shape[1])
    both_ND = np.concatenate([enrol_WD, test_VD])
    if not both_ND.any(axis=1).all():
        raise ValueError("windows: expected lengths above 0, found a window of zeros")
    return linkage(pdist(both_ND, "cosine"), method)
