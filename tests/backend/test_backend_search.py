"""Searches and histograms against the full matrix; FAISS by a stand-in."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend import search
from steps.backend.cosine import cosine_matrix
from steps.backend.search import build_index, score_histogram, top_k


def brute_top_k(queries, enrolled, k):
    scores = cosine_matrix(queries, enrolled)
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


def stand_in(calls):
    """What is used of FAISS, exact."""

    class Index:
        nlist, nprobe = 64, 1

        def train(self, rows):
            calls.append(("train", rows.dtype, rows.shape))

        def add(self, rows):
            self.rows = rows

        def search(self, queries, k):
            return brute_top_k(queries, self.rows, k)

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
        np.testing.assert_allclose(scores, expected[0], atol=3e-7)
        assert calls[-2:] == [(4, factory, "ip"), ("train", np.float32, (50, 4))]
    index = build_index(rng.normal(size=(10_001, 2)), "faiss")
    assert calls[-2][1] == "IVF512,Flat"
    assert index.index.nprobe == 4


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
        (lambda x: score_histogram(x, [1, 2]), "speakers: expected one for each of 3"),
        (lambda x: score_histogram(x[:1], [1]), "expected at least two, found 1"),
        (lambda x: score_histogram(x, [1, 2, 3], num_bins=40_000), "num_bins: expected 1 to 32768"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.array([[1.0, 2], [3, 4], [5, 6]]))
