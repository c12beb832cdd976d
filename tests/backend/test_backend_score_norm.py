"""Score normalisation against the formulas written out trial by trial."""

import numpy as np
import pytest

from steps.backend.cosine import cosine_matrix
from steps.backend.score_norm import (
    CohortStatistics,
    cohort_statistics,
    cohort_statistics_in_batches,
    cosine_cohort_statistics,
    highest,
    s_norm,
    speaker_means,
    t_norm,
    z_norm,
)


def brute(score, cohort_scores, top_n) -> float:
    chosen = sorted(cohort_scores, reverse=True)[: len(cohort_scores) if top_n == "all" else top_n]
    mean = sum(chosen) / len(chosen)
    variance = sum((c - mean) ** 2 for c in chosen) / len(chosen)
    return (score - mean) / variance**0.5


@pytest.mark.parametrize("top_n", ["all", 5, 12, 30])
def test_norms_equal_the_formulas_trial_by_trial(top_n):
    rng = np.random.default_rng(0)
    enrol_cohort, test_cohort = rng.normal(size=(4, 30)), rng.normal(2, 3, size=(6, 30))
    enrol_index, test_index, scores = rng.integers(4, size=20), rng.integers(6, size=20), rng.normal(size=20)
    enrol, test = (cohort_statistics(c, top_n=top_n) for c in (enrol_cohort, test_cohort))
    z = [brute(s, enrol_cohort[e], top_n) for s, e in zip(scores, enrol_index, strict=True)]
    t = [brute(s, test_cohort[i], top_n) for s, i in zip(scores, test_index, strict=True)]
    np.testing.assert_allclose(z_norm(scores, enrol_index, enrol), z, atol=1e-12)
    np.testing.assert_allclose(t_norm(scores, test_index, test), t, atol=1e-12)
    s = s_norm(scores, enrol_index, test_index, enrol, test)
    np.testing.assert_allclose(s, (np.array(z) + np.array(t)) / 2, atol=1e-12)


def test_s_norm_ignores_an_affine_map_of_all_scores():
    rng = np.random.default_rng(1)
    cohort, scores, index = rng.normal(size=(5, 40)), rng.normal(size=5), np.arange(5)
    plain = cohort_statistics(cohort, top_n=10)
    mapped = cohort_statistics(3 * cohort - 7, top_n=10)
    np.testing.assert_allclose(
        s_norm(3 * scores - 7, index, index, mapped, mapped), s_norm(scores, index, index, plain, plain), atol=1e-12
    )


def test_batches_equal_all_at_once():
    rng = np.random.default_rng(2)
    items, cohort = rng.normal(size=(23, 6)), rng.normal(size=(15, 6))
    whole = cohort_statistics(cosine_matrix(items, cohort), top_n=7)
    parts = cohort_statistics_in_batches(cosine_matrix, items, cohort, top_n=7, batch_size=4)
    # A product of another shape may differ in last bits.
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-14)
    np.testing.assert_allclose(parts.std, whole.std, atol=1e-14)


@pytest.mark.parametrize(("size", "num"), [(1000, 30), (1000, 399), (997, 2), (64, 60), (5994, 300), (40, 8)])
@pytest.mark.parametrize("kind", ["normal", "ties", "ascending", "one high"])
def test_the_highest_are_those_of_sorted_rows(size, num, kind):
    rng = np.random.default_rng(size)
    scores = rng.normal(size=(20, size)).astype(np.float32)
    if kind == "ties":
        scores = scores.round(1)
    if kind == "ascending":
        scores.sort(axis=1)
    if kind == "one high":
        scores[3] = 7
    np.testing.assert_array_equal(highest(scores, num), np.sort(scores, axis=1)[:, -num:])


