"""Stage 8 of a sweep: what its points found becomes one record.

Reads the sweep's file (recipes/<recipe>/sweeps/<sweep>.toml), the scores of every point (stage 6), in the order of the points,
and where the sweep asks for curves the model of each (stage 4).
Writes sweep.json: axes, and for each point its values, its figures and its scoring in one line; see steps/tables/sweep.py.
table.txt: its tables, which are printed: a recipe of which only sweeps have been run has no report.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.core import files
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage
from steps.core.stamp import run_record
from steps.core.sweeps import Sweep, read_sweep
from steps.tables.results import list_names, repeat_sweep_command
from steps.tables.sweep import is_of_tasks, point_figure, sweep_tables
from steps.tables.table import to_text

TABLE = "table.txt"


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Which sweep."""

    file: str = field(decides=False)  # its TOML file; what stands in it decides


def observe(settings: SimpleNamespace, site: dict[str, str]) -> dict[str, str]:
    """Return the hash of the sweep's file: another title is another record."""
    file = Path(settings.sweep.file)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()} if file.is_file() else {}


def work(job: Job, unit: str) -> None:
    """Collect the records of all points."""
    sweep, folders = read_sweep(Path(job.settings.sweep.file)), job.input_lists["scores"]
    models = job.input_lists.get("model", [])
    for name, found, num in (("scores", folders, len(sweep.points)), ("model", models, sweep.curves * len(sweep.points))):
        if len(found) != num:
            raise RecipeError(f"--{name}: expected {num} folders for {len(sweep.points)} points, found {len(found)}")
    records = [files.read_json(folder / "result.json") for folder in folders]
    strange = [name for name in sweep.lists if not any(name in record["trials"] for record in records)]
    if strange:
        known = ", ".join(sorted({name for record in records for name in record["trials"]}))
        raise RecipeError(f"{job.settings.sweep.file}: lists: no point has {', '.join(strange)}; there are: {known}")
    points = [
        {"values": [value.name for value in point.values], "system": record["system"]}
        | {key: record.get(key) for key in ("backend", "num_parameters", "train_seconds", "trials", "tasks")}
        for point, record in zip(sweep.points, records, strict=True)
    ]
    _check_figures(sweep, points, job.settings.sweep.file)
    if not (sweep.lists or list_names(points)):
        job.log.warning("no list has figures, as none has labels and trials of both kinds; the scores are in the points' folders")
    for point, folder in zip(points, models, strict=False):
        point["log"] = _curve(folder)
    axes = [
        {"name": axis.name, "values": [value.name for value in axis.values], "numbers": [value.number for value in axis.values]}
        for axis in sweep.axes
    ]
    about = {"name": sweep.name, "recipe": records[0]["recipe"], "title": sweep.title, "note": sweep.note, "form": sweep.form}
    about |= {"across": list(sweep.across)} if sweep.across else {}
    about |= {"repeats": sweep.repeats} if sweep.repeats else {}
    what = {"lists": list(sweep.lists), "figures": list(sweep.figures), "axes": axes, "points": points}
    run = run_record()
    run |= {"command": repeat_sweep_command(about["recipe"], sweep.name, run["command"]), "fingerprint": job.fingerprint}
    record = about | what | run
    files.write_json(job.out / "sweep.json", record)
    with files.atomic_write(job.out / TABLE) as file:
        file.write("\n".join(map(to_text, sweep_tables(record))))
    job.log.info("%d points", len(points))


def finish(job: Job) -> None:
    """Print the tables. Changes nothing, so it also follows "up to date"."""
    print((job.out / TABLE).read_text(encoding="utf-8"), end="")


def _check_figures(sweep: Sweep, points: Sequence[dict[str, Any]], where: str) -> None:
    """Refuse a figure that no point has: its table would be empty."""
    names = sweep.lists or list_names(points)
    for figure in [each for each in sweep.figures if names or is_of_tasks(each)]:  # lists without labels have scores only
        if not any(point_figure(point, figure, name) for point in points for name in names or [""]):
            of_list = sorted({key for point in points for figures in point["trials"].values() for key in figures})
            tasks = sorted({task for point in points for task in point["tasks"] or ()})
            raise RecipeError(
                f"{where}: figures: no point has {figure!r}; of a trial list there are {', '.join(of_list)}, of tasks "
                f"{', '.join(f'tasks.{task}' for task in tasks) or 'none (tasks.run)'}; see steps/tables/sweep.py for how they "
                "are written"
            )


def _curve(folder: Path) -> list[dict[str, float]]:
    """Return of each epoch what is drawn of it: the hours learnt from, and the EER of the held-out speakers."""
    path = folder / "log.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    keys = ("epoch", "seconds_seen", "pool_hours", "dev_eer")
    return [{key: record[key] for key in keys if record.get(key) is not None} for record in records]


STAGE = Stage(
    name="sweep",
    version=2,
    sections={"sweep": SweepSettings},
    inputs=(
        Input(name="scores", many=True, help="the output of stage 6 of each point, in the order of the points"),
        Input(name="model", many=True, required=False, help="likewise that of stage 4, if the sweep asks for curves"),
    ),
    outputs=("sweep.json", TABLE),
    work=work,
    observe=observe,
    finish=finish,
    replaces=True,
)

if __name__ == "__main__":
    STAGE.main()
