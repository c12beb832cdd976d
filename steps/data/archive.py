"""Archives: arrays by utterance id in Kaldi's ark and scp, and arrays of a back end in safetensors.

An scp here has lines `<id> <ark>:<offset>` with the ark's name relative to the folder of the scp; they are joined on
loading, so that a folder can be renamed. For Kaldi or kaldiio, run them inside the folder. Arks hold float32 matrices
[T, F], float32 vectors [D], or 16-bit mono waveforms [W] (a WAV file per entry, as Kaldi's wav arks).
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.ark_rows import read_rows
from steps.data.kaldi_format import HEADER_BYTES, pack_array, pack_wave, parse_header, sampling_rate_of
from steps.data.manifests import is_valid_id, read_set, write_jsonl

FEATURES = "features.jsonl.gz"
FEATS_SCP = "feats.scp"
EMBEDDINGS_SCP = "embeddings.scp"


def write_ark(path: Path, items: Iterable[tuple[str, np.ndarray]]) -> list[str]:
    """Write float32 matrices [T, F] or vectors [D] into one ark; return its scp lines, in the order of the items.

    Other floating-point arrays are converted. Items are written as they come, one in memory at a time.

    Raises:
        ValueError: an id with blanks, an array that is empty, not finite, or of another kind.
    """
    return _write_entries(path, ((name, pack_array(array, f"{path}: '{name}'")) for name, array in items))


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
    ordered = sorted((line.strip() for line in lines), key=lambda line: line.partition(" ")[0])
    for first, second in zip(ordered, ordered[1:], strict=False):
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
    lines: list[str] = []
    for folder in folders:
        lines += _read_text(folder / name).splitlines()
    write_scp(out, lines, name=name)


class Archive(Mapping[str, np.ndarray]):
    """The arrays of a folder by id. Every read opens the ark anew: nothing to share with forked or spawned workers.

    Args:
        folder: where the scp and its arks lie.
        name: of the scp; "" = the only one in the folder.
    """

    def __init__(self, folder: Path | str, name: str = "") -> None:
        self.folder = Path(folder)
        self.path = self.folder / name if name else _only_scp(self.folder)
        self._places: dict[str, tuple[str, int]] = {}
        for number, line in enumerate(_read_text(self.path).splitlines(), start=1):
            utterance_id, _, place = line.strip().partition(" ")
            ark, _, offset = place.rpartition(":")
            if not ark or not offset.isdigit():
                raise RecipeError(f"{self.path}:{number}: expected '<id> <ark>:<offset>', found {line!r}; rerun the stage")
            self._places[utterance_id] = (ark, int(offset))

    @property
    def ids(self) -> list[str]:
        """The ids, in the order of the scp, which is sorted."""
        return list(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self):
        return iter(self._places)

    def __contains__(self, utterance_id: object) -> bool:
        return utterance_id in self._places

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        return self.load(utterance_id)

    def place(self, utterance_id: str) -> tuple[str, int]:
        """Return (name of the ark relative to the folder, offset in bytes).

        Raises:
            RecipeError: unknown id.
        """
        try:
            return self._places[utterance_id]
        except KeyError:
            example = f", such as '{next(iter(self._places))}'" if self._places else ""
            raise RecipeError(
                f"{self.path}: no entry for '{utterance_id}'; expected one of the {len(self)} ids there{example}; "
                "run the stage that writes it again"
            ) from None

    def shape(self, utterance_id: str) -> tuple[int, ...]:
        """Return the shape of an array, from its header."""
        return self._read(utterance_id, None)[1]

    def num_rows(self, utterance_id: str) -> int:
        """Return the number of frames of a matrix, samples of a waveform, or dimensions of a vector."""
        return self.shape(utterance_id)[0]

    def load(self, utterance_id: str) -> np.ndarray:
        """Return an array: float32 [T, F] or [D], or int16 [W]."""
        return self._read(utterance_id, slice(0, None))[0]

    def load_rows(self, utterance_id: str, start: int, num: int) -> np.ndarray:
        """Return rows (frames or samples) start to start + num, reading no others from disk.

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

    def _read(self, utterance_id: str, rows: slice | None) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return (the rows, the shape of the whole); no rows are read if rows is None."""
        ark, offset = self.place(utterance_id)
        with self._open(ark) as file:
            header = os.pread(file.fileno(), HEADER_BYTES, offset)
            size, dtype, shape = parse_header(header, f"{self.folder / ark}:{offset}")
            if rows is None:
                return np.empty(0, dtype=dtype), shape
            start, stop, _ = rows.indices(shape[0])
            row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
            array = np.empty((max(0, stop - start), *shape[1:]), dtype=dtype)
            file.seek(offset + size + start * row_bytes)
            if _read_fully(file, array) < array.nbytes:
                raise RecipeError(f"{self.folder / ark}: ends within '{utterance_id}'; it was cut short: rerun the stage")
        return array, shape


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
    return archive.ids, matrix_ND


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
    return archive.ids, rows_RD, start_N1


def _embedding_dim(archive: Archive) -> int:
    if not len(archive):
        raise RecipeError(f"{archive.path}: is empty; expected an embedding per utterance; run stage 5 (embed) again")
    return archive.shape(next(iter(archive)))[-1]


def _embedding_rows(archive: Archive) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(index of each entry among the ids, rows of all of them, number of rows of each), some megabytes at a time."""
    ids, dim = archive.ids, _embedding_dim(archive)
    by_ark: dict[str, tuple[list[int], list[int]]] = {}
    for index, (ark, offset) in enumerate(map(archive.place, ids)):
        offsets, indices = by_ark.setdefault(ark, ([], []))
        offsets.append(offset)
        indices.append(index)
    for ark, columns in by_ark.items():
        offset_N, index_N = (np.array(column, dtype=np.int64) for column in columns)
        order = np.argsort(offset_N)
        names = [ids[index] for index in index_N[order].tolist()]
        for which, rows_RD, count in read_rows(archive.folder / ark, offset_N[order], names, dim):
            yield index_N[order[which]], rows_RD, count


