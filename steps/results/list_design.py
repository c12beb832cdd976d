"""Faults in the design of a trial list: what besides the voice tells its target trials from the others.

Each of duration, level, recording, session, corpus and gender is taken for a score; see `steps.metrics.nuisance`.
Suffixes: P trials, N utterances of the set, S speakers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from steps.core.rng import generator
from steps.data.list_sides import NONE, ListSides, file_codes, label_codes
from steps.data.listening import Listener
from steps.data.manifests import Utterances
from steps.metrics.nuisance import chance_width, nuisance_eer, target_shares

MARGIN = 0.1  # a factor tells something where its EER is this far from one half, and outside of chance
NUM_HEARD = 250  # trials of each kind, drawn, whose levels are measured
LEAST = 50  # trials of a group whose share of targets is looked at
DRIFT = 3.0  # times that the odds of a target may differ between groups
NUM_PARTS = 10  # of a list, from its begin to its end

Pair = tuple[np.ndarray, np.ndarray]  # (value of each trial, whether it is known)


def list_design(name: str, sides: ListSides, utterances: Utterances, listener: Listener) -> dict[str, Any]:
    """Return `factors`, {factor: {"eer", "tells", "target", "nontarget"}}, and `drift`, {groups: [low, high]}.

    `tells`: whether the EER is far from one half, and not by chance. `target` and `nontarget` count the trials behind a figure:
    those that the factor is documented for. A factor that is documented for no trial of a kind, or is the same everywhere, is not
    there. `drift` holds the lowest and the highest share of target trials: "along" the list, of a tenth of it; of "speakers" (10
    and 90 percentiles); of "corpora".

    Args:
        name: of the list, which decides the draw of trials to hear.
        sides: of its trials.
        utterances: of its set.
        listener: to the same set.
    """
    factors = {factor: _figure(*values, sides.is_target) for factor, values in _factors(sides, utterances)}
    factors |= _levels(name, sides, listener)
    return {"factors": {factor: found for factor, found in factors.items() if found}, "drift": _drift(sides, utterances)}


def has_drift(shares: list[float]) -> bool:
    """Return whether the odds of a target trial differ by more than `DRIFT` between the lowest and the highest share."""
    low, high = shares
    return low * (1 - high) * DRIFT < high * (1 - low)


def _factors(sides: ListSides, utterances: Utterances) -> Iterator[tuple[str, Pair]]:
    """Yield (factor, its value of each trial) of what manifests say."""
    log_N = np.log(np.asarray(utterances.numbers["num_samples"]) / np.asarray(utterances.numbers["sampling_rate"]))
    yield from _of_numbers("duration", sides.mean(log_N)[sides.enrol_P], log_N[sides.test_P])
    speaker_N = label_codes(utterances, "speaker")
    yield "recording", (sides.shares(file_codes(utterances)).astype(float), np.ones(len(sides), dtype=bool))
    for label, within in (("session", speaker_N), ("corpus", None), ("gender", None)):
        code_N = label_codes(utterances, label, within=within)
        known_P = (code_N[sides.test_P] != NONE) & (sides.first(code_N)[sides.enrol_P] != NONE)
        yield label, (sides.shares(code_N).astype(float), known_P)


def _of_numbers(name: str, enrol_P: np.ndarray, test_P: np.ndarray) -> Iterator[tuple[str, Pair]]:
    """Yield how alike both sides are, and how large the two are together."""
    known_P = np.ones(len(test_P), dtype=bool)
    yield f"{name}_alike", (-np.abs(enrol_P - test_P), known_P)
    yield name, (enrol_P + test_P, known_P)


def _figure(value_P: np.ndarray, known_P: np.ndarray, is_target: np.ndarray) -> dict[str, Any]:
    """The EER of a value, and of how many trials; nothing where it says nothing of any trial."""
    value_P, truth_P = value_P[known_P], is_target[known_P]
    if not truth_P.any() or truth_P.all() or np.ptp(value_P) == 0:
        return {}
    num_target = int(np.count_nonzero(truth_P))
    counts = {"target": num_target, "nontarget": len(truth_P) - num_target}
    eer = nuisance_eer(value_P, truth_P)
    return {"eer": round(eer, 6), "tells": bool(0.5 - eer > max(MARGIN, chance_width(*counts.values()))), **counts}


def _levels(name: str, sides: ListSides, listener: Listener) -> dict[str, dict[str, Any]]:
    """The factors of level, of some trials of each kind."""
    rng = generator(1, "levels", name)
    kinds = [np.flatnonzero(sides.is_target == truth) for truth in (True, False)]
    rows_P = np.sort(np.concatenate([rng.permutation(kind)[:NUM_HEARD] for kind in kinds]))
    # of a model its first utterance, which is one of many that were made alike
    enrol_P, test_P = sides.first(np.arange(sides.num_utterances))[sides.enrol_P[rows_P]], sides.test_P[rows_P]
    heard = listener.hear(np.unique(np.concatenate([enrol_P, test_P])))
    if not heard:
        return {}
    of_enrol, of_test = (np.array([heard[row].level for row in rows.tolist()]) for rows in (enrol_P, test_P))
    return {factor: _figure(*values, sides.is_target[rows_P]) for factor, values in _of_numbers("level", of_enrol, of_test)}


def _drift(sides: ListSides, utterances: Utterances) -> dict[str, list[float]]:
    part_P = np.arange(len(sides)) * NUM_PARTS // max(1, len(sides))
    speaker_N = label_codes(utterances, "speaker")
    enrol_P, test_P = sides.first(speaker_N)[sides.enrol_P], speaker_N[sides.test_P]
    others = np.flatnonzero(enrol_P != test_P)  # such a trial is one of both speakers
    of_both = (np.append(sides.is_target, sides.is_target[others]), np.append(test_P, enrol_P[others]))
    corpus_P = np.asarray(utterances.labels["corpus"].codes, dtype=np.int64)[sides.test_P]
    found = {
        "along": _range(sides.is_target, part_P, 0),
        "speakers": _range(*of_both, 10),
        "corpora": _range(sides.is_target, corpus_P, 0),
    }
    return {what: shares for what, shares in found.items() if shares}


def _range(is_target: np.ndarray, group: np.ndarray, percentile: float) -> list[float]:
    """The lowest and the highest share of targets of groups with enough trials, less some of the outermost groups."""
    share_G, num_G = target_shares(is_target, group)
    share_G = share_G[num_G >= LEAST]
    if len(share_G) < 2:
        return []
    return [round(float(value), 6) for value in np.percentile(share_G, [percentile, 100 - percentile])]
