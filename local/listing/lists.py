"""Trial lists of a corpus: given ones brought to its utterance ids, or made."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from local.listing.files import fix_spaces, without_suffix
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.manifests import Utterance
from steps.data.trials import MAX_PAIRS, Trials, all_pairs, balanced, check_known, read_trials, trials_by_corpus

MADE = ("balanced", "all_pairs", "same_gender")
_NUM_SHOWN = 5


def find_lists(names: str, roots: Iterable[Path]) -> dict[str, Path]:
    """Return list name -> file for a text of file names between ';'; each is absolute, or lies in one of `roots` or here.

    Raises:
        RecipeError: a missing file, or two of the same name.
    """
    found: dict[str, Path] = {}
    roots = list(roots)
    for name in filter(None, (part.strip() for part in names.split(";"))):
        places = [*(root / name for root in roots), Path(name)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise RecipeError(
                f"prepare.trials: no file '{name}'; looked for {', '.join(str(place) for place in places[:-1])} and "
                f"{places[-1].absolute()}; correct the name"
            )
        if path.stem in found:
            raise RecipeError(
                f"prepare.trials: {found[path.stem]} and {path} would both be the list '{path.stem}'; expected different "
                "file names; rename one"
            )
        found[path.stem] = path
    return found


def given_trials(path: Path, utterances: Iterable[Utterance], *, prefix: str, replace_spaces: str) -> Trials:
    """Return the trials of a list, with the ids of the utterances.

    A name in the list may have the extension of an audio file, and be with or without the folder `prefix`.

    Raises:
        RecipeError: malformed list, an utterance that is not known, or a label that the speakers contradict.
    """
    speakers = {utterance.id: utterance.speaker for utterance in utterances}
    trials = read_trials(path)
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    known: dict[str, str] = {}

    def resolve(name: str) -> str:
        if name not in known:
            plain = fix_spaces(without_suffix(name.removeprefix("./")), replace_spaces)
            forms = (name, plain, plain.removeprefix(prefix), prefix + plain)
            known[name] = next((form for form in forms if form in speakers), name)
        return known[name]

    enrol_ids = [resolve(name) for name in trials.enrol_ids]
    test_ids = [resolve(name) for name in trials.test_ids]
    trials = Trials(enrol_ids, test_ids, trials.is_target)
    check_known(trials, speakers, str(path))
    same_N = np.fromiter((speakers[a] == speakers[b] for a, b in zip(enrol_ids, test_ids, strict=True)), bool)
    wrong = np.flatnonzero(same_N != trials.is_target).tolist()
    if wrong:
        first = wrong[0]
        raise RecipeError(
            f"{path}: {len(wrong)} of {len(trials)} labels contradict the corpus; first, '{enrol_ids[first]}' (speaker "
            f"{speakers[enrol_ids[first]]}) and '{test_ids[first]}' (speaker {speakers[test_ids[first]]}) are given as "
            f"{'target' if trials.is_target[first] else 'non-target'} trial; expected target = the same speaker; correct "
            "the list, or prepare.speaker_level"
        )
    return trials


def made_trials(kind: str, utterances: list[Utterance], *, seed: int, per_utterance: int, **conditions: bool) -> Trials:
    """Return a list of one of the kinds of MADE; `conditions` as those of `steps.data.trials.all_pairs`."""
    if kind == "balanced":
        return balanced(utterances, generator(seed, "folder", "trials", kind), per_utterance, **conditions)
    return all_pairs(utterances, same_gender=kind == "same_gender", **conditions)


def corpus_lists(name: str, trials: Trials, utterances: Iterable[Utterance]) -> dict[str, Trials]:
    """Return `<name>-<corpus>` -> the trials within each sub-corpus, where there are targets, non-targets and other trials."""
    parts = trials_by_corpus(trials, utterances)
    return {
        f"{name}-{corpus.replace('/', '_')}": part
        for corpus, part in parts.items()
        if part.num_target and part.num_nontarget and len(part) < len(trials)
    }


def calibration_trials(utterances: list[Utterance], *, seed: int, max_trials: int, **conditions: bool) -> Trials:
    """Return trials of held-out speakers, within sub-corpora where these have two; at most max_trials, drawn at random.

    Where trials are left out, up to half of those that stay are target trials.
    """
    rng = generator(seed, "folder", "trials", "calibration")
    speakers = {(utterance.corpus, utterance.speaker) for utterance in utterances}
    conditions["within_corpus"] = len(speakers) > len({corpus for corpus, _ in speakers})
    try:
        if len(utterances) ** 2 // 2 <= MAX_PAIRS:
            trials = all_pairs(utterances, **conditions)
        else:
            per_utterance = max(2, 2 * round(max_trials / len(utterances) / 2))
            trials = balanced(utterances, rng, per_utterance, **conditions)
    except RecipeError as error:
        raise RecipeError(f"calibration trials of the dev speakers: {error}, or change prepare.dev_speakers") from None
    if len(trials) <= max_trials:
        return trials
    num_target = min(trials.num_target, max_trials // 2)
    rows = [
        rng.permutation(np.flatnonzero(trials.is_target == label))[:num]
        for label, num in ((True, num_target), (False, max_trials - num_target))
    ]
    kept = np.sort(np.concatenate(rows)).tolist()
    return Trials([trials.enrol_ids[i] for i in kept], [trials.test_ids[i] for i in kept], trials.is_target[kept])
