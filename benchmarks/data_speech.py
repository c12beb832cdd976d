"""What benchmarks/data.py times on speech: stage 2 against decoding and fbank alone, and the ways to feed a training.

Each makes ready and returns what is timed: a stage's command, or a function whose text goes into the table; see data_scale.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile

from benchmarks.data_scale import NO_BANKS, Run, stage

RATE = 16000
SECONDS = 8.0  # of a made utterance, as VoxCeleb's are on the average
NUM_SOURCES = 200  # different files; more utterances are hard links to them
SPEAKERS = 20
CONFIG = ("--config", "conf/features/fbank80.toml")
FOLDER = ("prepare.type=folder", "prepare.test_speakers=2", "prepare.dev_speakers=2", "prepare.max_calibration_trials=1000")
BATCH, CROP_FRAMES = 64, 200
STORAGES = ("float32", "two_byte", "speech_feature")


def make_speech(folder: Path, num: int, source: str) -> None:
    """Make `num` FLAC files of as many speakers, of the speech below `source` or of noise shaped like it; and manifests."""
    corpus = folder / "corpus"
    for number, samples_W in enumerate(_speech(source, min(num, NUM_SOURCES))):
        path = _path(corpus, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples_W, RATE, subtype="PCM_16")
    for number in range(NUM_SOURCES, num):
        path = _path(corpus, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(_path(corpus, number % NUM_SOURCES), path)


def _path(corpus: Path, number: int) -> Path:
    return corpus / f"s{number % SPEAKERS:02d}" / f"{number:06d}.flac"


def _speech(source: str, num: int) -> Iterable[np.ndarray]:
    """Samples of utterances; the files below `source` that libsndfile reads, joined up to the usual length."""
    rng, length = np.random.default_rng(3), int(SECONDS * RATE)
    if not source:
        for _ in range(num):
            slow = np.repeat(rng.uniform(0, 0.2, length // 1600 + 1), 1600)[:length]  # syllables
            yield np.clip(np.convolve(rng.normal(size=length), np.hanning(9) / 4, "same") * slow, -1, 1)
        return
    paths = sorted(path for path in Path(source).rglob("*") if path.suffix in (".flac", ".wav", ".ogg"))
    for number in range(num):
        parts: list[np.ndarray] = []
        while sum(map(len, parts)) < length:
            parts.append(soundfile.read(paths[(7 * number + len(parts)) % len(paths)], dtype="float32", always_2d=True)[0][:, 0])
        yield np.concatenate(parts)[:length]


def manifests(folder: Path) -> list[str]:
    """Stage 1, which the others need."""
    settings = (f"site.corpus={folder / 'corpus'}", *FOLDER, *NO_BANKS, "prepare.check_audio=header")
    return stage("prepare", folder / "manifests", settings)


def extract(folder: Path, jobs: int = 1, storage: str = "float32") -> list[str]:
    """Stage 2 from its start to its end, hashes and manifests included."""
    where = ("--manifests", str(folder / "manifests"), "--jobs", str(jobs), *CONFIG)
    settings = (f"site.corpus={folder / 'corpus'}", f"features.storage={storage}")
    return stage("extract", folder / "features" / f"{storage}-{jobs}", settings, *where)


def extract2(folder: Path) -> list[str]:
    """The same by two processes."""
    return extract(folder, 2)


def extract8bit(folder: Path) -> list[str]:
    """The same, stored in a byte a number."""
    return extract(folder, 1, "speech_feature")


def begin(folder: Path) -> list[str]:
    """Stage 2 of a few utterances: what it takes to start and to end."""
    if not (folder / "few").is_dir():
        make_speech(folder / "few", 8 * SPEAKERS, "")
        subprocess.run(manifests(folder / "few"), stderr=subprocess.DEVNULL, check=True)
    return extract(folder / "few")


def bare(folder: Path) -> Run:
    """Decoding with soundfile and our fbank, in a loop; nothing is written."""
    from steps.signal.frontend import extract as frontend

    settings = _features()

    def run() -> str:
        frames = sum(len(frontend(*soundfile.read(path, dtype="float32"), settings)) for path in _files(folder))
        return f"{frames:,} frames"

    return run


def lhotse(folder: Path) -> Run:
    """lhotse's CutSet.compute_and_store_features with its Fbank, one process, a numpy file each (lilcom is not needed)."""
    from lhotse import CutSet, Fbank, FbankConfig, MonoCut, NumpyFilesWriter, Recording

    paths = list(_files(folder))

    def run() -> str:
        recordings = [Recording.from_file(path, recording_id=str(number)) for number, path in enumerate(paths)]
        cuts = CutSet.from_cuts(MonoCut(each.id, 0.0, each.duration, 0, recording=each) for each in recordings)
        made = cuts.compute_and_store_features(
            Fbank(FbankConfig(num_filters=80)), folder / "lhotse", num_jobs=1, storage_type=NumpyFilesWriter, progress_bar=False
        )
        made.to_file(folder / "lhotse.jsonl.gz")
        return f"{sum(each.num_frames for each in made):,} frames"

    return run


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "corpus").rglob("*.flac"))


