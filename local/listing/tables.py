"""Rows and speakers of a table that says what there is: CSV, TSV, or the JSON lines of NeMo and lhotse."""

import re
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from local.listing import columns, lhotse_tables, notes, segments
from local.listing.contradictions import Values
from local.listing.files import Row, as_on_disk, fix_spaces, read_gender, relative_path, split_of, without_suffix
from local.listing.text_tables import Table, is_json, read_json_lines, read_lines, table_of_json
from steps.core.errors import RecipeError
from steps.data.audio import audio_info
from steps.data.names import composed

_COMMON_VOICE = "clips"  # the folder that its paths leave out
_OF_AGES = f", or, if people grew older, let the column be: --set 'prepare.other_columns=[\"{columns.AGE}\"]'"
_NUM_SHOWN = 5
_NUM_HELD = 20  # files, about, whose lengths are held against a table's
_LONGER = 0.05  # s, by which they differ
_PLACEHOLDER = re.compile(r"^(\$\w+|\$?\{\w+\})/")  # SpeechBrain's, for the folder of the corpus


def rows_of_table(
    root: Path, path: Path, replace_spaces: str, others: Sequence[str] = (), *, may_lack_speaker: bool = False
) -> list[Row]:
    """Return a row per line of a table.

    Columns: path, speaker [, id, session, gender, nationality, split, corpus, start, end or duration, channel], or what other
    tools call them (columns.py). Without an id a part of a file is called `<path>-<start>-<end>` in ms, and with several channels
    `-ch<number>` follows.

    Args:
        root: of the audio.
        path: of the table.
        replace_spaces: what blanks in names become; "": they stay.
        others: columns that are passed over.
        may_lack_speaker: a recording without a speaker is a speaker of its own.

    Raises:
        RecipeError: a column or value that is missing or means nothing, two lines that contradict each other, or a path outside
            the root.
    """
    table = _table(path)
    needed = ("path",) if may_lack_speaker else ("path", "speaker")
    read = columns.understood(table.header, table.where(1), known=columns.OF_UTTERANCES, required=needed, others=others)
    if read.unused:
        notes.say(f"{path}: columns that are not used: {', '.join(read.unused)}")
    lines = [(table.where(number), read.values(line)) for number, line in table.lines]
    for where, values in lines:
        _check_there(where, values, needed)
        if is_json(path):
            _check_texts(where, values)
    in_samples = "stop" in read.meaning  # SpeechBrain counts samples
    if in_samples:
        notes.say(f"{path}: start and stop count samples, as in SpeechBrain's tables; a column of seconds is called end")
    place = _placed(root, table, [values["path"] for _, values in lines])
    every = [values["path"] for _, values in lines]
    made = [_row(where, values, root, place, replace_spaces, in_samples, every) for where, values in lines]
    rows = [replace(row, source=str(path), line=number) for row, (number, _) in zip(made, table.lines, strict=True)]
    ages = Values()
    for row, (_, line) in zip(rows, table.lines, strict=True):
        ages.add("speaker", row.speaker, columns.AGE, read.age(line), row.where)
    ages.check(str(path), _OF_AGES)
    if "duration" in read.unused:
        _say_longer_files(rows, [line.get("duration", "") for _, line in table.lines], root)
    return _named(_with_channels(rows, lines), lines, root, replace_spaces)


