"""What is documented about a published corpus, and how a copy on disk compares with it."""

from collections.abc import Mapping
from dataclasses import dataclass

SMALL_SHORTFALL = 0.01  # share of the utterances; many a copy lacks a file or two


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of what a set or a list holds; None where the number is not known for sure."""

    speakers: int | None = None
    utterances: int | None = None
    trials: int | None = None
    targets: int | None = None  # of these trials


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


def _numbers(counts: Counts) -> Mapping[str, int]:
    values = {
        "trials": counts.trials, "target trials": counts.targets, "utterances": counts.utterances, "speakers": counts.speakers,
    }  # fmt: skip
    return {measure: number for measure, number in values.items() if number is not None}
