"""Agglomerative clustering of many small sets at once: the height of the last merge, as scipy's `linkage` gives it.

All sets of a batch merge in step. Their distances are [P, n, n] with a set's numbers side by side, small enough a batch
to stay in the cache of a core; a merge takes two rows of each set and writes one back. Where two merges are equally near,
the tree depends on which comes first: such sets are left to scipy itself.

Source: Lance and Williams, "A general theory of classificatory sorting strategies", 1967 (the updates); Prim, 1957 (the
    minimum spanning tree, whose longest edge is the last merge of single linkage); scipy.cluster.hierarchy.linkage.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

METHODS = ("single", "complete", "average", "weighted", "centroid", "median", "ward")
TIE = 1e-12  # merges nearer than this are a tie: rounding (1e-15) may turn them round
MAX_BATCHED = 40  # items of a set; of larger ones scipy's calls cost little beside its work, which grows more slowly
MAX_SINGLE = 100  # the same for single linkage

# (rows of the two clusters [P, n], height of their merge [P, 1], sizes of the two [P, 1], of all [P, n]) -> new row
Update = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def last_heights(
    distance_Pnn: np.ndarray,
    num_P: np.ndarray,
    method: str,
    condensed: Callable[[int], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the height of the last merge of each set, as [P]: `Z[-1, 2]` of scipy's `linkage`; 0 for a set of one.

    With "centroid" and "median" the last merge need not be the highest. Equal to scipy to about 1e-14; bit by bit where
    a set has ties or is large.

    Args:
        distance_Pnn: symmetric distances; those of set p are in the first num_P[p] rows and columns. Not changed.
        num_P: items of each set, from high to low.
        method: one of `METHODS`.
        condensed: gives the distances of a set that scipy is to cluster, as `pdist` does; default: those above.
    """
    num_P = np.asarray(num_P)
    height_P = np.zeros(len(num_P))
    by_scipy_P = num_P > (MAX_SINGLE if method == "single" else MAX_BATCHED)
    first, last = int(by_scipy_P.sum()), _num_at_least(num_P, 2)
    if first < last:
        work_Pnn = _padded(distance_Pnn[first:last], num_P[first:last])
        if method == "single":
            height_P[first:last] = _longest_edges(work_Pnn, num_P[first:last])
        else:
            height_P[first:last], by_scipy_P[first:last] = _merge_all(work_Pnn, num_P[first:last], method)
    for p in np.flatnonzero(by_scipy_P).tolist():
        num = int(num_P[p])
        given = condensed(p) if condensed else squareform(distance_Pnn[p, :num, :num], checks=False)
        height_P[p] = linkage(given, method)[-1, 2]
    return height_P


def _padded(distance_Pnn: np.ndarray, num_P: np.ndarray) -> np.ndarray:
    """A copy as large as the largest set, infinite on the diagonal and beyond the items of a set."""
    size = int(num_P[0])
    work_Pnn = distance_Pnn[:, :size, :size].copy()
    work_Pnn.reshape(len(num_P), -1)[:, :: size + 1] = np.inf
    for num in np.unique(num_P[num_P < size]).tolist():
        first, last = _num_at_least(num_P, num + 1), _num_at_least(num_P, num)
        work_Pnn[first:last, num:] = np.inf
        work_Pnn[first:last, :, num:] = np.inf
    return work_Pnn


def _longest_edges(distance_Pnn: np.ndarray, num_P: np.ndarray) -> np.ndarray:
    """Longest edge of the minimum spanning tree of each set, [P]; ties make no difference to it."""
    size = distance_Pnn.shape[1]
    longest_P = np.zeros(len(num_P))
    nearest_Pn = distance_Pnn[:, 0].copy()  # distance of each item to the tree
    inside_Pn = np.full(nearest_Pn.shape, -np.inf)
    inside_Pn[:, 0] = np.inf
    rows = distance_Pnn.reshape(-1, size)
    first_P = np.arange(len(num_P)) * size
    for step in range(size, 1, -1):  # sets of fewer items join later, so that all of them end with the last step
        q = _num_at_least(num_P, step)
        place_Q = first_P[:q] + nearest_Pn[:q].argmin(axis=1)
        np.maximum(longest_P[:q], nearest_Pn.reshape(-1)[place_Q], out=longest_P[:q])
        inside_Pn.reshape(-1)[place_Q] = np.inf
        np.minimum(nearest_Pn[:q], rows.take(place_Q, axis=0), out=nearest_Pn[:q])
        np.maximum(nearest_Pn[:q], inside_Pn[:q], out=nearest_Pn[:q])
    return longest_P


