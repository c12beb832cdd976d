"""Archives: arrays by utterance id in Kaldi's ark and scp, and arrays of a back end in safetensors.

An scp here has lines `<id> <ark>:<offset>` with the ark's name relative to the folder of the scp; they are joined on
loading, so that a folder can be renamed. For Kaldi or kaldiio, run them inside the folder. Arks hold matrices [T, F] (float32,
or compressed, see compressed.py), float32 vectors [D], or 16-bit mono waveforms [W] (a WAV file per entry, as Kaldi's wav arks).
"""

import math
import os
from array import array as column_of
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.ark_rows import read_rows
from steps.data.compressed import Coding, column_bytes, unpack_codes, unpack_steps
from steps.data.ids import is_valid_id
from steps.data.kaldi_format import HEADER_BYTES, pack_array, pack_wave, parse_header, sampling_rate_of
from steps.data.strings import Labels, Strings

FEATS_SCP = "feats.scp"
EMBEDDINGS_SCP = "embeddings.scp"

_OFFSET_DIGITS = 18  # of a place in an ark, which has eight bytes


def write_ark(path: Path, items: Iterable[tuple[str, np.ndarray]], storage: str = "float32") -> list[str]:
    """Write matrices [T, F] or vectors [D] into one ark; return its scp lines, in the order of the items.

    Floating-point arrays are converted to float32. Items are written as they come, one in memory at a time.

    Args:
        path: of the ark.
        items: (id, array).
        storage: of matrices: "float32", "two_byte" or "speech_feature", see compressed.py.

    Raises:
        ValueError: an id with blanks, an array that is empty, not finite, or of another kind.
    """
    return _write_entries(path, ((name, pack_array(array, f"{path}: '{name}'", storage)) for name, array in items))


def write_wave_ark(path: Path, items: Iterable[tuple[str, np.ndarray]], sampling_rate: int) -> list[str]:
    """Write int16 mono waveforms [W] of one sampling rate (Hz) into one ark; return its scp lines.

    Raises:
        ValueError: an id with blanks, or an array that is empty, not int16 or not one-dimensional.
    """
    return _write_entries(path, ((name, pack_wave(wave, sampling_rate, f"{path}: '{name}'")) for name, wave in items))


def write_scp(folder: Path, lines: Iterable[str], name: str = FEATS_SCP) -> None:
    """Write the lines, sorted by id, as scp of the arks in the same folder.

    Raises:
        RecipeError: an id is there twice.
    """
    # A blank comes before all that ids are made of, so that whole lines have the order of their ids.
    ordered = sorted(line.strip() for line in lines)
    for first, second in pairwise(ordered):
        if first.partition(" ")[0] == second.partition(" ")[0]:
            raise RecipeError(f"{folder / name}: expected each id once, found '{first}' and '{second}'; rerun the stage")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / name) as file:
        file.writelines(line + "\n" for line in ordered)


def merge_scp(folders: Iterable[Path], out: Path, name: str = FEATS_SCP) -> None:
    """Write into `out` one scp of those of the folders; their arks must be put beside it under their names.

    Raises:
        RecipeError: a folder has no such scp, or an id is there twice.
    """
    write_scp(out, (line for folder in folders for line in _text_lines(folder / name)), name=name)


def lines_by_ark(path: Path) -> dict[str, list[str]]:
    """Return the lines of a scp by the name of the ark that they name."""
    lines: dict[str, list[str]] = {}
    for line in _text_lines(path):
        lines.setdefault(line.split(None, 1)[1].rpartition(":")[0], []).append(line)
    return lines


