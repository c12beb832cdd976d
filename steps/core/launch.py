"""Run the parts of a stage as processes: here, or (by the same contract) on a cluster.

`launch(command, num_parts, log_folder, threads)` starts `command` once per part with `{part}` replaced by 0, 1, ...
and returns when all have ended well, or raises PartsFailed with the end of the first failed part's log.
"""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steps.core.errors import EXIT_BUG, EXIT_USER

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class PartsFailed(Exception):
    """Some parts ended badly. `status` is 2 if each failed for a reason that the user can repair, else 1."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


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
    logs = [log_folder / f"part.{part}.log" for part in range(num_parts)]
    processes: list[subprocess.Popen] = []
    try:
        for part, log in enumerate(logs):
            line = [argument.replace("{part}", str(part)) for argument in command]
            with open(log, "wb") as file:
                process = subprocess.Popen(
                    line,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=environment,
                    preexec_fn=functools.partial(_die_with_parent, os.getpid()),
                )
            processes.append(process)
        while any(process.poll() is None for process in processes):
            time.sleep(0.02)
            watch()
    except BaseException:
        _stop(processes)
        raise
    _raise_if_failed([process.returncode for process in processes], logs)


LAUNCHERS = {"local": launch_local}


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(EXIT_BUG)


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _raise_if_failed(statuses: Sequence[int], logs: Sequence[Path]) -> None:
    failed = [part for part, status in enumerate(statuses) if status != 0]
    if not failed:
        return
    first = failed[0]
    how = f"status {statuses[first]}" if statuses[first] > 0 else f"signal {signal.Signals(-statuses[first]).name}"
    tail = logs[first].read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    status = EXIT_USER if all(statuses[part] == EXIT_USER for part in failed) else EXIT_BUG
    # A repairable failure has its message on the last line(s) already; a bug needs the whole tail.
    text = "\n".join(f"    {line}" for line in tail)
    raise PartsFailed(
        f"{len(failed)} of {len(statuses)} parts failed ({', '.join(map(str, failed[:10]))}); "
        f"part {first} ended with {how}; the end of {logs[first]}:\n{text}\n"
        "what the parts finished is kept: repair the cause and rerun",
        status,
    )
