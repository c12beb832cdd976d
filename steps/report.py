"""Stage 8: results become documents.

Reads result.json, score files and LLRs of any number of systems and fusions, the trial lists, the training logs where models
are given, and of the recipe recipe.toml and paper.toml (published figures). Writes RESULTS.md, report.html (one file that needs
no network), table.txt, and figures/*.png and *.svg; the table goes to stdout. With report.publish = true the records are copied
to recipes/<recipe>/results/ and recipes/<recipe>/RESULTS.md is made of all that lie there.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from steps.core import config
from steps.core.errors import RecipeError
from steps.core.files import atomic_write, read_json, write_json
from steps.core.stage import Input, Job, Stage
from steps.tables.document import heading, missing_systems, render_markdown
from steps.tables.page import Section, commands, listing, pictures, render_page
from steps.tables.results import (
    Published,
    comparison_table,
    corpus_tables,
    list_names,
    order_records,
    per_cent,
    pooled_lists,
    pooled_table,
    repeat_command,
    runs_table,
)
from steps.tables.table import to_html, to_text

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from steps.data.trials import Trials

RECIPES = Path("recipes")
_RECORD_KEYS = (
    "recipe", "system", "backend", "num_parameters", "train_seconds", "trials", "fingerprint", "commit", "dirty",
    "command", "seconds", "date",
)  # fmt: skip
_FIGURE_KEYS = (
    "num_target", "num_nontarget", "num_missing", "eer", "eer_ci95", "min_dcf", "act_dcf", "cllr", "min_cllr",
)  # fmt: skip
_NAME = re.compile(r"\w[\w.+-]*")  # what may name a recipe or a system, and so a file
_MARKED_PRIOR = 0.01  # the prior whose cheapest operating point a DET plot marks
_BAYES_PRIORS = (0.01, 0.05)  # the priors whose thresholds a histogram of LLRs shows


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Settings of stage 8."""

    recipe: str  # name of the folder below recipes/
    # heading of the documents; empty: the one in recipe.toml, else one made of the recipe's name
    title: str = ""
    # whether to draw a score histogram for each system and pooled list
    histograms: bool = True
    # whether to copy the records to the recipe and to write its RESULTS.md; done after every run, also an idle one
    publish: bool = config.field(False, decides=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.recipe):
            raise ValueError(f"recipe: expected the name of a folder below {RECIPES}/, found {self.recipe!r}")


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """What recipe.toml and paper.toml of a recipe say to its documents."""

    title: str = ""
    systems: tuple[str, ...] = ()
    not_run: Mapping[str, str]  # system -> why
    published: tuple[Published, ...] = ()


def observe(settings: SimpleNamespace, site: dict[str, str]) -> dict[str, str]:
    """Return the hashes of the recipe's two files: a changed one is another report."""
    paths = [path for name in ("recipe.toml", "paper.toml") if (path := RECIPES / settings.report.recipe / name).is_file()]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def work(job: Job, unit: str) -> None:
    """Draw and write everything."""
    recipe = job.settings.report.recipe
    facts = read_facts(RECIPES / recipe)
    facts = replace(facts, title=job.settings.report.title or facts.title)
    folders = _folders_by_system(job.input_lists["scores"], recipe)
    records = order_records([read_record(folder / "result.json") for folder in folders.values()], facts.systems)
    (job.out / "figures").mkdir()
    with atomic_write(job.out / "RESULTS.md") as file:
        file.write(_markdown(records, recipe, facts))
    with atomic_write(job.out / "table.txt") as file:
        file.write(to_text(pooled_table(records)))
    with atomic_write(job.out / "report.html") as file:
        file.write(_page(records, recipe, facts, draw(job, records, folders)))


def finish(job: Job) -> None:
    """Publish if asked to, and print the table. Changes nothing in the output, so it also follows "up to date"."""
    if job.settings.report.publish:
        publish(job.input_lists["scores"], job.settings.report.recipe)
        job.log.info("published: %s", RECIPES / job.settings.report.recipe / "RESULTS.md")
    print((job.out / "table.txt").read_text(encoding="utf-8"), end="")


