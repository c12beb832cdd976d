"""Launchers by name: "local", or conf/launch/<name>.toml. `type` says which function runs the parts and which settings it has."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from steps.core import config
from steps.core.errors import RecipeError
from steps.core.launch import Local, launch_local
from steps.core.slurm import Resources, Slurm
from steps.core.slurm_array import launch_slurm

FOLDER = Path("conf/launch")
SETTINGS = {"local": Local, "slurm": Slurm}
LAUNCHERS: dict[str, Callable[..., None]] = {"local": launch_local, "slurm": launch_slurm}


def read_launcher(name: str) -> Local | Slurm:
    """The settings of a launcher. Raises RecipeError if there is none of this name, or for a wrong setting."""
    file = FOLDER / f"{name}.toml"
    if not re.fullmatch(r"\w[\w.+-]*", name) or not (file.is_file() or name == "local"):
        known = sorted({"local", *(path.stem for path in FOLDER.glob("*.toml"))})
        raise RecipeError(f"--launcher {name}: there is no {file}; there are: {', '.join(known)}")
    layers = config.load_layers([file] if file.is_file() else [])
    strange = sorted(layers.tables.keys() - {"launch"})
    if strange:
        raise RecipeError(f"{file}: section [{strange[0]}] does not belong here; expected [launch] and its tables")
    table = layers.tables.setdefault("launch", {"type": "local"})
    kinds = [each.name for each in fields(Slurm) if each.type is Resources] if table.get("type") == "slurm" else []
    resources = {kind: _resources(layers, kind) for kind in kinds if kind in table}
    for kind in resources:
        del table[kind]
    return replace(config.build("launch", SETTINGS, layers), **resources)


def _resources(layers: config.Layers, kind: str) -> Any:
    """A table within [launch], checked like a section of its own."""
    table, origin, section = layers.tables["launch"][kind], layers.origin["launch", kind], f"launch.{kind}"
    if not isinstance(table, dict):
        raise RecipeError(f"{origin}: launch.{kind} = {table!r}; expected a table [launch.{kind}]")
    inner = config.Layers()
    inner.tables[section] = table
    inner.origin = {(section, key): origin for key in table}
    return config.build(section, Resources, inner)
