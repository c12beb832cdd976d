"""Tables of sweeps: what the figures are where settings vary.

A sweep is what sweep.json of steps/sweep.py holds, committed as recipes/<recipe>/results/sweeps/<sweep>.json:

    {
      "name": "linkage", "recipe": "voices", "title": "Linkages", "note": "a line under the tables",
      "form": "matrix",                        # or "table"
      "lists": [],                             # the trial lists to show, in order; none: all that are no part of another
      "figures": ["eer", "min_dcf.0.01"],      # as in result.json; "tasks.<path>" is a figure of the point's tasks
      "across": ["system"],                    # of a matrix, may lack: the axes whose values are columns, "lists" among them
      "repeats": "seed",                       # may lack: the axis whose values are repeats, shown as their mean
      "axes": [{"name": "scoring", "values": ["average", "ward"], "numbers": [null, null]},
               {"name": "system", "values": ["lstm", "resnet"], "numbers": [null, null]}],
      "points": [{"values": ["average", "lstm"], "system": "average-lstm", "backend": "...", "trials": {"o": {"eer": 0.0554,
                  "eer_ci95": [0.05, 0.06], ...}}}, ...],
      "command": "./run.sh --sweep ...", "commit": "...", "dirty": false, "date": "...", "fingerprint": "..."
    }

"table": a row a point, a column a list and figure. "matrix": one figure in each table; without "across" the values of the last of
several axes are the columns, and there is a table a list; with one axis its values go down and the lists across. A table like
"scoring methods down, lists of two networks across" has "across": ["system", "lists"]. A point that is missing is an empty cell.
A point may bring the "log" of its training, records as those of log.jsonl.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from steps.tables.results import TOO_FEW, Published, comparison_table, cost, interval, is_few, list_names, per_cent, pooled_lists
from steps.tables.table import Table

Sweep = Mapping[str, Any]

LISTS = "lists"  # the axis that every sweep has without naming it
FORMS = ("table", "matrix")
_KEYS = ("name", "recipe", "title", "form", "axes", "points", "command", "commit", "dirty", "date")
_TASKS = "tasks."
_RATES = re.compile(r"(^|[._])(eer|rate|rank\d*|top\d*|accuracy|mr|purity|dir|far|cap|acp|error)s?($|[._])")


def check_sweep(sweep: Any) -> None:
    """Refuse what is no sweep (see the module's text).

    Raises:
        ValueError: a missing key, an unknown form or axis, a point without a value of each axis.
    """
    missing = [key for key in _KEYS if key not in sweep] if isinstance(sweep, Mapping) else list(_KEYS)
    if missing:
        raise ValueError(f"expected a sweep, found no {', '.join(missing)}")
    if sweep["form"] not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, found {sweep['form']!r}")
    names = [axis["name"] for axis in sweep["axes"]]
    if not names or len({*names, LISTS}) <= len(names):
        raise ValueError(f"axes: expected at least one, with different names other than '{LISTS}', found {names}")
    repeats = sweep.get("repeats", "")
    if repeats and (repeats not in names or len(names) == 1):
        raise ValueError(f"repeats: expected one of several axes {', '.join(names)}, found {repeats!r}")
    strange = [name for name in sweep.get("across", []) if name not in (*names, LISTS) or name == repeats]
    if strange:
        raise ValueError(f"across: expected some of {', '.join((*names, LISTS))} that are no repeats, found {strange[0]!r}")
    for point in sweep["points"]:
        values = point.get("values", [])
        known = len(values) == len(names) and all(v in axis["values"] for v, axis in zip(values, sweep["axes"], strict=True))
        if not known or "trials" not in point:
            raise ValueError(f"points: expected a value of each axis and trials, found {values}")


def merged(sweep: Sweep) -> Sweep:
    """Return the sweep without its axis of repeats: a point holds those that it is the mean of as `repeats`."""
    name = sweep.get("repeats", "")
    if not name:
        return sweep
    axes = list(sweep["axes"])
    place = [axis["name"] for axis in axes].index(name)
    points: dict[tuple[str, ...], dict[str, Any]] = {}
    for point in sweep["points"]:
        values = [value for i, value in enumerate(point["values"]) if i != place]
        points.setdefault(tuple(map(str, values)), {"values": values, "repeats": []})["repeats"].append(point)
    numbers = sorted({len(point["repeats"]) for point in points.values()})
    remark = f"Mean ± standard deviation and [least, largest] of {' or '.join(map(str, numbers))} values of {name}."
    note = " ".join(filter(None, (sweep.get("note", ""), remark)))
    lists = shown_lists(sweep)
    rest = {"axes": [axis for axis in axes if axis["name"] != name], "points": list(points.values()), "lists": lists}
    return {**sweep, **rest, "note": note, "repeats": ""}


def shown_lists(sweep: Sweep) -> list[str]:
    """Return the trial lists that a sweep shows: those it names, else those that are no part of another one."""
    return list(sweep.get("lists") or pooled_lists(list_names(sweep["points"])))


def shown_figures(sweep: Sweep) -> list[str]:
    """Return the figures that a sweep shows; none named: the EER."""
    return list(sweep.get("figures") or ["eer"])


def point_figure(point: Mapping[str, Any], figure: str, list_name: str) -> tuple[float, Sequence[float] | None] | None:
    """Return a figure of a point with its interval (None: it has none), or None where the point lacks it.

    Of a point that stands for repeats (`merged`): the mean, and the least and the largest.

    The path of a figure of tasks is that of steps/results/tasks.py: "tasks.identification.closed.rate.1",
    "tasks.identification.open.dir.0.01", "tasks.clustering.ahc_complete.best.mr", and in a list by what its record says:
    "tasks.few_shot.ways=5,shots=1,distance=euclidean.accuracy".
    """
    if "repeats" in point:
        values = _repeated(point, figure, list_name)
        return (statistics.fmean(values), (min(values), max(values))) if values else None
    if is_of_tasks(figure):
        return _follow(point.get("tasks"), figure.removeprefix(_TASKS))
    return _follow(point["trials"].get(list_name), figure)


def _repeated(point: Mapping[str, Any], figure: str, list_name: str) -> list[float]:
    found = [point_figure(each, figure, list_name) for each in point["repeats"]]
    return [each[0] for each in found if each is not None]


def _follow(holder: Any, path: str) -> tuple[float, Sequence[float] | None] | None:
    """Return what lies at the end of a path of keys with dots between them, of which some hold a dot themselves."""
    if isinstance(holder, Sequence) and not isinstance(holder, str):
        wanted, _, path = path.partition(".")
        holder = next((each for each in holder if _is_called(each, wanted)), None)
    if not isinstance(holder, Mapping):
        return None
    if isinstance(holder.get(path), int | float):
        bounds = holder.get(f"{path}_ci95") or (holder.get("ci95") if path == "accuracy" else None)
        return holder[path], bounds
    key, _, rest = path.partition(".")
    found = _follow(holder.get(key), rest) if rest else None
    if found and found[1] is None and isinstance(beside := holder.get(f"{key}_ci95"), Mapping):
        return found[0], beside.get(rest)
    return found


def _is_called(record: Any, wanted: str) -> bool:
    pairs = [each.partition("=") for each in wanted.split(",")]
    return isinstance(record, Mapping) and all(str(record.get(key)) == value for key, _, value in pairs)


def figure_name(figure: str) -> str:
    """Return what a figure is called in a table: "eer" EER %, "min_dcf.0.01" minDCF(0.01)."""
    known = {"eer": "EER %", "eer_rocch": "EER (ROCCH) %", "cllr": "Cllr", "min_cllr": "minCllr"}
    name, _, prior = figure.partition(".")
    if name in ("min_dcf", "act_dcf"):
        return f"{name[:3]}DCF({prior})"
    plain = re.sub(r"\.(?!\d)|_|(?<=[a-z])\.", " ", figure.removeprefix(_TASKS)).replace(",", ", ")
    return known.get(figure) or plain + (" %" if is_rate(figure) else "")


def is_of_tasks(figure: str) -> bool:
    """Return whether a figure is one of a point's tasks, which have no trial list."""
    return figure.startswith(_TASKS)


def is_rate(figure: str) -> bool:
    """Return whether a figure is a fraction that is shown in per cent."""
    return _RATES.search(figure) is not None


def sweep_tables(sweep: Sweep) -> list[Table]:
    """Return the tables of a sweep: one, or of a matrix one a figure and a value of what is neither down nor across.

    Raises:
        ValueError: it is no sweep (see `check_sweep`).
    """
    check_sweep(sweep)
    sweep = merged(sweep)
    return _matrices(sweep) if sweep["form"] == "matrix" else [_plain_table(sweep)]


def published_table(sweep: Sweep, published: Sequence[Published]) -> Table:
    """Return the published figures of a sweep's points beside ours; its rows are none where nobody printed any.

    A published figure is one of the point `<sweep>.<point>` if that is its `system`, as the points' own records are called.
    """
    known = [each for each in published if each.system.startswith(f"{sweep['name']}.")]
    made = {key: sweep[key] for key in ("commit", "dirty", "date")}
    points = []
    for point in sweep["points"]:
        names = {each.list for each in known if each.system == point.get("system")}
        points += [{**point, **made, "trials": {n: f for n, f in point["trials"].items() if n in names}}] if names else []
    return comparison_table(points, known)


def _plain_table(sweep: Sweep) -> Table:
    lists, figures = shown_lists(sweep), shown_figures(sweep)
    keys = [(name, figure) for name in lists for figure in figures if not is_of_tasks(figure)]
    keys += [("", figure) for figure in figures if is_of_tasks(figure)]
    columns = [" ".join(filter(None, (name, figure_name(figure)))) for name, figure in keys]
    names = [axis["name"] for axis in sweep["axes"]]
    rows = tuple(
        (*map(str, point["values"]), *(_cell(point, figure, name) for name, figure in keys)) for point in sweep["points"]
    )
    return Table(title=sweep["title"], columns=(*names, *columns), rows=rows, num_left=len(names), note=sweep.get("note", ""))


def _matrices(sweep: Sweep) -> list[Table]:
    names = [axis["name"] for axis in sweep["axes"]]
    across = list(sweep.get("across") or ([names[-1]] if len(names) > 1 else [LISTS]))
    down = [name for name in names if name not in across]
    values = {axis["name"]: list(map(str, axis["values"])) for axis in sweep["axes"]}
    lists = shown_lists(sweep)
    points = {tuple(map(str, point["values"])): point for point in sweep["points"]}
    tables = []
    for figure in shown_figures(sweep):
        of_tasks = is_of_tasks(figure)
        values[LISTS] = [""] if of_tasks else lists
        for fixed in [None] if LISTS in across or of_tasks else lists:
            head = list(itertools.product(*(values[name] for name in across)))
            rows = []
            for left in itertools.product(*(values[name] for name in down)):
                chosen = [dict(zip((*down, *across), (*left, *top), strict=True)) for top in head]
                keys = [(tuple(each[name] for name in names), each.get(LISTS, fixed or "")) for each in chosen]
                cells = [_cell(points[key], figure, name) if key in points else None for key, name in keys]
                if any(cell is not None for cell in cells):
                    rows.append((*left, *cells))
            title = ", ".join(filter(None, (sweep["title"], fixed, figure_name(figure))))
            columns = (*down, *(_heading(across, top) or figure_name(figure) for top in head))
            tables.append(Table(title=title, columns=columns, rows=tuple(rows), num_left=len(down), note=sweep.get("note", "")))
    return tables


def _heading(across: Sequence[str], top: Sequence[str]) -> str:
    """Values of the axes across, a number with the axis' name: "dropout 0.1, dimensions 32"."""
    return ", ".join(f"{name} {value}" if _is_number(value) else value for name, value in zip(across, top, strict=True) if value)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _cell(point: Mapping[str, Any], figure: str, name: str) -> str | None:
    """Return a figure with its interval as text, None where the point lacks it."""
    found = point_figure(point, figure, name)
    if found is None:
        return None
    value, bounds = found
    if "repeats" in point:
        return _mean_cell(_repeated(point, figure, name), is_rate(figure))
    if isinstance(value, int) and not is_rate(figure):
        return f"{value:,}"
    if not is_rate(figure):
        return cost(value)
    few = not is_of_tasks(figure) and is_few(point["trials"].get(name, {}))
    shown = f"[{TOO_FEW}]" if few else interval(bounds)
    return f"{per_cent(value)} {shown}" if bounds else per_cent(value)


def _mean_cell(values: Sequence[float], rate: bool) -> str:
    written = per_cent if rate else cost
    spread = f" ± {written(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{written(statistics.fmean(values))}{spread} [{written(min(values))}, {written(max(values))}]"
