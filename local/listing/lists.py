"""Trial lists of a corpus: given ones brought to its utterance ids, or made."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from local.listing.files import fix_spaces, without_suffix
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.enrolment import Models, draw_models, model_speakers, read_models, write_models
from steps.data.manifests import Utterance
from steps.data.names import composed
from steps.data.score_files import line_of_trial
from steps.data.trial_forms import Table, form_of
from steps.data.trials import MAX_PAIRS, Trials, all_pairs, balanced, check_known, read_trials, trials_by_corpus

MADE = ("balanced", "all_pairs", "same_gender", "extended", "hard")
NOBODY: Mapping[str, str] = MappingProxyType({})
_GIVEN_DEV = " (where the data give a dev set: have two or more speakers in it, or none)"
_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning


def find_lists(setting: str, names: str, roots: Iterable[Path]) -> dict[str, Path]:
    """Return list name -> file for a text of file names between ';' (`prepare.<setting>`).

    Each is absolute, or lies in one of `roots` or here.

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
                f"prepare.{setting}: no file '{name}'; looked for {', '.join(str(place) for place in places[:-1])} and "
                f"{places[-1].absolute()}; correct the name"
            )
        if path.stem in found:
            raise RecipeError(
                f"prepare.{setting}: {found[path.stem]} and {path} would both be the list '{path.stem}'; expected different "
                "file names; rename one"
            )
        found[path.stem] = path
    return found


def given_trials(
    path: Path,
    utterances: Iterable[Utterance],
    models: Models,
    *,
    prefix: str,
    replace_spaces: str,
    roots: Iterable[Path] = (),
    rename: Callable[[str], str] = str,
    elsewhere: Mapping[str, str] = NOBODY,
) -> Trials:
    """Return the trials of a list, with the ids of the utterances; an enrolment may be one of the models.

    A name in the list, once renamed, is as `resolver` says. `elsewhere`: id -> set, of utterances that are no test data.

    Raises:
        RecipeError: malformed list, an utterance that is not known, or a label that the speakers contradict.
    """
    speakers = {utterance.id: utterance.speaker for utterance in utterances}
    plain = resolver(speakers, prefix, replace_spaces, roots)
    resolve = cache(lambda name: plain(rename(name)))
    trials = read_trials(path)
    _check_header(path, lambda name: name in models or resolve(name) in speakers)
    enrol_ids = [name if name in models else resolve(name) for name in trials.enrol_ids]
    trials = Trials(enrol_ids, [resolve(name) for name in trials.test_ids], trials.is_target)
    of_side = speakers | model_speakers(models, speakers, str(path))
    away = partial(resolver, elsewhere, prefix, replace_spaces, roots)
    check_known(trials, of_side, str(path), advice=partial(_advice, speakers, models, elsewhere, away))
    _check_tests(path, trials, models)
    if trials.is_target is not None:
        _check_labels(path, trials, of_side)
    return trials


def _check_header(path: Path, is_known: Callable[[str], bool]) -> None:
    form = form_of(path)
    if isinstance(form, Table) and form.sides and all(map(is_known, form.sides)):
        raise RecipeError(
            f"{path}:1: '{form.sides[0]}' and '{form.sides[1]}' are names of columns and of recordings; expected one; "
            "remove the line if it is a header, else write each trial as '- <enrolment id> <test id>'"
        )


def _check_tests(path: Path, trials: Trials, models: Models) -> None:
    wrong = [row for row, name in enumerate(trials.test_ids) if name in models] if models else []
    if wrong:
        raise RecipeError(
            f"{path}:{line_of_trial(path, wrong[0])}: {len(wrong)} of {len(trials)} trials test a model, first "
            f"'{trials.test_ids[wrong[0]]}'; expected an utterance, as models of several utterances are enrolled; put the model "
            "first in each line, or name the columns enrol and test"
        )


