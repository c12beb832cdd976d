"""Who is trained on, who is held out, who is tested: splits that never share a speaker."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.manifests import Utterance

_ADVICE = {  # by what is drawn
    "test": "lower the number with --set prepare.test_speakers=NUMBER, or test all of them with --set prepare.split=test",
    "dev": "hold none out with --set prepare.dev_speakers=0 (nothing is calibrated then: --set score.calibrate=false), or count "
    "speakers with fewer utterances with --set prepare.dev_min_utterances=NUMBER",
}
_NUM_SHOWN = 5
_LOG = logging.getLogger("prepare")


def draw_speakers(utterances: Iterable[Utterance], share: float, *, min_utterances: int, seed: int, purpose: str) -> set[str]:
    """Return speakers drawn at random, in each sub-corpus and gender about the same share.

    A speaker's place in the draw depends on seed, purpose and its own id alone, so that a speaker who joins the corpus
    changes little.

    Args:
        utterances: of those to draw from.
        share: below 1 a fraction of the speakers that have enough utterances, and at least two speakers; else their
            number; 0 = none.
        min_utterances: speakers with fewer are not drawn.
        seed: of the draw.
        purpose: of the draw, such as "test".

    Raises:
        RecipeError: more speakers are wanted than there are, or all of them.
    """
    strata: dict[str, tuple[str, str]] = {}
    counts: Counter[str] = Counter()
    for utterance in utterances:
        strata[utterance.speaker] = (utterance.corpus, utterance.gender)
        counts[utterance.speaker] += 1
    eligible = sorted(speaker for speaker, count in counts.items() if count >= min_utterances)
    # One speaker alone makes no non-target trial.
    num = round(share) if share >= 1 or share == 0 else max(2, round(share * len(eligible)))
    if share > 0 and not num <= min(len(eligible), len(counts) - 1):
        few = f": {', '.join(sorted(counts)[:_NUM_SHOWN])}" if 0 < len(counts) <= _NUM_SHOWN else ""
        raise RecipeError(
            f"prepare.{purpose}_speakers = {share:g} asks for {num} of {len(eligible)} speakers with at least {min_utterances} "
            f"utterances ({len(counts)} speakers {'to train on' if purpose == 'dev' else 'in all'}{few}); expected that one is "
            f"left over; add speakers, or {_ADVICE.get(purpose, f'lower prepare.{purpose}_speakers')}"
        )
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for speaker in eligible:
        members[strata[speaker]].append(speaker)
    chosen: set[str] = set()
    for stratum, quota in _quotas({stratum: len(names) for stratum, names in members.items()}, num).items():
        draws = {speaker: generator(seed, "folder", purpose, speaker).random() for speaker in members[stratum]}
        chosen.update(sorted(members[stratum], key=draws.__getitem__)[:quota])
    return chosen


def hold_out_dev(
    train: list[Utterance], share: float, *, min_utterances: int, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Return (utterances that stay in training, those of the speakers drawn for dev); see `draw_speakers`."""
    if not share:
        return train, []
    chosen = draw_speakers(train, share, min_utterances=min_utterances, seed=seed, purpose="dev")
    kept, held_out = [], []
    for utterance in train:
        (held_out if utterance.speaker in chosen else kept).append(utterance)
    return kept, held_out


def of_genders(train: list[Utterance], genders: Iterable[str]) -> list[Utterance]:
    """Return the training utterances of speakers of these documented genders ("f", "m"); all of them where none are named.

    Asked for after dev speakers have been held out, so that they are the same, of both genders, whoever is trained on: systems
    that differ in this are calibrated and fused on the same trials.

    Raises:
        RecipeError: fewer than two speakers are left.
    """
    wanted = set(genders)
    if not wanted:
        return train
    kept = [utterance for utterance in train if utterance.gender in wanted]
    speakers: dict[str, set[str]] = defaultdict(set)
    for utterance in train:
        speakers[utterance.gender].add(utterance.speaker)
    counts = ", ".join(f"{len(speakers[each])} {each or 'not documented'}" for each in sorted(speakers))
    if sum(len(speakers[each]) for each in wanted) < 2:
        raise RecipeError(
            f"prepare.train_genders = {sorted(wanted)}: expected at least two training speakers of these, found "
            f"{counts or 'nobody'}; give the corpus's genders (--set prepare.metadata=FILE), or leave the setting out"
        )
    num = len({utterance.speaker for utterance in kept})
    _LOG.info("trained on: %d utterances of %d speakers of gender %s (of: %s)", len(kept), num, "/".join(sorted(wanted)), counts)
    return kept


def check_genders(genders: Iterable[str]) -> None:
    """Raise a ValueError for a setting `train_genders` that is not some of "f" and "m"."""
    found = tuple(genders)
    if len(set(found)) < len(found) or not set(found) <= {"f", "m"}:
        raise ValueError(f'train_genders: expected some of "f", "m", each once (none: everybody), found {list(found)}')


def check_disjoint(sets: Mapping[str, Iterable[Utterance]]) -> None:
    """Raise a RecipeError if a speaker is in two sets."""
    seen: dict[str, tuple[str, str]] = {}
    shared: dict[str, str] = {}
    for set_name, utterances in sets.items():
        for utterance in utterances:
            other, path = seen.setdefault(utterance.speaker, (set_name, utterance.path))
            if other != set_name:
                shared.setdefault(utterance.speaker, f"'{utterance.speaker}' ({other}: {path}, {set_name}: {utterance.path})")
    if shared:
        raise RecipeError(
            f"{len(shared)} speakers are in two sets, first {', '.join(list(shared.values())[:_NUM_SHOWN])}; expected each "
            "speaker in one set, or a system would be tested on those it was trained on; correct the split, say which folder is "
            "the speaker (--set prepare.speaker_level=NUMBER), or add --set prepare.split=made to have speakers drawn"
        )


def too_few(utterances: Iterable[Utterance], min_utterances: int) -> dict[str, int]:
    """Return speaker -> number of utterances, of the speakers who have fewer than `min_utterances`, sorted."""
    counts = Counter(utterance.speaker for utterance in utterances)
    return {speaker: counts[speaker] for speaker in sorted(counts) if counts[speaker] < min_utterances}


def _quotas(sizes: Mapping[tuple[str, str], int], num: int) -> dict[tuple[str, str], int]:
    """Return how many to take from each stratum: proportional, by largest remainder, ties by name."""
    total = sum(sizes.values())
    if total == 0:
        return {}
    exact = {stratum: num * size / total for stratum, size in sorted(sizes.items())}
    quotas = {stratum: int(value) for stratum, value in exact.items()}
    by_remainder = sorted(exact, key=lambda stratum: quotas[stratum] - exact[stratum])
    for stratum in by_remainder[: num - sum(quotas.values())]:
        quotas[stratum] += 1
    return quotas
