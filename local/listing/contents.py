"""The content of a corpus's audio: written beside the manifests, and compared when somebody asks whether they are up to date."""

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from local.listing.shards import Files, Listing, Opened, record_of, shards_of, unit_names
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.core.log import progress
from steps.data.audio_content import (
    CONTENT,
    OPENED,
    SAMPLED,
    Line,
    content_of,
    read_content,
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
        for name, first in shards_of(kind, len(files), size):
            write_opened(out, name, (_line(each, listing[kind]) for each in files[first : first + size]))


def _line(each: Opened, files: Files) -> Line:
    facts = record_of(each, files.channel)
    return Line(facts.pop("state"), facts.pop("content"), files.root_name, facts.pop("path"), json.dumps(facts, sort_keys=True))


def recover(unit: str, manifests: Path, out: Path) -> bool:
    """Write `utterances.jsonl` of a shard from what finished manifests know of its files; False if they do not."""
    try:
        lines = read_opened(manifests, unit)
    except RecipeError:
        return False
    with atomic_write(out / "utterances.jsonl") as file:
        for line in lines:
            record = json.loads(line.more) | {"state": line.state, "content": line.content, "path": line.path}
            file.write(json.dumps(record, sort_keys=True) + "\n")
    return True


def lost(listing: Listing, manifests: Path, size: int) -> dict[str, str]:
    """Return what finished manifests should know of their files and do not: name of a file of theirs -> what is wrong."""
    if not (manifests / CONTENT).is_file():
        return {}  # made before contents were recorded
    names = (f"{OPENED}/{name}.tsv" for name in unit_names(listing, size))
    return {name: "is missing or damaged" for name in names if not (manifests / name).is_file()}


def changed(listing: Listing, manifests: Path, size: int, *, read_all: bool = False) -> str:
    """Return which audio has other content than finished manifests were made of, in words; "" if none has.

    A file is read again where its size, times or inode are others, or all are (`read_all`); what turns out to be the same is
    remembered. A shard of which nothing is known any more is compared with the content of what is used, and then is `lost`.
    """
    if not (manifests / CONTENT).is_file():
        return ""  # made before contents were recorded
    found = (path for kind, files in listing.items() for path in _changed_files(kind, files, manifests, size, read_all))
    wrong = list(dict.fromkeys(found))  # a file may have several parts
    if not wrong:
        return ""
    first = ", ".join(wrong[:_NUM_SHOWN]) + (f" and {len(wrong) - _NUM_SHOWN} more" if len(wrong) > _NUM_SHOWN else "")
    num = sum(len({row.path for row in files.rows}) for files in listing.values())
    return f"audio has other content than when stage 1 read it: {first} (of {num})"


def _changed_files(kind: str, files: Files, manifests: Path, size: int, read_all: bool) -> Iterator[str]:
    every = shards_of(kind, len(files.rows), size)
    for name, first in progress(every, title=f"audio of {kind}", total=len(every), logger=_LOG):
        begins = states(manifests, name)
        paths = [(row.path, files.root / row.path) for row in files.rows[first : first + size]]  # the names are those of the plan
        found = [state_of(path) for _, path in paths]
        if found != begins or read_all:
            yield from _looked_at(manifests, kind, name, paths, found, read_all)


def _looked_at(
    manifests: Path, kind: str, name: str, paths: list[tuple[str, Path]], found: list[str], read_all: bool
) -> Iterator[str]:
    """The files of a shard whose content has changed; the states of the others are remembered."""
    try:
        lines = read_opened(manifests, name)
    except RecipeError:
        lines = []
    if [line.path for line in lines] != [path for path, _ in paths]:
        yield from _compared_with_used(manifests, kind, paths)
        with contextlib.suppress(OSError):  # then there is no need to read it again
            (manifests / OPENED / f"{name}.tsv").unlink(missing_ok=True)
        return
    kept = list(lines)
    content = lru_cache(maxsize=1)(content_of)  # the parts of a file stand behind each other
    for number, (line, state, (name_there, path)) in enumerate(zip(lines, found, paths, strict=True)):
        if state == line.state and not read_all:
            continue
        if not line.content or content(path, whole=not line.content.startswith(SAMPLED)) != line.content:
            yield name_there
        else:
            kept[number] = line._replace(state=state)
    if kept != lines:
        with contextlib.suppress(OSError):  # where nothing may be written, they are read again the next time
            write_opened(manifests, name, kept)


def _compared_with_used(manifests: Path, kind: str, paths: list[tuple[str, Path]]) -> Iterator[str]:
    """Those of some files that are used, by what audio_content.tsv says, and have other content."""
    used = read_content(manifests, kind)
    for name, path in dict(paths).items():
        known = used.get(name)
        if known and content_of(path, whole=not known.startswith(SAMPLED)) != known:
            yield name
