"""Heights of last merges against scipy's linkage, one set at a time; ties, inversions, sets of different size."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from steps.backend import agglomeration
from steps.backend.agglomeration import METHODS, last_heights


def distances(rng: np.random.Generator, num_sets: int, size: int, *, levels: int = 0) -> np.ndarray:
    """Symmetric, between 0.1 and 2; with `levels` only so many different numbers, so that many are equal."""
    drawn = rng.uniform(0.1, 2, size=(num_sets, size, size))
    if levels:
        drawn = np.ceil(drawn / 2 * levels) / levels
    drawn = np.minimum(drawn, drawn.transpose(0, 2, 1))
    drawn[:, np.arange(size), np.arange(size)] = 0
    return drawn


def by_scipy(distance_Pnn: np.ndarray, num_P: np.ndarray, method: str) -> np.ndarray:
    condensed = [squareform(distance_Pnn[p, :num, :num]) for p, num in enumerate(num_P)]
    return np.array([linkage(each, method)[-1, 2] if each.size else 0.0 for each in condensed])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("levels", [0, 2, 6])
def test_random_sets_of_all_sizes_equal_scipy(method, levels):
    rng = np.random.default_rng(levels)
    for largest in (2, 3, 4, 7, 12, 19):
        distance_Pnn = distances(rng, 80, largest, levels=levels)
        num_P = np.sort(rng.integers(1, largest + 1, size=80))[::-1]
        num_P[0] = largest
        before = distance_Pnn.copy()
        found = last_heights(distance_Pnn, num_P, method)
        np.testing.assert_allclose(found, by_scipy(distance_Pnn, num_P, method), rtol=0, atol=1e-13)
        np.testing.assert_array_equal(distance_Pnn, before)


@pytest.mark.parametrize("method", METHODS)
def test_sets_without_ties_are_not_left_to_scipy(method, monkeypatch):
    distance_Pnn = distances(np.random.default_rng(1), 50, 16)
    num_P = np.full(50, 16)
    expected = by_scipy(distance_Pnn, num_P, method)
    monkeypatch.setattr(agglomeration, "linkage", None)
    np.testing.assert_allclose(last_heights(distance_Pnn, num_P, method), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "single"])
def test_ties_are_clustered_by_scipy_on_the_distances_handed_in(method):
    # 0-1 and 0-2 are equally near: the tree depends on which comes first.
    distance_nn = np.array([[0, 1, 1, 5], [1, 0, 2, 6], [1, 2, 0, 7], [5, 6, 7, 0.0]])
    other = squareform(np.array([[0, 1, 1, 8], [1, 0, 2, 8], [1, 2, 0, 8], [8, 8, 8, 0.0]]))
    asked = []

    def condensed(place: int) -> np.ndarray:
        asked.append(place)
        return other

    far = distance_nn + 0.3 * (distance_nn == 1) * (np.arange(4) == 2)  # no tie: 0-2 is 1.3 away
    far = np.maximum(far, far.T)
    found = last_heights(np.stack([far, distance_nn]), np.array([4, 4]), method, condensed)
    assert asked == [1]
    np.testing.assert_allclose(found, [linkage(squareform(far), method)[-1, 2], linkage(other, method)[-1, 2]], atol=1e-13)


@pytest.mark.parametrize("method", ["centroid", "median"])
def test_the_last_merge_counts_also_where_an_earlier_one_was_higher(method):
    rng = np.random.default_rng(0)
    distance_Pnn = distances(rng, 300, 5)
    trees = [linkage(squareform(each), method) for each in distance_Pnn]
    last, highest = np.array([tree[-1, 2] for tree in trees]), np.array([tree[:, 2].max() for tree in trees])
    assert (last < highest - 1e-3).sum() > 5
    np.testing.assert_allclose(last_heights(distance_Pnn, np.full(300, 5), method), last, atol=1e-13)


@pytest.mark.parametrize("method", ["centroid", "median"])
def test_a_tie_of_two_other_clusters_is_found(method):
    # 0-1 and 2-3 are equally near, and either merge may come below the other's height.
    rng = np.random.default_rng(3)
    for _ in range(60):
        distance_nn = distances(rng, 1, 6)[0] + 0.6
        distance_nn[[0, 1, 2, 3], [1, 0, 3, 2]] = 0.6
        np.fill_diagonal(distance_nn, 0)
        expected = linkage(squareform(distance_nn), method)[-1, 2]
        np.testing.assert_array_equal(last_heights(distance_nn[None], np.array([6]), method), [expected])


@pytest.mark.parametrize("method", METHODS)
def test_large_sets_are_those_of_scipy_bit_by_bit(method):
    sizes = np.array([agglomeration.MAX_SINGLE + 1, agglomeration.MAX_BATCHED + 1, agglomeration.MAX_BATCHED, 3])
    distance_Pnn = distances(np.random.default_rng(4), 4, int(sizes[0]))
    found, expected = last_heights(distance_Pnn, sizes, method), by_scipy(distance_Pnn, sizes, method)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert found[0] == expected[0]


def test_sets_of_one_item_have_no_merge():
    np.testing.assert_array_equal(last_heights(np.zeros((2, 1, 1)), np.array([1, 1]), "average"), [0, 0])
    assert last_heights(np.zeros((0, 1, 1)), np.array([], dtype=int), "ward").shape == (0,)