def _check_labels(path: Path, trials: Trials, of_side: Mapping[str, str]) -> None:
    pairs = zip(trials.enrol_ids, trials.test_ids, strict=True)
    wrong = np.flatnonzero(np.fromiter((of_side[a] == of_side[b] for a, b in pairs), bool) != trials.is_target).tolist()
    if wrong:
        enrol, test = trials.enrol_ids[wrong[0]], trials.test_ids[wrong[0]]
        nobody = of_side[enrol] == enrol and of_side[test] == test
        who = "; nobody says who speaks in them: give their speakers, or a list without labels" if nobody else ""
        raise RecipeError(
            f"{path}:{line_of_trial(path, wrong[0])}: {len(wrong)} of {len(trials)} labels contradict the corpus; first, "
            f"'{enrol}' (speaker {of_side[enrol]}) and '{test}' (speaker {of_side[test]}) are given as "
            f"{'target' if trials.is_target[wrong[0]] else 'non-target'} trial; expected target = the same speaker; correct "
            f"the list, or prepare.speaker_level{who}"
        )


def _advice(
    known: Mapping[str, str],
    models: Models,
    elsewhere: Mapping[str, str],
    away: Callable[[], Callable[[str], str]],
    names: list[str],
) -> str:
    """What is said of names that are not known: the set the first is in, or the folder that they lack or have before an id."""
    name = names[0]
    if (its_id := away()(name)) in elsewhere:
        return (
            f" ('{name}' is in the set '{elsewhere[its_id]}': trials are of test data; say what that is with --set "
            "prepare.split=test, folders or column, or try a trained model on all of it with --model)"
        )
    plain = without_suffix(name)
    more = next((each for each in known if plain.endswith(f"/{each}")), "")
    less = next((each for each in known if each.endswith(f"/{plain}")), "")
    folder = plain.removesuffix(f"/{more}") if more else less.removesuffix(f"/{plain}")
    if less and not more and any(f"{folder}/{without_suffix(each)}" not in known for each in names):
        return " (names of the list lack folders that ids begin with, not all the same one: write them as paths below the corpus)"
    if more or less:
        what = f"names of the list {'begin with' if more else 'lack'} '{folder}/', which ids {'lack' if more else 'begin with'}"
        return f" ({what}: --set prepare.trials_root={folder})"
    return "" if models or "/" in name else " (if it is a model of several utterances: --set prepare.enrolment=FILE)"


def scored_only(trials: Mapping[str, Trials]) -> list[tuple[str, str, str]]:
    """Return ("trials", list, what) of lists of which there will be scores and no figures, and say so."""
    found = []
    for name, each in trials.items():
        what = "" if each.num_target and each.num_nontarget else f"no {'target' if each.num_nontarget else 'non-target'} trials"
        why = "" if each.is_target is None else ", which need both kinds"
        what = "no labels" if each.is_target is None else what
        if what:
            verbs = "trial is scored, and has" if len(each) == 1 else "trials are scored, and have"
            found.append(("trials", name, f"{what}: {len(each)} {verbs} no figures{why}"))
            _LOG.warning("trial list %s: %s", name, found[-1][2])
    return found


def say_unused_columns(paths: Iterable[Path]) -> None:
    """Say which columns of lists that are tables are not looked at. Raises RecipeError for a list of no known form."""
    for path in paths:
        form = form_of(path)
        if isinstance(form, Table) and form.unused:
            _LOG.info("%s: its columns %s are not used", path, ", ".join(map(repr, form.unused)))


