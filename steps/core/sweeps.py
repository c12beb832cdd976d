"""Sweeps: a TOML file that says which settings vary, and the points that come of it.

[sweep]
title = "Segment length"            # of its table
system = "bilstm_combined"          # what every point begins with, unless an axis says it
set = { "score.replicates" = 200 }  # settings of every point, and config = [files]
combine = "grid"                    # every value with every other; "list": the axes run side by side
repeats = "seed"                    # the axis whose values are repeats, of which the mean is shown
curves = true                       # draw the EER of held-out speakers against the hours learnt from

[[axis]]
name = "segment, s"
setting = "embed.window"            # one setting, or an array of some that are alike, and their values
values = [0.4, 1.0, 2.0]
scaled = { "embed.hop" = 0.5 }      # settings that are so many times the value

[[axis]]
name = "scoring"                    # or points, each with files of settings, single settings, or both
[[axis.point]]
name = "cosine"
config = ["../../../conf/score/cosine.toml"]    # relative to the sweep's file
set = { "score.norm" = "as_norm" }

[[axis]]
name = "system"
systems = ["xvector", "resnet_aam"]             # or systems of the recipe
"""

import itertools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.core.config import assignment_text, load_layers
from steps.core.errors import RecipeError

_SWEEP_KEYS = {"title", "system", "combine", "config", "set", "lists", "figures", "form", "across", "note", "repeats", "curves"}
_FORMS = ("table", "matrix")
_LISTS = "lists"  # the axis that a table may have without any setting: the trial lists
_NOT_POINTS = ("summary",)  # what else stands in the folder of a sweep


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of an axis: what it is called, and what it sets."""

    name: str
    number: float | None  # where it is one, for a plot
    system: str = ""
    files: tuple[Path, ...] = ()
    assignments: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What varies, and its values."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system of the sweep: one value of each axis."""

    name: str  # of its folder
    values: tuple[Value, ...]
    system: str  # of the recipe, that it begins with

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of settings that are laid over the system's."""
        return tuple(file for value in self.values for file in value.files)

    @property
    def assignments(self) -> tuple[str, ...]:
        """Settings that are laid over those."""
        return tuple(each for value in self.values for each in value.assignments)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep and its points, in the order of its axes, the last of which varies fastest."""

    name: str
    title: str
    axes: tuple[Axis, ...]
    points: tuple[Point, ...]
    files: tuple[Path, ...]  # settings of every point
    assignments: tuple[str, ...]
    lists: tuple[str, ...]  # the trial lists that its table shows; none: all that are no part of another
    figures: tuple[str, ...]  # the figures that it shows, as in result.json
    form: str  # "table" or "matrix"
    across: tuple[str, ...]  # of a matrix: the axes whose values are columns
    note: str  # under its table
    repeats: str  # the axis whose values are repeats, such as a seed; "" none
    curves: bool  # whether the training logs of its points are kept and drawn


def read_sweep(file: Path) -> Sweep:
    """Return the sweep of a file, which is called after it.

    Raises:
        RecipeError: missing, not TOML, an unknown key, an axis without values, two points of one name, no system, what makes no
            table (`form`, `across`, `repeats`, names of axes), or a setting that has no effect in any point.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.toml"))) if file.parent.is_dir() else ""
        raise RecipeError(f"{file}: no such sweep{f'; there are: {known}' if known else ''}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{file}: not valid TOML: {error}") from None
    sweep, axes = _checked_tables(file, tables)
    known = tuple(_axis(table, file) for table in axes)
    common = _point_value({"name": ""} | {key: sweep[key] for key in ("config", "set") if key in sweep}, f"{file}: [sweep]", file)
    points = _points(file, known, sweep.get("combine", "grid"), sweep.get("system", ""))
    _check_table(file, sweep, [axis.name for axis in known])
    _refuse_idle(file, common, known, points)
    return Sweep(
        name=file.stem, title=str(sweep.get("title", file.stem)), axes=known, points=points, files=common.files,
        assignments=common.assignments, form=sweep.get("form", "table"), note=str(sweep.get("note", "")),
        across=_texts(file, "across", sweep.get("across", [])),
        repeats=sweep.get("repeats", ""), curves=sweep.get("curves", False),
        lists=_texts(file, "lists", sweep.get("lists", [])), figures=_texts(file, "figures", sweep.get("figures", ["eer"])),
    )  # fmt: skip


