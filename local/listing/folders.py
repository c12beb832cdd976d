"""Who speaks in which file, and in which set, as the folders of a corpus say it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from local.listing import first_bytes, notes
from local.listing.files import NO_LEVEL, SETS, SPLIT_OF, Row, fix_spaces, split_of, without_suffix
from steps.core.errors import RecipeError
from steps.data.audio import AUDIO_SUFFIXES

_NUM_SHOWN = 5
_FEW = 10  # speakers, who may be other things


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which component of a file's path says what; 0 = the first folder, -1 = the last one."""

    speaker_level: int
    session_level: int = NO_LEVEL
    corpus_level: int = NO_LEVEL
    split: str = ""  # "folders": one is the split and not counted by the levels; "auto": where there are such folders; "": none
    replace_spaces: str = ""
    may_lack_speaker: bool = False  # a file that lies in no such folder is a speaker of its own, called after it


def rows_of_folders(root: Path, layout: Layout) -> list[Row]:
    """Return a row per audio file below `root`, read from its path; splits where folders such as train/ and test/ give them.

    Raises:
        RecipeError: no audio file, files that are not as deep in folders as the layout says, one name for all speakers, or
            folders that give a split to some files only.
    """
    there = first_bytes.files_of(root)
    paths = there.read
    if not paths:
        lists = f", found {', '.join(there.lists[:_NUM_SHOWN])}" if there.lists else ""
        raise RecipeError(
            f"{root}: no audio file there{there.shown()}; expected {root}/.../<speaker>/<utterance>.<wav|flac|ogg|opus|mp3|m4a>, "
            f"or a table (--set prepare.table=FILE), or Kaldi's wav.scp and utt2spk{lists}; give the corpus folder with --data "
            "DIR"
        )
    split_level = _split_level(root, paths, layout)
    _check_speaker_level(root, paths, layout, split_level)
    rows, shallow = [], []
    for path in paths:
        try:
            rows.append(_row(path, layout, split_level))
        except IndexError:
            shallow.append(path)
    if shallow:
        raise RecipeError(
            f"{root}: {len(shallow)} of {len(paths)} files do not lie deep enough in folders: "
            f"{', '.join(shallow[:_NUM_SHOWN])}; expected folders for speaker_level = {layout.speaker_level}"
            + (f", corpus_level = {layout.corpus_level}" if layout.corpus_level != NO_LEVEL else "")
            + (f", session_level = {layout.session_level}" if layout.session_level != NO_LEVEL else "")
            + (" below train/, dev/ or test/" if layout.split == "folders" else "")
            + "; move the files into a folder for each speaker"
            + ("" if layout.speaker_level == -1 else ", or correct these settings (such as --set prepare.speaker_level=-1)")
            + "; where nobody knows who speaks, a trained model can score pairs: --model DIR, and --set prepare.trials=FILE of "
            "lines '<recording> <recording>' without labels"
        )
    _check_speakers(root, rows, split_level)
    return rows


def _row(path: str, layout: Layout, split_level: int | None) -> Row:
    parts = list(PurePosixPath(path).parts)
    counted, named, split = parts[:-1], parts, ""
    if split_level is not None:
        split = split_of(parts[split_level])
        named = parts[:split_level] + parts[split_level + 1 :]
        if layout.split == "folders":  # of "auto" the levels count all folders, as they do where no split is found
            counted = named[:-1]
    folders = [fix_spaces(part, layout.replace_spaces) for part in counted]
    name = without_suffix("/".join(named))
    name = fix_spaces(name if _is_listed(path) else first_bytes.stem(name), layout.replace_spaces)
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


def _check_speaker_level(root: Path, paths: Sequence[str], layout: Layout, split_level: int | None) -> None:
    """Raise a RecipeError if the level of the speaker is that of the split, which "auto" counts as any folder."""
    if split_level is None or layout.split == "folders":
        return
    level = layout.speaker_level
    depths = (path.count("/") for path in paths)
    if any(split_level == (level if level >= 0 else depth + level) for depth in depths):
        raise RecipeError(
            f"{root}: prepare.speaker_level = {level} is the folder of the split (such as {paths[0]}); expected one below it; "
            f"add --set prepare.speaker_level={split_level + 1}, or --set prepare.split=made if that folder is no split"
        )


