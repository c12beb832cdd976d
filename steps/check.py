"""Check a recipe's systems against every stage before the first one starts; no stage itself.

`python -m steps.check --recipe DIR [--system A,B | --sweep FILE | --model DIR] [--set ...]` prints what run.sh loops over, with
tabs between columns and "-" for none:

    system  name  arguments  features  augmented  model  embeddings  begins  first  last  manifests  backend  scores  stored
    fusion  name  arguments  folders of scores
    align   name  arguments  folders of embeddings
    sweep   name  arguments  folders of scores  folders of models, of a sweep with curves

`arguments` are those of every stage, with the character 31 between them; `model`, `embeddings` and the others are folders of the
recipe's outputs; `begins` is the folder of the network that it begins with; `stored` is whether its features are; `first` and
`last` are the stages that it needs. A system that another one begins with comes before it; if it was not asked for, its last
stage is 4. A point of a sweep needs no stage whose output another point before it has made. A typing error in the settings of
stage 6 is thus found before stage 4 has trained for a day.
"""

import argparse
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps import align, augment, embed, extract, fuse, prepare, report, score, sweep, train
from steps.core import config
from steps.core.errors import RecipeError
from steps.core.failures import reported
from steps.core.faults import Faults
from steps.core.intact import check_model
from steps.core.launchers import read_launcher
from steps.core.log import configure
from steps.core.stage import Stage
from steps.core.sweeps import Point, Sweep, check_overrides, read_sweep

STAGES = [module.STAGE for module in (prepare, extract, augment, train, embed, score)]
UP_TO_TRAINING = STAGES[:4]
# For a model without the scores of its own corpus beside it; the second one if it is siamese.
PLAIN_SCORING = (Path("conf/score/cosine.toml"), Path("conf/score/siamese.toml"))
ANY_TRAINING = ("train.device=", "train.threads=", "train.workers=", "train.precision=", "train.checkpoint_seconds=")
EVERY_STAGE = [*STAGES, fuse.STAGE, align.STAGE, sweep.STAGE, report.STAGE]
JOINED = "\x1f"  # between arguments

Settings = dict[str, Any]  # section -> its settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What run.sh does for one system; folders are those below exp/<recipe>, or absolute."""

    system: str
    files: tuple[Path, ...]
    assignments: tuple[str, ...]
    features: str
    augmented: str
    model: str
    embeddings: str
    begins: str = "-"
    first: int = 1
    last: int = 8
    manifests: str
    backend: str = "-"
    scores: str
    stored: bool

    def line(self) -> str:
        """The plan as run.sh reads it."""
        arguments = _arguments(self.files, [f"system.name={self.system}", *self.assignments])
        rest = (
            self.features,
            self.augmented,
            self.model,
            self.embeddings,
            self.begins,
            str(self.first),
            str(self.last),
            self.manifests,
        )
        return _line("system", self.system, arguments, *rest, self.backend, self.scores, "yes" if self.stored else "-")


def systems_of(recipe: Path, wanted: str) -> list[str]:
    """The systems to run: those named (with commas), or the recipe's default, or with "all" every one of them."""
    file = recipe / "recipe.toml"
    if not file.is_file():
        known = sorted(path.parent.name for path in recipe.parent.glob("*/recipe.toml"))
        raise RecipeError(f"{recipe}: no such recipe; there are: {', '.join(known)}")
    table = config.load_layers([file]).tables.get("recipe", {})
    if not isinstance(table.get("default"), str) or not isinstance(table.get("systems"), list):
        raise RecipeError(f"{file}: expected in [recipe] default = the name of a system, and systems = [all of them]")
    if wanted == "all":
        return table["systems"]
    names = [name for name in (wanted or table["default"]).split(",") if name]
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"--system {wanted}: expected names of systems, each once; there are: {', '.join(table['systems'])}")
    return names


