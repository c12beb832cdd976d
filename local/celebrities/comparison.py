"""VoxCeleb on disk, compared with what is documented about its sets and lists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.celebrities import known
from local.listing.documented import Counts, compare
from local.listing.files import SETS
from steps.data.manifests import Utterance
from steps.data.trials import Trials, read_trials

_SMALL_SHORTFALL = 0.001  # share of the utterances; many a copy lacks a file or two


def list_problem(name: str, path: Path, ids: frozenset[str]) -> str:
    """Return in what a list differs from the published one of its name; "": in nothing, or there is none."""
    if name not in known.LISTS:
        return ""
    trials = read_trials(path)
    speakers = {utterance.partition("/")[0] for utterance in ids}
    found = Counts(trials=len(trials), targets=trials.num_target, utterances=len(ids), speakers=len(speakers))
    with open(path, encoding="utf-8-sig") as file:
        return known.list_problem(name, found, known.plain_hash(file))


def comparison(corpus: Any, sets: Mapping[str, list[Utterance]], trials: Mapping[str, Trials]) -> list[tuple[bool, str]]:
    """Return (as documented?, line) about each set and list on disk, and a line about each set that was made."""
    lines = []
    for name, found in corpus.sizes.items():
        is_equal, text = compare(found, known.SETS[name])
        missing = 1 - found.utterances / known.SETS[name].utterances
        meaning = "a few files less do no harm" if 0 <= missing <= _SMALL_SHORTFALL else "this is not the published set"
        lines.append((is_equal, f"{name}: {text}; {'as documented' if is_equal else meaning}"))
    for name, path in corpus.lists.items():
        ids = corpus.named[name]
        speakers = {utterance.partition("/")[0] for utterance in ids}
        found = Counts(trials=len(trials[name]), utterances=len(ids), speakers=len(speakers))
        problem = list_problem(name, path, ids)
        meaning = "as documented" if name in known.LISTS else "a list of your own"
        if problem:
            meaning = "this is not the published list: do not compare its figures with published ones"
        lines.append((not problem, f"{name} ({path.name}): {problem or compare(found, None)[1]}; {meaning}"))
    for name in [name for name in SETS if name in sets]:
        speakers = {utterance.speaker for utterance in sets[name]}
        unknown = len(speakers - corpus.speakers.keys())
        where = f"; the metadata say nothing about {unknown:,} of them" if unknown else ""
        lines.append((True, f"set {name}: {len(sets[name]):,} utterances of {len(speakers):,} speakers{where}"))
    return lines
