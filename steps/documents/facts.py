"""What recipe.toml and paper.toml of a recipe say to its documents."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError
from steps.tables.results import Published


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """What recipe.toml and paper.toml of a recipe say to its documents."""

    title: str = ""
    systems: tuple[str, ...] = ()
    not_run: Mapping[str, str]  # system -> why
    published: tuple[Published, ...] = ()
    reference: str = ""  # the system that the others are compared with; empty: none


def read_facts(home: Path) -> RecipeFacts:
    """Return what recipe.toml ([recipe] systems, default, not_run; [report] title, reference) and paper.toml ([[published]]) say;
    both may lack. Without a reference it is the first of the recipe's default systems.

    Raises:
        RecipeError: not TOML, a wrong type, or an unknown key of a published figure.
    """
    path = home / "recipe.toml"
    tables = read_toml(path)
    table, report = tables.get("recipe", {}), tables.get("report", {})
    title, reference = report.get("title", ""), report.get("reference", "") or table.get("default", "").partition(",")[0]
    systems, not_run = table.get("systems", []), table.get("not_run", {})
    if not (_all_text([title, reference], list) and _all_text(systems, list) and _all_text(not_run, dict)):
        raise RecipeError(
            f"{path}: expected report.title and report.reference = text and, in [recipe], default = name, systems = [names], "
            "not_run = { name = reason }"
        )
    paper = home / "paper.toml"
    entries = read_toml(paper).get("published", [])
    published = tuple(_published(entry, f"{paper}: published figure {i}") for i, entry in enumerate(entries, 1))
    return RecipeFacts(title=title, systems=tuple(systems), not_run=not_run, published=published, reference=reference)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, none where there is no such file.

    Raises:
        RecipeError: not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None


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


def _all_text(values: Any, kind: type) -> bool:
    each = values.values() if isinstance(values, dict) else values
    return isinstance(values, kind) and all(isinstance(value, str) for value in each)
