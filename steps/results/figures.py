"""Every figure of a list of scored trials, with its interval and its pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steps.backend.settings import Score
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.list_summary import FEW
from steps.data.score_files import TrialIndex
from steps.data.trials import Trials
from steps.metrics.intervals import interval
from steps.metrics.replicates import bootstrap_eer, draw_replicates
from steps.metrics.summary import trial_figures
from steps.results.pictures import write_list_pictures
from steps.results.verification import Decisions, decision_figures


def list_figures(
    name: str,
    trials: Trials | TrialIndex,
    scores: np.ndarray,
    llrs: np.ndarray | None,
    utt2spk: Mapping[str, str],
    *,
    settings: Score,
    plots: Path,
    decisions: Decisions | None = None,
) -> dict[str, Any]:
    """The figures of one list under the names of result.json; draws its pictures into `plots`.

    Of a list without labels, or with trials of one kind only, there are no figures: see `no_figures`.

    `decisions`: what is known of the system before its lists, for accuracies at a threshold; see `decision_figures`.

    Raises:
        RecipeError: an utterance of no known speaker.
    """
    num_target = trials.num_target
    if trials.is_target is None or num_target in (0, len(trials)):
        return no_figures(trials)
    enrol_P, test_P, num_speakers = speaker_indices(name, trials, utt2spk)
    figures = trial_figures(scores, trials.is_target, llrs=llrs, priors=settings.priors)
    replicates = draw_replicates(
        trials.is_target, enrol_P, test_P, rng=generator(settings.seed, "bootstrap", name), num_replicates=settings.replicates
    )
    figures |= {"num_target": num_target, "num_nontarget": len(trials) - num_target, "num_speakers": num_speakers}
    figures["eer_ci95"] = list(interval(bootstrap_eer(scores, replicates)))
    figures |= decision_figures(scores, trials.is_target, replicates, decisions or Decisions())
    if settings.pictures:
        write_list_pictures(plots, name, trials.is_target, scores, llrs=llrs, priors=settings.priors, only=settings.pictures)
    return figures


def no_figures(trials: Trials | TrialIndex) -> dict[str, Any]:
    """The record of a list that has scores and no figures: these are None, `no_figures` says why, and counts are what they are.

    `num_unlabelled` counts trials that nobody says the truth of; `num_target` and `num_nontarget` do not.
    """
    kind = "target" if trials.num_nontarget else "non-target"
    names = ("eer", "eer_ci95", "eer_rocch", "act_dcf", "cllr", "min_cllr", "num_speakers")
    return dict.fromkeys(names) | {
        "no_figures": "no labels" if trials.is_target is None else f"no {kind} trials",
        "min_dcf": {},
        "num_target": trials.num_target,
        "num_nontarget": trials.num_nontarget,
        "num_unlabelled": len(trials) if trials.is_target is None else 0,
    }


def speaker_indices(name: str, trials: Trials | TrialIndex, utt2spk: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray, int]:
    """The speaker of both sides of each trial as whole numbers from 0, and how many speakers there are."""
    index = trials if isinstance(trials, TrialIndex) else TrialIndex.of(trials.enrol_ids, trials.test_ids, trials.is_target)
    used = np.unique(np.concatenate([index.enrol_P, index.test_P]))
    try:
        speakers, code_U = np.unique([utt2spk[index.ids[number]] for number in used.tolist()], return_inverse=True)
    except KeyError as error:
        raise RecipeError(f"trial list {name}: utterance {error} is not in utt2spk; run stage 1 again") from None
    code_N = np.zeros(len(index.ids), dtype=np.int64)
    code_N[used] = code_U
    return code_N[index.enrol_P], code_N[index.test_P], len(speakers)


def one_line(figures: dict[str, Any], scores: Path) -> str:
    """The chief figures in words, for the log; where there are none, why, and where the scores are."""
    if "no_figures" in figures:
        num = figures["num_target"] + figures["num_nontarget"] + figures["num_unlabelled"]
        return f"no figures ({figures['no_figures']}), {num} score{'s' * (num != 1)}: {scores}"
    numbers = {"targets": figures["num_target"], "speakers": figures["num_speakers"]}
    few = [f"{number} {what}" for what, number in numbers.items() if number < FEW]
    low, high = (f"{100 * bound:.2f}" for bound in figures["eer_ci95"])
    bounds = f"too few to tell: {', '.join(few)}" if few else f"{low}, {high}"
    costs = ", ".join(f"minDCF({prior}) {value:.3f}" for prior, value in figures["min_dcf"].items())
    counts = f"{numbers['targets']} target and {figures['num_nontarget']} non-target trials of {numbers['speakers']} speakers"
    names = {"accuracy": "accuracy", "own_accuracy": "at the network's own threshold"}
    shares = [f"{name} {100 * figures[key]:.2f} %" for key, name in names.items() if figures.get(key) is not None]
    shares += [f"ambiguous {100 * figures['ambiguous']['rate']:.2f} %"] if "ambiguous" in figures else []
    return ", ".join([f"EER {100 * figures['eer']:.2f} % [{bounds}]", costs, *shares, counts])
