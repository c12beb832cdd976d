"""Figures of a clustering of utterances by speaker: misclassification rate, adjusted Rand index, purities.

Misclassification rate (MR): share of items that are not in the cluster that is right for their speaker. A speaker has at
most one right cluster and a cluster is right for at most one speaker. Three definitions:
- "2018" (Stadelmann et al.): a cluster can be right only for the speaker who outnumbers every other in it; of those a
  speaker's right cluster is the one with most of his items. If his fullest cluster is another speaker's, the next one
  counts. The paper leaves open who owns a cluster in which two speakers are equally many, and the published program gives
  it to the one it meets first: here it is nobody's, so that no order matters.
- "legacy" (Lukic et al.): besides, a cluster of one item, or with items of more than one speaker, is never right. With two
  items a speaker, as published, this is what the older program computes; with more, that program takes every cluster of
  three or more for wrong, which cannot have been meant.
- "optimal": right clusters are assigned so that as few items as possible are wrong (Hungarian algorithm); as in Hibraj et
  al. Never above "2018".

Source: Stadelmann et al., "Capturing suprasegmental features of a voice with RNNs for improved speaker clustering", ANNPR 2018;
    Lukic, Vogt, Duerr and Stadelmann, "Learning embeddings for speaker clustering based on voice equality", MLSP 2017; Hibraj,
    Vascon, Stadelmann and Pelillo, "Speaker clustering using dominant sets", ICPR 2018; Kotti, Moschou and Kotropoulos, "Speaker
    segmentation and clustering", Signal Processing 2008 (MR, ACP, ASP).
Suffixes: N items, S speakers, C clusters, R replicates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array

DEFINITIONS = ("2018", "legacy", "optimal")


def clustering_figures(labels: npt.ArrayLike, truth: npt.ArrayLike) -> dict[str, Any]:
    """Return mr, mr_legacy, mr_optimal, ari, purity, acp, asp, num_clusters, num_speakers and num_items of a clustering.

    Raises:
        ValueError: as `contingency`.
    """
    table = contingency(labels, truth)
    return {
        "mr": misclassification_rate(labels, truth),
        "mr_legacy": misclassification_rate(labels, truth, "legacy"),
        "mr_optimal": misclassification_rate(labels, truth, "optimal"),
        "ari": adjusted_rand_index(labels, truth),
        "purity": purity(labels, truth),
        "acp": average_purity(labels, truth),
        "asp": average_purity(truth, labels),
        "num_clusters": table.shape[0],
        "num_speakers": table.shape[1],
        "num_items": int(table.sum()),
    }


def contingency(labels: npt.ArrayLike, truth: npt.ArrayLike) -> coo_array:
    """Return how many items of each speaker are in each cluster, as a sparse array [C, S].

    Raises:
        ValueError: no items, or not one label and one speaker an item.
    """
    label_N, speaker_N = np.asarray(labels), np.asarray(truth)
    if label_N.ndim != 1 or not label_N.size or label_N.shape != speaker_N.shape:
        raise ValueError(
            f"labels: expected one for each item, as speakers, at least one; found shapes {label_N.shape} and {speaker_N.shape}"
        )
    cluster_C, code_N = np.unique(label_N, return_inverse=True)
    speaker_S, truth_N = np.unique(speaker_N, return_inverse=True)
    table = coo_array((np.ones(label_N.size, dtype=np.int64), (code_N, truth_N)), shape=(cluster_C.size, speaker_S.size))
    table.sum_duplicates()
    return table


def misclassification_rate(labels: npt.ArrayLike, truth: npt.ArrayLike, definition: str = "2018") -> float:
    """Return the share of items outside their speaker's right cluster; see the head of this module.

    Raises:
        ValueError: as `contingency`, or another definition.
    """
    return float(1.0 - np.mean(rightly_clustered(labels, truth, definition)))


def rightly_clustered(labels: npt.ArrayLike, truth: npt.ArrayLike, definition: str = "2018") -> np.ndarray:
    """Return whether each item is in the cluster that is right for its speaker, as booleans [N].

    Where a speaker has equally many items in several clusters that could be his, the first label counts.

    Raises:
        ValueError: as `contingency`, or another definition.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition: expected one of {', '.join(DEFINITIONS)}, found {definition!r}")
    table = contingency(labels, truth)
    if definition == "optimal":
        cluster_K, speaker_K = linear_sum_assignment(table.toarray(), maximize=True)
        right_S = np.full(table.shape[1], -1)
        right_S[speaker_K] = cluster_K
    else:
        right_S = _right_clusters(table, legacy=definition == "legacy")
    _, code_N = np.unique(np.asarray(labels), return_inverse=True)
    _, truth_N = np.unique(np.asarray(truth), return_inverse=True)
    return right_S[truth_N] == code_N


