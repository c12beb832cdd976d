"""What is finished, at work, or was left below a folder of outputs: `./run.sh --status` ends here. Changes nothing."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steps.core import slurm
from steps.core.errors import RecipeError
from steps.core.lock import holder_of
from steps.core.log import configure
from steps.core.parts import NUM_UNITS
from steps.core.slurm_array import recorded
from steps.core.slurm_task import status_path
from steps.core.stamp import STAMP, read_stamp

RUNS = "runs"  # what is kept of detached runs, in the folder of a recipe's outputs


def report(top: Path) -> list[str]:
    """Lines about every output, finished or begun, and about detached runs."""
    finished, begun = [], []
    for folder in _outputs(top):
        (finished if (folder / STAMP).is_file() else begun).append(folder)
    runs = sorted((top / RUNS).glob("run-*"))
    queue = _queue([*begun, *runs])
    lines = [_finished_line(top, folder) for folder in finished]
    for partial in begun:
        lines += _begun_lines(top, partial, queue)
    return lines + [_run_line(folder, queue) for folder in runs]


def _outputs(top: Path) -> Iterator[Path]:
    """Finished outputs and work folders; what was set aside is passed over."""
    for folder, names, files in os.walk(top):
        names[:] = sorted(name for name in names if ".old-" not in name and Path(folder, name) != top / RUNS)
        if STAMP in files or folder.endswith(".partial"):
            names[:] = []
            yield Path(folder)


def _finished_line(top: Path, folder: Path) -> str:
    try:
        stamp = read_stamp(folder) or {}
    except RecipeError as error:
        return f"damaged   {folder.relative_to(top)}   {error}"
    return f"done      {stamp['plan'].get('stage', '?'):<8} {folder.relative_to(top)}   {stamp['date']}, {stamp['seconds']:.0f} s"


def _begun_lines(top: Path, partial: Path, queue: Mapping[str, str] | str) -> Iterator[str]:
    plan = _known(partial / "plan.json", {})
    out = partial.with_name(partial.name.removesuffix(".partial"))
    holder = holder_of(out)
    units = partial / "units"
    done = sum(each.suffix != ".tmp" for each in units.iterdir()) if units.is_dir() else 0
    total = _known(partial / NUM_UNITS, "?")
    state = "at work" if holder else "stopped"
    yield f"{state:<9} {plan.get('stage', '?'):<8} {out.relative_to(top)}   {done} of {total} pieces done"
    if holder:
        yield f"            written by {holder}"
    for name, job in recorded(partial).items():
        yield f"            {_job_words(name, job, queue)}"
    if (partial / "log").is_dir():
        yield f"            logs: {partial / 'log'}"
    if not holder:
        left = " its jobs go on, and" if recorded(partial) else ""
        yield f"            nobody looks after it:{left} a rerun goes on from there"


def _run_line(folder: Path, queue: Mapping[str, str] | str) -> str:
    """A run that was detached: how it ended, or its job, and where its log is."""
    ended = _known(status_path(folder, 0), None)
    state = f"ended with status {ended['status']}" if ended else "in the background"
    for name, job in recorded(folder).items():
        state = state if ended else _job_words(name, job, queue)
    return f"detached  {state}; log: {folder / 'part.0.log'}"


def _job_words(name: str, job: str, queue: Mapping[str, str] | str) -> str:
    known = queue if isinstance(queue, str) else queue.get(job, "not in the queue")
    return f"job {job or name}: {known}"


def _queue(folders: list[Path]) -> dict[str, str] | str:
    """Number of an array -> how many tasks are in which state; or why that is not known."""
    jobs = {job for folder in folders for job in recorded(folder).values() if job}
    try:
        counts: dict[str, dict[str, int]] = {}
        for (job, _), task in slurm.queue(jobs).items():
            what = f"pending ({task.reason})" if task.state == "PENDING" else task.state.lower()
            counts.setdefault(job, {}).setdefault(what, 0)
            counts[job][what] += 1
    except (slurm.SlurmSilent, RecipeError) as error:
        return f"its state is not known here ({str(error).splitlines()[0]})"
    return {job: ", ".join(f"{number} {what}" for what, number in states.items()) for job, states in counts.items()}


def _known(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it went away or is being written
        return otherwise


def main() -> None:
    """Called by run.sh."""
    parser = argparse.ArgumentParser(prog="python -m steps.core.status", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="of a recipe's outputs")
    top = parser.parse_args().folder
    lines = report(top)
    if not lines:
        configure("status").info("%s: nothing is there, neither finished nor begun", top)
        sys.exit(0)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
