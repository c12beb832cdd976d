"""Searches and histograms against the full matrix; FAISS by a stand-in, and itself where it is installed."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend import search
from steps.backend.cosine import cosine_matrix
from steps.backend.search import build_index, score_histogram, top_k


def brute_top_k(queries, enrolled, k, step=None):
    """By the full matrix; with a step, by the definition: multiples of it, and the first row of equal ones first."""
    scores = cosine_matrix(queries, enrolled)
    if step:
        unit_QD, unit_ND = (np.asarray(x, np.longdouble) for x in (queries, enrolled))
        unit_QD, unit_ND = (x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in (unit_QD, unit_ND))
        scores = (np.rint((unit_QD[:, None] * unit_ND).sum(axis=2) / step) * step).astype(np.float64)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


@pytest.mark.parametrize(("k", "threads"), [(1, 1), (5, 2), (40, 1), (101, 1)])
def test_the_nearest_are_those_of_the_full_matrix(monkeypatch, k, threads):
    monkeypatch.setattr(search, "QUERY_ROWS", 7)
    monkeypatch.setattr(search, "ENROLLED_ROWS", 32)
    rng = np.random.default_rng(0)
    enrolled, queries = rng.normal(size=(101, 8)) + 1, rng.normal(size=(30, 8)).astype(np.float32)
    scores, rows = top_k(queries, enrolled, k, threads=threads)
    expected_scores, expected_rows = brute_top_k(queries, enrolled, k)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, atol=3e-7)  # products in single precision


def test_equal_scores_come_in_the_order_of_the_rows(monkeypatch):
    monkeypatch.setattr(search, "ENROLLED_ROWS", 16)
    corners = np.array([[1.0, 0], [0, 1], [-1, 0]])  # every cosine is -1, 0 or 1, exactly
    enrolled = corners[np.random.default_rng(1).integers(3, size=100)]
    scores, rows = top_k(corners, enrolled, 60)
    expected_scores, expected_rows = brute_top_k(corners, enrolled, 60)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def with_twins(num=700, dim=48):
    """Embeddings of which a third are equal to others but for their length, and queries: some of them, and others."""
    rng = np.random.default_rng(4)
    enrolled = rng.normal(size=(num, dim))
    twins = rng.permutation(num)[: num // 3]
    enrolled[twins] = enrolled[rng.integers(5, size=twins.size)] * rng.choice([1.0, 2.0, 3.0, 0.7], size=(twins.size, 1))
    return np.concatenate([enrolled[twins[:20]], rng.normal(size=(15, dim)), -enrolled[:5]]), enrolled


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("query_rows", "enrolled_rows", "threads"), [(256, 4096, 1), (7, 33, 1), (1, 100, 3), (16, 5, 2)])
def test_equal_embeddings_come_in_the_order_of_the_rows_wherever_they_stand(
    monkeypatch, dtype, query_rows, enrolled_rows, threads
):
    monkeypatch.setattr(search, "QUERY_ROWS", query_rows)
    monkeypatch.setattr(search, "ENROLLED_ROWS", enrolled_rows)
    queries, enrolled = (x.astype(dtype) for x in with_twins())
    expected_scores, expected_rows = brute_top_k(queries, enrolled, 700, search.STEP)
    assert np.count_nonzero(np.diff(expected_scores[0]) == 0) > 40  # ties
    for k in (1, 2, 4, 60, 300, 700):
        scores, rows = top_k(queries, enrolled, k, threads=threads)
        np.testing.assert_array_equal(rows, expected_rows[:, :k])
        np.testing.assert_array_equal(scores, expected_scores[:, :k])


def test_a_cosine_does_not_depend_on_other_pairs():
    """The same pair, at each place of batches of many sizes: its double-precision sum has one order."""
    rng = np.random.default_rng(5)
    for dim in (1, 2, 3, 7, 8, 31, 192, 513):
        one, other = rng.normal(size=(2, dim))
        sums = {
            np.einsum("pd,pd->p", np.tile(one, (num, 1)), np.tile(other, (num, 1))).tobytes()[:8] for num in (1, 2, 3, 8, 100)
        }
        assert len(sums) == 1
        assert len(np.unique(np.einsum("pd,pd->p", np.tile(one, (100, 1)), np.tile(other, (100, 1))))) == 1


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("num_bins", [1, 10, 2000])
def test_the_histogram_counts_every_pair_once(monkeypatch, num_bins, threads):
    monkeypatch.setattr(search, "PAIR_ROWS", 16)
    monkeypatch.setattr(search, "HISTOGRAM_ROWS", 5)
    rng = np.random.default_rng(2)
    x_ND, speakers = rng.normal(size=(85, 6)), rng.integers(9, size=85).astype(str)
    speakers[30:60] = "many"  # more than a block
    found = score_histogram(x_ND, speakers, num_bins=num_bins, threads=threads)
    first, second = np.triu_indices(85, k=1)
    scores, same = cosine_matrix(x_ND, x_ND)[first, second], speakers[first] == speakers[second]
    assert np.abs(scores[:, None] - found.edges).min() > 1e-7 or num_bins == 2000  # no score is in doubt
    for counts, kind in ((found.target, same), (found.nontarget, ~same)):
        expected = np.histogram(scores[kind], bins=found.edges)[0]
        assert counts.sum() == kind.sum()
        assert np.abs(counts - expected).sum() <= (2 if num_bins == 2000 else 0)


def test_cosines_of_one_and_minus_one_are_within_the_ends():
    found = score_histogram(np.array([[3.0, 4], [6, 8], [-3, -4], [0.3, 0.4]]), list("aabb"), num_bins=4)
    assert (found.target.tolist(), found.nontarget.tolist()) == ([1, 0, 0, 1], [2, 0, 0, 2])


def stand_in(calls, probed=None):
    """What is used of FAISS: products with errors of single precision, equal ones in whatever order, of probed rows only."""

    class Index:
        nlist, nprobe = 64, 1

        def train(self, rows):
            calls.append(("train", rows.dtype, rows.shape))

        def add(self, rows):
            self.rows = rows

        def search(self, queries, k):
            products = cosine_matrix(queries, self.rows) + np.random.default_rng(k).uniform(-2e-7, 2e-7, len(self.rows))
            if probed is not None:
                products[:, probed:] = -np.inf
            rows = np.argsort(-products, axis=1)[:, :k]
            products = np.take_along_axis(products, rows, axis=1)
            return np.maximum(products, -3.4e38).astype(np.float32), np.where(np.isinf(products), -1, rows)

    def index_factory(dim, factory, metric):
        calls.append((dim, factory, metric))
        return Index()

    return SimpleNamespace(index_factory=index_factory, METRIC_INNER_PRODUCT="ip")


def test_faiss_is_asked_behind_the_same_call(monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "faiss", stand_in(calls))
    rng = np.random.default_rng(3)
    enrolled, queries = rng.normal(size=(50, 4)), rng.normal(size=(6, 4))
    expected = top_k(queries, enrolled, 3)
    for kind, factory in (("faiss", "Flat"), ("faiss:HNSW32,Flat", "HNSW32,Flat")):
        scores, rows = top_k(queries, enrolled, 3, index=kind)
        np.testing.assert_array_equal(rows, expected[1])
        np.testing.assert_array_equal(scores, expected[0])
        assert calls[-2:] == [(4, factory, "ip"), ("train", np.float32, (50, 4))]
    index = build_index(rng.normal(size=(10_001, 2)), "faiss")
    assert calls[-2][1] == "IVF512,Flat"
    assert index.index.nprobe == 4


def test_with_faiss_the_answer_for_k_is_the_begin_of_that_for_more(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", stand_in([]))
    queries, enrolled = with_twins()
    expected_scores, expected_rows = brute_top_k(queries, enrolled, 700, search.STEP)
    for kind in ("faiss", "faiss:IVF64,Flat"):
        index = build_index(enrolled, kind)
        for k in (1, 2, 3, 4, 5, 50, 699, 700):
            scores, rows = index.search(queries, k)
            np.testing.assert_array_equal(rows, expected_rows[:, :k])
            np.testing.assert_array_equal(scores, expected_scores[:, :k])


def test_rows_that_faiss_does_not_look_at_are_minus_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", stand_in([], probed=10))
    queries, enrolled = with_twins()
    scores, rows = build_index(enrolled, "faiss:IVF64,Flat").search(queries, 12)
    np.testing.assert_array_equal(rows[:, :10], brute_top_k(queries, enrolled[:10], 10, search.STEP)[1])
    assert (rows[:, 10:] == -1).all()
    assert np.isneginf(scores[:, 10:]).all()


def test_an_index_whose_candidates_depend_on_k_is_always_asked_for_as_many(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", stand_in([]))
    monkeypatch.setattr(search, "MOST_FETCHED", 40)
    queries, enrolled = with_twins()
    index = build_index(enrolled, "faiss:HNSW32,Flat")
    most_scores, most_rows = index.search(queries, 40)
    for k in (1, 2, 4, 39):
        scores, rows = index.search(queries, k)
        np.testing.assert_array_equal(rows, most_rows[:, :k])
        np.testing.assert_array_equal(scores, most_scores[:, :k])
    with pytest.raises(ValueError, match="k: expected 1 to 40 with this index of FAISS, found 41; search exactly"):
        index.search(queries, 41)


@pytest.mark.parametrize("kind", ["faiss", "faiss:IVF16,Flat", "faiss:HNSW16", "faiss:SQ8"])
def test_faiss_itself_gives_one_answer_for_every_k(kind):
    pytest.importorskip("faiss", reason="faiss is not installed")
    queries, enrolled = with_twins()
    index, exact = build_index(enrolled, kind), top_k(queries, enrolled, 300)
    most_scores, most_rows = index.search(queries, 300)
    if kind == "faiss":
        np.testing.assert_array_equal(most_rows, exact[1])
    for k in (1, 2, 3, 4, 60):
        scores, rows = index.search(queries, k)
        np.testing.assert_array_equal(rows, most_rows[:, :k])
        np.testing.assert_array_equal(scores, most_scores[:, :k])


def test_without_faiss_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ValueError, match=r"faiss is not installed; install it \(pip install 'sidamo\[faiss\]'\), or search exactly"
    ):
        top_k(np.ones((1, 2)), np.ones((3, 2)), 1, index="faiss")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: top_k(x, x, 4), "k: expected 1 to 3, the number of enrolled embeddings, found 4"),
        (lambda x: top_k(x, x, 0), "k: expected 1 to 3"),
        (lambda x: top_k(x, x, 1, index="tree"), "index: expected 'exact', 'faiss' or"),
        (lambda x: top_k(x[:, :1], x, 1), "queries: expected 2 dimensions"),
        (lambda x: top_k(x, 0 * x, 1), "enrolled embeddings: expected embeddings with a length above 0"),
        (lambda x: top_k(x * np.nan, x, 1), "queries: expected finite numbers"),
        (
            lambda x: top_k(x, x * [[1.0], [np.nan], [1.0]], 1),
            "enrolled embeddings: expected finite numbers, .* the first in row 1",
        ),
        (lambda x: top_k(x, x * [[1.0], [1.0], [1e200]], 1), "enrolled embeddings: .* finite length, .* in row 2"),
        (lambda x: top_k(x * 1e200, x, 1), "queries: expected embeddings with a finite length"),
        (lambda x: score_histogram(x * 1e200, [1, 2, 3]), "embeddings: expected embeddings with a finite length"),
        (lambda x: score_histogram(x, [1, 2]), "speakers: expected one for each of 3"),
        (lambda x: score_histogram(x[:1], [1]), "expected at least two, found 1"),
        (lambda x: score_histogram(x, [1, 2, 3], num_bins=40_000), "num_bins: expected 1 to 32768"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.array([[1.0, 2], [3, 4], [5, 6]]))
