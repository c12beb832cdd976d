"""Audio files of a corpus: opened in shards of its sorted lists, judged, and written as manifests.

A corpus says which files there are, by kind ("speech", "noise" ...). The files of a kind are opened in shards, which may
run in parallel; what is found about them is put together again in `read_units`, where a file that was bad, is new or has
changed since is opened once more.
"""

import hashlib
import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from local.listing import findings, parts
from local.listing.files import SETS, Row
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.audio import MONO, inspect_audio
from steps.data.audio_content import content_of, state_of
from steps.data.ids import check_ids
from steps.data.manifests import Utterance, write_rates, write_roots, write_set, write_utt2spk
from steps.data.names import printable
from steps.data.trials import Trials, write_trials

BANKS = ("noise", "music", "rir", "babble")
BAD_AUDIO = ("fail", "exclude")
CHECK_AUDIO = ("decode", "header")

_PLACES = ("source", "line")  # of a row in a list, which decide nothing
_ROW_FIELDS = sorted(field.name for field in fields(Row) if field.name not in _PLACES)
# Count in an inventory only where they say something: most corpora have none.
_WHERE_SAID = ("nationality", "share", "start", "end", "channel")
_FOUND = ("state", "content", "problem", "remark", "sampling_rate", "num_samples", "num_channels")  # out by opening a file


@dataclass(frozen=True, kw_only=True)
class Files:
    """The audio files of one kind."""

    root_name: str  # entry of [site]
    root: Path  # where it lies on this machine
    rows: list[Row]  # sorted by path
    channel: int = 0  # of the files; MONO = they must have one only


Listing = Mapping[str, Files]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """One audio file, or a part of one, after it was opened."""

    kind: str
    row: Row
    problem: str  # "" where it is good
    sampling_rate: int  # Hz
    num_samples: int
    num_channels: int
    remark: str = ""  # several between "; "
    content: str = ""  # begin of the SHA-256 of its bytes, see steps/data/audio_content.py
    state: str = ""  # size, time and inode

    def judged(self, channel: int) -> "Opened":
        """Return the same file, with more than one channel as its problem where it must have one (MONO)."""
        if channel != MONO or self.num_channels < 2 or self.row.channel:
            return self
        return replace(self, problem=f"has {self.num_channels} channels, expected one")

    def utterance(self, channel: int) -> Utterance:
        """Return the file, or its part, as an utterance; the row's channel goes before that of all files."""
        row = self.row
        return Utterance(
            id=row.id,
            speaker=row.speaker,
            gender=row.gender,
            session=row.session,
            corpus=row.corpus,
            path=row.path,
            sampling_rate=self.sampling_rate,
            num_samples=self.num_samples,
            num_channels=self.num_channels,
            start=parts.start_of(row, self.sampling_rate),
            channel=row.channel - 1 if row.channel else max(0, channel),
        )


def site_root(site: Mapping[str, str], name: str) -> Path:
    """Return the folder of an entry of [site].

    Raises:
        RecipeError: there is no such entry, or no such folder.
    """
    if not site.get(name):
        raise RecipeError(
            f"prepare: nothing says where the root '{name}' lies; give the folder with --data DIR (for site.corpus), or set "
            f"site.{name} in conf/site.toml or with --set site.{name}=DIR"
        )
    root = Path(site[name])
    if not root.is_dir():
        what = "is a file; expected the folder that it lies in" if root.is_file() else "no such folder"
        raise RecipeError(f"site.{name} = {root}: {what}; correct the path (or --data DIR)")
    return root


def bank_files(root_names: Mapping[str, str], site: Mapping[str, str], list_rows: Callable[[str, Path], list[Row]]):
    """Return kind -> Files of the banks of noises and rooms that have an entry in [site]; a warning about the others.

    Args:
        root_names: bank -> entry of [site]; "" = none.
        site: the folders of [site].
        list_rows: gives the rows of a bank below its root.
    """
    found: dict[str, Files] = {}
    for bank, name in root_names.items():
        if name and not site.get(name):
            logging.getLogger(__name__).warning("site.%s is not set: no set '%s' is made", name, bank)
        elif name:
            root = site_root(site, name)
            found[bank] = Files(root_name=name, root=root, rows=list_rows(bank, root))
    return found


