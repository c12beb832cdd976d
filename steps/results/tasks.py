"""Further experiments on a labelled set: identification (closed and open set), few-shot tasks, speaker clustering.

Nothing here depends on the order of the utterances: they are sorted by id, and each draw has a generator of its own.
Suffixes: N utterances, D dimensions, M enrolled speakers, P trials or probes, T pairs of utterances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.backend.clustering import cluster, cosine_distances, cut, dendrogram, numbered
from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.few_shot import TrialScores, few_shot_table
from steps.backend.protocols import Protocol, draw_protocols
from steps.core.errors import RecipeError
from steps.core.rng import generator, seed_of
from steps.metrics.clustering import bootstrap_ari, clustering_figures, rightly_clustered
from steps.metrics.dendrogram import cut_figures
from steps.metrics.identification import (
    Searches,
    bootstrap_dir_at_far,
    cmc,
    dir_at_far,
    identification_rate,
    identified,
    open_set_rates,
    rank_scores,
    thinned_curve,
    together,
)
from steps.metrics.intervals import interval, mean_bootstrap
from steps.results.settings import TaskSettings

OWN_SCORE = "score"  # name of the system's own scores among the ways to compare few-shot tasks
TRIALS_AT_A_TIME = 2_000_000


def task_figures(
    ids: Sequence[str],
    embeddings: npt.ArrayLike,
    speakers: Sequence[str],
    *,
    sessions: Sequence[str] | None = None,
    durations: npt.ArrayLike | None = None,
    score: TrialScores | None = None,
    settings: TaskSettings | None = None,
) -> dict[str, Any]:
    """Return the figures of the tasks asked for, under their names; plain numbers, lists and text, rates as fractions.

    `identification`: `closed` and `open`, with `cmc` (rank 1 to M) and `curve` (`far`, `dir`) to draw. `few_shot`: records
    of `few_shot_table`. `clustering`: by method, `known` (as many clusters as there are speakers), for "ahc_..." `best` (the
    cut with the lowest MR, found with the truth, and besides the least `mr_legacy`, with its number of clusters, and the
    largest `ari` of any cut), for others `found` (their own number of clusters). All have 95 % intervals by a bootstrap over
    speakers: of the test items in identification, enrolled speakers and clusters staying as they are.

    Args:
        ids: of the N utterances.
        embeddings: `[N, D]`, as the back end compares them (after its transforms).
        speakers: of each utterance.
        sessions: of each utterance, "" where not known; see `draw_protocol`.
        durations: s, of each utterance; needed with `few_shot_weights` = "length" or `few_shot_seconds` above 0.
        score: the system's scores of trials between speakers, given as rows of their utterances, and utterances: used
            for identification, few-shot tasks and agglomerative clustering. None: cosine with the mean of the unit
            vectors, and the distances of `settings`.
        settings: None: all tasks, with default numbers.

    Raises:
        ValueError: lists of different length, an id twice, fewer than two speakers.
        RecipeError: a task that the set has not enough speakers or utterances for.
    """
    settings = settings or TaskSettings(run=("identification", "few_shot", "clustering"))
    data = labelled(ids, embeddings, speakers, sessions, durations, score)
    makers = {"identification": identification_figures, "few_shot": few_shot_figures, "clustering": clustering_task_figures}
    found = {}
    for task in [each for each in settings.run if each in makers]:
        try:
            found[task] = makers[task](data, settings)
        except ValueError as error:
            raise RecipeError(f"tasks.run: {task}: {error}; leave it out, or ask for less") from None
    return found


def system_tasks(scorer: Any, items: Any, utterances: Sequence[Any], settings: TaskSettings) -> dict[str, Any]:
    """Return `task_figures` of a fitted `Scorer`, the `Items` of utterances, and the utterances (id, speaker, session)."""
    return task_figures(
        [utterance.id for utterance in utterances],
        items.mapped(scorer.chain.transform).vectors(),
        [utterance.speaker for utterance in utterances],
        sessions=[utterance.session for utterance in utterances],
        durations=[utterance.duration for utterance in utterances] if by_duration(settings) else None,
        score=scorer_trials(scorer, items),
        settings=settings,
    )


def scorer_trials(scorer: Any, items: Any) -> TrialScores:
    """Return the trial scores of a fitted `Scorer` between speakers enrolled with rows of `Items`, and rows of them.

    Items are mapped once, not again with each speaker that they enrol.
    """
    mapped, of_mapped = items.mapped(scorer.chain.transform), scorer.of_mapped()

    def score(models: Sequence[np.ndarray], model_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        return of_mapped.score(mapped, model_P, test_P, enrol=mapped.joined(list(models)))

    return score


def cosine_trials(embeddings: npt.ArrayLike) -> TrialScores:
    """Return trial scores by cosine with the mean of the unit vectors of a speaker's utterances."""
    unit_ND = unit_rows(checked_embeddings(embeddings, "embeddings"), "embeddings")

    def score(models: Sequence[np.ndarray], model_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        mean_MD = unit_rows(np.stack([unit_ND[rows].mean(axis=0) for rows in models]), "enrolments")
        parts = [slice(start, start + 20_000) for start in range(0, len(test_P), 20_000)]
        return np.concatenate([np.einsum("pd,pd->p", mean_MD[model_P[part]], unit_ND[test_P[part]]) for part in parts])

    return score


@dataclass(frozen=True, eq=False)
class Labelled:
    """Utterances in the order of their ids."""

    embeddings_ND: np.ndarray
    speaker_N: np.ndarray
    sessions: list[str] | None
    durations: np.ndarray | None
    score: TrialScores
    has_score: bool


def identification_figures(data: Labelled, settings: TaskSettings) -> dict[str, Any]:
    """Return the figures of closed-set and, where a share of the speakers is not enrolled, of open-set identification."""
    found = {"closed": _closed(*_searched(data, settings, "closed", 0.0), settings)}
    if settings.open_share:
        found["open"] = _open(*_searched(data, settings, "open", settings.open_share), settings)
    return found


def by_duration(settings: TaskSettings) -> bool:
    """Return whether few-shot tasks depend on the durations of utterances."""
    return settings.few_shot_weights == "length" or settings.few_shot_seconds > 0


def few_shot_figures(data: Labelled, settings: TaskSettings) -> list[dict[str, Any]]:
    """Return the records of `few_shot_table`, by the distances of the settings and by the system's own score.

    Raises:
        ValueError: durations are needed and not known, or no utterance is long enough.
    """
    if by_duration(settings) and data.durations is None:
        raise ValueError("few_shot_weights, few_shot_seconds: expected the durations of the utterances, found none")
    long = data.durations > settings.few_shot_seconds if settings.few_shot_seconds else np.ones(data.speaker_N.size, dtype=bool)
    rows_K = np.flatnonzero(long)
    if not rows_K.size:
        raise ValueError(f"few_shot_seconds: expected utterances longer than {settings.few_shot_seconds} s, found none")

    def score(models: Sequence[np.ndarray], model_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        return data.score([rows_K[rows] for rows in models], model_P, rows_K[test_P])

    return few_shot_table(
        data.embeddings_ND[rows_K], data.speaker_N[rows_K], ways=settings.ways, shots=settings.shots,
        num_tasks=settings.few_shot_tasks, seeds=(seed_of(settings.seed, "few_shot"),), distances=settings.distances,
        durations=data.durations[rows_K] if settings.few_shot_weights == "length" else None,
        trial_scores={OWN_SCORE: score} if data.has_score else None, num_replicates=settings.replicates,
    )  # fmt: skip


def clustering_task_figures(data: Labelled, settings: TaskSettings) -> dict[str, Any]:
    """Return the figures of clustering by each method."""
    rows = some_speakers(data.speaker_N, settings)
    x_ND, truth_N = data.embeddings_ND[rows], data.speaker_N[rows]
    num_speakers = np.unique(truth_N).size
    judge = _judge(truth_N, settings)
    found: dict[str, Any] = {}
    if "ahc" in settings.clusterings:
        distance_T = _distances(data, rows)
        for linkage in settings.linkages:
            merges = dendrogram(distance_T, linkage)
            cuts = cut_figures(merges, truth_N)
            best = cuts.best("mr")
            found[f"ahc_{linkage}"] = {
                "known": judge(cut(merges, num_clusters=num_speakers)),
                "best": judge(cut(merges, num_clusters=int(cuts.num_clusters_N[best]))) | {
                    "height": cuts.between(best),
                    "mr_legacy_of_any_cut": float(cuts.mr_legacy_N[cuts.best("mr_legacy")]),
                    "num_clusters_legacy": int(cuts.num_clusters_N[cuts.best("mr_legacy")]),
                    "ari_of_any_cut": float(cuts.ari_N[cuts.best("ari")]),
                },
            }  # fmt: skip
    if "spectral" in settings.clusterings:
        of_seed = {"method": "spectral", "seed": settings.seed}
        found["spectral"] = {
            "known": judge(cluster(x_ND, num_clusters=num_speakers, **of_seed)), "found": judge(cluster(x_ND, **of_seed))
        }  # fmt: skip
    if "dominant_sets" in settings.clusterings:
        found["dominant_sets"] = {"found": judge(cluster(x_ND, "dominant_sets"))}
    return found


def task_lines(figures: dict[str, Any]) -> list[str]:
    """Return the chief figures of each task in words, for the log."""
    lines = []
    if "identification" in figures:
        for name, of in figures["identification"].items():
            rates = [f"rank {rank} {100 * rate:.1f} %" for rank, rate in of.get("rate", {}).items()]
            rates += [f"DIR at FAR {100 * float(far):g} % {100 * rate:.1f} %" for far, rate in of.get("dir", {}).items()]
            lines.append(f"identification, {name} set of {of['num_enrolled']}: {', '.join(rates)}")
    reasons: dict[str, None] = {}  # the same one for every way to compare
    for each in figures.get("few_shot", ()):
        if each["accuracy"] is None:
            reasons[each["reason"]] = None
            continue
        lines.append(f"{each['shots']}-shot {each['ways']}-way, {each['distance']}: {100 * each['accuracy']:.1f} %")
    lines += [f"not possible: {reason}" for reason in reasons]
    for method, cuts in figures.get("clustering", {}).items():
        for name, of in cuts.items():
            number = f"{of['num_clusters']} clusters of {of['num_speakers']} speakers"
            lines.append(f"clustering, {method} ({name}): MR {100 * of['mr']:.1f} %, ARI {of['ari']:.3f}, {number}")
    return lines


def _searched(
    data: Labelled, settings: TaskSettings, name: str, open_share: float
) -> tuple[list[Protocol], Searches, np.ndarray]:
    """The protocols of all draws, their searches, and the speaker of each probe."""
    rngs = [generator(settings.seed, "identification", name, draw) for draw in range(settings.draws)]
    protocols = draw_protocols(
        rngs, data.speaker_N, sessions=data.sessions, num_enrol=settings.enrol_utterances, open_share=open_share
    )  # fmt: skip
    searches = [ranked for protocol in protocols for ranked in _blocks(data.score, protocol)]
    return protocols, together(searches), data.speaker_N[np.concatenate([each.probe_P for each in protocols])]


def _blocks(score: TrialScores, protocol: Protocol) -> list[Searches]:
    num_enrolled = len(protocol.enrol_MK)
    step = max(1, TRIALS_AT_A_TIME // num_enrolled)
    found = []
    for start in range(0, protocol.probe_P.size, step):
        probe_n, answer_n = protocol.probe_P[start : start + step], protocol.answer_P[start : start + step]
        scores = score(list(protocol.enrol_MK), np.repeat(np.arange(num_enrolled), probe_n.size), np.tile(probe_n, num_enrolled))
        found.append(rank_scores(np.asarray(scores).reshape(num_enrolled, -1), answer_n))
    return found


def _counts(protocols: list[Protocol], searches: Searches, settings: TaskSettings) -> dict[str, Any]:
    return {
        "num_enrolled": searches.num_enrolled,
        "num_utterances": settings.enrol_utterances,
        "num_draws": len(protocols),
        "num_mated": int(searches.mated_N.sum()),
        "num_nonmated": int((~searches.mated_N).sum()),
        "num_left_out": protocols[0].num_left_out,
    }


def _closed(protocols: list[Protocol], searches: Searches, speaker_P: np.ndarray, settings: TaskSettings) -> dict[str, Any]:
    return _counts(protocols, searches, settings) | closed_rates(searches, speaker_P, settings, "closed")


def _open(protocols: list[Protocol], searches: Searches, speaker_P: np.ndarray, settings: TaskSettings) -> dict[str, Any]:
    return _counts(protocols, searches, settings) | open_rates(searches, speaker_P, settings, "open")


def closed_rates(searches: Searches, speaker_P: np.ndarray, settings: TaskSettings, draw: str) -> dict[str, Any]:
    """Return rate and rate_ci95 by rank, and cmc, of searches for the speakers [P]; `draw` names the bootstrap."""
    hits = np.stack([identified(searches, rank) for rank in settings.ranks], axis=1)
    replicates = mean_bootstrap(
        hits, speaker_P, rng=generator(settings.seed, "bootstrap", draw), num_replicates=settings.replicates
    )  # fmt: skip
    return {
        "rate": {str(rank): identification_rate(searches, rank) for rank in settings.ranks},
        "rate_ci95": {str(rank): list(interval(column)) for rank, column in zip(settings.ranks, replicates.T, strict=True)},
        "cmc": cmc(searches).tolist(),
    }


def open_rates(searches: Searches, speaker_P: np.ndarray, settings: TaskSettings, draw: str) -> dict[str, Any]:
    """Return dir and dir_ci95 by false-alarm rate, and the curve, of searches of which some have no right answer."""
    replicates = bootstrap_dir_at_far(
        searches, speaker_P, settings.fars,
        rng=generator(settings.seed, "bootstrap", draw), num_replicates=settings.replicates,
    )  # fmt: skip
    far_K, dir_K = thinned_curve(*open_set_rates(searches)[1:])
    return {
        "dir": {str(far): dir_at_far(searches, far) for far in settings.fars},
        "dir_ci95": {str(far): list(interval(column)) for far, column in zip(settings.fars, replicates.T, strict=True)},
        "curve": {"far": far_K.tolist(), "dir": dir_K.tolist()},
    }


def _judge(truth_N: np.ndarray, settings: TaskSettings) -> Callable[[np.ndarray], dict[str, Any]]:
    def judge(label_N: np.ndarray) -> dict[str, Any]:
        rng = generator(settings.seed, "bootstrap", "clustering")
        wrong_N = 1.0 - rightly_clustered(label_N, truth_N)
        mr_R = mean_bootstrap(wrong_N, truth_N, rng=rng, num_replicates=settings.replicates)
        ari_R = bootstrap_ari(label_N, truth_N, rng=rng, num_replicates=settings.replicates)
        return clustering_figures(label_N, truth_N) | {"mr_ci95": list(interval(mr_R)), "ari_ci95": list(interval(ari_R))}

    return judge


def _distances(data: Labelled, rows: np.ndarray) -> np.ndarray:
    """Condensed distances [T]: cosine, or what scores lack to the highest one."""
    if not data.has_score:
        return cosine_distances(data.embeddings_ND[rows])
    first_T, second_T = np.triu_indices(rows.size, 1)
    models = [rows[index : index + 1] for index in range(rows.size)]
    scores_T = np.concatenate([
        data.score(models, first_T[start : start + TRIALS_AT_A_TIME], rows[second_T[start : start + TRIALS_AT_A_TIME]])
        for start in range(0, first_T.size, TRIALS_AT_A_TIME)
    ])  # fmt: skip
    return scores_T.max() - scores_T


def some_speakers(speaker_N: np.ndarray, settings: TaskSettings) -> np.ndarray:
    """Rows of all utterances, or of speakers drawn until another one would be too much."""
    if speaker_N.size <= settings.max_items:
        return np.arange(speaker_N.size)
    code_N = numbered(speaker_N)
    order_S = generator(settings.seed, "clustering").permutation(code_N.max() + 1)
    total_S = np.cumsum(np.bincount(code_N)[order_S])
    return np.flatnonzero(np.isin(code_N, order_S[: max(2, np.count_nonzero(total_S <= settings.max_items))]))


def shown_rows(speaker_N: np.ndarray, settings: TaskSettings) -> np.ndarray:
    """Rows of the utterances whose embeddings are shown in the plane: of some speakers some utterances."""
    code_N, rng = numbered(speaker_N), generator(settings.seed, "pictures")
    order_S = rng.permutation(code_N.max() + 1)
    rows = np.arange(speaker_N.size)
    if settings.picture_speakers:
        rows = rows[np.isin(code_N, order_S[: settings.picture_speakers])]
    if settings.picture_utterances:
        of_each = [rng.permutation(rows[code_N[rows] == code]) for code in np.unique(code_N[rows])]
        rows = np.sort(np.concatenate([each[: settings.picture_utterances] for each in of_each]))
    return rows if settings.picture_speakers else rows[some_speakers(speaker_N[rows], settings)]


def labelled(
    ids: Sequence[str],
    embeddings: npt.ArrayLike,
    speakers: Sequence[str],
    sessions: Sequence[str] | None,
    durations: npt.ArrayLike | None,
    score: TrialScores | None,
) -> Labelled:
    """Return utterances, or other items, in the order of their ids; arguments and errors as those of `task_figures`."""
    x_ND = checked_embeddings(embeddings, "embeddings")
    for name, values in (("ids", ids), ("speakers", speakers), ("sessions", sessions), ("durations", durations)):
        if values is not None and len(values) != len(x_ND):
            raise ValueError(f"{name}: expected one for each of {len(x_ND)} embeddings, found {len(values)}")
    if len(set(ids)) < len(ids) or len(set(speakers)) < 2:
        raise ValueError(
            f"utterances: expected each id once and at least 2 speakers, found {len(ids)} ids, {len(set(ids))} different, "
            f"and {len(set(speakers))} speakers"
        )
    order_N = np.array(sorted(range(len(ids)), key=lambda index: ids[index]))

    def in_order(models: Sequence[np.ndarray], model_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        assert score is not None
        return score([order_N[rows] for rows in models], model_P, order_N[test_P])

    return Labelled(
        embeddings_ND=x_ND[order_N],
        speaker_N=np.asarray(speakers)[order_N],
        sessions=None if sessions is None else [sessions[index] for index in order_N],
        durations=None if durations is None else np.asarray(durations)[order_N],
        score=cosine_trials(x_ND[order_N]) if score is None else in_order,
        has_score=score is not None,
    )
