"""Tables of what else a system was tried at: identification, few-shot, clustering, gender (`record["tasks"]`).

Its form is that of `task_figures` in steps/results/tasks.py: `identification` {"closed": {"rate": {rank: ..}, "rate_ci95", "cmc",
counts}, "open": {"dir": {far: ..}, "dir_ci95", "curve": {"far", "dir"}, counts}}; `few_shot` [{"ways", "shots", "distance",
"accuracy", "ci95", "reason"}]; `clustering` {method: {"known", "best" or "found": figures}}. By the name of a list of
the corpus (list_tasks.py): `identification_lists` {list: as "closed", with "open", "num_visitors"},
`identification_by_classifier` {list: as "closed"} and `clustering_lists` {list: as `clustering`}; `gender` is that of
`gender_figures` in steps/results/gender.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steps.tables.results import Record, cost, interval, per_cent, with_interval
from steps.tables.table import Table, without_empty_columns

_FEWEST_OF_A_CURVE = 3
_SHOWN_WAYS = (5, 20)  # numbers of speakers of few-shot tasks in the table; the picture has all
_CUTS = {"known": "number of speakers known", "best": "cut of the least MR", "found": "number found"}
_CLUSTERING_NOTE = (
    "MR: share of utterances outside their speaker's right cluster; legacy: clusters that are mixed or of one utterance are "
    "right for nobody. A cut of the least MR is chosen with the truth."
)
_LIST_NOTE = (
    "MR (legacy) of cuts of the least MR: the least of any cut, which need not be the same one. Cuts of the least MR are "
    "chosen with the truth, as published."
)
_CLASSIFIER_NOTE = (
    "By classifier: the network was trained on these speakers and says itself which of them speaks, as in Nagrani et al. 2017."
)
_GENDER_NOTE = (
    "Probe: utterances of speakers that it has not heard whose gender a linear classifier finds. Silhouette: of cosine distances "
    "between genders. PC1: the first principal component."
)


def task_tables(records: Sequence[Record]) -> list[Table]:
    """Return the tables of all tasks that any record has, rates in per cent with 95% intervals."""
    tables = (
        _closed_table(records), _identified_table(records), _open_table(records), _few_shot_table(records),
        _clustering_table(records), _listed_table(records), _gender_table(records),
    )  # fmt: skip
    return [table for table in tables if table.rows]


def cmc_curves(records: Sequence[Record]) -> dict[str, Sequence[float]]:
    """Return system -> identification rates at rank 1, 2, ... of closed-set identification."""
    return {r["system"]: found["cmc"] for r in records if (found := _identification(r, "closed")) and found.get("cmc")}


def open_set_curves(records: Sequence[Record]) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """Return system -> (false-alarm rates, detection and identification rates) of open-set identification."""
    curves = {r["system"]: found["curve"] for r in records if (found := _identification(r, "open")) and found.get("curve")}
    return {system: (curve["far"], curve["dir"]) for system, curve in curves.items()}


def few_shot_curves(
    records: Sequence[Record], distance: str = "score"
) -> dict[str, dict[int, list[tuple[int, float, tuple[float, float] | None]]]]:
    """Return system -> shots -> (ways, accuracy, its interval) of few-shot tasks, by one way to compare.

    Only of systems that were tried at three numbers of speakers or more: fewer make no curve.
    """
    curves: dict[str, dict[int, list[tuple[int, float, tuple[float, float] | None]]]] = {}
    for record in records:
        by_shots: dict[int, list[tuple[int, float, tuple[float, float] | None]]] = {}
        for each in _tasks(record, "few_shot"):
            if each["distance"] == distance and each["accuracy"] is not None:
                bounds = tuple(each["ci95"]) if each.get("ci95") else None
                by_shots.setdefault(each["shots"], []).append((each["ways"], each["accuracy"], bounds))
        long = {shots: sorted(points) for shots, points in sorted(by_shots.items()) if len(points) >= _FEWEST_OF_A_CURVE}
        if long:
            curves[record["system"]] = long
    return curves


def _tasks(record: Record, name: str) -> Any:
    return (record.get("tasks") or {}).get(name) or {}


def _identification(record: Record, kind: str) -> Mapping[str, Any]:
    return _tasks(record, "identification").get(kind) or {}


def _closed_table(records: Sequence[Record]) -> Table:
    found = [(record["system"], _identification(record, "closed")) for record in records if _identification(record, "closed")]
    ranks = sorted({rank for _, figures in found for rank in figures["rate"]}, key=int)
    rows = tuple(
        (
            system,
            *(_rate(figures, "rate", rank) for rank in ranks),
            *_counts(figures, "num_enrolled", "num_utterances", "num_mated"),
        )
        for system, figures in found
    )
    columns = ("System", *(f"Rank {rank} % [95% interval]" for rank in ranks), "Enrolled", "Utterances of each", "Searches")
    return Table(title="Identification, closed set", columns=columns, rows=rows, num_left=1, note=_draws(found))


def _identified_table(records: Sequence[Record]) -> Table:
    ways = {"identification_lists": "enrolment", "identification_by_classifier": "classifier"}
    found = [(r["system"], name, way, of) for r in records for key, way in ways.items() for name, of in _tasks(r, key).items()]
    ranks = sorted({rank for *_, figures in found for rank in figures["rate"]}, key=int)
    counts = ("num_enrolled", "num_enrol_utterances", "num_mated")
    rows = tuple(
        (*names, *(_rate(figures, "rate", rank) for rank in ranks), *_counts(figures, *counts)) for *names, figures in found
    )
    columns = (
        "System", "List", "By", *(f"Rank {rank} % [95% interval]" for rank in ranks), "Speakers", "Utterances enrolled",
        "Searches",
    )  # fmt: skip
    note = _CLASSIFIER_NOTE if any(way == "classifier" for *_, way, _ in found) else ""
    return Table(title="Identification by the corpus's lists", columns=columns, rows=rows, num_left=3, note=note)


def _open_table(records: Sequence[Record]) -> Table:
    drawn = [((r["system"], None), of) for r in records if (of := _identification(r, "open"))]
    listed = [
        ((r["system"], name), opened)
        for r in records
        for name, of in _tasks(r, "identification_lists").items()
        if (opened := of.get("open"))
    ]
    found, num_left = drawn + listed, 2 if listed else 1  # where all are drawn, no column says so
    fars = sorted({far for _, figures in found for far in figures["dir"]}, key=float)
    keys = ("num_enrolled", "num_utterances", "num_mated", "num_nonmated")
    rows = tuple((*names[:num_left], *(_rate(of, "dir", far) for far in fars), *_counts(of, *keys)) for names, of in found)
    columns = (
        *("System", "List")[:num_left], *(f"DIR % at FAR {100 * float(far):g}% [95% interval]" for far in fars), "Enrolled",
        "Utterances of each", "Searches of the enrolled", "of others",
    )  # fmt: skip
    visitors = {
        name: of["num_visitors"]
        for r in records
        for name, of in _tasks(r, "identification_lists").items()
        if "num_visitors" in of
    }
    of_lists = ", ".join(f"{name} {num:,}" for name, num in visitors.items())
    note = " ".join(filter(None, (
        _draws([(names[0], of) for names, of in found]),
        f"Others are the visitors of a list, who are not enrolled in it: {of_lists}." if visitors else "",
    )))  # fmt: skip
    return Table(title="Identification, open set", columns=columns, rows=rows, num_left=num_left, note=note)


def _draws(found: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    numbers = sorted({figures["num_draws"] for _, figures in found if figures.get("num_draws", 1) > 1})
    return f"Searches of {' or '.join(map(str, numbers))} draws of who is enrolled with what, together." if numbers else ""


def _few_shot_table(records: Sequence[Record]) -> Table:
    cells: dict[tuple[str, str], dict[tuple[int, int], str | None]] = {}
    reasons: dict[str, None] = {}
    for record in records:
        for each in _tasks(record, "few_shot"):
            bounds = interval(each.get("ci95"))
            accuracy = per_cent(each["accuracy"])
            row = cells.setdefault((record["system"], each["distance"]), {})
            row[each["shots"], each["ways"]] = f"{accuracy} {bounds}" if accuracy and bounds else accuracy
            if each.get("reason"):
                reasons[f"{each['shots']}-shot {each['ways']}-way: {each['reason']}"] = None
    known = sorted({key for row in cells.values() for key in row})
    keys = [key for key in known if key[1] in _SHOWN_WAYS] or known
    rows = tuple((*names, *(row.get(key) for key in keys)) for names, row in cells.items())
    columns = ("System", "Compared by", *(f"{shots}-shot {ways}-way %" for shots, ways in keys))
    return Table(title="Few-shot tasks: accuracy", columns=columns, rows=rows, note="; ".join(reasons))


def _clustering_table(records: Sequence[Record]) -> Table:
    rows = []
    for record in records:
        for method, cuts in _tasks(record, "clustering").items():
            for cut, figures in cuts.items():
                ari = cost(figures["ari"])
                bounds = figures.get("ari_ci95")
                rows.append((
                    record["system"], method.replace("_", " "), _CUTS.get(cut, cut), with_interval(figures, "mr"),
                    per_cent(figures.get("mr_legacy")), f"{ari} [{cost(bounds[0])}, {cost(bounds[1])}]" if bounds else ari,
                    per_cent(figures.get("purity")), per_cent(figures.get("acp")), per_cent(figures.get("asp")),
                    *_counts(figures, "num_clusters", "num_speakers", "num_items"),
                ))  # fmt: skip
    columns = (
        "System", "Method", "Clusters", "MR % [95% interval]", "MR (legacy) %", "ARI [95% interval]", "Purity %", "ACP %",
        "ASP %", "Number", "Speakers", "Utterances",
    )  # fmt: skip
    note = _CLUSTERING_NOTE if rows else ""
    return without_empty_columns(Table(title="Speaker clustering", columns=columns, rows=tuple(rows), num_left=3, note=note))


def _listed_table(records: Sequence[Record]) -> Table:
    rows = [
        (
            record["system"], name, method.replace("_", " "), _CUTS.get(cut, cut), with_interval(figures, "mr"),
            *_counts(figures, "num_clusters"), per_cent(figures.get("mr_legacy_of_any_cut", figures["mr_legacy"])),
            *_counts(figures, "num_clusters_legacy" if "num_clusters_legacy" in figures else "num_clusters"),
            cost(figures["ari"]), *_counts(figures, "num_items", "num_speakers"),
        )
        for record in records
        for name, methods in _tasks(record, "clustering_lists").items()
        for method, cuts in methods.items()
        for cut, figures in cuts.items()
    ]  # fmt: skip
    columns = (
        "System", "List", "Method", "Clusters", "MR % [95% interval]", "Number", "MR (legacy) %", "its number", "ARI", "Items",
        "Speakers",
    )  # fmt: skip
    return Table(title="Clustering of the corpus's lists", columns=columns, rows=tuple(rows), num_left=4, note=_LIST_NOTE)


def _gender_table(records: Sequence[Record]) -> Table:
    systems_of: dict[tuple[str | None, ...], list[str]] = {}  # those of one network agree to the digits that are shown
    for record in records:
        if figures := _tasks(record, "gender"):
            cells = (
                figures["set"], with_interval(figures, "accuracy"), per_cent(figures["majority"]),
                _bounded(figures, "silhouette"), with_interval(figures, "pc1"), per_cent(figures["pc1_variance"]),
                *_counts(figures, "num_female", "num_male", "num_utterances"),
            )  # fmt: skip
            systems_of.setdefault(cells, []).append(record["system"])
    rows = tuple((", ".join(systems), *cells) for cells, systems in systems_of.items())
    columns = (
        "Systems of a network", "Set", "Probe % [95% interval]", "Majority %", "Silhouette [95% interval]",
        "Gender in PC1's variance % [95% interval]", "PC1 in all variance %", "Women", "Men", "Utterances",
    )  # fmt: skip
    return Table(title="Gender in the embeddings", columns=columns, rows=rows, num_left=2, note=_GENDER_NOTE)


def _bounded(figures: Mapping[str, Any], name: str) -> str | None:
    value, bounds = cost(figures[name]), figures.get(f"{name}_ci95")
    return f"{value} [{cost(bounds[0])}, {cost(bounds[1])}]" if bounds else value


def _rate(figures: Mapping[str, Any], name: str, key: str) -> str | None:
    """Return a rate with its interval, which stand in two mappings with the same keys."""
    rate, bounds = per_cent(figures[name].get(key)), interval(figures.get(f"{name}_ci95", {}).get(key))
    return f"{rate} {bounds}" if rate and bounds else rate


def _counts(figures: Mapping[str, Any], *names: str) -> list[str | None]:
    return [f"{figures[name]:,}" if name in figures else None for name in names]