class Archive(Mapping[str, np.ndarray]):
    """The arrays of a folder by id. Every read opens the ark anew: nothing to share with forked or spawned workers.

    Args:
        folder: where the scp and its arks lie.
        name: of the scp; "" = the only one in the folder.
    """

    def __init__(self, folder: Path | str, name: str = "") -> None:
        self.folder = Path(folder)
        self.path = self.folder / name if name else _only_scp(self.folder)
        self.ids, self._arks, self._offsets = _columns(_lines_of_scp(self.path))  # sorted by id
        if not self.ids.is_rising:  # a scp of another program; of several lines of one id the last one counts
            last = {name: (name, *place) for name, place in zip(self.ids, self.places(), strict=True)}
            self.ids, self._arks, self._offsets = _columns(last[name] for name in sorted(last))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self):
        return iter(self.ids)

    def __contains__(self, utterance_id: object) -> bool:
        return utterance_id in self.ids

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        return self.load(utterance_id)

    def place(self, utterance_id: str) -> tuple[str, int]:
        """Return (name of the ark relative to the folder, offset in bytes).

        Raises:
            RecipeError: unknown id.
        """
        number = self.ids.find(utterance_id)
        if number < 0:
            example = f", such as '{self.ids[0]}'" if len(self) else ""
            raise RecipeError(
                f"{self.path}: no entry for '{utterance_id}'; expected one of the {len(self)} ids there{example}; "
                "run the stage that writes it again"
            )
        return self._arks[number], self._offsets[number]

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield (ark, offset) of all entries, in the order of the ids."""
        return zip(self._arks, self._offsets, strict=True)

    def shapes(self) -> Iterator[tuple[int, ...]]:
        """Yield the shapes of all entries, from their headers, in the order of the ids."""
        for ark, places in groupby(self.places(), key=itemgetter(0)):
            with self._open(ark) as file:
                for _, offset in places:
                    header = os.pread(file.fileno(), HEADER_BYTES, offset)
                    yield parse_header(header, f"{self.folder / ark}:{offset}")[2]

    def shape(self, utterance_id: str) -> tuple[int, ...]:
        """Return the shape of an array, from its header."""
        return self._read(utterance_id, None)[1]

    def num_rows(self, utterance_id: str) -> int:
        """Return the number of frames of a matrix, samples of a waveform, or dimensions of a vector."""
        return self.shape(utterance_id)[0]

    def load(self, utterance_id: str) -> np.ndarray:
        """Return an array: float32 [T, F] (unpacked where it is compressed) or [D], or int16 [W]."""
        return self._read(utterance_id, slice(0, None))[0]

    def load_rows(self, utterance_id: str, start: int, num: int) -> np.ndarray:
        """Return rows (frames or samples) start to start + num; no others are unpacked.

        Nor read from disk, but for those of "speech_feature", where the columns are stored one after the other.

        Raises:
            ValueError: the array has not so many.
        """
        array, shape = self._read(utterance_id, slice(start, start + num))
        if start < 0 or num < 0 or start + num > shape[0]:
            raise ValueError(f"{self.path}: '{utterance_id}' has {shape[0]} rows, asked for {start} to {start + num}")
        return array

    def sampling_rate(self, utterance_id: str) -> int:
        """Return the sampling rate in Hz of a waveform."""
        ark, offset = self.place(utterance_id)
        with self._open(ark) as file:
            file.seek(offset)
            header = file.read(HEADER_BYTES)
        if header[:4] != b"RIFF":
            raise ValueError(f"{self.path}: '{utterance_id}' is not a waveform")
        return sampling_rate_of(header)

    def _open(self, ark: str):
        try:
            return open(self.folder / ark, "rb", buffering=0)
        except FileNotFoundError:
            raise RecipeError(f"{self.folder / ark}: not found, though {self.path} names it; rerun the stage") from None
        except OSError as error:
            raise RecipeError(f"{self.folder / ark}, which {self.path} names: {error.strerror}; rerun the stage") from None

    def _read(self, utterance_id: str, rows: slice | None) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return (the rows, the shape of the whole); no rows are read if rows is None."""
        ark, offset = self.place(utterance_id)
        with self._open(ark) as file:
            header = os.pread(file.fileno(), HEADER_BYTES, offset)
            size, dtype, shape, coding = parse_header(header, f"{self.folder / ark}:{offset}")
            # A damaged header may ask for more memory than there is.
            num_bytes = dtype.itemsize * math.prod(shape) + (column_bytes(coding, shape) if coding is not None else 0)
            if min(shape) < 0 or offset + size + num_bytes > os.fstat(file.fileno()).st_size:
                raise RecipeError(f"{self.folder / ark}: ends within '{utterance_id}', of shape {shape}: rerun the stage")
            if rows is None:
                return np.empty(0, dtype=dtype), shape
            start, stop, _ = rows.indices(shape[0])
            try:
                if coding is not None and column_bytes(coding, shape):
                    return _read_columns(file, offset + size, shape, slice(start, stop), coding), shape
                row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
                array = np.empty((max(0, stop - start), *shape[1:]), dtype=dtype)
                _read_fully(file, offset + size + start * row_bytes, array)
            except EOFError:
                raise RecipeError(
                    f"{self.folder / ark}: ends within '{utterance_id}'; it was cut short: rerun the stage"
                ) from None
        return array if coding is None else unpack_steps(array, coding), shape