@pytest.mark.parametrize("top_n", ["all", 300, 20])
def test_cosine_statistics_are_those_of_the_matrix_within_single_precision(top_n):
    rng = np.random.default_rng(4)
    items, cohort = rng.normal(size=(300, 16)) + 0.5, rng.normal(size=(700, 16)).astype(np.float32)
    exact = cohort_statistics(cosine_matrix(items, cohort), top_n=top_n)
    found = cosine_cohort_statistics(items, cohort, top_n=top_n)
    # A score of up to 1 is rounded by about 1e-7.
    np.testing.assert_allclose(found.mean, exact.mean, atol=2e-7)
    np.testing.assert_allclose(found.std, exact.std, atol=2e-7)


def test_cosine_statistics_of_an_item_do_not_depend_on_the_others_nor_on_threads():
    rng = np.random.default_rng(5)
    items, cohort = rng.normal(size=(530, 24)).astype(np.float32), rng.normal(size=(500, 24))
    whole = cosine_cohort_statistics(items, cohort, top_n=50)
    chosen = rng.permutation(530)[:301]
    part = cosine_cohort_statistics(items[chosen], cohort, top_n=50, threads=3)
    np.testing.assert_array_equal(part.mean, whole.mean[chosen])
    np.testing.assert_array_equal(part.std, whole.std[chosen])
    for item in (0, 255, 529):  # a product with a single row is another routine
        alone = cosine_cohort_statistics(items[item : item + 1], cohort, top_n=50)
        assert (alone.mean[0], alone.std[0]) == (whole.mean[item], whole.std[item])


def test_cosine_statistics_refuse_what_the_others_refuse():
    rng = np.random.default_rng(6)
    items, cohort = rng.normal(size=(300, 3)), rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match="top_n: expected 'all' or 2 to 10"):
        cosine_cohort_statistics(items, cohort, top_n=11)
    with pytest.raises(ValueError, match="cohort: expected 3 dimensions"):
        cosine_cohort_statistics(items, cohort[:, :2], top_n=5)
    with pytest.raises(ValueError, match="embeddings: expected finite numbers"):
        cosine_cohort_statistics(items * np.nan, cohort, top_n=5)
    items[280] = [0, 0, 1]
    with pytest.raises(ValueError, match="found 1 of 44 with one value only, the first is row 280"):
        cosine_cohort_statistics(items, np.array([[1.0, 0, 0], [0, 2, 0]]), top_n=2)


def test_cohort_is_the_normalised_mean_of_normalised_embeddings():
    rng = np.random.default_rng(3)
    embeddings, speakers = rng.normal(size=(9, 4)) + 3, np.array(list("bbaaaccbb"))
    mean = embeddings.mean(axis=0)
    cohort, ids = speaker_means(embeddings, speakers, mean=mean)
    assert ids.tolist() == ["a", "b", "c"]
    for row, speaker in zip(cohort, ids, strict=True):
        units = [(x - mean) / np.linalg.norm(x - mean) for x in embeddings[speakers == speaker]]
        expected = sum(units) / np.linalg.norm(sum(units))
        np.testing.assert_allclose(row, expected, atol=1e-12)


@pytest.mark.parametrize("top_n", [0, 1, 11])
def test_top_n_outside_the_cohort_is_refused(top_n):
    with pytest.raises(ValueError, match=f"top_n: expected 'all' or 2 to 10, the size of the cohort, found {top_n}"):
        cohort_statistics(np.random.default_rng(0).normal(size=(3, 10)), top_n=top_n)


def test_a_cohort_of_equal_scores_is_refused():
    scores = np.random.default_rng(0).normal(size=(3, 10))
    scores[1] = 0.1
    with pytest.raises(ValueError, match="found 1 of 3 with one value only, the first is row 1"):
        cohort_statistics(scores, top_n="all")


def test_bad_indices_are_refused():
    statistics = CohortStatistics(np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="enrol_index: expected 0 to 1"):
        z_norm([1.0], [2], statistics)
    with pytest.raises(ValueError, match="test_index: expected one a score"):
        t_norm([1.0, 2.0], [0], statistics)
