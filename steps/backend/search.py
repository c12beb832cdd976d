"""The nearest of very many enrolled embeddings, and the scores of all pairs as a histogram; by the cosine, in blocks.

Products in single precision find candidates and never stand in memory as a whole. What they leave is scored again, pair by
pair in double precision, and rounded to a multiple of `STEP`, 2^-22 or 2.4e-7: that number is the cosine that is returned,
cosines that are equal then are ties, and ties come in the order of the rows. So the answer depends on the two embeddings
alone: not on k, on blocks or threads, on where an embedding stands in a product, or on who computes it (but for a cosine within
1e-15 of the middle between two multiples).
Suffixes: Q queries, N enrolled embeddings, D dimensions, K results of a query, B rows of a block, P pairs.
"""

from __future__ import annotations

import importlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steps.backend.cosine import float_rows, row_lengths, unit_rows_float32
from steps.backend.estimator import speaker_codes

STEP = 2.0**-22  # of cosines that are returned; every multiple of it up to 1 is a number of single precision
QUERY_ROWS, ENROLLED_ROWS = 256, 4096  # of a block of the search
PAIRS_AT_A_TIME = 4096  # that are scored again
PAIR_ROWS, HISTOGRAM_ROWS = 1024, 64  # of a block of all pairs, and counted at a time of that
MAX_BINS = 1 << 15
MOST_FETCHED = 1024  # candidates of an index of FAISS that compresses embeddings, or walks along a graph


class Index(Protocol):
    """Enrolled embeddings in which the nearest to a query can be looked up."""

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k] of the enrolled embeddings they belong to)."""
        ...


def top_k(
    queries: npt.ArrayLike, enrolled: npt.ArrayLike, k: int, *, index: str = "exact", threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return (cosines [Q, k], descending, rows [Q, k]) of the k enrolled embeddings nearest to each query.

    Cosines are multiples of `STEP`, float32; equal ones come in the order of the rows, and the answer for k is the begin of
    that for k + 1. To search the same embeddings several times, make the index once: `build_index(enrolled).search(queries, k)`.

    Args:
        queries: [Q, D].
        enrolled: [N, D], for instance one for each speaker.
        k: how many.
        index: "exact" compares with every enrolled embedding; "faiss", or "faiss:<factory string>", asks an index of FAISS,
            which may miss some, in a small part of the time.
        threads: blocks of queries at work at the same time, beside the threads of the matrix product.

    Raises:
        ValueError: embeddings that are not finite, of zeros, too long for a length in double precision, or of different D; k
            out of range; an unknown index, or one that needs a package that is not installed.
    """
    return build_index(enrolled, index, threads=threads).search(queries, k)


def build_index(enrolled: npt.ArrayLike, kind: str = "exact", *, threads: int = 1) -> Index:
    """Return an index of enrolled embeddings [N, D], which must not be changed as long as it is searched; see `top_k`."""
    name, _, factory = kind.partition(":")
    if kind == "exact":
        return ExactIndex(enrolled, threads=threads)
    if name == "faiss":
        return FaissIndex(enrolled, factory)
    raise ValueError(f"index: expected 'exact', 'faiss' or 'faiss:<factory string>', found {kind!r}")


class _Rows:
    """Embeddings as they were given, and scaled to unit length in single precision.

    Raises:
        ValueError: see `top_k`.
    """

    def __init__(self, embeddings: npt.ArrayLike, name: str, *, dim: int | None = None) -> None:
        self.given_ND = float_rows(embeddings, name, dim=dim)
        with np.errstate(over="ignore"):
            self.length_N = row_lengths(self.given_ND, name)
        if not np.isfinite(self.length_N).all():
            row = int((~np.isfinite(self.length_N)).argmax())
            raise ValueError(f"{name}: expected embeddings with a finite length, found one beyond double precision in row {row}")
        self.unit_ND = unit_rows_float32(self.given_ND, name)

    def __len__(self) -> int:
        return len(self.given_ND)


def _rounded_cosines(queries: _Rows, enrolled: _Rows, query_P: np.ndarray, row_P: np.ndarray) -> np.ndarray:
    """The cosine of each pair of a query and an enrolled embedding as a multiple of `STEP`, float32 [P]."""
    cosine_P = np.empty(query_P.size)
    for start in range(0, query_P.size, PAIRS_AT_A_TIME):
        pairs = slice(start, start + PAIRS_AT_A_TIME)
        one_PD, other_PD = queries.given_ND[query_P[pairs]], enrolled.given_ND[row_P[pairs]]
        # By einsum, which adds up each row by itself and in one order, as a matrix product does not.
        cosine_P[pairs] = np.einsum("pd,pd->p", one_PD.astype(np.float64, copy=False), other_PD.astype(np.float64, copy=False))
    cosine_P /= queries.length_N[query_P]
    cosine_P /= enrolled.length_N[row_P]
    return (np.rint(cosine_P / STEP) * STEP).astype(np.float32)


def _most_apart(dim: int) -> float:
    """How far a product of two unit rows in single precision can be from their rounded cosine.

    Source: Higham, "Accuracy and stability of numerical algorithms", 2002, section 3.1, for products added up in any order.
    """
    return (dim + 4) * 2.0**-24 + STEP / 2


