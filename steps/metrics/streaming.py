"""Exact figures of more trials than fit into memory, from scores that come in chunks and can be read several times.

Scores are whole numbers in disguise: the bits of a floating-point number, read in the right way, rise with it. A first
reading counts targets and non-targets by the leading bits. That bounds every figure from both sides, and leaves few
intervals ("cells") in which a threshold could still better it; the next reading counts those by further bits, or, once
they hold few scores, takes these out. It ends when no cell is left that could matter: mostly after two readings, at most
after a few, with the very numbers that `eer`, `min_dcf` and `eer_rocch` give of the whole.
Suffixes: K cells in ascending order; N scores of a chunk.

Source: the bound is that of branch and bound (Land and Doig, 1960); for the convex hull it is the separating line of
    Kelley's cutting planes (1960): a hull is known near a point when no cell's best corner is below the edge there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.metrics.costs import normalised_cost
from steps.metrics.curve import checked_scores, cumulate
from steps.metrics.pav import pool_groups

Chunks = Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]  # (scores [N], is_target [N]); the same each time it is iterated

FIRST_BITS = 20  # a million cells at first, 16 MB of counts
MAX_BINS = 1 << 21  # counted at a time later on
MAX_SCORES = 4_000_000  # taken out at a time, about 100 MB in the making
_SLICE = 1 << 20  # scores looked at in one go, so that they stay in the cache


@dataclass(frozen=True, eq=False)
class _Cells:
    """Intervals of keys that hold scores: [first, first + 2 ** bits)."""

    first_K: np.ndarray  # uint64
    bits_K: np.ndarray  # int64; 0: one value
    targets_K: np.ndarray  # int64
    nontargets_K: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """Targets below each cell, and below infinity, [K + 1]."""
        return np.concatenate([[0], np.cumsum(self.targets_K)])

    @property
    def accepted(self) -> np.ndarray:
        """Non-targets from each cell on, and from infinity, [K + 1]."""
        return self.nontargets_K.sum() - np.concatenate([[0], np.cumsum(self.nontargets_K)])

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """Miss and false-alarm rate at the lowest score of each cell and at infinity, [K + 1]."""
        return self.missed / float(self.targets_K.sum()), self.accepted / float(self.nontargets_K.sum())

    @property
    def mixed_K(self) -> np.ndarray:
        """Whether a threshold within may have both rates lower than those at the cell's ends, taken together."""
        return (self.bits_K > 0) & (self.targets_K > 0) & (self.nontargets_K > 0)

    def replaced(self, chosen: np.ndarray, parts: _Cells) -> _Cells:
        """The cells with some of them replaced by their parts, in order."""
        columns = [
            np.concatenate([np.delete(getattr(self, name), chosen), getattr(parts, name)])
            for name in ("first_K", "bits_K", "targets_K", "nontargets_K")
        ]
        order = np.argsort(columns[0], kind="stable")
        return _Cells(*(column[order] for column in columns))


