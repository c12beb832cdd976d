"""Unpacking archives that may have been made to do harm: nothing is written outside the target, whatever they hold.

Members with absolute paths or "..", links that lead out, devices, and members that would be written through a link are refused.
An archive is unpacked beside the target and moved into it when it was whole, so that a rerun starts afresh.
"""

import gzip
import io
import logging
import os
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from local.fetching.joined import JoinedFile
from steps.core.errors import RecipeError

_COPY = 1 << 20  # bytes
_REPORT = 30.0  # s between two messages
_LONGEST_LINK = 4096  # bytes
_GZIP = b"\x1f\x8b"
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A member of either kind of archive."""

    name: str
    kind: str  # "file", "folder", "symlink", "hardlink" or "other"
    link: str = ""
    executable: bool = False
    data: IO[bytes] | None = None


def unpack(paths: Sequence[Path], target: Path, *, name: str, drop: str = "", log: logging.Logger) -> int:
    """Unpack an archive (its parts, in order) into a folder; return how many files it held.

    Args:
        paths: of the parts.
        target: folder, made if need be; what is there of the same name is replaced.
        name: of the archive; .zip, or a tar, gzipped or not.
        drop: first folder of the members that is left out.
        log: for a message now and then.

    Raises:
        RecipeError: a damaged archive, or one that holds what is refused.
    """
    staging = target.parent / f".unpacking-{target.name}-{name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        count = _unpack(paths, staging, name, drop, log)
        _move(staging, target)
    except _DAMAGE as error:
        raise RecipeError(
            f"{name}: damaged archive ({type(error).__name__}: {error}); delete it and give the same command again"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _unpack(paths: Sequence[Path], staging: Path, name: str, drop: str, log: logging.Logger) -> int:
    root, count, links, last = staging.resolve(), 0, [], time.monotonic()
    with io.BufferedReader(JoinedFile(paths), _COPY) as stream:
        for member in _zip_members(stream) if name.endswith(".zip") else _tar_members(stream):
            place = _place(member.name, root, drop, name)
            if place is None:
                continue
            count += _write(member, place, root, drop, name)
            links += [place] * (member.kind == "symlink")
            if time.monotonic() - last > _REPORT:
                last = time.monotonic()
                log.info("%s: %s files unpacked so far", name, f"{count:,}")
    for place in links:  # once more, as a link that comes later may change where one leads
        if not place.resolve().is_relative_to(root):
            raise _refused(name, place.relative_to(root).as_posix(), "is a link that leads out")
    return count


def _tar_members(stream: io.BufferedReader) -> Iterator[_Member]:
    if stream.peek(2)[:2] == _GZIP:
        stream = gzip.GzipFile(fileobj=stream)  # tarfile's own reading of a stream does not look at the checksum
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=1) as archive:
        for each in archive:
            kinds = {"file": each.isreg(), "folder": each.isdir(), "symlink": each.issym(), "hardlink": each.islnk()}
            kind = next((kind for kind, holds in kinds.items() if holds), "other")
            data = archive.extractfile(each) if kind == "file" else None
            yield _Member(name=each.name, kind=kind, link=each.linkname, executable=bool(each.mode & stat.S_IXUSR), data=data)
    while stream.read(_COPY):  # to the end, where the checksum stands
        pass


def _zip_members(stream: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        for each in archive.infolist():
            mode = each.external_attr >> 16 if each.create_system == 3 else 0  # 3: Unix
            if each.is_dir():
                yield _Member(name=each.filename, kind="folder")
                continue
            with archive.open(each) as data:
                if stat.S_ISLNK(mode):
                    link = data.read(_LONGEST_LINK).decode("utf-8", errors="replace")
                    yield _Member(name=each.filename, kind="symlink", link=link)
                else:
                    is_plain = stat.S_IFMT(mode) in (0, stat.S_IFREG)
                    kind = "file" if is_plain else "other"
                    yield _Member(name=each.filename, kind=kind, executable=bool(mode & stat.S_IXUSR), data=data)


def _place(name: str, root: Path, drop: str, archive: str) -> Path | None:
    """Return where a member goes; None: nowhere, as it is the root itself."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise _refused(archive, name, "leads out of the folder that it is unpacked into")
    parts = path.parts[1:] if drop and path.parts[:1] == (drop,) else path.parts
    return root.joinpath(*parts) if parts else None


def _write(member: _Member, place: Path, root: Path, drop: str, archive: str) -> int:
    """Write one member below the root; return 1 for a file."""
    if not place.parent.resolve().is_relative_to(root):
        raise _refused(archive, member.name, "would be written through a link that leads out")
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "folder":
        if place.is_symlink():
            raise _refused(archive, member.name, "is a folder and a link")
        place.mkdir(exist_ok=True)
        return 0
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    if member.kind == "file":
        _write_file(member, place)
        return 1
    if member.kind == "symlink":
        if PurePosixPath(member.link).is_absolute() or not (place.parent / member.link).resolve().is_relative_to(root):
            raise _refused(archive, member.name, f"is a link to {member.link}, which leads out")
        place.symlink_to(member.link)
        return 0
    if member.kind == "hardlink":
        source = _place(member.link, root, drop, archive)
        if source is None or source.is_symlink() or not source.is_file() or not source.resolve().is_relative_to(root):
            raise _refused(archive, member.name, f"is a link to {member.link}, which is no file of the archive")
        os.link(source, place)
        return 1
    raise _refused(archive, member.name, "is no file, folder or link (a device, perhaps)")


def _write_file(member: _Member, place: Path) -> None:
    # No way through a link, and no rights but the usual ones: no setuid, nothing that others may write.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(place, flags, 0o755 if member.executable else 0o644), "wb") as file:
        shutil.copyfileobj(member.data, file, _COPY)


def _move(source: Path, target: Path) -> None:
    """Move what a folder holds into another, folder by folder; files of the same name are replaced."""
    target.mkdir(parents=True, exist_ok=True)
    for each in sorted(source.iterdir()):
        place = target / each.name
        if each.is_dir() and not each.is_symlink() and place.is_dir() and not place.is_symlink():
            _move(each, place)
        elif each.is_dir() and not each.is_symlink() and (place.exists() or place.is_symlink()):
            raise RecipeError(
                f"{place}: is a file or a link where the archive has a folder; move it away and give the same command again"
            )
        elif place.is_dir() and not place.is_symlink():
            raise RecipeError(f"{place}: is a folder where the archive has a file; move it away and give the same command again")
        else:
            os.replace(each, place)


def _refused(archive: str, member: str, why: str) -> RecipeError:
    return RecipeError(
        f"{archive}: member {member!r} {why}; nothing of this archive was kept: it is not what its publisher made, delete it"
    )
