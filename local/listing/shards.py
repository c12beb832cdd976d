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
from dataclasses import dataclass, fields
from pathlib import Path

from local.listing import findings
from local.listing.files import SETS, Row
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.audio import inspect_audio
from steps.data.manifests import Utterance, check_ids, write_roots, write_set, write_utt2spk
from steps.data.trials import Trials, write_trials

BANKS = ("noise", "music", "rir", "babble")
BAD_AUDIO = ("fail", "exclude")
CHECK_AUDIO = ("decode", "header")

_ROW_FIELDS = sorted(field.name for field in fields(Row))
_WHERE_SAID = ("nationality", "share")  # count in an inventory only where they say something: most corpora have none
_FOUND = ("problem", "remark", "sampling_rate", "num_samples", "num_channels")  # out by opening a file


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
    """One audio file after it was opened."""

    kind: str
    row: Row
    problem: str  # "" where it is good
    sampling_rate: int  # Hz
    num_samples: int
    num_channels: int
    remark: str = ""  # several between "; "
    content: str = ""  # SHA-256 of the bytes of the file; "" where it is not known

    def utterance(self, channel: int) -> Utterance:
        """Return the whole file as an utterance."""
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
            channel=max(0, channel),
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
        raise RecipeError(f"site.{name} = {root}: no such folder; correct the path (or --data DIR)")
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
    names = []
    for kind, found in listing.items():
        check_ids(((row.id, row.speaker, row.path) for row in found.rows), str(found.root))
        names += [f"{kind}.{number:05d}" for number in range(-(-len(found.rows) // size))]
    return sorted(names)


def open_unit(listing: Listing, unit: str, out: Path, *, size: int, decode: bool) -> None:
    """Open the files of one shard; write `utterances.jsonl`, a line per file, and `problems.tsv` of the bad ones."""
    kind, _, number = unit.rpartition(".")
    found, first = listing[kind], int(number) * size
    opened = []
    with atomic_write(out / "utterances.jsonl") as file:
        for row in found.rows[first : first + size]:
            path = found.root / row.path
            state = _state(path)  # taken first: what is changed while it is open counts as changed
            opened.append(_open(kind, row, path, found.channel, decode))
            values = {name: getattr(opened[-1], name) for name in _FOUND}
            line = {"kind": kind, "id": row.id, "file": state} | values
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    findings.write(out / findings.PROBLEMS, findings.problems(opened))


def read_units(listing: Listing, unit_folders: Mapping[str, Path], *, decode: bool) -> list[Opened]:
    """Return every file, opened: as the shards say, but bad files and files changed since are opened (once more)."""
    opened = []
    for kind, found in listing.items():
        known = _Records(folder for unit, folder in sorted(unit_folders.items()) if unit.rpartition(".")[0] == kind)
        for row in found.rows:
            path, record = found.root / row.path, known.pop(row.id)
            if record is None or record["problem"] or record.pop("file") != _state(path):
                opened.append(_open(kind, row, path, found.channel, decode))
            else:
                opened.append(Opened(kind=kind, row=row, **record))
    return opened


class _Records:
    """What the shards of a kind found out. They have the order of the rows, so that few records wait at a time for theirs."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._lines = (line for folder in folders for line in _lines(folder / "utterances.jsonl"))
        self._waiting: dict[str, dict] = {}

    def pop(self, row_id: str) -> dict | None:
        """Return the record of a file, None if no shard had it; then all the others are in memory."""
        while row_id not in self._waiting:
            line = next(self._lines, None)
            if line is None:
                return None
            record = json.loads(line)
            del record["kind"]
            self._waiting[record.pop("id", "")] = record
        return self._waiting.pop(row_id)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        yield from file


def check_rates(utterances: Iterable[Utterance], expected: int, advice: str) -> None:
    """Raise a RecipeError if a file has another sampling rate than expected (0: than most of them)."""
    utterances = list(utterances)
    counts = Counter(utterance.sampling_rate for utterance in utterances)
    expected = expected or (counts.most_common(1)[0][0] if counts else 0)
    if set(counts) <= {expected}:
        return
    first = next(utterance for utterance in utterances if utterance.sampling_rate != expected)
    found = ", ".join(f"{rate} Hz in {count} files" for rate, count in sorted(counts.items()))
    raise RecipeError(
        f"sampling rates: expected {expected} Hz in all files, found {found}; for example {first.path} has "
        f"{first.sampling_rate} Hz; convert the files, or set {advice}"
    )


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


def _open(kind: str, row: Row, path: Path, channel: int, decode: bool) -> Opened:
    info, problem, remark = inspect_audio(path, decode=decode, channel=channel)
    return Opened(
        kind=kind,
        row=row,
        problem=problem,
        sampling_rate=info.sampling_rate if info else 0,
        num_samples=info.num_samples if info else 0,
        num_channels=info.num_channels if info else 0,
        remark=remark,
    )


def _state(path: Path) -> str:
    """Return what changes if a file does: name, size and time."""
    try:
        status = os.stat(path)
    except OSError:
        return f"{path}, absent"
    return f"{path}, {status.st_size} bytes, {status.st_mtime_ns} ns"


def _size(path: Path) -> int:
    """Return the size of a file in bytes; -1 where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1