def _is_listed(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES


def _component(folders: Sequence[str], level: int) -> str:
    return "" if level == NO_LEVEL else folders[level]


def _split_level(root: Path, paths: Iterable[str], layout: Layout) -> int | None:
    """Return which folder of each path is its split, None where none is.

    Raises:
        RecipeError: split = "folders" and the first one is none, or "auto" and it is unclear whether the folders are a split.
    """
    folders = [path.split("/")[:-1] for path in paths]
    if layout.split == "folders":
        odd = next((path for path in folders if not path or not split_of(path[0])), None)
        if odd is not None:
            raise RecipeError(
                f"{root}: '{'/'.join(odd)}': lies in '{odd[0] if odd else ''}', expected the folders {', '.join(SETS)} as "
                "prepare.split = folders says; move it, or let the split be drawn with --set prepare.split=made"
            )
        return 0
    return _found_split_level(root, folders, layout) if layout.split == "auto" else None


def _found_split_level(root: Path, folders: Sequence[Sequence[str]], layout: Layout) -> int | None:
    """Return the first folder that is train or test (or dev) in every path, if a speaker's folder is beside it."""
    for level in range(min(map(len, folders)) - 1):
        if {"train", "test"} <= {split_of(name) for name in {path[level] for path in folders}} <= set(SETS):
            return level
    first = {path[0] if path else "." for path in folders}
    if all(map(split_of, first)) and len({split_of(name) for name in first}) > 1 and max(map(len, folders)) == 1:
        raise RecipeError(
            f"{root}: all files lie in {', '.join(sorted(first))} themselves, so that these would be the speakers; expected "
            "folders of speakers in them (train/anna/1.wav); move the files, or say in a table who speaks "
            "(--set prepare.table=FILE, with columns path, speaker, split)"
        )
    exact = {path[0] for path in folders if path[:1] and path[0].lower() in SPLIT_OF and len(path) > 1}
    kinds = {SPLIT_OF[name.lower()] for name in exact}
    others = sorted({path[0] if path else "." for path in folders} - exact)
    if not kinds:
        _say_split_below(root, folders)
        return None
    if kinds == {"train"} and not others:
        notes.say(f"{root}: all lies in {', '.join(sorted(exact))}: test speakers are drawn from it", is_expected=False)
        return None
    below = [path for path in folders if path and path[0] in exact]
    speaker = layout.speaker_level
    is_speaker = all(-len(path) <= speaker < len(path) and path[speaker] in exact for path in below)
    if is_speaker:
        return None
    beside = f", beside {len(others)} other folders ({', '.join(others[:_NUM_SHOWN])})" if others else ""
    raise RecipeError(
        f"{root}: folders {', '.join(sorted(exact))}{beside}: expected train/ and test/ (dev/ may be) above all speakers, or "
        "none of them; move or remove what is not meant, or add --set prepare.split=made (speakers are drawn, whatever these "
        "folders are called) or --set prepare.split=test (all is test data)"
    )


def _say_split_below(root: Path, folders: Sequence[Sequence[str]]) -> None:
    """Say where each speaker has folders train and test: such a split shares its speakers, and is not used."""
    for level in range(1, min(map(len, folders))):
        names = sorted({path[level] for path in folders})
        if len({SPLIT_OF.get(name.lower()) for name in names}) > 1 and all(name.lower() in SPLIT_OF for name in names):
            above = f"{root}: folders {', '.join(names)} below others (such as {'/'.join(folders[0])})"
            text = (
                "are not used as a split, as they do not part speakers: speakers are drawn; expected train/ and test/ above them"
            )
            notes.say(f"{above} {text}", is_expected=False)
    alone = sorted({path[0] for path in folders if len(path) == 1 and path[0].lower() in SPLIT_OF})
    if len({SPLIT_OF[name.lower()] for name in alone}) > 1:
        text = f"folders {', '.join(alone)} hold recordings themselves, and are taken for speakers"
        notes.say(f"{root}: {text}; if they are none, move the recordings", is_expected=False)


def _check_speakers(root: Path, rows: Sequence[Row], split_level: int | None) -> None:
    """Raise a RecipeError where all files are of one speaker by name, though another folder of their paths differs.

    Where a few names are in all places of such a folder (anna/monday, ben/monday), that is said.
    """
    speakers = sorted({row.speaker for row in rows})
    if len(speakers) > _FEW or len(rows) < 2:
        return
    folders = [PurePosixPath(row.path).parts[:-1] for row in rows]
    for level in range(-1, -1 - min(map(len, folders)), -1):
        is_split = split_level is not None and any(len(path) + level == split_level for path in folders)
        pairs = {(row.speaker, path[level]) for row, path in zip(rows, folders, strict=True)}
        names = sorted({name for _, name in pairs})
        if is_split or len(names) <= len(speakers) or len(pairs) < len(names) * len(speakers):
            continue
        shown = f"the folder at level {level} has {len(names)} names ({', '.join(names[:_NUM_SHOWN])})"
        advice = f"take it as the speaker with --set prepare.speaker_level={level}"
        if len(speakers) == 1:
            raise RecipeError(
                f"{root}: all {len(rows)} files would be of one speaker, '{speakers[0]}' (such as {rows[0].path}); expected "
                f"several; {shown}: {advice}"
            )
        text = f"{len(speakers)} speakers ({', '.join(speakers[:_NUM_SHOWN])}), who are all in each of {len(names)} folders"
        notes.say(f"{root}: {text}: {shown}; if these are people, {advice}", is_expected=False)
        return
