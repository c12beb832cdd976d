"""Columns of long text files as arrays, a few megabytes at a time and without a Python object for each line.

Fields are looked at eight bytes at a time, as numbers: most lines of a score file are read and written with a few dozen
operations on whole columns. What is out of the ordinary (two blanks, a tab, a byte order mark, `1e-07`) is put right or
read by Python line by line, so that nothing depends on which way was taken.
Suffixes: L lines, F fields of a line, B bytes, W words of eight bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError

BLOCK_BYTES = 2 << 20  # read at a time; with all that is made of it about 20 MB
MAX_FIELD = 1000  # bytes: longer than any file name, and short enough to give every line of a block as much

_FRONT = 16  # zeros before a block, so that 16 bytes up to the end of any field may be looked at
_SPACE, _NEWLINE, _MINUS = 32, 10, 45


def _each(byte: int) -> np.uint64:
    """A word with that byte in all places."""
    return np.uint64(int.from_bytes(bytes([byte]) * 8, "little"))


_ONES, _TENS, _HIGH, _DOTS, _ZEROS = _each(0x01), _each(0x76), _each(0x80), _each(ord(".")), _each(ord("0"))
_POWERS = 10.0 ** np.arange(23)  # exact in double precision
# Word masks that keep the last n of 16 bytes, for n = 0..16: [17, 2].
_KEEP_LAST = np.array([[0] * (16 - n) + [255] * n for n in range(17)], dtype=np.uint8).view("<u8")


@dataclass(frozen=True, eq=False)
class Block:
    """Some lines of a file, split into fields."""

    path: Path
    bytes_B: np.ndarray  # uint8; zeros before and behind the text
    start_LF: np.ndarray  # where each field begins in bytes_B
    end_LF: np.ndarray
    number_L: np.ndarray  # of each line in the file, from 1

    def __len__(self) -> int:
        return len(self.start_LF)

    def rows(self, start: int, stop: int) -> Block:
        """Return the lines `start` to `stop`."""
        part = slice(start, stop)
        return Block(self.path, self.bytes_B, self.start_LF[part], self.end_LF[part], self.number_L[part])

    def field(self, line: int, column: int) -> bytes:
        """Return one field."""
        return self.bytes_B[self.start_LF[line, column] : self.end_LF[line, column]].tobytes()

    def line(self, line: int) -> str:
        """Return a line as text, for a message."""
        return self.bytes_B[self.start_LF[line, 0] : self.end_LF[line, -1]].tobytes().decode(errors="replace")

    def words(self, first: int, last: int | None = None) -> np.ndarray:
        """Return column `first` (or columns `first` to `last` with the blanks between) as words [L, W], zeros behind the end.

        Raises:
            RecipeError: a field of more than `MAX_FIELD` bytes.
        """
        start_L, end_L = self.start_LF[:, first], self.end_LF[:, first if last is None else last]
        length_L = end_L - start_L
        longest = int(length_L.max(initial=1))
        if longest > 2 * MAX_FIELD + 1 or (last is None and longest > MAX_FIELD):
            where = int(length_L.argmax())
            raise RecipeError(
                f"{self.path}:{self.number_L[where]}: expected ids of at most {MAX_FIELD} bytes, found {longest}; "
                "correct the line"
            )
        num = -(-longest // 8)
        words_LW = _load(self.bytes_B, start_L, 8 * num)
        keep = np.tri(8 * num + 1, 8 * num, -1, dtype=np.uint8) * np.uint8(255)
        words_LW &= keep.view("<u8")[length_L]
        return words_LW

    def numbers(self, column: int) -> np.ndarray:
        """Return a column as float64 [L]: the numbers nearest to what is written, as `float` gives them.

        Raises:
            ValueError: `(line, field)`, the first that is no number; nan and inf are numbers.
        """
        start_L, end_L = self.start_LF[:, column], self.end_LF[:, column]
        negative_L = self.bytes_B[start_L] == _MINUS
        length_L = end_L - start_L - negative_L
        both_L2 = _load(self.bytes_B, end_L - 16, 16)
        keep_L2 = _KEEP_LAST[np.minimum(length_L, 16)]
        both_L2 = (both_L2 & keep_L2) | (_ZEROS & ~keep_L2)
        early_L, late_L, decimals_L = _without_point(both_L2[:, 0], both_L2[:, 1])
        early_L, late_L = early_L ^ _ZEROS, late_L ^ _ZEROS
        is_plain = (((early_L + _TENS) | early_L | (late_L + _TENS) | late_L) & _HIGH) == 0
        digits_L = _value_of_digits(early_L) * np.uint64(10**8) + _value_of_digits(late_L)
        # 15 digits and a point, or 16 digits: the quotient of two numbers that are exact, or one number, is rounded once and
        # so the nearest there is (Clinger 1990).
        is_plain &= (length_L <= 16) & (length_L > (decimals_L >= 0))
        value_L = digits_L.astype(np.float64) / _POWERS[np.maximum(decimals_L, 0)]
        np.negative(value_L, out=value_L, where=negative_L)
        for line in np.flatnonzero(~is_plain):
            text = self.field(line, column)
            try:
                value_L[line] = float(text)
            except ValueError:
                raise ValueError(int(line), text.decode(errors="replace")) from None
        return value_L


def _load(bytes_B: np.ndarray, start_L: np.ndarray, num_bytes: int) -> np.ndarray:
    """The bytes from each start on as words [L, num_bytes / 8]; wherever they begin."""
    windows = np.ndarray((bytes_B.size - num_bytes + 1,), dtype=f"V{num_bytes}", buffer=bytes_B, strides=(1,))
    return windows[start_L].view("<u8").reshape(len(start_L), -1)


def _without_point(early_L: np.ndarray, late_L: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16 characters, in two words, without their first point; and the number of those behind it, -1 if there is none."""
    early_at, late_at = _first_point(early_L), _first_point(late_L)
    in_early, in_late = early_at != 0, early_at == 0
    in_late &= late_at != 0
    early_behind, late_behind = _close(early_L, early_at), _close(late_L, late_at)
    # What stood before the point moves one place back, and a 0 comes in at the front.
    late = np.where(in_late, late_behind | (early_L >> np.uint64(56)), late_L)
    early = np.where(in_early, early_behind, np.where(in_late, early_L << np.uint64(8), early_L))
    early |= np.where(in_early | in_late, np.uint64(ord("0")), np.uint64(0))
    place = np.bitwise_count((np.where(in_early, early_at, late_at) >> np.uint64(7)) - np.uint64(1)) >> 3
    return early, late, np.where(in_early, 15 - place.astype(np.int64), np.where(in_late, 7 - place.astype(np.int64), -1))


