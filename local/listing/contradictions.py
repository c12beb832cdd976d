"""What is said twice of one id must be the same: a speaker has one gender, an utterance one file. Both lines are named."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from local.listing import segments
from local.listing.files import Row
from steps.core.errors import RecipeError

_NUM_SHOWN = 5
_OF_SPEAKERS = ("gender", "nationality")


class Values:
    """Values by id, each with the line that says it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._found: dict[tuple[str, str, str], str] = {}

    def add(self, kind: str, name: str, what: str, value: str, where: str) -> None:
        """Note that a line says a value of an id; "" says nothing, nor does a value of no id.

        Args:
            kind: of the id, such as "speaker".
            name: the id.
            what: is said of it, such as "gender".
            value: what it is said to be.
            where: file:line.
        """
        if not value or not name:
            return
        other, there = self._known.setdefault((kind, name, what), (value, where))
        if other != value:
            text = f"{kind} '{name}' has {what} '{other}' ({there}) and '{value}' ({where})"
            self._found.setdefault((kind, name, what), text)

    def check(self, where: str, advice: str = "") -> None:
        """Raise a RecipeError that names the contradictions; `advice` is another way to repair them."""
        if self._found:
            raise RecipeError(
                f"{where}: two different entries: {'; '.join(list(self._found.values())[:_NUM_SHOWN])}"
                f"{f'; ... ({len(self._found)} in all)' if len(self._found) > _NUM_SHOWN else ''}; expected one value of each; "
                f"correct one of the lines{advice}"
            )


def checked(rows: Sequence[Row], where: str) -> list[Row]:
    """Return the rows, with gender and nationality of a speaker in all of them where some say it.

    Raises:
        RecipeError: a speaker with two genders or nationalities, an id twice, or one recording given to two speakers.
    """
    said: dict[str, tuple[str, str]] = {}
    differ = any(said.setdefault(row.speaker, (row.gender, row.nationality)) != (row.gender, row.nationality) for row in rows)
    if differ:
        values = Values()
        for row in rows:
            for name in _OF_SPEAKERS:
                values.add("speaker", row.speaker, name, getattr(row, name), row.where)
        values.check(where)
    _check_ids(rows, where)
    if len({row.path for row in rows}) < len(rows):
        segments.check_shared(rows)
    return _completed(rows) if differ else list(rows)


def _check_ids(rows: Sequence[Row], where: str) -> None:
    """Raise a RecipeError for an id of two lines of lists; of files the later check speaks, which names them."""
    first: dict[str, Row] = {}
    found = []
    for row in rows if any(row.source for row in rows) else ():
        other = first.setdefault(row.id, row)
        if other is not row:
            found.append(f"'{row.id}' in {other.where} ({other.path}) and {row.where} ({row.path})")
    if found:
        raise RecipeError(
            f"{where}: {len(found)} utterance ids are there more than once: {'; '.join(found[:_NUM_SHOWN])}"
            f"{'; ...' if len(found) > _NUM_SHOWN else ''}; expected each id once; remove a line, or give ids of their own"
        )


def _completed(rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    known: dict[tuple[str, str], str] = {}
    for row in rows:
        for name in _OF_SPEAKERS:
            if getattr(row, name):
                known[row.speaker, name] = getattr(row, name)
    return [replace(row, **{name: known.get((row.speaker, name), "") for name in _OF_SPEAKERS}) for row in rows]