def with_metadata(rows: list[Row], path: Path, replace_spaces: str, others: Sequence[str] = ()) -> list[Row]:
    """Return the rows with gender, nationality and split of their speakers, where they have none of their own.

    Raises:
        RecipeError: a speaker with two different entries, here or between the list of recordings and this one, or no speaker
            that the rows know.
    """
    table = _table(path)
    read = columns.understood(table.header, table.where(1), known=columns.OF_SPEAKERS, required=("speaker",), others=others)
    if read.unused:
        notes.say(f"{path}: columns that are not used: {', '.join(read.unused)}")
    values_of, ages, known = Values(), Values(), {}
    for number, line in table.lines:
        where, values = table.where(number), read.values(line)
        parts = [values.get("corpus", ""), values["speaker"]]
        speaker = composed("/".join(fix_spaces(part, replace_spaces) for part in parts if part))
        entry = {
            "gender": read_gender(values.get("gender", ""), where),
            "split": _split(values.get("split", ""), where),
            "nationality": values.get("nationality", ""),
        }
        ages.add("speaker", speaker, columns.AGE, read.age(line), where)
        for name, value in entry.items():
            values_of.add("speaker", speaker, name, value, where)
        known[speaker] = {name: value or known.get(speaker, {}).get(name, "") for name, value in entry.items()}
    if not any(composed(row.speaker) in known for row in rows):
        raise RecipeError(
            f"{path}: none of its {len(known)} speakers is in the corpus; expected names such as '{rows[0].speaker}', found "
            f"'{next(iter(known), '')}'; correct the table, or --set prepare.speaker_level or prepare.corpus_level"
        )
    _say_who_lacks_an_entry(path, {composed(row.speaker) for row in rows}, known.keys())
    for row in rows:
        for name in ("gender", "split", "nationality"):
            if composed(row.speaker) in known:
                values_of.add("speaker", composed(row.speaker), name, getattr(row, name), row.where)
    values_of.check(str(path))
    ages.check(str(path), _OF_AGES)
    return [_with_entry(row, known.get(composed(row.speaker), {})) for row in rows]


def _say_who_lacks_an_entry(path: Path, speakers: Set[str], known: Set[str]) -> None:
    """Say which speakers of the corpus are not in the metadata, and where some are not which of these are not in the corpus."""
    lacking, idle = sorted(speakers - known), sorted(known - speakers)
    if lacking:
        text = f"{len(lacking)} of {len(speakers)} speakers of the corpus are not in it, first {', '.join(lacking[:_NUM_SHOWN])}"
        text += f"; {len(idle)} of its own are not in the corpus, first {', '.join(idle[:_NUM_SHOWN])}" if idle else ""
        notes.say(f"{path}: {text}", is_expected=False)


def _with_entry(row: Row, entry: dict[str, str]) -> Row:
    changes = {name: value for name, value in entry.items() if value and not getattr(row, name)}
    return replace(row, **changes) if changes else row


def _table(path: Path) -> Table:
    if not is_json(path):
        return read_lines(path)
    lines = read_json_lines(path)
    return lhotse_tables.table(path, lines) or table_of_json(path, lines)


def _check_there(where: str, values: dict[str, str], needed: Iterable[str]) -> None:
    for name in needed:
        if not values[name]:
            raise RecipeError(f"{where}: empty {name}; expected a value in each line; complete the table")


def _check_texts(where: str, values: dict[str, str]) -> None:
    """Raise a RecipeError if a value of JSON is a list or an object."""
    name = next((name for name, value in values.items() if value[:1] in ("[", "{")), None)
    if name:
        raise RecipeError(f"{where}: {name} {values[name][:60]}; expected a text or a number; correct the line")


def _row(
    where: str,
    values: dict[str, str],
    root: Path,
    place: Callable[[str], str],
    replace_spaces: str,
    in_samples: bool,
    every: list[str],
) -> Row:
    path = as_on_disk(relative_path(place(values["path"]), root, where, every), root)
    speaker, corpus = (fix_spaces(values.get(name, ""), replace_spaces) for name in ("speaker", "corpus"))
    start, end = _stretch(where, values, root / path, in_samples)
    return Row(
        id=fix_spaces(values.get("id", ""), replace_spaces),
        path=path,
        speaker=f"{corpus}/{speaker}" if corpus and speaker else speaker,
        session=values.get("session", ""),
        gender=read_gender(values.get("gender", ""), where),
        corpus=corpus,
        split=_split(values.get("split", ""), where),
        nationality=values.get("nationality", ""),
        start=start,
        end=end,
    )


