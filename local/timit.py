"""Corpus "timit": TIMIT (LDC93S1) as distributed: 630 speakers, ten sentences each, NIST SPHERE or converted to RIFF.

<root>[/TIMIT]/{TRAIN,TEST}/DR<n>/<F or M><3 letters><digit>/{SA1,SA2,SI<n>,SX<n>}.WAV in any letter case. Converted files may
lie beside the originals (SA1_RIFF.WAV, SA1.WAV.wav); of each sentence one file is read. SA1 and SA2 are the same text for all.

The speaker lists of ZHAW's clustering experiments: those of 40, 60 and 80 are the first speakers of TEST in the order of their
paths (`test_list = "40"`), 590 those who are not among the 40 (`train_list = "rest"`), 630 all. Those of 470 and of 100 follow
no rule that is known: give them as a file, with a speaker a line (`train_list = "timit_speakers_470_stratified.txt"`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from local.listing.corpus import UNIT_SETTINGS, inventory, list_units, merge, prepare_unit
from local.listing.documented import Counts
from local.listing.files import Row, audio_files, find_file, read_text
from local.listing.published import PublishedSettings, best_forms, find_folder, named
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.data.enrolment import Models
from steps.data.manifests import Utterance
from steps.data.trials import Trials

__all__ = ["UNIT_SETTINGS", "Settings", "inventory", "list_units", "merge", "prepare_unit"]

_PATH = re.compile(r"(DR\d)/([FM][A-Z]{3}\d)/(SA|SI|SX)(\d+)((?:_RIFF)?)((?:\.(?:WAV|FLAC))+)")
_NUM_SHOWN = 5
_SENTENCES = 10  # of each speaker, two of them SA
_ENROLLED = 8  # first sentences by file name, which ZHAW take for a speaker's first utterance


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where TIMIT lies, and who is trained on and tested."""

    TYPE: ClassVar[str] = "timit"

    type: str = "timit"  # the word that chooses this corpus
    corpus: str = "timit"  # name of the corpus, for people
    sa_sentences: bool = True  # whether SA1 and SA2, the same text for everybody, are read
    train_list: str = field("train", decides=False)  # "train" (of TRAIN), "rest" (all who are not tested), or a file of speakers
    test_list: str = field("test", decides=False)  # "test" (of TEST), "all" (630), a number of the first of TEST, or a file
    halves: bool = False  # add the list "halves": models of a speaker's first 8 sentences against everybody's last 2
    sampling_rate: int = 16000  # Hz that is expected; 0 = any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_list == "all" and self.split != "test":
            raise ValueError('test_list: "all" leaves nobody to train on; expected split = "test" with it')
        if self.halves and not self.sa_sentences:
            raise ValueError("halves: expected sa_sentences = true, as the first 8 sentences include them")

    def part(self, row: Row) -> str:
        """Return TRAIN or TEST; a part of its speakers is another part."""
        return self._part_of(row.path)

    def check_rows(self, root: Path, rows: Iterable[Row]) -> None:
        """Raise a RecipeError if a speaker has not all sentences; `rows` has counted TRAIN and TEST."""

    def remarks(self, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return a line about each set of speakers."""
        return []
