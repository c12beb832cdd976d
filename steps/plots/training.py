"""Training curves of several systems, from the records of their log.jsonl (one a finished epoch)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from steps.plots.figure import line_style, settle, style

Records = Sequence[Mapping[str, Any]]

_MAX_MARKED = 25  # epochs; longer curves are drawn without a dot an epoch
_LOG_RATIO = 50.0  # learning rates that span more than this are drawn on a logarithmic axis


@dataclass(frozen=True)
class _Panel:
    key: str
    title: str
    factor: float = 1.0
    may_be_log: bool = False


_PANELS = (
    _Panel("loss", "Training loss"),
    _Panel("log_likelihood", "Log-likelihood per frame (nats)"),
    _Panel("accuracy", "Training accuracy (%)", 100.0),
    _Panel("dev_eer", "EER of the dev set (%)", 100.0),
    _Panel("learning_rate", "Learning rate", may_be_log=True),
    _Panel("margin", "Margin"),
)


def training_figure(systems: Mapping[str, Records], title: str) -> Figure:
    """Return loss, accuracy, dev EER, learning rate and margin against the epoch, a panel each, a line a system.

    A panel for which no system has a number is left out; a value that is None or not finite leaves a gap.

    Args:
        systems: name -> records with "epoch" and any of "loss", "accuracy", "dev_eer" (fractions), "learning_rate",
            "margin".
        title: of the picture.

    Raises:
        ValueError: no record with a number to draw.
    """
    lines = {panel: _lines(systems, panel) for panel in _PANELS}
    shown = [panel for panel in _PANELS if lines[panel]]
    if not shown:
        raise ValueError(f"systems: expected records with at least one of {', '.join(p.key for p in _PANELS)}")
    names = list(systems)
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    with style():
        figure = Figure(figsize=(3.6 * columns + 0.4, 2.7 * rows + 0.9))
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(grid, shown, strict=False):
            _draw(axes, panel, lines[panel], names)
        for axes in grid[len(shown) :]:
            axes.remove()
        handles = [grid[0].plot([], [], label=name, **line_style(index))[0] for index, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 2 * columns))
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left", fontsize=11)
        settle(figure)
    return figure


def _lines(systems: Mapping[str, Records], panel: _Panel) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return system -> (epochs, values) of those that have any value to draw."""
    lines = {}
    for name, records in systems.items():
        points = sorted((record["epoch"], _number(record.get(panel.key))) for record in records)
        epochs, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        if np.isfinite(values).any():
            lines[name] = (epochs, values * panel.factor)
    return lines


def _number(value: Any) -> float:
    is_finite = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_finite else math.nan


def _draw(axes: Axes, panel: _Panel, lines: Mapping[str, tuple[np.ndarray, np.ndarray]], names: list[str]) -> None:
    num_points = max(np.isfinite(values).sum() for _, values in lines.values())
    marker = "o" if num_points <= _MAX_MARKED else ""
    for name, (epochs, values) in lines.items():
        # A dev EER taken every fifth epoch is a line too: join its points over the epochs between.
        kept = np.isfinite(values) if panel.key == "dev_eer" else np.ones(values.size, dtype=bool)
        axes.plot(epochs[kept], values[kept], marker=marker, markersize=3.5, **line_style(names.index(name)))
    everything = np.concatenate([values[np.isfinite(values)] for _, values in lines.values()])
    if panel.may_be_log and everything.min() > 0 and everything.max() > _LOG_RATIO * everything.min():
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    epochs = np.concatenate([epochs for epochs, _ in lines.values()])
    pad = max(0.5, 0.03 * np.ptp(epochs))
    axes.set_xlim(epochs.min() - pad, epochs.max() + pad)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set_title(panel.title, fontweight="normal", fontsize=10)
    axes.set_xlabel("Epoch")
