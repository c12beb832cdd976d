"""Manifests: which utterances a set holds, by whom they were spoken and where their audio lies.

A set is a folder with two lhotse files, `recordings.jsonl.gz` and `supervisions.jsonl.gz`, one line per
utterance, sorted by utterance id. Audio paths are relative to a named root (`roots.json` says which root a
set uses, `site.<name>` says where that root lies on this machine), so a manifest holds no absolute path and
moving a corpus changes no byte of it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from sys import intern
from typing import Any

from steps.core.errors import RecipeError
from steps.core.files import atomic_write, read_json, write_json
from steps.data.ids import check_ids
from steps.data.strings import Labels, Strings

RECORDINGS = "recordings.jsonl.gz"
SUPERVISIONS = "supervisions.jsonl.gz"
ROOTS = "roots.json"
RATES = "sampling_rates.json"
UTT2SPK = "utt2spk"
GENDERS = ("", "f", "m")

# A message that lists ten thousand ids helps nobody.
_NUM_SHOWN = 5
_MAX_SECONDS = 1e9  # of a recording: thirty years


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """One stretch of speech of one speaker: a file, or a part of a file."""

    id: str
    speaker: str
    gender: str  # "f", "m", or "" where it is not documented
    session: str  # recording session, unique within its speaker; "" where it is not documented
    corpus: str  # name of the sub-corpus, or ""
    path: str  # audio file, '/'-separated, relative to the root of its set
    sampling_rate: int  # Hz
    num_samples: int  # samples, of this utterance (not of the whole file)
    start: float = 0.0  # s, where the utterance begins in its file
    channel: int = 0  # 0 = the first
    num_channels: int = 1  # channels of the file

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate

    @property
    def start_sample(self) -> int:
        """First sample of the utterance in its file."""
        return round(self.start * self.sampling_rate)


class Utterances(Sequence[Utterance]):
    """The utterances of a set, sorted by id, about 150 bytes each; an `Utterance` is made when it is asked for.

    A million of them as objects take half a gigabyte, in every process that reads the set. `ids`, `paths`, `labels` and `numbers`
    are its columns, for whoever counts.
    """

    def __init__(self) -> None:
        self.ids, self.paths = Strings(), Strings()
        self.labels = {name: Labels() for name in ("speaker", "gender", "session", "corpus")}
        self.numbers = {"sampling_rate": array("i"), "num_samples": array("q"), "start": array("d")}
        self.numbers |= {"channel": array("h"), "num_channels": array("h")}

    @property
    def speakers(self) -> Sequence[str]:
        """The speaker of each utterance."""
        return self.labels["speaker"]

    def append(self, utterance: Utterance) -> None:
        """Put an utterance behind the others."""
        self.ids.append(utterance.id)
        self.paths.append(utterance.path)
        for name, column in (self.labels | self.numbers).items():
            column.append(getattr(utterance, name))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, place):  # an int: an Utterance; a slice: a list of them
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        values = {name: column[place] for name, column in (self.labels | self.numbers).items()}
        return Utterance(id=self.ids[place], path=self.paths[place], **values)


def write_set(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write the utterances as a lhotse RecordingSet and SupervisionSet, sorted by id; the same bytes every
    time.

    There is one recording per utterance, with the utterance's id. Where an utterance starts within its file,
    the recording's stated length runs to the end of the utterance, and the supervision says where it begins.

    Raises:
        RecipeError: no utterance, a duplicated id, an id or speaker with a blank or `..`, a path outside the
        root, no samples.
    """
    ordered = sorted(utterances, key=lambda utterance: utterance.id)
    where = str(folder)
    if not ordered:
        raise RecipeError(f"{where}: the set has no utterance; expected at least one; check the corpus folder and the split")
    check_utterances(ordered, where)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / RECORDINGS, (_recording(utterance) for utterance in ordered))
    write_jsonl(folder / SUPERVISIONS, (_supervision(utterance) for utterance in ordered))


def read_set(manifests: Path, set_name: str) -> Utterances:
    """Return the utterances of a set, sorted by id; read once by a process as long as its files stay the same.

    Raises:
        RecipeError: the set is missing, or its two files do not belong together.
    """
    folder = manifests / set_name
    if not has_set(manifests, set_name):
        found = sorted(path.parent.name for path in manifests.glob(f"*/{RECORDINGS}"))
        raise RecipeError(
            f"{folder}: no set '{set_name}' there; expected {RECORDINGS} and {SUPERVISIONS}, found the sets "
            f"{found}; "
            "run stage 1 (prepare) with a corpus that has this set"
        )
    stamps = tuple((folder / name).stat().st_mtime_ns for name in (RECORDINGS, SUPERVISIONS))
    return _set_at(folder, stamps)


