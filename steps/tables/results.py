"""The tables of a report, made of result.json records and of published figures.

A record is what result.json holds. A trial list called `<list>-<corpus>`, where `<list>` is a list too, holds the
trials of that list within one sub-corpus; any other list is a pooled one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from steps.tables.table import Table, without_empty_columns

Record = Mapping[str, Any]

FEW = 20  # speakers or target trials; of fewer an interval is too narrow to believe
TOO_FEW = "too few to tell"
_LEN_COMMIT = 10
_EER_RULES = (
    "EER: the mean of miss and false-alarm rate at the threshold where they are nearest (step rule). EER (ROCCH): the rate at "
    "which they are equal on the convex hull of the ROC, that is the Bayes error of the worst prior with the best threshold."
)
_ACCURACY_NOTE = (
    "Accuracy: the mean of the shares of target trials that are accepted and of non-target trials that are rejected, at the "
    "threshold that is best on trials of held-out training speakers (dev). The network's own: a siamese output of one half."
)
_AMBIGUOUS_NOTE = (
    "Ambiguous: by average linkage of the windows of both sides, same-speaker trials that merge at 0.6 or higher and "
    "different-speaker trials that merge at 0.4 or lower, in cosine distance. The limits are ZHAW's, for heights from 0 to 1."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that somebody printed: never ours."""

    system: str  # of a point of a sweep "<sweep>.<point>"
    list: str
    eer: float | None = None  # fraction
    min_dcf: Mapping[str, float] = field(default_factory=dict)  # by prior, as text
    source: str = ""  # where it is printed
    note: str = ""


def of_systems(published: Iterable[Published]) -> list[Published]:
    """Return the published figures of systems, without those of points of sweeps (`<sweep>.<point>`)."""
    return [each for each in published if "." not in each.system]


def order_records(records: Iterable[Record], systems: Sequence[str]) -> list[Record]:
    """Return the records in the order of the recipe's systems, the others (fusions) after them by name."""
    places = {system: place for place, system in enumerate(systems)}
    return sorted(records, key=lambda record: (places.get(record["system"], len(places)), record["system"]))


def list_names(records: Iterable[Record]) -> list[str]:
    """Return the names of all trial lists that have figures, sorted."""
    return sorted({name for record in records for name, figures in record["trials"].items() if "no_figures" not in figures})


def figured(records: Iterable[Record]) -> list[Record]:
    """Return the records without the lists of which there are scores and no figures."""
    return [
        {**record, "trials": {name: figures for name, figures in record["trials"].items() if "no_figures" not in figures}}
        for record in records
    ]


def scored_only_table(records: Sequence[Record]) -> Table:
    """Return the lists of which a system has scores and no figures: why, how many, and where."""
    rows = tuple(
        (
            name, record["system"], figures["no_figures"], f"{record['system']}/scores/{name}.txt",
            f"{figures['num_target'] + figures['num_nontarget'] + figures['num_unlabelled']:,}",
            f"{figures['num_missing']:,}" if figures["num_missing"] else None,
        )
        for name in sorted({name for record in records for name in record["trials"]})
        for record in records
        if "no_figures" in (figures := record["trials"].get(name, {}))
    )  # fmt: skip
    columns = ("List", "System", "No figures", "Scores in", "Scores", "Missing")
    return without_empty_columns(Table(title="Scores without figures", columns=columns, rows=rows, num_left=4))


def parent_and_corpus(name: str, names: Collection[str]) -> tuple[str, str] | None:
    """Return (pooled list, corpus) if `name` is the part of another of `names` in one sub-corpus, else None."""
    cuts = [i for i, sign in enumerate(name) if sign == "-" and name[:i] in names and name[i + 1 :]]
    return (name[: cuts[0]], name[cuts[0] + 1 :]) if cuts else None


def pooled_lists(names: Collection[str]) -> list[str]:
    """Return the lists that are not a part of another one, sorted."""
    return sorted(name for name in names if parent_and_corpus(name, names) is None)


def pooled_table(records: Sequence[Record]) -> Table:
    """Return all figures of every pooled list and system."""
    names = list_names(records)
    return _figures_table("All figures", records, {name: name for name in pooled_lists(names)})


