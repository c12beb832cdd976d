"""Several rows for each item: the windows of an utterance, or the utterances of an enrolled speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings

_FEW = 8  # rows of each item up to which they are added one after the other, in a tenth of the time that reduceat takes


@dataclass(frozen=True, eq=False)
class Windows:
    """Rows of N items, one after the other; item n has `rows_RD[start_N1[n] : start_N1[n + 1]]`, at least one."""

    rows_RD: np.ndarray
    start_N1: np.ndarray  # [N + 1] whole numbers from 0 to R

    def __post_init__(self) -> None:
        counts = np.diff(self.start_N1)
        if self.start_N1[0] != 0 or self.start_N1[-1] != len(self.rows_RD) or (counts < 1).any():
            raise ValueError(f"windows: expected starts from 0 to {len(self.rows_RD)} that rise, found {self.start_N1}")

    @classmethod
    def of(cls, items: Sequence[npt.ArrayLike]) -> Windows:
        """Return the windows of items given as arrays [W, D], W at least 1.

        Raises:
            ValueError: none, an empty one, several D, or values that are not finite.
        """
        arrays = [np.asarray(item) for item in items]
        sizes = [len(array) if array.ndim == 2 else 0 for array in arrays]
        if not arrays or min(sizes) < 1 or len({array.shape[1] for array in arrays}) != 1:
            raise ValueError("windows: expected arrays [windows, dimensions], at least one window each, of one dimension")
        rows_RD = checked_embeddings(np.concatenate(arrays), "windows")
        return cls(rows_RD, np.concatenate([[0], np.cumsum(sizes)]))

    def __len__(self) -> int:
        return len(self.start_N1) - 1

    @property
    def counts_N(self) -> np.ndarray:
        """Number of rows of each item."""
        return np.diff(self.start_N1)

    def __getitem__(self, part: slice) -> Windows:
        """Return some of the items, that follow one another.

        Raises:
            ValueError: the slice has a step, or holds no item.
        """
        first, last, step = part.indices(len(self))
        if step != 1 or first >= last:
            raise ValueError(f"windows: expected a slice of items without a step, not empty, found {part}")
        start_N1 = self.start_N1[first : last + 1]
        return Windows(self.rows_RD[start_N1[0] : start_N1[-1]], start_N1 - start_N1[0])

    def item(self, index: int) -> np.ndarray:
        """Return the rows [W, D] of an item."""
        return self.rows_RD[self.start_N1[index] : self.start_N1[index + 1]]

    def means(self) -> np.ndarray:
        """Return the mean row of each item, [N, D]."""
        count = int(self.counts_N[0])
        if count > _FEW or (self.counts_N != count).any():
            return np.add.reduceat(self.rows_RD, self.start_N1[:-1], axis=0) / self.counts_N[:, None]
        columns = [self.rows_RD[place::count] for place in range(count)]
        # As reduceat does it: the others from the second on, and then the first.
        total_ND = sum(columns[2:], start=columns[1]) + columns[0] if count > 1 else columns[0]
        return total_ND / self.counts_N[:, None]

    def joined(self, items: Sequence[npt.ArrayLike]) -> Windows:
        """Return items that are made of several of these, given their indices: the rows of all of them.

        Raises:
            ValueError: no items, or one made of none.
        """
        counts_M = np.array([np.size(each) for each in items], dtype=np.int64)
        if not counts_M.size or counts_M.min() < 1:
            raise ValueError("items: expected at least one, made of at least one each")
        index_I = np.concatenate([np.asarray(each) for each in items])
        size_I = self.counts_N[index_I]
        first_I = np.cumsum(size_I) - size_I
        row_R = np.repeat(self.start_N1[index_I] - first_I, size_I) + np.arange(size_I.sum())
        sizes_M = np.add.reduceat(size_I, np.cumsum(counts_M) - counts_M)
        return Windows(self.rows_RD[row_R], np.concatenate([[0], np.cumsum(sizes_M)]))

    def followed_by(self, other: Windows) -> Windows:
        """Return these items and then those of `other`."""
        start_N1 = np.concatenate([self.start_N1, self.start_N1[-1] + other.start_N1[1:]])
        return Windows(np.concatenate([self.rows_RD, other.rows_RD]), start_N1)