def plan_systems(recipe: Path, systems: Sequence[str], assignments: Sequence[str]) -> list[Plan]:
    """The plans of these systems and, before them, of those they begin with.

    Raises RecipeError for any wrong setting of any stage, and for systems that begin with each other.
    """
    built: dict[str, Settings] = {}
    plans: dict[str, Plan] = {}

    def visit(system: str, chain: tuple[str, ...]) -> None:
        if system in chain:
            raise RecipeError(f"{recipe / system}.toml: train.init goes in a circle: {' -> '.join((*chain, system))}")
        if system in plans:
            return
        files = (recipe / f"{system}.toml",)
        if not files[0].is_file():
            known = ", ".join(systems_of(recipe, "all"))
            raise RecipeError(f"{files[0]}: no such settings file, so no such system; there are: {known}")
        chosen = tuple(assignments if system in systems else for_predecessor(assignments))
        built[system] = build(files, STAGES, [f"system.name={system}", *chosen])
        begins = built[system]["train"].init
        if begins:
            visit(begins, (*chain, system))
        check_together(built[system], str(files[0]))
        network = built[system]["system"].model or system
        plans[system] = Plan(
            system=system, files=files, assignments=chosen, **_shared(built[system]),
            model=f"{network}/model", embeddings=_embeddings(recipe, system, built[system], chosen), scores=f"{system}/scores",
            begins=plans[begins].model if begins else "-", last=8 if system in systems else 4,
        )  # fmt: skip

    for system in systems:
        visit(system, ())
    return list(plans.values())


def check_together(settings: Settings, where: str) -> None:
    """Refuse settings of several sections that do not go together."""
    train.check_together(SimpleNamespace(**settings))
    _check_rate(settings, where)
    found, head = settings["score"], settings["head"].type
    if found.needs_windows and not settings["embed"].window:
        raise RecipeError(f"{where}: score.backend = {found.backend!r} compares windows; expected embed.window above 0, found 0")
    if found.backend == "siamese" and head != "siamese":
        raise RecipeError(f"{where}: score.backend = 'siamese' needs head.type = 'siamese', found {head!r}")


def _check_rate(settings: Settings, where: str) -> None:
    """Refuse audio that is known to have another sampling rate than the features are made from."""
    there, features = settings["prepare"].sampling_rate, settings["features"]
    is_known = there and getattr(settings["prepare"], "mixed_sampling_rates", "fail") == "fail"
    if is_known and there != features.sampling_rate and not features.resample:
        raise RecipeError(
            f"{where}: prepare.sampling_rate = {there} Hz and features.sampling_rate = {features.sampling_rate} Hz; expected one "
            "rate; correct one of them, or add --set features.resample=true"
        )


def _embeddings(recipe: Path, system: str, settings: Settings, assignments: Sequence[str]) -> str:
    """The folder of a system's embeddings: that of the network's own, or one beside it where they are cut in another way."""
    network, text = settings["system"].model or system, _decides(settings, ["embed"])
    if network != system:
        own = build([recipe / f"{network}.toml"], STAGES, [f"system.name={network}", *assignments])
        if _decides(own, ["embed"]) != text:
            return f"{network}/embeddings-{_hash(text)[:8]}"
    return f"{network}/embeddings"


def for_predecessor(assignments: Iterable[str]) -> list[str]:
    """The `--set` of the command line that also hold for a system that is only trained for another one to begin with.

    What is said of network, head and training is said of the system that was asked for; how a machine trains holds for both.
    """
    return [each for each in assignments if not re.match(r"(train|model|head)\.", each) or each.startswith(ANY_TRAINING)]


def plan_sweep(recipe: Path, found: Sweep, assignments: Sequence[str]) -> list[Plan]:
    """The plans of a sweep's points and, before them, of the systems that those begin with.

    Points that agree in all that decides a network share it, with the system that they begin with where they agree with that
    one too; likewise preparations, features, sounds and embeddings.
    """
    check_overrides(found, assignments)
    bases = {plan.system: plan for plan in plan_systems(recipe, sorted({point.system for point in found.points}), assignments)}
    owners: dict[str, str] = {}  # what decides an output -> its folder
    plain: dict[str, Settings] = {}
    for system in {point.system for point in found.points}:
        base = bases[system]
        plain[system] = build(base.files, STAGES, [f"system.name={system}", *base.assignments])
        owners.setdefault(_key(plain[system], UP_TO_TRAINING), base.model)
        owners.setdefault(_key(plain[system], STAGES[:5]), base.embeddings)
    plans: list[Plan] = []
    before: dict[str, Plan] = {}  # systems that points begin with
    made: set[str] = set()
    for point in found.points:
        base, home, name = bases[point.system], f"sweeps/{found.name}/{point.name}", f"{found.name}.{point.name}"
        files = (*base.files, *found.files, *point.files)
        chosen = (*found.assignments, *point.assignments, *assignments)
        settings = _point_settings(found, point, files, chosen)
        apart = tuple(_names_apart(found.name, plain[point.system], settings))
        settings = build(files, STAGES, [f"system.name={name}", *chosen, *apart])
        init = settings["train"].init
        if init and init not in before:
            before |= {
                plan.system: dataclasses.replace(plan, last=4)
                for plan in plan_systems(recipe, [init], for_predecessor(assignments))
            }
        model = owners.setdefault(_key(settings, UP_TO_TRAINING), f"{home}/model")
        embeddings = owners.setdefault(_key(settings, STAGES[:5]), f"{home}/embeddings")
        plans.append(
            Plan(
                system=name,
                files=files,
                assignments=(*chosen, *apart),
                **_shared(settings),
                begins=before[init].model if init else "-",
                model=model,
                embeddings=embeddings,
                scores=f"{home}/scores",
                first=6 if embeddings in made else 5 if model in made else 1,
            )  # fmt: skip
        )
        made |= {model, embeddings}
    return [*before.values(), *plans]


