"""Figures of clusterings against scikit-learn, and MR against all assignments of clusters to speakers."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from steps.metrics.clustering import (
    adjusted_rand_index,
    average_purity,
    bootstrap_ari,
    clustering_figures,
    contingency,
    misclassification_rate,
    purity,
    rightly_clustered,
)


def plain_mr(labels, truth, definition):
    """The least share of wrong items over all assignments of clusters to speakers that the definition allows."""
    table = contingency_matrix(labels, truth)
    num_clusters, num_speakers = table.shape
    allowed = [[None] for _ in range(num_speakers)]
    for cluster, speaker in product(range(num_clusters), range(num_speakers)):
        others = [table[cluster, other] for other in range(num_speakers) if other != speaker]
        outnumbers = table[cluster, speaker] > max(others, default=0)
        pure = sum(others) == 0 and table[cluster, speaker] > 1
        if definition == "optimal" or (outnumbers and (definition == "2018" or pure)):
            allowed[speaker].append(cluster)
    best = 0
    for choice in product(*allowed):
        used = [cluster for cluster in choice if cluster is not None]
        if len(set(used)) == len(used):
            right = sum(table[cluster, speaker] for speaker, cluster in enumerate(choice) if cluster is not None)
            best = max(best, right)
    return 1 - best / len(labels)


def draws(num):
    rng = np.random.default_rng(0)
    for _ in range(num):
        size = rng.integers(1, 12)
        yield rng.integers(0, 4, size=size), rng.integers(0, 3, size=size)


@pytest.mark.parametrize("definition", ["2018", "legacy", "optimal"])
def test_mr_is_the_best_of_all_assignments(definition):
    for labels, truth in draws(120):
        assert misclassification_rate(labels, truth, definition) == pytest.approx(plain_mr(labels, truth, definition))


def test_ari_and_table_are_those_of_sklearn():
    for labels, truth in draws(120):
        assert adjusted_rand_index(labels, truth) == pytest.approx(adjusted_rand_score(truth, labels))
        np.testing.assert_array_equal(contingency(labels, truth).toarray(), contingency_matrix(labels, truth))


def test_purities_are_those_of_loops():
    for labels, truth in draws(60):
        inside = [truth[labels == label] for label in labels]  # of each item's cluster
        assert average_purity(labels, truth) == pytest.approx(
            np.mean([np.mean(each == own) for each, own in zip(inside, truth, strict=True)])
        )
        most = [np.bincount(truth[labels == label]).max() for label in set(labels)]
        assert purity(labels, truth) == pytest.approx(sum(most) / truth.size)


def test_mr_falls_back_to_the_next_cluster_by_hand():
    # Cluster 0: 3 of a, 4 of b. Speaker a's fullest cluster is b's; his next, cluster 1 with 2, is his own.
    labels = [0] * 7 + [1] * 2 + [2]
    truth = ["a"] * 3 + ["b"] * 4 + ["a"] * 2 + ["b"]
    assert misclassification_rate(labels, truth) == pytest.approx(4 / 10)
    assert rightly_clustered(labels, truth).tolist() == [False] * 3 + [True] * 6 + [False]
    assert misclassification_rate(labels, truth, "legacy") == pytest.approx(8 / 10)
    assert misclassification_rate(labels, truth, "optimal") == pytest.approx(4 / 10)


def test_a_cluster_of_two_speakers_equally_is_nobody_s():
    assert misclassification_rate([0, 0], ["a", "b"]) == 1
    assert misclassification_rate([0, 0], ["a", "b"], "optimal") == 0.5


def test_single_items_have_mr_of_one_right_each():
    truth = np.repeat(np.arange(5), 2)
    assert misclassification_rate(np.arange(10), truth) == 0.5
    assert misclassification_rate(np.arange(10), truth, "legacy") == 1


def test_the_right_clustering_by_other_names_is_perfect():
    truth = np.repeat(["x", "y", "z"], [3, 4, 2])
    figures = clustering_figures(np.repeat([7, 1, 4], [3, 4, 2]), truth)
    for name in ("mr", "mr_legacy", "mr_optimal"):
        assert figures[name] == 0
    for name in ("ari", "purity", "acp", "asp"):
        assert figures[name] == pytest.approx(1)
    assert (figures["num_clusters"], figures["num_speakers"], figures["num_items"]) == (3, 3, 9)


def test_ari_replicates_are_those_of_weighted_pairs():
    rng = np.random.default_rng(1)
    truth, labels = np.repeat(np.arange(5), 6), rng.integers(0, 4, size=30)
    found = bootstrap_ari(labels, truth, rng=np.random.default_rng(2), num_replicates=6)
    again = np.random.default_rng(2)
    first, second = np.triu_indices(30, 1)
    same_cluster, same_speaker = labels[first] == labels[second], truth[first] == truth[second]
    for value in found:
        counts = np.zeros(5)
        while np.count_nonzero(counts) < 2:
            counts = np.bincount(again.integers(5, size=5), minlength=5)
        weight = np.where(same_speaker, counts[truth[first]], counts[truth[first]] * counts[truth[second]])
        both, clusters, speakers = (weight[kind].sum() for kind in (same_cluster & same_speaker, same_cluster, same_speaker))
        chance = clusters * speakers / weight.sum()
        assert value == pytest.approx((both - chance) / ((clusters + speakers) / 2 - chance))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contingency([], []), "at least one; found shapes"),
        (lambda: contingency([0, 1], [0]), "found shapes"),
        (lambda: misclassification_rate([0], [0], "2019"), "2018, legacy, optimal, found '2019'"),
        (lambda: bootstrap_ari([0, 0], [1, 1], rng=np.random.default_rng(0)), "at least 2 speakers"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
