"""Tables of what stage 1 understood of the data (summary.json): sets, trial lists, and what tells their trials apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steps.tables.table import Table, without_empty_columns

Summary = Mapping[str, Any]

_SPEECH_SETS = ("train", "dev", "test")
_SETS_NOTE = (
    "Seconds of an utterance and utterances of a speaker: least, median, most. Band: up to where some utterances hold sound."
)
_KINDS = {"set": "set ", "trials": "list "}
_FACTORS = {
    "duration_alike": "Durations alike", "duration": "Long", "level_alike": "Levels alike", "level": "Loud", "recording": "File",
    "session": "Session", "corpus": "Corpus", "gender": "Gender",
}  # fmt: skip
_DRIFTS = {"along": "along the list", "speakers": "by speaker", "corpora": "by corpus"}
_DESIGN_NOTE = (
    "EER % of what is not the voice, taken for a score; 50 = it tells nothing, * = something. Long, loud: both sides together. "
    "Targets %: lowest and highest share of target trials of tenths of the list, speakers (10 and 90 percentiles), sub-corpora."
)


def data_tables(summary: Summary) -> list[Table]:
    """Return the tables that have rows: sets, trial lists, design of the lists."""
    return [table for table in (sets_table(summary), lists_table(summary), design_table(summary)) if table.rows]


def sets_table(summary: Summary) -> Table:
    """Return what each set holds."""
    columns = (
        "Set", "Speakers", "Utterances", "Hours", "Seconds", "Per speaker", "Rates Hz", "Band kHz", "f", "m", "Gender unknown",
        "Sessions", "Corpora",
    )  # fmt: skip
    names = sorted(summary["sets"], key=lambda name: (name not in _SPEECH_SETS, (*_SPEECH_SETS, name).index(name), name))
    rows = tuple(_set_row(name, summary["sets"][name]) for name in names)
    return without_empty_columns(Table(title="Sets", columns=columns, rows=rows, num_left=1, note=_SETS_NOTE))


def lists_table(summary: Summary) -> Table:
    """Return how many trials of which kind each list holds."""
    columns = (
        "List", "Target", "of f", "of m", "in one session", "Non-target", "f-f", "f-m", "m-m", "No label", "across corpora",
        "Speakers", "Enrolled", "of them models", "Tested", "Mirrored pairs", "Doubled", "With itself", "Without recordings",
    )  # fmt: skip
    rows = tuple(_list_row(name, found) for name, found in summary["lists"].items())
    return without_empty_columns(Table(title="Trial lists", columns=columns, rows=rows, num_left=1))


def design_table(summary: Summary) -> Table:
    """Return the EER of each factor of each list, and how the share of target trials drifts."""
    columns = ("List", *_FACTORS.values(), *(f"Targets % {drift}" for drift in _DRIFTS.values()))
    rows = tuple(_design_row(name, found["design"]) for name, found in summary["lists"].items() if any(found["design"].values()))
    title = "What besides the voice tells trials apart"
    return without_empty_columns(Table(title=title, columns=columns, rows=rows, num_left=1, note=_DESIGN_NOTE))


def remark_lines(summary: Summary) -> list[str]:
    """Return each remark as a line of text, after what it is about."""
    return [f"{_KINDS.get(kind, '')}{name}: {text}" for kind, name, text in summary["remarks"]]


def of_records(records: Sequence[Mapping[str, Any]]) -> list[tuple[list[str], Summary]]:
    """Return (systems, the summary of their data) of records, each summary once; records without one are left out."""
    found: list[tuple[list[str], Summary]] = []
    for record in records:
        if record.get("data"):
            known = next((systems for systems, summary in found if summary == record["data"]), None)
            if known is None:
                found.append(([record["system"]], record["data"]))
            else:
                known.append(record["system"])
    return found


def _set_row(name: str, found: Mapping[str, Any]) -> tuple[str | None, ...]:
    is_speech, genders = name in _SPEECH_SETS, found["genders"]
    documented = is_speech and bool(set(genders) - {""})
    per_speaker = " / ".join(f"{number:,}" for number in found["per_speaker"])
    return (
        name,
        f"{found['speakers']:,}" if is_speech else None,
        f"{found['utterances']:,}",
        f"{found['hours']:,.2f}" if found["hours"] < 100 else f"{found['hours']:,.0f}",
        " / ".join(f"{seconds:,.2f}" if seconds < 100 else f"{seconds:,.0f}" for seconds in found["seconds"]),
        per_speaker if is_speech else None,
        ", ".join(rate if len(found["rates"]) == 1 else f"{rate} x {num:,}" for rate, num in found["rates"].items()),
        f"{found['band'] / 1000:.1f}" if found.get("band") else None,
        *(_count(genders.get(gender)) if documented else None for gender in ("f", "m", "")),
        _count(found["sessions"]) if is_speech else None,
        f"{len(found['corpora']):,}" if is_speech and len(found["corpora"]) > 1 else None,
    )


def _list_row(name: str, found: Mapping[str, Any]) -> tuple[str | None, ...]:
    target, nontarget, sessions = found["target_genders"], found["nontarget_genders"], found["target_sessions"]
    return (
        name,
        f"{found['target']:,}" if not found["unlabelled"] else None,
        *(_count(target.get(gender)) for gender in ("f", "m")),
        f"{sessions['same']:,}" if sum(sessions.values()) else None,
        f"{found['nontarget']:,}" if not found["unlabelled"] else None,
        *(_count(nontarget.get(kind)) for kind in ("f-f", "f-m", "m-m")),
        _count(found["unlabelled"]),
        _count(found["across_corpora"]),
        f"{found['speakers']:,}",
        f"{found['enrolled']:,}",
        _count(found["models"]),
        f"{found['tested']:,}",
        *(_count(found[fault]) for fault in ("mirrored", "doubled", "with_itself", "missing")),
    )


def _design_row(name: str, design: Mapping[str, Any]) -> tuple[str | None, ...]:
    factors = [design["factors"].get(factor) for factor in _FACTORS]
    drifts = [design["drift"].get(drift) for drift in _DRIFTS]
    return (
        name,
        *(f"{100 * found['eer']:.1f}{'*' * found['tells']}" if found else None for found in factors),
        *(f"{100 * shares[0]:.1f} to {100 * shares[1]:.1f}" if shares else None for shares in drifts),
    )


def _count(number: int | None) -> str | None:
    return f"{number:,}" if number else None
