"""Who the speakers of VoxCeleb are: vox1_meta.csv and vox2_meta.csv."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from local.listing.contradictions import Values
from local.listing.files import read_gender
from local.listing.text_tables import read_table
from steps.core.errors import RecipeError

_PARTS = ("", "dev", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """What the metadata say about a speaker; "" = nothing."""

    gender: str = ""
    nationality: str = ""
    part: str = ""  # "dev" or "test"
    name: str = ""  # of the person, as VoxCeleb1's first release calls the folder


def find_metadata(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the first file of that name in the folders."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def read_speakers(path: Path, id_column: str) -> dict[str, Speaker]:
    """Return speaker -> what the table says; between tabs or commas, blanks around the fields are taken off.

    Raises:
        RecipeError: a missing column, an unknown gender or set, or a speaker with two different entries, or a person with
            two ids.
    """
    speakers: dict[str, Speaker] = {}
    lines: dict[str, str] = {}
    for where, values in read_table(path, required=(id_column, "gender")):
        name, part = values[id_column], values.get("set", "")
        if part not in _PARTS:
            raise RecipeError(f"{where}: set '{part}'; expected dev, test, or nothing; correct the line")
        gender = read_gender(values["gender"], where)
        known_as = values.get("vggface1 id", "")
        entry = Speaker(gender=gender, nationality=values.get("nationality", ""), part=part, name=known_as)
        if speakers.setdefault(name, entry) != entry:
            raise RecipeError(
                f"{where}: speaker '{name}' has two different entries (the other: {lines[name]}); expected one; correct the table"
            )
        lines.setdefault(name, where)
    values = Values()
    for name, entry in speakers.items():
        values.add("person", entry.name, "the id", name, lines[name])
    values.check(str(path))
    return speakers
