"""Very many texts in two pieces of memory instead of an object each: ids and paths of a million utterances.

A Python text takes some fifty bytes beside its letters, and touching it writes to it (its number of references), so that every
forked worker gets a copy of its own in time. Here the letters lie behind one another, and are shared for good.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

_CHUNK = 10_000  # texts that are made at a time while all are gone through


class Strings(Sequence[str]):
    """Texts by number; equal to any sequence of the same texts."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes, self._ends = bytearray(), array("q", [0])  # text n lies between ends n and n + 1
        self._is_rising, self._last = True, b""
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Put a text behind the others."""
        encoded = text.encode()
        self._is_rising &= self._last < encoded or len(self._ends) == 1
        self._last = encoded
        self._bytes += encoded
        self._ends.append(len(self._bytes))

    @property
    def is_rising(self) -> bool:
        """Whether each text comes after the one before it in the order of their letters (so that none is there twice)."""
        return self._is_rising

    def find(self, text: str) -> int:
        """Return the number of a text, -1 if it is not there; by halving, so the texts have to be rising."""
        assert self._is_rising
        key, ends, content = text.encode(), self._ends, self._bytes  # UTF-8 has the order of the letters
        low, high = 0, len(ends) - 1
        while low < high:
            middle = (low + high) // 2
            if content[ends[middle] : ends[middle + 1]] < key:
                low = middle + 1
            else:
                high = middle
        return low if low < len(ends) - 1 and content[ends[low] : ends[low + 1]] == key else -1

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place):  # an int: a text; a slice: a list of texts
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # negative ones count from the end, others beyond it are an IndexError
        return self._bytes[self._ends[place] : self._ends[place + 1]].decode()

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), _CHUNK):
            yield from self[first : first + _CHUNK]

    def __contains__(self, text: object) -> bool:
        if not self._is_rising:
            return any(text == each for each in self)
        return isinstance(text, str) and self.find(text) >= 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Strings):
            return self._bytes == other._bytes and self._ends == other._ends
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == each for one, each in zip(self, other, strict=True))

    __hash__ = None  # it can grow

    def __repr__(self) -> str:
        return f"Strings({self[:3]}{' ...' if len(self) > 3 else ''}, {len(self)} texts)"


class Labels(Sequence[str]):
    """Texts of which few are different, such as the speakers of utterances: four bytes each."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.names: list[str] = []
        self.codes = array("i")  # the place of each text in `names`
        self._code_of: dict[str, int] = {}
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Put a text behind the others."""
        code = self._code_of.setdefault(text, len(self.names))
        if code == len(self.names):
            self.names.append(text)
        self.codes.append(code)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place):  # an int: a text; a slice: a list of texts
        if isinstance(place, slice):
            return [self.names[code] for code in self.codes[place]]
        return self.names[self.codes[place]]
