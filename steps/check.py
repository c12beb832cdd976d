"""Check a recipe's systems against every stage before the first one starts; no stage itself.

`python -m steps.check --recipe NAME [--system A,B] [--set ...]` prints one line per system, for run.sh to loop over: names of
folders and systems with tabs between them, `<system> <features> <augmented> <system whose network it uses> <system that it
begins with> <last stage> <manifests>`, and one about the fusion, if the recipe has one. A system that another one begins with
comes before it; if it was not asked for, its last stage is 4.
A typing error in the settings of stage 6 is thus found before stage 4 has trained for a day.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from steps import augment, embed, extract, fuse, prepare, report, score, train
from steps.core import config
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.log import configure
from steps.core.stage import Stage

STAGES = [module.STAGE for module in (prepare, extract, augment, train, embed, score)]
# For a model without the scores of its own corpus beside it; the second one if it is siamese.
PLAIN_SCORING = (Path("conf/score/cosine.toml"), Path("conf/score/siamese.toml"))
ANY_TRAINING = ("train.device=", "train.threads=", "train.workers=", "train.precision=", "train.checkpoint_seconds=")
EVERY_STAGE = [*STAGES, fuse.STAGE, report.STAGE]


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


def check_systems(recipe: Path, systems: list[str], assignments: list[str]) -> list[str]:
    """The lines that run.sh needs for these systems and those they begin with.

    Raises RecipeError for any wrong setting of any stage, and for systems that begin with each other.
    """
    built, order = {}, []

    def visit(system: str, chain: tuple[str, ...]) -> None:
        if system in chain:
            raise RecipeError(f"{recipe / system}.toml: train.init goes in a circle: {' -> '.join((*chain, system))}")
        if system in order:
            return
        chosen = assignments if system in systems else for_predecessor(assignments)
        built[system] = _build([recipe / f"{system}.toml"], STAGES, [f"system.name={system}", *chosen])
        if built[system]["train"].init:
            visit(built[system]["train"].init, (*chain, system))
        order.append(system)

    for system in systems:
        visit(system, ())
    return [_line(system, built, "8" if system in systems else "4") for system in order]


def for_predecessor(assignments: list[str]) -> list[str]:
    """The `--set` of the command line that also hold for a system that is only trained for another one to begin with.

    What is said of network, head and training is said of the system that was asked for; how a machine trains holds for both.
    """
    return [each for each in assignments if not re.match(r"(train|model|head)\.", each) or each.startswith(ANY_TRAINING)]


def _line(system: str, all_built: dict[str, dict[str, Any]], last_stage: str) -> str:
    built = all_built[system]
    augmented, features, names = built["augment"].name, built["features"].name, built["system"]
    if built["augment"].mode != "online":  # a bank of sounds serves any features
        augmented += f"-{features}"
    of_data = f"-{names.data}" if names.data else ""
    init = built["train"].init
    begins_with = all_built[init]["system"].model or init if init else "-"
    folders = (features + of_data, augmented + of_data, names.model or system, begins_with)
    return "\t".join((system, *folders, last_stage, f"manifests{of_data}", ""))


def check_model(recipe: Path, model: Path, assignments: list[str]) -> str:
    """The line for a trained model that is tried on this recipe's corpus: its own settings, the recipe's corpus."""
    settings = model / "settings.toml"
    if not settings.is_file():
        raise RecipeError(f"--model {model}: no settings.toml there; expected the folder 'model' of a trained system")
    folder, scores = model.resolve(), model / ".." / "scores"
    name = folder.parent.name if folder.name == "model" else folder.name
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise RecipeError(f"--model {model}: '{name}' would name the results; expected letters, digits, . _ + -; rename it")
    plain = PLAIN_SCORING[(model / "pair_head.json").is_file()]
    files = [recipe / "recipe.toml", settings, scores / "settings.toml" if scores.is_dir() else plain]
    stages = [module.STAGE for module in (prepare, extract, embed, score)]
    built = _build(files, stages, [f"system.name={name}", *assignments])
    return "\t".join((name, built["features"].name, "-", name, "-", "8", "manifests", ""))


def check_fusion(recipe: Path, assignments: list[str]) -> str:
    """The line about the recipe's fusion: its name, and the systems that it needs."""
    built = _build([recipe / "fusion.toml"], [fuse.STAGE], assignments)["fuse"]
    return "\t".join((built.name, "-", "-", "-", "-", "-", "-", " ".join(built.systems)))


def _build(files: list[Path], stages: list[Stage], assignments: list[str]) -> dict[str, Any]:
    """The settings of all sections of these stages. Raises RecipeError also for a section that no stage reads."""
    layers = config.load_layers(config.with_site(files), assignments)
    known = {name for stage in EVERY_STAGE for name in stage.sections} | {"site", "recipe"}
    for section in sorted(layers.tables.keys() - known):
        raise RecipeError(f"{files[-1]}: section [{section}] is read by no stage")
    return {name: config.build(name, kind, layers) for stage in stages for name, kind in stage.sections.items()}


def main() -> None:
    """Print the lines, or one message and exit with status 2."""
    parser = argparse.ArgumentParser(prog="python -m steps.check", allow_abbrev=False)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--system", default="")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    log = configure("check")
    recipe: Path = options.recipe
    try:
        if options.model is not None:
            systems_of(recipe, "")
            lines = [check_model(recipe, options.model, options.assignments)]
        else:
            lines = check_systems(recipe, systems_of(recipe, options.system), options.assignments)
            _build([recipe / "recipe.toml"], [report.STAGE], [f"report.recipe={recipe.name}", *options.assignments])
            if (recipe / "fusion.toml").is_file():
                lines.append(check_fusion(recipe, options.assignments))
    except RecipeError as error:
        log.error("error: %s", error)
        sys.exit(EXIT_USER)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
