"""Of which bytes the manifests were made: audio is known by its content; size, times and inode only say where to look again.

Stage 1 writes `audio_content.tsv`, lines `<kind> <path> <begin of the SHA-256 of the file>` of the audio that is used ("speech",
or the name of a bank of sounds): it is hashed, so that whatever is made of the manifests is out of date when audio has changed.
`opened/<kind>.<number>.tsv` beside it, which is not, has a line for each file in the order of the corpus's list, with tabs
between: size, times and inode; content; entry of [site] and path (as JSON); what was found out by opening it (as JSON).
"""

import hashlib
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from steps.core.errors import RecipeError
from steps.core.files import atomic_write

CONTENT = "audio_content.tsv"
OPENED = "opened"
DIGITS = 32  # hexadecimal, of the SHA-256
ABSENT = "absent"
SAMPLED = "~"  # begins the content of a file of which only the ends were read
_SAMPLE_BYTES = 1 << 16
_BLOCK = 1 << 20


class Line(NamedTuple):
    """A file as it was when it was opened."""

    state: str
    content: str
    root_name: str  # entry of [site]
    path: str  # below that
    more: str  # JSON

    def text(self) -> str:
        """Return the line of a file."""
        return f"{self.state}\t{self.content}\t{json.dumps([self.root_name, self.path])}\t{self.more}\n"


def state_of(path: Path | str) -> str:
    """Return size, times (of the content, and of any change) and inode of a file: one differs if it was written since.

    A program can set the first of the times, as `cp -p` and `touch` do, and not the second.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a zero byte in its name
        return ABSENT
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def content_of(path: Path | str, *, whole: bool = True) -> str:
    """Return the begin of the SHA-256 of a file; "" if it cannot be read or is none, as a pipe, which nobody might write to.

    Args:
        path: the file.
        whole: false: of its size and its first and last 64 KiB, for corpora whose audio is not read either; marked with "~".
    """
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as file:
            return _digest_of_all(file) if whole else SAMPLED + _digest_of_ends(file)
    except OSError:
        return ""


def _digest_of_all(file) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()[:DIGITS]


def _digest_of_ends(file) -> str:
    size = os.fstat(file.fileno()).st_size
    first = file.read(_SAMPLE_BYTES)
    file.seek(max(0, size - _SAMPLE_BYTES))
    return hashlib.sha256(f"{size} ".encode() + first + file.read(_SAMPLE_BYTES)).hexdigest()[:DIGITS]


def write_content(out: Path, used: Iterable[tuple[str, str, str]]) -> None:
    """Write audio_content.tsv of rows (kind, path, content)."""
    lines = sorted({f"{kind}\t{json.dumps(path, ensure_ascii=False)[1:-1]}\t{content}\n" for kind, path, content in used})
    with atomic_write(out / CONTENT) as file:
        file.writelines(lines)


def read_content(manifests: Path, kind: str) -> dict[str, str]:
    """Return path -> content of the audio of a kind in audio_content.tsv."""
    found = {}
    for line in (manifests / CONTENT).read_text(encoding="utf-8").splitlines():
        of_kind, path, content = line.split("\t")
        if of_kind == kind:
            found[json.loads(f'"{path}"')] = content
    return found


def write_opened(out: Path, name: str, lines: Iterable[Line]) -> None:
    """Write opened/<name>.tsv."""
    (out / OPENED).mkdir(exist_ok=True)
    with atomic_write(out / OPENED / f"{name}.tsv") as file:
        file.writelines(line.text() for line in lines)


def opened_names(manifests: Path, kind: str = "*") -> list[str]:
    """Return the names <kind>.<number> of what stage 1 wrote of a kind, or of all, in order; none where it did not."""
    return sorted(path.stem for path in (manifests / OPENED).glob(f"{kind}.*.tsv"))


def states(manifests: Path, name: str) -> list[str]:
    """Return the states in opened/<name>.tsv, in order, which is all that is looked at where nothing has changed.

    There are none where the file is gone or damaged.
    """
    try:
        text = (manifests / OPENED / f"{name}.tsv").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return [line.partition("\t")[0] for line in text.splitlines()]


def read_opened(manifests: Path, name: str) -> list[Line]:
    """Return the lines of opened/<name>.tsv. Raises RecipeError if it is not as stage 1 writes it."""
    path, lines = manifests / OPENED / f"{name}.tsv", []
    try:
        for text in path.read_text(encoding="utf-8").splitlines():
            state, content, where, more = text.split("\t", 3)
            root_name, audio = json.loads(where)
            lines.append(Line(state, content, root_name, audio, more))
    except (ValueError, OSError) as error:
        raise RecipeError(f"{path}: is not as stage 1 (prepare) writes it ({error}); run stage 1 again") from None
    return lines


class Known:
    """The states and contents of all files that stage 1 opened, about 50 bytes each, to be looked up by root and path."""

    def __init__(self, manifests: Path) -> None:
        lines = (line for name in opened_names(manifests) for line in read_opened(manifests, name))
        rows = [(_key(line.root_name, line.path), _number(line.state), line.content) for line in lines]
        order = np.argsort(np.array([row[0] for row in rows], dtype=np.uint64), kind="stable")
        self.key_N, self.state_N = (np.array([row[k] for row in rows], dtype=np.uint64)[order] for k in (0, 1))
        self.content_N = np.array([row[2] for row in rows], dtype=f"S{DIGITS + 1}")[order]

    def content(self, root_name: str, path: str, file: Path) -> str:
        """Return the content that a file had in stage 1, and still has; "" where stage 1 did not record it.

        Args:
            root_name: entry of [site].
            path: relative to that root.
            file: where it lies.

        Raises:
            RecipeError: it has other content now.
        """
        key = _key(root_name, path)
        place = int(np.searchsorted(self.key_N, np.uint64(key)))
        if place == len(self.key_N) or int(self.key_N[place]) != key:
            return ""
        known, state = self.content_N[place].decode(), _number(state_of(file))
        if int(self.state_N[place]) != state and known:
            if content_of(file, whole=not known.startswith(SAMPLED)) != known:
                raise RecipeError(
                    f"{file}: its content is not what stage 1 (prepare) read; put the file back, or run stage 1 again, which "
                    "says what else has changed"
                )
            self.state_N[place] = state
        return known


def known_content(manifests: Path) -> Known:
    """Return what stage 1 knew of the files; read once by a process as long as the manifests stay the same."""
    path = manifests / CONTENT
    return _known_at(manifests, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _known_at(manifests: Path, changed: int) -> Known:
    return Known(manifests)


def _key(root_name: str, path: str) -> int:
    return _number(f"{root_name}\0{path}")


def _number(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")