def publish(score_folders: Sequence[Path], recipe: str) -> None:
    """Copy the record of each folder to the recipe, and write the recipe's RESULTS.md of all records there.

    Raises:
        RecipeError: there is no such recipe, or a record that cannot be read.
    """
    home = RECIPES / recipe
    if not home.is_dir():
        raise RecipeError(f"{home}: no such recipe, so there is no place to publish to; correct report.recipe")
    (home / "results").mkdir(exist_ok=True)
    for system, folder in _folders_by_system(score_folders, recipe).items():
        record = read_record(folder / "result.json")
        public = {"command": repeat_command(record), "machine": record.get("machine", "").partition(", ")[2]}  # no host
        write_json(home / "results" / f"{system}.json", record | public)
    rewrite(home)


def rewrite(home: Path) -> None:
    """Write RESULTS.md of a recipe's folder anew, as after a change of its paper.toml."""
    text = recipe_markdown(home)
    with atomic_write(home / "RESULTS.md") as file:
        file.write(text)


def recipe_markdown(home: Path) -> str:
    """Return what RESULTS.md of a recipe's folder must hold: results/*.json, recipe.toml and paper.toml decide it.

    Raises:
        RecipeError: one of these files is damaged, or a record lies under another name than its system's.
    """
    records = []
    for path in sorted((home / "results").glob("*.json")):
        record = read_record(path)
        if (record["recipe"], record["system"]) != (home.name, path.stem):
            raise RecipeError(
                f"{path}: is the record of system '{record['system']}' of the recipe '{record['recipe']}'; expected "
                f"'{path.stem}' of '{home.name}'; remove it and publish again"
            )
        records.append(record)
    return _markdown(records, home.name, read_facts(home))


def read_record(path: Path) -> dict[str, Any]:
    """Return a result.json.

    Raises:
        RecipeError: missing, no JSON, without a key that a report needs, or with a name that is none.
    """
    record = read_json(path)
    missing = [key for key in _RECORD_KEYS if key not in record]
    missing += [
        f"trials.{name}.{key}" for name, figures in record.get("trials", {}).items() for key in _FIGURE_KEYS if key not in figures
    ]
    if missing:
        raise RecipeError(f"{path}: no value for {', '.join(missing[:5])}; run the stage that makes it again (6 or 7)")
    if not _NAME.fullmatch(record["system"]):
        raise RecipeError(f"{path}: {record['system']!r} is no name for a system; expected letters, digits, . _ + -")
    return record


