"""What benchmarks/data.py times with very many utterances: stage 1 and opening a training set, and lhotse's way to do it.

Each makes ready and returns what is timed: a stage's command, from its start to its end, or a function, without imports, whose
text goes into the table.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steps.data.sampling import Batch
    from steps.examples.training_set import TrainingSet

Run = Callable[[], str]

NO_BANKS = tuple(f"prepare.{name}=" for name in ("noise", "music", "rir", "babble"))


def stage(name: str, out: Path, settings: tuple[str, ...], *more: str, anew: bool = True) -> list[str]:
    """Return the command of a stage that makes `out`, by default anew."""
    for old in (out, out.with_name(f"{out.name}.partial")) if anew else ():
        shutil.rmtree(old, ignore_errors=True)
    chosen = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", f"steps.{name}", *more, *chosen, "--out", str(out)]


def prepare(folder: Path, check_audio: str = "decode", *, anew: bool = True) -> list[str]:
    """Stage 1 of the recipe voxceleb, each file decoded; lists of trials in proportion, E and H at full size."""
    settings = (f"site.corpus={folder / 'corpus'}", "prepare.other_lists=warn", f"prepare.check_audio={check_audio}")
    settings += ("prepare.dev_speakers=0.0067", "prepare.calibration=pairs", *NO_BANKS)
    return stage("prepare", folder / "manifests", settings, "--config", "recipes/voxceleb/recipe.toml", anew=anew)


def headers(folder: Path) -> list[str]:
    """The same, of each file only the header."""
    return prepare(folder, "header")


def rerun(folder: Path) -> list[str]:
    """The same once more, all up to date."""
    return prepare(folder, "header", anew=False)


def lhotse(folder: Path) -> Run:
    """lhotse's RecordingSet.from_dir (headers), supervisions, checks and manifests; no trials: its recipe has those of O."""
    from lhotse import RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.qa import fix_manifests, validate_recordings_and_supervisions

    def recording_id(path: Path) -> str:
        return "/".join([*path.parts[-3:-1], path.stem])

    def run() -> str:
        counts = []
        for corpus, pattern in (("vox1", "*.wav"), ("vox2/dev", "*.flac")):
            recordings = RecordingSet.from_dir(folder / "corpus" / corpus, pattern, recording_id=recording_id)
            supervisions = SupervisionSet.from_segments(
                SupervisionSegment(each.id, each.id, 0.0, each.duration, speaker=each.id.partition("/")[0]) for each in recordings
            )
            recordings, supervisions = fix_manifests(recordings, supervisions)
            validate_recordings_and_supervisions(recordings, supervisions)
            name = corpus.replace("/", "_")
            recordings.to_file(folder / f"lhotse_recordings_{name}.jsonl.gz")
            supervisions.to_file(folder / f"lhotse_supervisions_{name}.jsonl.gz")
            counts.append(len(recordings))
        return f"{sum(counts):,} utterances"

    return run


def open_set(folder: Path) -> Run:
    """TrainingSet.open on features of all training utterances, one epoch by utterance and one by speaker, every batch made."""
    opened = _opener(folder)

    def run() -> str:
        data = opened()
        return f"{sum(len(batch.examples) for how in ('utterance', 'speaker') for batch in _epoch(data, how)):,} examples"

    return run


def worker(folder: Path) -> Run:
    """A thousand batches of two crops by one worker of the loader, and what it then has in memory for itself alone."""
    data = _opener(folder)()
    batches = _epoch(data, "utterance", 2)[:1000]

    def run() -> str:
        loader = data.loader(batches, 1)
        for _ in range(len(batches) - 10):  # some are left, or it would end
            next(loader)
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        kilobytes = (re.findall(r"Private_\w+:\s+(\d+) kB", Path(f"/proc/{each}/smaps_rollup").read_text()) for each in children)
        return f"{max(sum(map(int, each)) for each in kilobytes) / 1000:.0f} MB of its own"

    return run


def cuts(folder: Path) -> Run:
    """lhotse's lazy CutSet of the same training manifest, and one epoch of its DynamicCutSampler."""
    from lhotse import CutSet, RecordingSet, SupervisionSet
    from lhotse.dataset import DynamicCutSampler

    def run() -> str:
        train = folder / "manifests" / "train"
        cuts = CutSet.from_manifests(
            recordings=RecordingSet.from_jsonl_lazy(train / "recordings.jsonl.gz"),
            supervisions=SupervisionSet.from_jsonl_lazy(train / "supervisions.jsonl.gz"),
            output_path=folder / "cuts.jsonl.gz", lazy=True,
        )  # fmt: skip
        sampler = DynamicCutSampler(CutSet.from_jsonl_lazy(folder / "cuts.jsonl.gz"), max_cuts=128, shuffle=True)
        del cuts
        return f"{sum(len(batch) for batch in sampler):,} examples"

    return run


def _opener(folder: Path) -> Callable[[], TrainingSet]:
    """Opens a training set; its feats.scp lists all training utterances at the places of a few matrices."""
    from steps.core import files
    from steps.nnet.train_settings import Train
    from steps.signal.settings import Augment, Fbank, SpecAugment

    if not (folder / "features").is_dir():
        _write_features(folder)
        (folder / "augmented").mkdir()
        files.write_json(folder / "augmented" / "mode.json", {"mode": "none"})
    from steps.examples.training_set import TrainingSet

    settings = SimpleNamespace(
        train=Train(epochs=1, batch_size=128, learning_rate=0.1, decay="constant"), specaugment=SpecAugment(),
        features=Fbank(name="fbank80", num_mel_bins=80), augment=Augment(mode="none", name="none"),
    )  # fmt: skip
    places = {name: folder / name for name in ("manifests", "features", "augmented")}
    return lambda: TrainingSet.open(**places, settings=settings, site={})


def _write_features(folder: Path) -> None:
    import numpy as np

    from steps.data.archive import write_ark, write_scp

    features = folder / "features" / "train"
    features.mkdir(parents=True)
    matrices = ((f"m{number}", np.zeros((800, 80), dtype=np.float32)) for number in range(100))
    places = [line.partition(" ")[2] for line in write_ark(features / "feats.00000.ark", matrices)]
    with gzip.open(folder / "manifests" / "train" / "recordings.jsonl.gz", "rt") as file:
        names = [json.loads(line)["id"] for line in file]
    write_scp(features, (f"{name} {places[number % 100]}" for number, name in enumerate(names)))


def _epoch(data: TrainingSet, sampling: str, batch_size: int = 128) -> Sequence[Batch]:
    from steps.data.sampling import epoch_batches

    return epoch_batches(
        seed=1, epoch=1, labels=data.labels, sampling=sampling, examples_per_epoch=0, batch_size=batch_size, min_frames=200,
        max_frames=200,
    )  # fmt: skip
