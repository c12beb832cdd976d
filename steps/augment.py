"""Stage 3: noise, music, babble, rooms, codecs and speed for training.

Reads manifests (and the audio below the roots of [site]).
Writes, by `augment.mode`:
  online   a bank of sounds at the training rate, as Kaldi wav arks: speech/ (the training set itself), noise/, music/, rir/
           (those there are); training draws from it anew for every example
  copies   train/feats.<shard>.ark and feats.scp of augmented copies of every training utterance, train/utt2spk, and
           train/augmentation.tsv, which says what was done to each
  none     nothing but mode.json
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.core.stage import ONE_UNIT, Input, Job, Stage, place
from steps.signal.settings import FEATURES, Augment

SHARD_SIZE = 100  # utterances; fixes the files, and so the bytes, whatever the number of jobs
BANK_SETS = {
    "speech": "train",
    "noise": "noise",
    "music": "music",
    "rir": "rir",
}  # kind of sound -> set of the manifests


def units(job: Job) -> list[str]:
    """Names `<kind>.<shard>`: sounds of the bank, or training utterances to make copies of."""
    from steps.data.manifests import has_set, read_set

    settings, manifests = job.settings.augment, job.input("manifests")
    if settings.mode == "none":
        return [ONE_UNIT]
    kinds = [kind for kind, name in BANK_SETS.items() if has_set(manifests, name)]
    shards = {kind: -(-len(read_set(manifests, BANK_SETS[kind])) // SHARD_SIZE) for kind in kinds}
    if settings.mode == "copies":
        return [f"train.{shard:05d}" for shard in range(shards["speech"])]
    return [f"{kind}.{shard:05d}" for kind in kinds for shard in range(shards[kind])]


def work(job: Job, unit: str) -> None:
    """One shard of the bank, or the copies of one shard of utterances."""
    if job.settings.augment.mode == "none":
        return
    kind, _, shard = unit.rpartition(".")
    if job.settings.augment.mode == "online":
        _write_sounds(job, kind, int(shard))
    else:
        _write_copies(job, int(shard))


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """One scp per kind of sound, or one scp, utt2spk and table of the copies."""
    from steps.data.archive import merge_scp

    files.write_json(job.out / "mode.json", {"mode": job.settings.augment.mode})
    for kind in dict.fromkeys(unit.rpartition(".")[0] for unit in units if unit != ONE_UNIT):
        folders = [folder for unit, folder in units.items() if unit.rpartition(".")[0] == kind]
        for folder in folders:
            for ark in folder.glob("*.ark"):
                place(ark, job.out / kind / ark.name)
        merge_scp(folders, job.out / kind)
        for name in ("utt2spk", "augmentation.tsv"):
            lines = [line for folder in folders if (folder / name).is_file() for line in _lines(folder / name)]
            if lines:
                with files.atomic_write(job.out / kind / name) as file:
                    file.writelines(sorted(lines))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def read_sounds(job: Job, kind: str, shard: int | None = None) -> Iterator[tuple[str, str, np.ndarray]]:
    """Utterance id, speaker and float32 samples (at the training rate) of the sounds of one kind, or of one shard of them."""
    from steps.data.audio import read_audio
    from steps.data.manifests import audio_path, read_set
    from steps.signal.resample import resample

    manifests, set_name, rate = job.input("manifests"), BANK_SETS[kind], job.settings.augment.sampling_rate
    utterances = read_set(manifests, set_name)
    for utterance in utterances if shard is None else utterances[shard * SHARD_SIZE : (shard + 1) * SHARD_SIZE]:
        path = audio_path(utterance, set_name, manifests, job.site)
        samples_W, found_rate = read_audio(
            path, start_sample=utterance.start_sample, num_samples=utterance.num_samples, channel=utterance.channel
        )
        if found_rate != rate and kind == "speech" and not job.settings.features.resample:
            raise RecipeError(
                f"{path}: {found_rate} Hz, expected augment.sampling_rate = {rate} Hz; set features.resample = true to convert"
            )
        yield (
            utterance.id,
            utterance.speaker,
            resample(samples_W, found_rate, rate) if found_rate != rate else samples_W,
        )


def to_int16(samples_W: np.ndarray) -> np.ndarray:
    """Samples in +-1 as 16-bit integers, clipped."""
    return np.clip(np.rint(samples_W * 32768.0), -32768, 32767).astype(np.int16)


def _write_sounds(job: Job, kind: str, shard: int) -> None:
    from steps.data.archive import write_scp, write_wave_ark

    sounds = ((name, to_int16(samples_W)) for name, _, samples_W in read_sounds(job, kind, shard))
    lines = write_wave_ark(job.out / f"sounds.{shard:05d}.ark", sounds, job.settings.augment.sampling_rate)
    write_scp(job.out, lines)


def _write_copies(job: Job, shard: int) -> None:
    from steps.data.archive import write_ark, write_scp
    from steps.examples.bank import ListBank
    from steps.signal.frontend import extract
    from steps.signal.policy import augment_copy

    settings, rate = job.settings.augment, job.settings.augment.sampling_rate
    kinds = [kind for kind, name in BANK_SETS.items() if (job.input("manifests") / name).is_dir()]
    bank = ListBank({kind: [samples_W for _, _, samples_W in read_sounds(job, kind)] for kind in kinds})
    speakers, words = [], []

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for name, speaker, samples_W in read_sounds(job, "speech", shard):
            for kind in settings.copy_kinds:
                rng = generator(job.settings.augment.seed, "augment", name, kind)
                augmented_W, done = augment_copy(kind, samples_W, rng, settings, bank)
                new_speaker = kind.startswith("speed") and settings.speed_as_new_speakers
                speakers.append(f"{kind}-{name} {f'{kind}-' if new_speaker else ''}{speaker}\n")
                words.append(f"{kind}-{name}\t{done}\n")
                vad_from = None if kind.startswith("speed") else samples_W
                yield f"{kind}-{name}", extract(augmented_W, rate, job.settings.features, vad_from=vad_from)

    write_scp(job.out, write_ark(job.out / f"feats.{shard:05d}.ark", items()))
    for name, lines in (("utt2spk", speakers), ("augmentation.tsv", words)):
        with files.atomic_write(job.out / name) as file:
            file.writelines(lines)


STAGE = Stage(
    name="augment",
    version=1,
    sections={"augment": Augment, "features": FEATURES},
    inputs=(Input(name="manifests", help="the output of stage 1"),),
    outputs=("mode.json",),
    optional=("*/*.ark", "*/*.scp", "*/utt2spk", "*/augmentation.tsv"),
    work=work,
    units=units,
    merge=merge,
)

if __name__ == "__main__":
    STAGE.main()
