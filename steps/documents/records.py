"""The records that documents are made of: result.json, sweep.json and alignment.json, and the log.jsonl of models."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError
from steps.core.files import read_json, write_json
from steps.tables.results import repeat_command
from steps.tables.sweep import check_sweep

NAME = re.compile(r"\w[\w.+-]*")  # what may name a recipe, a system or a sweep, and so a file
_RECORD_KEYS = (
    "recipe", "system", "backend", "num_parameters", "train_seconds", "trials", "fingerprint", "commit", "dirty",
    "command", "seconds", "date",
)  # fmt: skip
_FIGURE_KEYS = (
    "num_target", "num_nontarget", "num_missing", "eer", "eer_ci95", "min_dcf", "act_dcf", "cllr", "min_cllr",
)  # fmt: skip

_ALIGNMENT_KEYS = (
    "recipe", "name", "old", "new", "train_set", "far", "replicates", "dims", "num_train", "num_train_speakers", "profiles",
    "figures", "command", "commit", "dirty", "date",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Records:
    """Everything that a document is made of, but for what the recipe itself says."""

    systems: Sequence[Mapping[str, Any]]  # result.json, one a system or fusion
    sweeps: Sequence[Mapping[str, Any]] = ()  # sweep.json
    alignments: Sequence[Mapping[str, Any]] = ()  # alignment.json


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
    if not NAME.fullmatch(record["system"]):
        raise RecipeError(f"{path}: {record['system']!r} is no name for a system; expected letters, digits, . _ + -")
    return record


def read_sweep_record(path: Path, recipe: str) -> dict[str, Any]:
    """Return a sweep.json of a recipe.

    Raises:
        RecipeError: missing, no JSON, no sweep, another recipe's, or with a name that is none.
    """
    sweep = read_json(path)
    try:
        check_sweep(sweep)
    except ValueError as error:
        raise RecipeError(f"{path}: {error}; run the sweep again (./run.sh --sweep)") from None
    if sweep["recipe"] != recipe or not NAME.fullmatch(sweep["name"]):
        raise RecipeError(f"{path}: is the sweep '{sweep['name']}' of the recipe '{sweep['recipe']}'; expected one of '{recipe}'")
    return sweep


def read_alignment(path: Path, recipe: str) -> dict[str, Any]:
    """Return an alignment.json of a recipe.

    Raises:
        RecipeError: missing, no JSON, without what its tables need, another recipe's, or with a name that is none.
    """
    record = read_json(path)
    missing = [key for key in _ALIGNMENT_KEYS if key not in record]
    if missing:
        raise RecipeError(f"{path}: no value for {', '.join(missing[:5])}; run stage 7 (align) again")
    if record["recipe"] != recipe or not NAME.fullmatch(record["name"]):
        raise RecipeError(
            f"{path}: is the alignment '{record['name']}' of the recipe '{record['recipe']}'; expected one of '{recipe}'"
        )
    return record


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


def folders_by_system(folders: Sequence[Path], recipe: str) -> dict[str, Path]:
    """Return system -> folder of its scores.

    Raises:
        RecipeError: no folder, another recipe's, or two of one system.
    """
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


def committed(home: Path) -> Records:
    """Return what lies in results/ of a recipe's folder.

    Raises:
        RecipeError: a record is damaged, or lies under another name than its own.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, (folder, key, read) in _KINDS.items():
        found[kind] = []
        for path in sorted((home / "results" / folder).glob("*.json")):
            record = read(path, home.name)
            if (record["recipe"], record[key]) != (home.name, path.stem):
                raise RecipeError(
                    f"{path}: is the record of {key} '{record[key]}' of the recipe '{record['recipe']}'; expected "
                    f"'{path.stem}' of '{home.name}'; remove it and publish again"
                )
            found[kind].append(record)
    return Records(**found)


def commit(home: Path, records: Records) -> None:
    """Write records below results/ of a recipe's folder, each under its name.

    The names of machines stay outside, and so do the curves of tasks, which are drawn in report.html and in no table.
    """
    for kind, (folder, key, _) in _KINDS.items():
        for record in getattr(records, kind):
            path = home / "results" / folder / f"{record[key]}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            public = {"machine": record.get("machine", "").partition(", ")[2]}
            if kind == "systems":
                public["command"] = repeat_command(record)
            if kind == "alignments":
                public["command"] = repeat_command({**record, "system": f"{record['old']},{record['new']}"})
            if record.get("tasks"):
                public["tasks"] = _without_curves(record["tasks"])
            write_json(path, {**record, **public})


def _without_curves(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_curves(each) for key, each in value.items() if key not in ("cmc", "curve")}
    return [_without_curves(each) for each in value] if isinstance(value, list) else value


# kind -> folder below results/, the key that names a record, how it is read
_KINDS: dict[str, tuple[str, str, Callable[[Path, str], dict[str, Any]]]] = {
    "systems": ("", "system", lambda path, _: read_record(path)),
    "sweeps": ("sweeps", "name", read_sweep_record),
    "alignments": ("alignments", "name", read_alignment),
}
