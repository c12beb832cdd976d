"""Corpus "librispeech": LibriSpeech (and Mini LibriSpeech) as distributed; a reader is a speaker, a chapter a session.

<root>[/LibriSpeech]/<subset>/<reader>/<chapter>/<reader>-<chapter>-<number>.flac, and SPEAKERS.TXT for genders.
Which subsets are trained on, held out and tested are settings; the trial lists are made, as none are published.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Counts
from local.listing.files import Row, audio_files, read_gender, read_text
from local.listing.published import PublishedSettings, best_forms, find_folder, named, subfolders
from steps.core.errors import RecipeError

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]

# Speakers of the publishers' table, utterances counted by others; those of train-clean-5 are not documented.
SUBSETS: Mapping[str, Counts] = {
    "train-clean-100": Counts(speakers=251, utterances=28_539),
    "train-clean-360": Counts(speakers=921, utterances=104_014),
    "train-other-500": Counts(speakers=1166, utterances=148_688),
    "dev-clean": Counts(speakers=40, utterances=2_703),
    "dev-other": Counts(speakers=33, utterances=2_864),
    "test-clean": Counts(speakers=40, utterances=2_620),
    "test-other": Counts(speakers=33, utterances=2_939),
    "train-clean-5": Counts(),
    "dev-clean-2": Counts(speakers=26, utterances=1_089),
}
MINI = ("train-clean-5", "dev-clean-2")  # SPEAKERS.TXT has their readers in the subsets that they were taken from

_FILE = re.compile(r"(\d+)-(\d+)-(\d+)\.(\w+)")
_SEXES = ("M", "F")
_NUM_SHOWN = 5
_RANKS = {".flac": 0, ".wav": 1}  # the published form first


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where LibriSpeech lies, and which of its subsets are what."""

    TYPE: ClassVar[str] = "librispeech"
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = SUBSETS

    type: str = "librispeech"  # the word that chooses this corpus
    corpus: str = "librispeech"  # name of the corpus, for people
    train_subsets: tuple[str, ...] = ("train-clean-100", "train-clean-360")
    dev_subsets: tuple[str, ...] = ("dev-clean",)  # held out; none: readers drawn from those of train_subsets
    test_subsets: tuple[str, ...] = ("test-clean",)
    sampling_rate: int = 16000  # Hz that is expected; 0 = any

    def __post_init__(self) -> None:
        super().__post_init__()
        every = (*self.train_subsets, *self.dev_subsets, *self.test_subsets)
        unknown = [name for name in every if name not in SUBSETS]
        if unknown or len(set(every)) < len(every) or not self.test_subsets:
            raise ValueError(
                f"train_subsets, dev_subsets, test_subsets: expected some of {', '.join(SUBSETS)}, each once and at least one to "
                f"test on, found {list(every)}"
            )

    def part(self, row: Row) -> str:
        """Return the subset of a file."""
        return row.path.split("/")[-4]

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per utterance of the subsets that are used."""
        sets = {name: "test" for name in self.test_subsets}
        if self.split != "test":
            sets |= {name: "train" for name in self.train_subsets} | {name: "dev" for name in self.dev_subsets}
        top = find_folder(root, lambda folder: any((folder / name).is_dir() for name in sets), depth=1)
        missing = [name for name in sets if top is None or not (top / name).is_dir()]
        if missing:
            there = [folder.name for folder in subfolders(top or root)]
            raise RecipeError(
                f"{top or root}: no folder {', '.join(missing)}; expected {root}/LibriSpeech/<subset>/<reader>/<chapter>/"
                f"<reader>-<chapter>-<number>.flac, found the folders {', '.join(there) or '(none)'}; fetch them with python -m "
                f"steps.download librispeech --subset {missing[0]} --to DIR, correct --data DIR, or change "
                "prepare.train_subsets, dev_subsets and test_subsets"
            )
        readers = read_readers(top)
        rows = [row for subset, split in sets.items() for row in best_forms(_rows(root, top / subset, split, readers))]
        return self.root_name, root, rows


def read_readers(top: Path) -> dict[str, tuple[str, str]]:
    """Return reader -> (gender, subset) of SPEAKERS.TXT, where there is one.

    Lines that begin with ';' are comments, others `ID | SEX | SUBSET | MINUTES | NAME`; the name may hold a '|'.

    Raises:
        RecipeError: lines of another form, or a reader with two of them.
    """
    path = named(top, "SPEAKERS.TXT")
    if path is None:
        return {}
    readers: dict[str, tuple[str, str]] = {}
    lines: dict[str, int] = {}
    bad: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        fields = [each.strip() for each in line.split("|", 4)]
        if len(fields) < 5 or not fields[0].isdigit() or fields[1] not in _SEXES or fields[0] in readers:
            twice = f" (the first: line {lines[fields[0]]})" if fields[0] in lines else ""
            bad.append(f"line {number} {line.strip()!r}{twice}")
            continue
        lines[fields[0]] = number
        readers[fields[0]] = (read_gender(fields[1], f"{path}:{number}"), fields[2])
    if bad:
        raise RecipeError(
            f"{path}: {len(bad)} lines are not '<reader> | <M or F> | <subset> | <minutes> | <name>', each reader once: "
            f"{'; '.join(bad[:_NUM_SHOWN])}{'; ...' if len(bad) > _NUM_SHOWN else ''}; correct them, or remove the file to do "
            "without genders"
        )
    return readers


def _rows(root: Path, folder: Path, split: str, readers: Mapping[str, tuple[str, str]]) -> Iterator[tuple[int, Row]]:
    """Yield (rank of its form, row) of the files of a subset."""
    prefix, subset = folder.relative_to(root).as_posix(), folder.name
    odd, astray = [], []
    for path in audio_files(folder):
        names = path.split("/")
        match = _FILE.fullmatch(names[-1])
        if len(names) != 3 or match is None or match.groups()[:2] != (names[0], names[1]):
            odd.append(path)
            continue
        gender, home = readers.get(names[0], ("", subset))
        if home != subset and subset not in MINI:
            astray.append(f"{names[0]} ({home})")
        stem, suffix = os.path.splitext(names[-1])
        yield (
            _RANKS.get(suffix.lower(), len(_RANKS)),
            Row(
                id=stem,
                path=f"{prefix}/{path}",
                speaker=names[0],
                session=names[1],
                gender=gender,
                corpus="librispeech",
                split=split,
            ),
        )
    _refuse(folder, "files do not lie where LibriSpeech's do, as <reader>/<chapter>/<reader>-<chapter>-<number>.flac", odd)
    _refuse(folder, "files are of readers whom SPEAKERS.TXT puts into another subset", astray)


def _refuse(folder: Path, what: str, found: list[str]) -> None:
    if found:
        shown = ", ".join(list(dict.fromkeys(found))[:_NUM_SHOWN])
        raise RecipeError(f"{folder}: {len(found)} {what}: {shown}{', ...' if len(found) > _NUM_SHOWN else ''}; move them")
