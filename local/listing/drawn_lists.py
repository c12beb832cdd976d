"""The lists of a corpus: of trials, models and items, given ones, its own, or made ones; and trials for the calibration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.listing import calibration, findings, item_lists, lists
from local.listing.files import Row
from local.listing.shards import Listing, Opened, site_root
from steps.core.errors import RecipeError
from steps.core.faults import Faults
from steps.data.enrolment import Models
from steps.data.item_lists import CLUSTERING, IDENTIFICATION
from steps.data.manifests import Utterance
from steps.data.trial_forms import has_labels
from steps.data.trials import Trials

if TYPE_CHECKING:
    from local.listing.corpus import CorpusSettings


_NO_SESSIONS = (
    "prepare.cross_session = true: no recording has a session; expected some, as target trials would be between two; say them in "
    "a column session, in Kaldi's utt2sess, or by a folder (--set prepare.session_level=NUMBER), or leave the setting out"
)


@dataclass(kw_only=True)
class Drawn:
    """The lists of a corpus, and what they are drawn by."""

    trials: dict[str, Trials]
    enrolment: dict[str, Models]
    calibration: dict[str, Trials]
    nationalities: dict[str, str]


def draw_lists(
    settings: "CorpusSettings",
    site: Mapping[str, str],
    listing: Listing,
    out: Path,
    sets: Mapping[str, list[Utterance]],
    gone: list[Opened],
    faults: Faults,
) -> Drawn:
    """Return the lists, as far as `faults` lets them be drawn; those of items to cluster or to identify are written."""
    speech = listing["speech"]
    rows, channel, naming = speech.rows, speech.channel, _naming(settings, speech.root)
    drawn = Drawn(trials={}, enrolment={}, calibration={}, nationalities={})
    draws = bool(sets.get("dev")) or (bool(settings.made_trials) and not settings.trials)
    if settings.cross_session and draws and not any(row.session for row in rows):
        faults.add(RecipeError(_NO_SESSIONS))
        settings = replace(settings, cross_session=False)
    with faults.collected():
        drawn.nationalities = _nationalities(rows)
    with faults.collected(), findings.explained(gone):
        left_out = [each.utterance(channel) for each in gone]
        drawn.trials, drawn.enrolment = _trials(settings, site, sets, drawn.nationalities, left_out, naming)
    with faults.collected():
        drawn.calibration = _calibration(settings, sets.get("dev", []))
    with faults.collected():
        for num in settings.made_enrolment:
            models, trials = lists.enrolled(sets["test"], num, settings.seed, settings.within_corpus)
            drawn.enrolment[f"enrol{num}"], drawn.trials[f"enrol{num}"] = models, trials
    with faults.collected(), findings.explained(gone):
        item_lists.write_given(out, sets, given_item_lists(settings, site), **naming)
    return drawn


def given_lists(settings: "CorpusSettings", site: Mapping[str, str]) -> dict[str, Path]:
    """Return name -> file of the trial lists that settings name."""
    return lists.find_lists("trials", settings.trials, (site_root(site, settings.root_name),))


def given_models(settings: "CorpusSettings", site: Mapping[str, str]) -> dict[str, Path]:
    """Return name -> file of the models that they enrol."""
    return lists.find_lists("enrolment", settings.enrolment, (site_root(site, settings.root_name),))


def given_item_lists(settings: "CorpusSettings", site: Mapping[str, str]) -> dict[str, dict[str, Path]]:
    """Return kind -> name -> file of the lists of items to cluster, and of whom to identify."""
    root = site_root(site, settings.root_name)
    return {kind: lists.find_lists(kind, getattr(settings, kind), (root,)) for kind in (CLUSTERING, IDENTIFICATION)}


def _naming(settings: "CorpusSettings", root: Path) -> dict[str, Any]:
    """Return how lists may name utterances: the arguments of `lists.resolver`."""
    return {
        "prefix": settings.trials_root,
        "replace_spaces": settings.replace_spaces,
        "roots": (root,),
    }


def is_only_scored(settings: "CorpusSettings", site: Mapping[str, str]) -> bool:
    """Return whether nobody needs to know who speaks: all is test data, and no trial list has labels."""
    given = given_lists(settings, site) if settings.split == "test" and not settings.made_enrolment else {}
    return bool(given) and not any(map(has_labels, given.values()))


def _nationalities(rows: Iterable[Row]) -> dict[str, str]:
    """Return speaker -> nationality, of those that have one, and have only one, see `contradictions.checked`."""
    return {row.speaker: row.nationality for row in rows if row.nationality}


def _trials(
    settings: "CorpusSettings",
    site: Mapping[str, str],
    sets: Mapping[str, list[Utterance]],
    nationalities: Mapping[str, str],
    left_out: list[Utterance],
    naming: Mapping[str, Any],
) -> tuple[dict[str, Trials], dict[str, Models]]:
    """Return the trial lists by name, and the models that some enrol: given ones, else the corpus's own and made ones.

    Trials of given lists may name what was left out.
    """
    test, elsewhere = sets["test"], {each.id: name for name in sets if name != "test" for each in sets[name]}
    models = lists.models_of_files(given_models(settings, site).values(), test, **naming)
    options = {**naming, "elsewhere": elsewhere}
    given = given_lists(settings, site)
    found = {name: lists.given_trials(path, [*test, *left_out], models, **options) for name, path in given.items()}
    enrolment = {name: models for name in found if models}
    if not given:
        found, enrolment = settings.own_trials(site_root(site, settings.root_name), test)
    for kind in settings.made_trials if not given else ():
        found[kind] = lists.made_trials(
            kind,
            test,
            seed=settings.seed,
            per_utterance=settings.trials_per_utterance,
            nationalities=nationalities,
            min_speakers=settings.hard_min_speakers,
            cross_session=settings.cross_session,
            within_corpus=settings.within_corpus,
        )
    if settings.trials_per_corpus:
        for name in list(found):
            parts = lists.corpus_lists(name, found[name], [*test, *left_out], enrolment.get(name, {}))
            found |= parts
            enrolment |= {part: enrolment[name] for part in parts if name in enrolment}
    return found, enrolment


def _calibration(settings: "CorpusSettings", dev: list[Utterance]) -> dict[str, Trials]:
    return {"dev": calibration.of_settings(settings, dev)} if dev else {}
