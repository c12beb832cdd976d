"""Corpus "timit": TIMIT (LDC93S1) as distributed: 630 speakers, ten sentences each, NIST SPHERE or converted to RIFF.

<root>[/TIMIT]/{TRAIN,TEST}/DR<n>/<F or M><3 letters><digit>/{SA1,SA2,SI<n>,SX<n>}.WAV in any letter case. Converted files may
lie beside the originals (SA1_RIFF.WAV, SA1.WAV.wav); of each sentence one file is read. SA1 and SA2 are the same text for all.

ZHAW cluster two items a speaker: the first eight sentences by file name, and the other two (`zhaw_items`, lists zhaw<number of
speakers>).

The speaker lists of ZHAW's clustering experiments: those of 40, 60 and 80 are the first speakers of TEST in the order of their
paths (`test_list = 40`), 590 those who are not among the 40 (`train_list = "rest"`), 630 all. Those of 470 and of 100 follow
no rule that is known: give them as a file, with a speaker a line (`train_list = "timit_speakers_470_stratified.txt"`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from local.listing.contradictions import Values
from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Counts
from local.listing.files import Row, audio_files, find_file, read_text
from local.listing.published import PublishedSettings, best_forms, find_folder, named
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.data.enrolment import Models
from steps.data.item_lists import Item
from steps.data.manifests import Utterance
from steps.data.trials import Trials

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]

_PATH = re.compile(r"(TRAIN|TEST)/(DR\d)/([FM][A-Z]{3}\d)/((?:SA|SI|SX)\d+)(_RIFF)?((?:\.(?:WAV|FLAC))+)")
_SPEAKERS = {"TRAIN": 462, "TEST": 168}
_SENTENCES = {True: 10, False: 8}  # of each speaker, with SA1 and SA2 and without
_ENROLLED = 8  # first sentences by file name, which ZHAW take for a speaker's first utterance
_ZHAW = (
    40,
    60,
    80,
)  # speakers of their lists of the first of TEST; those who are not in the first list make another, all the last
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where TIMIT lies, and who is trained on and tested."""

    SPLITS: ClassVar[tuple[str, ...]] = ("published", "made", "test")  # test_list says who of all is tested
    TYPE: ClassVar[str] = "timit"
    HAS_TRIALS: ClassVar[bool] = True

    type: str = "timit"  # the word that chooses this corpus
    corpus: str = "timit"  # name of the corpus, for people
    sa_sentences: bool = True  # whether SA1 and SA2, the same text for everybody, are read
    train_list: str = field("train", decides=False)  # "train" (of TRAIN), "rest" (all not tested), or a file of speakers
    test_list: int | str = field("test", decides=False)  # "test" (of TEST), "all", a number of the first of TEST, or a file
    halves: bool = True  # the list "halves": models of a speaker's first 8 sentences against everybody's last 2
    # clustering lists zhaw40, 60, 80 (first speakers of TEST), 590 and 630, those whose speakers are all test speakers:
    # two items each, the first 8 sentences and the last 2
    zhaw_items: bool = False
    sampling_rate: int = 16000  # Hz that is expected; 0 = any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_list == "all" and self.split != "test":
            raise ValueError('test_list: "all" leaves nobody to train on; expected split = "test" with it')
        for name in ("halves", "zhaw_items"):
            if getattr(self, name) and not self.sa_sentences:
                raise ValueError(f"{name}: expected sa_sentences = true with it, as SA1 and SA2 are among the first 8 sentences")
        if not self.halves and not self.trials and not self.made_trials:
            raise ValueError("halves, trials, made_trials: expected at least one trial list, found none")

    @property
    def documented(self) -> Mapping[str, Counts]:
        """Speakers and sentences of TRAIN and TEST."""
        return {
            name: Counts(speakers=number, utterances=number * _SENTENCES[self.sa_sentences]) for name, number in _SPEAKERS.items()
        }

    def part(self, row: Row) -> str:
        """Return TRAIN or TEST."""
        return row.split

    def check_rows(self, root: Path, rows: Iterable[Row]) -> None:
        """Raise a RecipeError if TRAIN or TEST is not whole, whichever of their speakers are used."""
        super().check_rows(root, self._sentences(root))

    def remarks(self, root: Path, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return (as documented?, line): a table of TRAIN and TEST, and a line about who of them is used."""
        used = {name: [row for row in rows if row.split == name] for name in ("train", "test")}
        lines = [
            (True, f"used as {name}: {len(found):,} sentences of {len({row.speaker for row in found}):,} speakers")
            for name, found in used.items()
            if found
        ]
        return [*super().remarks(root, self._sentences(root)), *lines]

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per sentence of those who are trained on or tested."""
        every = self._sentences(root)
        tested = _speakers(every, root, "test_list", str(self.test_list), {})
        trained = _speakers(every, root, "train_list", self.train_list, tested) if self.split != "test" else {}
        splits = {row.speaker: "train" for row in every if row.speaker in trained}
        splits |= {row.speaker: "test" for row in every if row.speaker in tested}
        return self.root_name, root, [replace(row, split=splits[row.speaker]) for row in every if row.speaker in splits]

    def own_trials(self, root: Path, test: list[Utterance]) -> tuple[dict[str, Trials], dict[str, Models]]:
        """Return the list "halves": a model `<speaker>/first8` of each speaker against the last two sentences of all."""
        if not self.halves:
            return {}, {}
        sentences = _long_enough(test, "trial list 'halves'", "prepare.halves")
        models = {f"{speaker}/first{_ENROLLED}": tuple(found[:_ENROLLED]) for speaker, found in sentences.items()}
        tests = [(speaker, name) for speaker, found in sentences.items() for name in found[_ENROLLED:]]
        pairs = [(model, name, model.partition("/")[0] == speaker) for model in models for speaker, name in tests]
        enrol, names, is_target = zip(*pairs, strict=True)
        return {"halves": Trials(list(enrol), list(names), np.array(is_target))}, {"halves": models}

    def own_items(self, root: Path, test: list[Utterance]) -> dict[str, list[Item]]:
        """Return ZHAW's lists whose speakers are all tested: items `<speaker>/first8` and `<speaker>/last2`."""
        if not self.zhaw_items:
            return {}
        sentences = _long_enough(test, "clustering lists", "prepare.zhaw_items")
        homes = _homes(self._sentences(root))
        of_test = [speaker for speaker, home in homes.items() if home == "TEST"]
        wanted = [of_test[:number] for number in _ZHAW if number <= len(of_test)]
        wanted += [[speaker for speaker in homes if speaker not in of_test[: _ZHAW[0]]], list(homes)]
        items = {
            speaker: [
                Item(f"{speaker}/first{_ENROLLED}", speaker, tuple(found[:_ENROLLED])),
                Item(f"{speaker}/last{len(found) - _ENROLLED}", speaker, tuple(found[_ENROLLED:])),
            ]
            for speaker, found in sentences.items()
        }
        used = [speakers for speakers in wanted if len(speakers) > 1 and sentences.keys() >= set(speakers)]
        return {f"zhaw{len(speakers)}": [item for speaker in speakers for item in items[speaker]] for speakers in used}

    def _sentences(self, root: Path) -> list[Row]:
        """Return a row per sentence of TRAIN and TEST (split "test": of what there is), whose split is the folder's name."""
        top = find_folder(root, lambda folder: named(folder, "TEST") is not None)
        if top is None:
            raise RecipeError(
                f"{root}: no folder TEST there; expected TIMIT/TRAIN and TIMIT/TEST, and in them DR1/FCJF0/SA1.WAV and so on; "
                "give their folder with --data DIR (python -m steps.download timit says where TIMIT comes from)"
            )
        prefix = "" if top == root else f"{top.relative_to(root).as_posix()}/"
        forms, odd = [], []
        for part in filter(None, (named(top, "TRAIN"), named(top, "TEST"))):
            for path in audio_files(part):
                found = _form(f"{part.name}/{path}", prefix)
                if found is None:
                    odd.append(f"{part.name}/{path}")
                elif self.sa_sentences or "/SA" not in found[1].id:
                    forms.append(found)
        if odd:
            raise RecipeError(
                f"{top}: {len(odd)} files are not <TRAIN or TEST>/DR<n>/<speaker>/<sentence>.WAV: {', '.join(odd[:_NUM_SHOWN])}"
                f"{', ...' if len(odd) > _NUM_SHOWN else ''}; move them"
            )
        _homes(row for _, row in forms)  # before one form of each sentence is chosen
        return best_forms(forms)


def _long_enough(test: list[Utterance], what: str, setting: str) -> dict[str, list[str]]:
    """Return speaker -> sentences by file name; each must have more than the first eight."""
    sentences: dict[str, list[str]] = {}
    for each in sorted(test, key=lambda each: each.id):
        sentences.setdefault(each.speaker, []).append(each.id)
    short = {speaker: len(found) for speaker, found in sentences.items() if len(found) <= _ENROLLED}
    if short:
        raise RecipeError(
            f"{what}: {len(short)} speakers have no more than {_ENROLLED} sentences, first {next(iter(short))}; "
            f"complete TIMIT, or set {setting} = false"
        )
    return sentences


def _homes(every: Iterable[Row]) -> dict[str, str]:
    """Return speaker -> TRAIN or TEST, in the order of paths. Raises RecipeError for a speaker in both."""
    values, ordered = Values(), sorted(every, key=lambda row: row.path.upper())
    for row in ordered:
        values.add("speaker", row.speaker, "the part", row.split, row.path)
    values.check("TIMIT")
    return {row.speaker: row.split for row in ordered}


def _form(path: str, prefix: str) -> tuple[int, Row] | None:
    """Return (rank: the original first, row) of a file; None where it is no sentence."""
    match = _PATH.fullmatch(path.upper())
    if match is None:
        return None
    part, _, speaker, sentence, riff, suffixes = match.groups()
    rank = (suffixes != ".WAV") + 2 * bool(riff)
    row = Row(id=f"{speaker}/{sentence}", path=prefix + path, speaker=speaker, gender=speaker[0].lower(), split=part)
    return rank, row


def _speakers(every: list[Row], root: Path, setting: str, value: str, tested: Mapping[str, str]) -> dict[str, str]:
    """Return speaker -> TRAIN or TEST, of those that a list means.

    Raises:
        RecipeError: too few speakers for a number, a missing file, or a name in it that nobody has.
    """
    homes = _homes(every)
    if value in ("train", "test"):
        return {speaker: home for speaker, home in homes.items() if home == value.upper() and speaker not in tested}
    if value in ("all", "rest"):
        return {speaker: home for speaker, home in homes.items() if speaker not in tested}
    if value.isdigit():
        first = [speaker for speaker, home in homes.items() if home == "TEST"]
        if not 0 < int(value) <= len(first):
            raise RecipeError(f"prepare.{setting} = {value}: expected a number from 1 to the {len(first)} speakers of TEST")
        return {speaker: "TEST" for speaker in first[: int(value)]}
    path = find_file(value, root)
    names = [line.strip().upper() for line in read_text(path).splitlines() if line.strip()]
    unknown = [name for name in names if name not in homes]
    if unknown or not names:
        what = f"{len(unknown)} of its {len(names)} speakers are not there: {', '.join(unknown[:_NUM_SHOWN])}"
        raise RecipeError(
            f"{path} (prepare.{setting}): {what if names else 'is empty'}; expected a speaker such as {next(iter(homes))} a "
            "line; correct the list"
        )
    return {name: homes[name] for name in names}
