"""Speakers enrolled with several utterances: files of lines `<model id> <utterance id> <utterance id> ...`, and drawing some.

A model may be named as the enrolment of a trial; what is named there and is no model is an utterance. The models of a trial list
lie in `manifests/enrolment/<trial list>.txt`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.manifests import Utterance, is_valid_id
from steps.data.trials import MAX_PAIRS, Trials

Models = dict[str, tuple[str, ...]]  # model id -> ids of its utterances


def read_models(path: Path) -> Models:
    """Return the models of a file, in its order.

    Raises:
        RecipeError: missing or empty, a line of fewer than two words, a model or one of its utterances named twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: enrolment file not found; give the path of an existing file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: enrolment file cannot be read as UTF-8 text ({error}); give another file") from error
    models: Models = {}
    for number, line in enumerate(text.split("\n"), start=1):
        name, *utterances = line.split() or [""]
        if not name:
            continue
        if not utterances or name in models or len(set(utterances)) < len(utterances):
            what = f"'{name}' is there already" if name in models else f"found {line.strip()!r}"
            raise RecipeError(
                f"{path}:{number}: expected '<model id> <utterance id> ...', each model once and each of its utterances once; "
                f"{what}; correct the line"
            )
        models[name] = tuple(utterances)
    if not models:
        raise RecipeError(f"{path}: is empty; expected lines '<model id> <utterance id> ...'; give another file")
    return models


def write_models(path: Path, models: Mapping[str, Iterable[str]]) -> None:
    """Write a line for each model, in their order."""
    with atomic_write(path) as file:
        file.writelines(f"{name} {' '.join(utterances)}\n" for name, utterances in models.items())


def model_speakers(models: Mapping[str, Collection[str]], speakers: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the speaker of each model, given that of each utterance.

    Raises:
        RecipeError: an utterance that is not known, utterances of several speakers, or a model called as an utterance.
    """
    found = {}
    for name, utterances in models.items():
        strange = [each for each in utterances if each not in speakers]
        if strange or name in speakers or not is_valid_id(name):
            problem = f"utterance '{strange[0]}' is not known" if strange else "its id is that of an utterance, or no id"
            raise RecipeError(f"{where}: model '{name}': {problem}; correct the enrolment file")
        owners = sorted({speakers[each] for each in utterances})
        if len(owners) > 1:
            raise RecipeError(f"{where}: model '{name}' has utterances of speakers {', '.join(owners)}; expected one; correct it")
        found[name] = owners[0]
    return found


def draw_models(
    utterances: Iterable[Utterance], rng: np.random.Generator, num_utterances: int, *, within_corpus: bool = False
) -> tuple[Models, Trials]:
    """Return a model `<speaker>/enrol<num_utterances>` of each speaker who has more utterances, and its trials.

    A model is tried with all other utterances of its speaker and of everybody else (within its sub-corpus, where asked for); with
    those of its speaker only from sessions that it was not enrolled with, where the speaker has other sessions.

    Raises:
        RecipeError: fewer than two speakers who have enough utterances, or too many trials.
    """
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for each in sorted(utterances, key=lambda each: each.id):
        by_speaker[each.speaker].append(each)
    models, left = {}, []
    for speaker, theirs in sorted(by_speaker.items()):
        chosen = _enrolled(theirs, rng, num_utterances)
        sessions = {each.session for each in chosen}
        others = [each for each in theirs if each not in chosen]
        fresh = [each for each in others if each.session not in sessions]
        if len(chosen) == num_utterances and others:
            models[f"{speaker}/enrol{num_utterances}"] = chosen
            left += fresh or others
    if len(models) < 2:
        raise RecipeError(
            f"models of {num_utterances} utterances: expected two speakers with more of them, found {len(models)} among "
            f"{len(by_speaker)}; enrol with fewer, or add recordings"
        )
    if len(models) * len(left) > MAX_PAIRS:
        raise RecipeError(
            f"{len(models)} models and {len(left)} utterances are {len(models) * len(left)} trials; expected at most "
            f"{MAX_PAIRS}; give a list of trials instead"
        )
    rows = [
        (name, each.id, each.speaker == chosen[0].speaker)
        for name, chosen in models.items()
        for each in left
        if not within_corpus or each.corpus == chosen[0].corpus
    ]
    names, tests, is_target = zip(*rows, strict=True)
    return {name: tuple(each.id for each in chosen) for name, chosen in models.items()}, Trials(
        list(names), list(tests), np.array(is_target)
    )


def _enrolled(theirs: list[Utterance], rng: np.random.Generator, num: int) -> list[Utterance]:
    """Utterances to enrol with: of as few sessions as will do, drawn in a random order."""
    by_session: dict[str, list[Utterance]] = defaultdict(list)
    for index in rng.permutation(len(theirs)):
        by_session[theirs[index].session].append(theirs[index])
    chosen: list[Utterance] = []
    for session in by_session.values():
        chosen += session[: num - len(chosen)]
    return sorted(chosen, key=lambda each: each.id)