def stream_figures(
    chunks: Chunks, *, priors: tuple[float, ...] = (0.01, 0.05), rocch: bool = True, progress: Any = None
) -> dict[str, Any]:
    """Return num_target, num_nontarget, eer, eer_rocch and min_dcf (by the prior as text) of trials given in chunks.

    The figures are those of steps.metrics of all trials at once. Memory does not grow with the number of trials.

    Args:
        chunks: of scores and truths; iterated several times, and each time the same. Scores of the first chunk decide
            whether all are compared as float32 or as float64.
        priors: of the minimum detection costs.
        rocch: whether the equal error rate on the convex hull is looked for too (else None).
        progress: called with the number of the reading (from 1) and the number of cells it looks into, at its begin.

    Raises:
        ValueError: chunks that can be iterated only once, or that differ between readings; scores that are not finite,
            another length of scores than of truths, no target or no non-target trial, a prior outside (0, 1).
    """
    if iter(chunks) is chunks:
        raise ValueError(
            "chunks: expected something that can be iterated several times, found an iterator; give a list or a class"
        )
    costs = {str(prior): _checked_cost(prior) for prior in priors}
    progress = progress or (lambda reading, cells: None)
    progress(1, 1)
    source = _Keys(chunks)
    cells = _first_cells(source)
    totals = int(cells.targets_K.sum()), int(cells.nontargets_K.sum())
    if 0 in totals:
        raise ValueError(f"is_target: expected trials of both kinds, found {totals[0]} targets in {sum(totals)} trials")
    for reading in count(2):
        wanted = [_open_for_eer(cells), *(_open_for_cost(cells, cost) for cost in costs.values())]
        wanted += [_open_for_hull(cells)] if rocch else []
        chosen = np.unique(np.concatenate(wanted))[: MAX_BINS // 2]
        if not chosen.size:
            break
        progress(reading, chosen.size)
        parts = _split(source, cells, chosen)
        if (parts.targets_K.sum(), parts.nontargets_K.sum()) != (cells.targets_K[chosen].sum(), cells.nontargets_K[chosen].sum()):
            raise ValueError("chunks: expected the same scores at each reading, found others; give data that do not change")
        cells = cells.replaced(chosen, parts)
    return {
        "num_target": totals[0],
        "num_nontarget": totals[1],
        "eer": _eer(cells),
        "eer_rocch": _hull_edge(cells)[0] if rocch else None,
        "min_dcf": {prior: float(cost(*cells.rates()).min()) for prior, cost in costs.items()},
    }


def _checked_cost(p_target: float):
    normalised_cost(np.zeros(1), np.zeros(1), p_target)  # refuses a prior outside (0, 1)
    return lambda p_miss, p_fa: normalised_cost(p_miss, p_fa, p_target)


class _Keys:
    """The chunks as whole numbers of `bits` bits that rise with the scores, and truths."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks, self.bits = chunks, 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Keys and truths, `_SLICE` at a time whatever the size of the chunks: counting costs something each time."""
        keys, truths, num = [], [], 0
        for index, (scores, is_target) in enumerate(self.chunks):
            scores_N, truth_N = self._checked(scores, is_target, index)
            for start in range(0, scores_N.size, _SLICE):
                keys.append(self._keys(scores_N[start : start + _SLICE]))
                truths.append(truth_N[start : start + _SLICE])
                num += keys[-1].size
                if num >= _SLICE:
                    yield np.concatenate(keys), np.concatenate(truths)
                    keys, truths, num = [], [], 0
        if num:
            yield np.concatenate(keys), np.concatenate(truths)

    def _checked(self, scores: npt.ArrayLike, is_target: npt.ArrayLike, index: int) -> tuple[np.ndarray, np.ndarray]:
        name = f"scores of chunk {index}"
        scores_N = np.asarray(scores)
        if scores_N.ndim != 1 or not np.isfinite(scores_N).all():
            checked_scores(scores_N, name)
        kind = np.float32 if scores_N.dtype == np.float32 else np.float64
        self.bits = self.bits or np.dtype(kind).itemsize * 8
        if kind == np.float64 and self.bits == 32 and scores_N.size:
            raise ValueError(f"{name}: expected float32 as in the first chunk, found {scores_N.dtype}; convert the chunks")
        return scores_N, _checked_part(is_target, scores_N.size, index)

    def _keys(self, scores_N: np.ndarray) -> np.ndarray:
        kind, signed, unsigned = (np.float32, np.int32, np.uint32) if self.bits == 32 else (np.float64, np.int64, np.uint64)
        # Adding 0 makes -0.0 the 0.0 that it equals. Negative numbers have their bits turned, so that they rise too.
        bits_N = (scores_N.astype(kind, copy=False) + kind(0)).view(signed)
        bits_N ^= (bits_N >> (self.bits - 1)) & np.iinfo(signed).max
        bits_N ^= np.iinfo(signed).min
        return bits_N.view(unsigned)


def _checked_part(is_target: npt.ArrayLike, num: int, index: int) -> np.ndarray:
    truth_N = np.asarray(is_target)
    if truth_N.shape != (num,) or (truth_N.dtype != bool and not np.isin(truth_N, (0, 1)).all()):
        raise ValueError(
            f"is_target of chunk {index}: expected {num} booleans as there are scores, found {truth_N.dtype} of {truth_N.shape}"
        )
    return truth_N.astype(bool, copy=False)


def _first_cells(source: _Keys) -> _Cells:
    """The cells of the first reading, by the leading bits."""
    counts = np.zeros(2 << FIRST_BITS, dtype=np.int64)
    for key_N, truth_N in source:
        # The truth becomes the lowest bit, so that one count does for both kinds.
        place_N = (key_N >> (source.bits - FIRST_BITS)).astype(np.uint32)
        counts += np.bincount((place_N << 1) | truth_N, minlength=counts.size)
    counts = counts.reshape(-1, 2)
    place_K = np.flatnonzero(counts.any(axis=1))
    bits = source.bits - FIRST_BITS if source.bits else 0
    return _Cells(
        place_K.astype(np.uint64) << np.uint64(bits), np.full(place_K.size, bits), counts[place_K, 1], counts[place_K, 0]
    )


def _split(source: _Keys, cells: _Cells, chosen: np.ndarray) -> _Cells:
    """The parts of some cells: by further bits, or by single values where there are few enough scores."""
    first_C, bits_C = cells.first_K[chosen], cells.bits_K[chosen]
    few = int((cells.targets_K[chosen] + cells.nontargets_K[chosen]).sum()) <= MAX_SCORES
    found_keys, found_truths = [], []
    more = max(1, (MAX_BINS // chosen.size).bit_length() - 1)  # bits counted in this reading
    rest_C = np.maximum(bits_C - more, 0)
    counts = np.zeros(0 if few else 2 * chosen.size << more, dtype=np.int64)
    for key_N, truth_N, cell_N in _within(source, first_C, bits_C):
        if few:
            found_keys.append(key_N)
            found_truths.append(truth_N)
            continue
        place_N = ((key_N - first_C[cell_N]) >> rest_C[cell_N].astype(np.uint64)).astype(np.int64)
        place_N += cell_N << more
        counts += np.bincount((place_N << 1) | truth_N, minlength=counts.size)
    if few:
        return _single_values(found_keys, found_truths)
    counts = counts.reshape(-1, 2)
    place_K = np.flatnonzero(counts.any(axis=1))
    cell_K, part_K = place_K >> more, (place_K & ((1 << more) - 1)).astype(np.uint64)
    first_K = first_C[cell_K] + (part_K << rest_C[cell_K].astype(np.uint64))
    return _Cells(first_K, rest_C[cell_K], counts[place_K, 1], counts[place_K, 0])


def _within(source: _Keys, first_C: np.ndarray, bits_C: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (uint64 keys, truths, index of the cell) of the scores in the cells given, slice by slice."""
    leading = source.bits - FIRST_BITS
    is_wanted = np.zeros(1 << FIRST_BITS, dtype=bool)  # by the leading bits; a look at it spares most scores the rest
    is_wanted[(first_C >> np.uint64(leading)).astype(np.int64)] = True
    last_C = first_C + ((np.uint64(1) << bits_C.astype(np.uint64)) - np.uint64(1))
    for key_N, truth_N in source:
        maybe = np.flatnonzero(is_wanted[(key_N >> leading).astype(np.int64)])
        key_M = key_N[maybe].astype(np.uint64)
        cell_M = first_C.searchsorted(key_M, side="right") - 1
        inside = (cell_M >= 0) & (key_M <= last_C[cell_M])
        yield key_M[inside], truth_N[maybe[inside]], cell_M[inside]


def _single_values(keys: list[np.ndarray], truths: list[np.ndarray]) -> _Cells:
    key_N, truth_N = np.concatenate(keys), np.concatenate(truths)
    first_K, value_N = np.unique(key_N, return_inverse=True)
    targets_K = np.bincount(value_N[truth_N], minlength=first_K.size)
    counts_K = np.bincount(value_N, minlength=first_K.size)
    return _Cells(first_K, np.zeros(first_K.size, dtype=np.int64), targets_K, counts_K - targets_K)


def _crossing(cells: _Cells) -> tuple[int, int, int]:
    """The first end of a cell where no more is accepted than missed; differences of the counts before it and there."""
    missed, accepted = cells.missed, cells.accepted
    num_t, num_n = int(missed[-1]), int(accepted[0])

    def difference(index: int) -> int:
        return int(missed[index]) * num_n - int(accepted[index]) * num_t

    above = bisect_left(range(missed.size), 0, key=difference)
    return above, difference(above - 1), difference(above)


def _open_for_eer(cells: _Cells) -> np.ndarray:
    above, _, _ = _crossing(cells)
    return np.flatnonzero((np.arange(cells.bits_K.size) == above - 1) & (cells.bits_K > 0))


def _eer(cells: _Cells) -> float:
    above, before, after = _crossing(cells)
    nearest = above - 1 if -before <= after else above
    p_miss, p_fa = cells.rates()
    return float(0.5 * (p_miss[nearest] + p_fa[nearest]))


def _open_for_cost(cells: _Cells, cost: Any) -> np.ndarray:
    """Cells in which a threshold could cost less than at any end of a cell."""
    p_miss, p_fa = cells.rates()
    return np.flatnonzero(cells.mixed_K & (cost(p_miss[:-1], p_fa[1:]) < cost(p_miss, p_fa).min()))


def _hull_edge(cells: _Cells) -> tuple[float, np.ndarray, np.ndarray]:
    """The equal error rate on the hull of the cells' ends, and the rates (miss, false alarm) of the edge it lies on."""
    target_B, nontarget_B = pool_groups(cells.targets_K.astype(np.float64), cells.nontargets_K.astype(np.float64))
    p_miss = cumulate(target_B) / float(cells.targets_K.sum())
    p_fa = 1.0 - cumulate(nontarget_B) / float(cells.nontargets_K.sum())
    after = int(np.argmax(p_miss - p_fa >= 0))
    ends = slice(after - 1, after + 1)
    difference = p_miss[ends] - p_fa[ends]
    share = -difference[0] / (difference[1] - difference[0])
    return float(p_miss[after - 1] + share * (p_miss[after] - p_miss[after - 1])), p_miss[ends], p_fa[ends]


def _open_for_hull(cells: _Cells) -> np.ndarray:
    """Cells with a best corner below the line through the hull's edge at the diagonal."""
    _, edge_miss, edge_fa = _hull_edge(cells)
    weight_miss, weight_fa = edge_fa[0] - edge_fa[1], edge_miss[1] - edge_miss[0]
    p_miss, p_fa = cells.rates()
    line = weight_miss * edge_miss[0] + weight_fa * edge_fa[0]
    # A little over the line, for rounding: a cell looked into for nothing does no harm.
    return np.flatnonzero(cells.mixed_K & (weight_miss * p_miss[:-1] + weight_fa * p_fa[1:] < line * (1 + 1e-12)))
