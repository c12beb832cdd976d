"""What was found out about audio files: problems, for which they cannot be used, and remarks about those that are.

`problems.tsv` holds what is left out, or why the stage was refused: lines `<kind> <path> <what is wrong>` between tabs.
`remarks.tsv` holds what is used all the same, in lines of the same form: DC offset, clipping, content that the name does not
tell, links, and lists of trials that name files that are left out. Neither decides a number. What does not print in a path
is written with a backslash, as in Python, so that the files stay tables.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps.core.config import option
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.manifests import Utterance
from steps.data.names import printable
from steps.data.trials import Trials

if TYPE_CHECKING:
    from local.listing.shards import Files, Opened

PROBLEMS, REMARKS = "problems.tsv", "remarks.tsv"

_NUM_SHOWN = 5
_NO_RECORDINGS = ("rir",)  # impulse responses, whose offset and peak mean nothing
_OF_LIST = " is asked for"  # ends what is wrong with the list of channels, not with the file
_FIGURES = re.compile(r"(?<![\w-])\d[\d.,]*")
_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning

Finding = tuple[str, str, str]  # kind, path, what was found


def problems(opened: Iterable["Opened"]) -> list[Finding]:
    """Return (kind, path, what is wrong) of the bad files."""
    return [(each.kind, each.row.path, each.problem) for each in opened if each.problem]


def with_short_ones(opened: Iterable["Opened"], min_duration: float, banks: Iterable[str]) -> list["Opened"]:
    """Return all files, those of speech that are shorter than `min_duration` (s) with that as their problem."""
    passed_over = set(banks)

    def judged(each: "Opened") -> "Opened":
        if each.problem or each.kind in passed_over or each.num_samples >= min_duration * each.sampling_rate:
            return each
        seconds = each.num_samples / each.sampling_rate
        where = f" ({each.row.where})" if each.row.is_part and each.row.source else ""
        what = f"is too short: {seconds:.6g} s, expected prepare.min_duration = {min_duration:g} s or more{where}"
        return replace(each, problem=what)

    return [judged(each) for each in opened]


def refuse_bad(
    opened: list["Opened"], out: Path, *, bad_audio: str, max_bad: float, first: list["Opened"] | None = None
) -> list[Finding]:
    """Return the problems of the bad files where they are to be left out, and say so.

    Args:
        opened: all files.
        out: gets problems.tsv where they are refused.
        bad_audio: "fail" or "exclude".
        max_bad: share of all files.
        first: the same files where prepare.channel = "first" would take one channel of several; None: it would change nothing.

    Raises:
        RecipeError: there are some and bad_audio is "fail", they are more than the share `max_bad` of all, or all of a kind.
    """
    bad = problems(opened)
    if not bad:
        return bad
    emptied = _emptied(opened)
    if bad_audio == "exclude" and len(bad) / len(opened) <= max_bad and not emptied:
        _LOG.warning("%d of %d audio files are left out (%s); see %s", len(bad), len(opened), _kinds(bad), PROBLEMS)
        return bad
    write(out / PROBLEMS, bad)
    shown = "; ".join(f"{printable(path)} {what}" for _, path, what in bad[:_NUM_SHOWN])
    limit = f" (prepare.max_bad = {max_bad:g})" if bad_audio == "exclude" else ""
    limit = f" (so that none is left of: {', '.join(emptied)})" if emptied else limit
    repairs = _repairs(opened, first, bad_audio, max_bad)
    options = "".join(f" {option(name, value)}" for name, value in repairs)
    advice = f"repair or remove them, or add{options}" if repairs else "repair or remove them (prepare.bad_audio says no more)"
    advice = "correct the channels of the list: how they are counted, or the lines" if _asks_for_others(opened) else advice
    raise RecipeError(
        f"{len(bad)} of {len(opened)} audio files cannot be used{limit}: {shown}{'; ...' if len(bad) > _NUM_SHOWN else ''}; "
        f"in all {_kinds(bad)}; the whole list is in {out / PROBLEMS}; {advice}",
        repairs=repairs,
    )


def _asks_for_others(opened: Iterable["Opened"]) -> bool:
    """Whether a list names channels that files do not have: those that they do have may be meant otherwise, too."""
    return any(each.problem and _OF_LIST in each.problem for each in opened)


def _emptied(opened: Iterable["Opened"]) -> list[str]:
    """The kinds of files of which none is good."""
    opened = list(opened)
    return sorted({each.kind for each in opened} - {each.kind for each in opened if not each.problem})


def _repairs(opened: list["Opened"], first: list["Opened"] | None, bad_audio: str, max_bad: float) -> list[tuple[str, Any]]:
    """Settings with which the good files are used and the others left out; none where a kind of files would be lost."""
    left = opened if first is None else first
    num = len(problems(left))
    if _emptied(left) or _asks_for_others(left):
        return []
    repairs: list[tuple[str, Any]] = [] if first is None else [("prepare.channel", "first")]
    if num and bad_audio != "exclude":
        repairs.append(("prepare.bad_audio", "exclude"))
    if num / len(left) > max_bad:
        repairs.append(("prepare.max_bad", next(share / 100 for share in range(1, 101) if num / len(left) <= share / 100)))
    return repairs


def left_out(opened: Iterable["Opened"], kept: Iterable[Utterance], banks: Iterable[str]) -> list["Opened"]:
    """Return the files of speech that became no utterance, each with a problem."""
    names, passed_over = {utterance.id for utterance in kept}, set(banks)
    gone = [each for each in opened if each.kind not in passed_over and each.row.id not in names]
    return [each if each.problem else replace(each, problem="is of a speaker with too few utterances") for each in gone]


@contextmanager
def explained(gone: Iterable["Opened"]) -> Iterator[None]:
    """Add to a RecipeError about a list that one of the files that it names was left out, and why."""
    try:
        yield
    except RecipeError as error:
        text = str(error)
        named = next((each for each in gone if f"'{each.row.id}'" in text), None)
        if named is None:
            raise
        why = f"'{named.row.id}' was left out, as {printable(named.row.path)} {named.problem}: repair it, or change the list"
        raise RecipeError(f"{text}; {why}") from None


def missing_trials(lists: Mapping[str, Trials], gone: Iterable["Opened"]) -> list[Finding]:
    """Return, and say, how many trials of each list name files that were left out: they stay in the list, without a score."""
    names, found = {each.row.id for each in gone}, []
    for name, trials in lists.items() if names else ():
        pairs = zip(trials.enrol_ids, trials.test_ids, strict=True)
        num = sum(enrol in names or test in names for enrol, test in pairs)
        if num:
            what = f"{num} of {len(trials)} trials name files that are left out"
            found.append(("trials", name, what))
            _LOG.warning(
                "trial list %s: %s; stage 6 refuses them, or counts them with --set score.allow_missing=true", name, what
            )
    return found


def remarks(opened: Iterable["Opened"], listing: Mapping[str, "Files"]) -> list[Finding]:
    """Return (kind, path, remark) of files that are used, and of links that lead elsewhere; say how many there are."""
    good = [each for each in opened if not each.problem]
    found = [
        (each.kind, each.row.path, remark)
        for each in good
        if each.remark and each.kind not in _NO_RECORDINGS
        for remark in each.remark.split("; ")
    ]
    for kind, files in listing.items():
        found += [(kind, path, what) for path, what in links(files.root, (each.row.path for each in good if each.kind == kind))]
    if found:
        _LOG.info("%d remarks on audio that is used (%s); see %s", len(found), _kinds(found), REMARKS)
    return found


def links(root: Path, paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return (path, what it is) of the links among files and the folders above them.

    A link out of the root is followed, and said, since the corpus cannot be moved without it; one within it is said because
    the same audio may be there under two names.
    """
    names = {"/".join(parts[:end]) for parts in (path.split("/") for path in paths) for end in range(1, len(parts) + 1)}
    there, found = root.resolve(), []
    for name in sorted(names):
        path = os.path.join(root, name)
        if os.path.islink(path):
            target = Path(os.path.realpath(path))
            inside = target.is_relative_to(there)
            what = f"link: the same as {target.relative_to(there).as_posix()}" if inside else "link: leads out of the corpus"
            found.append((name, what))
    return found


def write(path: Path, found: Iterable[Finding]) -> None:
    """Write a line for each finding, sorted; no file if there are none."""
    _write_lines(path, map(_line, found))


def add(path: Path, found: Iterable[Finding]) -> None:
    """Write the findings into a file that may hold others."""
    there = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    _write_lines(path, {*there, *map(_line, found)})


def _line(found: Finding) -> str:
    return "\t".join(printable(text.replace("\\", "\\\\")) for text in found) + "\n"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    lines = sorted(lines)
    if lines:
        with atomic_write(path) as file:
            file.writelines(lines)


def _kinds(found: Iterable[Finding]) -> str:
    """How often each thing was found, without its figures."""
    counts = Counter(_FIGURES.sub("N", re.split(r":| \(|, ", what, maxsplit=1)[0]) for _, _, what in found)
    return ", ".join(f"{num} x {what}" for what, num in counts.most_common(_NUM_SHOWN))
