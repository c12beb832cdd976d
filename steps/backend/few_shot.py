"""n-shot k-way identification: whose voice is it, of k speakers with n utterances each?

Suffixes: N utterances, J tasks, K speakers of a task, R replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.pairs import Score

DISTANCES = ("euclidean", "cosine", "dot")
TIE = 1e-12  # that equal nearness may differ by, of the nearness where that is over 1: some thousand roundings
CHUNK_NUMBERS = 4_000_000  # numbers of prototypes made at a time, 32 MB
# utterances (rows) of each speaker to compare with; then for each trial, one of these speakers and the row of a test utterance
TrialScores = Callable[[Sequence[np.ndarray], np.ndarray, np.ndarray], np.ndarray]


class TooFewSpeakers(ValueError):
    """A set has not enough speakers or utterances for a task."""


@dataclass(frozen=True)
class Tasks:
    """Rows of embeddings: a query of each task, and n support utterances of each of its k speakers."""

    query_J: np.ndarray  # [J]
    support_JKN: np.ndarray  # [J, k, n]
    answer_J: np.ndarray  # [J], which of the k speakers the query is of


def draw_tasks(
    rng: np.random.Generator,
    speakers: npt.ArrayLike,
    *,
    ways: int,
    shots: int,
    num_tasks: int,
    durations: npt.ArrayLike | None = None,
) -> Tasks:
    """Return tasks drawn at random: a query, `shots` other utterances of its speaker and of `ways` - 1 other speakers.

    The query is drawn from all utterances of speakers that have enough of them; the others are drawn evenly without
    repetition, and the right answer stands at a random place: a network whose embeddings are all alike must not profit
    from an order.

    Args:
        rng: source of the draw.
        speakers: `[N]` speaker of each utterance.
        ways: speakers of a task, k.
        shots: support utterances of each, n.
        num_tasks: tasks to draw.
        durations: `[N]` of the utterances, in any unit: then queries, and support utterances within a speaker, are drawn
            with chances in proportion to them, as in voicemap (whose fragments are cut from files of many lengths); None:
            evenly.

    Raises:
        ValueError: fewer than `ways` speakers with `shots` utterances, or none with one more for the query; durations that
            are not one positive number an utterance.

    Source: oscarknagg/voicemap, voicemap/librispeech.py (build_n_shot_task), but for the place of the answer.
    """
    chance_N = None if durations is None else _checked_durations(durations, np.size(speakers))
    names, code_N = np.unique(np.asarray(speakers), return_inverse=True)
    order, counts = np.argsort(code_N, kind="stable"), np.bincount(code_N)
    rows = np.split(order, np.cumsum(counts)[:-1])
    able, asked = np.flatnonzero(counts >= shots), np.flatnonzero(counts > shots)
    if ways < 2 or len(able) < ways or not len(asked):
        raise TooFewSpeakers(
            f"{shots}-shot {ways}-way tasks: expected at least {ways} speakers with {shots} utterances, one with one more, "
            f"found {len(able)} and {len(asked)} of {len(names)} speakers"
        )
    candidates = np.concatenate([rows[code] for code in asked])
    queries = rng.choice(candidates, size=num_tasks, p=_share(chance_N, candidates))
    answer_J = rng.integers(ways, size=num_tasks)
    draw = _evenly if chance_N is None else partial(_by_length, chance_N=chance_N)
    support_JKN = np.empty((num_tasks, ways, shots), dtype=np.int64)
    for task, (query, answer) in enumerate(zip(queries.tolist(), answer_J.tolist(), strict=True)):
        own = code_N[query]
        others = able[able != own]
        drawn = others[without_replacement(rng, [len(others)], ways - 1)[0]]
        known = [rows[code] for code in (*drawn[:answer], own, *drawn[answer:])]
        known[answer] = known[answer][known[answer] != query]
        support_JKN[task] = draw(rng, known, shots)
    return Tasks(queries, support_JKN, answer_J)


def without_replacement(rng: np.random.Generator, sizes: Sequence[int], num: int) -> list[list[int]]:
    """Return `num` different whole numbers below each size in random order, drawn evenly.

    They are those of `rng.choice(size, num, replace=False)` for one size after the other (up to 10,000, where numpy takes
    another way for large shares), but with one call of the generator for all: the tenth of the time for a few numbers each.

    Raises:
        ValueError: a size under `num`.

    Source: R. W. Floyd's algorithm, in Bentley and Floyd, "Programming pearls: a sample of brilliance", Comm. ACM, 1987, then
    a shuffle from the end (Fisher and Yates), as in numpy.
    """
    if min(sizes) < num:
        raise ValueError(f"sizes: expected at least {num} to draw so many different ones, found {min(sizes)}")
    swaps = range(num - 1, 0, -1)
    highest = [last for size in sizes for last in (*range(size - num, size), *swaps)]
    values = iter(rng.integers(0, highest, endpoint=True).tolist())
    found = []
    for size in sizes:
        taken: list[int] = []
        for last in range(size - num, size):
            value = next(values)
            taken.append(last if value in taken else value)
        for place in swaps:
            other = next(values)
            taken[place], taken[other] = taken[other], taken[place]
        found.append(taken)
    return found


def _evenly(rng: np.random.Generator, known: list[np.ndarray], num: int) -> list[np.ndarray]:
    """Rows of each speaker of a task, [K, N]."""
    places = without_replacement(rng, [rows.size for rows in known], num)
    return [rows[place] for rows, place in zip(known, places, strict=True)]


def _by_length(rng: np.random.Generator, known: list[np.ndarray], num: int, *, chance_N: np.ndarray) -> list[np.ndarray]:
    """Rows of each speaker of a task, one after the other with chances in proportion to `chance_N`, [K, N].

    Of clocks that ring at those rates the first `num` to ring are such a draw (Efraimidis and Spirakis, 2006).
    """
    times = rng.exponential(size=sum(map(len, known))) / chance_N[np.concatenate(known)]
    ends = np.cumsum([len(rows) for rows in known])
    return [rows[np.argsort(times[end - len(rows) : end])[:num]] for rows, end in zip(known, ends.tolist(), strict=True)]


def task_accuracy(tasks: Tasks, embeddings: npt.ArrayLike, distance: str) -> float:
    """Return the share of tasks whose query lies nearest to the prototype of its own speaker.

    Where m speakers are equally near, the right one among them counts 1 / m: all embeddings alike give 1 / k.

    Args:
        tasks: of `draw_tasks`.
        embeddings: `[N, D]`.
        distance: "euclidean": to the mean of the support embeddings; "cosine": to the mean of them scaled to unit length;
            "dot": product with that mean of unit vectors times their mean length.

    Raises:
        ValueError: unknown distance, or embeddings of zeros with cosine or dot.

    Source: Snell et al., NeurIPS 2017 (Euclidean); oscarknagg/voicemap, voicemap/utils.py (the other two).
    """
    return float(np.mean(task_credits(tasks, embeddings, distance)))


def task_credits(tasks: Tasks, embeddings: npt.ArrayLike, distance: str | Score) -> np.ndarray:
    """Return what each task counts, `[J]`: see `task_accuracy`.

    Args:
        tasks: of `draw_tasks`.
        embeddings: `[N, D]`.
        distance: one of `DISTANCES`, or a score of pairs, such as the output of a siamese network (`pairs.siamese`): of the
            query with each support utterance, averaged over the utterances of a speaker.

    Raises:
        ValueError: as `task_accuracy`.
    """
    if isinstance(distance, str) and distance not in DISTANCES:
        raise ValueError(f"distance: expected one of {', '.join(DISTANCES)}, found {distance!r}")
    x_ND = checked_embeddings(embeddings, "embeddings")
    unit_ND = unit_rows(x_ND, "embeddings") if distance in ("cosine", "dot") else x_ND
    ways, shots = tasks.support_JKN.shape[1:]
    step = max(1, CHUNK_NUMBERS // (ways * (1 if isinstance(distance, str) else shots) * x_ND.shape[1]))
    parts = [slice(start, start + step) for start in range(0, len(tasks.query_J), step)]
    nearness_JK = np.concatenate(
        [_nearness(x_ND, unit_ND, tasks.query_J[part], tasks.support_JKN[part], distance) for part in parts]
    )
    return credits(nearness_JK, tasks.answer_J)


def _nearness(
    x_ND: np.ndarray, unit_ND: np.ndarray, query_J: np.ndarray, support_JKN: np.ndarray, distance: str | Score
) -> np.ndarray:
    """How near each query is to each speaker, [J, K]."""
    query_J1D = x_ND[query_J][:, None]
    if not isinstance(distance, str):
        return distance(query_J1D[:, None], x_ND[support_JKN]).mean(axis=2)
    prototype_JKD = _means(unit_ND, support_JKN)
    if distance == "euclidean":
        prototype_JKD -= query_J1D
        return -np.sqrt(np.einsum("jkd,jkd->jk", prototype_JKD, prototype_JKD))
    if distance == "dot":
        lengths_JK = np.linalg.norm(x_ND, axis=1)[support_JKN].mean(axis=2)
        return lengths_JK * np.einsum("jkd,jd->jk", prototype_JKD, query_J1D[:, 0])
    length_JK = np.sqrt(np.einsum("jkd,jkd->jk", prototype_JKD, prototype_JKD))
    return np.einsum("jkd,jd->jk", prototype_JKD, unit_ND[query_J]) / length_JK


def _means(rows_ND: np.ndarray, support_JKN: np.ndarray) -> np.ndarray:
    """The mean of the support rows of each speaker of each task, [J, K, D]; they are never gathered one by one."""
    num_tasks, ways, shots = support_JKN.shape
    start_M1 = np.arange(0, support_JKN.size + 1, shots)
    share = csr_matrix((np.full(support_JKN.size, 1.0 / shots), support_JKN.ravel(), start_M1), (num_tasks * ways, len(rows_ND)))
    return (share @ rows_ND).reshape(num_tasks, ways, -1)


def scored_credits(tasks: Tasks, score: TrialScores) -> np.ndarray:
    """Return what each task counts, `[J]`, where a back end scores the query with each speaker's support utterances.

    Args:
        tasks: of `draw_tasks`.
        score: as `TrialScores` says; it sees the support utterances of each speaker of each task as an enrolment.
    """
    num_tasks, ways, shots = tasks.support_JKN.shape
    models_MN, model_P = np.unique(tasks.support_JKN.reshape(-1, shots), axis=0, return_inverse=True)
    scores = score(list(models_MN), model_P.ravel(), np.repeat(tasks.query_J, ways))
    return credits(np.asarray(scores).reshape(num_tasks, ways), tasks.answer_J)


def credits(nearness: npt.ArrayLike, answer: npt.ArrayLike) -> np.ndarray:
    """Return 1 / m for each task whose answer is among the m nearest speakers, 0 for others, [J].

    Speakers no more than `TIE` farther than the nearest are as near: means of the same utterances in another order are.

    Args:
        nearness: `[J, K]`; higher = nearer.
        answer: `[J]` which of the K it is.

    Raises:
        ValueError: a nearness that is not a number.
    """
    nearness_JK = np.asarray(nearness, dtype=np.float64)
    if np.isnan(nearness_JK).any():
        raise ValueError(f"nearness: expected numbers, found {int(np.isnan(nearness_JK).sum())} others")
    most_J1 = nearness_JK.max(axis=1, keepdims=True)
    room_J1 = np.where(np.isfinite(most_J1), TIE * np.maximum(1.0, np.abs(most_J1)), 0.0)
    nearest_JK = nearness_JK >= most_J1 - room_J1
    right_J = np.take_along_axis(nearest_JK, np.asarray(answer)[:, None], axis=1)[:, 0]
    return right_J / nearest_JK.sum(axis=1)


def accuracy_interval(
    credits_J: npt.ArrayLike,
    speakers: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    num_replicates: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of the accuracy by a bootstrap over the speakers of the queries.

    Over speakers, not tasks: tasks are drawn from the same few speakers again and again, and what a bootstrap over tasks
    measures goes to zero as more are drawn, while another set of speakers would still give another accuracy. Each
    replicate draws as many speakers as were asked for, with replacement, and takes their tasks; the speakers that they
    are told apart from stay as they are.

    Args:
        credits_J: of `task_credits`.
        speakers: `[J]` speaker of each query.
        rng: source of the draws.
        num_replicates: how many replicates.
        level: of the interval.

    Raises:
        ValueError: no tasks, or not one speaker a task.
    """
    value_J, speaker_J = np.asarray(credits_J, dtype=np.float64), np.asarray(speakers)
    if value_J.ndim != 1 or not value_J.size or speaker_J.shape != value_J.shape:
        raise ValueError(f"credits: expected one a task, with a speaker, found shapes {value_J.shape} and {speaker_J.shape}")
    code_J = np.unique(speaker_J, return_inverse=True)[1]
    drawn_RS = _speaker_draws(rng, int(code_J.max()) + 1, num_replicates)
    return _interval(value_J, code_J, drawn_RS, level)


