"""Talk to Slurm: settings of conf/launch/<name>.toml, sbatch, squeue, scancel. What runs there is slurm_array.py's business.

Never sacct: it needs a database that many clusters (and every test machine) lack. Nothing here builds a shell command of file
names or settings: programs get their words one by one, and the one shell script quotes them.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import RecipeError

# A task in one of these states does not run any more, and will not again (slurm.h, job_states).
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
_TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d\d?(:\d\d){0,2}")  # as in man sbatch, --time
_MEMORY = re.compile(r"\d+[KMGT]?")
_ANSWER_SECONDS = 120  # after which a program of Slurm counts as stuck
_SUBMIT_SECONDS = 600.0  # for so long a job is offered to a controller that does not answer
# What its programs say when the controller is down, restarts or is swamped: to be asked again.
_BUSY = ("contact slurm controller", "socket timed out", "connect failure", "connection refused", "temporarily", "not responding",
         "zero bytes were transmitted", "communication connection", "backup controller")  # fmt: skip


class SlurmSilent(Exception):
    """Slurm gives no answer now; it may later."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks for. What is empty is left to the cluster's defaults.

    Memory, processors and gres are those of one process; the ranks of a training (train.ranks) get as many times as much.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = ""  # limit: minutes, or [days-]hours:minutes:seconds
    memory: str = ""  # as in "4G"
    cpus: int = 0  # 0: as many as the stage has threads
    gres: str = ""  # as in "gpu:1"
    nodes: int = 1  # over which the ranks of a training are spread, equally many on each; other jobs have one
    options: tuple[str, ...] = ()  # more words for sbatch

    def __post_init__(self) -> None:
        if self.time and not _TIME.fullmatch(self.time):
            raise ValueError(f"time: expected minutes, or [days-]hours:minutes:seconds, found {self.time!r}")
        if self.memory and not _MEMORY.fullmatch(self.memory):
            raise ValueError(f"memory: expected a number with K, M, G or T, found {self.memory!r}")
        if self.nodes < 1:
            raise ValueError(f"nodes: expected at least 1, found {self.nodes}")
        if self.cpus < 0:
            raise ValueError(f"cpus: expected at least 1, or 0 for as many as the stage has threads, found {self.cpus}")
        if any(not each.startswith("-") for each in self.options):
            raise ValueError(f"options: expected words like '--exclude=n7', found {list(self.options)}")

    def words(self, threads: int, ranks: int = 1) -> list[str]:
        """The options of sbatch for a job of so many threads, or of so many ranks with that many threads each.

        Raises:
            RecipeError: the ranks cannot be spread evenly.
        """
        nodes, each = self._spread(ranks)
        named = ("partition", self.partition), ("account", self.account), ("qos", self.qos), ("constraint", self.constraint)
        named += ("time", self.time), ("mem", _times(self.memory, each)), ("gres", _gres_times(self.gres, each))
        return [
            f"--nodes={nodes}",
            f"--ntasks-per-node={each}",
            f"--cpus-per-task={self.cpus or threads}",
            *(f"--{name}={value}" for name, value in named if value),
            *self.options,
        ]

    def srun(self, threads: int, ranks: int) -> list[str]:
        """What starts the ranks of a training, one each, within a job of `words`; one that ends badly ends the others.

        Raises:
            RecipeError: the ranks cannot be spread evenly.
        """
        nodes, each = self._spread(ranks)
        return [
            "srun", "--mpi=none", f"--nodes={nodes}", f"--ntasks={ranks}", f"--ntasks-per-node={each}",
            f"--cpus-per-task={self.cpus or threads}", "--kill-on-bad-exit=1", "--wait=0",
        ]  # fmt: skip

    def _spread(self, ranks: int) -> tuple[int, int]:
        """Nodes, and ranks on each."""
        nodes = self.nodes if ranks > 1 else 1
        if ranks % nodes:
            raise RecipeError(f"train.ranks = {ranks}: expected a multiple of launch.*.nodes = {nodes}; change one of them")
        return nodes, ranks // nodes


