"""What was made in pieces becomes sets."""

from collections.abc import Mapping
from pathlib import Path

from steps.core.files import atomic_write, place
from steps.data.archive import FEATS_SCP, merge_scp


def merge_shards(units: Mapping[str, Path], out: Path, name: str = FEATS_SCP) -> dict[str, list[Path]]:
    """Put the arks of units called `<set>.<shard>` into `out/<set>/`, each set with one scp; the units' folders by set.

    Raises:
        RecipeError: an id is there twice.
    """
    folders = _by_set(units)
    for set_name, parts in folders.items():
        for ark in (ark for part in parts for ark in part.glob("*.ark")):
            place(ark, out / set_name / ark.name)
        merge_scp(parts, out / set_name, name=name)
    return folders


def _by_set(units: Mapping[str, Path]) -> dict[str, list[Path]]:
    folders: dict[str, list[Path]] = {}
    for unit, folder in units.items():
        folders.setdefault(unit.rpartition(".")[0], []).append(folder)
    return folders


def merge_lines(units: Mapping[str, Path], out: Path, name: str) -> None:
    """Write the lines of the files `name` of units called `<set>.<shard>`, in their order, into `out/<set>/<name>`."""
    folders = _by_set(units)
    for set_name, parts in folders.items():
        (out / set_name).mkdir(parents=True, exist_ok=True)
        with atomic_write(out / set_name / name) as file:
            for part in parts:
                file.write((part / name).read_text(encoding="utf-8"))
