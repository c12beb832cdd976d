"""Decisions about trials: how often a threshold that was chosen elsewhere is right, and which trials nobody can tell.

Suffixes: P trials.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steps.backend.settings import Score
from steps.core import files
from steps.metrics.intervals import interval
from steps.metrics.replicates import Replicates
from steps.metrics.verification import ambiguous, balanced_accuracy, best_threshold, bootstrap_accuracy, bootstrap_share

FILE = "threshold.json"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The threshold that is best on trials of held-out training speakers; see `best_threshold`."""

    threshold: float
    accuracy: float  # on those trials, balanced
    num_target: int
    num_nontarget: int

    @classmethod
    def chosen_on(cls, scores: np.ndarray, is_target: np.ndarray) -> Threshold:
        """Return the best threshold of scored trials that are not reported."""
        threshold, accuracy = best_threshold(scores, is_target)
        num_target = int(np.count_nonzero(is_target))
        return cls(threshold=threshold, accuracy=accuracy, num_target=num_target, num_nontarget=len(scores) - num_target)

    def save(self, folder: Path) -> None:
        """Write threshold.json."""
        files.write_json(folder / FILE, asdict(self))


def load_threshold(folder: Path) -> Threshold | None:
    """Return the threshold of a folder of scores; None where there is none."""
    return Threshold(**files.read_json(folder / FILE)) if (folder / FILE).is_file() else None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What decides about the trials of a system, known before any of its test lists is scored."""

    chosen: Threshold | None = None  # on trials of held-out speakers; None: there are none
    own: float | None = None  # the system's own threshold: of a siamese network's output, 0.5 as a probability
    are_heights: bool = False  # whether scores are minus the heights of average linkage

    @classmethod
    def of(cls, settings: Score, chosen: Threshold | None) -> Decisions:
        """Return the decisions of a system that is scored by these settings."""
        own = 0.0 if settings.backend == "siamese" and settings.norm == "none" else None  # log odds
        return cls(chosen=chosen, own=own, are_heights=settings.backend == "linkage" and settings.linkage == "average")


def decision_figures(scores: np.ndarray, is_target: np.ndarray, replicates: Replicates, decisions: Decisions) -> dict[str, Any]:
    """Return the figures of decisions about a list, under the names of result.json, each with its `_ci95`.

    `accuracy`, `dev_threshold` and `dev_accuracy`: by the threshold chosen on dev trials and there; None without such trials.
    `own_accuracy`: by the system's own threshold, where it has one. `ambiguous`: of scores that are heights, `rate` over all
    trials, `target_rate` and `nontarget_rate`.

    Args:
        scores: [P], raw.
        is_target: [P].
        replicates: of the list's speakers.
        decisions: of the system.
    """
    figures: dict[str, Any] = dict.fromkeys(("accuracy", "accuracy_ci95", "dev_threshold", "dev_accuracy"))
    if decisions.chosen is not None:
        figures |= _accuracy("accuracy", scores, is_target, replicates, decisions.chosen.threshold)
        figures |= {"dev_threshold": decisions.chosen.threshold, "dev_accuracy": decisions.chosen.accuracy}
    if decisions.own is not None:
        figures |= _accuracy("own_accuracy", scores, is_target, replicates, decisions.own)
    if decisions.are_heights:
        unclear_P = ambiguous(-scores, is_target)
        figures["ambiguous"] = {
            "rate": float(unclear_P.mean()), "rate_ci95": list(interval(bootstrap_share(unclear_P, replicates))),
            "target_rate": float(unclear_P[is_target].mean()), "nontarget_rate": float(unclear_P[~is_target].mean()),
        }  # fmt: skip
    return figures


def _accuracy(name: str, scores: np.ndarray, is_target: np.ndarray, replicates: Replicates, threshold: float) -> dict[str, Any]:
    bounds = interval(bootstrap_accuracy(scores, replicates, threshold))
    return {name: balanced_accuracy(scores, is_target, threshold), f"{name}_ci95": list(bounds)}
