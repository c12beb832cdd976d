"""Dominant sets: clusters of embeddings without a number of clusters given; and linkage scoring between such clusters.

Source: Hibraj, Vascon, Stadelmann and Pelillo, "Speaker clustering using dominant sets", ICPR 2018, and their program
    feliksh/SCDS; Pavan and Pelillo, "Dominant sets and pairwise clustering", 2007 (the replicator dynamics). Scoring: the
    evaluation of ZHAW_deep_voice (edualc/ZHAW_deep_voice), "DS" and a linkage.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from steps.backend.agglomeration import METHODS, last_heights
from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.stacks import Stacks, score_all_pairs
from steps.backend.windows import Windows

NEIGHBOURS = 7  # whose mean distance is the scale of an item
SMALLEST_SCALE = 1e-8
CHUNK_NUMBERS = 1_048_576  # affinities of the stacks in memory at a time, 8 MB
SLOT_NUMBERS = 131_072  # of those that run side by side, 1 MB
ROUNDING = 1e-12  # of participations: ten windows all alike have 0.1 each, and reach a threshold of 0.1
SAME = 1 - 1e-14  # cosine of what is one vector but for rounding; its arc, 1e-7, would pass for a distance
CUTS, RESTS = ("absolute", "relative"), ("noise", "whole", "single")


class DominantSetScoring:
    """Scores a trial by clustering its windows into dominant sets and then the sets by linkage; nothing is fitted.

    The windows of both sides are stacked and clustered; each set becomes the sum of its windows weighted with their
    participation; the score is minus the height of the last merge of these vectors (see linkage.py). Where all windows
    form one set, and where none is found, nothing is merged: the score is 0, the highest, "most alike". The published
    program ends with an error there. Two windows are one set however unlike they are, so each side should have several.
    Windows that belong to no set have no participation and no part in the score, whatever `dominant_sets` does with them.

    Args:
        linkage: see `LinkageScoring`.
        epsilon: change of the participations at which the replicator dynamics stop.
        threshold: participation from which a window belongs to a set. If absolute, more than 1 / threshold windows that
            are all alike form no set.
        cut: "absolute", or "relative" to the largest participation.
    """

    def __init__(self, linkage: str = "average", *, epsilon: float = 1e-6, threshold: float = 0.1, cut: str = "absolute") -> None:
        self.linkage, self.epsilon, self.threshold, self.cut = linkage, epsilon, threshold, cut

    def score_trials(self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike) -> np.ndarray:
        """Return the score of items `enrol_index[p]` and `test_index[p]` for each trial, as [P]: 0 or less.

        Raises:
            ValueError: a setting that cannot be, an index out of range, lists of different length, or a window of zeros.
        """
        return 0 - self.heights(windows, enrol_index, test_index, (self.linkage,))[:, 0]  # 0, never -0

    def heights(
        self, windows: Windows, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike, methods: tuple[str, ...] = METHODS
    ) -> np.ndarray:
        """Return the height of the last merge of each trial's sets by each linkage, as [P, methods]; see `score_trials`."""
        _check(self.epsilon, self.threshold, self.cut)
        for method in methods:
            if method not in METHODS:
                raise ValueError(f"linkage: expected one of {', '.join(METHODS)}, found {method!r}")
        stacks = Stacks(windows, enrol_index, test_index, unit=False)
        stacks.refuse_zeros()
        height_PM = np.zeros((stacks.enrol_P.size, len(methods)))
        for chunk in stacks.chunks(CHUNK_NUMBERS):
            distance_Qss, num_sets_Q = self._between_sets(chunk.product_Qnn, chunk.num_Q)
            order_Q = np.argsort(-num_sets_Q, kind="stable")
            distance_Qss, num_sets_Q = distance_Qss[order_Q], num_sets_Q[order_Q]
            for column, method in enumerate(methods):
                height_PM[chunk.index_Q[order_Q], column] = last_heights(distance_Qss, num_sets_Q, method)
        return height_PM

    def score_matrix(self, enrol: Windows, test: Windows) -> np.ndarray:
        """Return the score of every item of `enrol` (M) with every item of `test` (N), as [M, N].

        Raises:
            ValueError: different dimensions, or as `score_trials`.
        """
        return score_all_pairs(self.score_trials, enrol, test)

    def _between_sets(self, product_Qnn: np.ndarray, num_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(Cosine distances of the dominant sets of each stack [Q, sets, sets], number of its sets [Q])."""
        inside_Qn = np.arange(product_Qnn.shape[1]) < num_Q[:, None]
        length_Qn = np.where(inside_Qn, np.sqrt(np.einsum("qnn->qn", product_Qnn)), 1.0)
        cosine_Qnn = product_Qnn / (length_Qn[:, :, None] * length_Qn[:, None, :])
        affinity_Qnn = np.exp(_log_affinities(_arcs(cosine_Qnn), num_Q))
        label_Qn, participation_Qn, num_sets_Q = _peel(affinity_Qnn, num_Q, self.epsilon, self.threshold, self.cut)
        sets_S = np.arange(max(1, int(num_sets_Q.max())))
        weight_Qsn = (label_Qn[:, None, :] == sets_S[:, None]) * participation_Qn[:, None, :]
        gram_Qss = weight_Qsn @ product_Qnn @ weight_Qsn.transpose(0, 2, 1)
        length_Qs = np.sqrt(np.maximum(np.einsum("qss->qs", gram_Qss), 0))
        length_Qs[length_Qs == 0] = 1  # beyond the sets of a stack
        return np.maximum(1 - gram_Qss / (length_Qs[:, :, None] * length_Qs[:, None, :]), 0), num_sets_Q


def affinities(embeddings: npt.ArrayLike) -> np.ndarray:
    """Return how alike embeddings [N, D] are, as [N, N] from 0 to 1, zero on the diagonal.

    exp(-d_ij / (s_i s_j)), where d is the angle over pi and s_i the mean of the 7 smallest distances of item i (of all, if
    there are fewer), at least 1e-8.

    Raises:
        ValueError: values that are not finite, or a row of zeros.
    """
    return np.exp(_log_affinities(_angles(embeddings)[None], np.array([len(np.asarray(embeddings))]))[0])


def dominant_sets(
    embeddings: npt.ArrayLike,
    *,
    epsilon: float = 1e-6,
    threshold: float = 0.1,
    cut: str = "relative",
    rest: str = "noise",
    published: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (label of each embedding's set [N], from 0 in the order they were found; its participation in it [N]).

    A set at a time: replicator dynamics from equal participations; what reaches the threshold is a set and leaves. The
    affinity grows sharper as distances shrink (see `affinities`), so many utterances of one speaker make several sets.

    Args:
        embeddings: [N, D].
        epsilon: Euclidean change of the participations at which the dynamics stop.
        threshold: participation from which an item belongs to a set.
        cut: "absolute", or "relative" to the largest participation. The paper has 0.1 relative.
        rest: what becomes of items when no more sets form: "noise", each goes to the set whose most participating item has
            the highest affinity to it (to set 0 if there is none); "whole", they are one set; "single", one each. Their
            participation is 0.
        published: "noise" as the published program has it, which compares two items at a time: the affinity, exp(-1 / d)
            then, is highest for the farthest set. It never considers the last set.

    Raises:
        ValueError: a setting that cannot be, values that are not finite, or a row of zeros.
    """
    if published and rest != "noise":
        raise ValueError(f"published: expected rest = 'noise' with it, found {rest!r}")
    distance_NN = _angles(embeddings)
    log_NN = _log_affinities(distance_NN[None], np.array([len(distance_NN)]))[0]
    choose = _as_published if published else _nearest
    return _clustered(np.exp(log_NN), epsilon, threshold, cut, rest, choose(distance_NN if published else log_NN))


def dominant_sets_of_affinities(
    affinity: npt.ArrayLike, *, epsilon: float = 1e-6, threshold: float = 0.1, cut: str = "relative", rest: str = "noise"
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and participations as `dominant_sets`, from affinities [N, N] that are symmetric and not negative.

    Raises:
        ValueError: a setting that cannot be, or such affinities; the diagonal is taken to be zero.
    """
    affinity_NN = checked_embeddings(affinity, "affinities").copy()
    if affinity_NN.shape[0] != affinity_NN.shape[1] or not np.allclose(affinity_NN, affinity_NN.T, rtol=1e-6, atol=0):
        raise ValueError(f"affinities: expected a symmetric matrix, found shape {affinity_NN.shape} or unlike halves")
    if (affinity_NN < 0).any():
        raise ValueError(f"affinities: expected none below 0, found {affinity_NN.min()}")
    np.fill_diagonal(affinity_NN, 0)
    return _clustered(affinity_NN, epsilon, threshold, cut, rest, _nearest(affinity_NN))


# (label [N], participation [N], one that has no set) -> set that it goes to
Choice = Callable[[np.ndarray, np.ndarray, int], int]


def _clustered(
    affinity_NN: np.ndarray, epsilon: float, threshold: float, cut: str, rest: str, choose: Choice
) -> tuple[np.ndarray, np.ndarray]:
    _check(epsilon, threshold, cut)
    if rest not in RESTS:
        raise ValueError(f"rest: expected one of {', '.join(RESTS)}, found {rest!r}")
    num_N = np.array([len(affinity_NN)])
    (found_N,), (participation_N,), (num_sets,) = _peel(affinity_NN[None], num_N, epsilon, threshold, cut)
    label_N, left = found_N.copy(), np.flatnonzero(found_N < 0)
    if rest == "noise":
        label_N[left] = [choose(found_N, participation_N, item) for item in left.tolist()]
    else:
        label_N[left] = num_sets + (np.arange(left.size) if rest == "single" else 0)
    return label_N, participation_N


def _most_participating(label_N: np.ndarray, participation_N: np.ndarray) -> np.ndarray:
    """The item that has most part in each set, the first of equals, [sets]."""
    sets = range(label_N.max() + 1)
    return np.array([np.where(label_N == each, participation_N, -1).argmax() for each in sets], dtype=np.int64)


def _nearest(likeness_NN: np.ndarray) -> Choice:
    def choose(label_N: np.ndarray, participation_N: np.ndarray, item: int) -> int:
        centre_S = _most_participating(label_N, participation_N)
        return int(likeness_NN[item, centre_S].argmax()) if centre_S.size else 0

    return choose


def _as_published(distance_NN: np.ndarray) -> Choice:
    def choose(label_N: np.ndarray, participation_N: np.ndarray, item: int) -> int:
        distance_S = distance_NN[item, _most_participating(label_N, participation_N)[:-1]]
        affinity_S = np.exp(-1 / np.maximum(distance_S, 1e-9))  # two alike: no number there, which is never the highest
        return int(affinity_S.argmax()) if affinity_S.size else 0

    return choose


def _check(epsilon: float, threshold: float, cut: str) -> None:
    if cut not in CUTS:
        raise ValueError(f"cut: expected one of {', '.join(CUTS)}, found {cut!r}")
    if epsilon < 1e-14:  # under the rounding of participations: it might never be reached
        raise ValueError(f"epsilon: expected at least 1e-14, found {epsilon}")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected more than 0 and at most 1, found {threshold}")


def _angles(embeddings: npt.ArrayLike) -> np.ndarray:
    unit_ND = unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings")
    return _arcs((unit_ND @ unit_ND.T)[None])[0]


def _arcs(cosine_Qnn: np.ndarray) -> np.ndarray:
    """Angles over pi; those of a vector with itself or its like are exactly zero."""
    arc_Qnn = np.arccos(np.clip(cosine_Qnn, -1, 1)) / np.pi
    arc_Qnn[cosine_Qnn > SAME] = 0
    np.einsum("qnn->qn", arc_Qnn)[:] = 0
    return arc_Qnn


def _log_affinities(distance_Qnn: np.ndarray, num_Q: np.ndarray) -> np.ndarray:
    """Logarithms of the affinities within each stack, -inf on the diagonal and beyond its items."""
    size = distance_Qnn.shape[1]
    outside_Qn = np.arange(size) >= num_Q[:, None]
    none_Qnn = outside_Qn[:, :, None] | outside_Qn[:, None, :] | np.eye(size, dtype=bool)
    most = min(NEIGHBOURS, size - 1)
    apart_Qnn = np.where(none_Qnn, np.inf, distance_Qnn)
    near_Qnk = np.partition(apart_Qnn, max(0, most - 1), axis=2)[:, :, :most]
    count_Q1 = np.clip(num_Q - 1, 1, NEIGHBOURS)[:, None]
    scale_Qn = np.where(np.isfinite(near_Qnk), near_Qnk, 0).sum(axis=2) / count_Q1
    np.maximum(scale_Qn, SMALLEST_SCALE, out=scale_Qn)
    return -apart_Qnn / (scale_Qn[:, :, None] * scale_Qn[:, None, :])


class _Peeling:
    """The sets found so far in many stacks.

    The dynamics take from a few to thousands of steps. Some stacks run side by side, few enough for the cache of a core, and
    as they end others take their place; so none waits for the slowest of a batch.
    """

    def __init__(self, affinity_Qnn: np.ndarray, num_Q: np.ndarray) -> None:
        self.affinity_Qnn = affinity_Qnn
        self.left_Qn = np.arange(affinity_Qnn.shape[1]) < num_Q[:, None]
        self.label_Qn = np.full(self.left_Qn.shape, -1)
        self.participation_Qn = np.zeros(self.left_Qn.shape)
        self.num_sets_Q = np.zeros(len(num_Q), dtype=np.int64)

    def start(self, index_K: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(Affinities of what is left, at most 1 [K, n, n]; equal participations [K, n]; whether any are alike [K])."""
        left_Kn = self.left_Qn[index_K]
        affinity_Knn = self.affinity_Qnn[index_K] * (left_Kn[:, :, None] & left_Kn[:, None, :])
        peak_K = affinity_Knn.max(axis=(1, 2), initial=0)
        alike_K = peak_K > 0
        affinity_Knn[alike_K] /= peak_K[alike_K, None, None]  # no matter to the dynamics, but tiny ones would vanish
        return affinity_Knn, left_Kn / left_Kn.sum(axis=1, keepdims=True), alike_K

    def take(self, index_K: np.ndarray, x_Kn: np.ndarray, threshold: float, cut: str) -> np.ndarray:
        """Make a set of each stack's items that reach the threshold; return the stacks that may have another."""
        limit_K1 = threshold * (x_Kn.max(axis=1, keepdims=True) if cut == "relative" else 1.0)
        member_Kn = (x_Kn >= limit_K1 - ROUNDING) & self.left_Qn[index_K]
        row, column = np.nonzero(member_Kn)
        stack = index_K[row]
        self.label_Qn[stack, column] = self.num_sets_Q[stack]
        self.participation_Qn[stack, column] = x_Kn[row, column]
        self.left_Qn[stack, column] = False
        found_K = member_Kn.any(axis=1)
        self.num_sets_Q[index_K[found_K]] += 1
        return index_K[found_K & self.left_Qn[index_K].any(axis=1)]


def _peel(
    affinity_Qnn: np.ndarray, num_Q: np.ndarray, epsilon: float, threshold: float, cut: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Set of each item [Q, n], -1 for none; participation [Q, n]; number of sets [Q]), of many stacks at once."""
    found, size = _Peeling(affinity_Qnn, num_Q), affinity_Qnn.shape[1]
    slots = max(1, SLOT_NUMBERS // size**2)
    waiting = np.arange(len(num_Q))
    index_K, affinity_Knn, x_Kn = waiting[:0], affinity_Qnn[:0], np.zeros((0, size))
    while waiting.size or index_K.size:
        next_K, waiting = np.split(waiting, [slots - index_K.size])
        next_affinity_Knn, next_x_Kn, alike_K = found.start(next_K)
        # Of items without any affinity there is no set, unless it is one by itself.
        alone_K = ~alike_K & (next_x_Kn.max(axis=1, initial=0) == 1)
        found.take(next_K[alone_K], next_x_Kn[alone_K], threshold, cut)
        index_K = np.concatenate([index_K, next_K[alike_K]])
        affinity_Knn = np.concatenate([affinity_Knn, next_affinity_Knn[alike_K]])
        x_Kn, end_Kn, goes_on_K = _replicated(affinity_Knn, np.concatenate([x_Kn, next_x_Kn[alike_K]]), epsilon)
        again = found.take(index_K[~goes_on_K], end_Kn[~goes_on_K], threshold, cut)
        waiting = np.concatenate([again, waiting])
        index_K, affinity_Knn, x_Kn = index_K[goes_on_K], affinity_Knn[goes_on_K], x_Kn[goes_on_K]
    return found.label_Qn, found.participation_Qn, found.num_sets_Q


def _replicated(affinity_Knn: np.ndarray, x_Kn: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps x <- x * Ax / sum until a fifth of the stacks has ended, that is, has changed by no more than epsilon in a step.

    Returns (participations now, participations where they ended, whether they have not ended).
    """
    end_Kn, goes_on_K = x_Kn.copy(), np.ones(len(x_Kn), dtype=bool)
    while np.count_nonzero(goes_on_K) > 0.8 * len(goes_on_K):
        next_Kn = x_Kn * (affinity_Knn @ x_Kn[:, :, None])[:, :, 0]
        next_Kn /= np.einsum("kn->k", next_Kn)[:, None]
        change_Kn = next_Kn - x_Kn
        ends_K = goes_on_K & (np.einsum("kn,kn->k", change_Kn, change_Kn) <= epsilon**2)
        end_Kn[ends_K] = next_Kn[ends_K]
        goes_on_K &= ~ends_K
        x_Kn = next_Kn
    return x_Kn, end_Kn, goes_on_K
