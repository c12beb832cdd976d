"""Whether a finished output still is what its stamp says: its files there, of the recorded sizes, of the recorded content.

Sizes are compared whenever somebody asks whether a stage is up to date, which takes milliseconds; content when a stage begins to
work with an output of another one, and by `./run.sh --verify`.
"""

import gzip
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError
from steps.core.files import content_hash
from steps.core.stamp import STAMP, read_stamp

HASHED_BYTES = 4 << 30  # of an input, whose content is compared before a stage works with it; of what is beyond, only the size
NUMBERS = {"prepare": 1, "extract": 2, "augment": 3, "train": 4, "embed": 5, "score": 6, "fuse": 7, "align": 7, "report": 8}
OTHER_CONTENT = "has other content than was written"
_NUM_SHOWN = 5
_LISTED = ".txt"  # ends the names of lists and scores, of which all that there are in a folder are read

Damage = dict[str, str]  # name of a promised file -> what is wrong with it


def size_damage(folder: Path, stamp: Mapping[str, Any]) -> Damage:
    """The promised files of an output, and those beside them, that are gone or have another size than its stamp says."""
    sizes = stamp.get("sizes", {})  # stamps did not always have them
    problems = ((name, _size_problem(folder / name, sizes.get(name))) for name in {**stamp["outputs"], **sizes})
    return {name: problem for name, problem in problems if problem}


def damage(folder: Path, stamp: Mapping[str, Any], *, threads: int = 1) -> Damage:
    """The promised files of an output that are not what its stamp says, by size and content."""
    wrong = size_damage(folder, stamp)
    return wrong | _content_damage(folder, stamp, [name for name in stamp["outputs"] if name not in wrong], threads)


def strangers(folder: Path, stamp: Mapping[str, Any]) -> str:
    """Lists and scores that lie among those of an output and are not of it, in words; "" if there are none.

    Who reads the output would take them for its own.
    """
    parents = {Path(name).parent for name in stamp["outputs"] if name.endswith(_LISTED)}
    found = {str(path.relative_to(folder)) for parent in parents for path in (folder / parent).glob(f"*{_LISTED}")}
    added = sorted(found - stamp["outputs"].keys())
    if not added:
        return ""
    more = f" and {len(added) - _NUM_SHOWN} more" if len(added) > _NUM_SHOWN else ""
    return (
        f"holds what the stage that made it did not write: {', '.join(added[:_NUM_SHOWN])}{more}; take it away (own trial lists: "
        "--set prepare.trials=FILE)"
    )


def warn_of_strangers(folder: Path, stamp: Mapping[str, Any], log: logging.Logger) -> None:
    """Say if there are any, of a finished output that is not made anew."""
    added = strangers(folder, stamp)
    if added:
        log.warning("%s %s", folder, added)


def check_input(option: str, folder: Path, log: logging.Logger, *, threads: int = 1) -> None:
    """Raise a RecipeError if an input of a stage is not what the stage that made it wrote; `option` names it.

    Content is compared of up to HASHED_BYTES, the small files first.
    """
    if not (folder / STAMP).is_file():  # a model from elsewhere
        return
    stamp = read_stamp(folder)
    added = strangers(folder, stamp)
    if added:
        raise RecipeError(f"input {option}: {folder} {added}")
    wrong = size_damage(folder, stamp)
    if not wrong:
        chosen, left = _affordable(folder, stamp["outputs"])
        wrong = _content_damage(folder, stamp, chosen, threads)
        if left:
            log.info("input %s: %.0f GB of it are compared by size only (./run.sh --verify: by content)", option, left / 1e9)
    if wrong:
        stage = stamp["plan"].get("stage", "?")
        number = f"stage {NUMBERS[stage]} ({stage})" if stage in NUMBERS else f"steps.{stage}"
        raise RecipeError(
            f"input {option}: {folder} is not as {number} left it: {shown(wrong)}; the same ./run.sh "
            f"with --verify added makes anew what is damaged{_where_made(folder, stage)}"
        )


def _where_made(folder: Path, stage: str) -> str:
    """Which stage of ./run.sh, and which system or sweep, has to be among those that a command goes through."""
    if stage not in NUMBERS:
        return ""
    home, words = folder.absolute().parent, f"from --stage {NUMBERS[stage]} on{', which trains again' * (stage == 'train')}"
    if stage not in ("train", "embed", "score"):
        return f" ({words})"
    if home.parent.parent.name == "sweeps":
        return f" ({words}, with the --sweep called {home.parent.name})"
    return f" ({words}, with --system {home.name} or more)"


def check_model(option: str, *folders: Path) -> None:
    """Raise a RecipeError if a model or a back end that somebody brings is not what its stamp says; without one, all is well."""
    for folder in folders:
        wrong = damage(folder, read_stamp(folder)) if (folder / STAMP).is_file() else {}
        if wrong:
            raise RecipeError(
                f"{option} {folder}: is not as it was left: {shown(wrong)}; put the files back, or, if the change is meant, "
                f"remove {folder / STAMP}: the folder is then known by the files that it holds"
            )


def shown(wrong: Damage) -> str:
    """Return what is wrong, in words."""
    first = ", ".join(f"{name} {problem}" for name, problem in list(wrong.items())[:_NUM_SHOWN])
    return f"{first}{f' and {len(wrong) - _NUM_SHOWN} more files' if len(wrong) > _NUM_SHOWN else ''}"


def _size_problem(path: Path, expected: int | None) -> str:
    try:
        size = os.stat(path).st_size
    except OSError:
        return "is missing"
    return "" if expected in (None, size) else f"has {size:,} bytes, expected {expected:,}"


def _content_damage(folder: Path, stamp: Mapping[str, Any], names: Iterable[str], threads: int) -> Damage:
    names = list(names)
    with ThreadPoolExecutor(max(1, min(threads, os.cpu_count() or 1))) as pool:  # hashing lets other threads run
        hashes = list(pool.map(lambda name: _hash(folder / name), names))
    pairs = zip(names, hashes, strict=True)
    return {name: OTHER_CONTENT for name, found in pairs if found != stamp["outputs"][name]}


def _hash(path: Path) -> str:
    try:
        return content_hash(path)
    except (OSError, EOFError, zlib.error, gzip.BadGzipFile, RecipeError):  # what was a packed or a JSON file
        return "unreadable"


def _affordable(folder: Path, names: Iterable[str]) -> tuple[list[str], int]:
    """The files that are hashed, and how many bytes are not."""
    chosen, total, left = [], 0, 0
    for size, name in sorted((os.stat(folder / name).st_size, name) for name in names):
        total += size
        if total <= HASHED_BYTES:
            chosen.append(name)
        else:
            left += size
    return chosen, left
