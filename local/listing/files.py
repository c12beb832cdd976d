"""Which audio files a corpus has, and who speaks in them: from its folders, from a table, or from Kaldi's files."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from steps.core.errors import RecipeError
from steps.data.audio import AUDIO_SUFFIXES
from steps.data.names import composed, decomposed

SETS = ("train", "dev", "test")
NO_LEVEL = -100  # as the level of a path component: there is none

# Suffixes of audio that is not read: a corpus should not lose it without a word.
OTHER_AUDIO = frozenset(
    {".3gp", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4b", ".mka", ".mkv", ".mov", ".nist", ".pcm"}
    | {".ra", ".raw", ".rf64", ".snd", ".sph", ".spx", ".tta", ".voc", ".w64", ".weba", ".webm", ".wma", ".wv"}
)

_NUM_SHOWN = 5
_GENDERS = {"": "", "f": "f", "female": "f", "w": "f", "m": "m", "male": "m", "unknown": "", "-": "", "na": "", "n/a": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One audio file, before it was opened."""

    id: str
    path: str  # relative to the root
    speaker: str
    session: str = ""
    gender: str = ""
    corpus: str = ""
    split: str = ""  # where it is given
    nationality: str = ""  # of the speaker
    share: float = 0.0  # of the draws from a bank of sounds; 0 = all are equally likely


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which component of a file's path says what; 0 = the first folder, -1 = the last one."""

    speaker_level: int
    session_level: int = NO_LEVEL
    corpus_level: int = NO_LEVEL
    has_split_folders: bool = False  # the first folder is the split, and not counted by the levels
    replace_spaces: str = ""
    may_lack_speaker: bool = False  # a file that lies in no such folder is a speaker of its own, called after it


def audio_files(root: Path) -> list[str]:
    """Return the audio files below a folder as relative '/'-separated paths, sorted; hidden ones are left out.

    Links are followed, but not into a folder that they are in.
    """
    found: list[str] = []
    pending = [(root, "", (_identity(root),))]
    while pending:
        folder, prefix, ancestors = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    identity = _identity(Path(entry.path))
                    if identity not in ancestors:
                        pending.append((Path(entry.path), f"{prefix}{entry.name}/", (*ancestors, identity)))
                elif os.path.splitext(entry.name)[1].lower() in AUDIO_SUFFIXES:
                    found.append(prefix + entry.name)
    return sorted(found)


def passed_over(root: Path) -> Counter[str]:
    """Return how many files below a folder have another suffix than those that are read, by suffix; hidden ones do not count."""
    found: Counter[str] = Counter()
    for _, names, files in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        suffixes = (os.path.splitext(name)[1].lower() for name in files if not name.startswith("."))
        found.update(suffix for suffix in suffixes if suffix not in AUDIO_SUFFIXES)
    return found


def rows_of_folders(root: Path, layout: Layout) -> list[Row]:
    """Return a row per audio file below `root`, read from its path.

    Raises:
        RecipeError: no audio file, or files that are not as deep in folders as the layout says.
    """
    paths = audio_files(root)
    if not paths:
        raise RecipeError(
            f"{root}: no audio file there; expected {root}/.../<speaker>/<utterance>.<wav|flac|ogg|opus|mp3|m4a>, or a table "
            "(set prepare.table), or Kaldi's wav.scp and utt2spk; give the corpus folder with --data DIR"
        )
    rows, shallow = [], []
    for path in paths:
        try:
            rows.append(_row_of_path(path, layout))
        except IndexError:
            shallow.append(path)
    if shallow:
        raise RecipeError(
            f"{root}: {len(shallow)} of {len(paths)} files do not lie deep enough in folders: "
            f"{', '.join(shallow[:_NUM_SHOWN])}; expected folders for speaker_level = {layout.speaker_level}"
            + (f", corpus_level = {layout.corpus_level}" if layout.corpus_level != NO_LEVEL else "")
            + (f", session_level = {layout.session_level}" if layout.session_level != NO_LEVEL else "")
            + (" below train/, dev/ or test/" if layout.has_split_folders else "")
            + "; move the files, or correct these settings of [prepare]; where nobody knows who speaks, a trained model can "
            "score pairs: --model DIR, and --set prepare.trials=FILE of lines '<recording> <recording>' without labels"
        )
    return rows


