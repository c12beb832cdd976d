"""Arks that were made in pieces become sets."""

from collections.abc import Mapping
from pathlib import Path

from steps.core.stage import place
from steps.data.archive import FEATS_SCP, merge_scp


def merge_shards(units: Mapping[str, Path], out: Path, name: str = FEATS_SCP) -> dict[str, list[Path]]:
    """Put the arks of units called `<set>.<shard>` into `out/<set>/`, each set with one scp; the units' folders by set.

    Raises:
        RecipeError: an id is there twice.
    """
    folders: dict[str, list[Path]] = {}
    for unit, folder in units.items():
        folders.setdefault(unit.rpartition(".")[0], []).append(folder)
    for set_name, parts in folders.items():
        for ark in (ark for part in parts for ark in part.glob("*.ark")):
            place(ark, out / set_name / ark.name)
        merge_scp(parts, out / set_name, name=name)
    return folders
