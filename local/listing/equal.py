"""Recordings of speech that are equal to the last bit: the same audio under two names, or under two speakers."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from local.listing.findings import Finding
from local.listing.shards import Opened
from steps.data.same_content import write_groups


def write_equal(out: Path, opened: Iterable[Opened], channel: int) -> list[Finding]:
    """Write the groups of equal recordings, and return a remark about each of them.

    Only what `Opened.content` knows is compared: files of equal bytes, and of them the same samples and channel.
    """
    groups = _groups(opened, channel)
    write_groups(out, [[each.row.id for each in group] for group in groups])
    return [finding for group in groups for finding in _remarks(group)]


def _groups(opened: Iterable[Opened], channel: int) -> list[list[Opened]]:
    known = [each for each in opened if each.kind == "speech" and each.content and not each.problem]
    counts = Counter(each.content for each in known)
    found: dict[tuple, list[Opened]] = defaultdict(list)
    for each in known:
        if counts[each.content] > 1:
            part = each.utterance(channel)
            found[each.content, part.start, part.num_samples, part.channel].append(each)
    return [group for group in found.values() if len(group) > 1]


def _remarks(group: list[Opened]) -> list[Finding]:
    first, *others = sorted(group, key=lambda each: each.row.path)
    return [(each.kind, each.row.path, f"{_what(first, each)}, {_whose(first, each)}") for each in others]


def _what(first: Opened, other: Opened) -> str:
    if other.row.path == first.row.path:
        return f"the same recording is '{other.row.id}' and '{first.row.id}'"
    if other.row.is_part:
        return f"its part '{other.row.id}' has the same content as '{first.row.id}' of {first.row.path}"
    return f"the same content as {first.row.path}"


def _whose(first: Opened, other: Opened) -> str:
    speaker = first.row.speaker
    return "of the same speaker" if other.row.speaker == speaker else f"of ANOTHER speaker, '{speaker}' not '{other.row.speaker}'"