def rows_of_table(root: Path, table: Path, replace_spaces: str, *, may_lack_speaker: bool = False) -> list[Row]:
    """Return a row per line of a CSV or TSV file with a header.

    Columns: path, speaker [, id, session, gender, nationality, split, corpus]. Where the speaker may be lacking, a recording
    without one is a speaker of its own.

    Raises:
        RecipeError: a missing column or value, an unknown gender or split, or a path outside the root.
    """
    rows = []
    required = ("path",) if may_lack_speaker else ("path", "speaker")
    for where, values in read_table(table, required=required):
        for name in required:
            if not values[name]:
                raise RecipeError(f"{where}: empty {name}; expected a value in each line; complete the table")
        name = relative_path(values["path"], root, where)
        speaker = fix_spaces(values.get("speaker") or values.get("id") or without_suffix(name), replace_spaces)
        corpus = fix_spaces(values.get("corpus", ""), replace_spaces)
        split = values.get("split", "")
        if split and split not in SETS:
            raise RecipeError(f"{where}: split '{split}'; expected one of {', '.join(SETS)}, or nothing; correct the table")
        rows.append(
            Row(
                id=fix_spaces(values.get("id") or without_suffix(name), replace_spaces),
                path=as_on_disk(name, root),
                speaker=f"{corpus}/{speaker}" if corpus else speaker,
                session=values.get("session", ""),
                gender=read_gender(values.get("gender", ""), where),
                corpus=corpus,
                split=split,
                nationality=values.get("nationality", ""),
            )
        )
    return rows


def rows_of_kaldi(root: Path, audio_root: Path, *, may_lack_speaker: bool = False) -> list[Row]:
    """Return a row per line of wav.scp, with the speakers of utt2spk and, if it is there, the genders of spk2gender.

    Where speakers may be lacking and there is no utt2spk, each utterance is a speaker of its own.

    Raises:
        RecipeError: commands instead of files, a `segments` file, an utterance without speaker, or the reverse.
    """
    if (root / "segments").is_file():
        raise RecipeError(
            f"{root / 'segments'}: segments of recordings are not read; expected one file per utterance; cut the recordings "
            "(Kaldi: extract-segments) and remove the file"
        )
    if may_lack_speaker and not (root / "utt2spk").is_file():
        speakers = {name: (where, name) for where, name, _ in _kaldi_pairs(root / "wav.scp")}
    else:
        speakers = {name: (where, value) for where, name, value in _kaldi_pairs(root / "utt2spk")}
    genders = {}
    if (root / "spk2gender").is_file():
        genders = {name: read_gender(value, where) for where, name, value in _kaldi_pairs(root / "spk2gender")}
    rows = []
    for where, name, value in _kaldi_pairs(root / "wav.scp"):
        if value.endswith("|"):
            raise RecipeError(
                f"{where}: '{name}' is a command ({value[:60]}); expected the name of a file, as commands of others are not "
                "run here; write the audio to files (Kaldi: wav-copy) and name these"
            )
        if name not in speakers:
            raise RecipeError(f"{where}: '{name}' has no speaker in {root / 'utt2spk'}; add a line there")
        speaker = speakers[name][1]
        path = as_on_disk(relative_path(value, audio_root, where), audio_root)
        rows.append(Row(id=name, path=path, speaker=speaker, gender=genders.get(speaker, "")))
    missing = sorted(set(speakers) - {row.id for row in rows})
    if missing:
        raise RecipeError(
            f"{speakers[missing[0]][0]}: '{missing[0]}' has no audio in {root / 'wav.scp'} ({len(missing)} such "
            f"utterances of {len(speakers)}); expected the same utterances in both; complete wav.scp, or remove the lines"
        )
    return rows