class ExactIndex:
    """All enrolled embeddings; every search compares with each of them."""

    def __init__(self, enrolled: npt.ArrayLike, *, threads: int = 1) -> None:
        self.enrolled, self.threads = _Rows(enrolled, "enrolled embeddings"), threads

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k]), see `top_k`."""
        asked = _Rows(queries, "queries", dim=self.enrolled.unit_ND.shape[1])
        _check_k(k, len(self.enrolled))
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda start: self._search(asked, start, k), range(0, len(asked), QUERY_ROWS)))
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)

    def _search(self, asked: _Rows, first: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best of the queries from row `first` on, of a block of them."""
        queries_BD, apart = asked.unit_ND[first : first + QUERY_ROWS], _most_apart(asked.unit_ND.shape[1])
        best_BK = np.full((len(queries_BD), k), -np.inf, dtype=np.float32)
        rows_BK = np.zeros((len(queries_BD), k), dtype=np.int64)
        for start in range(0, len(self.enrolled), ENROLLED_ROWS):
            product_BN = queries_BD @ self.enrolled.unit_ND[start : start + ENROLLED_ROWS].T
            size = product_BN.shape[1]
            # Later rows have to be better than the last of the best, for of equal ones the first row comes first.
            floor_B = best_BK[:, -1].astype(np.float64) + STEP - apart
            if start == 0 and size > k:  # later few are better than what there is, here nearly all would be
                floor_B = np.partition(product_BN, size - k, axis=1)[:, size - k].astype(np.float64) - 2 * apart
            found = np.flatnonzero(product_BN > np.nextafter(floor_B.astype(np.float32), np.float32(-np.inf))[:, None])
            if found.size:
                values = _rounded_cosines(asked, self.enrolled, first + found // size, start + found % size)
                best_BK, rows_BK = _merge(best_BK, rows_BK, values, found, size, start)
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

    FAISS gives candidates, of which the best are chosen by their rounded cosines. Of "Flat" and "IVF<n>,Flat" so many are
    fetched that all ties of the last result are among them, if need be all that the index looks at: what it looks at does
    not depend on how many are asked for, so that neither does the answer. With any other factory string, where it does,
    always `MOST_FETCHED` are fetched, and no larger k is allowed; of more than so many ties some may be missed.

    Args:
        enrolled: [N, D].
        factory: what to make, as faiss.index_factory has it; "" is "Flat" under 10,000 rows and else an inverted file with
            about 4 sqrt(N) lists, of which a sixteenth is searched.
    """

    def __init__(self, enrolled: npt.ArrayLike, factory: str = "") -> None:
        faiss = _faiss()
        self.enrolled = _Rows(enrolled, "enrolled embeddings")
        unit_ND = self.enrolled.unit_ND
        num_lists = 1 << round(np.log2(4 * np.sqrt(len(unit_ND))))
        factory = factory or ("Flat" if len(unit_ND) < 10_000 else f"IVF{num_lists},Flat")
        self.is_plain = re.fullmatch(r"(IVF\d+,)?Flat", factory) is not None
        self.index = faiss.index_factory(unit_ND.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        self.index.train(unit_ND)
        self.index.add(unit_ND)
        del self.enrolled.unit_ND  # the index has them
        if hasattr(self.index, "nprobe"):
            self.index.nprobe = max(1, int(getattr(self.index, "nlist", 16)) // 16)

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (cosines [Q, k], descending, and rows [Q, k]; -inf and -1 where FAISS found fewer), see `top_k`."""
        num, dim = self.enrolled.given_ND.shape
        asked = _Rows(queries, "queries", dim=dim)
        _check_k(k, num)
        if not self.is_plain and k > MOST_FETCHED:
            raise ValueError(
                f"k: expected 1 to {MOST_FETCHED} with this index of FAISS, found {k}; search exactly, or with 'faiss'"
            )
        best_QK, rows_QK = np.empty((len(asked), k), dtype=np.float32), np.empty((len(asked), k), dtype=np.int64)
        for start in range(0, len(asked), QUERY_ROWS):
            left, num_fetched = np.arange(start, min(start + QUERY_ROWS, len(asked))), self._first_fetch(k)
            while left.size:
                best_BK, rows_BK, is_sure_B = self._fetch(asked, left, k, num_fetched)
                best_QK[left], rows_QK[left] = best_BK, rows_BK
                left, num_fetched = left[~is_sure_B], min(num, 4 * num_fetched)
        return best_QK, rows_QK

    def _first_fetch(self, k: int) -> int:
        return min(len(self.enrolled), 2 * k + 8 if self.is_plain else MOST_FETCHED)

    def _fetch(self, asked: _Rows, query_B: np.ndarray, k: int, num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(Cosines and rows of the best of so many candidates [B, k], whether no other row may belong among them [B])."""
        product_BM, row_BM = self.index.search(asked.unit_ND[query_B], num)
        product_BM, row_BM = np.asarray(product_BM), np.asarray(row_BM, dtype=np.int64)
        value_BM, there_BM = np.full(row_BM.shape, -np.inf, dtype=np.float32), row_BM >= 0
        place_P = np.nonzero(there_BM)[0]
        value_BM[there_BM] = _rounded_cosines(asked, self.enrolled, query_B[place_P], row_BM[there_BM])
        order_BK = np.lexsort((row_BM, -value_BM), axis=1)[:, :k]
        best_BK, rows_BK = np.take_along_axis(value_BM, order_BK, axis=1), np.take_along_axis(row_BM, order_BK, axis=1)
        is_all_B = ~there_BM[:, -1] | (num == len(self.enrolled)) | (not self.is_plain)
        apart = _most_apart(asked.unit_ND.shape[1])
        return best_BK, rows_BK, is_all_B | (product_BM[:, -1].astype(np.float64) + apart < best_BK[:, -1])


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
        ValueError: embeddings that `top_k` refuses, not one speaker an embedding, fewer than two embeddings,
            `num_bins` out of range.
    """
    if not 1 <= num_bins <= MAX_BINS:
        raise ValueError(f"num_bins: expected 1 to {MAX_BINS}, found {num_bins}")
    rows_ND = _Rows(embeddings, "embeddings").unit_ND
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