def write_embeddings(folder: Path, ids: Sequence[str], matrix_ND: np.ndarray, name: str = "embeddings") -> None:
    """Write one float32 vector per id as `<name>.ark` and `embeddings.scp`."""
    if len(ids) != len(matrix_ND):
        raise ValueError(f"{folder}: expected a row per id, found {len(ids)} ids and {len(matrix_ND)} rows")
    folder.mkdir(parents=True, exist_ok=True)
    rows = sorted(zip(ids, matrix_ND, strict=True), key=lambda row: row[0])
    write_scp(folder, write_ark(folder / f"{name}.ark", rows), name=EMBEDDINGS_SCP)


def read_embeddings(folder: Path) -> tuple[list[str], np.ndarray]:
    """Return (ids, float32 matrix [N, D]) of the embeddings of a folder, sorted by id.

    Where an entry is a matrix, a row per window, its mean over the windows is the embedding.

    Raises:
        RecipeError: no scp, a damaged entry, embeddings of several lengths, or numbers that are not finite.
    """
    archive = Archive(folder)
    matrix_ND = np.empty((len(archive), _embedding_dim(archive)), dtype=np.float32)
    for index, rows_RD, count in _embedding_rows(archive):
        starts = np.cumsum(count) - count
        is_one = len(rows_RD) == len(count)
        matrix_ND[index] = rows_RD if is_one else np.add.reduceat(rows_RD, starts, axis=0, dtype=np.float64) / count[:, None]
    return list(archive.ids), matrix_ND


