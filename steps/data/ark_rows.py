"""Rows of float32 vectors and matrices taken out of Kaldi arks as fast as they can be copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError

GROUP_BYTES = 32 << 20  # read at a time

_VECTOR, _MATRIX = (np.frombuffer(start + b"\x04", dtype=np.uint8) for start in (b"\0BFV ", b"\0BFM "))
_HEADER_BYTES = 15  # of a matrix: start, rows, size of the next number, columns; that of a vector ends after 10


def read_rows(ark: Path, offset_N: np.ndarray, names: list[str], dim: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (which of the entries, their rows [R, D] one entry after the other, number of rows of each), in order.

    A vector is one row.

    Args:
        ark: the file.
        offset_N: where each entry begins, ascending.
        names: of the entries, for messages.
        dim: D.

    Raises:
        RecipeError: a missing or short file; an entry that is no float32 vector of D numbers and no matrix of such rows,
            or that has a number that is not finite.
    """
    group_N = (offset_N - offset_N[0]) // GROUP_BYTES
    begins = np.flatnonzero(np.diff(group_N, prepend=-1))
    try:
        with open(ark, "rb", buffering=0) as file:
            size = file.seek(0, 2)
            for begin, end in zip(begins, [*begins[1:], len(offset_N)], strict=True):
                first = int(offset_N[begin])
                last = int(offset_N[end]) if end < len(offset_N) else size
                bytes_B = np.zeros(last - first + _HEADER_BYTES, dtype=np.uint8)
                file.seek(first)
                view, done = memoryview(bytes_B)[: max(0, last - first)], 0
                while done < len(view) and (num := file.readinto(view[done:])):
                    done += num
                which = slice(int(begin), int(end))
                yield which, *_rows(ark, bytes_B, done, offset_N[which] - first, names[which], dim)
    except FileNotFoundError:
        raise RecipeError(f"{ark}: not found, though the scp beside it names it; run stage 5 (embed) again") from None


def _rows(
    ark: Path, bytes_B: np.ndarray, size: int, start_N: np.ndarray, names: list[str], dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and their numbers of the entries that begin at these places of the bytes, `size` of which are of the file."""
    begin_N = np.minimum(start_N, size)  # beyond the end there are zeros, which are no header
    header_NB = _windows(bytes_B, _HEADER_BYTES)[begin_N].view(np.uint8).reshape(-1, _HEADER_BYTES)
    is_vector, is_matrix = ((header_NB[:, :6] == start).all(axis=1) for start in (_VECTOR, _MATRIX))
    is_matrix &= header_NB[:, 10] == 4
    first_N, second_N = (np.ascontiguousarray(header_NB[:, at : at + 4]).view("<i4").ravel() for at in (6, 11))
    count_N = np.where(is_matrix, first_N, 1).astype(np.int64)
    is_right = (is_vector & (first_N == dim)) | (is_matrix & (second_N == dim) & (count_N > 0))
    data_N = start_N + np.where(is_matrix, _HEADER_BYTES, 10)
    is_cut = (start_N + 10 > size) | (is_right & (data_N + 4 * dim * count_N > size))
    if is_cut.any():
        name = names[int(is_cut.argmax())]
        raise RecipeError(f"{ark}: ends within '{name}'; it was cut short: run stage 5 (embed) again")
    if not is_right.all():
        raise RecipeError(
            f"{ark}: '{names[int((~is_right).argmax())]}' is not a float32 vector of {dim} numbers as the first embedding is, "
            "nor a row of them per window; run stage 5 (embed) again"
        )
    before_N = np.cumsum(count_N) - count_N
    row_R = np.repeat(data_N - 4 * dim * before_N, count_N) + 4 * dim * np.arange(int(count_N.sum()))
    rows_RD = _windows(bytes_B, 4 * dim)[row_R].view("<f4").reshape(-1, dim)
    if not np.isfinite(rows_RD).all():
        row = int((~np.isfinite(rows_RD).all(axis=1)).argmax())
        name = names[int(before_N.searchsorted(row, side="right")) - 1]
        raise RecipeError(
            f"{ark}: the embedding of '{name}' has numbers that are NaN or infinite; expected finite ones; if its recording "
            "is sound, the network diverged: look at the loss in model/log.jsonl, and run stages 4 and 5 again"
        )
    return rows_RD, count_N


def _windows(bytes_B: np.ndarray, width: int) -> np.ndarray:
    """All windows of so many bytes, wherever they begin; without a copy."""
    return np.ndarray((max(0, bytes_B.size - width) + 1,), dtype=f"V{width}", buffer=bytes_B, strides=(1,))
