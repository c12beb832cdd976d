"""How any stage runs: plan, refuse or skip, lock, work in parts, commit.

A stage script gives a `Stage`: what it reads (settings, input folders), what it writes, and three functions:
`units(job)` names independent pieces of work (fixed by the data, never by the number of jobs), `work(job, unit)`
does one piece into the empty folder `job.out`, `merge(job, units)` makes the output folder of them. Everything else
is here, once: one command line, fingerprints, resume, parts, atomic output.

Layout while a stage works, and afterwards:
    <out>.lock              who writes
    <out>.partial/plan.json what is being made
    <out>.partial/units/<unit>.tmp/, then renamed to <unit>/ when whole (parts.py)
    <out>.partial/log/      one log a part; beside it jobs/ and jobs.json on a cluster (slurm_array.py)
    <out>.partial/out/      the merged output, then renamed to <out>/ with its stamp.json
"""

import argparse
import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.core import config, files
from steps.core.config import load_settings
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.failures import as_recipe_error, quiet_threads
from steps.core.intact import OTHER_CONTENT, Damage, check_input, damage, shown, size_damage, warn_of_strangers
from steps.core.interrupts import end_on_sigterm
from steps.core.launch import Local, PartsFailed
from steps.core.launchers import LAUNCHERS as LAUNCHERS  # where tests look for them
from steps.core.launchers import read_launcher
from steps.core.lock import locked
from steps.core.log import command_line, configure
from steps.core.parts import MISSING, NUM_UNITS, discard, do_unit, keep_intact, launch, partial_of, run_part, unfinished, watcher
from steps.core.slurm import Slurm
from steps.core.slurm_array import recorded, settle
from steps.core.stamp import completed, differences, fingerprint, input_content, read_stamp, write_stamp
from steps.core.threads import pin_threads

ONE_UNIT = "all"


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input folder of a stage: option `--<name> DIR`."""

    name: str
    required: bool = True
    many: bool = False  # the option may be given several times
    from_elsewhere: bool = False  # it may be a folder without a stamp, which its files tell from others
    help: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `units`, `work` and `merge` are given."""

    settings: SimpleNamespace  # a dataclass instance per section
    site: dict[str, str]  # where corpora lie on this machine: root name -> folder
    inputs: dict[str, Path | None]  # single inputs by name (None: not given)
    input_lists: dict[str, list[Path]]  # inputs that may be given several times
    out: Path  # the folder to write into
    jobs: int
    log: logging.Logger
    fingerprint: str
    verify: bool = False  # compare the content of a finished output, too

    def input(self, name: str) -> Path:
        """The folder of a required input."""
        folder = self.inputs[name]
        assert folder is not None, name
        return folder

    def input_folders(self) -> list[tuple[str, Path]]:
        """(option, folder) of all inputs that were given."""
        several = [(name, folder) for name, folders in self.input_lists.items() for folder in folders]
        return [(name, folder) for name, folder in self.inputs.items() if folder is not None] + several


def _one_unit(job: Job) -> list[str]:
    return [ONE_UNIT]


def _by_device(settings: SimpleNamespace) -> str:
    """ "gpu" where a setting `device` allows one."""
    devices = [section.device for section in vars(settings).values() if hasattr(section, "device")]
    return "gpu" if any(device != "cpu" for device in devices) else "cpu"