def write_feature_manifest(folder: Path, set_folder: Path, settings: Any) -> None:
    """Write a lhotse FeatureSet, `features.jsonl.gz`, of the features in `folder`, with paths relative to it.

    lhotse reads it after `FeatureSet.from_file(...).with_path_prefix(folder)`. Its own reader of Kaldi arks needs the
    package kaldi_native_io; `steps.data.lhotse_reader` brings another for those who do not have it. A matrix from which
    frames were dropped (VAD) has the duration of the frames that are left.

    Args:
        folder: with `feats.scp` and its arks.
        set_folder: the manifests of the set.
        settings: of the features: `type` and `sampling_rate`, and `frame_shift` (s) or, for a waveform, `decimate`.
    """
    archive = Archive(folder, FEATS_SCP)
    utterances = {utterance.id: utterance for utterance in read_set(set_folder.parent, set_folder.name)}
    shift = settings.frame_shift if hasattr(settings, "frame_shift") else settings.decimate / settings.sampling_rate

    def record(utterance_id: str) -> dict[str, Any]:
        num_frames, num_features = archive.shape(utterance_id)
        ark, offset = archive.place(utterance_id)
        utterance = utterances[utterance_id]
        return {
            "type": settings.type,
            "num_frames": num_frames,
            "num_features": num_features,
            "frame_shift": shift,
            "sampling_rate": settings.sampling_rate,
            "start": utterance.start,
            "duration": round(num_frames * shift, 9),
            "storage_type": "kaldiio",
            "storage_path": f"{ark}:{offset}",
            "storage_key": "",
            "recording_id": utterance_id,
            "channels": utterance.channel,
        }

    missing = [utterance_id for utterance_id in archive if utterance_id not in utterances]
    if missing:
        raise RecipeError(
            f"{archive.path}: {len(missing)} of {len(archive)} utterances are not in {set_folder}, first "
            f"'{missing[0]}'; run stages 1 and 2 again"
        )
    write_jsonl(folder / FEATURES, (record(utterance_id) for utterance_id in archive))


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays and texts as safetensors; the same content gives the same bytes, whatever its order.

    Raises:
        ValueError: an array of a type that safetensors does not hold (text, objects), or metadata that is no text.
    """
    plain = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{path}: '{name}' has dtype {array.dtype}; expected bool, int, uint or float")
        plain[name] = np.array(array, order="C", copy=True)
    texts = dict(metadata or {})
    if not all(isinstance(text, str) for item in texts.items() for text in item):
        raise ValueError(f"{path}: expected text -> text as metadata, found {texts}")
    # One entry: safetensors writes several in the random order of a hash map.
    packed = safetensors.numpy.save(plain, {"json": json.dumps(texts, sort_keys=True, ensure_ascii=False)})
    with atomic_write(path, "wb") as file:
        file.write(packed)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `save_arrays` wrote, by name; no code in the file is run.

    Raises:
        RecipeError: missing or damaged file.
    """
    return _load_safetensors(path)[0]


def load_metadata(path: Path) -> dict[str, str]:
    """Return the texts that `save_arrays` wrote beside the arrays.

    Raises:
        RecipeError: missing or damaged file.
    """
    return json.loads(_load_safetensors(path)[1].get("json", "{}"))


def _load_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}
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


def _read_fully(file: Any, array: np.ndarray) -> int:
    """Fill the array from an unbuffered file; return how many bytes there were."""
    view, done = memoryview(array).cast("B") if array.size else memoryview(b""), 0
    while done < len(view) and (num := file.readinto(view[done:])):
        done += num
    return done


def _only_scp(folder: Path) -> Path:
    found = sorted(folder.glob("*.scp"))
    if len(found) != 1:
        raise RecipeError(
            f"{folder}: expected one .scp file, found {[path.name for path in found]}; run the stage that writes it"
        )
    return found[0]


def _read_text(path: Path) -> str:
    return _read_bytes(path).decode()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; run the stage that writes it") from None
