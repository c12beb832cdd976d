"""What is odd about the names of speakers: one person under two spellings, and a word for nobody that became a person."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

_NUM_SHOWN = 3
_NOBODY = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "unk", "unknown", "?", "-", "anonymous", "speaker"})


def name_remarks(speakers: Mapping[str, Iterable[str]]) -> list[str]:
    """Return what is to be said of the names of the speakers of some sets.

    Args:
        speakers: set -> names, each once or more often.
    """
    set_of = {speaker: name for name, found in speakers.items() for speaker in found}
    return [*_alike(set_of), *_nobody(set_of)]


def _alike(set_of: Mapping[str, str]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for speaker in sorted(set_of):
        groups[_plain(speaker)].append(speaker)
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        return []
    apart = sum(len({set_of[speaker] for speaker in group}) > 1 for group in found)
    shown = "; ".join(" and ".join(group[:_NUM_SHOWN]) for group in found[:_NUM_SHOWN])
    shown += "; ..." if len(found) > _NUM_SHOWN else ""
    where = f", {apart} times in different sets" if apart else ""
    return [
        f"{sum(map(len, found))} speaker names differ only in capitals, hyphens or zeros ({shown}): each is taken for another "
        f"person{where}; if they are one, write them alike"
    ]


def _nobody(set_of: Mapping[str, str]) -> list[str]:
    found = [speaker for speaker in sorted(set_of) if speaker.rpartition("/")[2].casefold() in _NOBODY]
    if not found:
        return []
    return [f"taken for one person each: {', '.join(found)}; if nobody knows who these are, leave their lines or files out"]


def _plain(name: str) -> str:
    """A name without what people write now so, now so: 007 and 7.0, Anna_B and anna-b."""
    if re.fullmatch(r"[0-9]+(\.0+)?", name):
        return name.partition(".")[0].lstrip("0") or "0"
    return re.sub(r"[\s_-]+", "_", name.casefold())
