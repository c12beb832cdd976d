"""Stage 8: results become documents.

Reads result.json, score files and LLRs of any number of systems and fusions, the trial lists, the training logs where models
are given, the records of sweeps and alignments where those are given, and of the recipe recipe.toml and paper.toml (published
figures). Writes RESULTS.md, report.html (one file that needs no network), table.txt, comparison.json (paired comparisons with the
reference system), and figures/*.png and *.svg; the table goes to stdout. With report.publish = true the records are copied to
recipes/<recipe>/results/ (sweeps/, alignments/, figures/ below it) and recipes/<recipe>/RESULTS.md is made of all that lie there.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.core import config
from steps.core.errors import RecipeError
from steps.core.files import atomic_write, read_json, write_json
from steps.core.stage import Input, Job, Stage
from steps.documents import gallery
from steps.documents.facts import RecipeFacts, read_facts
from steps.documents.page import Findings, report_page
from steps.documents.records import NAME, Records, commit, committed, folders_by_system, read_alignment, read_log, read_record
from steps.documents.records import read_sweep_record as read_sweep
from steps.tables.document import render_markdown
from steps.tables.results import figured, list_names, order_records, pooled_lists, pooled_table, scored_only_table
from steps.tables.table import to_text

RECIPES = Path("recipes")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Settings of stage 8."""

    recipe: str  # name of the folder below recipes/
    # heading of the documents; empty: the one in recipe.toml, else one made of the recipe's name
    title: str = ""
    # the system that the others are compared with, trial by trial; empty: the recipe's default system
    reference: str = ""
    # of the bootstrap over speakers behind these comparisons
    replicates: int = 2000
    seed: int = 1
    # whether to draw for each system and pooled list a score histogram and, of calibrated systems, a Tippett plot, a
    # reliability diagram and the Bayes error over the prior
    histograms: bool = True
    # systems whose embeddings RESULTS.md shows, where stage 6 drew them (tasks.run = ["pictures"]); empty: the reference's
    pictures: tuple[str, ...] = ()
    # whether to copy the records to the recipe and to write its RESULTS.md; done after every run, also an idle one
    publish: bool = config.field(False, decides=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.recipe):
            raise ValueError(f"recipe: expected the name of a folder below {RECIPES}/, found {self.recipe!r}")
        if self.replicates < 2:
            raise ValueError(f"replicates: expected at least 2, found {self.replicates}")


def observe(settings: SimpleNamespace, site: dict[str, str]) -> dict[str, str]:
    """Return the hashes of the recipe's two files: a changed one is another report."""
    paths = [path for name in ("recipe.toml", "paper.toml") if (path := RECIPES / settings.report.recipe / name).is_file()]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def work(job: Job, unit: str) -> None:
    """Compare, draw and write everything."""
    settings = job.settings.report
    facts = _facts(settings)
    folders = folders_by_system(job.input_lists["scores"], settings.recipe)
    records = _given(job, facts)
    of_figures = replace(records, systems=figured(records.systems))
    found = examine(job, of_figures, folders, facts.reference)
    records = replace(records, systems=_with_comparisons(records, found.comparisons))
    draw(job, replace(records, systems=figured(records.systems)), found, facts.reference)
    found.embeddings = gallery.take_over(folders, job.out / gallery.FOLDER)
    write_json(job.out / "comparison.json", found.comparisons)
    with atomic_write(job.out / "RESULTS.md") as file:
        file.write(_markdown(records, settings.recipe, facts, _pictures(job, records, facts)))
    with atomic_write(job.out / "table.txt") as file:
        tables = (pooled_table(figured(records.systems)), scored_only_table(records.systems))
        file.write("\n".join(to_text(table) for table in tables if table.rows))
    with atomic_write(job.out / "report.html") as file:
        file.write(report_page(records, settings.recipe, facts, found))


def finish(job: Job) -> None:
    """Publish if asked to, and print the table. Changes nothing in the output, so it also follows "up to date"."""
    if job.settings.report.publish:
        recipe = job.settings.report.recipe
        given = _given(job, _facts(job.settings.report))
        compared = read_json(job.out / "comparison.json")
        gallery.publish(job.out / gallery.FOLDER, _pictures(job, given, _facts(job.settings.report)), _home(recipe))
        publish(replace(given, systems=_with_comparisons(given, compared)), recipe)
        job.log.info("published: %s", RECIPES / recipe / "RESULTS.md")
    print((job.out / "table.txt").read_text(encoding="utf-8"), end="")


def publish(records: Records, recipe: str) -> None:
    """Copy records to the recipe, and write the recipe's RESULTS.md of all records there.

    Raises:
        RecipeError: there is no such recipe, or a record there cannot be read.
    """
    home = _home(recipe)
    commit(home, records)
    rewrite(home)


def _home(recipe: str) -> Path:
    home = RECIPES / recipe
    if not home.is_dir():
        raise RecipeError(f"{home}: no such recipe, so there is no place to publish to; correct report.recipe")
    return home


def rewrite(home: Path) -> None:
    """Write RESULTS.md of a recipe's folder anew, as after a change of its paper.toml."""
    text = recipe_markdown(home)
    with atomic_write(home / "RESULTS.md") as file:
        file.write(text)