def _first_point(word_L: np.ndarray) -> np.ndarray:
    """The highest bit of the first byte that is a point, 0 if none is."""
    other_L = word_L ^ _DOTS
    points_L = (other_L - _ONES) & ~other_L & _HIGH  # the byte above a point may be marked wrongly, the lowest never
    return points_L & (~points_L + np.uint64(1))


def _close(word_L: np.ndarray, at_L: np.ndarray) -> np.ndarray:
    """The word without its byte at `at_L`: the bytes before it move one place up."""
    before_L = (at_L >> np.uint64(7)) - np.uint64(1)
    upto_L = (at_L << np.uint64(1)) - np.uint64(1)
    return (word_L & ~upto_L) | ((word_L & before_L) << np.uint64(8))


def _value_of_digits(digits_L: np.ndarray) -> np.ndarray:
    """The number that eight digits (bytes 0 to 9, the first one lowest) spell: pairs, fours, all eight."""
    pairs_L = digits_L * np.uint64(10) + (digits_L >> np.uint64(8))
    mask = np.uint64(0x000000FF000000FF)
    first_L = (pairs_L & mask) * np.uint64(100 + (1000000 << 32))
    return (first_L + ((pairs_L >> np.uint64(16)) & mask) * np.uint64(1 + (10000 << 32))) >> np.uint64(32)