def _times(memory: str, factor: int) -> str:
    return f"{int(memory.rstrip('KMGT')) * factor}{memory.lstrip('0123456789')}" if memory else ""


def _gres_times(gres: str, factor: int) -> str:
    """ "gpu:a100:1" -> "gpu:a100:4"."""
    if factor == 1 or not gres:
        return gres
    parts = [each.rpartition(":") if each.rpartition(":")[2].isdigit() else (each, ":", "1") for each in gres.split(",")]
    return ",".join(f"{name}:{int(count) * factor}" for name, _, count in parts)


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Settings of a launcher of type "slurm": conf/launch/<name>.toml."""

    type: str = "slurm"
    prologue: tuple[str, ...] = ()  # lines of shell before a job's program, as in "module load cuda"
    container: tuple[str, ...] = ()  # words before each program that Slurm starts, as in "apptainer", "exec", "--nv", "a.sif"
    max_tasks: int = 0  # most tasks of an array at once; 0: no bound but the cluster's
    retries: int = 1  # times that a failed part is tried again
    requeues: int = 20  # times that a job that nears its time limit is put into the queue again
    stop_seconds: int = 120  # before its time limit that a job is told to stop
    poll_seconds: float = 15.0  # between two questions to squeue
    late_seconds: float = 60.0  # that a network file system may take to show what another host wrote
    detach: str = "job"  # where --detach runs run.sh itself: as a small "job", or in the background of "here"
    cpu: Resources = Resources()
    gpu: Resources = Resources(gres="gpu:1")
    submitter: Resources = Resources(cpus=1)  # of run.sh itself with --detach

    def __post_init__(self) -> None:
        for name, least in (("max_tasks", 0), ("retries", 0), ("requeues", 0), ("stop_seconds", 1), ("late_seconds", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        if self.poll_seconds <= 0:
            raise ValueError(f"poll_seconds: expected above 0, found {self.poll_seconds}")
        if self.container and not self.container[0]:
            raise ValueError(f"container: expected a program and its options, found {list(self.container)}")
        if self.detach not in ("job", "here"):
            raise ValueError(f"detach: expected 'job' or 'here', found {self.detach!r}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of an array, as squeue has it."""

    job: str  # number of the array
    state: str
    reason: str  # why it waits

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED

    @property
    def cannot_start(self) -> bool:
        """Whether Slurm failed to start it and now holds it until somebody looks ("launch failed requeued held")."""
        return self.state == "PENDING" and self.reason.startswith("launch failed")


def submit(
    settings: Slurm, resources: Resources, *, name: str, script: Path, logs: Path, parts: Sequence[int], threads: int,
    ranks: int = 1,
) -> str:  # fmt: skip
    """Submit an array with a task per part; its number. The tasks' output is added to `<logs>/part.<part>.log`.

    A controller that does not answer is asked for ten minutes; since it may have taken the job all the same, one of this
    (unique) name is looked for before each new attempt.

    Raises:
        RecipeError: refused, or no answer.
    """
    bound = f"%{settings.max_tasks}" if settings.max_tasks else ""
    words = [
        "sbatch", "--parsable", f"--job-name={name}", f"--array={','.join(map(str, parts))}{bound}",
        *_output(logs), "--open-mode=append", "--requeue", f"--signal=B:USR1@{settings.stop_seconds}",
        *resources.words(threads, ranks), str(script.absolute()),
    ]  # fmt: skip
    deadline = time.monotonic() + _SUBMIT_SECONDS
    while True:
        try:
            return _call(words).strip().partition(";")[0]
        except SlurmSilent as error:
            if time.monotonic() > deadline:
                raise RecipeError(f"Slurm did not take a job for {_SUBMIT_SECONDS:.0f} s: {error}; rerun when it works") from None
        time.sleep(settings.poll_seconds)
        try:
            taken = find(name)
        except SlurmSilent:
            continue
        if taken:
            return taken