def recipe_markdown(home: Path) -> str:
    """Return what RESULTS.md of a recipe's folder must hold: what lies in results/, recipe.toml and paper.toml decide it.

    Raises:
        RecipeError: one of these files is damaged, or a record lies under another name than its own.
    """
    pictures = gallery.paths_of(home / "results" / gallery.FOLDER, home)
    return _markdown(committed(home), home.name, read_facts(home), pictures)


def examine(job: Job, records: Records, folders: Mapping[str, Path], reference: str) -> Findings:
    """Read the scores of each pooled list: compare systems with the reference, and draw what needs scores."""
    from steps.data.score_files import read_trial_index
    from steps.documents import comparison, drawing

    settings, found = job.settings.report, Findings()
    canvas = drawing.Canvas(job.out / "figures")
    fingerprints = {record["system"]: record["fingerprint"] for record in records.systems}
    if reference not in fingerprints:
        job.log.info("no comparison: the reference system '%s' is not among those given (report.reference)", reference)
    for name in pooled_lists(list_names(records.systems)):
        trials = read_trial_index(job.input("manifests") / "trials" / f"{name}.txt")
        shown = [record for record in records.systems if name in record["trials"]]
        scored = {r["system"]: comparison.read_scored(trials, folders[r["system"]], name) for r in shown}
        if reference in scored and len(scored) > 1:
            speakers = comparison.trial_speakers(job.input("manifests"), name, trials)
            compared = comparison.compare_with(
                reference, scored, speakers, name=name, seed=settings.seed, num_replicates=settings.replicates
            )
            about = {"reference": reference, "reference_fingerprint": fingerprints[reference], "replicates": settings.replicates}
            for system, each in compared.items():
                found.comparisons.setdefault(system, {**about, "trials": {}})["trials"][name] = each
        found.dets.append(drawing.det_plot(canvas, name, shown, scored))
        for record in shown:
            system = record["system"]
            found.calibration.append((name, system, comparison.calibration_figures(scored[system], record["trials"][name])))
            if settings.histograms:
                found.by_system.setdefault(system, []).extend(drawing.calibration_plots(canvas, name, system, scored[system]))
    return found


def draw(job: Job, records: Records, found: Findings, reference: str) -> None:
    """Add the pictures of records and of training logs."""
    from steps.documents import drawing

    canvas = drawing.Canvas(job.out / "figures")
    found.forests = drawing.forest_plots(canvas, records.systems, reference)
    found.differences = drawing.difference_plots(canvas, records.systems, reference)
    found.tasks = drawing.task_plots(canvas, records.systems)
    found.sweeps = {sweep["name"]: drawing.sweep_plots(canvas, sweep) for sweep in records.sweeps}
    logs = {folder.resolve().parent.name: read_log(folder) for folder in job.input_lists["model"]}
    for system in [system for system, log in logs.items() if not log]:
        job.log.info("%s: its model brings no log.jsonl, so there is no training curve of it", system)
        del logs[system]
    found.training = drawing.training_plots(canvas, logs)


def _facts(settings: ReportSettings) -> RecipeFacts:
    facts = read_facts(RECIPES / settings.recipe)
    return replace(facts, title=settings.title or facts.title, reference=settings.reference or facts.reference)


def _given(job: Job, facts: RecipeFacts) -> Records:
    """Return the records that the stage was given, those of systems in the order of the recipe."""
    recipe = job.settings.report.recipe
    folders = folders_by_system(job.input_lists["scores"], recipe)
    return Records(
        systems=order_records([read_record(folder / "result.json") for folder in folders.values()], facts.systems),
        sweeps=[read_sweep(folder / "sweep.json", recipe) for folder in job.input_lists.get("sweep", [])],
        alignments=[read_alignment(folder / "alignment.json", recipe) for folder in job.input_lists.get("alignment", [])],
    )


def _with_comparisons(records: Records, comparisons: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**record, **({"comparison": comparisons[record["system"]]} if record["system"] in comparisons else {})}
        for record in records.systems
    ]


def _pictures(job: Job, records: Records, facts: RecipeFacts) -> dict[str, str]:
    """Return name -> path of the pictures that RESULTS.md shows."""
    paths = gallery.paths_of(job.out / gallery.FOLDER, job.out)
    systems = job.settings.report.pictures or (facts.reference,)
    return {name: paths[name] for name in gallery.shown(paths, records, systems)}


def _markdown(records: Records, recipe: str, facts: RecipeFacts, pictures: Mapping[str, str]) -> str:
    return render_markdown(
        records.systems, facts.published, recipe=recipe, title=facts.title, systems=facts.systems, not_run=facts.not_run,
        reference=facts.reference, sweeps=records.sweeps, alignments=records.alignments, pictures=pictures,
    )  # fmt: skip


STAGE = Stage(
    name="report",
    version=2,
    sections={"report": ReportSettings},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="scores", many=True, help="the output of stage 6 or 7 of a system or fusion; may be repeated"),
        Input(name="model", many=True, required=False, help="the output of stage 4 of a system; may be repeated"),
        Input(name="sweep", many=True, required=False, help="the summary of a sweep (steps.sweep); may be repeated"),
        Input(name="alignment", many=True, required=False, help="the output of stage 7 for two systems; may be repeated"),
    ),
    outputs=("RESULTS.md", "report.html", "table.txt", "comparison.json"),
    optional=("figures/*",),  # where there are figures to draw
    work=work,
    observe=observe,
    finish=finish,
    replaces=True,
)

if __name__ == "__main__":
    STAGE.main()
