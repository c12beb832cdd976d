"""Kaldi's compressed matrices: features in one or two bytes a number.

Both lie on a scale from the smallest to the largest number of the matrix, in 65,535 steps. "two_byte" (Kaldi's kTwoByteAuto,
"CM2") stores the step of every number. "speech_feature" (kSpeechFeature, "CM") stores for every column the steps of its smallest
number, its quartiles and its largest one, and for every number one byte: 0 to 64 divide the lowest quarter evenly, 64 to 192
the middle half, 192 to 255 the highest quarter. Kaldi's third form ("CM3") is not read.

Source: Kaldi src/matrix/compressed-matrix.{h,cc} (GlobalHeader, ComputeColHeader, FloatToChar, CharToFloat); single precision.
Suffixes: T frames, F feature bins.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_GLOBAL = struct.Struct("<ffii")  # min_value, range, rows, columns
_TOKENS = {"speech_feature": b"\0BCM ", "two_byte": b"\0BCM2 "}
STORAGES = ("float32", *_TOKENS)
FEW_ROWS = 8  # matrices of so few rows have no quartiles worth the name: Kaldi's kAutomaticMethod stores them in two bytes
_CODES = np.arange(256, dtype=np.float32)
_STEP = np.float32(1 / 65535)
_NARROWEST = np.finfo(np.float32).tiny
_WIDEST = float(np.finfo(np.float32).max) / 256  # a range that is unpacked without overflow


@dataclass(frozen=True, slots=True)
class Coding:
    """How the numbers of a compressed matrix are stored; what its header says."""

    storage: str  # "speech_feature" or "two_byte"
    minimum: np.float32
    span: np.float32  # from the smallest to the largest number

    @property
    def dtype(self) -> np.dtype:
        """Type of a stored number."""
        return np.dtype("u1") if self.storage == "speech_feature" else np.dtype("<u2")


def pack_compressed(feats_TF: np.ndarray, storage: str) -> bytes:
    """Return a matrix of finite numbers, not empty, as Kaldi's binary form has it.

    Raises:
        ValueError: numbers that are too far apart for single precision.
    """
    feats_TF = np.asarray(feats_TF, dtype=np.float32)
    storage = "two_byte" if len(feats_TF) <= FEW_ROWS else storage
    low, high = feats_TF.min(), feats_TF.max()
    if not float(high) - float(low) < _WIDEST:
        raise ValueError(f"numbers from {low:g} to {high:g}; expected a range below {_WIDEST:.3g} to be compressed")
    span = high - low if high > low else np.float32(1) + abs(low)
    coding = Coding(storage, low, span)
    header = _TOKENS[storage] + _GLOBAL.pack(low, span, *feats_TF.shape)
    if storage == "two_byte":
        return header + _steps(feats_TF, coding).tobytes()
    columns_FT = np.ascontiguousarray(feats_TF.T)
    ordered_FT = np.sort(columns_FT, axis=1)
    corners_F4 = _corners(ordered_FT, coding)
    codes_FT = _codes(columns_FT, _numbers(corners_F4, coding), room_FT=ordered_FT)
    return b"".join((header, corners_F4.astype("<u2").tobytes(), codes_FT.tobytes()))


def parse_compressed(header: bytes) -> tuple[int, Coding, tuple[int, int]] | None:
    """Return (size of the header, coding, shape), or None for the header of something else."""
    for storage, token in _TOKENS.items():
        if header.startswith(token) and len(header) >= len(token) + _GLOBAL.size:
            low, span, num_rows, num_columns = _GLOBAL.unpack_from(header, len(token))
            return len(token) + _GLOBAL.size, Coding(storage, np.float32(low), np.float32(span)), (num_rows, num_columns)
    return None


def column_bytes(coding: Coding, shape: tuple[int, ...]) -> int:
    """Return how many bytes of corners stand between the header and the numbers."""
    return 8 * shape[1] if coding.storage == "speech_feature" else 0


def unpack_steps(steps_TF: np.ndarray, coding: Coding) -> np.ndarray:
    """Return the float32 numbers of rows in two bytes."""
    return _numbers(steps_TF, coding)


def unpack_codes(codes_FT: np.ndarray, corners_F4: np.ndarray, coding: Coding) -> np.ndarray:
    """Return float32 `[T, F]` of columns in one byte, which stand behind one another.

    Args:
        codes_FT: uint8; some of the rows, all columns.
        corners_F4: uint16, smallest, quartiles and largest number of each column.
        coding: of the matrix.
    """
    low, quarter, three, high = (each[:, None] for each in _numbers(corners_F4, coding).T)
    table_FC = np.empty((len(codes_FT), 256), dtype=np.float32)
    table_FC[:, :65] = low + (quarter - low) * _CODES[:65] * np.float32(1 / 64)
    table_FC[:, 65:193] = quarter + (three - quarter) * (_CODES[65:193] - 64) * np.float32(1 / 128)
    table_FC[:, 193:] = three + (high - three) * (_CODES[193:] - 192) * np.float32(1 / 63)
    place_FT = codes_FT + np.arange(0, table_FC.size, 256, dtype=np.int32)[:, None]
    return np.ascontiguousarray(table_FC.ravel()[place_FT].T)


def _numbers(steps: np.ndarray, coding: Coding) -> np.ndarray:
    return coding.minimum + (coding.span * _STEP) * steps.astype(np.float32)


def _steps(values: np.ndarray, coding: Coding) -> np.ndarray:
    share = np.clip((values - coding.minimum) / coding.span, 0, 1)
    return (share * np.float32(65535) + np.float32(0.499)).astype("<u2")  # 0.499, not 0.5: Kaldi's


def _corners(ordered_FT: np.ndarray, coding: Coding) -> np.ndarray:
    """Steps `[F, 4]` of smallest number, quartiles and largest number of each column, each above the one before it."""
    num = ordered_FT.shape[1]
    chosen_F4 = ordered_FT[:, [0, num // 4, 3 * (num // 4), num - 1]]
    corners_F4 = _steps(chosen_F4, coding).astype(np.int64)
    for place in range(4):
        if place:
            corners_F4[:, place] = np.maximum(corners_F4[:, place], corners_F4[:, place - 1] + 1)
        corners_F4[:, place] = np.minimum(corners_F4[:, place], 65532 + place)
    return corners_F4


def _codes(columns_FT: np.ndarray, corners_F4: np.ndarray, *, room_FT: np.ndarray) -> np.ndarray:
    """Bytes of the numbers, the nearest between the corners of their columns; `room_FT` is written over.

    New memory of this size would come from the system each time, and cost as much as the arithmetic.
    """
    codes_FT = np.zeros(columns_FT.shape, dtype=np.uint8)
    # A part that a number lies above counts in full, and one that it lies below not at all.
    for corner, num in enumerate((64, 128, 63)):
        low, high = (corners_F4[:, each, None] for each in (corner, corner + 1))
        np.subtract(columns_FT, low, out=room_FT)
        with np.errstate(over="ignore"):  # a part of no width in single precision has but its ends
            np.divide(room_FT, np.maximum(high - low, _NARROWEST), out=room_FT)
            room_FT *= num
        room_FT += np.float32(0.5)
        codes_FT += np.clip(room_FT, 0, num, out=room_FT).astype(np.uint8)
    return codes_FT