def _features() -> object:
    from steps.signal.settings import Fbank

    return Fbank(name="fbank80", num_mel_bins=80, window="hamming", normalise="utterance_mean")


# ---- what a training is fed with


def bank(folder: Path) -> list[str]:
    """Stage 3 in mode online: training speech as 16-bit waveforms, to make features on the way."""
    where = ("--manifests", str(folder / "manifests"), *CONFIG)
    settings = (f"site.corpus={folder / 'corpus'}", "augment.mode=online", "augment.name=online")
    return stage("augment", folder / "augmented", (*settings, "augment.p_augment=1e-12", "augment.p_band=1"), *where)


def stored(storage: str) -> Callable[[Path], Run]:
    """Returns a program: crops of features on disk, stored so."""
    return lambda folder: _crops(folder, folder / "features" / f"{storage}-1", folder / "none", "none")


def from_bank(folder: Path) -> Run:
    """Crops of waveforms that stage 3 has stored, features made of them, no augmentation."""
    return _crops(folder, folder / "features", folder / "augmented", "online")


def from_flac(folder: Path) -> Run:
    """Crops of the recordings themselves, features made of them, no augmentation."""
    return _crops(folder, folder / "features", folder / "augmented", "online", store_speech=False)


def _crops(folder: Path, features: Path, augmented: Path, mode: str, store_speech: bool = True) -> Run:
    from steps.core import files
    from steps.data.sampling import epoch_batches
    from steps.examples.training_set import TrainingSet
    from steps.nnet.train_settings import Train
    from steps.signal.settings import Augment, SpecAugment

    if mode == "none":
        augmented.mkdir(exist_ok=True)
        files.write_json(augmented / "mode.json", {"mode": "none"})
    settings = SimpleNamespace(
        train=Train(epochs=1, batch_size=BATCH, learning_rate=0.1, decay="constant"), features=_features(),
        augment=Augment(mode=mode, name=mode, p_augment=1e-12, p_band=1.0, store_speech=store_speech), specaugment=SpecAugment(),
    )  # fmt: skip
    site = {"corpus": str(folder / "corpus")}
    data = TrainingSet.open(manifests=folder / "manifests", features=features, augmented=augmented, settings=settings, site=site)
    batches = epoch_batches(
        seed=1, epoch=1, labels=data.labels, sampling="utterance", examples_per_epoch=20 * BATCH, batch_size=BATCH,
        min_frames=CROP_FRAMES, max_frames=CROP_FRAMES,
    )  # fmt: skip
    source = augmented / "speech" if mode == "online" else features / "train"
    size = sum(path.stat().st_size for path in source.glob("*.ark")) / len(data.utterances) / SECONDS * store_speech
    data.make_batch(batches[0])

    def run() -> str:
        for batch in batches:
            data.make_batch(batch)
        return f"{size * 2442 * 3600 / 1e9:.0f} GB for VoxCeleb2"  # 2,442 hours

    return run