def _merge_by_linking(job: Job, units: Mapping[str, Path]) -> None:
    for folder in units.values():
        files.place_tree(folder, job.out)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage: names, functions and promises (see the module's text)."""

    name: str
    version: int  # raise it when the same settings give other numbers
    sections: Mapping[str, config.Section]
    outputs: tuple[str, ...]  # glob patterns of promised files: each must match, all are hashed
    optional: tuple[str, ...] = ()  # patterns of files that are hashed where there are any
    work: Callable[[Job, str], None]
    inputs: tuple[Input, ...] = ()
    units: Callable[[Job], list[str]] = _one_unit
    merge: Callable[[Job, Mapping[str, Path]], None] = _merge_by_linking
    observe: Callable[[SimpleNamespace, dict[str, str]], dict[str, str]] = lambda settings, site: {}
    finish: Callable[[Job], None] = lambda job: None  # after "done" and after "up to date"; leaves the output as it is
    # the settings, as tables, without those that decide nothing here because of others
    narrow: Callable[[dict[str, Any]], dict[str, Any]] = lambda tables: tables
    # whether the pieces that were finished under an old plan serve a new one, as after a repair of the corpus
    goes_on: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = lambda old, new: False
    # what an output was made of and is no longer so, beside what the plan says: audio whose content has changed, in words
    outdated: Callable[[Job], str] = lambda job: ""
    lost: Callable[[Job], Damage] = lambda job: {}  # of a finished output, beside the promised files, what is made anew if gone
    # put into `job.out` what `work` would leave there, taken from a finished output of the same plan of which some files are
    # damaged (their names); False where that cannot be done, and the unit is worked on
    recover: Callable[[Job, str, Path, Damage], bool] = lambda job, unit, old, wrong: False
    resumes: bool = False  # an interrupted unit's folder is handed to the next run as it was
    replaces: bool = False  # an output of other inputs is replaced unasked: for what takes seconds to make again
    threads: Callable[[SimpleNamespace], int] = field(default=lambda settings: 1)
    ranks: Callable[[SimpleNamespace], int] = field(default=lambda settings: 1)  # processes of a unit, each with those threads
    resources: Callable[[SimpleNamespace], str] = _by_device  # of a cluster: "cpu" or "gpu", as conf/launch/ spells them out
    # whether one unit alone is worth a job on a cluster; others take less time than a queue, and stay with who submits
    own_job: bool | None = None  # None: if it resumes

    def main(self) -> None:
        """Run from the command line and exit: 0 done or up to date, 2 the user can repair it, 1 a bug."""
        log = configure(self.name)
        pin_threads()
        end_on_sigterm()
        quiet_threads()
        began = time.monotonic()
        try:
            status = run(self, sys.argv[1:], log)
        except RecipeError as error:
            log.error("error: %s", error)
            status = EXIT_USER
        except PartsFailed as error:
            log.error("error: %s", error)
            status = error.status
        except KeyboardInterrupt:
            log.error("interrupted; what was finished is kept, and a rerun goes on from there")
            status = EXIT_USER
        except Exception as error:
            known = as_recipe_error(error)
            if known is None:
                raise
            log.error("error: %s", known)
            status = EXIT_USER
        if status != 0:
            log.error("ended with status %d after %.1f s", status, time.monotonic() - began)
        sys.exit(status)


def parse(stage: Stage, arguments: Sequence[str]) -> argparse.Namespace:
    """The command line that all stages share."""
    parser = argparse.ArgumentParser(prog=f"python -m steps.{stage.name}", allow_abbrev=False)
    parser.add_argument(
        "--config", action="append", default=[], type=Path, metavar="FILE", help="settings (TOML); later files win"
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="assignments")
    for each in stage.inputs:
        action = {"action": "append", "default": []} if each.many else {"default": None}
        parser.add_argument(f"--{each.name}", type=Path, metavar="DIR", help=each.help, **action)
    parser.add_argument("--out", type=Path, required=False, metavar="DIR", help="the folder to make")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to share the work (default 1)")
    parser.add_argument("--launcher", default="local", metavar="NAME", help="local, or a file conf/launch/NAME.toml")
    parser.add_argument("--force", action="store_true", help="set an output of other settings aside and redo it")
    parser.add_argument("--verify", action="store_true", help="compare the content of finished outputs; redo what is damaged")
    parser.add_argument("--print-config", action="store_true", help="print the settings and stop")
    parser.add_argument("--part", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: expected at least 1")
    if options.out is None and not options.print_config:
        parser.error("--out DIR is missing")
    if options.out is not None and options.out.name in ("", ".."):
        parser.error(f"--out {options.out}: expected a folder with a name of its own")
    return options


def run(stage: Stage, arguments: Sequence[str], log: logging.Logger) -> int:
    """Run one stage; the exit status. Raises RecipeError for what the user can repair."""
    options = parse(stage, arguments)
    settings, site = load_settings(stage.sections, options.config, options.assignments)
    if options.print_config:
        print(config.to_toml({name: config.deciding(value) for name, value in vars(settings).items()}))
        return 0
    out: Path = options.out
    single = {each.name: getattr(options, each.name.replace("-", "_")) for each in stage.inputs if not each.many}
    lists = {each.name: getattr(options, each.name.replace("-", "_")) for each in stage.inputs if each.many}
    plan = make_plan(stage, settings, site, single, lists)
    job = Job(
        settings=settings, site=site, inputs=single, input_lists=lists, out=out, jobs=options.jobs, log=log,
        fingerprint=fingerprint(plan), verify=options.verify,
    )  # fmt: skip
    if options.part is not None:
        run_part(stage, job, options.part)
        return 0
    launcher = read_launcher(options.launcher)
    if _is_done(stage, job, plan, stage.replaces or options.force):
        log.info("up to date%s: %s", ", and its content compared" if job.verify else "", out)
        _remove_leftovers(out, plan)
    else:
        log.info("%s", command_line())
        with locked(out):
            _make(stage, job, plan, force=stage.replaces or options.force, launcher=launcher, arguments=list(arguments))
    stage.finish(replace(job, out=out))
    return 0


def make_plan(
    stage: Stage,
    settings: SimpleNamespace,
    site: dict[str, str],
    single: Mapping[str, Path | None],
    lists: Mapping[str, Sequence[Path]],
) -> dict[str, Any]:
    """All that decides the output of a stage, as plain values."""
    contents = {}
    for each in stage.inputs:
        if each.required and not (lists[each.name] if each.many else single[each.name]):
            raise RecipeError(f"--{each.name} DIR is missing: {each.help or 'an input of this stage'}")
        if each.many:
            contents |= {f"{each.name} {i}": input_content(each.name, folder) for i, folder in enumerate(lists[each.name])}
        elif single[each.name] is not None:
            contents[each.name] = input_content(each.name, single[each.name], from_elsewhere=each.from_elsewhere)
    contents |= stage.observe(settings, site)
    tables = {name: config.deciding(value) for name, value in vars(settings).items()}
    return {"stage": stage.name, "version": stage.version, "settings": stage.narrow(tables), "inputs": contents}


def _is_done(stage: Stage, job: Job, plan: Mapping[str, Any], force: bool) -> bool:
    """Whether `out` holds what the plan asks for, all of it. Raises RecipeError if it, or its beginnings, hold another thing."""
    out, stamp = job.out, read_stamp(job.out)
    if stamp is not None and _is_of(stage, job, stamp["plan"], plan):
        return _is_intact(stage, job, stamp, force)
    old = stamp["plan"] if stamp else _begun_plan(stage, out)
    if old is None or force or (not stamp and _serves(stage, old, plan)):
        return False
    what = "was made" if stamp else "was begun (and not finished)"
    raise RecipeError(
        f"{out} {what} with other settings or inputs:\n"
        + "".join(f"    {line}\n" for line in differences(_narrowed(stage, job, old, plan), plan))
        + "choose another --exp (or --out), or add --force to set the old one aside and make it anew"
    )


def _is_of(stage: Stage, job: Job, old: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    """Whether a plan asks for what another one asked for, which may lack settings that did not exist then."""
    return fingerprint(old) == fingerprint(plan) or _narrowed(stage, job, old, plan) == plan


def _narrowed(stage: Stage, job: Job, old: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    old = completed(old, plan, {name: config.defaults(value) for name, value in vars(job.settings).items()})
    if old.get("stage") == stage.name:  # another stage's output has other sections
        old["settings"] = stage.narrow(old["settings"])
    return old


def _is_intact(stage: Stage, job: Job, stamp: Mapping[str, Any], force: bool) -> bool:
    """Whether a finished output is whole. Raises RecipeError where it must not be made anew unasked."""
    changed = stage.outdated(job)
    if changed and not force:
        raise RecipeError(
            f"{job.out} was made of other data: {changed}\n"
            "choose another --exp (or --out), or add --force to set the old one aside and make it anew"
        )
    wrong = damage(job.out, stamp, threads=job.jobs) if job.verify else size_damage(job.out, stamp)
    wrong |= stage.lost(job)
    warn_of_strangers(job.out, stamp, job.log)
    for option, folder in job.input_folders() if job.verify else ():
        if option in job.input_lists:  # of several systems, which this run may not go through
            check_input(option, folder, job.log, threads=job.jobs)
    if wrong and stage.resumes and not job.verify:
        raise RecipeError(
            f"{job.out} is not as it was left: {shown(wrong)}; put the files back, or add --verify to "
            "make them anew, which takes as long as the first time"
        )
    return not changed and not wrong


def _partial_plan(out: Path) -> dict[str, Any] | None:
    path = partial_of(out) / "plan.json"
    return files.read_json(path) if path.is_file() else None


def _begun_plan(stage: Stage, out: Path) -> dict[str, Any] | None:
    """The plan of what was begun, or None where no piece of it is finished: then there is nothing to lose."""
    units = partial_of(out) / "units"
    found = units.iterdir() if units.is_dir() else ()
    kept = any(each.suffix != ".tmp" or (stage.resumes and any(each.iterdir())) for each in found)
    return _partial_plan(out) if kept else None


def _serves(stage: Stage, old: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    return old == plan or stage.goes_on(old, plan)


def _make(stage: Stage, job: Job, plan: dict[str, Any], *, force: bool, launcher: Local | Slurm, arguments: list[str]) -> None:
    began = time.monotonic()
    out, partial = job.out, partial_of(job.out)
    if recorded(partial):
        _settle(stage, job, plan, launcher)
    if _is_done(stage, job, plan, force):  # somebody finished it while this process waited for the lock
        return
    begun = _begun_plan(stage, out)
    if begun is None:
        discard(partial)  # what a killed run was about to remove, or had not begun
    elif not _serves(stage, begun, plan):  # also without --force: a finished output is repaired, of which this is no part
        _set_aside(partial, job.log, keep=stage.resumes)
    (partial / "units").mkdir(parents=True, exist_ok=True)
    files.write_json(partial / "plan.json", plan)
    units = stage.units(replace(job, out=partial / "out"))
    assert units
    assert len(set(units)) == len(units), units
    for option, folder in job.input_folders():
        check_input(option, folder, job.log, threads=job.jobs)
    stamp = read_stamp(out)
    if stamp is not None and not stage.resumes and _is_of(stage, job, stamp["plan"], plan):
        keep_intact(stage, job, units, damage(out, stamp, threads=job.jobs) | stage.lost(job))
    _do_units(stage, job, units, launcher, arguments)
    merged = partial / "out"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    stage.merge(replace(job, out=merged), {unit: partial / "units" / unit for unit in units})
    if make_plan(stage, job.settings, job.site, job.inputs, job.input_lists) != plan:
        raise RecipeError(f"{out}: an input was made anew while this was being made of it; add --force to begin again")
    _commit(stage, job, plan, merged, time.monotonic() - began)


def _settle(stage: Stage, job: Job, plan: Mapping[str, Any], launcher: Local | Slurm) -> None:
    """See to jobs that a killed run left on a cluster: those that make what is wanted now are waited for."""
    partial = partial_of(job.out)
    adopt = isinstance(launcher, Slurm) and _partial_plan(job.out) == plan
    units = files.read_json(partial / MISSING) if (partial / MISSING).is_file() else []
    watch, close = watcher(job, units, stage.name)
    poll_seconds = launcher.poll_seconds if isinstance(launcher, Slurm) else 1.0
    settle(partial, job.log, adopt=adopt, watch=watch, poll_seconds=poll_seconds)
    close()


def _do_units(stage: Stage, job: Job, units: list[str], launcher: Local | Slurm, arguments: list[str]) -> None:
    partial = partial_of(job.out)
    missing = unfinished(partial, units)
    if len(missing) < len(units):
        job.log.info("resuming: %d of %d parts of the work are done", len(units) - len(missing), len(units))
    files.write_json(partial / NUM_UNITS, len(units))
    own_job = stage.resumes if stage.own_job is None else stage.own_job
    if units == [ONE_UNIT] and (isinstance(launcher, Local) or not own_job):
        for unit in missing:
            do_unit(stage, job, unit)
    elif missing:
        launch(stage, job, units, missing, launcher, arguments)


def _commit(stage: Stage, job: Job, plan: Mapping[str, Any], merged: Path, seconds: float) -> None:
    for pattern in stage.outputs:
        if not any(merged.glob(pattern)):
            raise RuntimeError(f"{merged}: the stage promised {pattern} and did not write it")
    hashes = files.tree_hashes(merged, stage.outputs + stage.optional, threads=job.jobs)
    stamp, old = write_stamp(merged, plan, hashes, seconds), read_stamp(job.out)
    if old is not None:
        is_repair = old["fingerprint"] == stamp["fingerprint"] and old["content"] == stamp["content"]
        if old["fingerprint"] == stamp["fingerprint"] and not is_repair:
            job.log.warning("%s has other content than before: what was made of it is out of date", job.out)
        edited = is_repair and OTHER_CONTENT in damage(job.out, old, threads=job.jobs).values()
        _set_aside(job.out, job.log, keep=not stage.replaces and (edited or not is_repair))
    files.fsync_tree(merged)
    os.rename(merged, job.out)
    files.fsync(job.out.parent)
    for partial in (partial_of(job.out), *job.out.parent.glob(f"{job.out.name}.partial.old-*")):
        discard(partial)
    job.log.info("done: %s (%.1f s)", job.out, seconds)


def _set_aside(folder: Path, log: logging.Logger, *, keep: bool) -> None:
    """Rename a folder out of the way, and remove it unless it is to be kept."""
    aside = folder.with_name(f"{folder.name}.old-{time.time_ns()}")
    os.rename(folder, aside)
    if keep:
        log.info("set aside: %s -> %s", folder, aside.name)
    else:
        shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(out: Path, plan: Mapping[str, Any]) -> None:
    """Remove the work folder of a finished output: a run was killed between the two. That of other settings or jobs stays."""
    if partial_of(out).exists() and not recorded(partial_of(out)):
        with contextlib.suppress(RecipeError), locked(out):  # somebody works there: then it is theirs
            if _partial_plan(out) in (None, plan):
                discard(partial_of(out))
