"""The pictures of a report, as files and as inline SVG: DET and forest plots, calibration, tasks, sweeps, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.tables.results import TOO_FEW, is_few, list_names, parent_and_corpus, per_cent, pooled_lists
from steps.tables.sweep import Sweep, figure_name, is_of_tasks, is_rate, merged, point_figure, shown_figures, shown_lists
from steps.tables.tasks import cmc_curves, few_shot_curves, open_set_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from steps.documents.comparison import Scored

Record = Mapping[str, Any]

_MARKED_PRIOR = 0.01  # the prior whose cheapest operating point a DET plot marks
_MAX_LINES = 28  # that differ in one picture
_MAX_CELLS = 400  # of a heat map


class Canvas:
    """Where pictures go: files `<name>.png` and `.svg` in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def add(self, figure: Figure, name: str, description: str) -> str:
        """Write a picture, and return it as an <svg> element."""
        from steps.plots.figure import save_inline

        return save_inline(figure, self.folder / name, name, description)


def det_plot(canvas: Canvas, name: str, records: Sequence[Record], scored: Mapping[str, Scored]) -> str:
    """Return the DET plot of a list with a line a system, the cheapest point at P_target = 0.01 marked."""
    from steps.metrics.error_rates import det_points, error_rates
    from steps.plots.det import det_figure

    curves, points = {}, {}
    for record in records:
        pair = scored[record["system"]].pair()
        label = f"{record['system']}  {per_cent(record['trials'][name]['eer'])}"
        curves[label] = det_points(*pair)
        _, p_miss, p_fa = error_rates(*pair)
        cheapest = (_MARKED_PRIOR * p_miss + (1 - _MARKED_PRIOR) * p_fa).argmin()
        points[label] = (p_miss[cheapest], p_fa[cheapest])
    figure = det_figure(curves, name, points=points, points_name=f"minDCF({_MARKED_PRIOR})", legend_title="System, EER %")
    return canvas.add(figure, f"det.{name}", f"DET plot of {name}")


def calibration_plots(canvas: Canvas, name: str, system: str, scored: Scored) -> list[str]:
    """Return score histogram and, where a system is calibrated, Tippett plot, reliability diagram and Bayes error on a list."""
    from steps.plots.tippett import tippett_figure
    from steps.results.pictures import bayes_error, histogram, reliability

    pair, llrs = scored.pair(), scored.llr_pair()
    title, stem = f"{system} on {name}", f"{system}.{name}"
    svgs = [canvas.add(histogram(pair, llrs, title), f"scores.{stem}", f"Scores of {title}")]
    if llrs is not None:
        svgs += [
            canvas.add(tippett_figure(*llrs, title, before=pair), f"tippett.{stem}", f"Tippett plot of {title}"),
            canvas.add(reliability(pair, llrs, title), f"reliability.{stem}", f"Reliability diagram of {title}"),
            canvas.add(bayes_error({"": (pair, llrs)}, title), f"bayes_error.{stem}", f"Bayes error over the prior of {title}"),
        ]
    return svgs


def forest_plots(canvas: Canvas, records: Sequence[Record], reference: str) -> list[str]:
    """Return the EER of all systems with intervals: a picture of the pooled lists, and one of the parts of each."""
    from steps.plots.forest import forest_figure

    names = list_names(records)
    groups = {"": pooled_lists(names)}
    for name in names:
        found = parent_and_corpus(name, names)
        if found:
            groups.setdefault(found[0], []).append(name)
    svgs = []
    for parent, members in ((parent, members) for parent, members in groups.items() if members):
        lists = {}
        for name in members:
            of = {r["system"]: r["trials"][name] for r in records if name in r["trials"]}
            few = f" ({TOO_FEW})" if any(map(is_few, of.values())) else ""
            lists[f"{name}{few}"] = {system: (figures["eer"], figures["eer_ci95"]) for system, figures in of.items()}
        title = f"EER of the parts of {parent}" if parent else "EER of the pooled lists"
        figure = forest_figure(lists, f"{title}, with 95% intervals", reference=reference)
        svgs.append(canvas.add(figure, ".".join(filter(None, ("forest", parent))), title))
    return svgs


def difference_plots(canvas: Canvas, records: Sequence[Record], reference: str) -> list[str]:
    """Return a forest plot of the differences from the reference, none where there are no comparisons."""
    from steps.plots.forest import forest_figure

    lists: dict[str, dict[str, tuple[float, tuple[float, float]]]] = {}
    for record in records:
        for name, found in record.get("comparison", {}).get("trials", {}).items():
            lists.setdefault(name, {})[record["system"]] = (found["eer"]["difference"], tuple(found["eer"]["ci95"]))
    if not lists:
        return []
    figure = forest_figure(
        dict(sorted(lists.items())),
        f"Differences from {reference}, with 95% intervals",
        name="EER difference (points)",
        zero=True,
    )
    return [canvas.add(figure, "differences", f"Differences of EER from {reference}")]