def decision_tables(records: Sequence[Record]) -> list[Table]:
    """Return the tables of decisions about trials of pooled lists, those that have rows: accuracy, and ambiguous trials."""
    names = list_names(records)
    found = [(name, r["system"], r["trials"][name]) for name in pooled_lists(names) for r in records if name in r["trials"]]
    return [table for table in (_accuracy_table(found), _ambiguous_table(found)) if table.rows]


def corpus_tables(records: Sequence[Record]) -> list[Table]:
    """Return a table for each sub-corpus, by name: the figures of its part of the lists."""
    names = list_names(records)
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        found = parent_and_corpus(name, names)
        if found:
            parts.setdefault(found[1], {})[name] = found[0]
    return [_figures_table(f"Corpus {corpus}", records, parts[corpus]) for corpus in sorted(parts)]


def corpus_matrices(records: Sequence[Record]) -> list[Table]:
    """Return a table for each pooled list that has parts: EER with interval, a row a system, a column a sub-corpus."""
    names = list_names(records)
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        found = parent_and_corpus(name, names)
        if found:
            parts.setdefault(found[0], {})[name] = found[1]
    return [_corpus_matrix(parent, parts[parent], records) for parent in sorted(parts)]


def comparison_table(records: Sequence[Record], published: Sequence[Published]) -> Table:
    """Return published | ours | difference | interval | trials | commit | date for every pooled list and system.

    A published figure without one of ours has a row too, and ours without a published one.
    """
    by_system = {record["system"]: record for record in records}
    names = list_names(records)
    keys = [(name, record["system"]) for name in pooled_lists(names) for record in records if name in record["trials"]]
    known = {(each.list, each.system) for each in published if each.eer is not None}
    rows = [_comparison_row(by_system[s], name, s, None, "EER %") for name, s in keys if (name, s) not in known]
    for each in published:
        record = by_system.get(each.system)
        rows += [_comparison_row(record, each.list, each.system, each, name) for name in _measures(each)]
    order = {record["system"]: place for place, record in enumerate(records)}
    rows.sort(key=lambda row: (row[0], order.get(row[1], len(order)), row[1]))
    columns = (
        "List", "System", "Figure", "Published", "Ours", "Difference", "95% interval", "Trials", "Commit", "Date",
        "Source of the published figure",
    )  # fmt: skip
    return without_empty_columns(Table(title="Published and ours", columns=columns, rows=tuple(rows), num_left=3))


def runs_table(records: Sequence[Record]) -> Table:
    """Return what each system is scored with, its size, how long it trained, and the commit that scored it."""
    rows = tuple(
        (
            record["system"],
            record["backend"],
            None if record["num_parameters"] is None else f"{record['num_parameters']:,}",
            duration(record["train_seconds"]),
            duration(record["seconds"]),
            commit(record),
            record["date"][:10],
        )
        for record in records
    )
    columns = ("System", "Scoring", "Parameters", "Training", "Scoring time", "Commit", "Date")
    return without_empty_columns(Table(title="Runs", columns=columns, rows=rows))


def eer_cell(figures: Mapping[str, Any] | None) -> str | None:
    """Return EER and interval in per cent, None where there are no figures."""
    if figures is None:
        return None
    return with_interval(figures, "eer")


def repeat_command(record: Record) -> str:
    """Return the command that makes a record again: ./run.sh with the settings of the recorded command.

    Where the corpus lay on one machine is nobody's business: `--data DIR`. A fusion needs all its systems. A model that run.sh
    was given is known by its settings.toml among the recorded files; it takes the place of the system. A published record
    holds the result of this function, which is given back as it is.
    """
    words = shlex.split(record["command"])
    if words[:1] == ["./run.sh"]:
        return record["command"]
    files = [after for word, after in zip(words, words[1:], strict=False) if word == "--config"]
    models = [file.removesuffix("/settings.toml") for file in files if re.search(r"(?<!/scores)/settings\.toml$", file)]
    what = (
        ["--model", "MODEL" if models[0].startswith("/") else models[0]]
        if models
        else ["--system", "all" if "steps.fuse" in words else record["system"]]
    )
    return shlex.join(
        ["./run.sh", "--recipe", record["recipe"], *what, *_given(words, ("prepare.split=test",) if models else ())]
    )


