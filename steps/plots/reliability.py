"""Reliability diagrams: how often trials are of one speaker, against how probable their LLRs call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, logit
from scipy.stats import beta

from steps.plots.figure import GREY, checked_numbers, line_style, settle, style

_LEVEL = 0.95
_NEUTRAL = 0.5  # the prior at which as many targets as non-targets are expected
_MARKERS = ("o", "s", "^", "D")

Pair = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class Bins:
    """The bins [B] of a reliability diagram; rates of empty bins are nan."""

    edges: np.ndarray  # [B + 1] of the predicted probability
    predicted: np.ndarray  # mean predicted probability
    observed: np.ndarray  # share of targets, at the prior
    low: np.ndarray  # 95% interval of the share
    high: np.ndarray
    num_target: np.ndarray
    num_nontarget: np.ndarray


def reliability_bins(
    target_llrs: npt.ArrayLike, nontarget_llrs: npt.ArrayLike, *, prior: float = _NEUTRAL, num_bins: int = 10
) -> Bins:
    """Return predicted and observed probability of a target in bins of equal width of the predicted one.

    A list has its own share of targets, so each kind of trial is weighted to make up the prior: of t targets and n non-targets
    in a bin, of T and N in the list, prior t/T to (1 - prior) n/N. The interval is that of Clopper and Pearson for t of t + n
    with its odds weighted alike. It takes trials for independent; they share speakers, so it is rather too narrow.

    Source: Brocker and Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22, 2007;
        Clopper and Pearson, Biometrika 26, 1934.

    Raises:
        ValueError: LLRs empty, not one-dimensional or not finite, a prior outside (0, 1), no bin.
    """
    target, nontarget = checked_numbers(target_llrs, "target LLRs"), checked_numbers(nontarget_llrs, "non-target LLRs")
    if not 0 < prior < 1:
        raise ValueError(f"prior: expected a probability between 0 and 1, both excluded, found {prior}")
    if num_bins < 1:
        raise ValueError(f"num_bins: expected at least 1, found {num_bins}")
    edges = np.linspace(0, 1, num_bins + 1)
    (t_B, sum_t_B), (n_B, sum_n_B) = (_binned(expit(llrs + logit(prior)), num_bins) for llrs in (target, nontarget))
    weight_t, weight_n = prior / target.size, (1 - prior) / nontarget.size
    with np.errstate(invalid="ignore", divide="ignore"):
        mass_B = weight_t * t_B + weight_n * n_B
        predicted_B = (weight_t * sum_t_B + weight_n * sum_n_B) / mass_B
        low_B, high_B = beta.ppf((1 - _LEVEL) / 2, t_B, n_B + 1), beta.ppf((1 + _LEVEL) / 2, t_B + 1, n_B)
        low_B, high_B = np.where(t_B == 0, 0.0, low_B), np.where(n_B == 0, 1.0, high_B)
        shift = np.log(weight_t / weight_n)
        bounds = [np.where(t_B + n_B > 0, expit(logit(side_B) + shift), np.nan) for side_B in (low_B, high_B)]
        return Bins(edges, predicted_B, weight_t * t_B / mass_B, *bounds, t_B, n_B)


def reliability_figure(systems: Mapping[str, Pair], title: str, *, prior: float = _NEUTRAL, num_bins: int = 10) -> Figure:
    """Return a reliability diagram with one line a label, 95% intervals, and below it how many trials each bin holds.

    Args:
        systems: label -> (target LLRs, non-target LLRs), for instance before and after calibration.
        title: of the picture.
        prior: of a target, at which LLRs become probabilities.
        num_bins: of the predicted probability, all of the same width.

    Raises:
        ValueError: no system, or what `reliability_bins` refuses.
    """
    bins = {label: reliability_bins(*pair, prior=prior, num_bins=num_bins) for label, pair in systems.items()}
    if not bins:
        raise ValueError("systems: expected at least one, found none")
    with style():
        figure = Figure(figsize=(8.4, 4.8))
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        for index, (label, each) in enumerate(bins.items()):
            _draw(upper, each, label, index)
            _counts(lower, each, index, len(bins))
        upper.set(title=title, ylabel=f"Share of targets\n(weighted to a prior of {prior:g})", ylim=(-0.03, 1.03))
        lower.set(xlabel=f"Predicted probability of a target, at a prior of {prior:g}", ylabel="Trials", xlim=(-0.02, 1.02))
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.7)
        figure.legend(loc="outside right upper", title="95% intervals of the share", alignment="left")
        settle(figure)
    return figure


def _binned(probability_N: np.ndarray, num_bins: int) -> tuple[np.ndarray, np.ndarray]:
    index_N = np.minimum((probability_N * num_bins).astype(int), num_bins - 1)
    return np.bincount(index_N, minlength=num_bins), np.bincount(index_N, probability_N, minlength=num_bins)


def _draw(axes: Axes, bins: Bins, label: str, index: int) -> None:
    kept = bins.num_target + bins.num_nontarget > 0
    look = line_style(index)
    x, y = bins.predicted[kept], bins.observed[kept]
    errors = np.maximum([y - bins.low[kept], bins.high[kept] - y], 0)  # rounding may leave -1e-17
    axes.errorbar(
        x, y, errors, label=label, color=look["color"], linestyle=look["linestyle"], marker=_MARKERS[index % len(_MARKERS)],
        markersize=5, linewidth=1.2, capsize=2.5, elinewidth=1.2,
    )  # fmt: skip


def _counts(axes: Axes, bins: Bins, index: int, num: int) -> None:
    width = np.diff(bins.edges) / (num + 0.4)
    left = bins.edges[:-1] + width * (index + 0.2)
    total = bins.num_target + bins.num_nontarget
    axes.bar(left, total, width, align="edge", color=line_style(index)["color"], alpha=0.75)
