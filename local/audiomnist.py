"""Corpus "audiomnist": AudioMNIST as distributed: 60 speakers, each digit spoken 50 times, at 48 kHz.

<root>[/AudioMNIST][/data]/<speaker>/<digit>_<speaker>_<repetition>.wav, and audioMNIST_meta.txt (JSON) for genders. The
publishers divide the speakers by fold for their own experiments; here test speakers are drawn.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Counts
from local.listing.files import Row, audio_files, read_gender, read_text, without_suffix
from local.listing.published import PublishedSettings, find_folder, named, subfolders
from steps.core.errors import RecipeError

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]

_FILE = re.compile(r"(\d)_(\d+)_(\d+)\.\w+")
_SPEAKER = re.compile(r"\d\d")
_META = "audioMNIST_meta.txt"
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where AudioMNIST lies, and who is tested."""

    SPLITS: ClassVar[tuple[str, ...]] = ("made", "test")
    TYPE: ClassVar[str] = "audiomnist"
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = {"audiomnist": Counts(speakers=60, utterances=30_000)}

    type: str = "audiomnist"  # the word that chooses this corpus
    corpus: str = "audiomnist"  # name of the corpus, for people
    split: str = "made"  # "made" (drawn) or "test" (all is test)
    sampling_rate: int = 48000  # Hz that is expected; 0 = any

    def part(self, row: Row) -> str:
        """Return the one part that there is."""
        return "audiomnist"

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per recording."""
        top = find_folder(root, lambda folder: any(_SPEAKER.fullmatch(each.name) for each in subfolders(folder)))
        if top is None:
            raise RecipeError(
                f"{root}: no folders 01, 02 ... there; expected {root}/data/<speaker>/<digit>_<speaker>_<repetition>.wav; give "
                "the folder with --data DIR (python -m steps.download audiomnist says where it comes from)"
            )
        genders = _read_genders(top)
        prefix = "" if top == root else f"{top.relative_to(root).as_posix()}/"
        rows, odd = [], []
        for path in audio_files(top):
            names = path.split("/")
            match = _FILE.fullmatch(names[-1])
            if len(names) != 2 or match is None or match[2] != names[0]:
                odd.append(path)
                continue
            row = Row(id=without_suffix(path), path=prefix + path, speaker=names[0], gender=genders.get(names[0], ""))
            rows.append(row)
        if odd:
            raise RecipeError(
                f"{top}: {len(odd)} files are not <speaker>/<digit>_<speaker>_<repetition>.wav: {', '.join(odd[:_NUM_SHOWN])}"
                f"{', ...' if len(odd) > _NUM_SHOWN else ''}; move them"
            )
        return self.root_name, root, rows


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object that JSON's names and values make. Raises TypeError for a name with two values."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise TypeError(f"'{name}' is {found[name]} and {value}, expected one value")
    return found


def _read_genders(top: Path) -> dict[str, str]:
    """Return speaker -> gender of the metadata, where there are some."""
    path = named(top, _META)
    if path is None:
        return {}
    try:
        table = json.loads(read_text(path), object_pairs_hook=_once)
        return {speaker: read_gender(values["gender"], f"{path}: speaker {speaker}") for speaker, values in table.items()}
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        what = f'expected {{"<speaker>": {{"gender": "male" or "female", ...}}}}, found {type(error).__name__}: {error}'
        raise RecipeError(f"{path}: {what}; repair it, or remove it to do without genders") from None