def read_windows(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return (ids, float32 rows [R, D], starts [N + 1]) of the embeddings of a folder, sorted by id, a row per window.

    Entry n has the rows starts[n] to starts[n + 1]; one that is a vector has one row.

    Raises:
        RecipeError: as `read_embeddings`.
    """
    archive = Archive(folder)
    _embedding_dim(archive)
    parts = list(_embedding_rows(archive))
    count_N = np.empty(len(archive), dtype=np.int64)
    for index, _, count in parts:
        count_N[index] = count
    start_N1 = np.concatenate([[0], np.cumsum(count_N)])
    rows_RD = np.empty((start_N1[-1], parts[0][1].shape[1]), dtype=np.float32)
    for index, part_RD, count in parts:
        # The rows of an entry stay together: where its first one goes, and how far each is behind it.
        before = np.cumsum(count) - count
        rows_RD[np.repeat(start_N1[index] - before, count) + np.arange(len(part_RD))] = part_RD
    return list(archive.ids), rows_RD, start_N1


def _embedding_dim(archive: Archive) -> int:
    if not len(archive):
        raise RecipeError(f"{archive.path}: is empty; expected an embedding per utterance; run stage 5 (embed) again")
    return archive.shape(next(iter(archive)))[-1]


def _embedding_rows(archive: Archive) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(index of each entry among the ids, rows of all of them, number of rows of each), some megabytes at a time."""
    ids, dim = list(archive.ids), _embedding_dim(archive)
    by_ark: dict[str, tuple[list[int], list[int]]] = {}
    for index, (ark, offset) in enumerate(archive.places()):
        offsets, indices = by_ark.setdefault(ark, ([], []))
        offsets.append(offset)
        indices.append(index)
    for ark, columns in by_ark.items():
        offset_N, index_N = (np.array(column, dtype=np.int64) for column in columns)
        order = np.argsort(offset_N)
        names = [ids[index] for index in index_N[order].tolist()]
        for which, rows_RD, count in read_rows(archive.folder / ark, offset_N[order], names, dim):
            yield index_N[order[which]], rows_RD, count


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors; the same content gives the same bytes, whatever its order.

    Raises:
        ValueError: an array of a type that safetensors does not hold (text, objects).
    """
    plain = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{path}: '{name}' has dtype {array.dtype}; expected bool, int, uint or float")
        plain[name] = np.array(array, order="C", copy=True)
    packed = safetensors.numpy.save(plain)
    with atomic_write(path, "wb") as file:
        file.write(packed)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `save_arrays` wrote, by name; no code in the file is run.

    Raises:
        RecipeError: missing or damaged file.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; run the stage that writes it") from None
    except safetensors.SafetensorError as error:
        raise RecipeError(f"{path}: damaged ({error}); run the stage that writes it again") from error


def _write_entries(path: Path, entries: Iterable[tuple[str, bytes]]) -> list[str]:
    lines = []
    with atomic_write(path, "wb") as file:
        for name, content in entries:
            if not is_valid_id(name):
                raise ValueError(f"{path}: '{name}' cannot be an id; expected printable parts joined by '/'")
            file.write(f"{name} ".encode())
            lines.append(f"{name} {path.name}:{file.tell()}")
            file.write(content)
    return lines


def _columns(rows: Iterable[tuple[str, str, int]]) -> tuple[Strings, Labels, column_of]:
    """Ids, arks and offsets."""
    ids, arks, offsets = Strings(), Labels(), column_of("q")
    for utterance_id, ark, offset in rows:
        ids.append(utterance_id)
        arks.append(ark)
        offsets.append(offset)
    return ids, arks, offsets


def _lines_of_scp(path: Path) -> Iterator[tuple[str, str, int]]:
    for number, line in enumerate(_text_lines(path), start=1):
        utterance_id, _, place = line.strip().partition(" ")
        ark, _, offset = place.rpartition(":")
        is_number = offset.isascii() and offset.isdigit() and len(offset) <= _OFFSET_DIGITS
        if not utterance_id or not ark or "\0" in ark or not is_number:
            line = line.rstrip("\n")
            raise RecipeError(f"{path}:{number}: expected '<id> <ark>:<offset>', found {line!r}; rerun the stage")
        if ark[0] == "/" or (".." in ark and ".." in ark.split("/")):  # a folder from elsewhere reads nothing but itself
            raise RecipeError(
                f"{path}:{number}: expected an ark below the folder of the scp, found {ark!r}; put the arks beside it, and name "
                "them relative to it"
            )
        yield utterance_id, ark, int(offset)


def _read_columns(file: Any, place: int, shape: tuple[int, ...], rows: slice, coding: Coding) -> np.ndarray:
    """Rows of a matrix whose columns stand one after the other, in one byte a number, behind their corners."""
    bytes_B = np.empty(column_bytes(coding, shape) + shape[0] * shape[1], dtype=np.uint8)
    _read_fully(file, place, bytes_B)
    corners_B, codes_B = np.split(bytes_B, [column_bytes(coding, shape)])
    return unpack_codes(codes_B.reshape(shape[1], shape[0])[:, rows], corners_B.view("<u2").reshape(-1, 4), coding)


def _read_fully(file: Any, place: int, array: np.ndarray) -> None:
    """Fill the array from an unbuffered file. Raises EOFError if it has too few bytes."""
    file.seek(place)
    view, done = memoryview(array).cast("B") if array.size else memoryview(b""), 0
    while done < len(view) and (num := file.readinto(view[done:])):
        done += num
    if done < len(view):
        raise EOFError


def _only_scp(folder: Path) -> Path:
    found = sorted(folder.glob("*.scp"))
    if len(found) != 1:
        raise RecipeError(
            f"{folder}: expected one .scp file, found {[path.name for path in found]}; run the stage that writes it"
        )
    return found[0]


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as file:
            yield from file
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; run the stage that writes it") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error}); it was damaged: rerun the stage that writes it") from None
