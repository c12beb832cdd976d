"""What a report works out of score files: paired comparisons with a reference, and what calibration changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.core.errors import RecipeError
from steps.core.rng import generator

if TYPE_CHECKING:
    from steps.data.score_files import TrialIndex

Pair = tuple[np.ndarray, np.ndarray]  # (of targets, of non-targets)


@dataclass(frozen=True, eq=False)
class Scored:
    """A list as one system scored it; nan stands for a trial without a score."""

    is_target: np.ndarray  # [P]
    scores_P: np.ndarray
    llrs_P: np.ndarray | None  # calibrated, None where the system has none

    def pair(self) -> Pair:
        """Return (target, non-target) scores of the trials that have one."""
        return _split(self.scores_P, self.is_target)

    def llr_pair(self) -> Pair | None:
        """Return (target, non-target) calibrated LLRs, None where there are none."""
        return None if self.llrs_P is None else _split(self.llrs_P, self.is_target)


def read_scored(trials: TrialIndex, folder: Path, name: str) -> Scored:
    """Return the scores and LLRs of a list in the order of its trials.

    Raises:
        RecipeError: see `aligned_scores`.
    """
    llrs = folder / "llr" / f"{name}.txt"
    scores_P = aligned_scores(trials, folder / f"{name}.txt")
    return Scored(trials.is_target, scores_P, aligned_scores(trials, llrs) if llrs.is_file() else None)


def aligned_scores(trials: TrialIndex, path: Path) -> np.ndarray:
    """Return the score of each trial [P] of a score file, nan for trials that it leaves out.

    Raises:
        RecipeError: a score of a pair that is not in the list, or all scored trials of one kind.
    """
    from steps.data.score_matching import match_scores

    scores, rows = match_scores(trials, path, allow_missing=True)
    scores_P = np.full(len(trials), np.nan)
    scores_P[rows] = scores
    truth = trials.is_target[np.isfinite(scores_P)]
    if truth.all() or not truth.any():
        raise RecipeError(f"{path}: {int(truth.sum())} targets in {truth.size} scored trials; expected both kinds")
    return scores_P


def trial_speakers(manifests: Path, name: str, trials: TrialIndex) -> Pair:
    """Return the speakers of both sides of each trial of a list as whole numbers from 0, [P] each.

    Raises:
        RecipeError: an id that is neither that of an utterance nor of an enrolled model of the list.
    """
    from steps.data.enrolment import model_speakers, read_models
    from steps.results.figures import speaker_indices

    lines = (manifests / "utt2spk").read_text(encoding="utf-8").splitlines()
    speakers = dict(line.split(maxsplit=1) for line in lines if line.strip())
    enrolment = manifests / "enrolment" / f"{name}.txt"
    if enrolment.is_file():
        speakers |= model_speakers(read_models(enrolment), speakers, str(enrolment))
    enrol_P, test_P, _ = speaker_indices(name, trials, speakers)
    return enrol_P, test_P


def compare_with(
    reference: str, scored: Mapping[str, Scored], speakers: Pair, *, name: str, seed: int, num_replicates: int
) -> dict[str, dict[str, Any]]:
    """Return, for each system but the reference, its paired comparison on a list: {"num_trials", "eer": record}.

    Systems are compared on the trials that both they and the reference have scored; the draws of speakers are those of the list.
    """
    from steps.metrics.paired import compare_systems, holm

    masks = {system: np.isfinite(each.scores_P) & np.isfinite(scored[reference].scores_P) for system, each in scored.items()}
    groups: dict[bytes, list[str]] = defaultdict(list)
    for system in scored:
        if system != reference:
            groups[masks[system].tobytes()].append(system)
    found: dict[str, dict[str, Any]] = {}
    for systems in groups.values():
        kept = masks[systems[0]]
        truth = scored[reference].is_target[kept]
        if truth.all() or not truth.any():
            continue  # too little in common to compare
        scores = {system: scored[system].scores_P[kept] for system in (reference, *systems)}
        records = compare_systems(
            scores, truth, speakers[0][kept], speakers[1][kept],
            reference=reference, rng=generator(seed, "comparison", name), num_replicates=num_replicates,
        )  # fmt: skip
        found |= {system: {"num_trials": int(kept.sum()), "eer": dict(records[system]["eer"])} for system in systems}
    corrected = holm([each["eer"]["p_value"] for each in found.values()])  # over all groups
    for each, p_holm in zip(found.values(), corrected, strict=True):
        each["eer"]["p_holm"] = p_holm
    return found


def calibration_figures(scored: Scored, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of `steps.tables.comparison.calibration_table` for a list: costs before and after calibration.

    Args:
        scored: of the list.
        figures: its record, which holds what is true after calibration.
    """
    from steps.metrics.cllr import cllr
    from steps.metrics.costs import act_dcf

    pair = scored.pair()
    after = figures["act_dcf"] or {}
    return {
        "min_cllr": figures["min_cllr"],
        "min_dcf": figures["min_dcf"],
        "cllr": (cllr(*pair), figures["cllr"]),
        "act_dcf": {prior: (act_dcf(*pair, float(prior)), after.get(prior)) for prior in figures["min_dcf"]},
    }


def _split(values_P: np.ndarray, is_target: np.ndarray) -> Pair:
    known = np.isfinite(values_P)
    return values_P[is_target & known], values_P[~is_target & known]