def read_blocks(path: Path, what: str, num_fields: int, malformed: str) -> Iterator[Block]:
    """Yield the lines of a file that are not blank, split at white space.

    Args:
        path: of UTF-8 text; a byte order mark and CR LF are tolerated.
        what: the file is, for a message.
        num_fields: of each line.
        malformed: what to say of another number of fields: a format with {path}, {number} and {line!r}.

    Raises:
        RecipeError: no such file, no text, or a line with another number of fields.
    """
    number = 1
    for text in _texts(path, what):
        num_lines = text.count(b"\n")
        block = _split(path, text, num_fields, np.arange(number, number + num_lines))
        if block is None:
            block = _split(path, *_tidy(path, text, number, num_fields, what, malformed), strict=False)
        assert block is not None
        number += num_lines
        if len(block):
            yield block


def first_lines(path: Path, what: str, num: int) -> list[tuple[int, bytes]]:
    """Return (number, line) of the first lines that are not blank, up to `num`, of those that are read at once.

    Raises:
        RecipeError: no such file, or no text.
    """
    number, found = 1, []
    for text in _texts(path, what):
        lines = text.split(b"\n")[:-1]
        found = [(place, line) for place, line in enumerate(lines, start=number) if line.strip()][:num]
        if found:
            break
        number += len(lines)
    return found


def _texts(path: Path, what: str) -> Iterator[bytes]:
    """Whole lines, about `BLOCK_BYTES` at a time."""
    try:
        with open(path, "rb", buffering=0) as file:
            rest = file.read(3)
            rest = b"" if rest == b"\xef\xbb\xbf" else rest
            while more := file.read(BLOCK_BYTES):
                rest += more
                end = rest.rfind(b"\n") + 1
                if end:
                    yield rest[:end]
                    rest = rest[end:]
                elif len(rest) > 2 * BLOCK_BYTES:
                    raise RecipeError(f"{path}: {what} has no end of line in {len(rest)} bytes; expected text; give another file")
            if rest:
                yield rest + b"\n"
    except FileNotFoundError:
        raise RecipeError(f"{path}: {what} not found; give the path of an existing file") from None
    except OSError as error:
        raise RecipeError(f"{path}: {what} cannot be read ({error}); give another file") from error


def _split(path: Path, text: bytes, num_fields: int, number_L: np.ndarray, *, strict: bool = True) -> Block | None:
    """The fields of lines with one blank between two fields and none else; None if there are others."""
    bytes_B = np.zeros(_FRONT + len(text) + 2 * MAX_FIELD + 16, dtype=np.uint8)
    body_B = bytes_B[_FRONT : _FRONT + len(text)]
    body_B[:] = np.frombuffer(text, dtype=np.uint8)
    gaps = np.flatnonzero(body_B <= _SPACE if strict else (body_B == _SPACE) | (body_B == _NEWLINE))
    if strict:
        if gaps.size != len(number_L) * num_fields:
            return None
        kinds_LF = body_B[gaps].reshape(-1, num_fields)
        if (kinds_LF[:, :-1] != _SPACE).any() or (kinds_LF[:, -1] != _NEWLINE).any() or (np.diff(gaps, prepend=-1) < 2).any():
            return None
    start = np.concatenate([[0], gaps[:-1] + 1]) if gaps.size else gaps
    return Block(path, bytes_B, (start + _FRONT).reshape(-1, num_fields), (gaps + _FRONT).reshape(-1, num_fields), number_L)


def _tidy(path: Path, text: bytes, number: int, num_fields: int, what: str, malformed: str) -> tuple[bytes, int, np.ndarray]:
    """The lines that are not blank with one blank between two fields, the number of fields, and the lines' numbers."""
    lines, numbers = [], []
    for index, line in enumerate(text.split(b"\n")[:-1], start=number):
        fields = line.split()
        if len(fields) == num_fields and b"\0" not in line:
            lines.append(b" ".join(fields))
            numbers.append(index)
        elif fields:
            decoded = decode(path, line.rstrip(b"\r"), what)
            raise RecipeError(malformed.format(path=path, number=index, line=decoded))
    return b"".join(line + b"\n" for line in lines), num_fields, np.array(numbers, dtype=np.int64)


def decode(path: Path, text: bytes, what: str) -> str:
    """Return bytes of a file as text.

    Raises:
        RecipeError: they are not UTF-8.
    """
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: {what} cannot be read as UTF-8 text ({error}); give another file") from error
