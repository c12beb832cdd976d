"""n-shot k-way identification: whose voice is it, of k speakers with n utterances each?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, unit_rows

DISTANCES = ("euclidean", "cosine", "dot")


@dataclass(frozen=True)
class Tasks:
    """Rows of embeddings: a query of each task, and n support utterances of each of its k speakers."""

    query_J: np.ndarray  # [J]
    support_JKN: np.ndarray  # [J, k, n]
    answer_J: np.ndarray  # [J], which of the k speakers the query is of


def draw_tasks(rng: np.random.Generator, speakers: npt.ArrayLike, *, ways: int, shots: int, num_tasks: int) -> Tasks:
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

    Raises:
        ValueError: fewer than `ways` speakers with `shots` utterances, or none with one more for the query.
    """
    names, code_N = np.unique(np.asarray(speakers), return_inverse=True)
    order, counts = np.argsort(code_N, kind="stable"), np.bincount(code_N)
    rows = np.split(order, np.cumsum(counts)[:-1])
    able, asked = np.flatnonzero(counts >= shots), np.flatnonzero(counts > shots)
    if ways < 2 or len(able) < ways or not len(asked):
        raise ValueError(
            f"{shots}-shot {ways}-way tasks: expected at least {ways} speakers with {shots} utterances, one with one more, "
            f"found {len(able)} and {len(asked)} of {len(names)} speakers"
        )
    queries = rng.choice(np.concatenate([rows[code] for code in asked]), size=num_tasks)
    support_JKN = np.empty((num_tasks, ways, shots), dtype=np.int64)
    answer_J = rng.integers(ways, size=num_tasks)
    for task, (query, answer) in enumerate(zip(queries, answer_J, strict=True)):
        own = code_N[query]
        others = list(rng.choice(able[able != own], size=ways - 1, replace=False))
        for place, code in enumerate([*others[:answer], own, *others[answer:]]):
            known = rows[code][rows[code] != query] if code == own else rows[code]
            support_JKN[task, place] = rng.choice(known, size=shots, replace=False)
    return Tasks(queries, support_JKN, answer_J)


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


def task_credits(tasks: Tasks, embeddings: npt.ArrayLike, distance: str) -> np.ndarray:
    """Return what each task counts, `[J]`: see `task_accuracy`."""
    if distance not in DISTANCES:
        raise ValueError(f"distance: expected one of {', '.join(DISTANCES)}, found {distance!r}")
    x_ND = checked_embeddings(embeddings, "embeddings")
    query_J1D, support_JKND = x_ND[tasks.query_J][:, None], x_ND[tasks.support_JKN]
    if distance == "euclidean":
        nearness_JK = -np.linalg.norm(query_J1D - support_JKND.mean(axis=2), axis=-1)
    else:
        unit_ND = unit_rows(x_ND, "embeddings")
        prototype_JKD = unit_ND[tasks.support_JKN].mean(axis=2)
        if distance == "cosine":
            query_J1D = unit_ND[tasks.query_J][:, None]
            prototype_JKD = prototype_JKD / np.linalg.norm(prototype_JKD, axis=-1, keepdims=True)
        else:
            prototype_JKD = prototype_JKD * np.linalg.norm(support_JKND, axis=-1).mean(axis=2)[..., None]
        nearness_JK = np.einsum("jkd,jkd->jk", np.broadcast_to(query_J1D, prototype_JKD.shape), prototype_JKD)
    nearest_JK = nearness_JK == nearness_JK.max(axis=1, keepdims=True)
    right_J = np.take_along_axis(nearest_JK, tasks.answer_J[:, None], axis=1)[:, 0]
    return right_J / nearest_JK.sum(axis=1)
