"""The units of a stage's work: shared among parts, done one by one, each written by one process at a time.

A unit's folder `units/<unit>.tmp` becomes `units/<unit>` when it is whole. Who works on a unit holds a byte of units.lock: the
kernel, also that of a file server, gives it back when the process dies. On a cluster a lost node may still compute when its job
has begun anew elsewhere; of these two one waits, and then finds the unit done.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.intact import Damage, shown
from steps.core.launch import Local
from steps.core.launchers import LAUNCHERS
from steps.core.log import command_line, progress
from steps.core.slurm import Slurm
from steps.core.slurm_array import Request
from steps.core.stamp import STAMP, fingerprint

if TYPE_CHECKING:
    from steps.core.stage import Job, Stage

MISSING = "missing.json"  # the units that the parts share, in the work folder
NUM_UNITS = "num_units.json"  # of them all, for those who look on
_HELD_SECONDS = 60.0  # that a unit's last writer is given to die


def partial_of(out: Path) -> Path:
    """The work folder of an output."""
    return out.with_name(out.name + ".partial")


def discard(partial: Path) -> None:
    """Remove a work folder. Without its plan nothing in it counts, so that half a removal does no harm."""
    (partial / "plan.json").unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


def finished_name(folder: Path) -> Path:
    """The output that a folder of work in progress becomes, or the folder of one that it becomes, for messages."""
    work = next((each for each in (folder, *folder.parents) if each.name.endswith(".partial")), None)
    return folder if work is None else work.with_name(work.name.removesuffix(".partial"))


def unfinished(partial: Path, units: Sequence[str]) -> list[str]:
    """The units that are not done."""
    return [unit for unit in units if not (partial / "units" / unit).is_dir()]


def watcher(job: "Job", units: Sequence[str], title: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """A function that shows how many units are done, at most once a second, and one that ends the display."""
    folder = partial_of(job.out) / "units"
    bar = progress(range(len(units)), title=title, total=len(units), logger=job.log)
    shown, last = 0, time.monotonic()

    def watch() -> None:
        nonlocal shown, last
        if time.monotonic() - last < 1.0:
            return
        last = time.monotonic()
        there = set(os.listdir(folder))  # one look, not one a unit: there may be ten thousand
        done = sum(unit in there for unit in units)
        while shown < done:
            next(bar, None)
            shown += 1

    def close() -> None:
        for _ in bar:
            pass

    return watch, close


def launch(
    stage: "Stage", job: "Job", units: Sequence[str], missing: Sequence[str], launcher: Local | Slurm, arguments: list[str]
) -> None:
    """Do the missing units in parts. Raises PartsFailed, or RecipeError if finished units are not to be seen here."""
    partial = partial_of(job.out)
    files.write_json(partial / MISSING, list(missing))
    parts = min(job.jobs, len(missing))
    command = [sys.executable, "-m", f"steps.{stage.name}", *arguments, "--jobs", str(parts), "--part", "{part}"]
    watch, close = watcher(job, units, stage.name)
    more = {}
    if isinstance(launcher, Slurm):
        stamps = (folder / STAMP for _, folder in job.input_folders())
        expects = (partial / "plan.json", partial / MISSING, *(stamp for stamp in stamps if stamp.is_file()))
        resources = stage.resources(job.settings)
        more = {
            "settings": launcher,
            "request": Request(
                name=stage.name, resources=resources, ranks=stage.ranks(job.settings), work=partial, expects=expects, log=job.log
            ),
        }
    LAUNCHERS[launcher.type](command, parts, partial / "log", threads=stage.threads(job.settings), watch=watch, **more)
    close()
    deadline = time.monotonic() + (launcher.late_seconds if isinstance(launcher, Slurm) else 0.0)
    while left := unfinished(partial, units):
        if time.monotonic() < deadline:  # a network file system may show late what other hosts wrote
            time.sleep(0.5)
        elif isinstance(launcher, Slurm):
            raise RecipeError(
                f"{job.out}: all parts ended well, yet this host does not see {len(left)} of {len(units)} pieces after "
                f"{launcher.late_seconds:g} s ({', '.join(left[:5])}); rerun, or raise launch.late_seconds"
            )
        else:
            raise RuntimeError(f"{job.out}: all parts ended well, yet these pieces are missing: {', '.join(left[:5])}")


def keep_intact(stage: "Stage", job: "Job", units: Sequence[str], wrong: Damage) -> None:
    """Of a finished output, some of whose files are `wrong`, take over the units whose files are not."""
    if wrong:
        job.log.warning("%s is not as it was left: %s", job.out, shown(wrong))
    for unit in unfinished(partial_of(job.out), units):
        target = partial_of(job.out) / "units" / unit
        draft = target.with_name(unit + ".tmp")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        if stage.recover(replace(job, out=draft), unit, job.out, wrong):
            os.rename(draft, target)


def run_part(stage: "Stage", job: "Job", part: int) -> None:
    """Do every `jobs`-th unit of those that were missing. Called in a child process; the parent holds the lock."""
    partial = partial_of(job.out)
    plan = files.read_json(partial / "plan.json") if (partial / "plan.json").is_file() else {}
    if fingerprint(plan) != job.fingerprint:
        raise RecipeError(f"{partial}: is not being made with these settings; start the stage without --part")
    job.log.info("%s", command_line())
    for unit in files.read_json(partial / MISSING)[part :: job.jobs]:
        do_unit(stage, job, unit)


def do_unit(stage: "Stage", job: "Job", unit: str) -> None:
    """Do one unit, unless it is done: a part that was tried again, or began anew on another host, comes by it twice."""
    target = partial_of(job.out) / "units" / unit
    draft = target.with_name(unit + ".tmp")
    with _sole_writer(partial_of(job.out) / "units.lock", unit):
        if target.is_dir():
            return
        if not stage.resumes:
            shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(exist_ok=True)
        stage.work(replace(job, out=draft), unit)
        files.fsync_tree(draft)
        os.rename(draft, target)


@contextlib.contextmanager
def _sole_writer(path: Path, unit: str) -> Iterator[None]:
    """Hold one byte of a file, as far away as the unit's name says; raise RecipeError if another process keeps it."""
    offset = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:7])
    deadline = time.monotonic() + _HELD_SECONDS
    with open(path, "ab") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):  # a file system without locks
                    break
            if time.monotonic() > deadline:
                raise RecipeError(
                    f"{path}: another process still works on '{unit}', perhaps on a host that the cluster gave up; "
                    "end it (see the part's log for its host), or wait for it, then rerun"
                )
            time.sleep(0.2)
        yield
