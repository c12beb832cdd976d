"""What is documented about a published corpus, and how a copy on disk compares with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMALL_SHORTFALL = 0.01  # share of the utterances; many a copy lacks a file or two
_ORDER = ("speakers", "utterances", "trials", "target trials")  # of the columns of a table


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of what a set or a list holds; None where the number is not known for sure."""

    speakers: int | None = None
    utterances: int | None = None
    trials: int | None = None
    targets: int | None = None  # of these trials


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A part of a corpus or a list, and what is documented about it: a line of a table."""

    name: str
    found: Counts
    known: Counts | None = None
    meaning: str = ""
    is_expected: bool = True


def compare(found: Counts, known: Counts | None) -> tuple[bool, str]:
    """Return whether all counts are as known, and the counts in words, with the known one behind each that differs."""
    parts, is_equal = [], True
    for measure, number in _numbers(found).items():
        expected = _numbers(known).get(measure) if known else None
        part = f"{number:,} {measure}"
        if expected is not None and expected != number:
            is_equal = False
            part += f" (documented: {expected:,})"
        parts.append(part)
    return is_equal, ", ".join(parts)


def is_small_shortfall(found: Counts, known: Counts) -> bool:
    """Return whether all speakers are there, and no more than SMALL_SHORTFALL of the utterances are missing."""
    if known.speakers not in (None, found.speakers):
        return False
    if known.utterances is None or found.utterances is None:
        return True
    return 0 <= 1 - found.utterances / known.utterances <= SMALL_SHORTFALL


def table(lines: Sequence[Compared]) -> list[tuple[bool, str]]:
    """Return (as expected?, text) of a header and of each line, in columns: the number found, and the documented one where known.

    "-" stands for what was not counted. Columns that no line has are left out.
    """
    measures = [name for name in _ORDER if any(name in _numbers(line.found) for line in lines)]
    cells = [["found / documented", *measures, ""]]
    for line in lines:
        found, known = _numbers(line.found), _numbers(line.known) if line.known else {}
        cells.append([line.name, *(_cell(found.get(name), known.get(name)) for name in measures), line.meaning])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return list(zip([True, *(line.is_expected for line in lines)], texts, strict=True))


def _cell(found: int | None, known: int | None) -> str:
    if found is None:
        return "-"
    return f"{found:,}" if known is None else f"{found:,} / {known:,}"


def _numbers(counts: Counts) -> Mapping[str, int]:
    values = {
        "trials": counts.trials, "target trials": counts.targets, "utterances": counts.utterances, "speakers": counts.speakers,
    }  # fmt: skip
    return {measure: number for measure, number in values.items() if number is not None}
