"""One writer per output folder."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from steps.core.errors import RecipeError


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold `<out>.lock` for the length of a block.

    The file names host, pid and start time of its holder. The lock of a process that no longer lives on this host
    is taken over. Raises RecipeError naming the holder otherwise.
    """
    path = out.with_name(out.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RecipeError(f"{path.parent}: is a file, expected a folder to make {out.name} in; choose another --out") from None
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())}
    _acquire(path, json.dumps(holder), out)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _acquire(path: Path, text: str, out: Path) -> None:
    # The lock is written whole under another name and then linked: no reader ever sees half of it.
    draft = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}")
    draft.write_text(text)
    try:
        for _ in range(100):
            try:
                os.link(draft, path)
                return
            except FileExistsError:
                _take_over(path, out)
        raise RecipeError(f"{path}: others keep taking this lock; wait for them to end, then rerun")
    finally:
        draft.unlink(missing_ok=True)


def _take_over(path: Path, out: Path) -> None:
    """Remove the lock of a dead holder; raise RecipeError if the holder lives or is on another host."""
    try:
        text = path.read_text()
        holder = json.loads(text)
        host, pid, started = holder["host"], int(holder["pid"]), holder["started"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise RecipeError(f"{path}: not a lock of ours; if nothing writes to {out}, delete it and rerun") from None
    if host != socket.gethostname():
        raise RecipeError(
            f"{out} is being written by process {pid} on host {host} (lock {path}); "
            "wait for it, or delete the lock if that process is gone"
        )
    if _start_time(pid) == started:
        raise RecipeError(f"{out} is being written by process {pid} on this host (lock {path}); wait for it to end, then rerun")
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        # Of several successors (all on this host) one at a time gets here; the next finds a lock that says another thing.
        with contextlib.suppress(OSError):  # a file system that has none
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.read_text() == text:
            path.unlink()


def _start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot ("" if there is none): a pid alone may have been used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    try:  # systems without /proc: alive or not is all that can be known
        os.kill(pid, 0)
        return "alive"
    except OSError:
        return ""