def _point_settings(found: Sweep, point: Point, files: Sequence[Path], assignments: Sequence[str]) -> Settings:
    try:
        settings = build(files, STAGES, [f"system.name={found.name}.{point.name}", *assignments])
        check_together(settings, str(files[0]))
    except RecipeError as error:
        raise RecipeError(f"sweep {found.name}, point {point.name}: {error}") from None
    return settings


def _names_apart(sweep_name: str, plain: Settings, varied: Settings) -> Iterable[str]:
    """Names for the shared outputs of a point whose settings are not those of the system that it begins with."""
    for section, setting in (("prepare", "system.data"), ("features", "features.name"), ("augment", "augment.name")):
        if _decides(plain, [section]) != _decides(varied, [section]):
            known = f"{getattr(varied[section], 'name', '')}-".removeprefix("-")
            yield f"{setting}={known}{sweep_name}-{_hash(_decides(varied, [section]))[:8]}"


def _decides(settings: Settings, sections: Iterable[str]) -> str:
    """What of these sections decides numbers; their names do not."""
    tables = {name: config.deciding(settings[name]) for name in sections}
    for table in tables.values():
        table.pop("name", None)
    return json.dumps(tables, sort_keys=True)


def _key(settings: Settings, stages: Iterable[Stage]) -> str:
    return _decides(settings, sorted({name for stage in stages for name in stage.sections}))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shared(built: Settings) -> dict[str, Any]:
    """Of a plan, the folders that systems share, and whether features are stored there."""
    augmented, features, data = built["augment"].name, built["features"].name, built["system"].data
    if built["augment"].mode != "online":  # a bank of sounds serves any features
        augmented += f"-{features}"
    of_data = f"-{data}" if data else ""
    folders = {"features": features + of_data, "augmented": augmented + of_data, "manifests": f"manifests{of_data}"}
    return folders | {"stored": built["features"].storage != "none"}


def plan_model(recipe: Path, model: Path, assignments: Sequence[str]) -> Plan:
    """The plan for a trained model that is tried on this recipe's corpus: its own settings, the recipe's corpus."""
    if not (settings := model / "settings.toml").is_file():
        advice = f"; did you mean --model {model / 'model'}?" if (model / "model" / "settings.toml").is_file() else ""
        raise RecipeError(f"--model {model}: no settings.toml there; expected the folder 'model' of a trained system{advice}")
    folder, scores = model.resolve(), model / ".." / "scores"
    check_model("--model", folder, scores.resolve())
    name = folder.parent.name if folder.name == "model" else folder.name
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise RecipeError(f"--model {model}: '{name}' would name the results; expected letters, digits, . _ + -; rename it")
    plain = PLAIN_SCORING[(model / "pair_head.json").is_file()]
    files = (recipe / "recipe.toml", settings, scores / "settings.toml" if scores.is_dir() else plain)
    stages = [module.STAGE for module in (prepare, extract, embed, score)]
    built = build(files, stages, [f"system.name={name}", *assignments])
    _check_rate(built, f"--model {model}")
    chosen = tuple(assignments)
    if hasattr(built["prepare"], "split"):  # nothing is trained
        chosen = ("prepare.split=test", *chosen)
        build(files, stages, [f"system.name={name}", *chosen])
    return Plan(
        system=name, files=files, assignments=chosen, features=built["features"].name, augmented="-", model=str(folder),
        embeddings=f"{name}/embeddings", manifests="manifests", backend=str(scores) if scores.is_dir() else "-",
        scores=f"{name}/scores", stored=built["features"].storage != "none",
    )  # fmt: skip