# A worker does many shards of one set, and reads all of it for each.
@lru_cache(maxsize=4)
def _set_at(folder: Path, stamps: tuple[int, int]) -> Utterances:
    """Return the set; the times of its files are an argument so that a rewritten set is read again."""
    found = Utterances()
    lines = (_read_jsonl(folder / name) for name in (RECORDINGS, SUPERVISIONS))
    for recording, supervision in zip_longest(*lines, fillvalue={"id": None}):
        try:
            is_same = recording["id"] == supervision["id"]
            if is_same:
                found.append(_utterance(recording, supervision))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise RecipeError(
                f"{folder}: utterance {len(found) + 1} of {RECORDINGS} and {SUPERVISIONS} is not as stage 1 writes it "
                f"({type(error).__name__}: {error}); run stage 1 (prepare) again with --force"
            ) from None
        if not is_same:
            raise RecipeError(
                f"{folder}: {RECORDINGS} and {SUPERVISIONS} differ in utterance {len(found) + 1}: '{recording['id']}' and "
                f"'{supervision['id']}'; expected the same ids, sorted, in both; run stage 1 (prepare) again with --force"
            )
    if not found.ids.is_rising:
        raise RecipeError(f"{folder}: expected utterances sorted by id, each once; run stage 1 (prepare) again with --force")
    return found


def has_set(manifests: Path, set_name: str) -> bool:
    """Return whether the manifests folder holds this set."""
    return all((manifests / set_name / name).is_file() for name in (RECORDINGS, SUPERVISIONS))


def write_roots(out: Path, roots: Mapping[str, str]) -> None:
    """Write set name -> name of the root of its audio paths; "" is the manifests folder itself."""
    write_json(out / ROOTS, dict(roots))


def write_rates(out: Path, sets: Mapping[str, Iterable[Utterance]]) -> None:
    """Write `sampling_rates.json`: set -> rate (Hz) -> number of recordings."""
    rates = {name: Counter(str(each.sampling_rate) for each in utterances) for name, utterances in sets.items()}
    write_json(out / RATES, {name: dict(counts) for name, counts in rates.items()})


