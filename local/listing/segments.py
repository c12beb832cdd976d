"""Parts of recordings: where they begin and end, which channel, and who else is heard in them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from local.listing.files import Row
from steps.core.errors import RecipeError

TO_THE_END = ("", "-1")  # as an end, as in Kaldi's segments
_LETTERS = {"a": 1, "b": 2, "l": 1, "r": 2, "left": 1, "right": 2}
_SLACK = 0.01  # s; a length and the difference of two times are rounded each
_MOST_CHANNELS = 1024
_MOST_SECONDS = 1e9


def seconds(text: str, name: str, where: str) -> float:
    """Return a time in seconds.

    Raises:
        RecipeError: no number, or below 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < _MOST_SECONDS:
        raise RecipeError(f"{where}: {name} '{text}'; expected seconds, 0 or more; correct the line")
    return value


def stretch(where: str, *, start: str = "", end: str = "", duration: str = "") -> tuple[float, float]:
    """Return (start, end) in seconds; an end of 0 means that of the file.

    Args:
        where: file:line.
        start: "" = 0.
        end: "" or "-1" = the end of the file.
        duration: instead of the end, or beside it.

    Raises:
        RecipeError: no times, a start that is not before the end, or a duration that is not between them.
    """
    begin = seconds(start, "start", where) if start else 0.0
    length = seconds(duration, "duration", where) if duration else 0.0
    if is_to_the_end(end):
        if duration and not length:
            raise RecipeError(f"{where}: duration '{duration}'; expected more than 0 s; correct the line")
        return begin, begin + length if length else 0.0
    until = seconds(end, "end", where)
    if until <= begin:
        raise RecipeError(f"{where}: start {begin:g} s, end {until:g} s; expected a start before the end; correct the line")
    if duration and abs(until - begin - length) > _SLACK:
        raise RecipeError(
            f"{where}: start {begin:g} s, end {until:g} s and duration {length:g} s; expected a duration of {until - begin:g} s; "
            "correct the line"
        )
    return begin, until


def is_to_the_end(end: str) -> bool:
    """Return whether a text for an end means that of the file."""
    try:
        return not end or float(end) == -1
    except ValueError:
        return False


def channels(texts: Sequence[str], wheres: Sequence[str]) -> tuple[list[int], bool]:
    """Return the channels of some lines, from 1 on (0: none is given), and whether they were counted from 0.

    Letters are those of telephone calls: A is the first and B the second. Numbers count from 1, but from 0 where one is 0.

    Raises:
        RecipeError: another word, or letters beside a 0.
    """
    values = []
    for text, where in zip(texts, wheres, strict=True):
        word = text.strip().lower()
        value = _LETTERS.get(word, int(word) if word.isascii() and word.isdigit() and len(word) < 5 else -1) if word else None
        if value is not None and not 0 <= value <= _MOST_CHANNELS:
            raise RecipeError(f"{where}: channel '{text}'; expected 1, 2 ... or A, B, or nothing; correct the line")
        values.append(value)
    from_zero = 0 in values
    if from_zero and any(text.strip().lower() in _LETTERS for text in texts):
        where = wheres[values.index(0)]
        raise RecipeError(f"{where}: channel 0, and letters in other lines; expected one way to count; correct the lines")
    return [0 if value is None else value + from_zero for value in values], from_zero


def channel_from_zero(text: str, where: str) -> int:
    """Return the channel, from 1 on, that a text of Kaldi's segments says, which counts from 0. Raises RecipeError if none."""
    if not (text.isascii() and text.isdigit() and int(text[:5]) < _MOST_CHANNELS):
        raise RecipeError(f"{where}: channel '{text}'; expected 0, 1 ..., as Kaldi's extract-segments counts; correct the line")
    return int(text) + 1


def check_channels(rows: Iterable[Row], channel: str) -> None:
    """Raise a RecipeError if a row has another channel than `prepare.channel` says ("mono": it says nothing of them)."""
    wanted = {"first": 1, "second": 2}.get(channel)
    odd = [row for row in rows if row.channel and row.channel != wanted] if wanted else []
    if odd:
        raise RecipeError(
            f"{odd[0].where}: channel {odd[0].channel}, and prepare.channel = {channel} says channel {wanted} of every file "
            f"({len(odd)} such lines); expected one of them; leave out the setting, as the list says it, or correct the list"
        )


def part_name(row: Row) -> str:
    """Return what follows the name of a file in the id of its part: -<start>-<end> in ms, as Kaldi writes it."""
    if not row.is_part:
        return ""
    end = f"{round(row.end * 1000):07d}" if row.end else "end"
    return f"-{round(row.start * 1000):07d}-{end}"


def shared(rows: Iterable[Row]) -> list[tuple[Row, Row, float]]:
    """Return pairs of parts of one recording and channel that overlap and are of two speakers, and by how much (s).

    Each part is held against those that begin after it and before its end; whole files end at infinity.
    """
    groups: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.path, row.channel].append(row)
    found = []
    for group in groups.values():
        ordered = sorted(group, key=lambda row: row.start)
        active: list[Row] = []
        for row in ordered if len(ordered) > 1 else ():
            active = [other for other in active if _end(other) > row.start]
            found += [(other, row, min(_end(other), _end(row)) - row.start) for other in active if other.speaker != row.speaker]
            active.append(row)
    return found


def check_shared(rows: Iterable[Row]) -> list[tuple[bool, str]]:
    """Return what is to be said of parts that overlap with those of other speakers.

    Raises:
        RecipeError: the same stretch of a recording is given to two speakers, or a whole recording beside a part of it.
    """
    found = shared(rows)
    same = [(one, other) for one, other, _ in found if _is_same_stretch(one, other) or not one.is_part or not other.is_part]
    if same:
        one, other = same[0]
        raise RecipeError(
            f"{other.where}: {_what(other)} is given to '{other.speaker}', and {_what(one)} to '{one.speaker}' in {one.where} "
            f"({len(same)} such pairs); expected one speaker for the same audio, as it may be in train and in test; correct the "
            "list, or give start and end, or channel, of each"
        )
    if not found:
        return []
    overlap = sum(length for _, _, length in found)
    one, other, length = max(found, key=lambda each: each[2])
    text = (
        f"parts of a recording that overlap with those of another speaker: {len(found)} pairs, {overlap:.1f} s in all; the "
        f"longest {length:.1f} s, {one.where} ({one.speaker}) and {other.where} ({other.speaker}); that audio may be in train "
        "and in test"
    )
    return [(False, text)]


def _is_same_stretch(one: Row, other: Row) -> bool:
    """Whether two rows begin and end at the same time, as it may be rounded."""
    begin_alike = abs(one.start - other.start) < _SLACK
    return begin_alike and (one.end == other.end or (one.end > 0 and other.end > 0 and abs(one.end - other.end) < _SLACK))


def _end(row: Row) -> float:
    return row.end or math.inf


def _what(row: Row) -> str:
    stretch_ = f"{row.start:g} s to {f'{row.end:g} s' if row.end else 'the end'} of " if row.is_part else "all of "
    return f"{stretch_}{row.path}" + (f" (channel {row.channel})" if row.channel else "")
