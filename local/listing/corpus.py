"""A corpus that is a list of recordings with their speakers: checks, splits, trials and manifests, however it is laid out.

A corpus module derives its settings from `CorpusSettings`, says there which files there are (`rows`), and takes the functions
of this module for its own. The files are opened in shards of the sorted list, which may run in parallel; all checks between
files, the split and the trials are done in `merge`.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from local.listing import banks, calibration, contents, contradictions, equal, findings, item_lists, lists, notes, shards, splits
from local.listing.drawn_lists import draw_lists, given_item_lists, given_lists, given_models, is_only_scored
from local.listing.files import SETS, Row
from local.listing.given_splits import AUTO
from local.listing.shards import BANKS, Files, Listing, site_root
from local.listing.usable import FeatureRate, listing_faults, usable
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.core.faults import Faults
from steps.data.audio import MONO
from steps.data.enrolment import Models
from steps.data.item_lists import Item
from steps.data.manifests import Utterance
from steps.data.trials import Trials

SHARD_SIZE = 500  # files; fixes the units, whatever the number of jobs
UNIT_SETTINGS = ("check_audio",)  # what a shard depends on, besides the files themselves

_CHANNELS = {"mono": MONO, "first": 0, "second": 1}
_CHOICES = {
    "bad_audio": shards.BAD_AUDIO,
    "few_utterances": ("fail", "exclude"),
    "mixed_sampling_rates": ("fail", "allow"),
    "channel": tuple(_CHANNELS),
    "check_audio": shards.CHECK_AUDIO,
}
_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Where the recordings are, who speaks in them, and what is tested."""

    SPLITS: ClassVar[tuple[str, ...]] = ("made", "test")
    HAS_TRIALS: ClassVar[bool] = False  # whether the corpus itself brings trial lists

    seed: int = 1  # of the splits and trials that are drawn
    corpus: str = ""  # name of the corpus, for people
    root_name: str = "corpus"  # entry of [site] that says where the corpus lies (--data DIR sets site.corpus)
    replace_spaces: str = ""  # what blanks in ids become, such as "_"; "": blanks are an error

    split: str = "made"  # "made" (drawn), "test" (all is test), or another that the corpus knows, by which each file has its set
    test_speakers: float = 0.2  # for "made": below 1 a fraction of the speakers, else their number
    dev_speakers: float = 0.1  # training speakers held out, likewise; passed over where a dev set is given
    dev_min_utterances: int = 4  # utterances; speakers with fewer are not drawn for dev
    train_genders: tuple[str, ...] = ()  # "f", "m": only training speakers of these; empty: all. Dev speakers stay, of both
    min_utterances: int = 2  # utterances of each speaker
    few_utterances: str = "fail"  # "fail" or "exclude": what is done with speakers who have fewer

    trials: str = field("", decides=False)  # list files, ';' between them, in the corpus or relative to the working folder
    trials_root: str = ""  # folder that the paths of a list start with, or lack, against the ids
    enrolment: str = field("", decides=False)  # file of models of several utterances, which the list files may enrol; "" = none
    # likewise files, whose lists the tasks of stage 6 take: lines "<item id> <speaker> <utterance id> ..." to cluster
    clustering: str = field("", decides=False)
    identification: str = field("", decides=False)  # lines "<enrol|test> <speaker> <utterance id>"
    made_enrolment: tuple[int, ...] = ()  # for each number n a list enrol<n>: speakers enrolled with n utterances
    # where none is given: balanced (as VoxCeleb1-O), extended (-E), hard (-H), all_pairs, same_gender; see lists.made_trials
    made_trials: tuple[str, ...] = ("balanced", "all_pairs")
    trials_per_utterance: int = 8  # that enrol each utterance of "balanced", half are targets; of extended and hard half so many
    hard_min_speakers: int = 5  # of one gender and nationality, for them to be in the list "hard"
    cross_session: bool = False  # made target trials only between two sessions
    within_corpus: bool = False  # made trials only within a sub-corpus
    trials_per_corpus: bool = False  # also write the lists <list>-<corpus>
    max_calibration_trials: int = 100_000  # trials of the dev speakers
    calibration: str = "pairs"  # of them: "pairs" (all pairs) or "durations" (as many short/short, short/long and long/long)
    calibration_seconds: tuple[float, ...] = (2.0, 6.0)  # s; short is from the first to the second, long from there on

    bad_audio: str = "fail"  # "fail" or "exclude": what is done with files that cannot be used
    max_bad: float = 0.01  # share of the files; more of them are an error even if excluded
    min_duration: float = 0.025  # s; speech that is shorter cannot be used: it has not one frame of features
    # "decode" (every sample) or "header" (fast; finds neither damage nor silence, and knows audio by its first and last 64 KiB)
    check_audio: str = "decode"
    channel: str = "mono"  # "mono" (more channels are an error), "first" or "second" channel
    sampling_rate: int = 0  # Hz that is expected; 0 = any
    mixed_sampling_rates: str = "fail"  # "fail" or "allow" (features.resample = true brings them to one)

    noise: str = ""  # entry of [site] with noises, which become the set "noise"; "" = none
    noise_subfolder: str = ""  # of that root
    noise_subfolders: tuple[str, ...] = ()  # instead, several of them (MUSAN: "noise")
    music: str = ""  # likewise the set "music"
    music_subfolder: str = ""  # of that root
    music_subfolders: tuple[str, ...] = ()  # instead, several of them (MUSAN: "music")
    rir: str = ""  # likewise the set "rir", room impulse responses; where there is a file rir_list, those that it names
    rir_subfolder: str = ""  # of that root
    rir_subfolders: tuple[str, ...] = ()  # instead, several (RIRS_NOISES: "simulated_rirs/smallroom" ...), equally likely
    babble: str = ""  # likewise the set "babble", speech to make babble of; "" = training speech
    babble_subfolder: str = ""  # of that root
    babble_subfolders: tuple[str, ...] = ()  # instead, several of them (MUSAN: "speech")

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return (entry of [site] that the paths are relative to, where it lies, a row for each file).

        Args:
            root: of the corpus.
            site: the folders of [site].
        """
        raise NotImplementedError

    def check_rows(self, root: Path, rows: Iterable[Row]) -> None:
        """Raise a RecipeError if these are not the files of this corpus; for a published one, whose files are known."""

    def remarks(self, root: Path, rows: Iterable[Row]) -> list[tuple[bool, str]]:
        """Return (as expected?, line) of what is to be said of the files."""
        return []

    def own_lists(self, root: Path) -> dict[str, Path]:
        """Return name -> file of what the corpus itself brings to make trials of."""
        return {}

    def own_trials(self, root: Path, test: list[Utterance]) -> tuple[dict[str, Trials], dict[str, Models]]:
        """Return the trial lists that the corpus itself brings, and the models of several utterances of each; or nothing."""
        return {}, {}

    def own_items(self, root: Path, test: list[Utterance]) -> dict[str, list[Item]]:
        """Return the clustering lists that the corpus itself brings; or nothing."""
        return {}

    def __post_init__(self) -> None:
        splits.check_genders(self.train_genders)
        for name, choices in (_CHOICES | {"split": self.SPLITS}).items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found '{getattr(self, name)}'")
        for name in ("test_speakers", "dev_speakers"):
            if getattr(self, name) > 1 and getattr(self, name) % 1:
                raise ValueError(
                    f"{name}: expected a share below 1, or a whole number of speakers, found {getattr(self, name):g}"
                )
        if self.max_bad > 1:
            raise ValueError(f"max_bad: expected a share from 0 to 1 (0.05 = 5 in 100 files), found {self.max_bad:g}")
        unknown = [kind for kind in self.made_trials if kind not in lists.MADE]
        if unknown:
            raise ValueError(f"made_trials: expected some of {', '.join(lists.MADE)}, found {unknown}")
        if not self.trials and not self.made_trials and not self.HAS_TRIALS:
            raise ValueError("trials, made_trials: expected at least one trial list, found none")
        calibration.check_settings(self.calibration, self.calibration_seconds)
        for name in ("test_speakers", "dev_speakers", "max_bad", "min_duration", "sampling_rate", "hard_min_speakers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        both = [bank for bank in BANKS if getattr(self, f"{bank}_subfolder") and getattr(self, f"{bank}_subfolders")]
        if both:
            raise ValueError(f"{both[0]}_subfolder, {both[0]}_subfolders: expected one of them, found both")
        if self.enrolment and not self.trials:
            raise ValueError("enrolment: expected trials beside it, as the models are those that list files enrol")
        if len(set(self.made_enrolment)) < len(self.made_enrolment) or min(self.made_enrolment, default=1) < 1:
            raise ValueError(f"made_enrolment: expected different numbers of utterances, found {self.made_enrolment}")
        if self.trials_per_utterance < 2 or self.trials_per_utterance % 2:
            raise ValueError(f"trials_per_utterance: expected 2, 4, 6 ... (half are targets), found {self.trials_per_utterance}")


def inventory(settings: CorpusSettings, site: Mapping[str, str]) -> str:
    """Return number and hash of all that the manifests are made from: names and sizes of audio, contents of lists."""
    notes.begin()
    _listing_of.cache_clear()
    named = given_lists(settings, site) | {f"enrolment {name}": path for name, path in given_models(settings, site).items()}
    given = given_item_lists(settings, site)
    named |= {f"{kind} {name}": path for kind, found in given.items() for name, path in found.items()}
    own = settings.own_lists(site_root(site, settings.root_name)) if not settings.trials else {}
    listing = _listing(settings, site)
    # What was drawn before this code used the split that a table gives is another thing.
    is_given = settings.split == AUTO and any(row.split for row in listing["speech"].rows)
    return shards.inventory(listing, named | own) + ", split as given" * is_given


def list_units(settings: CorpusSettings, site: Mapping[str, str]) -> list[str]:
    """Return the names `<kind>.<number>` of the shards of files; ids that cannot be used are refused here."""
    _listing_of.cache_clear()
    lists.say_unused_columns(given_lists(settings, site).values())
    listing = _listing(settings, site)
    settings.check_rows(site_root(site, settings.root_name), listing["speech"].rows)
    for error in listing_faults(listing):  # an error in `merge`, with all that is wrong beside it
        _LOG.warning("will be refused: %s", error)
    return shards.unit_names(listing, SHARD_SIZE)


def prepare_unit(settings: CorpusSettings, site: Mapping[str, str], unit: str, out: Path) -> None:
    """Open the files of one shard; write `utterances.jsonl`, a line per file, and `problems.tsv` of the bad ones."""
    decode = settings.check_audio == "decode"
    shards.open_unit(_listing(settings, site), unit, out, size=SHARD_SIZE, decode=decode)


def changed(settings: CorpusSettings, site: Mapping[str, str], manifests: Path, *, read_all: bool) -> str:
    """Return which audio has other content than finished manifests were made of, in words; "" if none has."""
    return contents.changed(_listing(settings, site), manifests, SHARD_SIZE, read_all=read_all)


def lost(settings: CorpusSettings, site: Mapping[str, str], manifests: Path) -> dict[str, str]:
    """Return what finished manifests should know of their files and do not: name of a file of theirs -> what is wrong."""
    return contents.lost(_listing(settings, site), manifests, SHARD_SIZE)


def recover(settings: CorpusSettings, site: Mapping[str, str], unit: str, manifests: Path, out: Path) -> bool:
    """Do what `prepare_unit` does, from what finished manifests know of the files; False if they do not."""
    return contents.recover(unit, manifests, out)


def merge(
    settings: CorpusSettings,
    site: Mapping[str, str],
    unit_folders: Mapping[str, Path],
    out: Path,
    features: FeatureRate | None = None,
) -> None:
    """Write manifests, trial lists, calibration trials, utt2spk, roots, and problems.tsv and remarks.tsv (findings.py).

    All that is wrong is collected, each check being made as if what the ones before found were repaired, and refused at once.

    Args:
        settings: of the corpus.
        site: the folders of [site].
        unit_folders: the shards.
        out: the folder to write into.
        features: what they are made from, where that is known.
    """
    listing = _listing(settings, site)
    faults = Faults(str(listing["speech"].root))
    found = usable(settings, listing, unit_folders, out, features, faults, any_number=is_only_scored(settings, site))
    gone = findings.left_out(found.opened, found.speech, BANKS)
    sets: dict[str, list[Utterance]] = {}
    if not found.speech:
        faults.check()  # nothing can be said of speakers whose recordings are all bad
    with faults.collected():
        if found.speech or not faults.found:  # else nothing is left to draw speakers of, and why is said
            given = {each.row.id: each.row.split for each in found.opened if each.kind == "speech"}
            sets = _split(settings, found.speech, given)
    drawn = draw_lists(settings, site, listing, out, sets, gone, faults) if sets else None
    if faults.found:
        findings.write(out / findings.PROBLEMS, found.problems)
    faults.check()
    item_lists.write_own(out, settings.own_items(site_root(site, settings.root_name), sets["test"]))
    sets |= shards.bank_sets(found.opened)
    contents.write(out, found.opened, listing, SHARD_SIZE, (each.id for name in sets for each in sets[name]))
    root_names = {name: listing[name if name in BANKS else "speech"].root_name for name in sets}
    made = {"trials": drawn.trials, "calibration": drawn.calibration}
    shards.write_manifests(out, sets, root_names, made, found.problems)
    shards.write_shares(out, found.opened)
    shards.write_pairs(out / "spk2nationality", drawn.nationalities)
    lists.write_enrolment(out / "enrolment", drawn.enrolment, drawn.trials)
    said = lists.scored_only(drawn.trials) + findings.missing_trials(drawn.trials, gone) + findings.remarks(found.opened, listing)
    said += equal.write_equal(out, found.opened, listing["speech"].channel)
    findings.write(out / findings.REMARKS, said)
    remarks = settings.remarks(site_root(site, settings.root_name), listing["speech"].rows)
    for is_expected, line in [*remarks, *banks.remarks(shards.bank_sets(found.opened))]:
        _LOG.log(logging.INFO if is_expected else logging.WARNING, "%s", line)


def _listing(settings: CorpusSettings, site: Mapping[str, str]) -> Listing:
    return _listing_of(settings, tuple(sorted(site.items())))


# A worker does many shards of one listing, and listing a million files takes longer than a shard.
@lru_cache(maxsize=1)
def _listing_of(settings: CorpusSettings, site_items: tuple[tuple[str, str], ...]) -> Listing:
    """Return the files of "speech" and of the banks there are."""
    site = dict(site_items)
    root = site_root(site, settings.root_name)
    audio_root_name, audio_root, rows = settings.rows(root, site)
    if not rows:
        raise RecipeError(f"{root}: the list of recordings is empty; expected at least one; complete it")
    rows = contradictions.checked(rows, str(root))
    speech = Files(
        root_name=audio_root_name,
        root=audio_root,
        rows=sorted(rows, key=lambda row: (row.path, row.id)),
        channel=_CHANNELS[settings.channel],
    )
    root_names = {bank: getattr(settings, bank) for bank in BANKS}
    return {"speech": speech} | shards.bank_files(root_names, site, lambda bank, root: _bank_rows(settings, bank, root))


def _bank_rows(settings: CorpusSettings, bank: str, root: Path) -> list[Row]:
    several = getattr(settings, f"{bank}_subfolders")
    subfolders = several or (getattr(settings, f"{bank}_subfolder"),)
    advice = f"correct site.{getattr(settings, bank)}, or prepare.{bank}_subfolder{'s' * bool(several)}"
    return banks.rows_of(bank, root, subfolders, replace_spaces=settings.replace_spaces, named=bool(several), advice=advice)


def _split(settings: CorpusSettings, utterances: list[Utterance], given: Mapping[str, str]) -> dict[str, list[Utterance]]:
    """Return the utterances of train, dev and test; a set that is empty is not there, but test always is."""
    sets: dict[str, list[Utterance]] = defaultdict(list)
    draw = {"seed": settings.seed}
    is_made = settings.split == "made" or (settings.split == AUTO and not any(given.values()))
    if is_made:
        chosen = splits.draw_speakers(utterances, settings.test_speakers, min_utterances=2, purpose="test", **draw)
    for utterance in utterances:
        if settings.split in ("test", "all"):
            name = "test"
        elif is_made:
            name = "test" if utterance.speaker in chosen else "train"
        else:
            name = given[utterance.id]
        if name not in SETS:
            raise RecipeError(
                f"{utterance.path}: split '{name}'; expected {', '.join(SETS)} for each utterance, as prepare.split = "
                f"{settings.split} says; complete the table, or add --set prepare.split=made to have speakers drawn (or test)"
            )
        sets[name].append(utterance)
    splits.check_disjoint(sets)
    if not sets.get("dev") and sets.get("train"):
        least = settings.dev_min_utterances
        sets["train"], sets["dev"] = splits.hold_out_dev(sets["train"], settings.dev_speakers, min_utterances=least, **draw)
    sets["train"] = splits.of_genders(sets["train"], settings.train_genders) if sets.get("train") else []
    if not sets.get("test"):
        advice = "prepare.test_speakers=0.2" if is_made else "prepare.split=made (speakers are drawn)"
        raise RecipeError(f"no utterance is test data; add --set {advice}, or --set prepare.split=test")
    return {name: sets[name] for name in SETS if sets.get(name)}