def _stretch(where: str, values: dict[str, str], path: Path, in_samples: bool) -> tuple[float, float]:
    start, end, duration = (values.get(name, "") for name in ("start", "end", "duration"))
    if in_samples:
        rate, duration = _rate(path), ""
        start, end = (
            f"{_sample(text, name, where) / rate!r}" if text and not segments.is_to_the_end(text) else text
            for name, text in (("start", start), ("stop", end))
        )
    return segments.stretch(where, start=start, end=end, duration=duration)


def _sample(text: str, name: str, where: str) -> float:
    value = segments.seconds(text, name, where)
    if not value.is_integer():
        raise RecipeError(
            f"{where}: {name} '{text}'; expected a whole number, as start and stop count samples (SpeechBrain); call the column "
            "'end' instead of 'stop' if these are seconds"
        )
    return value


def _say_longer_files(rows: Sequence[Row], durations: Sequence[str], root: Path) -> None:
    """Say where files are longer than a column duration says, which without a start is taken for that of the file."""
    longer = []
    for row, text in list(zip(rows, durations, strict=True))[:: max(1, len(rows) // _NUM_HELD)]:
        try:
            info = audio_info(root / row.path)
            length = info.num_samples / info.sampling_rate
            longer += [(row, text, length)] if length > float(text) + _LONGER else []
        except (ValueError, RecipeError):
            continue
    if longer:
        row, text, length = longer[0]
        found = f"files are longer than their duration, first {row.where}: {text}, and {length:g} s of audio"
        advice = "all of a file is used; if only its begin is meant, add a column start with 0"
        notes.say(f"{row.source}: {found}; {advice}", is_expected=False)


@lru_cache(maxsize=1)
def _rate(path: Path) -> int:
    return audio_info(path).sampling_rate


def _split(text: str, where: str) -> str:
    split = split_of(text)
    if text and not split:
        raise RecipeError(f"{where}: split '{text}'; expected one of train, dev, test, or nothing; correct the table")
    return split


def _placed(root: Path, table: Table, paths: Sequence[str]) -> Callable[[str], str]:
    """Return what makes a path of a table one below the root: it may begin in the table's folder, or leave out a folder."""
    here = table.path.parent
    prefixes = [root, here] + ([here / _COMMON_VOICE, root / _COMMON_VOICE] if "client_id" in table.header else [])
    first = _PLACEHOLDER.sub("", paths[0]) if paths else ""
    found = root
    if first and "\0" not in first and not Path(first).is_absolute():
        found = next((folder for folder in prefixes if (folder / first).is_file() and folder.is_relative_to(root)), root)
    if found == root:
        return lambda path: _PLACEHOLDER.sub("", path)
    notes.say(f"{table.path}: its paths are taken to begin in {found}")
    prefix = found.relative_to(root).as_posix()
    return lambda path: path if Path(path).is_absolute() else f"{prefix}/{_PLACEHOLDER.sub('', path)}"


def _with_channels(rows: list[Row], lines: Sequence[tuple[str, dict[str, str]]]) -> list[Row]:
    texts = [values.get("channel", "") for _, values in lines]
    if not any(texts):
        return rows
    found, from_zero = segments.channels(texts, [where for where, _ in lines])
    if from_zero:
        text = "the column channel counts from 0, as a 0 is in it: 0 is the first channel"
        notes.say(f"{rows[0].source}: {text}", is_expected=False)
    return [replace(row, channel=channel) for row, channel in zip(rows, found, strict=True)]


def _named(rows: list[Row], lines: Iterable[tuple[str, dict[str, str]]], root: Path, replace_spaces: str) -> list[Row]:
    """Return the rows with an id each: the given one, or one of what they are."""
    several = len({row.channel for row in rows} - {0}) > 1
    found = []
    for row, (where, values) in zip(rows, lines, strict=True):
        text = _PLACEHOLDER.sub("", values["path"])
        name = without_suffix(row.path if ".." in text else relative_path(text, root, where))
        name += segments.part_name(row) + (f"-ch{row.channel}" if several and row.channel else "")
        name = row.id or fix_spaces(name, replace_spaces)
        found.append(replace(row, id=name, speaker=row.speaker or name))
    return found
