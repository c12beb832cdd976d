"""Corpus "folder": anybody's own recordings, as a folder of speakers, a table, or Kaldi's wav.scp and utt2spk.

With `prepare.table` the table says what there is; else wav.scp, if the corpus has one; else the folders do. Speakers of
sub-corpora are named <corpus>/<speaker>. The files are opened in shards of the sorted list, which may run in parallel;
all checks between files, the split and the trials are done in `merge`.
"""

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from local.listing import files, lists, splits
from local.listing.files import NO_LEVEL, SETS, Row
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.audio import MONO, inspect_audio
from steps.data.manifests import Utterance, check_ids, write_roots, write_set, write_utt2spk
from steps.data.trials import Trials, write_trials

SHARD_SIZE = 500  # files; fixes the units, whatever the number of jobs
BANKS = ("noise", "music", "rir")
UNIT_SETTINGS = ("channel", "check_audio")  # what a shard depends on, besides the files themselves

_CHANNELS = {"mono": MONO, "first": 0, "second": 1}
_CHOICES = {
    "type": ("folder",),
    "split": ("made", "folders", "column", "test"),
    "bad_audio": ("fail", "exclude"),
    "few_utterances": ("fail", "exclude"),
    "mixed_sampling_rates": ("fail", "allow"),
    "channel": tuple(_CHANNELS),
    "check_audio": ("decode", "header"),
}
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the recordings are, who speaks in them, and what is tested."""

    type: str = "folder"  # the word that chooses this corpus
    corpus: str = "folder"  # name of the corpus, for people
    seed: int = 1  # of the splits and trials that are drawn
    root_name: str = "corpus"  # entry of [site] that says where the corpus lies (--data DIR sets site.corpus)
    audio_root_name: str = ""  # entry of [site] that the paths of a table or wav.scp are relative to; "": the corpus
    speaker_level: int = -1  # which folder of a path is the speaker: -1 = the last one, 0 = the first
    corpus_level: int = NO_LEVEL  # which folder names the sub-corpus; -100 = none
    session_level: int = NO_LEVEL  # which folder names the session; -100 = none
    table: str = field("", decides=False)  # CSV or TSV: path, speaker [, id, session, gender, split, corpus]; "" = none
    metadata: str = field("", decides=False)  # CSV or TSV of speakers: speaker [, corpus, gender, split]; "" = none
    replace_spaces: str = ""  # what blanks in ids become, such as "_"; "": blanks are an error

    split: str = "made"  # "made" (drawn), "folders" (the first one is train, dev or test), "column", "test" (all is test)
    test_speakers: float = 0.2  # for "made": below 1 a fraction of the speakers, else their number
    dev_speakers: float = 0.1  # training speakers held out, likewise; passed over where a dev set is given
    dev_min_utterances: int = 4  # utterances; speakers with fewer are not drawn for dev
    min_utterances: int = 2  # utterances of each speaker
    few_utterances: str = "fail"  # "fail" or "exclude": what is done with speakers who have fewer

    trials: str = field("", decides=False)  # list files, ';' between them, in the corpus or relative to the working folder
    trials_root: str = ""  # folder that the paths of a list start with, or lack, against the ids
    made_trials: tuple[str, ...] = ("balanced", "all_pairs")  # where none is given: balanced, all_pairs, same_gender
    trials_per_utterance: int = 8  # trials that enrol each utterance of the balanced list; half are targets
    cross_session: bool = False  # made target trials only between two sessions
    within_corpus: bool = False  # made trials only within a sub-corpus
    trials_per_corpus: bool = False  # also write the lists <list>-<corpus>
    max_calibration_trials: int = 100_000  # trials of the dev speakers

    bad_audio: str = "fail"  # "fail" or "exclude": what is done with files that cannot be used
    max_bad: float = 0.01  # share of the files; more of them are an error even if excluded
    check_audio: str = "decode"  # "decode" (every sample) or "header" (fast, finds neither damage nor silence)
    channel: str = "mono"  # "mono" (more channels are an error), "first" or "second" channel
    sampling_rate: int = 0  # Hz that is expected; 0 = any
    mixed_sampling_rates: str = "fail"  # "fail" or "allow" (features.resample = true brings them to one)

    noise: str = ""  # entry of [site] with noises, which become the set "noise"; "" = none
    noise_subfolder: str = ""  # of that root
    music: str = ""  # likewise the set "music"
    music_subfolder: str = ""  # of that root
    rir: str = ""  # likewise the set "rir", room impulse responses
    rir_subfolder: str = ""  # of that root

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found '{getattr(self, name)}'")
        unknown = [kind for kind in self.made_trials if kind not in lists.MADE]
        if unknown:
            raise ValueError(f"made_trials: expected some of {', '.join(lists.MADE)}, found {unknown}")
        if not self.trials and not self.made_trials:
            raise ValueError("trials, made_trials: expected at least one trial list, found none")
        for name in ("test_speakers", "dev_speakers", "max_bad", "sampling_rate"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.trials_per_utterance < 2 or self.trials_per_utterance % 2:
            raise ValueError(f"trials_per_utterance: expected 2, 4, 6 ... (half are targets), found {self.trials_per_utterance}")


def inventory(settings: Settings, site: Mapping[str, str]) -> str:
    """Return number and hash of all that the manifests are made from: names and sizes of audio, contents of lists."""
    _listing.cache_clear()
    digest, num_files = hashlib.sha256(), 0
    for kind, rows in _rows(settings, site).items():
        root = _audio_root(settings, site, kind)
        for row in rows:
            path = root / row.path
            size = path.stat().st_size if path.is_file() else -1
            digest.update(f"{kind}\t{size}\t{json.dumps(asdict(row), sort_keys=True)}\n".encode())
            num_files += 1
    for name, path in lists.find_lists(settings.trials, _root(settings, site)).items():
        digest.update(f"trials\t{name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{num_files} files, sha256 {digest.hexdigest()[:16]}"


def list_units(settings: Settings, site: Mapping[str, str]) -> list[str]:
    """Return the names `<kind>.<number>` of the shards of files; ids that cannot be used are refused here."""
    _listing.cache_clear()
    lists.find_lists(settings.trials, _root(settings, site))
    units = []
    for kind, rows in _rows(settings, site).items():
        check_ids(((row.id, row.speaker, row.path) for row in rows), str(_audio_root(settings, site, kind)))
        units += [f"{kind}.{number:05d}" for number in range(-(-len(rows) // SHARD_SIZE))]
    return sorted(units)


def prepare_unit(settings: Settings, site: Mapping[str, str], unit: str, out: Path) -> None:
    """Open the files of one shard; write `utterances.jsonl`, a line per file, and `problems.tsv` of the bad ones."""
    kind, _, number = unit.rpartition(".")
    root, first = _audio_root(settings, site, kind), int(number) * SHARD_SIZE
    records = []
    for row in _rows(settings, site)[kind][first : first + SHARD_SIZE]:
        records.append(_record(settings, kind, row, root / row.path))
    with atomic_write(out / "utterances.jsonl") as file:
        file.writelines(json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in records)
    _write_problems(out, [record for record in records if record["problem"]])


def merge(settings: Settings, site: Mapping[str, str], unit_folders: Mapping[str, Path], out: Path) -> None:
    """Write manifests, trial lists, calibration trials, utt2spk, roots, and what was left out as problems.tsv."""
    records = _records(settings, site, unit_folders)
    problems = _problems(settings, records, out)
    speech = [_utterance(settings, record) for record in records if record["kind"] == "speech" and not record["problem"]]
    _check_rates(settings, speech)
    speech, few = _enough(settings, speech)
    sets = _split(settings, speech, {record["row"]["id"]: record["row"]["split"] for record in records})
    trials = _trials(settings, site, sets["test"])
    calibration = _calibration(settings, sets.get("dev", []))
    for record in records:
        if record["kind"] in BANKS and not record["problem"]:
            sets.setdefault(record["kind"], []).append(_utterance(settings, record))
    for name, utterances in sets.items():
        write_set(out / name, utterances)
    write_roots(out, {name: _root_name(settings, name if name in BANKS else "speech") for name in sets})
    utterances = [utterance for name in SETS for utterance in sets.get(name, [])]
    write_utt2spk(out / "utt2spk", utterances)
    _write_spk2gender(out / "spk2gender", utterances)
    for folder, found in (("trials", trials), ("calibration", calibration)):
        for name, list_ in found.items():
            (out / folder).mkdir(exist_ok=True)
            write_trials(out / folder / f"{name}.txt", list_)
    _write_problems(out, problems + few)


def _root(settings: Settings, site: Mapping[str, str], name: str = "") -> Path:
    name = name or settings.root_name
    if not site.get(name):
        raise RecipeError(
            f"prepare: nothing says where the root '{name}' lies; give the folder with --data DIR (for site.corpus), or set "
            f"site.{name} in conf/site.toml or with --set site.{name}=DIR"
        )
    root = Path(site[name])
    if not root.is_dir():
        raise RecipeError(f"site.{name} = {root}: no such folder; correct the path (or --data DIR)")
    return root


def _root_name(settings: Settings, kind: str) -> str:
    return getattr(settings, kind) if kind in BANKS else settings.audio_root_name or settings.root_name


def _audio_root(settings: Settings, site: Mapping[str, str], kind: str) -> Path:
    return _root(settings, site, _root_name(settings, kind))


def _rows(settings: Settings, site: Mapping[str, str]) -> dict[str, list[Row]]:
    return _listing(settings, tuple(sorted(site.items())))


# A worker does many shards of one listing, and listing a million files takes longer than a shard.
@lru_cache(maxsize=1)
def _listing(settings: Settings, site_items: tuple[tuple[str, str], ...]) -> dict[str, list[Row]]:
    """Return rows by kind ("speech" and the banks there are), sorted by path."""
    site = dict(site_items)
    root = _root(settings, site)
    if settings.table:
        table = files.find_file(settings.table, root)
        rows = files.rows_of_table(_audio_root(settings, site, "speech"), table, settings.replace_spaces)
    elif (root / "wav.scp").is_file():
        rows = files.rows_of_kaldi(root, _audio_root(settings, site, "speech"))
    else:
        layout = files.Layout(
            speaker_level=settings.speaker_level,
            session_level=settings.session_level,
            corpus_level=settings.corpus_level,
            has_split_folders=settings.split == "folders",
            replace_spaces=settings.replace_spaces,
        )
        rows = files.rows_of_folders(root, layout)
    if not rows:
        raise RecipeError(f"{root}: the list of recordings is empty; expected at least one; complete it")
    if settings.metadata:
        rows = files.with_metadata(rows, files.find_file(settings.metadata, root), settings.replace_spaces)
    listing = {"speech": sorted(rows, key=lambda row: (row.path, row.id))}
    for bank in BANKS:
        name = getattr(settings, bank)
        if name and not site.get(name):
            logging.getLogger(__name__).warning("site.%s is not set: no set '%s' is made", name, bank)
        elif name:
            listing[bank] = _bank_rows(settings, _root(settings, site, name), bank)
    return listing


def _bank_rows(settings: Settings, root: Path, bank: str) -> list[Row]:
    prefix = getattr(settings, f"{bank}_subfolder").strip("/")
    rows = files.rows_of_bank(root, prefix, settings.replace_spaces)
    if not rows:
        raise RecipeError(
            f"{root / prefix}: no audio file for the set '{bank}'; correct site.{getattr(settings, bank)}, or "
            f"prepare.{bank}_subfolder"
        )
    return rows


def _records(settings: Settings, site: Mapping[str, str], unit_folders: Mapping[str, Path]) -> list[dict]:
    """Return a record per file: those of the shards, but bad files and files changed since are opened (once more)."""
    known = {}
    for folder in unit_folders.values():
        for line in (folder / "utterances.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            known[record["kind"], record["row"]["id"]] = record
    records = []
    for kind, rows in _rows(settings, site).items():
        root = _audio_root(settings, site, kind)
        for row in rows:
            record = known.get((kind, row.id), {"problem": "not opened yet"})
            if record["problem"] or record["file"] != _state(root / row.path):
                record = _record(settings, kind, row, root / row.path)
            records.append(record | {"row": asdict(row)})
    return records


def _record(settings: Settings, kind: str, row: Row, path: Path) -> dict:
    return {"kind": kind, "row": asdict(row), "file": _state(path)} | _inspect(settings, kind, path)


def _state(path: Path) -> str:
    """Return what changes if a file does: name, size and time."""
    status = path.stat() if path.exists() else None
    return f"{path}, {status.st_size} bytes, {status.st_mtime_ns} ns" if status else f"{path}, absent"


def _inspect(settings: Settings, kind: str, path: Path) -> dict:
    # Measured room responses come with many channels; one of them is as good as another.
    channel = _CHANNELS[settings.channel] if kind == "speech" else 0
    info, problem = inspect_audio(path, decode=settings.check_audio == "decode", channel=channel)
    sizes = asdict(info) if info else {"sampling_rate": 0, "num_samples": 0, "num_channels": 0}
    return sizes | {"problem": problem}


def _utterance(settings: Settings, record: dict) -> Utterance:
    row = record["row"]
    return Utterance(
        **{name: row[name] for name in ("id", "speaker", "gender", "session", "corpus", "path")},
        **{name: record[name] for name in ("sampling_rate", "num_samples", "num_channels")},
        channel=max(0, _CHANNELS[settings.channel]) if record["kind"] == "speech" else 0,
    )


def _problems(settings: Settings, records: list[dict], out: Path) -> list[dict]:
    """Return the records of bad files, or refuse them."""
    bad = [record for record in records if record["problem"]]
    if not bad or (settings.bad_audio == "exclude" and len(bad) <= settings.max_bad * len(records)):
        return bad
    _write_problems(out, bad)
    shown = "; ".join(f"{record['row']['path']} {record['problem']}" for record in bad[:_NUM_SHOWN])
    limit = f" (prepare.max_bad = {settings.max_bad:g})" if settings.bad_audio == "exclude" else ""
    raise RecipeError(
        f"{len(bad)} of {len(records)} audio files cannot be used{limit}: {shown}{'; ...' if len(bad) > _NUM_SHOWN else ''}; "
        f'the whole list is in {out / "problems.tsv"}; repair or remove them, or set prepare.bad_audio = "exclude" and '
        "prepare.max_bad (for files with two channels: prepare.channel)"
    )


def _check_rates(settings: Settings, utterances: list[Utterance]) -> None:
    if settings.mixed_sampling_rates == "allow":
        return
    counts = Counter(utterance.sampling_rate for utterance in utterances)
    expected = settings.sampling_rate or (counts.most_common(1)[0][0] if counts else 0)
    if set(counts) <= {expected}:
        return
    first = next(utterance for utterance in utterances if utterance.sampling_rate != expected)
    found = ", ".join(f"{rate} Hz in {count} files" for rate, count in sorted(counts.items()))
    raise RecipeError(
        f"sampling rates: expected {expected} Hz in all files, found {found}; for example {first.path} has "
        f'{first.sampling_rate} Hz; convert the files, or set prepare.mixed_sampling_rates = "allow" and '
        "features.resample = true"
    )


def _enough(settings: Settings, utterances: list[Utterance]) -> tuple[list[Utterance], list[dict]]:
    """Return (utterances of speakers who have enough, records of the others), or refuse the others."""
    few = splits.too_few(utterances, settings.min_utterances)
    if few and settings.few_utterances == "fail":
        shown = ", ".join(f"{speaker} ({num})" for speaker, num in list(few.items())[:_NUM_SHOWN])
        raise RecipeError(
            f"{len(few)} speakers have fewer than prepare.min_utterances = {settings.min_utterances} utterances: {shown}"
            f"{', ...' if len(few) > _NUM_SHOWN else ''}; add recordings, check prepare.speaker_level, set "
            'prepare.few_utterances = "exclude", or lower prepare.min_utterances'
        )
    what = f"its speaker has fewer than {settings.min_utterances} utterances"
    left_out = [{"kind": "speech", "row": asdict(item), "problem": what} for item in utterances if item.speaker in few]
    return [utterance for utterance in utterances if utterance.speaker not in few], left_out


def _split(settings: Settings, utterances: list[Utterance], given: Mapping[str, str]) -> dict[str, list[Utterance]]:
    """Return the utterances of train, dev and test; a set that is empty is not there, but test always is."""
    sets: dict[str, list[Utterance]] = defaultdict(list)
    draw = {"seed": settings.seed}
    if settings.split == "made":
        chosen = splits.draw_speakers(utterances, settings.test_speakers, min_utterances=2, purpose="test", **draw)
    for utterance in utterances:
        if settings.split == "test":
            name = "test"
        elif settings.split == "made":
            name = "test" if utterance.speaker in chosen else "train"
        else:
            name = given[utterance.id]
        if name not in SETS:
            raise RecipeError(
                f"{utterance.path}: split '{name}'; expected {', '.join(SETS)} for each utterance, as prepare.split = "
                f'"{settings.split}" says; complete the table, or set prepare.split'
            )
        sets[name].append(utterance)
    splits.check_disjoint(sets)
    if settings.dev_speakers and not sets.get("dev") and sets.get("train"):
        least = settings.dev_min_utterances
        chosen = splits.draw_speakers(sets["train"], settings.dev_speakers, min_utterances=least, purpose="dev", **draw)
        sets["dev"] = [utterance for utterance in sets["train"] if utterance.speaker in chosen]
        sets["train"] = [utterance for utterance in sets["train"] if utterance.speaker not in chosen]
    if not sets.get("test"):
        raise RecipeError('no utterance is test data; set prepare.test_speakers, or prepare.split = "test"')
    return {name: sets[name] for name in SETS if sets.get(name)}


def _trials(settings: Settings, site: Mapping[str, str], test: list[Utterance]) -> dict[str, Trials]:
    """Return the trial lists by name."""
    options = {"prefix": settings.trials_root, "replace_spaces": settings.replace_spaces}
    given = lists.find_lists(settings.trials, _root(settings, site))
    found = {name: lists.given_trials(path, test, **options) for name, path in given.items()}
    for kind in settings.made_trials if not given else ():
        found[kind] = lists.made_trials(
            kind,
            test,
            seed=settings.seed,
            per_utterance=settings.trials_per_utterance,
            cross_session=settings.cross_session,
            within_corpus=settings.within_corpus,
        )
    if settings.trials_per_corpus:
        for name in list(found):
            found |= lists.corpus_lists(name, found[name], test)
    return found


def _calibration(settings: Settings, dev: list[Utterance]) -> dict[str, Trials]:
    if not dev:
        return {}
    limits = {"max_trials": settings.max_calibration_trials, "cross_session": settings.cross_session}
    return {"dev": lists.calibration_trials(dev, seed=settings.seed, **limits)}


def _write_spk2gender(path: Path, utterances: list[Utterance]) -> None:
    genders = {utterance.speaker: utterance.gender for utterance in utterances if utterance.gender}
    if genders:
        with atomic_write(path) as file:
            file.writelines(f"{speaker} {gender}\n" for speaker, gender in sorted(genders.items()))


def _write_problems(out: Path, records: list[dict]) -> None:
    """Write lines `<kind> <path> <what is wrong>` between tabs, sorted; no file if there are none."""
    if records:
        lines = sorted(f"{record['kind']}\t{record['row']['path']}\t{record['problem']}\n" for record in records)
        with atomic_write(out / "problems.tsv") as file:
            file.writelines(lines)
