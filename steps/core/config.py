"""Settings: TOML files into frozen dataclasses, strictly.

Layers, later wins: the files named in `base = [...]` (relative to the file that names them, themselves allowed
a base), the file, `--set section.key=value`. A table merges key by key, but one that names another `type`
starts afresh. There is no interpolation and no object construction. A section's class is fixed, or chosen by its key `type`.
"""

import dataclasses
import difflib
import json
import math
import re
import shlex
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError, together

# Every section that a system's file may hold; a stage reads some and ignores the rest.
SECTIONS = (
    "recipe", "site", "system", "prepare", "features", "augment", "specaugment", "model", "head", "train", "embed",
    "score", "tasks", "fuse", "align", "sweep", "report", "launch", "transcode",
)  # fmt: skip

SITE_FILE = Path("conf/site.toml")  # of this machine, not of the repository

Section = type | Mapping[str, type]  # a dataclass, or dataclasses by the value of the key `type`


@dataclasses.dataclass(frozen=True)
class IfGiven:
    """A section that a stage only looks at where it is given; None otherwise. `Stage.narrow` keeps it out of the plan."""

    kind: Section


def field(default: Any = dataclasses.MISSING, *, decides: bool = True) -> Any:
    """A settings field; `decides=False` marks one that changes no number and stays out of the fingerprint."""
    return dataclasses.field(default=default, metadata={"decides": decides})


class Layers:
    """Merged tables of settings which remember the file or option that set each key."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {}
        self.origin: dict[tuple[str, str], str] = {}

    def merge(self, tables: Mapping[str, Any], origin: str) -> None:
        """Lay `tables` over what is there. Raises RecipeError for an unknown section."""
        for section, table in tables.items():
            if section not in SECTIONS:
                raise RecipeError(f"{origin}: unknown section [{section}]{_nearest(section, SECTIONS)}")
            if not isinstance(table, dict):
                raise RecipeError(f"{origin}: '{section}' must be a section [{section}], found {table!r}")
            known = self.tables.setdefault(section, {})
            if "type" in table and known.get("type", table["type"]) != table["type"]:
                known.clear()
            for key, value in table.items():
                known[key] = value
                self.origin[section, key] = origin


def load_layers(files: Sequence[Path], assignments: Sequence[str] = ()) -> Layers:
    """The merged settings of `files` (later wins) and of `section.key=value` assignments, not yet checked."""
    layers = Layers()
    for file in files:
        _merge_file(layers, file, ())
    wrong = []
    for assignment in assignments:
        try:
            section, key, value = _parse_assignment(assignment)
            layers.merge({section: {key: value}}, f"--set {assignment}")
        except RecipeError as error:
            wrong.append(error)
    if wrong:
        raise RecipeError(together("settings", wrong))
    return layers


def _merge_file(layers: Layers, file: Path, above: tuple[Path, ...]) -> None:
    if file.resolve() in [each.resolve() for each in above]:
        raise RecipeError(f"{file}: is its own base, by way of {' -> '.join(map(str, above))}")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        by = f" (named as base in {above[-1]})" if above else ""
        raise RecipeError(f"{file}: no such settings file{by}{_neighbours(file)}") from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number of thousands of digits, nested without end
        raise RecipeError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read ({error.strerror})") from None
    bases = table.pop("base", [])
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise RecipeError(f"{file}: base must be an array of file names, found {bases!r}")
    for base in bases:
        _merge_file(layers, Path(*(file.parent / base).parts), (*above, file))
    layers.merge(table, str(file))


def _neighbours(file: Path) -> str:
    known = sorted(path.stem for path in file.parent.glob("*.toml")) if file.parent.is_dir() else []
    return f"; there are: {', '.join(known)}" if known else ""


def _parse_assignment(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and section and key):
        raise RecipeError(f"--set {text}: expected section.key=value, as in --set train.epochs=5")
    try:
        return section, key, tomllib.loads(f"value = {value.strip()}")["value"]
    except (ValueError, RecursionError):
        return section, key, value.strip()  # a bare word is a string: --set score.backend=plda


def assignment_text(name: str, value: Any) -> str:
    """Return `section.key=value` as `--set` reads it."""
    return f"{name}={_toml_value(value)}"


def option(name: str, value: Any) -> str:
    """Return `--set section.key=value` as it is typed in a shell."""
    is_plain = isinstance(value, str) and _parse_assignment(f"{name}={value}")[2] == value
    return f"--set {shlex.quote(f'{name}={value}' if is_plain else assignment_text(name, value))}"


def build(section: str, kind: Section, layers: Layers) -> Any:
    """The dataclass instance of one section. Raises RecipeError for an unknown key, wrong type or missing value."""
    table = dict(layers.tables.get(section, {}))
    if isinstance(kind, IfGiven):
        return build(section, kind.kind, layers) if table else None

    def where(key: str) -> str:
        return layers.origin.get((section, key), f"[{section}]")

    if isinstance(kind, Mapping):
        if "type" not in table:
            raise RecipeError(f"[{section}]: 'type' is missing; it must be one of {', '.join(kind)}")
        chosen = table["type"]
        if not isinstance(chosen, str) or chosen not in kind:
            raise RecipeError(f"{where('type')}: {section}.type = {chosen!r}; expected {_choices(chosen, kind)}")
        kind = kind[chosen]
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    wrong = []
    for key, value in table.items():
        try:
            if key not in fields:
                raise RecipeError(f"{where(key)}: unknown setting {section}.{key}{_nearest(key, fields)}")
            table[key] = _convert(value, hints[key], f"{where(key)}: {section}.{key}")
        except RecipeError as error:
            wrong.append(error)
    if wrong:
        raise RecipeError(together(f"[{section}]", wrong))
    missing = [f.name for f in fields.values() if f.name not in table and _has_no_default(f)]
    if missing:
        raise RecipeError(f"[{section}]: no value for {', '.join(missing)}; set it in the system's file or with --set")
    try:
        return kind(**table)
    except ValueError as error:
        origins = ", ".join(sorted({where(key) for key in table})) or "defaults"
        raise RecipeError(f"[{section}] ({origins}): {error}{_meant(str(error))}") from None


def _has_no_default(f: dataclasses.Field) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotated type; an int is taken for a float, an array for a tuple, nothing else is converted."""
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{where} = {value!r}; expected a finite number")
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for kind in typing.get_args(hint):
            try:
                return _convert(value, kind, where)
            except RecipeError:
                continue
    elif origin is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, list | tuple):
            return tuple(_convert(each, item, where) for each in value)
    elif origin is dict:
        item = typing.get_args(hint)[1]
        if isinstance(value, dict):
            return {str(key): _convert(each, item, where) for key, each in value.items()}
    elif origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
        raise RecipeError(f"{where} = {value!r}; expected {_choices(value, typing.get_args(hint))}")
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif hint is int and isinstance(value, bool):
        pass
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    name = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    if origin is tuple and isinstance(value, str | int | float):
        name = f"a list ({name}), as in {option(where.rpartition(' ')[2], [value])}"
    raise RecipeError(f"{where} = {value!r} has type {type(value).__name__}; expected {name}")


