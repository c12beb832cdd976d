"""One writer per output folder."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steps.core import slurm
from steps.core.errors import RecipeError


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold `<out>.lock` for the length of a block.

    The file names host, pid and start time of its holder, and the job if it runs in one of Slurm. The lock of a process that no
    longer lives on this host is taken over, and that of a job that Slurm has ended or begun anew, on whatever host.
    Raises RecipeError naming the holder otherwise.
    """
    path = out.with_name(out.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RecipeError(f"{path.parent}: is a file, expected a folder to make {out.name} in; choose another --out") from None
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid())} | _own_job()
    _acquire(path, json.dumps(holder), out)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def holder_of(out: Path) -> str:
    """Who writes an output, in words; "" if nobody does, as far as can be known here."""
    try:
        holder = json.loads(out.with_name(out.name + ".lock").read_text())
        who = f"process {holder['pid']} on host {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if holder["host"] == socket.gethostname() and _start_time(int(holder["pid"])) != holder.get("started"):
        return ""
    return f"{who}, job {holder['job']}" if holder.get("job") else who


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
        if not _job_is_over(holder):
            job = f", job {holder['job']}," if holder.get("job") else ""
            raise RecipeError(
                f"{out} is being written by process {pid} on host {host}{job} (lock {path}); "
                "wait for it, or delete the lock if that process is gone"
            )
    elif _start_time(pid) == started:
        raise RecipeError(f"{out} is being written by process {pid} on this host (lock {path}); wait for it to end, then rerun")
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        # Of several successors one at a time gets here; the next finds a lock that says another thing.
        with contextlib.suppress(OSError):  # a file system that has none
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.read_text() == text:
            path.unlink()


def _own_job() -> dict[str, str]:
    """The job of Slurm that this process is part of, and how often it began anew."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return {"job": job, "restart": os.environ.get("SLURM_RESTART_COUNT", "0")} if job else {}


def _job_is_over(holder: Mapping[str, Any]) -> bool:
    """Whether the holder ran in a job that has ended, or that is this one and began anew on another host."""
    own, job = _own_job(), str(holder.get("job", ""))
    if not job:
        return False
    return own.get("restart") != holder.get("restart") if own.get("job") == job else not slurm.job_lives(job)


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
