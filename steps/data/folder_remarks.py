"""What is odd about a tree of folders that was read as speakers: one name in two places, people a level higher."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

from steps.data.manifests import Utterances

_NUM_SHOWN = 3
_LEAST = 5  # folders above speakers, from which on they may be people themselves
_FEW_FILES = 2  # utterances; speakers with no more, nearly all of them, are a sign of files or videos taken for speakers
_NEARLY_ALL = 0.8


def is_tree(utterances: Utterances) -> bool:
    """Return whether the ids are the paths, as where nothing but folders says who speaks."""
    return os.path.splitext(utterances[0].path)[0].endswith(utterances[0].id)


def folder_remarks(sets: Iterable[Utterances], *, has_corpora: bool) -> list[str]:
    """Return what is to be said of the folders of speakers, those that the files lie in.

    Args:
        sets: of one tree.
        has_corpora: whether speakers are named after sub-corpora already.
    """
    places, num_files = _places(sets)
    remarks = [] if has_corpora else _in_two_places(places)
    return remarks or [*_people_above(places), *_few_files(num_files)]


def _places(sets: Iterable[Utterances]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The folders that are called as each speaker, and how many utterances the speaker has."""
    places: dict[str, set[str]] = defaultdict(set)
    num_files: dict[str, int] = defaultdict(int)
    folder_of: dict[tuple[str, str], str] = {}
    for utterances in sets:
        for speaker, path in zip(utterances.speakers, utterances.paths, strict=True):
            key = (speaker, path.rpartition("/")[0])
            if key not in folder_of:
                folder_of[key] = _folder(*key)
            places[speaker].add(folder_of[key])
            num_files[speaker] += 1
    return {speaker: sorted(found - {""}) for speaker, found in sorted(places.items())}, num_files


def _folder(speaker: str, folder: str) -> str:
    """The part of a path up to the folder of the speaker; "" where none is called so."""
    name, parts = speaker.rpartition("/")[2], folder.split("/")
    return "/".join(parts[: len(parts) - parts[::-1].index(name)]) if name in parts else ""


def _in_two_places(places: dict[str, list[str]]) -> list[str]:
    twice = {speaker: found for speaker, found in places.items() if len(found) > 1}
    if not twice:
        return []
    shown = "; ".join(f"{speaker}: {_some(found)}" for speaker, found in list(twice.items())[:_NUM_SHOWN])
    above = {folder.rpartition("/")[0] for found in twice.values() for folder in found}
    advice = "if they are different people, --set prepare.corpus_level=" + str(_level(next(iter(twice.values()))))
    if len(above) >= _LEAST and len(above) > len(twice):
        advice = "if the folders above are the people, --set prepare.speaker_level=-2"
    return [
        f"{len(twice)} speaker names stand in two or more folders ({shown}{'; ...' if len(twice) > _NUM_SHOWN else ''}): each is "
        f"taken for one person; {advice} keeps them apart"
    ]


def _level(folders: list[str]) -> int:
    """The first component in which folders differ."""
    columns = zip(*(folder.split("/") for folder in folders), strict=False)
    return next((level for level, names in enumerate(columns) if len(set(names)) > 1), 0)


def _people_above(places: dict[str, list[str]]) -> list[str]:
    """A remark where there are more folders above the speakers than speakers in each: speaker/video/file."""
    below: dict[str, list[str]] = defaultdict(list)
    for found in places.values():
        for folder in found:
            above, _, name = folder.rpartition("/")
            below[above].append(name)
    below.pop("", None)
    num = sum(map(len, below.values()))
    if len(below) < _LEAST or num >= len(below) ** 2 or num < 2 * len(below):
        return []
    shown = "; ".join(f"{above}: {_some(names)}" for above, names in sorted(below.items())[:_NUM_SHOWN])
    return [
        f"the {num} folders taken for speakers lie in {len(below)} others, a few in each ({shown}; ...): if those are the "
        "people, as in speaker/video/file, --set prepare.speaker_level=-2"
    ]


def _few_files(num_files: dict[str, int]) -> list[str]:
    few = sum(num <= _FEW_FILES for num in num_files.values())
    if len(num_files) < 2 * _LEAST or few < _NEARLY_ALL * len(num_files):
        return []
    return [
        f"{few} of {len(num_files)} speakers have one or two utterances: if another folder is the person, "
        "--set prepare.speaker_level=-2 takes the one above (0 the first)"
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NUM_SHOWN]) + (", ..." if len(names) > _NUM_SHOWN else "")
