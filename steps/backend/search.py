"""The nearest of very many enrolled embeddings, and the scores of all pairs as a histogram; by the cosine, in blocks.

Products are in single precision (about 1e-7 from those in double precision) and never stand in memory as a whole.
Suffixes: Q queries, N enrolled embeddings, D dimensions, K results of a query, B rows of a block.
"""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steps.backend.cosine import unit_rows_float32
from steps.backend.estimator import speaker_codes

QUERY_ROWS, ENROLLED_ROWS = 256, 4096  # of a block of the search
PAIR_ROWS, HISTOGRAM_ROWS = 1024, 64  # of a block of all pairs, and counted at a time of that
MAX_BINS = 1 << 15


class Index(Protocol):
    """Enrolled embeddings in which the nearest to a query can be looked up."""

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k] of the enrolled embeddings they belong to)."""
        ...


def top_k(
    queries: npt.ArrayLike, enrolled: npt.ArrayLike, k: int, *, index: str = "exact", threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return (cosines [Q, k], descending, rows [Q, k]) of the k enrolled embeddings nearest to each query.

    To search the same embeddings several times, make the index once: `build_index(enrolled).search(queries, k)`.

    Args:
        queries: [Q, D].
        enrolled: [N, D], for instance one for each speaker.
        k: how many.
        index: "exact" compares with every enrolled embedding; "faiss", or "faiss:<factory string>", asks an index of FAISS,
            which may miss some, in a small part of the time.
        threads: blocks of queries at work at the same time, beside the threads of the matrix product.

    Raises:
        ValueError: embeddings that are not finite, of zeros or of different D; k out of range; an unknown index, or one that
            needs a package that is not installed.
    """
    return build_index(enrolled, index, threads=threads).search(queries, k)


def build_index(enrolled: npt.ArrayLike, kind: str = "exact", *, threads: int = 1) -> Index:
    """Return an index of enrolled embeddings [N, D]; see `top_k`."""
    name, _, factory = kind.partition(":")
    if kind == "exact":
        return ExactIndex(enrolled, threads=threads)
    if name == "faiss":
        return FaissIndex(enrolled, factory)
    raise ValueError(f"index: expected 'exact', 'faiss' or 'faiss:<factory string>', found {kind!r}")


class ExactIndex:
    """All enrolled embeddings, scaled to unit length; every search compares with each of them.

    Equal cosines come in the order of the rows.
    """

    def __init__(self, enrolled: npt.ArrayLike, *, threads: int = 1) -> None:
        self.enrolled_ND, self.threads = unit_rows_float32(enrolled, "enrolled embeddings"), threads

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k]), see `top_k`."""
        queries_QD = unit_rows_float32(queries, "queries", dim=self.enrolled_ND.shape[1])
        _check_k(k, len(self.enrolled_ND))
        starts = range(0, len(queries_QD), QUERY_ROWS)
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda start: self._search(queries_QD[start : start + QUERY_ROWS], k), starts))
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _search(self, queries_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        best_BK = np.full((len(queries_BD), k), -np.inf, dtype=np.float32)
        rows_BK = np.zeros((len(queries_BD), k), dtype=np.int64)
        for start in range(0, len(self.enrolled_ND), ENROLLED_ROWS):
            scores_BN = queries_BD @ self.enrolled_ND[start : start + ENROLLED_ROWS].T
            size = scores_BN.shape[1]
            floor_B = best_BK[:, -1]
            if start == 0 and size > k:  # later few are better than what there is, here nearly all would be
                floor_B = np.nextafter(np.partition(scores_BN, size - k, axis=1)[:, size - k], np.float32(-np.inf))
            found = np.flatnonzero(scores_BN > floor_B[:, None])
            if found.size:
                best_BK, rows_BK = _merge(best_BK, rows_BK, scores_BN.ravel()[found], found, size, start)
        return best_BK, rows_BK


def _merge(
    best_BK: np.ndarray, rows_BK: np.ndarray, values: np.ndarray, found: np.ndarray, size: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of those known and of some found, at places `found` of a block with `size` columns from row `start` on."""
    num, k = best_BK.shape
    count_B = np.diff(found.searchsorted(np.arange(num + 1) * size))
    all_scores = np.concatenate([best_BK, np.full((num, count_B.max()), -np.inf, dtype=np.float32)], axis=1)
    all_rows = np.concatenate([rows_BK, np.zeros((num, count_B.max()), dtype=np.int64)], axis=1)
    is_new = np.arange(count_B.max()) < count_B[:, None]
    all_scores[:, k:][is_new] = values
    all_rows[:, k:][is_new] = found % size + start
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]  # those known have lower rows, and stay before equal ones
    return np.take_along_axis(all_scores, order, axis=1), np.take_along_axis(all_rows, order, axis=1)


