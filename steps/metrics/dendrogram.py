"""Figures of every clustering that a dendrogram can be cut into, from all single items to one cluster.

The clusters of a cut are those of the cut before with two of them joined, so that each figure is brought up to date
instead of being computed anew: N cuts of N items take O(N log N) steps.
Suffixes: N items and cuts, S speakers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.metrics.clustering import adjusted_for_chance, num_pairs


@dataclass(frozen=True, eq=False)
class Cuts:
    """Figures of each cut, from N clusters down to 1; see clustering.py for their meaning.

    Attributes:
        height_N: of the last merge that the cut has; -inf before the first.
        is_threshold_N: whether a threshold gives this cut: not between merges of equal height.
        num_clusters_N: clusters.
        mr_N: misclassification rate of 2018.
        mr_legacy_N: the legacy one.
        ari_N: adjusted Rand index.
        purity_N: share of items of a most frequent speaker of their cluster.
        acp_N: average cluster purity.
        asp_N: average speaker purity.
    """

    height_N: np.ndarray
    is_threshold_N: np.ndarray
    num_clusters_N: np.ndarray
    mr_N: np.ndarray
    mr_legacy_N: np.ndarray
    ari_N: np.ndarray
    purity_N: np.ndarray
    acp_N: np.ndarray
    asp_N: np.ndarray

    def best(self, figure: str = "mr") -> int:
        """Return the index of the best cut by a figure; of equal ones that with fewest clusters. An oracle: it knows the truth.

        Raises:
            ValueError: an unknown figure.
        """
        if figure not in ("mr", "mr_legacy", "ari"):
            raise ValueError(f"figure: expected mr, mr_legacy or ari, found {figure!r}")
        values_N = getattr(self, f"{figure}_N") * (-1.0 if figure == "ari" else 1.0)
        values_N = np.where(self.is_threshold_N, values_N, np.inf)
        return int(values_N.size - 1 - np.argmin(values_N[::-1]))

    def between(self, index: int) -> float:
        """Return a threshold that gives a cut (merges of at most this height): half way to the next, of the last its height."""
        last = self.height_N.size - 1
        if last == 0:
            return 0.0
        if index == last:
            return float(self.height_N[last])
        low, high = self.height_N[index], self.height_N[index + 1]
        if np.isneginf(low):
            return float(high / 2 if high > 0 else high - 1)
        middle = (low + high) / 2
        return float(middle if middle < high else low)  # heights may be neighbours in binary


def cut_figures(merges: npt.ArrayLike, truth: npt.ArrayLike) -> Cuts:
    """Return the figures of all N cuts of a dendrogram of N items.

    Args:
        merges: `[N - 1, 4]`, as scipy's `linkage` returns it: two clusters, height, number of items. Cuts are in the order
            of its rows, also where heights do not rise (centroid, median).
        truth: `[N]` speaker of each item.

    Raises:
        ValueError: merges that are no dendrogram of as many items as there are speakers' names.
    """
    merges_M4 = _checked_merges(merges, np.size(truth))
    _, code_N = np.unique(np.asarray(truth), return_inverse=True)
    state = _State(code_N)
    rows = [state.figures()]
    for first, second, *_ in merges_M4:
        state.merge(int(first), int(second))
        rows.append(state.figures())
    both, of_clusters, right, right_legacy, most, acp, asp = np.array(rows, dtype=np.float64).T
    num = code_N.size
    heights = np.concatenate([[-np.inf], merges_M4[:, 2]])
    return Cuts(
        height_N=heights,
        is_threshold_N=np.append(heights[1:] != heights[:-1], True),
        num_clusters_N=np.arange(num, 0, -1),
        mr_N=1.0 - right / num,
        mr_legacy_N=1.0 - right_legacy / num,
        ari_N=adjusted_for_chance(both, of_clusters, num_pairs(np.bincount(code_N)).sum(), num_pairs(num)),
        purity_N=most / num,
        acp_N=acp / num,
        asp_N=asp / num,
    )


class _State:
    """Clusters and their sums while they are being merged; items of the smaller cluster move, as in any union by size."""

    def __init__(self, code_N: np.ndarray) -> None:
        codes = code_N.tolist()
        self.size_S = np.bincount(code_N).tolist()
        self.counts = {item: {speaker: 1} for item, speaker in enumerate(codes)}  # cluster -> speaker -> items
        # cluster -> (items, items of its most frequent speaker, speakers that have so many, one of them, sum of squares)
        self.top = {item: (1, 1, 1, speaker, 1) for item, speaker in enumerate(codes)}
        # speaker -> cluster in which he outnumbers all others -> his items; and of these, such as count in the legacy MR
        self.owned: list[dict[int, int]] = [{} for _ in self.size_S]
        self.owned_legacy: list[dict[int, int]] = [{} for _ in self.size_S]
        for item, speaker in enumerate(codes):
            self.owned[speaker][item] = 1
        self.both, self.of_clusters = 0, 0  # pairs of items
        self.right, self.right_legacy = len(self.size_S), 0  # items
        self.most, self.acp, self.asp = len(codes), float(len(codes)), float(len(self.size_S))
        self.next = len(codes)  # number of the next cluster

    def figures(self) -> tuple[float, ...]:
        """Return the sums that figures are made of."""
        return self.both, self.of_clusters, self.right, self.right_legacy, self.most, self.acp, self.asp

    def merge(self, first: int, second: int) -> None:
        """Join two clusters into the next one."""
        if len(self.counts[first]) < len(self.counts[second]):
            first, second = second, first
        (size, most, ties, owner, squares), (size_added, *_, squares_added) = self._give_up(first), self._give_up(second)
        counts = self.counts.pop(first)
        both = 0
        for speaker, count in self.counts.pop(second).items():
            before = counts.get(speaker, 0)
            counts[speaker] = now = before + count
            both += before * count
            self.asp += 2 * before * count / self.size_S[speaker]
            if now > most:
                most, ties, owner = now, 1, speaker
            elif now == most:
                ties += 1
        self.both += both
        self.of_clusters += size * size_added
        self.counts[self.next] = counts
        self._take_in(self.next, (size + size_added, most, ties, owner, squares + squares_added + 2 * both))
        self.next += 1

    def _give_up(self, cluster: int) -> tuple[int, int, int, int, int]:
        size, most, ties, owner, squares = self.top[cluster]
        self.most -= most
        self.acp -= squares / size
        if ties == 1:
            self.right += _changed(self.owned[owner], cluster, 0)
            self.right_legacy += _changed(self.owned_legacy[owner], cluster, 0)
        return self.top.pop(cluster)

    def _take_in(self, cluster: int, top: tuple[int, int, int, int, int]) -> None:
        self.top[cluster] = size, most, ties, owner, squares = top
        self.most += most
        self.acp += squares / size
        if ties == 1:
            self.right += _changed(self.owned[owner], cluster, most)
            if size == most:  # of two items at least, for it is a merge
                self.right_legacy += _changed(self.owned_legacy[owner], cluster, most)


def _changed(mine: dict[int, int], cluster: int, items: int) -> int:
    """Give a speaker a cluster with so many of his items (0: take it away); return the change of the most that he has in one."""
    before = max(mine.values(), default=0)
    if items:
        mine[cluster] = items
    else:
        mine.pop(cluster, None)
    return max(mine.values(), default=0) - before


def _checked_merges(merges: npt.ArrayLike, num_items: int) -> np.ndarray:
    merges_M4 = np.asarray(merges, dtype=np.float64)
    if num_items == 1 and merges_M4.size == 0:
        return merges_M4.reshape(0, 4)
    if merges_M4.shape != (num_items - 1, 4):
        raise ValueError(
            f"merges: expected [{num_items - 1}, 4] for {num_items} items, as scipy's linkage returns, found {merges_M4.shape}"
        )
    parts_M2 = merges_M4[:, :2]
    once = np.array_equal(np.sort(parts_M2, axis=None), np.arange(2 * num_items - 2))
    if not np.isfinite(merges_M4).all() or not once or (parts_M2 >= num_items + np.arange(num_items - 1)[:, None]).any():
        raise ValueError("merges: expected a dendrogram as scipy's linkage returns it, found clusters that are not there")
    return merges_M4