def repeat_sweep_command(recipe: str, sweep: str, command: str) -> str:
    """Return the command that makes a sweep again: ./run.sh with the settings of the recorded command of its stage."""
    return shlex.join(
        ["./run.sh", "--sweep", f"recipes/{recipe}/sweeps/{sweep}.toml", *_given(shlex.split(command), ("sweep.",))]
    )


def _given(words: Sequence[str], added: Sequence[str]) -> list[str]:
    """`--data DIR` and `--set` of a stage's command, without what run.sh has `added` itself."""
    given = [after for word, after in zip(words, words[1:], strict=False) if word == "--set"]
    given += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
    data = ["--data", "DIR"] if any(assignment.startswith("site.corpus=") for assignment in given) else []
    unsaid = ("site.", "system.name=", "report.", *added)
    return [*data, *(word for assignment in given if not assignment.startswith(unsaid) for word in ("--set", assignment))]


def per_cent(rate: float | None, *, sign: bool = False) -> str | None:
    """Return a fraction in per cent with two decimals, None for None."""
    return None if rate is None else f"{100 * rate:{'+' if sign else ''}.2f}"


def cost(value: float | None, *, sign: bool = False) -> str | None:
    """Return a cost (minDCF, actDCF, Cllr) with three decimals, None for None."""
    return None if value is None else f"{value:{'+' if sign else ''}.3f}"


def interval(bounds: Sequence[float] | None) -> str | None:
    """Return [lo, hi] in per cent with two decimals, None for None."""
    return None if bounds is None else f"[{per_cent(bounds[0])}, {per_cent(bounds[1])}]"


def with_interval(figures: Mapping[str, Any], name: str) -> str | None:
    """Return a rate and its interval, which stands beside it as `<name>_ci95`, in per cent; None where there is no rate.

    Of a list with few speakers or target trials, "too few to tell" stands for the interval.
    """
    rate, bounds = per_cent(figures.get(name)), interval_of(figures, name)
    return f"{rate} {bounds}" if rate and bounds else rate


def interval_of(figures: Mapping[str, Any], name: str) -> str | None:
    """Return the interval of a figure of a list in per cent, or that the list is too small for one; None where there is none."""
    bounds = interval(figures.get(f"{name}_ci95"))
    return f"[{TOO_FEW}]" if bounds and is_few(figures) else bounds


def is_few(figures: Mapping[str, Any]) -> bool:
    """Return whether a list has fewer than `FEW` speakers or target trials, where that is known."""
    return min(figures.get("num_speakers", FEW), figures.get("num_target", FEW)) < FEW


def duration(seconds: float | None) -> str | None:
    """Return a time in the two units that say enough, None for None."""
    if seconds is None:
        return None
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{int(minutes)} min {int(seconds % 60)} s"
    return f"{int(hours)} h {int(minutes % 60)} min" if days < 1 else f"{int(days)} d {int(hours % 24)} h"


def commit(record: Record) -> str:
    """Return the short commit of a record, and whether files differed from it."""
    return record["commit"][:_LEN_COMMIT] + (", modified" if record["dirty"] else "")


def _corpus_matrix(parent: str, parts: Mapping[str, str], records: Sequence[Record]) -> Table:
    counts = {}
    for name, corpus in parts.items():
        found = {(r["trials"][name]["num_target"], r["trials"][name]["num_nontarget"]) for r in records if name in r["trials"]}
        target, nontarget = max(found)
        counts[corpus] = f"{corpus} {target:,} + {nontarget:,}" + ("" if len(found) == 1 else " at most")
    rows = tuple(
        (r["system"], *(eer_cell(r["trials"].get(name)) for name in parts)) for r in records if parts.keys() & r["trials"].keys()
    )
    note = f"EER % [95% interval]; scored trials, target + non-target: {'; '.join(counts.values())}."
    return Table(title=f"{parent} by corpus", columns=("System", *parts.values()), rows=rows, num_left=1, note=note)


