"""The task "gender": how far the embeddings of a set tell the speakers' genders apart; see steps/backend/gender.py.

Suffixes: N utterances, D dimensions, S speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.backend.gender import Measure, explained_on_pc1, probe_accuracy, silhouette
from steps.core.rng import generator
from steps.results.settings import TaskSettings

FOLDS = 5  # of the probe, and so the fewest speakers of a gender


def has_genders(genders: Sequence[str], speakers: Sequence[str]) -> bool:
    """Return whether a set has enough speakers of each gender for the probe's folds."""
    known = set(zip(genders, speakers, strict=True))
    return all(sum(gender == each for each, _ in known) >= FOLDS for gender in ("f", "m"))


def chosen_rows(ids: Sequence[str], genders: Sequence[str], speakers: Sequence[str], settings: TaskSettings) -> np.ndarray:
    """Return the rows that are measured, in the order of the ids: of some speakers of documented gender, some utterances.

    Of more speakers than `gender_speakers` as many of each gender as its share, of more utterances than `gender_utterances`
    of a speaker these; each draw depends on the seed and on ids alone, not on the order.
    """
    by_speaker: dict[tuple[str, str], list[int]] = {}
    for row in sorted(range(len(ids)), key=lambda row: ids[row]):
        if genders[row]:
            by_speaker.setdefault((genders[row], speakers[row]), []).append(row)
    rng = generator(settings.seed, "gender", "draw")
    rows: list[int] = []
    for gender in ("f", "m"):
        names = sorted(key for key in by_speaker if key[0] == gender)
        num = max(FOLDS, round(settings.gender_speakers * len(names) / max(1, len(by_speaker))))
        for index in np.sort(rng.permutation(len(names))[: num if len(by_speaker) > settings.gender_speakers else None]):
            theirs = by_speaker[names[index]]
            rows += [theirs[place] for place in rng.permutation(len(theirs))[: settings.gender_utterances]]
    return np.array(sorted(rows, key=lambda row: ids[row]), dtype=np.int64)


def gender_figures(
    embeddings: npt.ArrayLike, genders: Sequence[str], speakers: Sequence[str], settings: TaskSettings
) -> dict[str, Any]:
    """Return accuracy, silhouette, pc1 (share of its variance between genders), each with _ci95, and counts.

    `pc1_variance` is the first component's share of all variance, `majority` the share of utterances of the more frequent
    gender, which a constant answer reaches.

    Args:
        embeddings: [N, D], as the network gives them.
        genders: "f", "m" or "" of each.
        speakers: of each.
        settings: seed and replicates.

    Raises:
        ValueError: as the measures; or one speaker with two genders.
    """
    gender_N, speaker_N = np.asarray(genders), np.asarray(speakers)

    def settings_of(name: str) -> dict[str, Any]:
        return {"rng": generator(settings.seed, "gender", name), "num_replicates": settings.replicates}

    accuracy = probe_accuracy(embeddings, gender_N, speaker_N, num_folds=FOLDS, **settings_of("accuracy"))
    distance = silhouette(embeddings, gender_N, speaker_N, **settings_of("silhouette"))
    explained, share = explained_on_pc1(embeddings, gender_N, speaker_N, **settings_of("pc1"))
    numbers = [int(np.count_nonzero(gender_N == gender)) for gender in ("f", "m")]
    return {
        **_figure("accuracy", accuracy), **_figure("silhouette", distance), **_figure("pc1", explained), "pc1_variance": share,
        "majority": max(numbers) / sum(numbers), "num_utterances": sum(numbers),
        "num_female": int(np.unique(speaker_N[gender_N == "f"]).size),
        "num_male": int(np.unique(speaker_N[gender_N == "m"]).size),
    }  # fmt: skip


def gender_line(figures: dict[str, Any]) -> str:
    """Return the figures in words, for the log."""
    return (
        f"gender in the {figures['set']} set: probe {100 * figures['accuracy']:.1f} % "
        f"(majority {100 * figures['majority']:.1f} %), silhouette {figures['silhouette']:.3f}, "
        f"{100 * figures['pc1']:.1f} % of PC1's variance"
    )


def _figure(name: str, measure: Measure) -> dict[str, Any]:
    return {name: measure.value, f"{name}_ci95": [measure.low, measure.high]}
