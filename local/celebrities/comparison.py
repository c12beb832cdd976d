"""VoxCeleb on disk, compared with what is documented about its sets and lists."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from local.celebrities import first_release, known
from local.listing.documented import Compared, Counts, compare, table
from local.listing.files import SETS
from steps.data.manifests import Utterance
from steps.data.trials import Trials, read_trials

_SMALL_SHORTFALL = 0.001  # share of the utterances; many a copy lacks a file or two


def list_problem(name: str, path: Path, ids: frozenset[str], people: Mapping[str, str]) -> str:
    """Return in what a list differs from the published one of its name; "": in nothing, or there is none.

    Args:
        name: of the list.
        path: of its file.
        ids: of the utterances in it.
        people: of `first_release.people`, for names of the first release.
    """
    if name not in known.LISTS:
        return ""
    rename = cache(partial(first_release.renamed, known=people))
    return known.list_problem(name, _counts(read_trials(path), ids), path, rename)


def comparison(corpus: Any, sets: Mapping[str, list[Utterance]], trials: Mapping[str, Trials]) -> list[tuple[bool, str]]:
    """Return (as documented?, line): a table of each set and list on disk with both counts, and of the sets that were made."""
    lines = []
    for name, found in corpus.sizes.items():
        is_equal, _ = compare(found, known.SETS[name])
        missing = 1 - found.utterances / known.SETS[name].utterances
        meaning = "a few files less do no harm" if 0 <= missing <= _SMALL_SHORTFALL else "this is not the published set"
        meaning = "as documented" if is_equal else meaning
        lines.append(Compared(name=name, found=found, known=known.SETS[name], meaning=meaning, is_expected=is_equal))
    for name, path in corpus.lists.items():
        ids = corpus.named[name]
        problem = list_problem(name, path, ids, corpus.people)
        meaning = f"{path.name}, {'as documented' if name in known.LISTS else 'a list of your own'}"
        if problem:
            meaning = f"{path.name} is not the published list: do not compare its figures with published ones"
        found, expected = _counts(trials[name], ids), known.LISTS.get(name)
        lines.append(Compared(name=name, found=found, known=expected, meaning=meaning, is_expected=not problem))
    for name in [name for name in SETS if name in sets]:
        speakers = {utterance.speaker for utterance in sets[name]}
        unknown = len(speakers - corpus.speakers.keys())
        where = f"the metadata say nothing about {unknown:,} of the speakers" if unknown else ""
        found = Counts(speakers=len(speakers), utterances=len(sets[name]))
        lines.append(Compared(name=f"set {name}", found=found, meaning=where))
    return table(lines)


def _counts(trials: Trials, ids: frozenset[str]) -> Counts:
    speakers = {utterance.partition("/")[0] for utterance in ids}
    return Counts(trials=len(trials), targets=trials.num_target, utterances=len(ids), speakers=len(speakers))
