"""Projections against scikit-learn's PCA, clusters that are far apart, and scipy's tree of plain distances."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from steps.backend.projection import pair_linkage, pca, tsne


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(0)
    return np.repeat(rng.normal(size=(4, 10)), 6, axis=0) + 0.05 * rng.normal(size=(24, 10))


def test_components_are_scikit_learns_up_to_the_sign(clusters):
    points, share = pca(clusters, num_components=3)
    other = PCA(3).fit(clusters)
    np.testing.assert_allclose(np.abs(points), np.abs(other.transform(clusters)), atol=1e-9)
    np.testing.assert_allclose(share, other.explained_variance_ratio_, rtol=1e-9)


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_items(clusters):
    order = np.random.default_rng(1).permutation(len(clusters))
    np.testing.assert_allclose(pca(clusters)[0][order], pca(clusters[order])[0], atol=1e-9)


def test_tsne_keeps_clusters_together_and_gives_the_same_points_again(clusters):
    points = tsne(clusters, perplexity=5, num_iterations=300)
    np.testing.assert_array_equal(points, tsne(clusters, perplexity=5, num_iterations=300))
    distance = cdist(points, points)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 6 == np.arange(24) // 6).all()
    assert np.isfinite(points).all()
    assert points.shape == (24, 2)


def test_the_default_perplexity_is_allowed_for_few_items_too():
    assert tsne(np.eye(3), num_iterations=250).shape == (3, 2)


def test_near_means_a_high_cosine_unless_told_otherwise(clusters):
    scaled = clusters * np.random.default_rng(2).uniform(0.1, 10, size=(24, 1))
    np.testing.assert_allclose(tsne(scaled, num_iterations=250), tsne(clusters, num_iterations=250), atol=1e-3)


def test_the_tree_of_a_trial_is_scipys_of_cosine_distances(clusters):
    matrix, is_test = pair_linkage(3 * clusters[:5], clusters[5:9])
    np.testing.assert_allclose(matrix, linkage(clusters[:9], "average", metric="cosine"), atol=1e-9)
    assert is_test.tolist() == [False] * 5 + [True] * 4
    assert pair_linkage([[1.0, 0.0]], [[1.0, 0.0]])[0][-1, 2] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pca(np.ones((4, 3))), "expected some that differ"),
        (lambda: pca(np.eye(3), num_components=3), "num_components: expected 1 to 2"),
        (lambda: pca([[1.0, np.nan]]), "embeddings: expected finite"),
        (lambda: tsne(np.eye(2)), "at least 3"),
        (lambda: tsne(np.ones((4, 3))), "expected some that differ"),
        (lambda: tsne(np.eye(4), perplexity=4), "perplexity: expected more than 0 and less than the 4"),
        (lambda: tsne(np.eye(4), num_iterations=249), "num_iterations: expected at least 250"),
        (lambda: pair_linkage(np.eye(2), np.eye(3)), "test windows: expected 2 dimensions"),
        (lambda: pair_linkage(np.eye(2), np.zeros((1, 2))), "windows: expected lengths above 0"),
    ],
)
def test_what_cannot_be_projected_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
