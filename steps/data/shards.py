"""What was made in pieces becomes sets."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from steps.core.files import atomic_write, place
from steps.data.archive import FEATS_SCP, lines_by_ark, merge_scp, write_scp


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


def recover_shard(
    unit: str, old: Path, wrong: Collection[str], out: Path, *, ark: str, name: str = FEATS_SCP
) -> list[str] | None:
    """Put the ark and the scp of a unit `<set>.<shard>` into `out`, from what `merge_shards` made of it once; return its ids.

    Args:
        unit: its name.
        old: the finished output.
        wrong: names of its files that are damaged.
        out: the folder of the unit.
        ark: begin of the name of arks, such as "feats".
        name: of the scp.

    Returns:
        None where a file that is needed is damaged, and nothing was done.
    """
    set_name, _, shard = unit.rpartition(".")
    ark_name = f"{ark}.{shard}.ark"
    needed = [f"{set_name}/{ark_name}", f"{set_name}/{name}"]
    if any(each in wrong or not (old / each).is_file() for each in needed):
        return None
    place(old / needed[0], out / ark_name)
    lines = _lines_by_ark(old / needed[1])[ark_name]
    write_scp(out, lines, name=name)
    return [line.split(None, 1)[0] for line in lines]


# All units of a set are looked at one after the other.
_lines_by_ark = lru_cache(maxsize=2)(lines_by_ark)


def recover_lines(path: Path, ids: Collection[str], out: Path) -> None:
    """Write the lines `<id> ...` of a file that are of some ids, under its name, if it is there."""
    if path.is_file():
        kept, wanted = path.read_text(encoding="utf-8").splitlines(keepends=True), set(ids)
        with atomic_write(out / path.name) as file:
            file.writelines(line for line in kept if line.split(None, 1)[0] in wanted)
