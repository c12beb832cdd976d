"""Corpus "folder": anybody's own recordings, as a folder of speakers, a table, or Kaldi's wav.scp and utt2spk.

With `prepare.table` the table says what there is; else wav.scp, if the corpus has one; else the folders do. Speakers of
sub-corpora are named <corpus>/<speaker>.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from local.listing import files
from local.listing.corpus import UNIT_SETTINGS, CorpusSettings, inventory, is_only_scored, list_units, merge, prepare_unit
from local.listing.files import NO_LEVEL, Row
from local.listing.shards import site_root
from steps.core.config import field

__all__ = ["UNIT_SETTINGS", "Settings", "inventory", "list_units", "merge", "prepare_unit"]


@dataclass(frozen=True, kw_only=True)
class Settings(CorpusSettings):
    """Where the recordings are, who speaks in them, and what is tested.

    `split` may also be "folders" (the first one is train, dev or test) or "column" (of the table).
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("made", "folders", "column", "test")

    type: str = "folder"  # the word that chooses this corpus
    corpus: str = "folder"  # name of the corpus, for people
    audio_root_name: str = ""  # entry of [site] that the paths of a table or wav.scp are relative to; "": the corpus
    speaker_level: int = -1  # which folder of a path is the speaker: -1 = the last one, 0 = the first
    corpus_level: int = NO_LEVEL  # which folder names the sub-corpus; -100 = none
    session_level: int = NO_LEVEL  # which folder names the session; -100 = none
    table: str = field("", decides=False)  # CSV or TSV: path, speaker [, id, session, gender, split, corpus]; "" = none
    metadata: str = field("", decides=False)  # CSV or TSV of speakers: speaker [, corpus, gender, split]; "" = none

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type != "folder":
            raise ValueError(f"type: expected 'folder', found '{self.type}'")

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return what the table, wav.scp or the folders say there is."""
        audio_root_name = self.audio_root_name or self.root_name
        audio_root = site_root(site, audio_root_name)
        rows = self._listed(root, audio_root)
        if rows and self.metadata:
            rows = files.with_metadata(rows, files.find_file(self.metadata, root), self.replace_spaces)
        return audio_root_name, audio_root, rows

    def remarks(self, root: Path, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return what is said of the folders: which files were passed over, as a warning where some may be audio."""
        found = files.passed_over(root) if not self.table and not (root / "wav.scp").is_file() else {}
        unread = {suffix: num for suffix, num in found.items() if suffix in files.OTHER_AUDIO}
        shown = ", ".join(f"{num} x {suffix}" for suffix, num in sorted(unread.items()))
        return [(False, f"files that may be audio and are not read: {shown}; convert them")] if unread else []

    def _listed(self, root: Path, audio_root: Path) -> list[Row]:
        of_nobody = {"may_lack_speaker": is_only_scored(self, {self.root_name: str(root)})}
        if self.table:
            return files.rows_of_table(audio_root, files.find_file(self.table, root), self.replace_spaces, **of_nobody)
        if (root / "wav.scp").is_file():
            return files.rows_of_kaldi(root, audio_root, **of_nobody)
        layout = files.Layout(
            speaker_level=self.speaker_level,
            session_level=self.session_level,
            corpus_level=self.corpus_level,
            has_split_folders=self.split == "folders",
            replace_spaces=self.replace_spaces,
            **of_nobody,
        )
        return files.rows_of_folders(root, layout)
