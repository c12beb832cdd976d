"""Entries of Kaldi arks as bytes: matrices and float32 vectors in Kaldi's binary form, 16-bit mono waveforms as WAV files."""

from __future__ import annotations

import struct

import numpy as np

from steps.core.errors import RecipeError
from steps.data.compressed import STORAGES, Coding, pack_compressed, parse_compressed

_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")  # RIFF with one 16-byte fmt chunk and one data chunk
_MATRIX = struct.Struct("<5sBiBi")  # "\0BFM ", 4, rows, 4, columns
_VECTOR = struct.Struct("<5sBi")  # "\0BFV ", 4, length

HEADER_BYTES = _WAV.size  # of the longest header, that of a waveform


def pack_array(array: np.ndarray, where: str, storage: str = "float32") -> bytes:
    """Return a float32 matrix [T, F] or vector [D] as Kaldi's binary form has it; matrices may be compressed.

    Raises:
        ValueError: another array, an empty one, numbers that are not finite in single precision or too far apart to be
            compressed, or an unknown storage.
    """
    if storage not in STORAGES:
        raise ValueError(f"storage: expected one of {', '.join(STORAGES)}, found {storage!r}")
    array = np.asarray(array)
    if array.ndim not in (1, 2) or array.dtype.kind != "f" or array.size == 0:
        raise ValueError(f"{where} has {array.dtype} and shape {array.shape}; expected floats [T, F] or [D], not empty")
    with np.errstate(over="ignore"):
        array = array.astype("<f4", copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{where} has numbers that are NaN or infinite (beyond 3.4e38); expected finite ones")
    if array.ndim == 2 and storage != "float32":
        try:
            return pack_compressed(array, storage)
        except ValueError as error:
            raise ValueError(f"{where} has {error}") from None
    data = array.tobytes()
    if array.ndim == 1:
        return _VECTOR.pack(b"\0BFV ", 4, len(array)) + data
    return _MATRIX.pack(b"\0BFM ", 4, array.shape[0], 4, array.shape[1]) + data


def pack_wave(wave_W: np.ndarray, sampling_rate: int, where: str) -> bytes:
    """Return int16 samples as a WAV file of one channel.

    Raises:
        ValueError: other samples, or none.
    """
    wave_W = np.asarray(wave_W)
    if wave_W.ndim != 1 or wave_W.dtype != np.int16 or wave_W.size == 0:
        raise ValueError(f"{where} has {wave_W.dtype} and shape {wave_W.shape}; expected int16 [W], not empty")
    data = wave_W.astype("<i2", copy=False).tobytes()
    layout = (b"fmt ", 16, 1, 1, sampling_rate, 2 * sampling_rate, 2, 16)
    return _WAV.pack(b"RIFF", 36 + len(data), b"WAVE", *layout, b"data", len(data)) + data


def parse_header(header: bytes, where: str) -> tuple[int, np.dtype, tuple[int, ...], Coding | None]:
    """Return (size of the header, type of a stored number, shape, how the numbers are compressed).

    Raises:
        RecipeError: no header of an entry that is read here.
    """
    if header[:5] == b"\0BFM " and len(header) >= _MATRIX.size:
        _, _, num_rows, _, num_columns = _MATRIX.unpack_from(header)
        return _MATRIX.size, np.dtype("<f4"), (num_rows, num_columns), None
    if header[:5] == b"\0BFV " and len(header) >= _VECTOR.size:
        return _VECTOR.size, np.dtype("<f4"), (_VECTOR.unpack_from(header)[2],), None
    if (compressed := parse_compressed(header)) is not None:
        size, coding, shape = compressed
        return size, coding.dtype, shape, coding
    if header[:4] == b"RIFF" and len(header) == _WAV.size:
        fields = _WAV.unpack(header)
        if fields[2:7] == (b"WAVE", b"fmt ", 16, 1, 1) and fields[10:12] == (16, b"data"):
            return _WAV.size, np.dtype("<i2"), (fields[12] // 2,), None
    raise RecipeError(
        f"{where}: expected a matrix (float32, or compressed as CM or CM2), a float32 vector, or a 16-bit mono waveform, found "
        f"{header[:12]!r}; the ark was damaged or made by another program: rerun the stage"
    )


def sampling_rate_of(header: bytes) -> int:
    """Return the sampling rate in Hz that the header of a waveform names."""
    return _WAV.unpack(header)[7]
