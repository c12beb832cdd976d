"""What trials compare: utterances, or speakers enrolled with several of them; each with its embedding and its windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from steps.backend.windows import Windows


@dataclass(frozen=True, eq=False)
class Items:
    """N items of one or more utterances each."""

    utterances: Windows  # a row per utterance: its embedding
    windows: Windows | None = None  # a row per window of any of the item's utterances; None: not known

    def __post_init__(self) -> None:
        if self.windows is not None and len(self.windows) != len(self.utterances):
            raise ValueError(f"windows: expected those of {len(self.utterances)} items, found {len(self.windows)}")

    @classmethod
    def single(cls, embeddings: npt.ArrayLike, windows: Windows | None = None) -> Items:
        """Return items of one utterance each, from embeddings [N, D]."""
        rows_ND = np.asarray(embeddings)
        return cls(Windows(rows_ND, np.arange(len(rows_ND) + 1)), windows)

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def is_single(self) -> bool:
        """Whether each item is one utterance."""
        return len(self.utterances.rows_RD) == len(self)

    def vectors(self) -> np.ndarray:
        """Return one embedding an item, [N, D]: the mean of its utterances'."""
        return self.utterances.rows_RD if self.is_single else self.utterances.means()

    def mapped(self, transform: Callable[[np.ndarray], np.ndarray]) -> Items:
        """Return the items with all embeddings and windows transformed."""
        windows = self.windows and replace(self.windows, rows_RD=transform(self.windows.rows_RD))
        return Items(replace(self.utterances, rows_RD=transform(self.utterances.rows_RD)), windows)

    def joined(self, rows_by_item: list[np.ndarray]) -> Items:
        """Return items that are made of several of these, given their rows."""
        return Items(self.utterances.joined(rows_by_item), self.windows and self.windows.joined(rows_by_item))

    def followed_by(self, other: Items) -> Items:
        """Return these items and then those of `other`."""
        windows = self.windows and other.windows and self.windows.followed_by(other.windows)
        return Items(self.utterances.followed_by(other.utterances), windows)