def _speaker_draws(rng: np.random.Generator, num_speakers: int, num_replicates: int) -> np.ndarray:
    """How often each replicate draws each speaker, [R, S]."""
    drawn_RS = rng.integers(num_speakers, size=(num_replicates, num_speakers))
    drawn_RS += num_speakers * np.arange(num_replicates)[:, None]
    return np.bincount(drawn_RS.ravel(), minlength=drawn_RS.size).reshape(drawn_RS.shape)


def _interval(value_J: np.ndarray, code_J: np.ndarray, drawn_RS: np.ndarray, level: float) -> tuple[float, float]:
    count_S, sum_S = np.bincount(code_J), np.bincount(code_J, value_J)
    outside = round(50.0 * (1.0 - level), 9)
    low, high = np.percentile((drawn_RS @ sum_S) / (drawn_RS @ count_S), [outside, 100.0 - outside])
    return float(low), float(high)


def few_shot_table(
    embeddings: npt.ArrayLike,
    speakers: npt.ArrayLike,
    *,
    ways: Sequence[int],
    shots: Sequence[int],
    num_tasks: int,
    seeds: Sequence[int],
    distances: Sequence[str] = ("euclidean",),
    pair_scores: Mapping[str, Score] | None = None,
    trial_scores: Mapping[str, TrialScores] | None = None,
    durations: npt.ArrayLike | None = None,
    num_replicates: int = 1000,
) -> list[dict[str, Any]]:
    """Return the accuracy of n-shot k-way tasks, a record for each k, n and way to compare.

    A record has `ways`, `shots`, `distance` (or the name of a score), `accuracy` (mean over all tasks of all seeds), `ci95`
    (see `accuracy_interval`), `spread` (standard deviation of the accuracies of the seeds; None for one seed), `num_tasks`,
    `num_speakers` (that were asked for) and `reason`: None, or why there are no such tasks, and then the figures are None.
    All ways to compare are given the same tasks. Voicemap's table is ways 2 to 20, shots 1 and 5, 1,000 tasks.

    Args:
        embeddings: `[N, D]`.
        speakers: `[N]`.
        ways: numbers of speakers, k.
        shots: numbers of support utterances, n.
        num_tasks: of each k, n and seed.
        seeds: of the draws; each of its own tasks.
        distances: some of `DISTANCES`.
        pair_scores: further comparisons by name: scores of pairs of embeddings (see `task_credits`).
        trial_scores: further comparisons by name: scores of a back end (see `scored_credits`).
        durations: see `draw_tasks`.
        num_replicates: of the bootstrap behind the intervals.

    Raises:
        ValueError: nothing to compare, an unknown distance, no seed, or embeddings that are refused.
    """
    x_ND, speaker_N = checked_embeddings(embeddings, "embeddings"), np.asarray(speakers)
    compare: dict[str, Callable[[Tasks], np.ndarray]] = {}
    for name, distance in [*zip(distances, distances, strict=True), *(pair_scores or {}).items()]:
        compare[name] = partial(task_credits, embeddings=x_ND, distance=distance)
    for name, score in (trial_scores or {}).items():
        compare[name] = partial(scored_credits, score=score)
    if speaker_N.shape != x_ND.shape[:1] or not compare or not seeds:
        raise ValueError(
            f"few-shot table: expected a speaker for each of {len(x_ND)} embeddings, a distance and a seed, "
            f"found {speaker_N.shape}, {len(compare)} and {len(seeds)}"
        )
    records = []
    for num_ways, num_shots in product(ways, shots):
        cell = {"ways": int(num_ways), "shots": int(num_shots)}
        try:
            drawn = [
                draw_tasks(
                    np.random.default_rng([seed, num_ways, num_shots]), speaker_N,
                    ways=num_ways, shots=num_shots, num_tasks=num_tasks, durations=durations,
                )
                for seed in seeds
            ]  # fmt: skip
        except TooFewSpeakers as error:
            nothing = dict.fromkeys(("accuracy", "ci95", "spread", "num_tasks", "num_speakers"))
            records += [cell | {"distance": name} | nothing | {"reason": str(error)} for name in compare]
            continue
        asked_J = speaker_N[np.concatenate([tasks.query_J for tasks in drawn])]
        names_S, code_J = np.unique(asked_J, return_inverse=True)
        # All ways to compare have the same replicates too.
        drawn_RS = _speaker_draws(np.random.default_rng([seeds[0], num_ways, num_shots, 0]), names_S.size, num_replicates)
        for name, judge in compare.items():
            figures = _figures([judge(tasks) for tasks in drawn], code_J, drawn_RS)
            records.append(cell | {"distance": name} | figures)
    return records


def _figures(credits_by_seed: list[np.ndarray], code_J: np.ndarray, drawn_RS: np.ndarray) -> dict[str, Any]:
    credits_J = np.concatenate(credits_by_seed)
    means = [float(np.mean(each)) for each in credits_by_seed]
    return {
        "accuracy": float(np.mean(credits_J)),
        "ci95": list(_interval(credits_J, code_J, drawn_RS, 0.95)),
        "spread": float(np.std(means, ddof=1)) if len(means) > 1 else None,
        "num_tasks": int(credits_J.size),
        "num_speakers": drawn_RS.shape[1],
        "reason": None,
    }


def _checked_durations(durations: npt.ArrayLike, num_items: int) -> np.ndarray:
    duration_N = np.asarray(durations, dtype=np.float64)
    if duration_N.shape != (num_items,) or not np.isfinite(duration_N).all() or (duration_N <= 0).any():
        raise ValueError(f"durations: expected a number above 0 for each of {num_items} utterances, found {duration_N.shape}")
    return duration_N


def _share(chance_N: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if chance_N is None else chance_N[rows] / chance_N[rows].sum()