def joined_lines(recipe: Path, assignments: Sequence[str]) -> list[str]:
    """The lines about what joins systems: fusion*.toml and align*.toml of the recipe."""
    taken = set(systems_of(recipe, "all"))
    lines = []
    for kind, stage, section in (("fusion", fuse.STAGE, "fuse"), ("align", align.STAGE, "align")):
        for file in sorted(recipe.glob(f"{kind}*.toml")):
            built = build([file], [stage], assignments)[section]
            if built.name in taken:
                raise RecipeError(
                    f"{file}: {section}.name = {built.name!r} is that of a system, or of another file; choose another"
                )
            taken.add(built.name)
            if kind == "fusion":
                parts = [f"{system}/scores" for system in built.systems]
            else:
                by_name = {plan.system: plan for plan in plan_systems(recipe, [built.old, built.new], assignments)}
                parts = [by_name[system].embeddings for system in (built.old, built.new)]
            lines.append(_line(kind, built.name, _arguments([file], assignments), " ".join(parts)))
    return lines


def sweep_line(recipe: Path, found: Sweep, file: Path, plans: Sequence[Plan], assignments: Sequence[str]) -> str:
    """The line about a sweep as a whole."""
    arguments = _arguments([recipe / "recipe.toml"], [f"sweep.file={file}", *assignments])
    points = [plan for plan in plans if plan.last == 8]
    models = " ".join(plan.model for plan in points) if found.curves else ""
    return _line("sweep", found.name, arguments, " ".join(plan.scores for plan in points), models)


def build(files: Sequence[Path], stages: Sequence[Stage], assignments: Sequence[str]) -> Settings:
    """The settings of all sections of these stages. Raises RecipeError also for a section that no stage reads."""
    layers = config.load_layers(config.with_site(files), assignments)
    known = {name for stage in EVERY_STAGE for name in stage.sections} | {"site", "recipe"}
    for section in sorted(layers.tables.keys() - known):
        raise RecipeError(f"{files[-1]}: section [{section}] is read by no stage")
    faults, built = Faults("settings"), {}
    for stage in stages:
        for name, kind in stage.sections.items():
            with faults.collected():
                built[name] = config.build(name, kind, layers)
    faults.check()
    return built


def _arguments(files: Iterable[Path], assignments: Iterable[str]) -> str:
    words = [word for file in files for word in ("--config", str(file))]
    words += [word for each in assignments for word in ("--set", each)]
    for word in words:
        _refuse_controls(word, JOINED)
    return JOINED.join(words)


def _line(*columns: str) -> str:
    """The columns of a line for run.sh."""
    for column in columns:
        _refuse_controls(column, "\t\n\r")
    return "\t".join(columns)


def _refuse_controls(text: str, which: str) -> None:
    """Raise a RecipeError for a text that run.sh would take for several, or whose bytes are no UTF-8."""
    wrong = {each for each in text if each in which or "\ud800" <= each <= "\udfff"}
    if wrong:
        shown = text if JOINED in wrong else next(part for part in text.split(JOINED) if wrong & {*part})
        raise RecipeError(
            f"{shown!r}: expected no tab, line break or other control character in a setting or a folder given to run.sh, and "
            "UTF-8; rename the folder, or write the setting into the system's TOML file"
        )


def lines(recipe: Path, *, system: str, sweep_file: Path | None, model: Path | None, assignments: Sequence[str]) -> list[str]:
    """All lines for run.sh."""
    default = systems_of(recipe, "" if sweep_file or model else system)
    if model is not None:
        return [plan_model(recipe, model, assignments).line()]
    build([recipe / "recipe.toml"], [report.STAGE], [f"report.recipe={recipe.name}", *assignments])
    if sweep_file is not None:
        found = read_sweep(sweep_file)
        plans = plan_sweep(recipe, found, assignments)
        return [*(plan.line() for plan in plans), sweep_line(recipe, found, sweep_file, plans, assignments)]
    return [*(plan.line() for plan in plan_systems(recipe, default, assignments)), *joined_lines(recipe, assignments)]


def main() -> None:
    """Print the lines, or one message and exit with status 2."""
    parser = argparse.ArgumentParser(prog="python -m steps.check", allow_abbrev=False)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--system", default="")
    parser.add_argument("--sweep", type=Path, default=None)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--launcher", default="local")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    log = configure("check")
    with reported(log):
        read_launcher(options.launcher)
        found = lines(
            options.recipe, system=options.system, sweep_file=options.sweep, model=options.model, assignments=options.assignments
        )
    print("\n".join(found))


if __name__ == "__main__":
    main()