def with_metadata(rows: list[Row], path: Path, replace_spaces: str) -> list[Row]:
    """Return the rows with gender, nationality and split of their speakers, where they have none of their own.

    Raises:
        RecipeError: a speaker with two different entries, or no speaker that the rows know.
    """
    known: dict[str, tuple[str, str, str]] = {}
    for where, values in read_table(path, required=("speaker",)):
        parts = [values.get("corpus", ""), values["speaker"]]
        speaker = "/".join(fix_spaces(part, replace_spaces) for part in parts if part)
        entry = (read_gender(values.get("gender", ""), where), values.get("split", ""), values.get("nationality", ""))
        if known.setdefault(composed(speaker), entry) != entry:
            raise RecipeError(f"{where}: speaker '{speaker}' has two different entries; expected one; correct the table")
    if not any(composed(row.speaker) in known for row in rows):
        raise RecipeError(
            f"{path}: none of its {len(known)} speakers is in the corpus; expected names such as '{rows[0].speaker}', found "
            f"'{next(iter(known), '')}'; correct the table, prepare.speaker_level or prepare.corpus_level"
        )
    entries = [known.get(composed(row.speaker), ("", "", "")) for row in rows]
    return [
        replace(row, gender=row.gender or gender, split=row.split or split, nationality=row.nationality or nationality)
        for row, (gender, split, nationality) in zip(rows, entries, strict=True)
    ]


def find_file(name: str, root: Path) -> Path:
    """Return the file of that name in the root, or from the working folder; the former if there is none."""
    return next((path for path in (root / name, Path(name)) if path.is_file()), root / name)


def read_table(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (file:line, values by column) of a CSV or TSV file with a header; a tab in the header makes it a TSV.

    Raises:
        RecipeError: missing file, missing column, or a line with another number of fields than the header.
    """
    text = read_text(path)
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    header = [name.strip().lower() for name in next(reader, [])]
    missing = [name for name in required if name not in header]
    if missing:
        raise RecipeError(
            f"{path}:1: no column {', '.join(missing)}; expected a header with {', '.join(required)}, found {header}; "
            "add the header"
        )
    for fields in reader:
        if not fields:
            continue
        where = f"{path}:{reader.line_num}"
        if len(fields) != len(header):
            raise RecipeError(f"{where}: {len(fields)} fields, expected {len(header)} as in the header; correct the line")
        yield where, dict(zip(header, (field.strip() for field in fields), strict=True))


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


def relative_path(text: str, root: Path, where: str) -> str:
    """Return a path relative to the root, '/'-separated.

    Raises:
        RecipeError: it leads out of the root.
    """
    path = Path(text)
    if path.is_absolute():
        for base in (root, root.resolve()):
            if path.is_relative_to(base):
                path = path.relative_to(base)
                break
    if path.is_absolute() or ".." in path.parts:
        raise RecipeError(
            f"{where}: '{text}' does not lie below {root}; expected paths below it, as manifests hold relative paths only; "
            "name the common folder of all audio: set prepare.audio_root_name and --set site.<that name>=DIR"
        )
    return path.as_posix()


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


def _row_of_path(path: str, layout: Layout) -> Row:
    parts, split = PurePosixPath(path).parts, ""
    if layout.has_split_folders:
        split, parts = parts[0], parts[1:]
        if split not in SETS or not parts:
            raise RecipeError(
                f"{path}: lies in '{split}', expected the folders {', '.join(SETS)} as split = \"folders\" says; move it, or set "
                "prepare.split"
            )
    folders = [fix_spaces(part, layout.replace_spaces) for part in parts[:-1]]
    name = fix_spaces(without_suffix("/".join(parts)), layout.replace_spaces)
    if layout.may_lack_speaker and not -len(folders) <= layout.speaker_level < len(folders):
        return Row(id=name, path=path, speaker=name, split=split)
    corpus = _component(folders, layout.corpus_level)
    speaker = folders[layout.speaker_level]
    return Row(
        id=name,
        path=path,
        # Sub-corpora number their speakers without looking at each other.
        speaker=f"{corpus}/{speaker}" if corpus else speaker,
        session=_component(folders, layout.session_level),
        corpus=corpus,
        split=split,
    )


def _component(folders: list[str], level: int) -> str:
    return "" if level == NO_LEVEL else folders[level]


def _kaldi_pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (file:line, key, value) of one of Kaldi's tables."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        key, _, value = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        if not key or not value.strip():
            raise RecipeError(f"{path}:{number}: expected '<key> <value>', found {line!r}; correct the line")
        yield f"{path}:{number}", key, value.strip()


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; one that leads nowhere is no error
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
