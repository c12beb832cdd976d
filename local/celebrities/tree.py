"""The folders of VoxCeleb: <dev or test>/<wav or aac>/<speaker>/<video>/<number>.<wav, flac or m4a>.

VoxCeleb1's first release (2017) had voxceleb1_wav/<name of a person>/<video>_<number of seven digits>.wav: read, too, with the
ids that the second release gives the same files; see first_release.py.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import intern

from local.celebrities import first_release
from local.celebrities.known import TEST_SPEAKERS
from local.celebrities.metadata import Speaker
from local.listing.files import Row, audio_files, without_suffix
from steps.core.errors import RecipeError

PARTS = ("dev", "test")
FORMAT_FOLDERS = ("wav", "flac", "aac", "m4a", "voxceleb1_wav")

_NUM_SHOWN = 5
# An utterance that is there in several forms is read in the one that decodes fastest; any other form comes last.
_RANKS = {".wav": 0, ".flac": 1, ".m4a": 2}
_LAST_RANK = 3


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One of the two corpora."""

    name: str  # which becomes the sub-corpus of its utterances
    title: str
    site_name: str  # entry of [site] for this corpus alone
    speaker_form: str  # regular expression
    speaker_example: str
    usual_format: str  # the format's folder as it is distributed
    suffix: str  # likewise
    metadata: str  # file
    id_column: str  # of that file


VOX1 = Tree(
    name="vox1",
    title="VoxCeleb1",
    site_name="voxceleb1",
    speaker_form=r"id1\d{4}",
    speaker_example="id1xxxx",
    usual_format="wav",
    suffix="wav",
    metadata="vox1_meta.csv",
    id_column="voxceleb1 id",
)
VOX2 = Tree(
    name="vox2",
    title="VoxCeleb2",
    site_name="voxceleb2",
    speaker_form=r"id0\d{4}",
    speaker_example="id0xxxx",
    usual_format="aac",
    suffix="m4a",
    metadata="vox2_meta.csv",
    id_column="voxceleb2 id",
)


def find_rows(tree: Tree, root: Path, folder: str, speakers: Mapping[str, Speaker], parts: Collection[str] = PARTS) -> list[Row]:
    """Return a row per utterance of the parts, sorted by path; its `split` is the part.

    Where the audio is not below dev/ and test/ but in one folder, the part is that of the metadata; for want of these the
    numbers of the test speakers decide (VoxCeleb1), or all is dev (VoxCeleb2).

    Args:
        tree: which corpus.
        root: that the paths are relative to.
        folder: of the corpus below the root; "" = the root itself.
        speakers: of the metadata.
        parts: that are wanted.

    Raises:
        RecipeError: no audio, files at another depth, speakers of another corpus, or people whom the metadata do not know.
    """
    rows: dict[str, dict[str, Row]] = {part: {} for part in parts}
    odd: list[str] = []
    strangers: set[str] = set()
    people = first_release.people(speakers) if tree is VOX1 else {}
    prefix = f"{folder}/" if folder else ""
    form = re.compile(tree.speaker_form)
    for part, place in _places(parts):
        for path in audio_files(root / folder / place) if (root / folder / place).is_dir() else ():
            person = first_release.person(path) if tree is VOX1 else ""
            if person and person not in people:
                strangers.add(person)
                continue
            names = (first_release.renamed(path, people) if person else path).split("/")
            if len(names) != 3 or not form.fullmatch(names[0]):
                odd.append(f"{prefix}{place}/{path}")
                continue
            row = _row(tree, f"{prefix}{place}/{path}", names, part, speakers.get(names[0]))
            if row.split not in rows:
                continue
            other = rows[row.split].get(row.id)
            if other is None or _rank(row.path) < _rank(other.path):
                rows[row.split][row.id] = row
    _refuse_odd(tree, root, odd)
    what = f"folders of {tree.title}'s first release are of"
    first_release.refuse_strangers(root / folder, what, strangers, people, f"into {root / folder} or above it")
    return sorted((row for found in rows.values() for row in found.values()), key=lambda row: row.path)


def expected_layout(tree: Tree, folder: Path) -> str:
    """Return the places where the audio of a corpus is looked for, in words."""
    file = f"{tree.speaker_example}/<video>/00001.{tree.suffix}"
    return f"{folder}/dev/{tree.usual_format}/{file} (and test/ likewise), or {folder}/{tree.usual_format}/{file}"


def _places(parts: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (part, or "" where the folder holds both; folder)."""
    for name in FORMAT_FOLDERS:
        yield from ((part, f"{part}/{name}") for part in PARTS if part in parts)
        yield "", name


def _row(tree: Tree, path: str, names: list[str], part: str, known: Speaker | None) -> Row:
    speaker, video, name = intern(names[0]), intern(names[1]), names[2]  # a million rows share them
    return Row(
        id=f"{speaker}/{video}/{without_suffix(name)}",
        path=path,
        speaker=speaker,
        session=video,
        gender=known.gender if known else "",
        corpus=tree.name,
        split=part or _part_of(tree, speaker, known),
    )


def _rank(path: str) -> int:
    return _RANKS.get(os.path.splitext(path)[1].lower(), _LAST_RANK)


def _part_of(tree: Tree, speaker: str, known: Speaker | None) -> str:
    if tree is VOX1:
        return "test" if speaker in TEST_SPEAKERS else "dev"
    return known.part if known and known.part else "dev"


def _refuse_odd(tree: Tree, root: Path, odd: list[str]) -> None:
    if odd:
        raise RecipeError(
            f"{root}: {len(odd)} audio files do not lie where those of {tree.title} do: {', '.join(odd[:_NUM_SHOWN])}"
            f"{', ...' if len(odd) > _NUM_SHOWN else ''}; expected .../{tree.speaker_example}/<video>/<number>.{tree.suffix}"
            f"{' (or voxceleb1_wav/<name>/<video>_<number>.wav, the first release)' * (tree is VOX1)}; move the files, or "
            f"correct the folder (--data DIR, site.{tree.site_name})"
        )