def _merge_all(distance_Pnn: np.ndarray, num_P: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """(Height of each set's last merge [P], whether a tie was met on the way [P]); overwrites the distances."""
    update, inverts = UPDATES[method], method in ("centroid", "median")
    size = distance_Pnn.shape[1]
    height_P, tied_P = np.zeros(len(num_P)), np.zeros(len(num_P), dtype=bool)
    count_Pn = (np.arange(size) < num_P[:, None]).astype(np.float64)  # items of each cluster, 0: merged into another
    for step in range(size, 1, -1):  # clusters that are left; sets of fewer items join later, so that all end together
        q = _num_at_least(num_P, step)
        if step <= size // 2:
            distance_Pnn, count_Pn = _compacted(distance_Pnn, count_Pn, q, step)
            size = step
        flat = distance_Pnn[:q].reshape(q, -1)
        place_Q = flat.argmin(axis=1)
        height_P[:q] = flat.reshape(-1).take(place_Q + np.arange(q) * size**2)
        if step == 2:
            break
        height_Q1 = height_P[:q, None]
        # Where a merge may leave clusters nearer together than it was itself, a tie of two others counts as well.
        if inverts:
            tied_P[:q] |= _num_within(flat, height_Q1) > 2
        tied_P[:q] |= _merge(distance_Pnn[:q], count_Pn[:q], np.divmod(place_Q, size), height_Q1, update)
    return height_P, tied_P


def _merge(
    distance_Qnn: np.ndarray,
    count_Qn: np.ndarray,
    pair: tuple[np.ndarray, np.ndarray],
    height_Q1: np.ndarray,
    update: Update,
) -> np.ndarray:
    """Merge the first cluster of each set's pair into the second; return whether a third was as near to either, [Q]."""
    num_sets, size = count_Qn.shape
    rows, counts, set_Q = distance_Qnn.reshape(-1, size), count_Qn.reshape(-1), np.arange(num_sets)
    one_Q, other_Q = set_Q * size + pair[0], set_Q * size + pair[1]
    one_Qn, other_Qn = rows.take(one_Q, axis=0), rows.take(other_Q, axis=0)
    tied_Q = _num_within(np.minimum(one_Qn, other_Qn), height_Q1) > 2  # the two themselves are always there
    count_one_Q, count_other_Q = counts[one_Q], counts[other_Q]
    # The diagonal is infinite; so are, then, the new row's own two places and those of clusters that are gone.
    new_Qn = update(one_Qn, other_Qn, height_Q1, count_one_Q[:, None], count_other_Q[:, None], count_Qn)
    counts[one_Q], counts[other_Q] = 0, count_one_Q + count_other_Q
    rows[one_Q] = np.inf
    rows[other_Q] = new_Qn
    distance_Qnn[set_Q, :, pair[0]] = np.inf
    distance_Qnn[set_Q, :, pair[1]] = new_Qn
    return tied_Q


def _compacted(distance_Pnn: np.ndarray, count_Pn: np.ndarray, q: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and counts of the `size` clusters that each of the first q sets still has; the others have not begun."""
    keep_Qm = np.nonzero(count_Pn[:q])[1].reshape(q, size)
    small_Pmm, small_Pm = distance_Pnn[:, :size, :size].copy(), count_Pn[:, :size].copy()
    small_Pmm[:q] = distance_Pnn[np.arange(q)[:, None, None], keep_Qm[:, :, None], keep_Qm[:, None, :]]
    small_Pm[:q] = np.take_along_axis(count_Pn[:q], keep_Qm, axis=1)
    return small_Pmm, small_Pm


def _num_within(distance_Qm: np.ndarray, height_Q1: np.ndarray) -> np.ndarray:
    """How many distances of each row are no more than a height, or a tie with it, [Q]."""
    within_Qm = distance_Qm <= height_Q1 + TIE
    return np.einsum("qm->q", within_Qm.view(np.int8), dtype=np.int32)  # three times as fast as sum()


def _num_at_least(num_P: np.ndarray, least: int) -> int:
    """How many of the numbers, which fall, are at least `least`."""
    return int(np.searchsorted(-num_P, -least, side="right"))


def _complete(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    return np.maximum(one_Qn, other_Qn)


def _average(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    share_Q1 = count_one_Q1 / (count_one_Q1 + count_other_Q1)
    return share_Q1 * one_Qn + (1 - share_Q1) * other_Qn


def _weighted(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    return 0.5 * (one_Qn + other_Qn)


def _centroid(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    share_Q1 = count_one_Q1 / (count_one_Q1 + count_other_Q1)
    squared_Qn = share_Q1 * one_Qn**2 + (1 - share_Q1) * other_Qn**2
    return np.sqrt(squared_Qn - share_Q1 * (1 - share_Q1) * height_Q1**2)


def _median(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    return np.sqrt(0.5 * (one_Qn**2 + other_Qn**2) - 0.25 * height_Q1**2)


def _ward(one_Qn, other_Qn, height_Q1, count_one_Q1, count_other_Q1, count_Qn):
    squared_Qn = (count_Qn + count_one_Q1) * one_Qn**2 + (count_Qn + count_other_Q1) * other_Qn**2
    squared_Qn -= count_Qn * height_Q1**2
    return np.sqrt(squared_Qn / (count_Qn + count_one_Q1 + count_other_Q1))


UPDATES: dict[str, Update] = {
    "complete": _complete, "average": _average, "weighted": _weighted, "centroid": _centroid, "median": _median, "ward": _ward,
}  # fmt: skip