def load_settings(
    sections: Mapping[str, Section], files_: Sequence[Path], assignments: Sequence[str]
) -> tuple[types.SimpleNamespace, dict[str, str]]:
    """The settings of the named sections, and the folders of [site]."""
    layers = load_layers(with_site(files_), assignments)
    settings = types.SimpleNamespace(**{name: build(name, kind, layers) for name, kind in sections.items()})
    return settings, site_roots(layers)


def with_site(files_: Sequence[Path]) -> list[Path]:
    """The settings files, and then conf/site.toml if there is one: what is said of this machine outweighs a recipe."""
    return [*files_, *([SITE_FILE] if SITE_FILE.is_file() else [])]


def site_roots(layers: Layers) -> dict[str, str]:
    """Root name -> folder. A relative folder is relative to that of the corpus, so that a recipe can say "../noise"."""
    site = dict(layers.tables.get("site", {}))
    for name, folder in site.items():
        if not isinstance(folder, str):
            raise RecipeError(f"{layers.origin['site', name]}: site.{name} = {folder!r}; expected the path of a folder")
    corpus = site.get("corpus")
    return {name: str(Path(corpus) / folder) if corpus and name != "corpus" else folder for name, folder in site.items()}


def deciding(settings: Any) -> dict[str, Any]:
    """The fields of a settings object (None: it has none) that decide numbers, as plain values for hashing and for TOML."""
    fields = dataclasses.fields(settings) if settings is not None else ()
    return {f.name: _plain(getattr(settings, f.name)) for f in fields if f.metadata.get("decides", True)}


def defaults(settings: Any) -> dict[str, Any]:
    """The deciding fields of a settings object that have a default, with that default, as plain values."""
    return {
        f.name: _plain(f.default)
        for f in (dataclasses.fields(settings) if settings is not None else ())
        if f.metadata.get("decides", True) and f.default is not dataclasses.MISSING
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML text of plain sections (strings, numbers, booleans, arrays, string tables), readable by `load_layers`."""
    lines = []
    for section, table in sections.items():
        lines += [f"[{section}]", *(f"{key} = {_toml_value(value)}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does, and DEL too
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml_value(str(key))} = {_toml_value(each)}" for key, each in value.items()) + "}"
    return "[" + ", ".join(_toml_value(each) for each in value) + "]"


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"


def _meant(message: str) -> str:
    """Return which of the words that a message lists as allowed looks most like the one that it says was found."""
    listed = re.search(r"expected (?:one|some) of (.*),? found \W*([\w.+-]+)", message, re.DOTALL)
    close = difflib.get_close_matches(listed[2], re.findall(r"[\w.+-]+", listed[1]), n=1, cutoff=0.5) if listed else []
    return f"; did you mean {close[0]}?" if close else ""


def _choices(found: Any, known: Any) -> str:
    """Return "one of ..." with those that look most like what was found first, and which of them was probably meant."""
    names = [str(each) for each in known]
    close = difflib.get_close_matches(str(found), names, n=3, cutoff=0.5)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"one of {', '.join([*close, *(name for name in names if name not in close)])}{meant}"