def _output(logs: Path) -> tuple[str, str]:
    """Where Slurm writes what it has to say of a task itself. It misreads folders with its own patterns: these do without."""
    folder = str(logs.absolute())
    return ("--chdir=/", "--output=/dev/null") if set("%\\\n") & set(folder) else (f"--chdir={folder}", "--output=part.%a.log")


def write_script(path: Path, settings: Slurm, module: str, arguments: Sequence[str], *, logs: Path) -> None:
    """Write the shell script of a job: the prologue, then a Python module of this repository, in a container if there is one."""
    program = shlex.join([*settings.container, sys.executable, "-m", module, *arguments])
    # $SLURM_ARRAY_TASK_ID is the one word that the shell is to look into.
    log = f"{shlex.quote(str(logs.absolute()))}/part.${{SLURM_ARRAY_TASK_ID}}.log"
    lines = [
        "#!/bin/bash",
        f"exec >>{log} 2>&1 || exit 1",
        *settings.prologue,
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        f"exec {program}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def queue(jobs: Iterable[str]) -> dict[tuple[str, int], Task]:
    """What Slurm knows of the tasks of some arrays, by number of the array and of the task.

    Raises:
        SlurmSilent: no answer now.
        RecipeError: there is no Slurm here.
    """
    jobs = [job for job in jobs if job]
    return {(task.job, part): task for part, task in _squeue(f"--jobs={','.join(jobs)}")} if jobs else {}


def find(name: str) -> str:
    """The number of the array with this name, or "" if Slurm knows none. Raises as `queue`."""
    return max((task.job for _, task in _squeue(f"--name={name}")), key=int, default="")


def cancel(names: Iterable[str]) -> None:
    """Cancel the jobs with these names, whether their numbers are known or not. Raises as `queue`."""
    for name in names:
        _call(["scancel", f"--name={name}"])


def cancel_task(job: str, part: int) -> None:
    """Cancel one task of an array. Raises as `queue`."""
    _call(["scancel", f"{job}_{part}"])


def job_lives(job: str) -> bool:
    """Whether a job waits or runs; if Slurm does not say, it is taken to live."""
    try:
        return any(not task.ended for _, task in _squeue(f"--jobs={job}"))
    except (SlurmSilent, RecipeError):
        return True


def _squeue(selection: str) -> list[tuple[int, Task]]:
    words = ["squeue", "--noheader", "--array", "--states=all", "--format=%F %K %T %r", selection]
    try:
        text = _call(words)
    except RecipeError as error:
        if "Invalid job id" in str(error):  # forgotten: it ended more than MinJobAge ago
            return []
        raise
    found = []
    for line in text.splitlines():
        job, part, state, reason = (line.split(maxsplit=3) + [""] * 4)[:4]
        if job.isdigit():
            found.append((int(part) if part.isdigit() else 0, Task(job=job, state=state, reason=reason)))
    return found


def _call(words: Sequence[str]) -> str:
    """What a program of Slurm prints. Raises SlurmSilent or RecipeError."""
    # What Slurm told this process of its own job, where it runs in one, is no wish for the next.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_") or key == "SLURM_CONF"}
    try:
        process = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_ANSWER_SECONDS,
            env=environment, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise RecipeError(
            f"{words[0]}: no such program; expected Slurm on this host: log in to a host of the cluster, or bind its programs "
            "into the container (see containers/apptainer.def)"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmSilent(f"{words[0]} gave no answer within {_ANSWER_SECONDS} s") from None
    if process.returncode == 0:
        return process.stdout
    said = process.stderr.strip() or f"status {process.returncode}"
    if any(each in said.lower() for each in _BUSY):
        raise SlurmSilent(said.splitlines()[-1])
    raise RecipeError(f"{shlex.join(words)}\n    {said}\n  refused; look at conf/launch/ (partition, account, time, memory, ...)")