def read_rates(manifests: Path) -> dict[str, dict[int, int]]:
    """Return set -> sampling rate (Hz) -> number of recordings; empty where an older stage 1 did not write them."""
    path = manifests / RATES
    found = read_json(path) if path.is_file() else {}
    try:
        return {name: {int(rate): int(num) for rate, num in counts.items()} for name, counts in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise RecipeError(
            f"{path}: expected set -> rate -> number, found {str(found)[:100]}; run stage 1 (prepare) again with --force"
        ) from None


def read_roots(manifests: Path) -> dict[str, str]:
    """Return set name -> root name."""
    path = manifests / ROOTS
    try:
        status = path.stat()
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; it says where the audio lies; run stage 1 (prepare)") from None
    return dict(_roots_at(path, status.st_mtime_ns, status.st_size))


def audio_root(set_name: str, manifests: Path, site: Mapping[str, str]) -> Path:
    """Return the folder on this machine that the audio paths of a set are relative to.

    Raises:
        RecipeError: the set or its root has no known place.
    """
    roots = read_roots(manifests)
    if set_name not in roots:
        raise RecipeError(f"{manifests / ROOTS}: no root for the set '{set_name}', found {sorted(roots)}; run stage 1 again")
    root = roots[set_name]
    if root == "":
        return manifests
    if not site.get(root):
        raise RecipeError(
            f"set '{set_name}': the audio lies under the root '{root}', and nothing says where that is on "
            "this machine "
            f"(known roots: {sorted(name for name in site if site[name])}); set site.{root}, in "
            "conf/site.toml or with "
            f"--set site.{root}=DIR"
        )
    return Path(site[root])


def write_utt2spk(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write lines `<utterance id> <speaker id>`, sorted by utterance id."""
    lines = sorted({f"{utterance.id} {utterance.speaker}\n" for utterance in utterances})
    with atomic_write(path) as file:
        file.writelines(lines)


def read_utt2spk(path: Path) -> dict[str, str]:
    """Return utterance id -> speaker id.

    Raises:
        RecipeError: missing file, a line without exactly two fields, or an utterance with two speakers.
    """
    speakers: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                fields = line.split()
                if len(fields) != 2:
                    line = line.rstrip("\n")
                    raise RecipeError(
                        f"{path}:{number}: expected '<utterance id> <speaker id>', found {line!r}; correct the line"
                    )
                if speakers.setdefault(fields[0], intern(fields[1])) != fields[1]:
                    raise RecipeError(
                        f"{path}:{number}: utterance '{fields[0]}' has the speakers '{speakers[fields[0]]}' and "
                        f"'{fields[1]}'; expected one; correct the line"
                    )
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; expected lines '<utterance id> <speaker id>'; run stage 1 (prepare)") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error}); run stage 1 (prepare) again") from None
    return speakers


def write_jsonl(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines, gzipped without the time and file name that gzip puts into its header."""
    with (
        atomic_write(path, "wb") as packed,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=6) as file,
    ):
        for item in items:
            file.write((json.dumps(item, sort_keys=True, ensure_ascii=False) + "\n").encode())


def check_utterances(utterances: Iterable[Utterance], where: str) -> None:
    """Raise a RecipeError that names the first utterances that no manifest can hold, and their number."""
    utterances = list(utterances)
    check_ids(((utterance.id, utterance.speaker, utterance.path) for utterance in utterances), where)
    for utterance in utterances:
        _check_values(utterance, where)


def _check_values(utterance: Utterance, where: str) -> None:
    path = PurePosixPath(utterance.path)
    if not utterance.path or path.is_absolute() or ".." in path.parts:
        raise RecipeError(
            f"{where}: utterance '{utterance.id}' has the path '{utterance.path}'; expected a path relative "
            "to the root of its set, without '..'; put the corpus under one folder"
        )
    if utterance.gender not in GENDERS:
        raise RecipeError(f"{where}: utterance '{utterance.id}' has gender '{utterance.gender}'; expected 'f', 'm' or ''")
    is_channel = 0 <= utterance.channel < utterance.num_channels
    if utterance.num_samples <= 0 or utterance.sampling_rate <= 0 or utterance.start < 0 or not is_channel:
        raise RecipeError(
            f"{where}: utterance '{utterance.id}' ({utterance.path}) has {utterance.num_samples} samples at "
            f"{utterance.sampling_rate} Hz from {utterance.start} s, channel {utterance.channel} of "
            f"{utterance.num_channels}; expected "
            "samples and rate above 0, start and channel of at least 0; remove it from the corpus"
        )


# The two records are spelled out as lhotse 1.33 writes them (a test reads them with lhotse), because importing lhotse
# takes seconds and this module is imported to find out that nothing is to be done.
def _recording(utterance: Utterance) -> dict[str, Any]:
    num_samples = utterance.start_sample + utterance.num_samples
    return {
        "id": utterance.id,
        "sources": [{"type": "file", "channels": list(range(utterance.num_channels)), "source": utterance.path}],
        "sampling_rate": utterance.sampling_rate,
        "num_samples": num_samples,
        "duration": num_samples / utterance.sampling_rate,
        "channel_ids": list(range(utterance.num_channels)),
    }


def _supervision(utterance: Utterance) -> dict[str, Any]:
    gender = {"gender": utterance.gender} if utterance.gender else {}
    return gender | {
        "id": utterance.id,
        "recording_id": utterance.id,
        "start": utterance.start,
        "duration": utterance.duration,
        "channel": utterance.channel,
        "speaker": utterance.speaker,
        "custom": {"corpus": utterance.corpus, "session": utterance.session},
    }


def _utterance(recording: dict[str, Any], supervision: dict[str, Any]) -> Utterance:
    sampling_rate = recording["sampling_rate"]
    start = supervision["start"]
    if sampling_rate <= 0 or not 0 <= start < _MAX_SECONDS:
        raise ValueError(f"sampling rate of {sampling_rate} Hz, start at {start} s")
    texts = (supervision["speaker"], supervision["custom"]["session"], supervision["custom"]["corpus"])
    if not all(type(text) is str for text in texts):
        raise TypeError(f"speaker, session and sub-corpus are no texts: {texts}")
    return Utterance(
        id=recording["id"],
        speaker=texts[0],
        gender=supervision.get("gender") or "",
        session=texts[1],
        corpus=texts[2],
        path=recording["sources"][0]["source"],
        sampling_rate=sampling_rate,
        num_samples=recording["num_samples"] - round(start * sampling_rate),
        start=start,
        channel=supervision["channel"],
        num_channels=len(recording["sources"][0]["channels"]),
    )


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise RecipeError(f"{path}: cannot be read as gzipped JSON lines ({error}); run stage 1 (prepare) again") from error


@lru_cache(maxsize=16)
def _roots_at(path: Path, mtime_ns: int, size: int) -> dict[str, str]:
    """Return the parsed file; its time and size are arguments so that a rewritten file is read again."""
    roots = read_json(path)
    if not isinstance(roots, dict) or not all(isinstance(name, str) for name in roots.values()):
        raise RecipeError(f"{path}: expected set -> name of a root, found {str(roots)[:100]}; run stage 1 (prepare) again")
    return roots
