"""Fetching a file over HTTP: goes on where it was cut, on another server if need be, and is whole or absent.

What has arrived lies in `<file>.part`, and beside it `<file>.part.json` says of which version of the file that is.
"""

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import RecipeError
from steps.core.files import fsync, write_json
from steps.core.log import progress

BLOCK = 1 << 20  # bytes
TIMEOUT = 60.0  # s without a byte
LONGEST_PAUSE = 60.0  # s between two attempts

_FAILURES = (OSError, http.client.HTTPException)  # of a connection; OSError: also URLError, timeouts and resets
_NOT_THERE = (400, 401, 403, 404, 410, 451)  # where to try again would not help


class _GoneError(Exception):
    """A server does not have the file, or has another one."""


class _CutError(Exception):
    """A connection failed; to try again may help. Errors of the disk are none of these."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a server sends."""

    start: int  # byte of the file that it begins with
    total: int  # bytes of the whole file; 0: not said
    version: str  # which version of the file it is, as the server names it


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    num_bytes: int = 0,
    retries: int = 5,
    log: logging.Logger,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch a file to `path`, which appears when it is whole.

    Args:
        urls: addresses of the same file, tried in turn.
        path: to write; a `.part` beside it is gone on with.
        num_bytes: how long the file is; 0: as the server says.
        retries: attempts in a row that bring nothing new, after which it ends.
        log: for messages and the progress bar.
        pause: waits so many seconds.

    Raises:
        RecipeError: no server has the file, all have one of another length, or the retries are used up; what has arrived stays.
    """
    part, failures, gone = path.with_name(path.name + ".part"), 0, {}
    while True:
        left = [url for url in urls if url not in gone]
        if not left:
            raise RecipeError(
                f"{path.name}: cannot be fetched: {'; '.join(f'{url}: {reason}' for url, reason in gone.items())}; give another "
                "address with --from, or fetch it by hand"
            )
        url, before = left[failures % len(left)], _size(part)
        try:
            _attempt(url, part, num_bytes, log)
            break
        except _GoneError as error:
            gone[url] = str(error)
            continue
        except _CutError as error:
            reason = str(error)
        failures = 1 if _size(part) > before else failures + 1
        if failures > retries:
            raise RecipeError(
                f"{path.name}: the connection to {url} failed {failures} times in a row ({reason}); {_size(part):,} bytes have "
                "arrived and stay: give the same command again later"
            )
        log.warning("%s: cut at %s bytes (%s); going on", path.name, f"{_size(part):,}", reason)
        pause(min(2.0**failures, LONGEST_PAUSE))
    fsync(part)
    part.replace(path)
    _note(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, num_bytes: int, log: logging.Logger) -> None:
    """Bring `part` up to the whole file, or raise what cut it."""
    have = _size(part)
    if num_bytes and have == num_bytes:
        return
    if num_bytes and have > num_bytes:
        part.unlink()
        have = 0
    known = _read_note(part)
    headers = {"User-Agent": "sidamo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.get("url") == url and known.get("version"):
            headers["If-Range"] = known["version"]
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            _settle_range(error, part, have)
            return
        if error.code in _NOT_THERE:
            raise _GoneError(f"status {error.code} ({error.reason})") from None
        raise _CutError(f"status {error.code} ({error.reason})") from None
    except _FAILURES as error:
        raise _CutError(f"{type(error).__name__}: {error}") from None
    with response:
        answer = _read_answer(response, have)
        _check_total(answer, num_bytes)
        write_json(_note(part), {"url": url, "version": answer.version})
        _write(response, part, answer, log)
    if _size(part) < answer.total:
        raise _CutError(f"{_size(part):,} of {answer.total:,} bytes arrived")


def _read_answer(response: http.client.HTTPResponse, have: int) -> _Answer:
    version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    version = "" if version.startswith("W/") else version  # a weak one does not vouch for the bytes
    if response.status == http.client.PARTIAL_CONTENT:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        start = span.partition("-")[0]
        if unit != "bytes" or not start.isdigit() or int(start) > have:
            raise _GoneError(f"answered with the range {rest!r}, asked for bytes from {have} on")
        return _Answer(start=int(start), total=int(total) if total.isdigit() else 0, version=version)
    return _Answer(start=0, total=int(response.headers.get("Content-Length") or 0), version=version)


def _check_total(answer: _Answer, num_bytes: int) -> None:
    if num_bytes and answer.total and answer.total != num_bytes:
        raise _GoneError(f"has a file of {answer.total:,} bytes, expected {num_bytes:,}")


def _write(response: http.client.HTTPResponse, part: Path, answer: _Answer, log: logging.Logger) -> None:
    """Append what comes, from the byte on that the server begins with."""
    left = max(0, answer.total - answer.start)
    with open(part, "r+b" if part.exists() else "wb") as file:
        file.truncate(answer.start)
        file.seek(answer.start)
        title = part.name.removesuffix(".part")
        for block in progress(_blocks(response), title=f"{title} (MiB)", total=-(-left // BLOCK), logger=log):
            file.write(block)


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read(BLOCK):
            yield block
    except _FAILURES as error:
        raise _CutError(f"{type(error).__name__}: {error}") from None


def _settle_range(error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """After "no such range": either everything is there, or what is there is of no use."""
    total = error.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdigit() and int(total) == have:
        return
    part.unlink()
    raise _CutError(f"{have:,} bytes were there, the file has {total or 'another number'}; it is fetched anew") from None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict:
    try:
        return json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
