"""A corpus that others have published: its own split, and counts that a copy on disk is compared with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from local.listing.corpus import CorpusSettings
from local.listing.documented import Compared, Counts, compare, is_small_shortfall, table
from local.listing.files import Row
from steps.core.config import field
from steps.core.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class PublishedSettings(CorpusSettings):
    """What all published corpora have.

    `split` is "published" (the corpus's own train, dev and test), "made" (speakers drawn from all of these), "test" (its test
    set alone, as for a model that is there already) or "all" (likewise, but everybody is tested, as in VoxCeleb1-E and -H).
    """

    SPLITS: ClassVar[tuple[str, ...]] = ("published", "made", "test", "all")
    TYPE: ClassVar[str] = ""  # the word that chooses this corpus
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = {}  # part of the corpus -> what it holds

    split: str = "published"
    wrong_counts: str = field("refuse", decides=False)  # parts that are not as documented: "refuse" or "warn"

    def __post_init__(self) -> None:
        super().__post_init__()
        found = getattr(self, "type", "")
        if found != self.TYPE:
            raise ValueError(f"type: expected '{self.TYPE}', found '{found}'")
        if self.wrong_counts not in ("refuse", "warn"):
            raise ValueError(f"wrong_counts: expected refuse or warn, found '{self.wrong_counts}'")

    @property
    def documented(self) -> Mapping[str, Counts]:
        """What is documented about each part, as far as it is read."""
        return self.DOCUMENTED

    def part(self, row: Row) -> str:
        """Return the part of the corpus that a file belongs to, as DOCUMENTED calls it."""
        raise NotImplementedError

    def check_rows(self, root: Path, rows: Iterable[Row]) -> None:
        """Raise a RecipeError if a part is not as documented, but for a few missing files."""
        for name, found in self._parts(rows).items():
            expected = self.documented.get(name, Counts())
            is_equal, text = compare(found, expected)
            if self.wrong_counts == "refuse" and not is_equal and not is_small_shortfall(found, expected):
                raise RecipeError(
                    f"{root}: {name}: {text}; this is another corpus, or a part of it; expected the documented numbers; complete "
                    "it (python -m steps.download says how), correct --data DIR, or add --set prepare.wrong_counts=warn to take "
                    "what is there"
                )

    def remarks(self, root: Path, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return (as documented?, line): a table of the parts with both counts, and a line about genders that are not known."""
        rows, compared = list(rows), []
        for name, found in self._parts(rows).items():
            expected = self.documented.get(name, Counts())
            is_equal, _ = compare(found, expected)
            meaning = "a few files less do no harm" if is_small_shortfall(found, expected) else "this is not the published set"
            if is_equal:
                meaning = "as documented" if expected != Counts() else "what it should hold is not documented"
            compared.append(Compared(name=name, found=found, known=expected, meaning=meaning, is_expected=is_equal))
        lines = table(compared)
        genders = {row.speaker: row.gender for row in rows}
        unknown = sum(not gender for gender in genders.values())
        return [*lines, (True, f"genders: not known of {unknown:,} of {len(genders):,} speakers")] if unknown else lines

    def _parts(self, rows: Iterable[Row]) -> dict[str, Counts]:
        parts: dict[str, list[Row]] = {}
        for row in rows:
            parts.setdefault(self.part(row), []).append(row)
        return {
            name: Counts(speakers=len({row.speaker for row in found}), utterances=len(found))
            for name, found in sorted(parts.items())
        }


def find_folder(root: Path, is_it: Callable[[Path], bool], depth: int = 2) -> Path | None:
    """Return the root if it is what is looked for, else the first folder below it that is, by depth and name."""
    places = [root]
    for _ in range(depth + 1):
        found = next((place for place in places if is_it(place)), None)
        if found is not None:
            return found
        places = [each for place in places for each in subfolders(place)]
    return None


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def named(folder: Path, name: str) -> Path | None:
    """Return what has that name in a folder, in any letter case; the exact one first."""
    if (folder / name).exists():
        return folder / name
    return next((each for each in sorted(folder.iterdir()) if each.name.lower() == name.lower()), None)


def best_forms(rows: Iterable[tuple[int, Row]]) -> list[Row]:
    """Return of the rows that have one id the one of the lowest rank, so that an utterance in several forms is read once."""
    best: dict[str, tuple[int, str, Row]] = {}
    for rank, row in rows:
        found = (rank, row.path, row)
        if row.id not in best or found[:2] < best[row.id][:2]:
            best[row.id] = found
    return [row for _, _, row in best.values()]
