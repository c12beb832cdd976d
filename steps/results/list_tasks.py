"""Clustering and identification by the lists that a corpus brings (steps/data/item_lists.py), beside what is drawn.

Suffixes: N utterances, M items or enrolled speakers, P tests, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.backend.few_shot import TrialScores
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.metrics.identification import Searches, cmc, identification_rate, identified, rank_scores, together
from steps.metrics.intervals import interval, mean_bootstrap
from steps.results.settings import TaskSettings
from steps.results.tasks import TRIALS_AT_A_TIME, clustering_task_figures, labelled


def clustering_list_figures(
    name: str,
    ids: Sequence[str],
    embeddings: npt.ArrayLike,
    speakers: Sequence[str],
    *,
    score: TrialScores | None,
    settings: TaskSettings,
) -> dict[str, Any]:
    """Return the figures of clustering the items of a list, all of them, by each method: as `task_figures` for utterances.

    In `best`, of "ahc_...", `mr` is the lowest MR of any cut and `num_clusters` and `height` say of which;
    `mr_legacy_of_any_cut` is the lowest legacy MR, and `num_clusters_legacy` says where: the published protocol.

    Args:
        name: of the list.
        ids: of the M items.
        embeddings: [M, D], of an item one, as the back end compares them.
        speakers: of each item.
        score: trial scores between rows of the items; None: cosine.
        settings: of the tasks; `max_items` does not hold for a list, which is clustered whole.

    Source: Stadelmann et al., ANNPR 2018, section 4.1 (two items a speaker, complete linkage, cosine, the lowest MR).

    Raises:
        RecipeError: items that cannot be clustered.
    """
    try:
        data = labelled(ids, embeddings, speakers, None, None, score)
        return clustering_task_figures(data, replace(settings, max_items=max(2, len(ids))))
    except ValueError as error:
        raise RecipeError(f"tasks.run: clustering of the list '{name}': {error}; correct the list, or leave it out") from None


def identification_list_figures(
    roles: Sequence[str], speakers: Sequence[str], score: TrialScores, settings: TaskSettings
) -> dict[str, Any]:
    """Return rate, rate_ci95 (by rank), cmc and counts of identifying the test utterances among the enrolled speakers.

    A speaker is enrolled with all utterances that the list gives him, as the back end enrols several: with
    score.enrolment = "mean", with the mean of their embeddings.

    Args:
        roles: "enrol" or "test" of each of N utterances, in whose order `score` takes rows.
        speakers: of each utterance.
        score: the system's scores of trials between speakers, given as rows of their utterances, and utterances.
        settings: ranks, replicates, seed.

    Raises:
        ValueError: nobody is enrolled or tested, or a tested speaker is not enrolled.
    """
    speaker_N, is_enrol_N = np.asarray(speakers), np.asarray(roles) == "enrol"
    names_M, code_N = np.unique(speaker_N[is_enrol_N], return_inverse=True)
    order_N = np.argsort(code_N, kind="stable")
    models = np.split(np.flatnonzero(is_enrol_N)[order_N], np.cumsum(np.bincount(code_N))[:-1]) if names_M.size else []
    test_P = np.flatnonzero(~is_enrol_N)
    if not models or not test_P.size or not np.isin(speaker_N[test_P], names_M).all():
        raise ValueError("identification: expected enrolled speakers, and tests of these only")
    searches = _searched(models, test_P, np.searchsorted(names_M, speaker_N[test_P]), score)
    hits = np.stack([identified(searches, rank) for rank in settings.ranks], axis=1)
    replicates = mean_bootstrap(
        hits, speaker_N[test_P], rng=generator(settings.seed, "bootstrap", "list"), num_replicates=settings.replicates
    )
    return {
        "num_enrolled": len(models),
        "num_enrol_utterances": int(is_enrol_N.sum()),
        "num_mated": len(searches),
        "rate": {str(rank): identification_rate(searches, rank) for rank in settings.ranks},
        "rate_ci95": {str(rank): list(interval(column)) for rank, column in zip(settings.ranks, replicates.T, strict=True)},
        "cmc": cmc(searches).tolist(),
    }


def list_lines(figures: dict[str, Any]) -> list[str]:
    """Return the chief figures of each list in words, for the log."""
    lines = []
    for name, of in figures.get("identification_lists", {}).items():
        rates = ", ".join(f"rank {rank} {100 * rate:.1f} %" for rank, rate in of["rate"].items())
        lines.append(f"identification, list {name}, {of['num_enrolled']} enrolled: {rates}")
    for name, methods in figures.get("clustering_lists", {}).items():
        for method, cuts in methods.items():
            for cut, of in cuts.items():
                number = f"{of['num_clusters']} clusters of {of['num_items']} items of {of['num_speakers']} speakers"
                legacy = f", legacy {100 * of['mr_legacy_of_any_cut']:.2f} %" if "mr_legacy_of_any_cut" in of else ""
                lines.append(f"clustering, list {name}, {method} ({cut}): MR {100 * of['mr']:.2f} %{legacy}, {number}")
    return lines


def _searched(models: list[np.ndarray], test_P: np.ndarray, answer_P: np.ndarray, score: TrialScores) -> Searches:
    step = max(1, TRIALS_AT_A_TIME // len(models))
    found = []
    for start in range(0, test_P.size, step):
        rows_n = test_P[start : start + step]
        scores = score(models, np.repeat(np.arange(len(models)), rows_n.size), np.tile(rows_n, len(models)))
        found.append(rank_scores(np.asarray(scores).reshape(len(models), -1), answer_P[start : start + step]))
    return together(found)
