"""Speaker clustering of utterances: agglomerative, spectral, or by dominant sets.

Suffixes: N items, D dimensions, C clusters, T condensed distances: N (N - 1) / 2 of them, in scipy's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.linalg import eigh

from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.settings import LINKAGES

METHODS = ("ahc", "spectral", "dominant_sets")
BLOCK_NUMBERS = 4_000_000  # cosines held at a time, 32 MB
KMEANS_STARTS = 10
SMALLEST_SCALE = 1e-8  # where an item has k twins
OWN_AFFINITY = 1e-3
TIE = 1e-12  # that the squares of equal distances may differ by


def cluster(embeddings: npt.ArrayLike, method: str = "ahc", **settings: Any) -> np.ndarray:
    """Return a label 0..C-1 for each embedding [N, D].

    Args:
        embeddings: one a row.
        method: "ahc" (settings of `agglomerate`: linkage, num_clusters or height), "spectral" (settings of
            `spectral_clustering`) or "dominant_sets" (settings of steps.backend.dominant_sets.dominant_sets).

    Raises:
        ValueError: another method, or what the method refuses.
    """
    x_ND = checked_embeddings(embeddings, "embeddings")
    if method == "ahc":
        return agglomerate(x_ND, **settings)
    if method == "spectral":
        return spectral_clustering(x_ND, **settings)
    if method == "dominant_sets":
        from steps.backend.dominant_sets import dominant_sets

        return numbered(dominant_sets(x_ND, **settings)[0])
    raise ValueError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")


def agglomerate(
    embeddings: npt.ArrayLike, *, linkage: str = "average", num_clusters: int | None = None, height: float | None = None
) -> np.ndarray:
    """Return the labels of agglomerative clustering on cosine distances, stopped at a number of clusters or a height.

    Raises:
        ValueError: as `dendrogram` and `cut`.
    """
    return cut(dendrogram(cosine_distances(embeddings), linkage), num_clusters=num_clusters, height=height)


def cosine_distances(embeddings: npt.ArrayLike) -> np.ndarray:
    """Return 1 - cosine of every two rows of [N, D], condensed as scipy's pdist: [T], from 0 to 2.

    Raises:
        ValueError: embeddings that are not finite or have no length.
    """
    unit_ND = unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings")
    num = len(unit_ND)
    distance_T = np.empty(num * (num - 1) // 2)
    step = max(1, BLOCK_NUMBERS // num)
    place = 0
    for start in range(0, num, step):
        cosine_nN = unit_ND[start : start + step] @ unit_ND.T
        for row, cosine_N in enumerate(cosine_nN, start=start):
            distance_T[place : place + num - row - 1] = 1.0 - cosine_N[row + 1 :]
            place += num - row - 1
    return distance_T.clip(0.0, 2.0, out=distance_T)


def dendrogram(distances: npt.ArrayLike, method: str = "average") -> np.ndarray:
    """Return the merges of agglomerative clustering, [N - 1, 4] as scipy's `linkage`, from condensed distances [T].

    Published programs of this field hand scipy the square matrix, whose rows it then takes for items: refused here.
    "centroid", "median" and "ward" are made for Euclidean distances; on others they run, and heights may fall.

    Raises:
        ValueError: another method, a square matrix, a length that is no N (N - 1) / 2, or distances that are not finite.
    """
    distance_T = np.asarray(distances, dtype=np.float64)
    if method not in LINKAGES:
        raise ValueError(f"linkage: expected one of {', '.join(LINKAGES)}, found {method!r}")
    if distance_T.ndim != 1:
        raise ValueError(f"distances: expected them condensed (scipy's squareform), found an array of shape {distance_T.shape}")
    num = round((1 + np.sqrt(1 + 8 * distance_T.size)) / 2)
    if num * (num - 1) // 2 != distance_T.size or not np.isfinite(distance_T).all():
        raise ValueError(f"distances: expected N (N - 1) / 2 finite ones, found {distance_T.size}")
    return linkage(distance_T, method) if distance_T.size else np.empty((0, 4))


def cut(merges: npt.ArrayLike, *, num_clusters: int | None = None, height: float | None = None) -> np.ndarray:
    """Return a label 0..C-1 for each of the N items of a dendrogram [N - 1, 4], numbered in the order of the items.

    Args:
        merges: of `dendrogram`.
        num_clusters: stop when so many are left: the first N - `num_clusters` merges, also where heights do not rise.
        height: or join what merges at this height or below (scipy's `fcluster`, criterion "distance").

    Raises:
        ValueError: neither or both of the two given, or a number of clusters outside 1..N.
    """
    merges_M4 = np.asarray(merges, dtype=np.float64)
    num = len(merges_M4) + 1
    if (num_clusters is None) == (height is None):
        raise ValueError("cut: expected either num_clusters or height")
    if height is not None:
        return numbered(fcluster(merges_M4, height, "distance")) if num > 1 else np.zeros(1, dtype=np.int64)
    if not 1 <= num_clusters <= num:
        raise ValueError(f"num_clusters: expected 1 to {num}, found {num_clusters}")
    cluster_of = np.arange(2 * num - 1)
    for number, (first, second) in reversed(list(enumerate(merges_M4[: num - num_clusters, :2].astype(int), start=num))):
        # From the last merge down, each cluster passes its name on to the two that it was made of.
        cluster_of[[first, second]] = cluster_of[number]
    return numbered(cluster_of[:num])


def spectral_clustering(
    embeddings: npt.ArrayLike,
    *,
    num_clusters: int | None = None,
    max_clusters: int | None = None,
    num_neighbours: int = 5,
    seed: int = 1,
) -> np.ndarray:
    """Return the labels of normalised spectral clustering on cosine similarities.

    The affinity of an item and its k nearest ones is exp(-d^2 / (sigma_i sigma_j)), d the distance of the unit vectors and
    sigma an item's distance to its k-th nearest; of others 0; the matrix is averaged with its transpose. The rows of the
    eigenvectors of the C smallest eigenvalues of the normalised Laplacian I - D^-1/2 A D^-1/2, scaled to unit length, are
    clustered by k-means.

    Args:
        embeddings: `[N, D]`.
        num_clusters: C; None: by the eigengap, the C from 1 to `max_clusters` after which the eigenvalues rise most.
        max_clusters: None: half of the items.
        num_neighbours: k, of the other items; all of them where there are fewer. More than a speaker has join speakers: with
            8 utterances a speaker 5 to 10 found nearly the right number, 20 only a few. Chosen here, no paper's.
        seed: of k-means.

    Source: Ng, Jordan and Weiss, "On spectral clustering", NeurIPS 2001; Zelnik-Manor and Perona, "Self-tuning spectral
        clustering", NeurIPS 2004 (the scale); von Luxburg, "A tutorial on spectral clustering", 2007 (neighbours, eigengap).

    Raises:
        ValueError: embeddings that are not finite or have no length, or numbers of clusters or neighbours out of range.
    """
    x_ND = unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings")
    num = len(x_ND)
    for name, value in (("num_clusters", num_clusters), ("max_clusters", max_clusters)):
        if value is not None and not 1 <= value <= num:
            raise ValueError(f"{name}: expected 1 to {num}, the number of embeddings, found {value}")
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours: expected at least 1, found {num_neighbours}")
    if num == 1 or num_clusters == num:
        return np.arange(num)
    affinity_NN = _neighbour_affinity(x_ND, min(num_neighbours, num - 1))
    scale_N = 1.0 / np.sqrt(affinity_NN.sum(axis=1))
    laplacian_NN = np.eye(num) - affinity_NN * scale_N[:, None] * scale_N
    most = num_clusters or min(max_clusters or max(1, num // 2), num - 1)
    values, vectors_NC = eigh(laplacian_NN, subset_by_index=(0, min(most, num - 1)))
    if num_clusters is None:
        num_clusters = 1 + int(np.argmax(np.diff(values)))
    rows_NC = vectors_NC[:, :num_clusters]
    length_N1 = np.linalg.norm(rows_NC, axis=1, keepdims=True)
    return _kmeans(rows_NC / np.where(length_N1 > 0, length_N1, 1.0), num_clusters, seed)


def numbered(labels: npt.ArrayLike) -> np.ndarray:
    """Return labels 0, 1, ... in the order in which clusters first appear, for any labels [N]."""
    _, first, code_N = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    rank_C = np.empty(first.size, dtype=np.int64)
    rank_C[np.argsort(first)] = np.arange(first.size)
    return rank_C[code_N]


def _neighbour_affinity(unit_ND: np.ndarray, num_neighbours: int) -> np.ndarray:
    """The affinity of near ones; of those that are as near as the k-th all count, lest the order of the items choose."""
    distance_NN = np.sqrt((2.0 - 2.0 * (unit_ND @ unit_ND.T)).clip(0.0))
    np.fill_diagonal(distance_NN, -1.0)  # itself first, also among twins
    kth_N1 = np.partition(distance_NN, num_neighbours, axis=1)[:, num_neighbours, None].copy()
    sigma_N = np.maximum(kth_N1[:, 0], SMALLEST_SCALE)
    row, column = np.nonzero(distance_NN <= np.sqrt(kth_N1.clip(0.0) ** 2 + TIE))
    affinity_NN = np.zeros_like(distance_NN)
    affinity_NN[row, column] = np.exp(-(distance_NN[row, column].clip(0.0) ** 2) / (sigma_N[row] * sigma_N[column]))
    # An item is no neighbour of its own, but one that is nobody's near one must not divide by zero.
    np.fill_diagonal(affinity_NN, OWN_AFFINITY)
    return 0.5 * (affinity_NN + affinity_NN.T)


def _kmeans(points_NC: np.ndarray, num_clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    return numbered(KMeans(num_clusters, n_init=KMEANS_STARTS, random_state=seed).fit_predict(points_NC))
