"""Stage 3: noise, music, babble, rooms, codecs and speed for training.

Reads manifests (and the audio below the roots of [site]).
Writes, by `augment.mode`:
  online   a bank of sounds at the training rate, as Kaldi wav arks: speech/ (the training set itself, unless `store_speech`
           is false), noise/, music/, rir/, babble/ (those there are; with `shares` where not all are equally likely); training
           draws from it for every example
  copies   train/feats.<shard>.ark and feats.scp of augmented copies of every training utterance, train/utt2spk, and
           train/augmentation.tsv, which says what was done to each
  none     nothing but mode.json
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.core.stage import ONE_UNIT, Input, Job, Stage
from steps.monitor.agreement import check_storage
from steps.signal.settings import FEATURES, Augment

if TYPE_CHECKING:
    from steps.data.manifests import Utterance

SHARD_SIZE = 100  # utterances; fixes the files, and so the bytes, whatever the number of jobs
BANK_SETS = {
    "speech": "train",
    "noise": "noise",
    "music": "music",
    "rir": "rir",
    "babble": "babble",
}  # kind of sound -> set of the manifests


def units(job: Job) -> list[str]:
    """Names `<kind>.<shard>`: sounds of the bank, or training utterances to make copies of."""
    from steps.data.manifests import has_set, read_set

    settings, manifests = job.settings.augment, job.input("manifests")
    if settings.mode == "none":
        return [ONE_UNIT]
    if not has_set(manifests, BANK_SETS["speech"]):
        raise RecipeError(
            f"{manifests}: holds no set '{BANK_SETS['speech']}' to augment; run stage 1 with a corpus that has one, or add "
            "--set augment.mode=none"
        )
    _check_sounds(job)
    check_storage(job.settings)
    kinds = [kind for kind, name in BANK_SETS.items() if has_set(manifests, name)]
    shards = {kind: -(-len(read_set(manifests, BANK_SETS[kind])) // SHARD_SIZE) for kind in kinds}
    if settings.mode == "copies":
        return [f"train.{shard:05d}" for shard in range(shards["speech"])]
    stored = [kind for kind in kinds if kind != "speech" or settings.store_speech]
    return [f"{kind}.{shard:05d}" for kind in stored for shard in range(shards[kind])] or [ONE_UNIT]


def _check_sounds(job: Job) -> None:
    """Raises RecipeError if the corpus lacks sounds that the settings ask for, before anything is computed."""
    from steps.signal.policy import check_bank

    try:
        check_bank(job.settings.augment, CorpusBank(job))
    except ValueError as error:
        raise RecipeError(
            f"{job.input('manifests')}: {error}; take it out of [augment], or prepare a corpus with such sounds (stage 1)"
        ) from None


def work(job: Job, unit: str) -> None:
    """One shard of the bank, or the copies of one shard of utterances."""
    if unit == ONE_UNIT:  # nothing to store
        return
    kind, _, shard = unit.rpartition(".")
    if job.settings.augment.mode == "online":
        _write_sounds(job, kind, int(shard))
    else:
        _write_copies(job, int(shard))


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """One scp per kind of sound, or one scp, utt2spk and table of the copies."""
    from steps.data.shards import merge_shards
    from steps.examples.bank import SHARES

    files.write_json(job.out / "mode.json", {"mode": job.settings.augment.mode})
    if ONE_UNIT in units:
        return
    for kind, folders in merge_shards(units, job.out).items():
        for name in ("utt2spk", "augmentation.tsv"):
            lines = [line for folder in folders if (folder / name).is_file() for line in _lines(folder / name)]
            if lines:
                with files.atomic_write(job.out / kind / name) as file:
                    file.writelines(sorted(lines))
        if job.settings.augment.mode == "copies" and not (job.out / kind / "utt2spk").is_file():
            raise RecipeError(
                f"augment.copies_share = {job.settings.augment.copies_share:g}: no copy was drawn for any utterance; raise it"
            )
        given = job.input("manifests") / BANK_SETS.get(kind, kind) / SHARES
        if job.settings.augment.mode == "online" and given.is_file():
            with files.atomic_write(job.out / kind / SHARES) as file:
                file.write(given.read_text(encoding="utf-8"))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def read_sounds(job: Job, kind: str, shard: int | None = None) -> Iterator[tuple[str, str, np.ndarray]]:
    """Utterance id, speaker and float32 samples (at the training rate) of the sounds of one kind, or of one shard of them."""
    from steps.data.manifests import read_set

    utterances = read_set(job.input("manifests"), BANK_SETS[kind])
    for utterance in utterances if shard is None else utterances[shard * SHARD_SIZE : (shard + 1) * SHARD_SIZE]:
        yield utterance.id, utterance.speaker, read_sound(job, kind, utterance)


def read_sound(job: Job, kind: str, utterance: "Utterance") -> np.ndarray:
    """Float32 samples of one sound at the training rate."""
    from steps.data.manifests import audio_root
    from steps.examples import recordings

    root = audio_root(BANK_SETS[kind], job.input("manifests"), job.site)
    recordings.check_content(utterance, root, job.input("manifests"), BANK_SETS[kind])
    may_convert = kind != "speech" or job.settings.features.resample
    return recordings.read_sound(utterance, root, job.settings.augment.sampling_rate, may_convert=may_convert)


class CorpusBank:
    """The sounds of the manifests, as `steps.signal.policy` asks for them, read when they are asked for.

    The last few hundred are remembered: a bank of noises and rooms fits, and a corpus of speech need not.
    """

    def __init__(self, job: Job) -> None:
        from steps.data.manifests import has_set, read_set
        from steps.examples.bank import read_cumulative_shares

        manifests = job.input("manifests")
        self.rate = job.settings.augment.sampling_rate
        self.utterances = {kind: read_set(manifests, name) for kind, name in BANK_SETS.items() if has_set(manifests, name)}
        self.shares = {
            kind: read_cumulative_shares(manifests / BANK_SETS[kind], [each.id for each in utterances])
            for kind, utterances in self.utterances.items()
        }
        self.sound = lru_cache(maxsize=500)(lambda kind, index: read_sound(job, kind, self.utterances[kind][index]))

    def num(self, kind: str) -> int:
        """The number of sounds of a kind."""
        return len(self.utterances.get(kind, ()))

    def length(self, kind: str, index: int) -> int:
        """Samples of a sound."""
        from steps.signal.resample import resampled_length

        utterance = self.utterances[kind][index]
        return resampled_length(utterance.num_samples, utterance.sampling_rate, self.rate)

    def get(self, kind: str, index: int, start: int, num_samples: int) -> np.ndarray:
        """`num_samples` float32 samples from `start` on."""
        return self.sound(kind, index)[start : start + num_samples]

    def cumulative_shares(self, kind: str) -> np.ndarray | None:
        """Up to which number from 0 to 1 a draw is each sound `[N]`; None: all are equally likely."""
        return self.shares.get(kind)


def _write_sounds(job: Job, kind: str, shard: int) -> None:
    from steps.data.archive import write_scp, write_wave_ark
    from steps.examples.recordings import to_int16

    sounds = ((name, to_int16(samples_W)) for name, _, samples_W in read_sounds(job, kind, shard))
    lines = write_wave_ark(job.out / f"sounds.{shard:05d}.ark", sounds, job.settings.augment.sampling_rate)
    write_scp(job.out, lines)


def _write_copies(job: Job, shard: int) -> None:
    from steps.data.archive import write_ark, write_scp
    from steps.signal.frontend import extract
    from steps.signal.policy import augment_copy

    settings, rate = job.settings.augment, job.settings.augment.sampling_rate
    bank = CorpusBank(job)
    speakers, words = [], []

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for name, speaker, samples_W in read_sounds(job, "speech", shard):
            for kind in settings.copy_kinds:
                if not _has_copy(settings, name, kind):
                    continue
                rng = generator(job.settings.augment.seed, "augment", name, kind)
                augmented_W, done = augment_copy(kind, samples_W, rng, settings, bank)
                new_speaker = kind.startswith("speed") and settings.speed_as_new_speakers
                speakers.append(f"{kind}-{name} {f'{kind}-' if new_speaker else ''}{speaker}\n")
                words.append(f"{kind}-{name}\t{done}\n")
                vad_from = None if kind.startswith("speed") else samples_W
                try:
                    feats_TF = extract(augmented_W, rate, job.settings.features, rng=rng, vad_from=vad_from)
                except ValueError as error:
                    raise RecipeError(f"copy '{kind}-{name}': {error}") from None
                yield f"{kind}-{name}", feats_TF

    write_scp(job.out, write_ark(job.out / f"feats.{shard:05d}.ark", items(), job.settings.features.storage))
    for name, lines in (("utt2spk", speakers), ("augmentation.tsv", words)):
        with files.atomic_write(job.out / name) as file:
            file.writelines(lines)


def _has_copy(settings: Augment, name: str, kind: str) -> bool:
    """Whether an utterance is among those that have this copy; by a draw of its own, so that a share changes no copy."""
    if settings.copies_share == 1 or kind not in settings.copies:
        return True
    return generator(settings.seed, "augment", name, kind, "share").random() < settings.copies_share


def recover(job: Job, unit: str, old: Path, wrong: Mapping[str, str]) -> bool:
    """One shard of the bank, or the copies of one shard of utterances."""
    from steps.data.shards import recover_lines, recover_shard

    if unit == ONE_UNIT:
        return False
    is_bank, kind = job.settings.augment.mode == "online", unit.rpartition(".")[0]
    tables = () if is_bank else (f"{kind}/utt2spk", f"{kind}/augmentation.tsv")
    if any(name in wrong for name in tables):
        return False
    ids = recover_shard(unit, old, wrong, job.out, ark="sounds" if is_bank else "feats")
    for name in tables if ids is not None else ():
        recover_lines(old / name, ids, job.out)
    return ids is not None


def what_decides(tables: dict[str, dict]) -> dict[str, dict]:
    """Of the settings of a bank only those that its sounds are read with: the others decide in training."""
    if tables["augment"]["mode"] == "copies":
        return tables
    kept = {"augment": ("mode", "sampling_rate"), "features": ("resample",)}
    if tables["augment"]["mode"] == "online":
        kept["augment"] += ("store_speech",)
    return {section: {key: table[key] for key in kept[section] if key in table} for section, table in tables.items()}


STAGE = Stage(
    name="augment",
    version=1,
    sections={"augment": Augment, "features": FEATURES},
    narrow=what_decides,
    inputs=(Input(name="manifests", help="the output of stage 1"),),
    outputs=("mode.json",),
    optional=("*/*.ark", "*/*.scp", "*/utt2spk", "*/augmentation.tsv", "*/shares"),
    work=work,
    units=units,
    merge=merge,
    recover=recover,
)

if __name__ == "__main__":
    STAGE.main()
