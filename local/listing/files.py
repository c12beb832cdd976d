"""Audio files of a corpus and what is said of them: a row for each utterance, and what all readers of lists have in common."""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import RecipeError
from steps.data.audio import AUDIO_SUFFIXES
from steps.data.names import composed, decomposed

SETS = ("train", "dev", "test")
NO_LEVEL = -100  # as the level of a path component: there is none

_NUM_SHOWN = 5
_GENDERS = {"f": "f", "female": "f", "w": "f", "female_feminine": "f", "m": "m", "male": "m", "male_masculine": "m"}
# Common Voice asks people, who may say something else, or nothing.
_GENDERS |= dict.fromkeys(("", "unknown", "-", "na", "n/a", "other", "non-binary", "intersex", "transgender"), "")
_GENDERS |= {"do_not_wish_to_say": ""}
_SPLITS = {
    "train": ("train", "training", "trn"),
    "dev": ("dev", "development", "valid", "validation", "val"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}  # how people call them


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One audio file, or a part of one, before it was opened."""

    id: str
    path: str  # relative to the root
    speaker: str
    session: str = ""
    gender: str = ""
    corpus: str = ""
    split: str = ""  # where it is given
    nationality: str = ""  # of the speaker
    share: float = 0.0  # of the draws from a bank of sounds; 0 = all are equally likely
    start: float = 0.0  # s, where the utterance begins in its file
    end: float = 0.0  # s, where it ends; 0 = with the file
    channel: int = 0  # of the file, from 1 on; 0 = as prepare.channel says
    source: str = ""  # list that has the row; "" = none
    line: int = 0  # of that list

    @property
    def where(self) -> str:
        """The place to correct: file:line of the list, or the path of the audio."""
        return f"{self.source}:{self.line}" if self.source else self.path

    @property
    def is_part(self) -> bool:
        """Whether this is a part of its file."""
        return self.start > 0 or self.end > 0

    @property
    def part(self) -> str:
        """What of its file this is; "" = all of it, on the channel of all files."""
        return f"{self.start!r} to {self.end!r} s, channel {self.channel}" if self.is_part or self.channel else ""


def audio_files(root: Path) -> list[str]:
    """Return the audio files below a folder as relative '/'-separated paths, sorted; hidden ones are left out.

    Links are followed, but not into a folder that they are in.
    """
    return sorted(path for path in walk(root) if os.path.splitext(path)[1].lower() in AUDIO_SUFFIXES)


def walk(root: Path) -> Iterator[str]:
    """Yield the files below a folder as relative '/'-separated paths, but for hidden ones."""
    pending = [(root, "", (_identity(root),))]
    while pending:
        folder, prefix, ancestors = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not _is_folder(entry):
                    yield prefix + entry.name
                    continue
                identity = _identity(Path(entry.path))
                if identity not in ancestors:
                    pending.append((Path(entry.path), f"{prefix}{entry.name}/", (*ancestors, identity)))


def find_file(name: str, root: Path) -> Path:
    """Return the file of that name in the root, or from the working folder; the former if there is none."""
    return next((path for path in (root / name, Path(name)) if path.is_file()), root / name)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without byte order mark.

    Raises:
        RecipeError: missing file, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise RecipeError(f"{path}: no such file; correct the setting that names it") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error}); convert it") from error


def relative_path(text: str, root: Path, where: str, others: Iterable[str] = ()) -> str:
    """Return a path relative to the root, '/'-separated.

    Args:
        text: the path as it is given.
        root: that it must lie below.
        where: file:line of it.
        others: all paths of the list, for the message.

    Raises:
        RecipeError: it leads out of the root.
    """
    path = Path(text)
    if path.is_absolute():
        for base in (root, root.resolve()):
            if path.is_relative_to(base):
                path = path.relative_to(base)
                break
    straight = Path(os.path.normpath(path))  # lists/../wav/a.wav, unless lists is a link to elsewhere
    if ".." in path.parts and ".." not in straight.parts and _is_same(root / path, root / straight):
        path = straight
    if path.is_absolute() or ".." in path.parts:
        raise RecipeError(
            f"{where}: '{text}' does not lie below {root}; expected paths below it, as manifests hold relative paths only; "
            f"name the common folder of all audio: --set prepare.audio_root_name=audio --set site.audio={_common(text, others)}"
        )
    return path.as_posix()


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _common(text: str, others: Iterable[str]) -> str:
    """Return the folder of absolute paths; a word for it where they have none but the root of all."""
    found = {os.path.dirname(each) for each in (text, *others) if os.path.isabs(each)}
    folder = os.path.commonpath(found) if found and "\0" not in text else ""
    return shlex.quote(folder) if folder.strip("/") and folder.isprintable() else "DIR"


def check_begin(rows: Sequence[Row], root: Path) -> None:
    """Raise a RecipeError if the first path of a list is not below the root, but below a folder that the root is in."""
    first = rows[0] if rows else None
    if first is None or not first.source or "\0" in first.path or (root / first.path).exists():
        return
    above = next((folder for folder in root.absolute().parents if (folder / first.path).is_file()), None)
    if above is not None:
        raise RecipeError(
            f"{first.where}: '{first.path}' is not in {root}, but in {above}; expected paths that begin in the former; say where "
            f"they begin: --set prepare.audio_root_name=audio --set site.audio={shlex.quote(str(above))}"
        )


def split_of(text: str) -> str:
    """Return train, dev or test for the words that people use for them, also train_clean and corpus-test; else ""."""
    word = text.strip().lower()
    parts = re.split("[-_.]", word)
    found = {SPLIT_OF[part] for part in (word, parts[0], parts[-1]) if part in SPLIT_OF}
    return found.pop() if len(found) == 1 else ""


def as_on_disk(path: str, root: Path) -> str:
    """Return a relative path in the Unicode form (NFC or NFD) in which there is such a file; the path itself if there is none."""
    if path.isascii() or (root / path).exists():
        return path
    return next((form for form in (composed(path), decomposed(path)) if (root / form).exists()), path)


def read_gender(text: str, where: str) -> str:
    """Return "f", "m" or "" for the usual ways to write them.

    Raises:
        RecipeError: another word.
    """
    gender = _GENDERS.get(text.strip().lower())
    if gender is None:
        raise RecipeError(f"{where}: gender '{text}'; expected f, m, female, male, or nothing; correct the line")
    return gender


def without_suffix(path: str) -> str:
    """Return a path without the extension of an audio file; other dots stay."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in AUDIO_SUFFIXES else path


def fix_spaces(text: str, replacement: str) -> str:
    """Return the text with each blank replaced, if there is a replacement."""
    return re.sub(r"\s", replacement, text) if replacement else text


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; one that leads nowhere is no error
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
