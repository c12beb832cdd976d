"""Start the processes ("ranks") of one training, pass on what stops it, and see that all end when one does.

Here they are processes of this machine; in a job of Slurm `srun` starts them, on all hosts of the job: the launcher says with
which words, in the variable SRUN_VARIABLE of the job. A rank finds its number in RANK and LOCAL_RANK, or in what srun sets.
"""

import functools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from steps.core.interrupts import held_interrupts
from steps.core.launch import die_with_parent
from steps.core.threads import THREAD_VARIABLES

SRUN_VARIABLE = "STEPS_SRUN"  # srun and its options
GRACE_SECONDS = 20.0  # that ranks have to notice that another one ended badly
STOP_SECONDS = 300.0  # and to finish an update and save it when they are told to stop


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which rank a process is."""

    rank: int
    local_rank: int  # among those of its host
    by_srun: bool


def place() -> Place:
    """Returns which rank this process is, by what it was started with."""
    by_srun = "RANK" not in os.environ
    names = ("SLURM_PROCID", "SLURM_LOCALID") if by_srun else ("RANK", "LOCAL_RANK")
    rank, local_rank = (int(os.environ[name]) for name in names)
    return Place(rank=rank, local_rank=local_rank, by_srun=by_srun)


def on_several_hosts() -> bool:
    """Whether ranks that this process starts may run on other hosts."""
    return bool(os.environ.get(SRUN_VARIABLE))


def run_ranks(command: Sequence[str], num: int, *, threads: int) -> tuple[dict[int, int], bool]:
    """Run a program in `num` processes until all have ended.

    A first Ctrl-C, SIGTERM or SIGUSR1 is handed on to them as SIGUSR1, and they have STOP_SECONDS to end; a second Ctrl-C kills
    them. When one ends badly the others have GRACE_SECONDS to notice. They die with this process, also when it is killed.

    Returns:
        The exit status of each rank (negative: a signal) that was started from here, and whether there was an interrupt.
    """
    words = shlex.split(os.environ.get(SRUN_VARIABLE, ""))
    if words:
        starts: list[tuple[list[str], dict[str, str]]] = [([*words, *command], {})]
    else:
        common = {"WORLD_SIZE": str(num)}
        if sys.platform == "linux":  # a host that does not know its own name finds itself all the same
            common["GLOO_SOCKET_IFNAME"] = "lo"
        starts = [(list(command), common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(num)]
    pinned = dict.fromkeys(THREAD_VARIABLES, str(threads))
    processes: list[subprocess.Popen] = []
    with held_interrupts() as asked_to_stop:
        try:
            for each, variables in starts:
                processes.append(_start(each, os.environ | pinned | variables))
            _until_the_end(processes, asked_to_stop)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
        return ({} if words else dict(enumerate(process.returncode for process in processes))), asked_to_stop()


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen:
    # A session of its own: Ctrl-C in the terminal comes once, by way of this process.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )  # fmt: skip


def _until_the_end(processes: Sequence[subprocess.Popen], asked_to_stop: Callable[[], bool]) -> None:
    """Return when all have ended, or some time after one ended badly or all were told to stop."""
    told, bad, deadline = False, False, float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if asked_to_stop() and not told:
            told, deadline = True, min(deadline, time.monotonic() + STOP_SECONDS)
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGUSR1)
        if not bad and any(process.poll() not in (None, 0) for process in processes):
            bad, deadline = True, min(deadline, time.monotonic() + GRACE_SECONDS)
        time.sleep(0.05)