def adjusted_rand_index(labels: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the adjusted Rand index: 1 for the right clustering (by whatever names), about 0 for a random one.

    Where both put all items into one cluster, or each into its own, it is 1.

    Source: Hubert and Arabie, "Comparing partitions", Journal of Classification, 1985.

    Raises:
        ValueError: as `contingency`.
    """
    table = contingency(labels, truth)
    both = num_pairs(table.data).sum()
    of_clusters, of_speakers = num_pairs(table.sum(axis=1)).sum(), num_pairs(table.sum(axis=0)).sum()
    return float(adjusted_for_chance(both, of_clusters, of_speakers, num_pairs(table.sum())))


def purity(labels: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the share of items that belong to a speaker who is the most frequent one of their cluster.

    1 where every item is a cluster of its own: to be read beside the number of clusters.

    Raises:
        ValueError: as `contingency`.
    """
    table = contingency(labels, truth)
    return float(table.max(axis=1).sum() / table.sum())


def average_purity(labels: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Return the average cluster purity (ACP); with the arguments exchanged, the average speaker purity (ASP).

    The chance that an item, and another (or the same) drawn from its cluster, are of one speaker: the mean over items of
    sum_s (n_cs / n_c)^2.

    Source: Ajmera, Bourlard, Lapidot and McCowan, "Unknown-multiple speaker clustering using HMM", ICSLP 2002.

    Raises:
        ValueError: as `contingency`.
    """
    table = contingency(labels, truth)
    size_C = table.sum(axis=1)
    return float(np.sum(table.data**2 / size_C[table.coords[0]]) / table.sum())


def bootstrap_ari(
    labels: npt.ArrayLike, truth: npt.ArrayLike, *, rng: np.random.Generator, num_replicates: int = 1000
) -> np.ndarray:
    """Return the adjusted Rand index of bootstrap replicates over speakers, [R], the clusters as they are.

    A pair of items weighs the product of how often its two speakers were drawn, a pair of one speaker how often he was.
    Replicates that drew too few to be told from chance (one speaker only) are drawn again.

    Raises:
        ValueError: as `contingency`, fewer than two speakers, or `num_replicates` under 1.
    """
    table = contingency(labels, truth)
    num_speakers = table.shape[1]
    if num_speakers < 2 or num_replicates < 1:
        raise ValueError(f"ARI: expected at least 2 speakers and 1 replicate, found {num_speakers} and {num_replicates}")
    counts_RS = np.empty((num_replicates, num_speakers))
    for row_S in counts_RS:
        row_S[:] = 0
        while np.count_nonzero(row_S) < 2:
            row_S[:] = np.bincount(rng.integers(num_speakers, size=num_speakers), minlength=num_speakers)
    size_S = table.sum(axis=0)
    own_S = np.bincount(table.coords[1], num_pairs(table.data), num_speakers)
    square_S = np.bincount(table.coords[1], table.data**2, num_speakers)

    def allnum_pairs(sum_R: np.ndarray, squares_R: np.ndarray, within_R: np.ndarray) -> np.ndarray:
        return 0.5 * (sum_R - squares_R) + within_R  # pairs of two speakers, and of one

    both_R, of_speakers_R = counts_RS @ own_S, counts_RS @ num_pairs(size_S)
    weighted_RC = counts_RS @ table.tocsr().T
    of_clusters_R = allnum_pairs((weighted_RC**2).sum(axis=1), counts_RS**2 @ square_S, both_R)
    total_R = allnum_pairs((counts_RS @ size_S) ** 2, counts_RS**2 @ size_S**2, of_speakers_R)
    return adjusted_for_chance(both_R, of_clusters_R, of_speakers_R, total_R)


def num_pairs(counts: npt.ArrayLike) -> np.ndarray:
    """Return n (n - 1) / 2 of each count."""
    counts = np.asarray(counts, dtype=np.float64)
    return counts * (counts - 1) / 2


def adjusted_for_chance(both: Any, of_clusters: Any, of_speakers: Any, total: Any) -> np.ndarray:
    """Return the adjusted Rand index of numbers of pairs: in one cluster of one speaker, in one cluster, of one speaker, all.

    1 where chance alone reaches the most that is possible.
    """
    expected = np.asarray(of_clusters * of_speakers / np.maximum(total, 1))
    room = 0.5 * (of_clusters + of_speakers) - expected
    return np.where(room == 0, 1.0, (both - expected) / np.where(room == 0, 1.0, room))


def _right_clusters(table: coo_array, *, legacy: bool) -> np.ndarray:
    """Return the cluster that is right for each speaker, [S]; -1 for none."""
    cluster_E, speaker_E = table.coords
    size_C, fullest_C = table.sum(axis=1), np.asarray(table.max(axis=1).todense())
    at_most_E = table.data == fullest_C[cluster_E]
    outnumbers_E = at_most_E & (np.bincount(cluster_E, at_most_E, size_C.size)[cluster_E] == 1)
    if legacy:
        outnumbers_E &= (fullest_C == size_C)[cluster_E] & (size_C > 1)[cluster_E]
    entries = np.flatnonzero(outnumbers_E)
    # Fewest items first, so that each speaker's last entry is that of most, of equal ones the first label.
    entries = entries[np.lexsort((-cluster_E[entries], table.data[entries]))]
    right_S = np.full(table.shape[1], -1)
    right_S[speaker_E[entries]] = cluster_E[entries]
    return right_S