def inventory(listing: Listing, lists: Mapping[str, Path]) -> str:
    """Return number and hash of all that manifests are made from: names and sizes of audio, contents of trial lists."""
    digest, num_files = hashlib.sha256(), 0
    for kind, found in listing.items():
        for row in found.rows:
            values = {name: getattr(row, name) for name in _ROW_FIELDS if name not in _WHERE_SAID or getattr(row, name)}
            digest.update(f"{kind}\t{_size(found.root / row.path)}\t{json.dumps(values)}\n".encode())
        num_files += len(found.rows)
    for name, path in lists.items():
        digest.update(f"trials\t{name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{num_files} files, sha256 {digest.hexdigest()[:16]}"


def units(listing: Listing, size: int) -> list[str]:
    """Return the names `<kind>.<number>` of the shards of `size` files.

    Raises:
        RecipeError: an id is there twice, or cannot be used.
    """
    for found in listing.values():
        check_ids(((row.id, row.speaker, row.path) for row in found.rows), str(found.root))
    return unit_names(listing, size)


def unit_names(listing: Listing, size: int) -> list[str]:
    """Return the names `<kind>.<number>` of the shards of `size` files, whatever their ids are."""
    return sorted(name for kind, found in listing.items() for name, _ in shards_of(kind, len(found.rows), size))


def shards_of(kind: str, num: int, size: int) -> list[tuple[str, int]]:
    """Return (name, number of the first row) of the shards of `num` rows of a kind."""
    return [(f"{kind}.{number:05d}", first) for number, first in enumerate(range(0, num, size))]


def open_unit(listing: Listing, unit: str, out: Path, *, size: int, decode: bool) -> None:
    """Open the files of one shard; write `utterances.jsonl`, a line per file, and `problems.tsv` of the bad ones."""
    kind, _, number = unit.rpartition(".")
    found, first = listing[kind], int(number) * size
    opened, siblings = [], parts.of_files(found.rows[first : first + size])
    with atomic_write(out / "utterances.jsonl") as file:
        for row in found.rows[first : first + size]:
            each = _open(kind, row, found.root / row.path, found.channel, decode, siblings.get(row.path))
            file.write(json.dumps(record_of(each, found.channel), sort_keys=True) + "\n")
            opened.append(each.judged(found.channel))
    findings.write(out / findings.PROBLEMS, findings.problems(opened))


def record_of(each: Opened, channel: int) -> dict:
    """Return what a shard says of a file that was opened for a channel (MONO: as for the first one)."""
    facts = {"kind": each.kind, "id": each.row.id, "path": each.row.path, "channel": max(0, channel), "part": each.row.part}
    return facts | {name: getattr(each, name) for name in _FOUND}


def read_units(listing: Listing, unit_folders: Mapping[str, Path], *, decode: bool) -> list[Opened]:
    """Return every file, opened: as the shards say, but bad files and files changed since are opened (once more).

    With MONO a file of several channels is opened as if its first one had been asked for; `Opened.judged` refuses it.
    """
    opened = []
    for kind, found in listing.items():
        known = _Records(folder for unit, folder in sorted(unit_folders.items()) if unit.rpartition(".")[0] == kind)
        siblings = parts.of_files(found.rows)
        for row in found.rows:
            path, record = found.root / row.path, known.pop(row)
            if record is None or not _serves(record, row, path, found.channel):
                opened.append(_open(kind, row, path, found.channel, decode, siblings.get(row.path)))
            else:
                opened.append(Opened(kind=kind, row=row, **{name: record[name] for name in _FOUND}))
    return opened


def _serves(record: Mapping, row: Row, path: Path, channel: int) -> bool:
    """Return whether what a shard says of a file still holds, also of another channel than it was asked for."""
    is_same = (record.get("channel"), record.get("part", "")) == (max(0, channel), row.part)
    return not record["problem"] and record["state"] == state_of(path) and is_same


class _Records:
    """What the shards of a kind found out. They have the order of the rows, so that few records wait at a time for theirs."""

    def __init__(self, folders: Iterable[Path]) -> None:
        lines = (json.loads(line) for folder in folders for line in _lines(folder / "utterances.jsonl"))
        self._groups = groupby(lines, key=lambda record: record.get("path", ""))
        self._waiting: dict[str, dict[str, dict]] = {}  # path -> id -> record

    def pop(self, row: Row) -> dict | None:
        """Return the record of a file, None if no shard had it; then all the others are in memory.

        A file that stands in one row alone is the same under another id, as when blanks are replaced.
        """
        while row.path not in self._waiting:
            path, group = next(self._groups, ("", ()))
            if not path:
                return None
            self._waiting[path] = {record["id"]: record for record in group}
        records = self._waiting[row.path]
        if len(records) == 1:
            return self._waiting.pop(row.path).popitem()[1]
        return records.get(row.id)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        yield from file


def rate_fault(utterances: Iterable[Utterance], expected: int, wanted: int = 0) -> RecipeError | None:
    """Return what is wrong with the sampling rates (Hz), None if nothing is.

    Args:
        utterances: to look at.
        expected: of all files; 0: they may differ.
        wanted: that the features are made from, and do not convert to; 0: any.
    """
    utterances = list(utterances)
    counts = Counter(utterance.sampling_rate for utterance in utterances)
    odd = [each for each in utterances if expected and each.sampling_rate != expected]
    strange = [each for each in utterances if wanted and each.sampling_rate != wanted]
    if not odd and not strange:
        return None
    first = (odd or strange)[0]
    told = f"sampling rates: expected {expected} Hz in all files" if odd else "sampling rates"
    if strange and not (odd and expected == wanted):
        told += f"{' and' if odd else ': expected'} features.sampling_rate = {wanted} Hz"
    repairs = [("prepare.mixed_sampling_rates", "allow")] if odd else []
    repairs.append(("features.resample", True))
    options = " ".join(f"--set {name}={str(value).lower()}" for name, value in repairs)
    found = ", ".join(f"{rate} Hz in {count} files" for rate, count in sorted(counts.items()))
    hint = ""
    if wanted > max(counts):
        lower = " ".join(f"--set {part}.sampling_rate={max(counts)}" for part in ("features", "augment"))
        hint = f" (or, before anything is trained, {lower}, as such audio has no upper bands)"
    return RecipeError(
        f"{told}, found {found}; for example {printable(first.path)} has {first.sampling_rate} Hz; convert the "
        f"files, or add {options}{hint}",
        repairs=repairs,
    )


def check_rates(utterances: Iterable[Utterance], expected: int, advice: str, wanted: int = 0) -> None:
    """Raise a RecipeError if a file has another sampling rate than expected (0: than most of them), or than `wanted`."""
    utterances = list(utterances)
    fault = rate_fault(utterances, expected or usual_rate(utterances))
    if fault is not None:
        raise RecipeError(f"{str(fault).rpartition(', or add')[0]}, or change {advice}")
    fault = rate_fault(utterances, 0, wanted)
    if fault is not None:
        raise fault


def usual_rate(utterances: Iterable[Utterance]) -> int:
    """Return the sampling rate (Hz) of most of them; 0 if there are none."""
    counts = Counter(utterance.sampling_rate for utterance in utterances)
    return counts.most_common(1)[0][0] if counts else 0


def bank_sets(opened: Iterable[Opened]) -> dict[str, list[Utterance]]:
    """Return the sets of noises and rooms."""
    sets: dict[str, list[Utterance]] = {}
    for each in opened:
        if each.kind in BANKS and not each.problem:
            sets.setdefault(each.kind, []).append(each.utterance(0))
    return sets


def write_shares(out: Path, opened: Iterable[Opened]) -> None:
    """Write `<bank>/shares`, lines `<id> <share of the draws>`, of the banks whose sounds are not equally likely."""
    found: dict[str, dict[str, str]] = {}
    for each in opened:
        if each.kind in BANKS and not each.problem and each.row.share:
            found.setdefault(each.kind, {})[each.row.id] = f"{each.row.share:.9g}"
    for kind, shares in found.items():
        write_pairs(out / kind / "shares", shares)


def write_manifests(
    out: Path,
    sets: Mapping[str, list[Utterance]],
    root_names: Mapping[str, str],
    lists: Mapping[str, Mapping[str, Trials]],
    bad: Iterable[findings.Finding],
) -> None:
    """Write sets, roots (by set), utt2spk, spk2gender, lists of trials (by folder and name), and problems.tsv."""
    for name, utterances in sets.items():
        write_set(out / name, utterances)
    write_roots(out, root_names)
    write_rates(out, sets)
    utterances = [utterance for name in SETS for utterance in sets.get(name, [])]
    write_utt2spk(out / "utt2spk", utterances)
    write_pairs(out / "spk2gender", {utterance.speaker: utterance.gender for utterance in utterances})
    for folder, found in lists.items():
        for name, trials in found.items():
            (out / folder).mkdir(exist_ok=True)
            write_trials(out / folder / f"{name}.txt", trials)
    findings.write(out / findings.PROBLEMS, bad)


def write_pairs(path: Path, values: Mapping[str, str]) -> None:
    """Write lines `<key> <value>`, sorted, of the keys that have a value; no file if there are none."""
    lines = [f"{key} {value}\n" for key, value in sorted(values.items()) if value]
    if lines:
        with atomic_write(path) as file:
            file.writelines(lines)


def _open(kind: str, row: Row, path: Path, channel: int, decode: bool, siblings: parts.Siblings | None) -> Opened:
    state = state_of(path)  # taken first: what is changed while it is open counts as changed
    if row.part:
        info, problem, remark = parts.inspect(path, row, siblings, decode=decode, channel=max(0, channel))
    else:
        info, problem, remark = inspect_audio(path, decode=decode, channel=max(0, channel))
    return Opened(
        kind=kind,
        row=row,
        problem=problem,
        sampling_rate=info.sampling_rate if info else 0,
        num_samples=info.num_samples if info else 0,
        num_channels=info.num_channels if info else 0,
        remark=remark,
        content=_content(path, state, decode),
        state=state,
    )


def _size(path: Path) -> int:
    """Return the size of a file in bytes; -1 where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


# The rows of one file stand behind each other.
@lru_cache(maxsize=1)
def _content(path: Path, state: str, whole: bool) -> str:
    """Return the content of a file; its state is an argument so that a rewritten file is read again."""
    return content_of(path, whole=whole)