def check_overrides(sweep: Sweep, assignments: Sequence[str]) -> None:
    """Refuse settings of the command line that an axis varies: all points would be alike, under different names.

    Raises:
        RecipeError: such a setting.
    """
    given = set(map(_key, assignments))
    for axis in sweep.axes:
        for value in axis.values:
            varied = set(map(_key, value.assignments))
            if value.files:
                varied |= {f"{section}.{key}" for section, table in load_layers(value.files).tables.items() for key in table}
            if both := sorted(given & varied):
                raise RecipeError(
                    f"--set {both[0]}: the axis {axis.name!r} of the sweep {sweep.name} varies it; leave it out, or change the "
                    "values of the axis"
                )


def _checked_tables(file: Path, tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """[sweep] and the axes of a sweep's file, of which nothing but the kind of table is known to be right."""
    if not re.fullmatch(r"\w[\w.+-]*", file.stem):
        raise RecipeError(f"{file}: expected a name of letters, digits, . _ + -; rename the file")
    sweep, axes = tables.get("sweep", {}), tables.get("axis", [])
    strange = sorted((tables.keys() - {"sweep", "axis"}) | (sweep.keys() - _SWEEP_KEYS if isinstance(sweep, dict) else {"sweep"}))
    if strange:
        raise RecipeError(
            f"{file}: expected [sweep] with {', '.join(sorted(_SWEEP_KEYS))}, and [[axis]]; found {', '.join(strange)}"
        )
    if not isinstance(axes, list) or not axes or not all(isinstance(axis, dict) for axis in axes):
        raise RecipeError(f"{file}: expected at least one axis, as [[axis]]; found {'no axis' if not axes else repr(axes)}")
    return sweep, axes


def _check_table(file: Path, sweep: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse what would make no table of the points, before any of them is trained."""
    if len({*names, _LISTS}) <= len(names):
        raise RecipeError(
            f"{file}: expected axes with different names, other than {_LISTS!r}, found {', '.join(map(repr, names))}"
        )
    _expect(file, "form", sweep.get("form", "table"), _FORMS)
    _expect(file, "repeats", sweep.get("repeats", ""), ("", *(names if len(names) > 1 else ())))
    if not isinstance(sweep.get("curves", False), bool):
        raise RecipeError(f"{file}: curves = {sweep['curves']!r}; expected true or false")
    for name in _texts(file, "across", sweep.get("across", [])):
        _expect(file, "across", name, [each for each in (*names, _LISTS) if each != sweep.get("repeats", "")])


def _refuse_idle(file: Path, common: Value, axes: Sequence[Axis], points: Sequence[Point]) -> None:
    """Refuse a setting that holds in no point, as in all of them another axis sets it, too: its table would say otherwise."""
    sources = ["[sweep]", *(f"the axis {axis.name!r}" for axis in axes)]
    given: dict[tuple[str, str], None] = {}  # source and setting, in order
    holding: set[tuple[str, str]] = set()
    last: dict[str, str] = {}  # setting -> who decides about it
    for point in points:
        in_effect: dict[str, str] = {}
        for source, value in zip(sources, (common, *point.values), strict=True):
            for key in map(_key, value.assignments):
                given[source, key] = None
                in_effect[key] = source
        holding |= {(source, key) for key, source in in_effect.items()}
        last |= in_effect
    for source, key in given:
        if (source, key) not in holding:
            raise RecipeError(f"{file}: {source} sets {key}, which {last[key]} sets in every point; leave one of them out")


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _axis(table: Mapping[str, Any], file: Path) -> Axis:
    name = table.get("name")
    kinds = [kind for kind in ("values", "point", "systems") if kind in table]
    needed = {"name", *kinds} | ({"setting"} if kinds == ["values"] else set())
    optional = {"scaled"} if kinds == ["values"] else set()
    if (
        not isinstance(name, str)
        or len(kinds) != 1
        or not needed <= set(table) <= needed | optional
        or not (isinstance(table[kinds[0]], list) and table[kinds[0]])
    ):
        raise RecipeError(
            f"{file}: axis {name!r}: expected a name, and setting with values = [...] (and scaled), or [[axis.point]]s, or "
            f"systems = [...], at least one; found {', '.join(f'{key} = {each!r}' for key, each in sorted(table.items()))}"
        )
    if kinds == ["systems"]:
        values = [Value(name=each, number=None, system=each) for each in _texts(file, "systems", table["systems"])]
    elif kinds == ["values"]:
        values = [_number_or_text(table, each, file) for each in table["values"]]
    else:
        values = [_point_value(each, f"{file}: axis {name!r}", file) for each in table["point"]]
    return Axis(name=name, values=tuple(values))


def _number_or_text(table: Mapping[str, Any], value: Any, file: Path) -> Value:
    """One value of an axis of settings: each of them has it, those of `scaled` so many times it."""
    settings = [table["setting"]] if isinstance(table["setting"], str) else _texts(file, "setting", table["setting"])
    scaled = table.get("scaled", {})
    is_number = _is_number(value)
    if not isinstance(scaled, dict) or not all(map(_is_number, scaled.values())) or (scaled and not is_number):
        raise RecipeError(
            f"{file}: axis {table['name']!r}: scaled: expected settings with numbers, and values that are numbers, found {scaled}"
        )
    name = f"{value:g}" if is_number else str(value)
    assignments = [assignment_text(each, value) for each in settings]
    assignments += [assignment_text(each, round(factor * value, 9)) for each, factor in scaled.items()]
    return Value(name=name, number=float(value) if is_number else None, assignments=tuple(assignments))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _point_value(table: Any, where: str, file: Path) -> Value:
    strange = sorted(set(table) - {"name", "config", "set", "system"}) if isinstance(table, dict) else ["no table"]
    if strange or not isinstance(table.get("name"), str) or not isinstance(table.get("set", {}), dict):
        wanted = (
            "config = [files] and set = {settings}"
            if where.endswith("[sweep]")
            else "points with name, config = [files] and set = {settings}"
        )
        raise RecipeError(f"{where}: expected {wanted}, found {strange or table}")
    return Value(
        name=table["name"], number=None,
        files=tuple(Path(os.path.normpath(file.parent / each)) for each in _texts(file, "config", table.get("config", []))),
        assignments=tuple(assignment_text(key, value) for key, value in table.get("set", {}).items()),
    )  # fmt: skip


def _points(file: Path, axes: Sequence[Axis], combine: str, system: str) -> tuple[Point, ...]:
    lengths = {len(axis.values) for axis in axes}
    _expect(file, "combine", combine, ("grid", "list"))
    if combine == "list" and len(lengths) > 1:
        raise RecipeError(f"{file}: axes that run side by side need as many values each, found {sorted(lengths)}")
    rows = (
        zip(*(axis.values for axis in axes), strict=True) if combine == "list" else itertools.product(*(a.values for a in axes))
    )
    points: dict[str, Point] = {}
    for values in rows:
        name = "-".join(re.sub(r"[^\w.+]+", "_", value.name) for value in values)
        chosen = [value.system for value in values if value.system] or [system]
        if len(chosen) > 1 or not isinstance(chosen[0], str) or not chosen[0]:
            raise RecipeError(f"{file}: expected one system a point, by sweep.system or one axis, found {chosen}")
        if not re.fullmatch(r"\w[\w.+-]*", name) or name in _NOT_POINTS:
            raise RecipeError(
                f"{file}: a point is called {name!r}, which names no folder: expected letters, digits, . _ + -, and not "
                f"{' or '.join(_NOT_POINTS)}; give the value another name, as an [[axis.point]]"
            )
        if name in points:
            raise RecipeError(f"{file}: two points are called '{name}'; give their values different names")
        points[name] = Point(name=name, values=values, system=chosen[0])
    return tuple(points.values())


def _texts(file: Path, name: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise RecipeError(f"{file}: {name}: expected an array of texts, found {found!r}")
    return tuple(found)


def _expect(file: Path, name: str, found: Any, choices: Sequence[str]) -> None:
    if found not in choices:
        raise RecipeError(f"{file}: {name} = {found!r}; expected one of {', '.join(map(repr, choices))}")
