"""Corpus "folder": anybody's own recordings, as a folder of speakers, a table, or Kaldi's wav.scp and utt2spk.

With `prepare.table` the table says what there is; else wav.scp, if the corpus has one (or several, in data/train and data/test);
else the folders do. Speakers of sub-corpora are named <corpus>/<speaker>.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from local.listing import files, first_bytes, folders, given_splits, kaldi, segments, tables
from local.listing.corpus import UNIT_SETTINGS, CorpusSettings, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.drawn_lists import is_only_scored
from local.listing.files import NO_LEVEL, Row
from local.listing.shards import site_root
from steps.core.config import field

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]


@dataclass(frozen=True, kw_only=True)
class Settings(CorpusSettings):
    """Where the recordings are, who speaks in them, and what is tested.

    `split` is "auto" (that of the table's column or of folders train/ and test/; drawn where none is given), "made" (drawn,
    whatever is given), "folders" (the first one is train, dev or test), "column" (of the table), or "test".
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("made", "folders", "column", "test", given_splits.AUTO)

    split: str = given_splits.AUTO  # see above
    type: str = "folder"  # the word that chooses this corpus
    corpus: str = "folder"  # name of the corpus, for people
    audio_root_name: str = ""  # entry of [site] that the paths of a table or wav.scp are relative to; "": the corpus
    speaker_level: int = -1  # which folder of a path is the speaker: -1 = the last one, 0 = the first
    corpus_level: int = NO_LEVEL  # which folder names the sub-corpus; -100 = none
    session_level: int = NO_LEVEL  # which folder names the session; -100 = none
    # CSV, TSV or JSON lines: path, speaker [, id, session, gender, split, corpus, start, end, channel ...]; "" = none
    table: str = field("", decides=False)
    metadata: str = field("", decides=False)  # of speakers: speaker [, corpus, gender, split, nationality]; "" = none
    other_columns: tuple[str, ...] = field((), decides=False)  # of both, that are passed over; others nobody knows are an error

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type != "folder":
            raise ValueError(f"type: expected 'folder', found '{self.type}'")

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return what the table, wav.scp or the folders say there is."""
        audio_root_name = self.audio_root_name or self.root_name
        audio_root = site_root(site, audio_root_name)
        rows = self._listed(root, audio_root)
        files.check_begin(rows, audio_root)
        segments.check_channels(rows, self.channel)
        if rows and self.metadata:
            path = files.find_file(self.metadata, root)
            rows = tables.with_metadata(rows, path, self.replace_spaces, self.other_columns)
        if self.split == given_splits.AUTO:
            rows = given_splits.settled(rows, self._says_splits(root))
        return audio_root_name, audio_root, rows

    def remarks(self, root: Path, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return what is said of the files: which were passed over, and who is heard in the same stretch of a recording."""
        found = segments.check_shared(rows)
        if self.table:
            beside = [(True, f"{root / kaldi.WAV} is not read: prepare.table says what there is")]
            return found + beside * (root / kaldi.WAV).is_file()
        if kaldi.folders(root):
            return [*found, *kaldi.remarks(root, [*self.trials.split(";"), *self.enrolment.split(";"), self.metadata])]
        there = first_bytes.files_of(root)
        return [*found, *there.remarks(), *there.list_remarks(), *self._lists_beside(root)]

    def _lists_beside(self, root: Path) -> list[tuple[bool, str]]:
        """Return what is said of lists that lie beside folders of speakers and are not read."""
        used = {Path(name).name for name in (*self.trials.split(";"), *self.enrolment.split(";"), self.metadata)}
        names = sorted(path.name for path in root.iterdir() if path.is_file() and path.name not in used)
        said = [name for name in names if name in kaldi.READ]
        trials = [name for name in names if kaldi.is_trial_list(name)]
        tables_ = [name for name in names if Path(name).suffix.lower() in (".csv", ".tsv", ".jsonl") and name not in trials]
        genders = "genders are taken from a table with the header speaker,gender (--set prepare.metadata=FILE)"
        lines = [(False, f"not read, as there is no {kaldi.WAV}: {', '.join(said)}; {genders}")] if said else []
        advice = "--set prepare.table=FILE takes one of recordings, --set prepare.metadata=FILE one of speakers"
        lines += [(False, f"{name}: not used; for these trials add --set prepare.trials={name}") for name in trials]
        return lines + ([(False, f"tables that are not read: {', '.join(tables_)}; {advice}")] if tables_ else [])

    def _says_splits(self, root: Path) -> str:
        listed = str(files.find_file(self.table, root)) if self.table else str(root)
        return listed if not self.metadata else f"{listed} and {files.find_file(self.metadata, root)}"

    def _listed(self, root: Path, audio_root: Path) -> list[Row]:
        of_nobody = {"may_lack_speaker": is_only_scored(self, {self.root_name: str(root)})}
        if self.table:
            path = files.find_file(self.table, root)
            return tables.rows_of_table(audio_root, path, self.replace_spaces, self.other_columns, **of_nobody)
        if kaldi.folders(root):
            return kaldi.rows_of_folders(root, audio_root, self.replace_spaces, split=self.split, **of_nobody)
        layout = folders.Layout(
            speaker_level=self.speaker_level,
            session_level=self.session_level,
            corpus_level=self.corpus_level,
            split=self.split if self.split in ("folders", given_splits.AUTO) else "",
            replace_spaces=self.replace_spaces,
            **of_nobody,
        )
        return folders.rows_of_folders(root, layout)
