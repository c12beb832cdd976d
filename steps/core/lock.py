"""One writer per output folder."""

import contextlib
import errno
import fcntl
import json
import os
import pwd
import secrets
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steps.core import slurm
from steps.core.errors import RecipeError
from steps.core.failures import make_folder

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # as FAT, and network file systems that lack them, say
_HIDDEN = "hidden"  # a process of another user, where /proc shows only one's own (hidepid)


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold `<out>.lock` for the length of a block.

    The file names host, pid, start time and user of its holder, and the job if it runs in one of Slurm. The lock of a process
    that no longer lives on this host is taken over, and that of one's own job that Slurm has ended or begun anew, on whatever
    host. Start times are ticks of that host's kernel: no clock of one host is compared with another's.
    Raises RecipeError naming the holder otherwise.
    """
    path = out.with_name(out.name + ".lock")
    make_folder(path.parent)
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "started": _start_time(os.getpid()), "pids": _pid_namespace()}
    holder |= {"user": os.getuid()} | _own_job()
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
        who = f"process {holder['pid']} on host {holder['host']}{_another(holder)}"
        if _is_near(holder) and _start_time(int(holder["pid"])) not in (holder.get("started"), _HIDDEN):
            return ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"{who}, job {holder['job']}" if holder.get("job") else who


def _acquire(path: Path, text: str, out: Path) -> None:
    # The lock is written whole under another name and then linked: no reader ever sees half of it.
    draft = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        draft.write_text(text)
        for _ in range(100):
            try:
                os.link(draft, path)
                return
            except FileExistsError:
                _take_over(path, out)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise RecipeError(
                    f"{path.parent}: the file system there makes no hard links ({error.strerror}), of which locks are made; "
                    "choose another place, with --exp that of results"
                ) from None
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
    if not _is_near(holder):
        if not _job_is_over(holder):
            job = f", job {holder['job']}," if holder.get("job") else ""
            raise RecipeError(
                f"{out} is being written by process {pid} on host {host}{_another(holder)}{job} (lock {path}); "
                "wait for it, or delete the lock if that process is gone"
            )
    elif _start_time(pid) in (started, _HIDDEN):
        raise RecipeError(
            f"{out} is being written by process {pid} on this host{_another(holder)} (lock {path}); "
            "wait for it to end, then rerun, or choose another --exp (or --out)"
        )
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        # Of several successors one at a time gets here; the next finds a lock that says another thing.
        with contextlib.suppress(OSError):  # a file system that has none
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.read_text() == text:
            path.unlink()


def _is_near(holder: Mapping[str, Any]) -> bool:
    """Whether the holder's process number means the same here: this host, and no container with processes of its own."""
    return holder["host"] == socket.gethostname() and holder.get("pids", _pid_namespace()) == _pid_namespace()


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _another(holder: Mapping[str, Any]) -> str:
    """ ", of user anna" where the holder is not of this user."""
    number = holder.get("user", os.getuid())
    if number == os.getuid():
        return ""
    try:
        return f", of user {pwd.getpwuid(number).pw_name}"
    except (KeyError, TypeError, ValueError, OverflowError):  # not known on this host
        return f", of user {number}"


def _own_job() -> dict[str, str]:
    """The job of Slurm that this process is part of, and how often it began anew."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return {"job": job, "restart": os.environ.get("SLURM_RESTART_COUNT", "0")} if job else {}


def _job_is_over(holder: Mapping[str, Any]) -> bool:
    """Whether the holder ran in a job that has ended, or that is this one and began anew on another host."""
    own, job = _own_job(), str(holder.get("job", ""))
    if not job or holder.get("user", os.getuid()) != os.getuid():  # clusters may hide one user's jobs from another (PrivateData)
        return False
    return own.get("restart") != holder.get("restart") if own.get("job") == job else not slurm.job_lives(job)


def _start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot ("" if there is none): a pid alone may have been used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
        return "" if Path("/proc/self").exists() else "alive"  # without /proc: alive or not is all that can be known
    except PermissionError:
        return _HIDDEN
    except OSError:
        return ""