def read_facts(home: Path) -> RecipeFacts:
    """Return what recipe.toml ([recipe] systems, not_run; [report] title) and paper.toml ([[published]]) say; both may lack.

    Raises:
        RecipeError: not TOML, a wrong type, or an unknown key of a published figure.
    """
    path = home / "recipe.toml"
    tables = _read_toml(path)
    table, title = tables.get("recipe", {}), tables.get("report", {}).get("title", "")
    systems, not_run = table.get("systems", []), table.get("not_run", {})
    if not (isinstance(title, str) and _all_text(systems, list) and _all_text(not_run, dict)):
        raise RecipeError(
            f"{path}: expected report.title = text and, in [recipe], systems = [names], not_run = {{ name = reason }}"
        )
    paper = home / "paper.toml"
    entries = _read_toml(paper).get("published", [])
    published = tuple(_published(entry, f"{paper}: published figure {i}") for i, entry in enumerate(entries, 1))
    return RecipeFacts(title=title, systems=tuple(systems), not_run=not_run, published=published)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a model's log.jsonl, one an epoch; none where the model brings no log.

    Raises:
        RecipeError: a line that is no JSON object with an epoch.
    """
    path = folder / "log.jsonl"
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            records.append(json.loads(line))
            records[-1]["epoch"] + 0
        except (ValueError, KeyError, TypeError):
            raise RecipeError(f"{path}:{number}: expected a JSON object with an epoch; train again (stage 4)") from None
    return records


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """SVG elements for the page."""

    dets: tuple[str, ...]
    histograms: tuple[str, ...]
    training: tuple[str, ...]


def draw(job: Job, records: Sequence[Mapping[str, Any]], folders: Mapping[str, Path]) -> Pictures:
    """Return the pictures, and write them to figures/: a DET plot a pooled list, histograms, training curves."""
    from steps.data.trials import read_trials
    from steps.plots.training import training_figure

    dets, histograms, training = [], [], []
    for name in pooled_lists(list_names(records)):
        trials = read_trials(job.input("manifests") / "trials" / f"{name}.txt")
        scored = [record for record in records if name in record["trials"]]
        dets.append(_save(_det(name, trials, scored, folders), job.out, f"det.{name}", f"DET plot of {name}"))
        for record in scored if job.settings.report.histograms else ():
            system = record["system"]
            figure = _histogram(f"{system} on {name}", trials, folders[system], f"{name}.txt")
            histograms.append(_save(figure, job.out, f"scores.{system}.{name}", f"Scores of {system} on {name}"))
    logs = {folder.resolve().parent.name: read_log(folder) for folder in job.input_lists["model"]}
    for system in [system for system, log in logs.items() if not log]:
        job.log.info("%s: its model brings no log.jsonl, so there is no training curve of it", system)
        del logs[system]
    if logs:
        training.append(_save(training_figure(logs, "Training"), job.out, "training", "Training curves"))
    return Pictures(dets=tuple(dets), histograms=tuple(histograms), training=tuple(training))


def aligned_scores(trials: "Trials", path: Path) -> tuple["np.ndarray", "np.ndarray"]:
    """Return (target scores, non-target scores) of a score file; trials without a score are left out.

    Raises:
        RecipeError: a score of a pair that is not in the list, or all scored trials of one kind.
    """
    import numpy as np

    from steps.data.trials import read_scores

    enrol_ids, test_ids, scores = read_scores(path)
    truth = trials.is_target
    if (enrol_ids, test_ids) != (trials.enrol_ids, trials.test_ids):
        kinds = dict(zip(zip(trials.enrol_ids, trials.test_ids, strict=True), truth.tolist(), strict=True))
        pairs = list(zip(enrol_ids, test_ids, strict=True))
        strays = [pair for pair in pairs if pair not in kinds]
        if strays:
            raise RecipeError(
                f"{path}: {len(strays)} of {len(pairs)} scores are of pairs that the trial list does not hold, the first "
                f"'{strays[0][0]}' and '{strays[0][1]}'; the list changed after scoring: run stage 6 (score) again"
            )
        truth = np.array([kinds[pair] for pair in pairs], dtype=bool)
    if truth.all() or not truth.any():
        raise RecipeError(f"{path}: {int(truth.sum())} targets in {truth.size} scored trials; expected both kinds")
    return scores[truth], scores[~truth]


def _det(name: str, trials: "Trials", records: Sequence[Mapping[str, Any]], folders: Mapping[str, Path]) -> "Figure":
    from steps.metrics.error_rates import det_points, error_rates
    from steps.plots.det import det_figure

    curves, points = {}, {}
    for record in records:
        scores = aligned_scores(trials, folders[record["system"]] / f"{name}.txt")
        label = f"{record['system']}  {per_cent(record['trials'][name]['eer'])}"
        curves[label] = det_points(*scores)
        _, p_miss, p_fa = error_rates(*scores)
        cheapest = (_MARKED_PRIOR * p_miss + (1 - _MARKED_PRIOR) * p_fa).argmin()
        points[label] = (p_miss[cheapest], p_fa[cheapest])
    return det_figure(
        curves, name, points=points, points_name=f"minDCF({_MARKED_PRIOR})", legend_title="System, EER %"
    )  # fmt: skip


def _histogram(title: str, trials: "Trials", folder: Path, file_name: str) -> "Figure":
    """Return the histogram of the calibrated LLRs, of the scores where there are none."""
    from steps.metrics.costs import bayes_threshold
    from steps.metrics.error_rates import error_rates
    from steps.plots.histogram import score_histogram

    is_calibrated = (folder / "llr" / file_name).is_file()
    target, nontarget = aligned_scores(trials, folder / "llr" / file_name if is_calibrated else folder / file_name)
    thresholds, p_miss, p_fa = error_rates(target, nontarget)
    lines = {"EER": float(thresholds[abs(p_miss - p_fa).argmin()])}
    if is_calibrated:
        lines |= {f"Bayes, P_target = {prior}": bayes_threshold(prior) for prior in _BAYES_PRIORS}
    score_name = "Calibrated log-likelihood ratio (natural log)" if is_calibrated else "Score"
    return score_histogram(target, nontarget, title, thresholds=lines, score_name=score_name)


def _save(figure: "Figure", out: Path, name: str, description: str) -> str:
    from steps.plots.figure import inline_svg, save

    save(figure, out / "figures" / name)
    return inline_svg(figure, name, description)


def _markdown(records: Sequence[Mapping[str, Any]], recipe: str, facts: RecipeFacts) -> str:
    return render_markdown(
        records, facts.published, recipe=recipe, title=facts.title, systems=facts.systems, not_run=facts.not_run
    )  # fmt: skip


def _page(records: Sequence[Mapping[str, Any]], recipe: str, facts: RecipeFacts, drawn: Pictures) -> str:
    comparison = comparison_table(records, facts.published)
    sections = [
        Section(title="Results", body=to_html(pooled_table(records))),
        Section(title="DET plots", body=pictures(drawn.dets)),
        Section(title=comparison.title, body=to_html(comparison)),
        Section(title="Not run", body=listing(missing_systems(records, facts.systems, facts.not_run))),
        Section(title="By corpus", body="".join(map(to_html, corpus_tables(records)))),
        Section(title="Training", body=pictures(drawn.training)),
        Section(title="Scores", body=pictures(drawn.histograms), folded=True),
        Section(title="Runs", body=to_html(runs_table(records)) + commands([repeat_command(r) for r in records])),
    ]
    introduction = f"Recipe {recipe}: {len(records)} systems. EER in per cent, with the 95% interval of a bootstrap over "
    introduction += "speakers; costs are divided by min(p, 1 - p); published figures are as published, not ours."
    return render_page(heading(recipe, facts.title), introduction, sections)


def _folders_by_system(folders: Sequence[Path], recipe: str) -> dict[str, Path]:
    if not folders:
        raise RecipeError("--scores DIR is missing: a report needs the scores of at least one system (stage 6 or 7)")
    found: dict[str, Path] = {}
    for folder in folders:
        record = read_record(folder / "result.json")
        if record["recipe"] != recipe:
            raise RecipeError(f"{folder}: holds results of the recipe '{record['recipe']}'; expected '{recipe}'")
        if record["system"] in found:
            raise RecipeError(f"{folder}: system '{record['system']}' was already given as {found[record['system']]}")
        found[record["system"]] = folder
    return found


def _published(entry: Any, where: str) -> Published:
    costs = entry.get("min_dcf", {}) if isinstance(entry, dict) else None
    texts = ("system", "list", "source", "note")
    unknown = [key for key in entry if key not in (*texts, "eer", "min_dcf")] if isinstance(entry, dict) else []
    if unknown:
        raise RecipeError(f"{where}: unknown key '{unknown[0]}'; known: {', '.join((*texts, 'eer', 'min_dcf'))}")
    is_whole = (
        isinstance(costs, dict)
        and all(isinstance(value, int | float) for value in costs.values())
        and all(re.fullmatch(r"0?\.\d+", prior) for prior in costs)
        and all(isinstance(entry.get(key, ""), str) for key in texts)
        and all(entry.get(key) for key in ("system", "list", "source"))
        and (costs or "eer" in entry)
        and ("eer" not in entry or (isinstance(entry["eer"], int | float) and 0 <= entry["eer"] <= 1))
    )
    if not is_whole:
        raise RecipeError(
            f"{where}: expected system, list and source as text, and eer = fraction of 1 or min_dcf = {{ '0.01' = cost }}; "
            f"found {entry!r}"
        )
    return Published(**entry)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


def _all_text(values: Any, kind: type) -> bool:
    each = values.values() if isinstance(values, dict) else values
    return isinstance(values, kind) and all(isinstance(value, str) for value in each)


STAGE = Stage(
    name="report",
    version=1,
    sections={"report": ReportSettings},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="scores", many=True, help="the output of stage 6 or 7 of a system or fusion; may be repeated"),
        Input(name="model", many=True, required=False, help="the output of stage 4 of a system; may be repeated"),
    ),
    outputs=("RESULTS.md", "report.html", "table.txt", "figures/*"),
    work=work,
    observe=observe,
    finish=finish,
    replaces=True,
)

if __name__ == "__main__":
    STAGE.main()
