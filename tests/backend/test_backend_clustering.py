"""Clusterings of groups that lie apart are right; distances and cuts are those of scipy."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics import adjusted_rand_score

from steps.backend import clustering
from steps.backend.clustering import (
    agglomerate,
    cluster,
    cosine_distances,
    cut,
    dendrogram,
    numbered,
    spectral_clustering,
)
from steps.backend.dominant_sets import dominant_sets


def groups(seed=0, sizes=(7, 6, 9, 8), spread=0.25, dim=10):
    """Embeddings of a few speakers, in random order."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    means = np.eye(len(sizes), dim) * 3
    lengths = rng.uniform(0.5, 5, size=(truth.size, 1))  # which a cosine does not see
    return lengths * (means[truth] + rng.normal(0, spread * np.sqrt(9 / dim), size=(truth.size, dim))), truth


@pytest.mark.parametrize("block", [10**6, 50])
def test_distances_are_those_of_scipy(monkeypatch, block):
    monkeypatch.setattr(clustering, "BLOCK_NUMBERS", block)
    x_ND, _ = groups()
    np.testing.assert_allclose(cosine_distances(x_ND), pdist(x_ND, "cosine"), atol=1e-14)
    assert cosine_distances(np.ones((3, 2))) == pytest.approx(0, abs=1e-15)
    assert cosine_distances([[1.0, 0.1], [-1.0, -0.1]]).tolist() == [2]  # never above, for rounding
    assert cosine_distances(np.ones((1, 2))).size == 0


@pytest.mark.parametrize("method", ["average", "complete", "centroid", "single"])
def test_cuts_are_those_of_scipy(method):
    x_ND = np.random.default_rng(1).normal(size=(40, 4))
    merges = dendrogram(cosine_distances(x_ND), method)
    np.testing.assert_array_equal(merges, linkage(cosine_distances(x_ND), method))
    for num_clusters in (1, 2, 13, 40):
        found = cut(merges, num_clusters=num_clusters)
        assert sorted(set(found.tolist())) == list(range(num_clusters))
        if method != "centroid":  # where heights fall scipy's cut_tree goes by other rules
            assert adjusted_rand_score(cut_tree(merges, n_clusters=num_clusters)[:, 0], found) == 1
    height = np.median(merges[:, 2])
    assert adjusted_rand_score(fcluster(merges, height, "distance"), cut(merges, height=height)) == 1


def test_labels_are_numbered_in_the_order_of_the_items():
    assert numbered([5, 5, 2, 9, 2]).tolist() == [0, 0, 1, 2, 1]
    assert numbered(["b", "a", "b"]).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ahc", {"num_clusters": 4}),
        ("ahc", {"num_clusters": 4, "linkage": "complete"}),
        ("ahc", {"height": 0.5}),
        ("spectral", {}),
        ("spectral", {"num_clusters": 4, "num_neighbours": 30}),
        ("spectral", {"max_clusters": 6}),
    ],
)
def test_groups_that_lie_apart_are_found(method, settings):
    for seed in range(3):
        x_ND, truth = groups(seed)
        assert adjusted_rand_score(truth, cluster(x_ND, method, **settings)) == 1


def test_dominant_sets_are_those_of_their_module():
    x_ND, _ = groups()
    settings = {"threshold": 0.3, "rest": "single"}
    found = cluster(x_ND, "dominant_sets", **settings)
    assert adjusted_rand_score(dominant_sets(x_ND, **settings)[0], found) == 1
    assert found[0] == 0
    assert sorted(set(found.tolist())) == list(range(found.max() + 1))


def test_spectral_clustering_does_not_depend_on_the_order_of_items():
    x_ND, _ = groups(2, sizes=(9, 9, 9, 9, 9), spread=0.6)
    order = np.random.default_rng(1).permutation(len(x_ND))
    assert adjusted_rand_score(spectral_clustering(x_ND)[order], spectral_clustering(x_ND[order])) == 1


def test_spectral_affinity_is_that_of_loops():
    x_ND, _ = groups(3, sizes=(5, 6))
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    distance = squareform(pdist(unit_ND))
    found = clustering._neighbour_affinity(unit_ND, 3)
    expected = np.zeros((11, 11))
    scale = [sorted(row)[3] for row in distance]
    for i in range(11):
        for j in np.argsort(distance[i])[1:4]:
            expected[i, j] = np.exp(-(distance[i, j] ** 2) / (scale[i] * scale[j]))
    expected = (expected + expected.T) / 2
    np.fill_diagonal(expected, clustering.OWN_AFFINITY)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_of_neighbours_that_are_equally_near_all_count_whatever_their_order():
    """Two twins and sixteen that are as near to them as each other: the k-th place must not be the first item's."""
    unit_ND = np.concatenate([np.eye(18)[:1], np.eye(18)[:1], np.eye(18)[2:]])
    order = np.random.default_rng(2).permutation(18)
    found = clustering._neighbour_affinity(unit_ND, 3)
    np.testing.assert_allclose(clustering._neighbour_affinity(unit_ND[order], 3), found[np.ix_(order, order)], atol=1e-12)
    assert len(np.unique(found[2:, 2:][~np.eye(16, dtype=bool)].round(9))) == 1


def test_spectral_clustering_of_twins_and_of_one():
    twins = np.repeat(np.eye(3), 8, axis=0)
    assert adjusted_rand_score(np.repeat(np.arange(3), 8), spectral_clustering(twins)) == 1
    assert spectral_clustering(np.ones((1, 2))).tolist() == [0]
    assert spectral_clustering(np.eye(3), num_clusters=3).tolist() == [0, 1, 2]
    assert set(spectral_clustering(np.eye(2))) <= {0, 1}


@pytest.mark.parametrize("method", ["ahc", "spectral", "dominant_sets"])
def test_an_embedding_that_is_too_long_for_a_length_does_not_become_zeros(method):
    x_ND, _ = groups(2, sizes=(4, 4))
    x_ND[5] *= 1e200
    with pytest.raises(ValueError, match="embeddings: expected embeddings with a finite length, .* in row 5"):
        clustering.cluster(x_ND, method, **({} if method == "dominant_sets" else {"num_clusters": 2}))


def test_one_item_is_one_cluster():
    assert agglomerate(np.ones((1, 2)), num_clusters=1).tolist() == [0]
    assert agglomerate(np.ones((1, 2)), height=0.1).tolist() == [0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dendrogram(np.zeros((3, 3))), "expected them condensed .*found an array of shape"),
        (lambda: dendrogram(np.zeros(4)), r"expected N \(N - 1\) / 2 finite ones, found 4"),
        (lambda: dendrogram([np.nan]), "finite"),
        (lambda: dendrogram([1.0], "upgma"), "linkage: expected one of single, .*found 'upgma'"),
        (lambda: cut(dendrogram([1.0])), "either num_clusters or height"),
        (lambda: cut(dendrogram([1.0]), num_clusters=3), "expected 1 to 2, found 3"),
        (lambda: cosine_distances(np.zeros((2, 3))), "length above 0"),
        (lambda: cluster(np.eye(3), "kmeans"), "ahc, spectral, dominant_sets, found 'kmeans'"),
        (lambda: spectral_clustering(np.eye(3), num_clusters=4), "expected 1 to 3"),
        (lambda: spectral_clustering(np.eye(3), num_neighbours=0), "num_neighbours: expected at least 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
