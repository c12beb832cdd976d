"""The content of a corpus's audio: written beside the manifests, and compared when somebody asks whether they are up to date."""

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from local.listing.shards import Files, Listing, Opened, record_of
from steps.core.files import atomic_write
from steps.core.log import progress
from steps.data.audio_content import (
    SAMPLED,
    Line,
    content_of,
    opened_names,
    read_opened,
    state_of,
    states,
    write_content,
    write_opened,
)

_NUM_SHOWN = 5
_LOG = logging.getLogger("prepare")


def write(out: Path, opened: Iterable[Opened], listing: Listing, size: int, used: Iterable[str]) -> None:
    """Write what is known of all files, in shards of `size`, and the content of those that are `used` (ids)."""
    used, by_kind = set(used), {kind: [] for kind in listing}
    for each in opened:
        by_kind[each.kind].append(each)
    write_content(out, ((each.kind, each.row.path, each.content) for each in opened if each.row.id in used))
    for kind, files in by_kind.items():
        for number, first in enumerate(range(0, len(files), size)):
            lines = (_line(each, listing[kind]) for each in files[first : first + size])
            write_opened(out, f"{kind}.{number:05d}", lines)


def _line(each: Opened, files: Files) -> Line:
    facts = record_of(each, files.channel)
    return Line(facts.pop("state"), facts.pop("content"), files.root_name, facts.pop("path"), json.dumps(facts, sort_keys=True))


def recover(unit: str, manifests: Path, out: Path) -> bool:
    """Write `utterances.jsonl` of a shard from what finished manifests know of its files; False if they do not."""
    if unit not in opened_names(manifests, unit.rpartition(".")[0]):
        return False
    with atomic_write(out / "utterances.jsonl") as file:
        for line in read_opened(manifests, unit):
            record = json.loads(line.more) | {"state": line.state, "content": line.content, "path": line.path}
            file.write(json.dumps(record, sort_keys=True) + "\n")
    return True


def changed(listing: Listing, manifests: Path, *, read_all: bool = False) -> str:
    """Return which audio has other content than finished manifests were made of, in words; "" if none has.

    A file is read again where its size, times or inode are others, or all are (`read_all`); what turns out to be the same is
    remembered.
    """
    if not opened_names(manifests):
        return ""  # made before contents were recorded
    wrong = [path for kind, files in listing.items() for path in _changed_files(kind, files, manifests, read_all)]
    if not wrong:
        return ""
    first = ", ".join(wrong[:_NUM_SHOWN]) + (f" and {len(wrong) - _NUM_SHOWN} more" if len(wrong) > _NUM_SHOWN else "")
    num = sum(len(files.rows) for files in listing.values())
    return f"audio has other content than when stage 1 read it: {first} (of {num})"


def _changed_files(kind: str, files: Files, manifests: Path, read_all: bool) -> Iterator[str]:
    names, rows = opened_names(manifests, kind), iter(files.rows)
    for name in progress(names, title=f"audio of {kind}", total=len(names), logger=_LOG):
        begins = states(manifests, name)
        paths = [(row.path, files.root / row.path) for row in islice(rows, len(begins))]  # the names are those of the plan
        found = [state_of(path) for _, path in paths]
        if found != begins or read_all:
            yield from _looked_at(manifests, name, paths, found, read_all)


def _looked_at(manifests: Path, name: str, paths: list[tuple[str, Path]], found: list[str], read_all: bool) -> Iterator[str]:
    """The files of a shard whose content has changed; the states of the others are remembered."""
    lines = read_opened(manifests, name)
    kept = list(lines)
    for number, (line, state, (name_there, path)) in enumerate(zip(lines, found, paths, strict=True)):
        if state == line.state and not read_all:
            continue
        known = line.content if line.path == name_there else ""
        if not known or content_of(path, whole=not known.startswith(SAMPLED)) != known:
            yield name_there
        else:
            kept[number] = line._replace(state=state)
    if kept != lines:
        write_opened(manifests, name, kept)
