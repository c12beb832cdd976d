"""Linkage scores against a loop over scipy's pdist and linkage."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import pdist

from steps.backend import stacks
from steps.backend.linkage import METHODS, LinkageScoring, dendrogram_pair, linkage_heights
from steps.backend.score_norm import cohort_statistics_in_batches
from steps.backend.windows import Windows


def items(seed: int, num_items: int, most: int) -> list[np.ndarray]:
    """Windows around a direction for each of six speakers."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(6, 12))
    return [centre[index % 6] + rng.normal(size=(rng.integers(1, most + 1), 12)) for index in range(num_items)]


def by_scipy(windows: list[np.ndarray], enrol_P: np.ndarray, test_P: np.ndarray, method: str) -> np.ndarray:
    pairs = [np.concatenate([windows[e], windows[t]]) for e, t in zip(enrol_P, test_P, strict=True)]
    return np.array([linkage(pdist(pair, "cosine"), method)[-1, 2] for pair in pairs])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("numbers", [50, 131_072])
def test_scores_are_minus_scipys_last_height(method, numbers, monkeypatch):
    monkeypatch.setattr(stacks, "CHUNK_NUMBERS", numbers)
    windows = items(0, 40, 9)
    enrol_P, test_P = np.random.default_rng(1).integers(40, size=(2, 300))
    found = LinkageScoring(method).score_trials(Windows.of(windows), enrol_P, test_P)
    np.testing.assert_allclose(found, -by_scipy(windows, enrol_P, test_P, method), rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_repeated_windows_are_ties_and_equal_scipy_too(method):
    rng = np.random.default_rng(2)
    windows = [each[rng.integers(len(each), size=len(each) + 2)] for each in items(3, 20, 5)]
    enrol_P, test_P = rng.integers(20, size=(2, 150))
    found = LinkageScoring(method).heights(Windows.of(windows), enrol_P, test_P)
    np.testing.assert_allclose(found, by_scipy(windows, enrol_P, test_P, method), rtol=0, atol=1e-12)


def test_all_methods_at_once_are_each_by_itself():
    windows = Windows.of(items(4, 20, 6))
    enrol_P, test_P = np.random.default_rng(5).integers(20, size=(2, 60))
    together = linkage_heights(windows, enrol_P, test_P)
    assert together.shape == (60, 7)
    for column, method in enumerate(METHODS):
        np.testing.assert_array_equal(together[:, column], LinkageScoring(method).heights(windows, enrol_P, test_P))


@pytest.mark.parametrize("method", METHODS)
def test_one_window_a_side_is_the_cosine_less_one(method):
    x = np.random.default_rng(6).normal(size=(10, 4)).astype(np.float32)
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    enrol_P, test_P = np.arange(9), np.arange(1, 10)
    found = LinkageScoring(method).score_trials(Windows(x, np.arange(11)), enrol_P, test_P)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, (unit[:-1] * unit[1:]).sum(axis=1) - 1, atol=1e-14)


def test_an_utterance_is_as_near_to_itself_as_can_be():
    same = np.array([[3.0, 4.0]] * 3)
    found = LinkageScoring().score_trials(Windows.of([same, -same]), [0, 0], [0, 1])
    np.testing.assert_array_equal(found, [0, -2])
    assert not np.signbit(found[0])


def test_sides_may_change_places_and_lengths_do_not_matter():
    windows = items(7, 20, 5)
    enrol_P, test_P = np.random.default_rng(8).integers(20, size=(2, 80))
    scored = LinkageScoring("ward").score_trials(Windows.of(windows), enrol_P, test_P)
    scaled = Windows.of([each * np.random.default_rng(9).uniform(0.1, 9, size=(len(each), 1)) for each in windows])
    np.testing.assert_allclose(LinkageScoring("ward").score_trials(scaled, test_P, enrol_P), scored, atol=1e-13)


def test_the_matrix_holds_all_trials_and_serves_score_normalisation():
    windows, scoring = Windows.of(items(10, 25, 4)), LinkageScoring("centroid")
    matrix = scoring.score_matrix(windows[:10], windows[10:])
    enrol_P, test_P = np.repeat(np.arange(10), 15), np.tile(np.arange(10, 25), 10)
    np.testing.assert_allclose(matrix.ravel(), scoring.score_trials(windows, enrol_P, test_P), atol=1e-14)
    found = cohort_statistics_in_batches(scoring.score_matrix, windows[:10], windows[10:], top_n="all", batch_size=4)
    np.testing.assert_allclose(found.mean, matrix.mean(axis=1), atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_the_tree_of_a_trial_ends_at_its_height(method):
    one, other = items(11, 2, 6)
    tree = dendrogram_pair(one, other, method)
    assert tree.shape == (len(one) + len(other) - 1, 4)
    height = LinkageScoring(method).heights(Windows.of([one, other]), [0], [1])[0]
    assert tree[-1, 2] == pytest.approx(height, abs=1e-13)
    assert sorted(dendrogram(tree, no_plot=True)["leaves"]) == list(range(len(one) + len(other)))


def test_leaves_of_the_tree_are_enrolment_first():
    tree = dendrogram_pair([[1.0, 0], [1, 0.01]], [[0.0, 1], [0.02, 1], [0.5, 0.5]])
    assert {tuple(sorted(row)) for row in tree[:2, :2].astype(int).tolist()} == {(0, 1), (2, 3)}


def test_what_cannot_be_is_refused():
    windows = Windows.of([np.ones((2, 3)), np.zeros((1, 3))])
    with pytest.raises(ValueError, match="method: expected one of single, complete, .*, found 'ups'"):
        LinkageScoring("ups").score_trials(windows, [0], [0])
    with pytest.raises(ValueError, match="method: expected one of"):
        dendrogram_pair(np.ones((1, 2)), np.ones((1, 2)), "ups")
    with pytest.raises(ValueError, match="expected lengths above 0, found 1 of 3"):
        LinkageScoring().score_trials(windows, [0], [1])
    with pytest.raises(ValueError, match="found a window of zeros"):
        dendrogram_pair(np.ones((1, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="test windows: expected 2 dimensions"):
        dendrogram_pair(np.ones((1, 2)), np.ones((1, 3)))
    assert LinkageScoring().score_trials(windows, np.array([], dtype=int), np.array([], dtype=int)).shape == (0,)