class FaissIndex:
    """An index of FAISS over unit rows, by inner product; approximate unless its factory string is "Flat".

    Args:
        enrolled: [N, D].
        factory: what to make, as faiss.index_factory has it; "" is "Flat" under 10,000 rows and else an inverted file with
            about 4 sqrt(N) lists, of which a sixteenth is searched.
    """

    def __init__(self, enrolled: npt.ArrayLike, factory: str = "") -> None:
        faiss = _faiss()
        enrolled_ND = unit_rows_float32(enrolled, "enrolled embeddings")
        self.size, self.dim = enrolled_ND.shape
        num_lists = 1 << round(np.log2(4 * np.sqrt(self.size)))
        factory = factory or ("Flat" if self.size < 10_000 else f"IVF{num_lists},Flat")
        self.index = faiss.index_factory(self.dim, factory, faiss.METRIC_INNER_PRODUCT)
        self.index.train(enrolled_ND)
        self.index.add(enrolled_ND)
        if hasattr(self.index, "nprobe"):
            self.index.nprobe = max(1, int(getattr(self.index, "nlist", 16)) // 16)

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k], -1 where FAISS found fewer), see `top_k`."""
        _check_k(k, self.size)
        scores_QK, rows_QK = self.index.search(unit_rows_float32(queries, "queries", dim=self.dim), k)
        return np.asarray(scores_QK), np.asarray(rows_QK, dtype=np.int64)


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")  # an optional package, heavy to load
    except ImportError:
        raise ValueError(
            "index: expected 'exact', for faiss is not installed; install it (pip install 'sidamo[faiss]'), or search exactly"
        ) from None


def _check_k(k: int, num: int) -> None:
    if not 1 <= k <= num:
        raise ValueError(f"k: expected 1 to {num}, the number of enrolled embeddings, found {k}")


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """How many target and non-target pairs have a cosine from edges[b] to under edges[b + 1] (the last: to 1)."""

    edges: np.ndarray  # [bins + 1]
    target: np.ndarray  # [bins] int64
    nontarget: np.ndarray  # [bins] int64


def score_histogram(
    embeddings: npt.ArrayLike, speakers: npt.ArrayLike, *, num_bins: int = 2000, threads: int = 1
) -> ScoreHistogram:
    """Return the histogram of the cosines of all pairs of different embeddings, each pair once.

    Args:
        embeddings: [N, D].
        speakers: of each; a pair of one speaker is a target pair.
        num_bins: from -1 to 1, at most 32,768. A cosine within 1e-7 of an edge may be counted on its other side.
        threads: blocks at work at the same time, beside the threads of the matrix product.

    Raises:
        ValueError: embeddings that are not finite or of zeros, not one speaker an embedding, fewer than two embeddings,
            `num_bins` out of range.
    """
    if not 1 <= num_bins <= MAX_BINS:
        raise ValueError(f"num_bins: expected 1 to {MAX_BINS}, found {num_bins}")
    rows_ND = unit_rows_float32(embeddings, "embeddings")
    if len(rows_ND) < 2:
        raise ValueError(f"embeddings: expected at least two, found {len(rows_ND)}")
    _, code_N = speaker_codes(np.asarray(speakers), len(rows_ND))
    order_N = np.argsort(code_N, kind="stable")  # a speaker's pairs lie together then
    counter = _PairCounter(rows_ND[order_N], code_N[order_N], num_bins)
    starts = range(0, len(rows_ND), PAIR_ROWS)
    blocks = [(first, second) for first in starts for second in starts if second >= first]
    counts_2B = np.zeros((2, num_bins + 1), dtype=np.int64)
    with ThreadPoolExecutor(threads) as pool:
        for part_2B in pool.map(lambda pair: counter.count(*pair), blocks):
            counts_2B += part_2B
    counts_2B[:, -2] += counts_2B[:, -1]  # a cosine of 1, or over it by rounding
    return ScoreHistogram(np.linspace(-1.0, 1.0, num_bins + 1), counts_2B[0, :-1], counts_2B[1, :-1])


class _PairCounter:
    """Counts scores of blocks of pairs by bin; rows in the order of their speakers' codes."""

    def __init__(self, rows_ND: np.ndarray, code_N: np.ndarray, num_bins: int) -> None:
        self.rows_ND, self.code_N, self.num_bins = rows_ND, code_N, num_bins

    def count(self, first: int, second: int) -> np.ndarray:
        """Target and non-target counts [2, bins + 1] of the rows from `first` on with those from `second` on, of a block each."""
        half = np.float32(self.num_bins / 2)
        places = (half * self.rows_ND[first : first + PAIR_ROWS]) @ self.rows_ND[second : second + PAIR_ROWS].T
        bins = np.empty(places.shape, dtype=np.uint16)
        counts_2B = np.zeros((2, self.num_bins + 1), dtype=np.int64)
        for start in range(0, len(places), HISTOGRAM_ROWS):
            part = bins[start : start + HISTOGRAM_ROWS]
            # Truncated: a little under 0, by rounding, is 0 too.
            np.add(places[start : start + HISTOGRAM_ROWS], half, out=part, casting="unsafe")
            if first != second:
                counts_2B[1] += self._counts(part)
        if first == second:
            counts_2B[1] = self._counts(bins[np.triu_indices(len(bins), k=1)])
        for rows, columns in self._speakers(first, second):
            same = bins[rows, columns]
            counts_2B[0] += self._counts(same[np.triu_indices(len(same), k=1)] if first == second else same)
        counts_2B[1] -= counts_2B[0]
        return counts_2B

    def _counts(self, bins: np.ndarray) -> np.ndarray:
        return np.bincount(bins.ravel(), minlength=self.num_bins + 1)

    def _speakers(self, first: int, second: int) -> list[tuple[slice, slice]]:
        """Rows and columns of each speaker who is in both blocks."""
        codes = [self.code_N[start : start + PAIR_ROWS] for start in (first, second)]
        both = np.unique(codes[0]) if first == second else np.intersect1d(codes[0], codes[1])
        sides = [[code.searchsorted(both, side=side) for side in ("left", "right")] for code in codes]
        (top, bottom), (left, right) = sides
        pairs = [(slice(a, b), slice(c, d)) for a, b, c, d in zip(top, bottom, left, right, strict=True)]
        return [pair for pair in pairs if first != second or pair[0].stop - pair[0].start > 1]
