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
from steps.metrics.identification import NOT_ENROLLED, Searches, rank_scores, together
from steps.results.settings import TaskSettings
from steps.results.tasks import TRIALS_AT_A_TIME, closed_rates, clustering_task_figures, labelled, open_rates

_FEWEST = 4  # enrolled speakers of whom some can be left out for the open set


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
    """Return rate, rate_ci95 (by rank), cmc and counts of identifying test utterances among the enrolled speakers, and `open`.

    Tested speakers who are not enrolled are visitors: `num_visitors`, with `num_visits` tests, which no rank counts. They make
    `open`, in which everybody who is enrolled stays so.

    A speaker is enrolled with all utterances that the list gives him, as the back end enrols several: with
    score.enrolment = "mean", with the mean of their embeddings. `open` of a list without visitors, which lists of fewer than
    four speakers lack: a share `open_share` of the speakers, drawn `draws` times, is not enrolled, and their tests are those of
    strangers.

    Args:
        roles: "enrol" or "test" of each of N utterances, in whose order `score` takes rows.
        speakers: of each utterance.
        score: the system's scores of trials between speakers, given as rows of their utterances, and utterances.
        settings: ranks, fars, open_share, draws, replicates, seed.

    Raises:
        ValueError: nobody is enrolled, or nobody who is enrolled is tested.
    """
    speaker_N, is_enrol_N = np.asarray(speakers), np.asarray(roles) == "enrol"
    names_M, code_N = np.unique(speaker_N[is_enrol_N], return_inverse=True)
    order_N = np.argsort(code_N, kind="stable")
    models = np.split(np.flatnonzero(is_enrol_N)[order_N], np.cumsum(np.bincount(code_N))[:-1]) if names_M.size else []
    test_P = np.flatnonzero(~is_enrol_N)
    speaker_P = speaker_N[test_P]
    is_known_P = np.isin(speaker_P, names_M)
    if not is_known_P.any():
        raise ValueError("identification: expected enrolled speakers, and tests of some of these")
    answer_P = np.where(is_known_P, np.searchsorted(names_M, speaker_P), NOT_ENROLLED)
    galleries = _galleries(len(models), answer_P, settings) if is_known_P.all() else []
    every, *opened = _searched(models, test_P, answer_P, score, [np.arange(len(models)), *galleries])
    figures = {"num_enrolled": len(models), "num_enrol_utterances": int(is_enrol_N.sum()), "num_mated": int(is_known_P.sum())}
    figures |= closed_rates(every, speaker_P[is_known_P], settings, "list")
    if not is_known_P.all():
        visitors = np.unique(speaker_P[~is_known_P])
        figures |= {"num_visitors": visitors.size, "num_visits": int((~is_known_P).sum())}
        opened = [every]
    if opened:
        searches = together(opened)
        counts = {
            "num_enrolled": searches.num_enrolled, "num_draws": len(opened), "num_mated": int(searches.mated_N.sum()),
            "num_nonmated": int((~searches.mated_N).sum()),
        }  # fmt: skip
        figures["open"] = counts | open_rates(searches, np.tile(speaker_P, len(opened)), settings, "open list")
    return figures


def classifier_figures(
    enrolled: Sequence[str], scores: npt.ArrayLike, speakers: Sequence[str], settings: TaskSettings
) -> dict[str, Any]:
    """Return rate, rate_ci95 (by rank), cmc and counts of identifying test utterances by the network's own classes.

    Closed set only: to a network that was trained on them, speakers who are left out are no strangers.

    Args:
        enrolled: names of M training speakers.
        scores: [M, P], higher = more likely that speaker.
        speakers: who speaks in each of P test utterances.
        settings: ranks, replicates, seed.

    Source: the identification of Nagrani, Chung and Zisserman, "VoxCeleb: a large-scale speaker identification dataset",
    Interspeech 2017, section 5: the softmax over all speakers, top 1 and top 5.

    Raises:
        ValueError: scores of another shape, or an utterance of nobody among those speakers.
    """
    names_M, speaker_P = np.asarray(enrolled), np.asarray(speakers)
    strange = sorted(set(speaker_P.tolist()) - set(names_M.tolist()))
    if strange or np.shape(scores) != (names_M.size, speaker_P.size):
        raise ValueError(
            f"scores: expected [{names_M.size}, {speaker_P.size}] of these speakers, found {np.shape(scores)} and "
            f"{', '.join(strange[:3]) or 'no other speaker'}"
        )
    place = {name: row for row, name in enumerate(names_M.tolist())}
    searches = rank_scores(scores, np.array([place[name] for name in speaker_P.tolist()]))
    figures = closed_rates(searches, speaker_P, settings, "classifier")
    return {"num_enrolled": names_M.size, "num_mated": len(searches)} | figures


