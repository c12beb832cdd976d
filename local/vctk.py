"""Corpus "vctk": VCTK 0.92 as distributed: 110 speakers of English at 48 kHz, recorded with two microphones at once.

<root>[/VCTK-Corpus-0.92]/wav48_silence_trimmed/<speaker>/<speaker>_<sentence>_<mic1 or mic2>.flac, and speaker-info.txt for
genders. One microphone is read, not both: they heard the same utterances. p280 and p315 lack mic2. Test speakers are drawn.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from local.listing.contradictions import Values
from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Counts
from local.listing.files import Row, audio_files, read_gender, read_text
from local.listing.published import PublishedSettings, find_folder, named
from steps.core.errors import RecipeError

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]

FOLDER = "wav48_silence_trimmed"

_FILE = re.compile(r"([ps]\d+)_(\d+)_(mic[12])\.\w+")
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where VCTK lies, which microphone is read, and who is tested."""

    SPLITS: ClassVar[tuple[str, ...]] = ("made", "test")
    TYPE: ClassVar[str] = "vctk"
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = {"mic1": Counts(speakers=110), "mic2": Counts(speakers=108)}

    type: str = "vctk"  # the word that chooses this corpus
    corpus: str = "vctk"  # name of the corpus, for people
    split: str = "made"  # "made" (drawn) or "test" (all is test)
    microphone: str = "mic1"  # "mic1" (omnidirectional) or "mic2" (small diaphragm)
    sampling_rate: int = 48000  # Hz that is expected; 0 = any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.microphone not in ("mic1", "mic2"):
            raise ValueError(f"microphone: expected mic1 or mic2, found '{self.microphone}'")

    def part(self, row: Row) -> str:
        """Return the microphone of a file."""
        return self.microphone

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per utterance of the microphone."""
        top = find_folder(root, lambda folder: (folder / FOLDER).is_dir())
        if top is None:
            raise RecipeError(
                f"{root}: no folder {FOLDER} there; expected VCTK 0.92, {root}/{FOLDER}/<speaker>/<speaker>_<sentence>_mic1.flac "
                "(version 0.80, with wav48/, is not read); give its folder with --data DIR, or fetch it with python -m "
                "steps.download vctk --to DIR"
            )
        genders = read_speaker_info(top)
        rows, odd = [], []
        for path in audio_files(top / FOLDER):
            names = path.split("/")
            match = _FILE.fullmatch(names[-1])
            if len(names) != 2 or match is None or match[1] != names[0]:
                odd.append(path)
            elif match[3] == self.microphone:
                full = (top / FOLDER / path).relative_to(root).as_posix()
                name = f"{match[1]}/{match[1]}_{match[2]}"
                rows.append(Row(id=name, path=full, speaker=match[1], gender=genders.get(match[1], "")))
        if odd:
            raise RecipeError(
                f"{top / FOLDER}: {len(odd)} files are not <speaker>/<speaker>_<sentence>_<mic1 or mic2>.flac: "
                f"{', '.join(odd[:_NUM_SHOWN])}{', ...' if len(odd) > _NUM_SHOWN else ''}; move them"
            )
        return self.root_name, root, rows


def read_speaker_info(top: Path) -> dict[str, str]:
    """Return speaker -> gender of speaker-info.txt, where there is one: columns ID, AGE, GENDER ... between blanks."""
    path = named(top, "speaker-info.txt")
    genders: dict[str, str] = {}
    values = Values()
    for number, line in enumerate(read_text(path).splitlines() if path else (), start=1):
        words = line.split()
        if not words or words[0].upper() == "ID":
            continue
        if len(words) < 3:
            raise RecipeError(f"{path}:{number}: expected '<speaker> <age> <M or F> ...', found {line!r}; correct the line")
        speaker = words[0] if words[0][0].isalpha() else f"p{words[0]}"
        genders[speaker] = read_gender(words[2], f"{path}:{number}")
        values.add("speaker", speaker, "gender", genders[speaker], f"{path}:{number}")
    values.check(str(path))
    return genders
