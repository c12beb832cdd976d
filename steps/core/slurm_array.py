"""The parts of a stage as an array of Slurm jobs: submit, watch, try failed ones again, and find what a killed run left behind.

Below the stage's work folder:
    jobs.json               the arrays that may still run, written before they are submitted
    jobs/<array>/           job.json, job.sh, status.<part>.json (written by each task at its end; slurm_task.py)
    log/part.<part>.log     all that a part said, its retries included

A part is done when its status file says 0; what squeue says only tells a part that waits from one that will never answer.
"""

import hashlib
import logging
import os
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.core import files, slurm
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.launch import Failure, ending, log_path, raise_if_failed
from steps.core.ranks import SRUN_VARIABLE
from steps.core.slurm import Slurm, SlurmSilent
from steps.core.slurm_task import reserve, status_path
from steps.core.threads import THREAD_VARIABLES

_RECORD = "jobs.json"
_LOOK_SECONDS = 1.0  # between two looks at the status files, which cost Slurm nothing
_SAY_SECONDS = 60.0  # between two lines about the queue
_GONE_SECONDS = 60.0  # that cancelled jobs have to end (KillWait is 30 by default)
_STATES = {
    "CANCELLED": "was cancelled",
    "TIMEOUT": "reached its time limit",
    "OUT_OF_MEMORY": "was killed: it used more memory than launch.*.memory gives",
    "NODE_FAIL": "lost its node",
    "PREEMPTED": "had to make room for another job",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a stage asks of a cluster beside its command."""

    name: str  # of the stage
    resources: str  # "cpu" or "gpu"
    ranks: int = 1  # processes of one part, which srun starts
    work: Path  # its work folder
    expects: tuple[Path, ...]  # small files that a host must see as they are now before it begins
    log: logging.Logger


@dataclass(kw_only=True)
class _Part:
    """What is known of one part."""

    array: str = ""  # the name of its last array
    job: str = ""
    starts: int = 0
    gone_since: float | None = None  # when squeue first did not know it, or called it ended
    done: bool = False
    failure: Failure | None = None

    @property
    def open(self) -> bool:
        return not self.done and self.failure is None


def launch_slurm(
    command: Sequence[str],
    num_parts: int,
    log_folder: Path,
    *,
    threads: int,
    watch: Callable[[], None] = lambda: None,
    settings: Slurm,
    request: Request,
) -> None:
    """Run all parts as one array, a failed one again as often as the settings say; return when all have ended well.

    Ctrl-C, SIGTERM and errors cancel what runs. After SIGKILL it runs on, and `settle` finds it.

    Raises:
        PartsFailed: a part failed for good, or was cancelled; the others have ended.
        RecipeError: Slurm refused the array, or there is none.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    for part in range(num_parts):
        log_path(log_folder, part).unlink(missing_ok=True)
    _Run(command, num_parts, log_folder, threads, watch, settings, request).until_the_end()


@dataclass
class _Run:
    command: Sequence[str]
    num_parts: int
    log_folder: Path
    threads: int
    watch: Callable[[], None]
    settings: Slurm
    request: Request
    parts: list[_Part] = field(default_factory=list)
    said: tuple[float, str] = (0.0, "")

    def until_the_end(self) -> None:
        """Submit, and look after the tasks until none is open."""
        self.parts = [_Part() for _ in range(self.num_parts)]
        try:
            self._submit(list(range(self.num_parts)))
            asked = time.monotonic()
            while any(part.open for part in self.parts):
                time.sleep(min(_LOOK_SECONDS, self.settings.poll_seconds))
                tasks = None
                if time.monotonic() - asked >= self.settings.poll_seconds:
                    tasks, asked = self._ask(), time.monotonic()
                self._look(tasks)
                self.watch()
        except BaseException:
            stop(self.request.work, self.request.log)
            raise
        # A task that Slurm began anew after its node was lost may wait although the lost one did its work.
        stop(self.request.work, self.request.log, only_waiting=True)
        failures = {number: part.failure for number, part in enumerate(self.parts) if part.failure is not None}
        raise_if_failed(failures, self.num_parts)

    def _submit(self, numbers: Sequence[int]) -> None:
        name = f"{self.request.name}-{secrets.token_hex(4)}"
        folder = self.request.work / "jobs" / name
        folder.mkdir(parents=True)
        for number in numbers:
            reserve(folder, number)
        resources, ranks = getattr(self.settings, self.request.resources), self.request.ranks
        write_job(
            folder, self.command, settings=self.settings, threads=self.threads, expects=self.request.expects, submits=False,
            srun=(*resources.srun(self.threads, ranks), *self.settings.container) if ranks > 1 else (),
        )  # fmt: skip
        slurm.write_script(
            folder / "job.sh", self.settings, "steps.core.slurm_task", [str(folder.absolute())], logs=self.log_folder
        )
        record(self.request.work, name)  # before it can run: who is killed now leaves a trace
        job = slurm.submit(
            self.settings, resources, name=name, script=folder / "job.sh", logs=self.log_folder, parts=numbers,
            threads=self.threads, ranks=ranks,
        )  # fmt: skip
        record(self.request.work, name, job)
        again = "" if len(numbers) == self.num_parts else f", again: {', '.join(map(str, numbers[:10]))}"
        self.request.log.info(
            "job %s: %d tasks (%s)%s; logs: %s", job, len(numbers), self.request.resources, again, self.log_folder
        )
        for number in numbers:
            part = self.parts[number]
            part.array, part.job, part.starts, part.gone_since = name, job, part.starts + 1, None

    def _ask(self) -> Mapping[tuple[str, int], slurm.Task] | None:
        """The queue; None if Slurm does not say: then nobody is given up."""
        try:
            tasks = slurm.queue({part.job for part in self.parts if part.open})
        except SlurmSilent as error:
            self._say(f"Slurm does not answer ({error}); waiting for it")
            return None
        waits: dict[str, int] = {}
        for number, part in enumerate(self.parts):
            if part.open and (task := tasks.get((part.job, number))) is not None and not task.ended:
                what = f"pending ({task.reason})" if task.state == "PENDING" else task.state.lower()
                waits[what] = waits.get(what, 0) + 1
        done = sum(part.done for part in self.parts)
        self._say(", ".join([f"{done} of {self.num_parts} parts done", *(f"{count} {what}" for what, count in waits.items())]))
        return tasks

    def _say(self, text: str) -> None:
        if text != self.said[1] and time.monotonic() - self.said[0] > _SAY_SECONDS:
            self.said = (time.monotonic(), text)
            self.request.log.info("%s", text)

    def _look(self, tasks: Mapping[tuple[str, int], slurm.Task] | None) -> None:
        """Read the status files; with an answer of squeue also find tasks that will write none."""
        again = []
        for number, part in enumerate(self.parts):
            if not part.open:
                continue
            status = _read_status(self.request.work / "jobs" / part.array, number)
            if status is not None and status["status"] == 0:
                part.done = True
            elif (found := self._failure(number, status, tasks)) is not None:
                failure, may_retry = found
                if may_retry and part.starts <= self.settings.retries:
                    self.request.log.info("part %d %s; it is tried again", number, failure.how)
                    again.append(number)
                else:
                    part.failure = failure
        if again:
            self._submit(again)

    def _failure(
        self, number: int, status: Mapping[str, Any] | None, tasks: Mapping[tuple[str, int], slurm.Task] | None
    ) -> tuple[Failure, bool] | None:
        """How a part ended badly and whether to try it again; None if it may still end well."""
        part, log = self.parts[number], log_path(self.log_folder, number)
        where = f"(task {part.job}_{number})"
        if status is not None and not status["stopped"]:
            where = f"(task {status['task']} on {status['host']})"
            how = "reached its time limit too often" if status.get("out_of_time") else ending(status["status"])
            return Failure(how=f"{how} {where}", repairable=status["status"] == EXIT_USER, log=log), True
        if tasks is None:
            return None
        task = tasks.get((part.job, number))
        if task is not None and task.cannot_start:  # it would wait for ever
            slurm.cancel_task(part.job, number)
            return Failure(how=f"could not be started: {task.reason} {where}", repairable=True, log=log), True
        if task is not None and not task.ended:
            part.gone_since = None
            return None
        part.gone_since = part.gone_since or time.monotonic()
        if status is None and time.monotonic() - part.gone_since < self.settings.late_seconds:
            return None
        if task is None and status is not None:
            how = "was stopped by Slurm"
        elif task is None:
            how = "vanished: Slurm does not know it any more, and it left no exit status"
        else:
            how = _STATES.get(task.state, f"ended in state {task.state} without an exit status (a full disk?)")
        cancelled = task is not None and task.state == "CANCELLED"
        return Failure(how=f"{how} {where}", repairable=True, log=log), not cancelled


def write_job(
    folder: Path, command: Sequence[str], *, settings: Slurm, threads: int, expects: Sequence[Path], submits: bool, cwd: str = "",
    srun: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write job.json, which slurm_task reads: words, never lines of shell. `srun` starts the ranks of a training (ranks.py)."""
    hashes = {str(path.absolute()): hashlib.sha256(path.read_bytes()).hexdigest() for path in expects}
    environment = (dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}) | {SRUN_VARIABLE: shlex.join(srun)}
    job = {
        "command": list(command), "cwd": cwd or os.getcwd(), "environment": environment, "expects": hashes,
        "late_seconds": settings.late_seconds, "requeues": settings.requeues, "submits": submits,
    }  # fmt: skip
    files.write_json(folder / "job.json", job)


def _read_status(folder: Path, part: int) -> dict[str, Any] | None:
    path = status_path(folder, part)
    return files.read_json(path) if path.is_file() else None


def record(work: Path, name: str, job: str = "") -> None:
    """Note an array that may run, by name before it is submitted and with its number after."""
    files.write_json(work / _RECORD, recorded(work) | {name: job})


def recorded(work: Path) -> dict[str, str]:
    """The arrays that a stage's work folder knows: name -> number ("" if it was not known yet)."""
    return files.read_json(work / _RECORD) if (work / _RECORD).is_file() else {}


def _numbers(work: Path) -> dict[str, str]:
    """As `recorded`, with numbers looked up. An array that Slurm does not know was never submitted."""
    known = {name: job or slurm.find(name) for name, job in recorded(work).items()}
    return {name: job for name, job in known.items() if job}


def _live(work: Path, *, waiting: bool = False) -> set[str]:
    """The names of the arrays with a task that runs or waits (only: waits). Raises as slurm.queue."""
    numbers = _numbers(work)
    live = {
        job for (job, _), task in slurm.queue(numbers.values()).items() if task.state == "PENDING" or not (waiting or task.ended)
    }
    return {name for name, job in numbers.items() if job in live}


def stop(work: Path, log: logging.Logger, *, only_waiting: bool = False) -> None:
    """Cancel the arrays of a work folder and wait a minute for their end; what still lives stays on record for the next run."""
    try:
        if not recorded(work):
            return
        names = _live(work, waiting=True) if only_waiting else set(recorded(work))
        slurm.cancel(names)
        deadline = time.monotonic() + _GONE_SECONDS
        while names and not only_waiting and (names := _live(work)) and time.monotonic() < deadline:
            time.sleep(0.5)
        if not names or only_waiting:
            (work / _RECORD).unlink(missing_ok=True)
    except (SlurmSilent, RecipeError, FileNotFoundError) as error:
        log.info("jobs may be left (%s); the next run finds them", error)


def settle(work: Path, log: logging.Logger, *, adopt: bool, watch: Callable[[], None], poll_seconds: float = 15.0) -> None:
    """See to the arrays that a killed run left: wait for them (adopt), or cancel them. Afterwards none of them writes any more.

    Raises:
        RecipeError: they cannot be asked after here, or do not end.
    """
    told, cancelled_at = False, 0.0
    while recorded(work):
        try:
            names = _live(work)
            if names and not adopt and not cancelled_at:
                slurm.cancel(names)
                cancelled_at = time.monotonic()
        except SlurmSilent as error:
            log.info("Slurm does not answer (%s); waiting for it, as jobs of a killed run may write to %s", error, work)
            names = {""}
        except RecipeError as error:
            raise RecipeError(
                f"{work / _RECORD}: a killed run left jobs that may still write there, and they cannot be asked after: {error}; "
                "rerun on a host of that cluster, or delete that file if they have ended"
            ) from None
        if not names:
            (work / _RECORD).unlink(missing_ok=True)
            return
        if not told and names != {""}:
            told = True
            jobs = ", ".join(sorted(recorded(work)[name] or name for name in names))
            log.info("job %s of a run that was killed is still there: %s", jobs, "waiting for it" if adopt else "cancelled")
        if cancelled_at and time.monotonic() - cancelled_at > 5 * _GONE_SECONDS:
            raise RecipeError(f"{work}: jobs of a killed run do not end; see squeue, have them ended, then rerun")
        try:
            time.sleep(poll_seconds if adopt else min(poll_seconds, 2.0))
            watch()
        except KeyboardInterrupt:
            stop(work, log)
            raise
