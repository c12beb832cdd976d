"""Corpus "voxceleb": VoxCeleb1 and 2 as they are distributed, with the published trial lists.

Training utterances are those of the development set that `prepare.train` names; test utterances are those that the trial
lists name, all of VoxCeleb1. The files are opened in shards of the sorted lists, which may run in parallel; sets, trials and
the comparison with the documented counts are made in `merge`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from local.celebrities import identification, trial_lists
from local.celebrities.comparison import comparison
from local.celebrities.first_release import people
from local.celebrities.metadata import Speaker, find_metadata, read_speakers
from local.celebrities.tree import VOX1, VOX2, Tree, expected_layout, find_rows
from local.listing import banks, calibration, contents, equal, findings, lists, shards, splits
from local.listing.documented import Counts
from local.listing.files import SETS, Row
from local.listing.shards import BANKS, Files, Listing, Opened, site_root
from local.listing.usable import FeatureRate
from steps.core.config import field, option
from steps.core.errors import RecipeError
from steps.core.faults import Faults
from steps.data.audio import MONO
from steps.data.manifests import Utterance

SHARD_SIZE = 1000  # files; fixes the units, whatever the number of jobs
UNIT_SETTINGS = ("train", "split", "check_audio")  # what a shard depends on, besides the files themselves

_CHOICES = {
    "type": ("voxceleb",),
    "train": ("vox2_dev", "vox1_dev", "both", identification.NAME),
    "split": ("published", "test"),
    "other_lists": ("refuse", "warn"),
    "bad_audio": shards.BAD_AUDIO,
    "check_audio": shards.CHECK_AUDIO,
}
_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where VoxCeleb lies, what is trained on and what is tested."""

    type: str = "voxceleb"  # the word that chooses this corpus
    seed: int = 1  # of the dev speakers and the calibration trials
    vox1_folder: str = "vox1"  # VoxCeleb1 below site.corpus, where site.voxceleb1 does not say where it lies
    vox2_folder: str = "vox2"  # likewise VoxCeleb2 and site.voxceleb2

    # "vox2_dev", "vox1_dev" (never with lists that test on it), "both", or "vox1_identification": part 1 of `identification`, of
    # all speakers of VoxCeleb1; dev is then part 2 and test part 3, of the same speakers
    train: str = "vox2_dev"
    train_genders: tuple[str, ...] = ()  # "f", "m": only training speakers of these; empty: all. Dev speakers stay, of both
    split: str = "published"  # "published", or "test": no training data, as for a model that is there already
    dev_speakers: float = 40.0  # training speakers held out: below 1 a fraction of them, else their number
    dev_min_utterances: int = 4  # utterances; speakers with fewer are not drawn for dev

    trials: str = field("", decides=False)  # list files, ';' between them; "": those published ones that are there
    identification: str = field("", decides=False)  # file "iden_split.txt": identification of VoxCeleb1's speakers; "" = none
    other_lists: str = field("refuse", decides=False)  # lists that are not those published by their name: "refuse" or "warn"
    cross_session: bool = False  # made target trials (dev) only between two videos; 11 % in the published lists are not
    max_calibration_trials: int = 30_000  # trials of the dev speakers
    calibration: str = "pairs"  # of them: "pairs" (all pairs) or "durations" (as many short/short, short/long and long/long)
    calibration_seconds: tuple[float, ...] = (2.0, 6.0)  # s; short is from the first to the second, long from there on

    bad_audio: str = "fail"  # "fail" or "exclude": what is done with files that cannot be used
    max_bad: float = 0.01  # share of the files; more of them are an error even if excluded
    min_duration: float = 0.025  # s; speech that is shorter cannot be used: it has not one frame of features
    check_audio: str = "decode"  # "decode" (every sample) or "header" (fast, finds neither damage nor silence)
    sampling_rate: int = 16000  # Hz that is expected of speech; 0 = any, but the same in all files

    noise: str = "noise"  # entry of [site] with MUSAN, for the set "noise"; "" = none
    noise_subfolders: tuple[str, ...] = ("noise",)  # of that root
    music: str = "noise"  # likewise the set "music"
    music_subfolders: tuple[str, ...] = ("music",)  # of that root
    rir: str = "rir"  # entry of [site] with RIRS_NOISES, for the set "rir"; "" = none
    rir_subfolders: tuple[str, ...] = ("simulated_rirs/smallroom", "simulated_rirs/mediumroom")  # of that root; equally likely
    babble: str = ""  # entry of [site] with MUSAN, for the set "babble"; "": babble is made of training speech
    babble_subfolders: tuple[str, ...] = ("speech",)  # of that root

    def __post_init__(self) -> None:
        splits.check_genders(self.train_genders)
        calibration.check_settings(self.calibration, self.calibration_seconds)
        self._check_identification()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found '{getattr(self, name)}'")
        for name in ("dev_speakers", "max_bad", "min_duration", "sampling_rate"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.dev_speakers > 1 and self.dev_speakers % 1:
            raise ValueError(
                f"dev_speakers: expected a share below 1, or a whole number of speakers, found {self.dev_speakers:g}"
            )
        if self.max_bad > 1:
            raise ValueError(f"max_bad: expected a share from 0 to 1 (0.05 = 5 in 100 files), found {self.max_bad:g}")
        for bank in BANKS:
            if getattr(self, bank) and not getattr(self, f"{bank}_subfolders"):
                raise ValueError(f"{bank}_subfolders: expected at least one folder, found none")

    def _check_identification(self) -> None:
        if self.train == identification.NAME and (not self.identification or self.trials or self.train_genders):
            raise ValueError(
                f'train: "{self.train}" expects identification = "iden_split.txt", and neither trials nor train_genders'
            )
        if self.identification and self.split != "test" and self.train in ("vox1_dev", "both"):
            raise ValueError(f'identification: expected train = "vox2_dev" or "{identification.NAME}", found "{self.train}"')

    @property
    def by_split(self) -> bool:
        """Whether training, dev and test set are the parts of the identification split."""
        return self.train == identification.NAME and self.split != "test"

    @property
    def train_trees(self) -> tuple[Tree, ...]:
        """The corpora that are trained on."""
        if self.split == "test":
            return ()
        return {"vox1_dev": (VOX1,), "vox2_dev": (VOX2,), "both": (VOX1, VOX2), identification.NAME: (VOX1,)}[self.train]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What is on disk."""

    files: Listing  # "vox1", "vox2" and the banks; rows have the split "train" or "test"
    lists: dict[str, Path]  # name -> trial list
    named: dict[str, frozenset[str]]  # name -> ids of the utterances in that list
    sizes: dict[str, Counts]  # documented set -> what was found of it
    speakers: dict[str, Speaker]  # of the metadata
    people: dict[str, str]  # of these: name of a person -> speaker
    splits: dict[str, Path]  # the identification split, if there is one
    parts: Mapping[str, str]  # of that: utterance -> "1", "2" or "3"


def inventory(settings: Settings, site: Mapping[str, str]) -> str:
    """Return number and hash of all that the manifests are made from: names and sizes of audio, contents of lists."""
    _corpus_of.cache_clear()
    corpus = _corpus(settings, site)
    return shards.inventory(corpus.files, corpus.lists | {f"identification {name}": path for name, path in corpus.splits.items()})


def list_units(settings: Settings, site: Mapping[str, str]) -> list[str]:
    """Return the names `<kind>.<number>` of the shards of files; a corpus that lacks what it needs is refused here."""
    _corpus_of.cache_clear()
    corpus = _corpus(settings, site)
    _check_lists(corpus)
    if settings.other_lists == "refuse":
        for name, path in corpus.lists.items():
            trial_lists.check_published(path, name, corpus.named[name], corpus.people)
    return shards.units(corpus.files, SHARD_SIZE)


def prepare_unit(settings: Settings, site: Mapping[str, str], unit: str, out: Path) -> None:
    """Open the files of one shard; write `utterances.jsonl`, a line per file, and `problems.tsv` of the bad ones."""
    decode = settings.check_audio == "decode"
    shards.open_unit(_corpus(settings, site).files, unit, out, size=SHARD_SIZE, decode=decode)


def changed(settings: Settings, site: Mapping[str, str], manifests: Path, *, read_all: bool) -> str:
    """Return which audio has other content than finished manifests were made of, in words; "" if none has."""
    return contents.changed(_corpus(settings, site).files, manifests, SHARD_SIZE, read_all=read_all)


def lost(settings: Settings, site: Mapping[str, str], manifests: Path) -> dict[str, str]:
    """Return what finished manifests should know of their files and do not: name of a file of theirs -> what is wrong."""
    return contents.lost(_corpus(settings, site).files, manifests, SHARD_SIZE)


def recover(settings: Settings, site: Mapping[str, str], unit: str, manifests: Path, out: Path) -> bool:
    """Do what `prepare_unit` does, from what finished manifests know of the files; False if they do not."""
    return contents.recover(unit, manifests, out)


def merge(
    settings: Settings,
    site: Mapping[str, str],
    unit_folders: Mapping[str, Path],
    out: Path,
    features: FeatureRate | None = None,
) -> None:
    """Write manifests, trial lists, calibration trials, utt2spk, spk2gender, spk2nationality, roots, and what was found."""
    corpus = _corpus(settings, site)
    opened = shards.read_units(corpus.files, unit_folders, decode=settings.check_audio == "decode")
    opened = findings.with_short_ones(opened, settings.min_duration, BANKS)
    opened = [each.judged(corpus.files[each.kind].channel) for each in opened]
    bad, faults = findings.problems(opened), Faults("VoxCeleb")
    with faults.collected():
        findings.refuse_bad(opened, out, bad_audio=settings.bad_audio, max_bad=settings.max_bad)
    with faults.collected():
        speech = [each.utterance(MONO) for each in opened if each.kind not in BANKS and not each.problem]
        wanted = features.sampling_rate if features is not None and not features.resample else 0
        shards.check_rates(speech, settings.sampling_rate, "prepare.sampling_rate", wanted)
    faults.check()
    gone = [each for each in opened if each.problem and each.kind not in BANKS]
    sets = _sets(settings, opened)
    test = sets.get("test", [])
    tested = [*test, *(each.utterance(MONO) for each in gone)]
    if corpus.parts:
        with findings.explained(gone):
            identification.write_list(out, corpus.parts, sets)
        _LOG.info("%s", identification.remark(corpus.parts)[1])
    trials = {name: trial_lists.read(path, tested, corpus.people) for name, path in corpus.lists.items()}
    if settings.by_split:  # a list of speakers who are trained on, since stage 6 needs one
        drawn = {"seed": settings.seed, "per_utterance": 8, "cross_session": False}
        trials = {f"{identification.NAME}_seen": lists.made_trials("balanced", test, **drawn)}
    held_out = {"dev": calibration.of_settings(settings, sets["dev"])} if "dev" in sets else {}
    found = {"trials": trials, "calibration": held_out}
    sets |= shards.bank_sets(opened)
    contents.write(out, opened, corpus.files, SHARD_SIZE, (each.id for name in sets for each in sets[name]))
    shards.write_manifests(out, sets, {name: _root_name(corpus, name) for name in sets}, found, bad)
    shards.write_shares(out, opened)
    _write_nationalities(corpus, sets, out)
    said = lists.scored_only(trials) + findings.missing_trials(trials, gone) + findings.remarks(opened, corpus.files)
    said += equal.write_equal(out, opened, MONO)
    findings.write(out / findings.REMARKS, said)
    for is_expected, line in [*comparison(corpus, sets, trials), *banks.remarks(shards.bank_sets(opened))]:
        _LOG.log(logging.INFO if is_expected else logging.WARNING, "%s", line)


def _corpus(settings: Settings, site: Mapping[str, str]) -> Corpus:
    return _corpus_of(settings, tuple(sorted(site.items())))


# A worker does many shards of one listing, and listing a million files takes longer than a shard.
@lru_cache(maxsize=1)
def _corpus_of(settings: Settings, site_items: tuple[tuple[str, str], ...]) -> Corpus:
    """Return what is on disk, or refuse it: audio, lists and metadata, and that nobody who is tested is trained on."""
    site = dict(site_items)
    places = _places(settings, site)
    speakers: dict[str, Speaker] = {}
    for tree in (VOX1, VOX2):
        path = find_metadata(tree.metadata, places)
        speakers |= read_speakers(path, tree.id_column) if path else {}
    found = {VOX1.name: _tree_files(settings, site, VOX1, speakers)}
    listed = {} if settings.by_split else trial_lists.find(settings.trials, places)
    known = people(speakers)
    named = {name: trial_lists.named(path, known) for name, path in listed.items()}
    _check_disjoint(settings, found[VOX1.name].rows, listed, named)
    given = lists.find_lists("identification", settings.identification, places)
    parts = next((identification.read_split(path, path.stat().st_mtime_ns) for path in given.values()), {})
    if VOX2 in settings.train_trees:
        found[VOX2.name] = _tree_files(settings, site, VOX2, speakers)
    sizes = {}
    for tree_name, each in found.items():
        for part in sorted({row.split for row in each.rows}):
            rows = [row for row in each.rows if row.split == part]
            sizes[f"{tree_name}_{part}"] = Counts(speakers=len({row.speaker for row in rows}), utterances=len(rows))
    files = {name: replace(each, rows=_used(settings, name, each.rows, named, parts)) for name, each in found.items()}
    _check_one_root(settings, files)
    root_names = {bank: getattr(settings, bank) for bank in BANKS}
    files |= shards.bank_files(root_names, site, lambda bank, root: _bank_rows(settings, bank, root))
    return Corpus(
        files=files, lists=listed, named=named, sizes=sizes, speakers=speakers, people=known, splits=given, parts=parts,
    )  # fmt: skip


def _place(settings: Settings, site: Mapping[str, str], tree: Tree) -> tuple[str, Path, str]:
    """Return (name of the root in [site], the root, the corpus's folder below it)."""
    if site.get(tree.site_name):
        return tree.site_name, site_root(site, tree.site_name), ""
    if not site.get("corpus"):
        raise RecipeError(
            f"prepare: nothing says where {tree.title} lies; give the folder that holds {settings.vox1_folder}/ and "
            f"{settings.vox2_folder}/ with --data DIR (for site.corpus), or set site.{tree.site_name} in conf/site.toml or with "
            f"--set site.{tree.site_name}=DIR"
        )
    folder = {VOX1: settings.vox1_folder, VOX2: settings.vox2_folder}[tree].strip("/")
    return "corpus", site_root(site, "corpus"), folder


def _places(settings: Settings, site: Mapping[str, str]) -> list[Path]:
    """Return the folders in which lists and metadata are looked for."""
    roots = [Path(site["corpus"])] if site.get("corpus") else []
    for tree in (VOX1, VOX2):
        if tree is VOX1 or site.get(tree.site_name) or site.get("corpus"):
            _, root, folder = _place(settings, site, tree)
            roots.append(root / folder)
    return list(dict.fromkeys(place for root in roots for place in (root, root / "meta")))


def _tree_files(settings: Settings, site: Mapping[str, str], tree: Tree, speakers: Mapping[str, Speaker]) -> Files:
    """Return all files of VoxCeleb1, or those of the development set of VoxCeleb2; split = part."""
    root_name, root, folder = _place(settings, site, tree)
    parts = ("dev", "test") if tree is VOX1 else ("dev",)
    rows = find_rows(tree, root, folder, speakers, parts)
    if not rows or (tree in settings.train_trees and all(row.split != "dev" for row in rows)):
        what = f"of the {'development set of ' if rows or tree is VOX2 else ''}{tree.title}"
        raise RecipeError(
            f"{root / folder}: no audio {what} there; expected {expected_layout(tree, root / folder)}; give the folder that "
            f"holds {settings.vox1_folder}/ and {settings.vox2_folder}/ with --data DIR, or set site.{tree.site_name}"
            + ("" if tree is VOX1 else ", or add --set prepare.split=test to do without training data")
        )
    return Files(root_name=root_name, root=root, rows=rows, channel=MONO)


def _check_disjoint(settings: Settings, rows: list[Row], files: Mapping[str, Path], named: Mapping[str, frozenset[str]]) -> None:
    """Raise a RecipeError if a list tests on speakers that are trained on."""
    if VOX1 not in settings.train_trees:
        return
    trained_on = {row.speaker for row in rows if row.split == "dev"}
    shared = {name: {utterance.partition("/")[0] for utterance in ids} & trained_on for name, ids in named.items()}
    bad = {name: len(speakers) for name, speakers in shared.items() if speakers}
    if bad:
        good = [name for name in files if name not in bad]
        advice = f"add {option('prepare.trials', ';'.join(files[name].name for name in good))}" if good else "give other lists"
        raise RecipeError(
            f'prepare.train = "{settings.train}" trains on the development set of VoxCeleb1, and its speakers are tested in '
            f"{', '.join(f'{files[name]} ({num} speakers)' for name, num in bad.items())}; expected that nobody is in "
            f"both, as error rates would mean nothing; {advice}, or add --set prepare.train=vox2_dev"
        )


def _used(
    settings: Settings, tree_name: str, rows: list[Row], named: Mapping[str, frozenset[str]], parts: Mapping[str, str]
) -> list[Row]:
    """Return the rows that are trained on or tested, with that as their split."""
    if settings.by_split:
        return [replace(row, split=identification.SETS[parts[row.id]]) for row in rows if row.id in parts]
    is_trained = tree_name in {tree.name for tree in settings.train_trees}
    tested = (
        frozenset(name for name, part in parts.items() if part != "2").union(*named.values())
        if tree_name == VOX1.name
        else frozenset()
    )
    used = []
    for row in rows:
        if row.id in tested:
            used.append(replace(row, split="test"))
        elif is_trained and row.split == "dev":
            used.append(replace(row, split="train"))
    return used


def _check_one_root(settings: Settings, files: Listing) -> None:
    names = {files[tree.name].root_name for tree in settings.train_trees}
    if len(names) > 1:
        where = " and ".join(f"site.{name}" for name in sorted(names))
        raise RecipeError(
            f'prepare.train = "{settings.train}": the training set lies below {where}; '
            "expected one root for a set; put links to both into one folder, as vox1 and vox2, and give it with --data DIR, "
            "without these entries of [site]"
        )


def _check_lists(corpus: Corpus) -> None:
    """Raise a RecipeError if a list names an utterance that is not there."""
    there = {row.id for row in corpus.files[VOX1.name].rows}
    for path in corpus.splits.values():
        identification.check_there(path, corpus.parts, there | {name for name, part in corpus.parts.items() if part == "2"})
    for name, ids in corpus.named.items():
        trial_lists.check_there(corpus.lists[name], ids, there, corpus.files[VOX1.name].root)


def _bank_rows(settings: Settings, bank: str, root: Path) -> list[Row]:
    advice = f"correct site.{getattr(settings, bank)} or prepare.{bank}_subfolders"
    advice += f", or add --set prepare.{bank}= to do without"
    return banks.rows_of(bank, root, getattr(settings, f"{bank}_subfolders"), named=True, advice=advice)


def _sets(settings: Settings, opened: list[Opened]) -> dict[str, list[Utterance]]:
    """Return the sets train, dev and test, those that are not empty."""
    speech = [(each.row.split, each.utterance(MONO)) for each in opened if each.kind not in BANKS and not each.problem]
    if settings.by_split:
        sets = {name: [item for split, item in speech if split == name] for name in SETS}
        identification.check_apart(sets)
        return {name: utterances for name, utterances in sets.items() if utterances}
    train, test = ([item for split, item in speech if split == name] for name in ("train", "test"))
    if train:
        least = settings.dev_min_utterances
        train, dev = splits.hold_out_dev(train, settings.dev_speakers, min_utterances=least, seed=settings.seed)
        train = splits.of_genders(train, settings.train_genders)
    sets = {"train": train, "dev": dev if train else [], "test": test}
    splits.check_disjoint(sets)
    return {name: utterances for name, utterances in sets.items() if utterances}


def _root_name(corpus: Corpus, set_name: str) -> str:
    """Return the entry of [site] that the paths of a set are relative to."""
    if set_name in BANKS:
        return corpus.files[set_name].root_name
    split = "test" if set_name == "test" else "train"
    return next(found.root_name for found in corpus.files.values() if any(row.split == split for row in found.rows))


def _write_nationalities(corpus: Corpus, sets: Mapping[str, list[Utterance]], out: Path) -> None:
    speakers = {utterance.speaker for name in SETS for utterance in sets.get(name, [])}
    entries = {name: corpus.speakers[name].nationality for name in speakers & corpus.speakers.keys()}
    shards.write_pairs(out / "spk2nationality", entries)