def list_lines(figures: dict[str, Any]) -> list[str]:
    """Return the chief figures of each list in words, for the log."""
    lines = []
    for name, of in figures.get("identification_lists", {}).items():
        rates = ", ".join(f"rank {rank} {100 * rate:.1f} %" for rank, rate in of["rate"].items())
        open_set = of.get("open", {}).get("dir", {})
        rates += "".join(f", DIR at FAR {100 * float(far):g} % {100 * rate:.1f} %" for far, rate in open_set.items())
        whom = f"{of['num_enrolled']} enrolled"
        if "num_visits" in of:
            whom += f", {of['num_mated']} tests of these and {of['num_visits']} of {of['num_visitors']} visitors"
        lines.append(f"identification, list {name}, {whom}: {rates}")
    for name, of in figures.get("identification_by_classifier", {}).items():
        rates = ", ".join(f"rank {rank} {100 * rate:.1f} %" for rank, rate in of["rate"].items())
        lines.append(f"identification by the classifier, list {name}, {of['num_enrolled']} speakers: {rates}")
    for name, methods in figures.get("clustering_lists", {}).items():
        for method, cuts in methods.items():
            for cut, of in cuts.items():
                number = f"{of['num_clusters']} clusters of {of['num_items']} items of {of['num_speakers']} speakers"
                legacy = f", legacy {100 * of['mr_legacy_of_any_cut']:.2f} %" if "mr_legacy_of_any_cut" in of else ""
                lines.append(f"clustering, list {name}, {method} ({cut}): MR {100 * of['mr']:.2f} %{legacy}, {number}")
    return lines


def _galleries(num_models: int, answer_P: np.ndarray, settings: TaskSettings) -> list[np.ndarray]:
    """Who is enrolled in each draw of the open set, rising; none where that leaves no searches of one kind."""
    num_known = num_models - round(settings.open_share * num_models)
    if not settings.open_share or num_models < _FEWEST or not 0 < num_known < num_models:
        return []
    draws = [generator(settings.seed, "identification", "list", draw).permutation(num_models) for draw in range(settings.draws)]
    known = [np.sort(order_M[:num_known]) for order_M in draws]
    return [rows for rows in known if 0 < np.isin(answer_P, rows).sum() < answer_P.size]


def _searched(
    models: list[np.ndarray], test_P: np.ndarray, answer_P: np.ndarray, score: TrialScores, galleries: list[np.ndarray]
) -> list[Searches]:
    """The searches in each gallery, given as rows of `models`; every pair is scored once."""
    step = max(1, TRIALS_AT_A_TIME // len(models))
    found: list[list[Searches]] = [[] for _ in galleries]
    for start in range(0, test_P.size, step):
        rows_n, answer_n = test_P[start : start + step], answer_P[start : start + step]
        scores = score(models, np.repeat(np.arange(len(models)), rows_n.size), np.tile(rows_n, len(models)))
        scores_Mn = np.asarray(scores).reshape(len(models), -1)
        for searches, known in zip(found, galleries, strict=True):
            place_M = np.full(len(models), NOT_ENROLLED)
            place_M[known] = np.arange(known.size)
            searches.append(rank_scores(scores_Mn[known], np.where(answer_n == NOT_ENROLLED, NOT_ENROLLED, place_M[answer_n])))
    return [together(searches) for searches in found]