def training_plots(canvas: Canvas, logs: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the training curves of all systems, none where there is no log."""
    from steps.plots.training import training_figure

    return [canvas.add(training_figure(logs, "Training"), "training", "Training curves")] if logs else []


def task_plots(canvas: Canvas, records: Sequence[Record]) -> list[str]:
    """Return the curves of few-shot tasks and of identification of all systems that were tried at them."""
    from steps.plots.few_shot import few_shot_figure
    from steps.plots.ranks import cmc_figure, open_set_figure

    svgs = []
    if few_shot := few_shot_curves(records):
        figure = few_shot_figure(few_shot, "Few-shot tasks, by the systems' own scores")
        svgs.append(canvas.add(figure, "few_shot", "Accuracy of few-shot tasks over the number of speakers"))
    if cmc := cmc_curves(records):
        figure = cmc_figure(cmc, "Identification, closed set: CMC")
        svgs.append(canvas.add(figure, "cmc", "Identification rate over rank, closed set"))
    if open_set := open_set_curves(records):
        figure = open_set_figure(open_set, "Identification, open set")
        svgs.append(canvas.add(figure, "open_set", "Detection and identification against false alarms, open set"))
    return svgs


def sweep_plots(canvas: Canvas, sweep: Sweep) -> list[str]:
    """Return the pictures of a sweep's first figure.

    Over a numeric axis, or the only one, lines; the other axes are lines (the lists, where there is no other), a picture a list.
    Two axes of names make a map for each list. Where its points bring logs of their training, the EER over hours besides.
    """
    return [*_hours(canvas, sweep), *_over_axes(canvas, merged(sweep))]


def _hours(canvas: Canvas, sweep: Sweep) -> list[str]:
    """The dev EER against the hours learnt from, a line for the points that differ in nothing but the axis of repeats."""
    from steps.plots.hours import hours_figure

    runs: dict[str, list[Any]] = {}
    repeats = sweep.get("repeats", "")
    for point in sweep["points"]:
        values = [str(v) for v, axis in zip(point["values"], sweep["axes"], strict=True) if axis["name"] != repeats]
        if any("seconds_seen" in record and "dev_eer" in record for record in point.get("log", [])):
            runs.setdefault(", ".join(values), []).append(point["log"])
    if not runs:
        return []
    title = f"{sweep['title']}: EER of held-out speakers"
    return [canvas.add(hours_figure(runs, title), f"hours.{sweep['name']}", title)]


def _over_axes(canvas: Canvas, sweep: Sweep) -> list[str]:
    """The first figure over one axis or two."""
    figure = shown_figures(sweep)[0]
    names = [""] if is_of_tasks(figure) else shown_lists(sweep)
    lists = [name for name in names if any(point_figure(point, figure, name) for point in sweep["points"])]
    axes = list(sweep["axes"])
    numeric = [i for i, axis in enumerate(axes) if all(number is not None for number in axis.get("numbers", [None]))]
    if not lists:
        return []
    if not numeric and len(axes) == 2 and len(axes[0]["values"]) * len(axes[1]["values"]) <= _MAX_CELLS:
        return [_heat_map(canvas, sweep, figure, name) for name in lists]
    along = numeric[0] if numeric else 0
    if len(axes) == 1:
        return [_lines(canvas, sweep, figure, along, lists, "")]
    return [_lines(canvas, sweep, figure, along, [name], name) for name in lists]


def _heat_map(canvas: Canvas, sweep: Sweep, figure: str, name: str) -> str:
    from steps.plots.sweep import heat_map

    rows, columns = (list(map(str, axis["values"])) for axis in sweep["axes"])
    values = np.full((len(rows), len(columns)), np.nan)
    for point in sweep["points"]:
        found = point_figure(point, figure, name)
        if found:
            values[rows.index(str(point["values"][0])), columns.index(str(point["values"][1]))] = found[0]
    title = f"{sweep['title']}: {name}"
    picture = heat_map(
        values, rows, columns, title, row_axis=sweep["axes"][0]["name"], column_axis=sweep["axes"][1]["name"],
        name=figure_name(figure), factor=_factor(figure),
    )  # fmt: skip
    return canvas.add(picture, f"sweep.{sweep['name']}.{name}", title)


def _lines(canvas: Canvas, sweep: Sweep, figure: str, along: int, lists: Sequence[str], name: str) -> str:
    from steps.plots.sweep import Point, sweep_figure

    axis = sweep["axes"][along]
    numbers = dict(zip(map(str, axis["values"]), axis.get("numbers") or [None] * len(axis["values"]), strict=True))
    is_numeric = all(number is not None for number in numbers.values())
    lines: dict[str, list[Point]] = {}
    for list_name in lists:
        for point in sweep["points"]:
            found = point_figure(point, figure, list_name)
            if found is None:
                continue
            values = list(map(str, point["values"]))
            place = values.pop(along)
            label = ", ".join(values) or list_name
            bounds = tuple(found[1]) if found[1] else None
            lines.setdefault(label, []).append((numbers[place] if is_numeric else place, found[0], bounds))
    others = [each["name"] for i, each in enumerate(sweep["axes"]) if i != along]
    title = f"{sweep['title']}: {name}" if name else sweep["title"]
    picture = sweep_figure(
        dict(list(lines.items())[:_MAX_LINES]), title, axis_name=axis["name"], name=figure_name(figure), factor=_factor(figure),
        legend_title=", ".join(others) or "List",
    )  # fmt: skip
    return canvas.add(picture, ".".join(filter(None, ("sweep", sweep["name"], name))), title)


def _factor(figure: str) -> float:
    return 100.0 if is_rate(figure) else 1.0
