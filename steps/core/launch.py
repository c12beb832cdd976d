"""Run the parts of a stage as processes of this machine, and say what became of parts that failed, wherever they ran.

`launch_local(command, num_parts, log_folder, threads=...)` starts `command` once per part with `{part}` replaced by 0, 1, ...
and returns when all have ended well, or raises PartsFailed with the end of the first failed part's log. Parts of a cluster
keep the same contract (slurm_array.py); launchers.py knows which launcher has which name.
"""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import EXIT_BUG, EXIT_USER
from steps.core.threads import THREAD_VARIABLES

_LEAST_ROOM = 1 << 16  # bytes: with less than that, a disk is full
TAIL_LINES = 20  # of a failed part's log
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class PartsFailed(Exception):
    """Some parts ended badly. `status` is 2 if each failed for a reason that the user can repair, else 1."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Local:
    """Settings of the launcher "local": there is nothing to set."""

    type: str = "local"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a part ended badly, in words that follow "part 3", and whether the user can repair it."""

    how: str
    repairable: bool
    log: Path


def launch_local(
    command: Sequence[str],
    num_parts: int,
    log_folder: Path,
    *,
    threads: int,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run all parts at once on this machine, each with `threads` threads; `watch` is called while they run.

    A part dies with this process, also when it is killed: an orphan could otherwise write beside its successor.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    logs = [log_path(log_folder, part) for part in range(num_parts)]
    processes: list[subprocess.Popen] = []
    try:
        for part, log in enumerate(logs):
            with open(log, "wb") as file:
                process = subprocess.Popen(
                    line_of(command, part),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=environment,
                    preexec_fn=functools.partial(die_with_parent, os.getpid()),
                )
            processes.append(process)
        while any(process.poll() is None for process in processes):
            time.sleep(0.02)
            watch()
    except BaseException:
        _stop(processes)
        raise
    raise_if_failed(
        {
            part: Failure(how=ending(process.returncode), repairable=process.returncode == EXIT_USER, log=logs[part])
            for part, process in enumerate(processes)
            if process.returncode != 0
        },
        num_parts,
    )


def log_path(log_folder: Path, part: int) -> Path:
    """Where a part's messages go."""
    return log_folder / f"part.{part}.log"


def line_of(command: Sequence[str], part: int) -> list[str]:
    """The words of one part's command."""
    return [str(part) if word == "{part}" else word for word in command]


def die_with_parent(parent: int) -> None:
    """Called in a child before its program starts: the kernel kills it when its parent dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(EXIT_BUG)


def ending(status: int) -> str:
    """A process's exit status in words: a negative one is a signal."""
    return f"ended with status {status}" if status >= 0 else f"ended with signal {signal.Signals(-status).name}"


def raise_if_failed(failures: Mapping[int, Failure], num_parts: int) -> None:
    """Raise PartsFailed, with the end of the first failed part's log, if any part failed."""
    if not failures:
        return
    failed = sorted(failures)
    first = failures[failed[0]]
    # A repairable failure has its message on the last line(s) already; a bug needs the whole tail.
    text = "\n".join(f"    {line}" for line in _tail(first.log)) or f"    ({_why_empty(first.log)})"
    raise PartsFailed(
        f"{len(failed)} of {num_parts} parts failed ({', '.join(map(str, failed[:10]))}); "
        f"part {failed[0]} {first.how}; the end of {first.log}:\n{text}\n"
        "what the parts finished is kept: repair the cause and rerun",
        EXIT_USER if all(each.repairable for each in failures.values()) else EXIT_BUG,
    )


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]


def _why_empty(log: Path) -> str:
    """A log that is empty, and that no room is left where it lies, if so."""
    disk = os.statvfs(log.parent)
    return "it is empty" + (": no room is left on that disk" if disk.f_bavail * disk.f_frsize < _LEAST_ROOM else "")


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
