"""Histograms of the scores of target and non-target trials."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from steps.plots.figure import NONTARGET, TARGET, checked_numbers, settle, style

_DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
_MAX_BINS = 80
_MIN_BINS = 10


def score_histogram(
    target_scores: npt.ArrayLike,
    nontarget_scores: npt.ArrayLike,
    title: str,
    *,
    thresholds: Mapping[str, float] | None = None,
    score_name: str = "Score",
) -> Figure:
    """Return a histogram of both kinds of trials over common bins, each kind in per cent of its own trials.

    Args:
        target_scores: of the target trials.
        nontarget_scores: of the non-target trials.
        title: of the picture.
        thresholds: name -> score at which to draw an upright line; infinite ones are left out.
        score_name: label of the score axis.

    Raises:
        ValueError: scores empty, not one-dimensional or not finite.
    """
    target = checked_numbers(target_scores, "target scores")
    nontarget = checked_numbers(nontarget_scores, "non-target scores")
    edges = _bin_edges(target, nontarget)
    with style():
        figure = Figure(figsize=(9.0, 3.8))
        axes = figure.subplots()
        for scores, name, colour in ((nontarget, "non-target", NONTARGET), (target, "target", TARGET)):
            share = 100.0 * np.histogram(scores, edges)[0] / scores.size
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.30)
            axes.stairs(share, edges, color=colour, linewidth=1.4, label=f"{name} ({scores.size:,} trials)")
        for index, (name, threshold) in enumerate((thresholds or {}).items()):
            if np.isfinite(threshold):
                dashes = _DASHES[index % len(_DASHES)]
                axes.axvline(threshold, color="black", linewidth=1.2, linestyle=dashes, label=f"{name}: {threshold:.3g}")
        axes.set(title=title, xlabel=score_name, ylabel="Share of the trials of a kind (%)")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        figure.legend(loc="outside right upper")
        settle(figure)
    return figure


def _bin_edges(target: np.ndarray, nontarget: np.ndarray) -> np.ndarray:
    """Return edges of equal bins over all scores; few trials get few bins, else the picture is a comb."""
    low, high = min(target.min(), nontarget.min()), max(target.max(), nontarget.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    # 2 n^(1/3) bins for each kind (Rice's rule), and the kinds hardly overlap.
    num_bins = int(np.clip(4 * np.cbrt(min(target.size, nontarget.size)), _MIN_BINS, _MAX_BINS))
    return np.linspace(low, high, num_bins + 1)
