"""Scores of trials whose sides have several windows: the mean over all pairs of a window of one side and one of the other.

Source: Chung, Nagrani and Zisserman, "VoxCeleb2: deep speaker recognition", Interspeech 2018: ten crops a side, and the
    mean of the 10 x 10 distances between them (their third way of testing).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import unit_rows
from steps.backend.pairs import dot, score_trials
from steps.backend.stacks import Stacks, score_all_pairs
from steps.backend.windows import Windows

MEASURES = ("cosine", "euclidean")


class PairwiseScoring:
    """Scores a trial by the mean cosine, or minus the mean Euclidean distance, of its pairs of windows; nothing is fitted.

    Distances are taken between windows as they are: scale them to unit length before, as Chung et al. do.

    Args:
        measure: "euclidean" or "cosine".
    """

    def __init__(self, measure: str = "euclidean") -> None:
        self.measure = measure

    def score_trials(self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
        """Return the score of items `enrol_index[p]` and `test_index[p]` for each trial, as [P].

        Distances come from products, so that one of two like windows is right to about 1e-8 of their length.

        Raises:
            ValueError: another measure, an index out of range, lists of different length, values that are not finite, or
                for the cosine a window of zeros.
        """
        if self.measure not in MEASURES:
            raise ValueError(f"measure: expected one of {', '.join(MEASURES)}, found {self.measure!r}")
        if self.measure == "cosine":
            # The mean of all products is the product of the means.
            unit = Windows(unit_rows(np.asarray(windows.rows_RD, dtype=np.float64), "windows"), windows.start_N1)
            return score_trials(dot, unit.means(), enrol_index, test_index)
        return -_mean_distances(Stacks(windows, enrol_index, test_index, unit=False))

    def score_matrix(self, enrol: Windows, test: Windows) -> np.ndarray:
        """Return the score of every item of `enrol` (M) with every item of `test` (N), as [M, N].

        Raises:
            ValueError: different dimensions, or as `score_trials`.
        """
        return score_all_pairs(self.score_trials, enrol, test)


def _mean_distances(stacks: Stacks) -> np.ndarray:
    distance_P = np.empty(stacks.enrol_P.size)
    for run in stacks.runs():
        squared_Qet = run.cross_Qet
        squared_Qet *= -2
        squared_Qet += run.enrol_squared_Qe[:, :, None]
        squared_Qet += run.test_squared_Qt[:, None, :]
        np.maximum(squared_Qet, 0, out=squared_Qet)
        distance_P[run.index_Q] = np.sqrt(squared_Qet, out=squared_Qet).mean(axis=(1, 2))
    return distance_P
