"""Rows that are parts of files, or channels of them, opened together: a file is decoded once for all of them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from local.listing.files import Row
from steps.data.audio import Inspection
from steps.data.audio_parts import Part, inspect_parts


@dataclass(frozen=True, eq=False)
class Siblings:
    """The rows that are parts or channels of one file; compared by identity, as there may be thousands, asked for one by one."""

    rows: tuple[Row, ...]


def of_files(rows: Iterable[Row]) -> dict[str, Siblings]:
    """Return path -> the rows that are parts or channels of that file."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.part:
            found[row.path].append(row)
    return {path: Siblings(tuple(each)) for path, each in found.items()}


def inspect(path: Path, row: Row, siblings: Siblings, *, decode: bool, channel: int) -> Inspection:
    """Return what is found out about a row, of the parts of one file that are asked for one after the other.

    Args:
        path: the file.
        row: the part.
        siblings: all parts of the file, this one among them.
        decode: every sample; false: only the header.
        channel: of parts that say none; 0 = the first, MONO = the only one.
    """
    found = _inspected(path, _time(path), siblings, decode, channel)[_part(row, channel)]
    return found._replace(problem=f"{found.problem} ({row.where})") if found.problem and row.source else found


def start_of(row: Row, sampling_rate: int) -> float:
    """Return where a row begins in its file (s), at a sample; of a file whose rate is not known (0 Hz), as the row says."""
    return round(row.start * sampling_rate) / sampling_rate if row.start and sampling_rate else row.start or 0.0


@lru_cache(maxsize=1)
def _inspected(path: Path, time: int, siblings: Siblings, decode: bool, channel: int) -> dict[Part, Inspection]:
    parts = [_part(each, channel) for each in siblings.rows]
    return dict(zip(parts, inspect_parts(path, parts, decode=decode), strict=True))


def _part(row: Row, channel: int) -> Part:
    return Part(row.start, row.end, row.channel - 1 if row.channel else channel)


def _time(path: Path) -> int:
    """Return when a file was changed, so that what was found out before is not taken for what is there."""
    return path.stat().st_mtime_ns if path.is_file() else 0
