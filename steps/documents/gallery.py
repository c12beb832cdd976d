"""Which pictures a recipe's RESULTS.md shows, and where they come from: those of a report, those of embeddings from stage 6.

A picture is known by the name of its file without the suffix: `<kind>` or `<kind>.<of what>`.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from steps.core.files import atomic_write
from steps.documents.records import Records
from steps.tables.sweep import merged, shown_lists

FOLDER = "figures"  # of a report's output, and of a recipe's results/
OF_EMBEDDINGS = ("pca", "tsne", "dendrogram", "dendrogram_hard")
_OF_ALL = ("forest", "few_shot", "cmc", "open_set")  # pictures of all systems together
_MAX_LISTS = 3  # of a sweep that has a picture a list


def take_over(folders: Mapping[str, Path], figures: Path) -> dict[str, list[str]]:
    """Copy the pictures of embeddings that stage 6 made into a report's figures, and return system -> SVG texts.

    Args:
        folders: system -> folder of its scores.
        figures: folder of pictures to add to.
    """
    from steps.plots.figure import inline_element

    found: dict[str, list[str]] = {}
    for system, folder in folders.items():
        for kind in OF_EMBEDDINGS:
            for path in sorted((folder / "plots").glob(f"{kind}.*.svg")):
                of_what = path.stem.removeprefix(f"{kind}.")
                name = f"{kind}.{system}" + (f".{of_what}" if of_what != system else "")
                for suffix in (".svg", ".png"):
                    shutil.copyfile(path.with_suffix(suffix), figures / f"{name}{suffix}")
                element = inline_element(path.read_text(encoding="utf-8"), name, f"{kind} of {of_what}")
                found.setdefault(system, []).append(element)
    return found


def shown(names: Iterable[str], records: Records, systems: Sequence[str]) -> list[str]:
    """Return the pictures, of those there are, that RESULTS.md shows: of all systems, of sweeps, of some systems' embeddings.

    Args:
        names: of all pictures.
        records: of which sweeps these are.
        systems: whose embeddings are shown.
    """
    wanted = {*_OF_ALL, *(f"hours.{sweep['name']}" for sweep in records.sweeps)}
    for sweep in records.sweeps:
        lists = shown_lists(merged(sweep))[:_MAX_LISTS]
        wanted |= {f"sweep.{sweep['name']}", *(f"sweep.{sweep['name']}.{name}" for name in lists)}
    of_systems = tuple(f"{kind}.{system}" for kind in OF_EMBEDDINGS for system in systems)
    return sorted(
        name for name in names if name in wanted or any(name == each or name.startswith(f"{each}.") for each in of_systems)
    )


def publish(figures: Path, names: Iterable[str], home: Path) -> None:
    """Copy pictures of a report into a recipe's results/, as SVG."""
    folder = home / "results" / FOLDER
    for name in names:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / f"{name}.svg") as file:
            file.write((figures / f"{name}.svg").read_text(encoding="utf-8"))


def paths_of(folder: Path, beside: Path) -> dict[str, str]:
    """Return name -> path of the SVG pictures of a folder, relative to the folder of the document that shows them."""
    return {path.stem: path.relative_to(beside).as_posix() for path in sorted(folder.glob("*.svg"))}
