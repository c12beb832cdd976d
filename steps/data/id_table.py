"""A table of ids, each with a number: what a dictionary does, for whole columns of ids at a time."""

from __future__ import annotations

import numpy as np

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: spreads neighbours far apart
_FACTORS = np.array([pow(int(_MIX), n + 1, 1 << 64) for n in range(256)], dtype=np.uint64)


class IdTable:
    """Ids as words of eight bytes (see `Block.words`), numbered from 0 in the order in which they find their places.

    Open addressing with linear probing; a slot holds the number of an id, -1 is empty. Ids are compared in full, so
    that two with one hash stay two.
    """

    def __init__(self) -> None:
        self._words_NW = np.zeros((1024, 1), dtype="<u8")
        self._slots = np.full(1 << 12, -1, dtype=np.int64)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def words_NW(self) -> np.ndarray:
        """The ids as words, in the order of their numbers."""
        return self._words_NW[: self._size]

    @property
    def ids(self) -> list[bytes]:
        """The ids in the order of their numbers."""
        return self.words_NW.reshape(-1).view(f"S{8 * self.words_NW.shape[1]}").tolist() if self._size else []

    def numbers(self, words_LW: np.ndarray, *, add: bool = True) -> np.ndarray:
        """Return the number [L] of each id; -1 for an unknown one unless it is to be added."""
        words_LW = self._same_width(words_LW)
        if add:
            self._make_room(len(words_LW))
        slot_L = self._home(words_LW)
        number_L = self._look(slot_L, words_LW)
        open_L = np.flatnonzero(number_L < 0)  # few but at the begin: most ids are found where the search for them starts
        while open_L.size:
            is_empty = self._slots[slot_L[open_L]] < 0
            passed = open_L[~is_empty]
            slot_L[passed] = (slot_L[passed] + 1) & (self._slots.size - 1)
            # Where several wait for one slot, one of them gets it; the others look there again.
            waiting = self._claim(open_L[is_empty], slot_L, words_LW, number_L) if add else open_L[:0]
            open_L = np.concatenate([waiting, passed])
            number_L[open_L] = self._look(slot_L[open_L], words_LW[open_L])
            open_L = open_L[number_L[open_L] < 0]
        return number_L

    def _look(self, slot_L: np.ndarray, words_LW: np.ndarray) -> np.ndarray:
        """The number in each slot if it is that of the id, else -1."""
        number_L = self._slots[slot_L]
        there_LW = self._words_NW.take(number_L, axis=0, mode="clip")
        is_same = there_LW[:, 0] == words_LW[:, 0]
        for column in range(1, words_LW.shape[1]):
            is_same &= there_LW[:, column] == words_LW[:, column]
        return np.where(is_same, number_L, -1)  # an empty slot is -1 already

    def _claim(self, rows: np.ndarray, slot_L: np.ndarray, words_LW: np.ndarray, number_L: np.ndarray) -> np.ndarray:
        """Give empty slots to the first of the rows that want each; return the others."""
        slots = slot_L[rows]
        self._slots[slots[::-1]] = -2 - rows[::-1]  # of several writes to one place the last one stays
        is_first = self._slots[slots] == -2 - rows
        winners = rows[is_first]
        number_L[winners] = np.arange(self._size, self._size + winners.size)
        self._slots[slots[is_first]] = number_L[winners]
        self._words_NW[self._size : self._size + winners.size] = words_LW[winners]
        self._size += winners.size
        return rows[~is_first]

    def _same_width(self, words_LW: np.ndarray) -> np.ndarray:
        missing = words_LW.shape[1] - self._words_NW.shape[1]
        if missing > 0:
            self._words_NW = np.pad(self._words_NW, ((0, 0), (0, missing)))
        return np.pad(words_LW, ((0, 0), (0, -missing))) if missing < 0 else words_LW

    def _home(self, words_LW: np.ndarray) -> np.ndarray:
        """Where the search for each id begins; zeros behind the end of an id do not count."""
        hash_L = np.zeros(len(words_LW), dtype=np.uint64)
        for column, factor in zip(words_LW.T, _FACTORS, strict=False):
            hash_L += (column ^ (column >> np.uint64(29))) * factor
        hash_L = (hash_L ^ (hash_L >> np.uint64(32))) * _MIX
        return (hash_L >> np.uint64(65 - self._slots.size.bit_length())).astype(np.int64)

    def _make_room(self, num: int) -> None:
        """Room for so many more, with no more than half of the slots in use."""
        if self._size + num > len(self._words_NW):
            extra = max(num, len(self._words_NW))
            self._words_NW = np.concatenate([self._words_NW, np.zeros((extra, self._words_NW.shape[1]), dtype="<u8")])
        if 2 * (self._size + num) > self._slots.size:
            self._slots = np.full(1 << (2 * (self._size + num)).bit_length(), -1, dtype=np.int64)
            slots, open_N = self._home(self.words_NW), np.arange(self._size)
            while open_N.size:
                free = open_N[self._slots[slots[open_N]] < 0]
                self._slots[slots[free]] = free
                open_N = open_N[self._slots[slots[open_N]] != open_N]
                slots[open_N] = (slots[open_N] + 1) & (self._slots.size - 1)


def words_of(ids: list[bytes]) -> np.ndarray:
    """Return ids as words [N, W], zeros behind their ends."""
    longest = max(map(len, ids), default=1)
    return np.array(ids, dtype=f"S{-(-max(longest, 1) // 8) * 8}").view("<u8").reshape(len(ids), -1)
