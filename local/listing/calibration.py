"""Calibration trials of held-out speakers: all pairs, or as many short/short, short/long and long/long ones."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from local.listing import lists
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.manifests import Utterance
from steps.data.trials import Trials

PAIRS = (("short", "short"), ("short", "long"), ("long", "long"))  # of (enrolment, test)
_LEAST_DRAWS = 1000  # at a time: that none of them is new tells that there are no more pairs, but for a rare one

Class = Mapping[str, list[Utterance]]  # speaker -> utterances of one class of durations


def check_settings(calibration: str, seconds: tuple[float, ...]) -> None:
    """Raise a ValueError for settings `calibration` and `calibration_seconds` that mean nothing."""
    if calibration not in ("pairs", "durations"):
        raise ValueError(f"calibration: expected one of pairs, durations, found '{calibration}'")
    if len(seconds) != 2 or not 0 <= seconds[0] < seconds[1]:
        raise ValueError(f"calibration_seconds: expected two numbers of seconds, the first one smaller, found {list(seconds)}")


def of_settings(settings: Any, dev: list[Utterance]) -> Trials:
    """Return the calibration trials that the settings of a corpus ask for.

    Args:
        settings: with calibration, calibration_seconds, max_calibration_trials, cross_session and seed.
        dev: utterances of the held-out speakers.
    """
    limits = {"seed": settings.seed, "max_trials": settings.max_calibration_trials, "cross_session": settings.cross_session}
    if settings.calibration == "durations":
        return trials_by_duration(dev, seconds=settings.calibration_seconds, **limits)
    return lists.calibration_trials(dev, **limits)


def trials_by_duration(
    utterances: Iterable[Utterance], *, seed: int, max_trials: int, seconds: tuple[float, ...], cross_session: bool
) -> Trials:
    """Return trials of speakers who have short and long utterances: a third of each pair of durations, half targets.

    A speaker is drawn evenly, then an utterance of that speaker; no pair is there twice, in either order, and none of an
    utterance with itself. Where a pair of durations has too few different ones, it has as many targets as non-targets still.

    Args:
        utterances: of the held-out speakers.
        seed: of the draw.
        max_trials: at most so many in all.
        seconds: an utterance is short if it lasts from the first to less than the second, long if it lasts the second or more;
            one that is shorter than the first is in no trial.
        cross_session: target trials only between two sessions.

    Raises:
        RecipeError: fewer than two speakers have both, or there is no target trial of a pair of durations.

    Source: proportions, and bounds of 2 and 6 s: wenet-e2e/wespeaker, tools/generate_calibration_trial.py, which draws with
    replacement.
    """
    classes = _classes(utterances, seconds)
    rng = generator(seed, "folder", "trials", "calibration", "durations")
    num = max_trials // (2 * len(PAIRS))
    rows: list[tuple[str, str, bool]] = []
    for names in PAIRS:
        enrol, test = (classes[name] for name in names)
        kinds = [_draw(enrol, test, num, rng, is_target=label, cross_session=cross_session) for label in (True, False)]
        least = min(map(len, kinds))
        if not least:
            raise RecipeError(
                f"calibration trials of the dev speakers: found {len(kinds[0])} target and {len(kinds[1])} non-target trials of "
                f"a {names[0]} and a {names[1]} utterance; expected some of both; change prepare.calibration_seconds or "
                "prepare.dev_speakers, or add --set prepare.calibration=pairs"
            )
        rows += [(*pair, label) for pairs, label in zip(kinds, (True, False), strict=True) for pair in pairs[:least]]
    enrol_ids, test_ids, labels = zip(*sorted(rows), strict=True)
    return Trials(list(enrol_ids), list(test_ids), np.array(labels))


def _classes(utterances: Iterable[Utterance], seconds: tuple[float, ...]) -> dict[str, Class]:
    """Return the short and the long utterances of the speakers who have both."""
    found: dict[str, dict[str, list[Utterance]]] = {"short": defaultdict(list), "long": defaultdict(list)}
    counts = {name: 0 for name in ("shorter", *found)}
    for each in sorted(utterances, key=lambda each: each.id):
        name = "shorter" if each.duration < seconds[0] else "short" if each.duration < seconds[1] else "long"
        counts[name] += 1
        if name in found:
            found[name][each.speaker].append(each)
    both = sorted(found["short"].keys() & found["long"].keys())
    if len(both) < 2:
        raise RecipeError(
            f"calibration trials of the dev speakers: {len(both)} speakers have short (from {seconds[0]:g} s on) and long (from "
            f"{seconds[1]:g} s on) utterances; expected two or more; found {counts['short']} short and {counts['long']} long "
            f"ones, and {counts['shorter']} that are shorter; change prepare.calibration_seconds or prepare.dev_speakers, or add "
            "--set prepare.calibration=pairs"
        )
    return {name: {speaker: found[name][speaker] for speaker in both} for name in found}


def _draw(
    enrol: Class, test: Class, num: int, rng: np.random.Generator, *, is_target: bool, cross_session: bool
) -> list[tuple[str, str]]:
    """Return up to `num` different (enrolment id, test id) pairs of one speaker, or of two different ones."""
    speakers = list(enrol)
    pairs: list[tuple[str, str]] = []
    seen: set[frozenset[str]] = set()
    num_before = -1
    while num_before < len(pairs) < num:
        num_before, num_draws = len(pairs), max(2 * (num - len(pairs)), _LEAST_DRAWS)
        first_N = rng.integers(len(speakers), size=num_draws)
        second_N = first_N if is_target else (first_N + rng.integers(1, len(speakers), size=num_draws)) % len(speakers)
        draws = rng.random((num_draws, 2))
        for first, second, (one, other) in zip(first_N.tolist(), second_N.tolist(), draws.tolist(), strict=True):
            enrolment, tested = _pick(enrol[speakers[first]], one), _pick(test[speakers[second]], other)
            pair = frozenset((enrolment.id, tested.id))
            same_session = is_target and cross_session and enrolment.session == tested.session
            if len(pair) == 2 and pair not in seen and not same_session:
                seen.add(pair)
                pairs.append((enrolment.id, tested.id))
    return pairs[:num]


def _pick(utterances: list[Utterance], draw: float) -> Utterance:
    return utterances[int(draw * len(utterances))]
