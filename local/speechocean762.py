"""Corpus "speechocean762": speechocean762 as distributed: 250 Mandarin speakers of English, half of them children.

<root>[/speechocean762]/WAVE/SPEAKER<number>/<utterance>.WAV, and train/ and test/ with wav.scp (paths from the root on), utt2spk
and spk2gender.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Counts
from local.listing.files import Row
from local.listing.kaldi import rows_of_kaldi
from local.listing.published import PublishedSettings, find_folder
from steps.core.errors import RecipeError

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where speechocean762 lies; train and test are the published ones, dev speakers are drawn from train."""

    TYPE: ClassVar[str] = "speechocean762"
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = {
        "train": Counts(speakers=125, utterances=2_500),
        "test": Counts(speakers=125, utterances=2_500),
    }

    type: str = "speechocean762"  # the word that chooses this corpus
    corpus: str = "speechocean762"  # name of the corpus, for people
    sampling_rate: int = 16000  # Hz that is expected; 0 = any

    def part(self, row: Row) -> str:
        """Return the published set of a file."""
        return row.split

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per utterance."""
        top = find_folder(root, lambda folder: (folder / "test" / "wav.scp").is_file(), depth=1)
        if top is None:
            raise RecipeError(
                f"{root}: no test/wav.scp there; expected the folders train, test and WAVE; give their folder with --data DIR, "
                "or fetch the corpus with python -m steps.download speechocean762 --to DIR"
            )
        prefix = "" if top == root else f"{top.relative_to(root).as_posix()}/"
        rows = []
        for split in ("test",) if self.split == "test" else ("train", "test"):
            rows += [replace(row, path=prefix + row.path, split=split) for row in rows_of_kaldi(top / split, top)]
        return self.root_name, root, rows