def _figures_table(title: str, records: Sequence[Record], lists: Mapping[str, str]) -> Table:
    """Return the figures of the lists (name in the records -> name to show) for every record that has them."""
    trials = [(shown, r["system"], r["trials"][name]) for name, shown in lists.items() for r in records if name in r["trials"]]
    priors = sorted({prior for *_, figures in trials for prior in figures["min_dcf"]}, key=float)
    columns = (
        "List", "System", "EER % [95% interval]", "Test speakers", "EER (ROCCH) %", *(f"minDCF({p})" for p in priors),
        *(f"actDCF({p})" for p in priors), "Cllr", "minCllr", "Target", "Non-target", "Missing",
    )  # fmt: skip
    rows = tuple((shown, system, *_figures_cells(figures, priors)) for shown, system, figures in trials)
    return without_empty_columns(Table(title=title, columns=columns, rows=rows, note=_EER_RULES))


def _accuracy_table(found: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Table:
    rows = tuple(
        (
            name, system, with_interval(of, "accuracy"), cost(of.get("dev_threshold")), per_cent(of.get("dev_accuracy")),
            with_interval(of, "own_accuracy"),
        )
        for name, system, of in found
        if of.get("accuracy") is not None or of.get("own_accuracy") is not None
    )  # fmt: skip
    columns = (
        "List", "System", "Accuracy % [95% interval]", "Threshold", "Accuracy on dev %",
        "at the network's own threshold % [95% interval]",
    )  # fmt: skip
    return without_empty_columns(Table(title="Verification accuracy", columns=columns, rows=rows, note=_ACCURACY_NOTE))


def _ambiguous_table(found: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Table:
    rows = tuple(
        (
            name, system, with_interval(unclear, "rate"), per_cent(unclear["target_rate"]), per_cent(unclear["nontarget_rate"]),
            f"{of['num_target'] + of['num_nontarget']:,}",
        )
        for name, system, of in found
        if (unclear := of.get("ambiguous"))
    )  # fmt: skip
    columns = ("List", "System", "Ambiguous % [95% interval]", "of target trials %", "of non-target trials %", "Trials")
    return Table(title="Ambiguous trials", columns=columns, rows=rows, note=_AMBIGUOUS_NOTE)


def _figures_cells(figures: Mapping[str, Any], priors: Sequence[str]) -> list[str | None]:
    actual = figures["act_dcf"] or {}
    return [
        eer_cell(figures),
        f"{figures['num_speakers']:,}" if figures.get("num_speakers") else None,
        per_cent(figures.get("eer_rocch")),
        *(cost(figures["min_dcf"].get(prior)) for prior in priors),
        *(cost(actual.get(prior)) for prior in priors),
        cost(figures["cllr"]),
        cost(figures["min_cllr"]),
        f"{figures['num_target']:,}",
        f"{figures['num_nontarget']:,}",
        f"{figures['num_missing']:,}" if figures["num_missing"] else None,
    ]


def _measures(each: Published) -> list[str]:
    return ["EER %"] * (each.eer is not None) + [f"minDCF({prior})" for prior in each.min_dcf]


def _comparison_row(
    record: Record | None, name: str, system: str, published: Published | None, measure: str
) -> tuple[str | None, ...]:
    """Return one row; `measure` is "EER %" or "minDCF(<prior>)"."""
    figures = record["trials"].get(name) if record else None
    prior = measure.removeprefix("minDCF(").rstrip(")")
    is_eer, theirs, ours = measure == "EER %", None, None
    if published:
        theirs = published.eer if is_eer else published.min_dcf[prior]
    if figures:
        ours = figures["eer"] if is_eer else figures["min_dcf"].get(prior)
    show = per_cent if is_eer else cost
    difference = None if theirs is None or ours is None else show(ours - theirs, sign=True)
    source = "; ".join(filter(None, (published.source, published.note))) if published else ""
    return (
        name,
        system,
        measure,
        show(theirs),
        show(ours) or ("not scored" if record else "not run"),
        difference,
        interval_of(figures, "eer") if figures and is_eer else None,
        f"{figures['num_target'] + figures['num_nontarget']:,}" if figures else None,
        commit(record) if record and figures else None,
        record["date"][:10] if record and figures else None,
        source or None,
    )
