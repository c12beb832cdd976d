"""Figures of all cuts are those of each cut alone, and cuts those of scipy's fcluster."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from steps.metrics.clustering import adjusted_rand_index, clustering_figures
from steps.metrics.dendrogram import cut_figures

FIGURES = ("mr", "mr_legacy", "ari", "purity", "acp", "asp")


def make(seed, num=30, method="average", digits=1):
    rng = np.random.default_rng(seed)
    return linkage(pdist(rng.normal(size=(num, 2)).round(digits)), method), rng.integers(0, 6, size=num)


def partitions(merges):
    """Labels after each merge, by moving items from set to set."""
    num = len(merges) + 1
    members = {item: [item] for item in range(num)}
    for step in range(num):
        labels = np.empty(num, dtype=int)
        for name, items in enumerate(members.values()):
            labels[items] = name
        yield labels
        if step < num - 1:
            first, second = merges[step, :2].astype(int)
            members[num + step] = members.pop(first) + members.pop(second)


@pytest.mark.parametrize("method", ["average", "single", "complete", "centroid"])
@pytest.mark.parametrize("num", [2, 30])
def test_every_cut_has_the_figures_of_its_labels(method, num):
    merges, truth = make(num, num=num, method=method)
    cuts = cut_figures(merges, truth)
    for step, labels in enumerate(partitions(merges)):
        expected = clustering_figures(labels, truth)
        assert cuts.num_clusters_N[step] == expected["num_clusters"]
        for name in FIGURES:
            assert getattr(cuts, f"{name}_N")[step] == pytest.approx(expected[name], abs=1e-12), (step, name)


def test_thresholds_give_the_cuts_of_fcluster():
    merges, truth = make(1, digits=0)  # many merges of equal height
    cuts = cut_figures(merges, truth)
    assert 2 < cuts.is_threshold_N.sum() < 30
    for step, labels in enumerate(partitions(merges)):
        if cuts.is_threshold_N[step]:
            assert adjusted_rand_index(fcluster(merges, cuts.between(step), "distance"), labels) == 1


def test_legacy_is_what_the_published_program_counts_with_two_items_a_speaker():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(12), 2)
    merges = linkage(pdist(rng.normal(size=(12, 3)).repeat(2, axis=0) + rng.normal(0, 0.15, size=(24, 3))), "complete")
    wrong, members = np.ones(24), {item: [item] for item in range(24)}
    expected = [1.0]
    for step, (first, second) in enumerate(merges[:, :2].astype(int)):
        pair = first < 24 and second < 24 and truth[first] == truth[second]  # only such a merge makes items right
        members[24 + step] = members[first] + members[second]
        wrong[members[24 + step]] = not pair
        expected.append(wrong.mean())
    cuts = cut_figures(merges, truth)
    assert cuts.mr_legacy_N == pytest.approx(expected)
    assert min(expected) < 0.5


def test_the_best_cut_includes_single_items_and_prefers_fewer_clusters():
    # All speakers differ: every merge is wrong.
    merges, _ = make(2, num=8, digits=6)
    cuts = cut_figures(merges, np.arange(8))
    assert cuts.best() == 0
    assert cuts.mr_N[0] == 0
    assert cuts.num_clusters_N[0] == 8
    # One speaker: one cluster is right, and nothing else.
    assert cut_figures(merges, np.zeros(8)).best("ari") == 7
    assert cut_figures(merges, np.zeros(8)).best("mr_legacy") == 7


def test_the_best_cut_is_one_that_a_threshold_gives():
    for seed in range(20):
        merges, truth = make(seed, digits=0)
        cuts = cut_figures(merges, truth)
        for figure, sign in (("mr", 1), ("mr_legacy", 1), ("ari", -1)):
            values = sign * getattr(cuts, f"{figure}_N")
            found = cuts.best(figure)
            assert cuts.is_threshold_N[found]
            assert values[found] == values[cuts.is_threshold_N].min()


def test_one_item_is_a_cluster():
    cuts = cut_figures(np.empty((0, 4)), ["a"])
    assert (cuts.mr_N.tolist(), cuts.best(), cuts.between(0)) == ([0.0], 0, 0.0)


@pytest.mark.parametrize(
    ("merges", "truth", "message"),
    [
        (np.zeros((3, 4)), [0, 1], r"expected \[1, 4\] for 2 items"),
        ([[0, 5, 1.0, 2]], [0, 1], "clusters that are not there"),
        ([[0, 1, 1.0, 2], [0, 2, 2.0, 3]], [0, 1, 2], "clusters that are not there"),
        ([[0, 1, np.nan, 2]], [0, 1], "clusters that are not there"),
    ],
)
def test_what_is_no_dendrogram_is_refused(merges, truth, message):
    with pytest.raises(ValueError, match=message):
        cut_figures(merges, truth)


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match="mr, mr_legacy or ari, found 'f1'"):
        cut_figures(*make(1)).best("f1")
