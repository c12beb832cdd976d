"""Dev EER against the hours of audio that a network was shown, from the records of log.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from steps.plots.figure import line_style, settle, style

Records = Sequence[Mapping[str, Any]]


def hours_figure(systems: Mapping[str, Sequence[Records]], title: str) -> Figure:
    """Return the EER of the dev set (%) against the hours of crops that were learnt from, repeats counted.

    A system has one or more runs (seeds, say): each is a thin line, and their mean a thick one. The mean takes hours and EERs
    of the same epoch, as long as all of the runs have one. Epochs without a dev EER leave no point.

    Args:
        systems: name -> runs, each the records of one log with "epoch", "seconds_seen" and "dev_eer" (a fraction).
        title: of the picture.

    Raises:
        ValueError: no record with hours and EER.
    """
    points = {name: [found for run in runs if (found := _points(run))] for name, runs in systems.items()}
    if not any(points.values()):
        raise ValueError("systems: expected records with seconds_seen and dev_eer, found none")
    with style():
        figure = Figure(figsize=(6.4, 4.2))
        axes = figure.subplots()
        for index, (name, runs) in enumerate(points.items()):
            look = line_style(index)
            if len(runs) > 1:
                for run in runs:
                    axes.plot(*np.array(list(run.values())).T, linewidth=0.7, alpha=0.45, **look)
            if runs:
                shared = sorted(set.intersection(*(set(run) for run in runs)))
                mean_E2 = np.mean([[run[epoch] for epoch in shared] for run in runs], axis=0).reshape(-1, 2)
                axes.plot(*mean_E2.T, marker="o", markersize=3.5, label=name, **look)
        axes.set_xlim(left=0.0)
        axes.set_xlabel("Hours of audio learnt from")
        axes.set_ylabel("EER of the dev set (%)")
        axes.legend()
        axes.set_title(title)
        settle(figure)
    return figure


def _points(records: Records) -> dict[int, tuple[float, float]]:
    """Return epoch -> (hours, EER in per cent) of the records that have both, by epoch."""
    found = {}
    for record in sorted(records, key=lambda record: record["epoch"]):
        seconds, eer = record.get("seconds_seen"), record.get("dev_eer")
        if all(isinstance(each, int | float) and math.isfinite(each) for each in (seconds, eer)):
            found[record["epoch"]] = (seconds / 3600, 100 * eer)
    return found
