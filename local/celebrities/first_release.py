"""Names of VoxCeleb1's first release (2017): <person>/<video>_<number of seven digits>.wav, for files and in trial lists.

They are read with the ids that the second release gives the same recordings, by which metadata and later lists go:
Eartha_Kitt/x6uYqmx31kE_0000001.wav is id10270/x6uYqmx31kE/00001.wav.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from local.celebrities.metadata import Speaker
from steps.core.errors import RecipeError

METADATA = "vox1_meta.csv"  # which says who is who

_NAME = re.compile(r"(?:\./)?([^/]+)/([\w-]{11})_(\d{7})(\.\w+)?", re.ASCII)  # a video's id may have '_' and '-' anywhere
_NUM_SHOWN = 5


def people(speakers: Mapping[str, Speaker]) -> dict[str, str]:
    """Return name of a person -> speaker."""
    return {entry.name: speaker for speaker, entry in speakers.items() if entry.name}


def person(name: str) -> str:
    """Return the person that a name of the first release begins with, "" where it is none of that release."""
    match = _NAME.fullmatch(name)
    return match[1] if match else ""


def renamed(name: str, known: Mapping[str, str]) -> str:
    """Return a name of the first release as the second one has it; any other name as it is.

    Args:
        name: with or without the extension of its file.
        known: of `people`.

    Raises:
        KeyError: nobody of that name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    who, video, number, suffix = match.groups()
    return f"{known[who]}/{video}/{int(number):05d}{suffix or ''}"


def refuse_strangers(where: Path, what: str, strangers: Collection[str], known: Collection[str], advice: str) -> None:
    """Raise a RecipeError if there are people whom the metadata do not know.

    Args:
        where: they were found.
        what: they are, for the message.
        strangers: their names.
        known: the people of the metadata.
        advice: where to put the table.
    """
    if not strangers:
        return
    shown = ", ".join(sorted(strangers)[:_NUM_SHOWN])
    found = f"which names {len(known)} people" if known else "which is not there"
    raise RecipeError(
        f"{where}: {len(strangers)} {what} people who are not in {METADATA}, {found}: {shown}"
        f"{', ...' if len(strangers) > _NUM_SHOWN else ''}; put the table that VoxCeleb's site offers {advice}, or correct "
        "the names"
    )


def check_people(path: Path, names: Iterable[str], known: Collection[str]) -> None:
    """Raise a RecipeError if a trial list names people of the first release whom the metadata do not know."""
    strangers = {who for who in map(person, names) if who and who not in known}
    refuse_strangers(path, "of the names of the first release in it are of", strangers, known, "beside the list or above it")