def given_models(
    path: Path, utterances: Iterable[Utterance], *, prefix: str, replace_spaces: str, roots: Iterable[Path] = ()
) -> Models:
    """Return the models of an enrolment file, with the ids of the utterances, which are named as in trial lists."""
    speakers = {utterance.id: utterance.speaker for utterance in utterances}
    resolve = resolver(speakers, prefix, replace_spaces, roots)
    models = read_models(path)
    for name, theirs in models.items():
        check_spellings(theirs, resolve, f"{path}: model '{name}'")
    models = {name: tuple(map(resolve, theirs)) for name, theirs in models.items()}
    owners, known = model_speakers(models, speakers, str(path)), set(speakers.values())
    odd = [name for name, owner in owners.items() if name in known and name != owner]
    if odd:
        text = f"{len(odd)} models are called as a speaker and are of another, first '{odd[0]}' of '{owners[odd[0]]}'"
        _LOG.warning("%s: %s: the speakers of the utterances count", path, text)
    return models


def check_spellings(names: Iterable[str], resolve: Callable[[str], str], where: str) -> None:
    """Raise a RecipeError if two names of a list that names each utterance once stand for one: a and a.wav."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(resolve(name), name)
        if other != name:
            raise RecipeError(
                f"{where}: '{other}' and '{name}' are one utterance, '{resolve(name)}'; expected each once; remove one of them"
            )


def models_of_files(paths: Iterable[Path], utterances: Iterable[Utterance], **names: str) -> Models:
    """Return the models of some enrolment files, see `given_models`. Raises RecipeError if one is another in two of them."""
    utterances, found, homes = list(utterances), {}, {}
    for path in paths:
        for name, theirs in given_models(path, utterances, **names).items():
            if found.setdefault(name, theirs) != theirs:
                raise RecipeError(
                    f"{path}: model '{name}' is another one in {homes[name]}; expected one; rename it in one of them"
                )
            homes.setdefault(name, path)
    return found


def enrolled(utterances: Iterable[Utterance], num: int, seed: int, within_corpus: bool) -> tuple[Models, Trials]:
    """Return models of `num` utterances each, and trials of them, drawn from a test set."""
    return draw_models(utterances, generator(seed, "folder", "enrolment", num), num, within_corpus=within_corpus)


def write_enrolment(folder: Path, models: Mapping[str, Models], trials: Mapping[str, Trials]) -> None:
    """Write `<trial list>.txt` with the models that each list enrols; nothing where it enrols utterances only."""
    for name, known in models.items():
        used = {each: known[each] for each in dict.fromkeys(trials[name].enrol_ids) if each in known}
        if used:
            folder.mkdir(parents=True, exist_ok=True)
            write_models(folder / f"{name}.txt", used)


def resolver(known: Mapping[str, str], prefix: str, replace_spaces: str, roots: Iterable[Path] = ()) -> Callable[[str], str]:
    """Return the id that a name in a list stands for, or the name if it stands for none.

    A name may have the extension of an audio file, be with or without the folder `prefix`, or begin with one of the folders
    `roots`, in which the recordings lie, as an absolute path or with the last folder of it.
    """
    prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
    known_roots = dict.fromkeys(f"{each}/" for root in roots for each in (root, root.resolve(), root.name))
    fronts = [
        front for front in (prefix, prefix.lstrip("/"), *(fix_spaces(each, replace_spaces) for each in known_roots)) if front
    ]
    as_composed = {composed(name): name for name in known if not name.isascii()}

    @cache
    def resolve(name: str) -> str:
        plain = fix_spaces(without_suffix(name.removeprefix("./")), replace_spaces)
        forms = [
            name,
            plain,
            plain.replace("\\", "/"),
            *(plain.removeprefix(front) for front in fronts),
            prefix.lstrip("/") + plain,
        ]
        forms += [os.path.splitext(form)[0] for form in forms]  # of other audio, which Kaldi's files name
        found = next((form for form in forms if form in known), "")
        return found or next((as_composed[form] for form in map(composed, forms) if form in as_composed), name)

    return resolve


def made_trials(
    kind: str,
    utterances: list[Utterance],
    *,
    seed: int,
    per_utterance: int,
    nationalities: Mapping[str, str] = NOBODY,
    min_speakers: int = 5,
    **conditions: bool,
) -> Trials:
    """Return a list of one of the kinds of MADE.

    "balanced" is made as VoxCeleb1-O: each utterance enrols `per_utterance` trials, half of them targets. "extended" is made as
    VoxCeleb1-E, half as many of each utterance, and "hard" as VoxCeleb1-H, likewise but only between speakers of one gender and
    nationality, of whom there are at least `min_speakers`. Who is in them is up to the utterances: E and H have all speakers
    of a corpus, so nobody is left to be trained on (prepare.split = "all", or "test" of a corpus without a split of its own).

    Args:
        kind: of MADE.
        utterances: of the test set.
        seed: of the draw.
        per_utterance: trials that enrol an utterance of the balanced list.
        nationalities: speaker -> nationality, for "hard".
        min_speakers: of a gender and nationality, for "hard".
        **conditions: cross_session, within_corpus; see `steps.data.trials.all_pairs`.

    Raises:
        RecipeError: no target or no non-target trial; for "hard" also nobody left whom there are enough others like.
    """
    rng = generator(seed, "folder", "trials", kind)
    half = max(2, per_utterance // 4 * 2)
    if kind == "balanced":
        return balanced(utterances, rng, per_utterance, **conditions)
    if kind == "extended":
        return balanced(utterances, rng, half, **conditions)
    if kind == "hard":
        within_corpus = conditions.get("within_corpus", False)
        alike = alike_speakers(utterances, nationalities, min_speakers, within_corpus=within_corpus)
        return balanced(alike, rng, half, **conditions | {"within_corpus": True})
    return all_pairs(utterances, same_gender=kind == "same_gender", **conditions)


def alike_speakers(
    utterances: Iterable[Utterance], nationalities: Mapping[str, str], min_speakers: int, *, within_corpus: bool
) -> list[Utterance]:
    """Return the utterances of speakers who have enough others like them, with gender and nationality for a sub-corpus.

    Speakers are alike if gender and nationality are documented and the same, and with `within_corpus` the sub-corpus.

    Raises:
        RecipeError: nobody is left.
    """
    found: list[Utterance] = []
    groups: dict[str, set[str]] = defaultdict(set)
    for each in utterances:
        nationality = nationalities.get(each.speaker, "")
        if each.gender and nationality:
            group = "/".join((each.gender, nationality, *((each.corpus,) if within_corpus else ())))
            groups[group].add(each.speaker)
            found.append(replace(each, corpus=group))
    kept = [each for each in found if len(groups[each.corpus]) >= min_speakers]
    if not kept:
        largest = max(map(len, groups.values()), default=0)
        raise RecipeError(
            f"trial list 'hard': expected {min_speakers} or more test speakers of one gender and nationality (prepare."
            f"hard_min_speakers), found {largest} at most; document nationalities (a column of prepare.table or "
            "prepare.metadata), test more speakers, or take 'hard' out of prepare.made_trials"
        )
    return kept


def corpus_lists(name: str, trials: Trials, utterances: list[Utterance], models: Models) -> dict[str, Trials]:
    """Return `<name>-<corpus>` -> the trials within each sub-corpus, where there are targets, non-targets and other trials."""
    by_id = {utterance.id: utterance for utterance in utterances}
    parts = trials_by_corpus(trials, [*utterances, *(replace(by_id[theirs[0]], id=model) for model, theirs in models.items())])
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
        raise RecipeError(
            f"calibration trials of the dev speakers: {error}, or change prepare.dev_speakers{_GIVEN_DEV}"
        ) from None
    if len(trials) <= max_trials:
        return trials
    num_target = min(trials.num_target, max_trials // 2)
    rows = [
        rng.permutation(np.flatnonzero(trials.is_target == label))[:num]
        for label, num in ((True, num_target), (False, max_trials - num_target))
    ]
    kept = np.sort(np.concatenate(rows)).tolist()
    return Trials([trials.enrol_ids[i] for i in kept], [trials.test_ids[i] for i in kept], trials.is_target[kept])
