"""A corpus of filtered noise, and stages run on it inside this process, parts included."""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from steps import augment, embed, extract, train
from steps.core import files, stage
from steps.core.stamp import read_stamp, write_stamp
from steps.data.manifests import Utterance, write_roots, write_set, write_utt2spk
from steps.data.trials import all_pairs, write_trials

RATE = 8000  # Hz
STAGES = {module.STAGE.name: module.STAGE for module in (augment, embed, extract, train)}
LOG = logging.getLogger("tests.steps")

FBANK = (
    "features.type=fbank", "features.name=fbank", f"features.sampling_rate={RATE}", "features.num_mel_bins=12",
    "features.normalise=utterance_mean",
)  # fmt: skip
NONE = ("augment.mode=none",)
ONLINE = (
    "augment.mode=online", f"augment.sampling_rate={RATE}", "augment.p_augment=0.7", "augment.p_noise=1.0",
    "augment.p_babble=1.0", "augment.p_reverb=1.0", "augment.p_band=1.0", "augment.speed_factors=[0.9, 1.1]",
    "augment.speed_as_new_speakers=true", "augment.band_kinds=['low_pass_2000']",
)  # fmt: skip
COPIES = ("augment.mode=copies", f"augment.sampling_rate={RATE}", "augment.copies=['noise', 'babble', 'reverb']")
NETWORK = ("model.type=xvector", "model.channels=[8, 8, 8, 8, 16]", "model.embedding_dim=8")
TRAIN = (
    *NETWORK, "head.type=aam", "train.epochs=3", "train.batch_size=4", "train.min_crop=0.3", "train.max_crop=0.4",
    "train.learning_rate=0.05", "train.final_learning_rate=0.01", "train.margin_end_epoch=2", "train.average=2",
    "train.threads=1", "train.checkpoint_seconds=0",
)  # fmt: skip


def launch_here(command, num_parts, log_folder, *, threads, watch):
    """All parts one after the other in this process: importing torch for each would take most of the time."""
    name = command[2].removeprefix("steps.")
    for part in range(num_parts):
        stage.run(STAGES[name], [word.replace("{part}", str(part)) for word in command[3:]], LOG)


@contextlib.contextmanager
def small_and_in_this_process() -> Iterator[None]:
    """Parts run in here, on shards small enough that a few utterances make several; torch's settings are put back."""
    threads = torch.get_num_threads()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(stage.LAUNCHERS, "local", launch_here)
            patch.setattr(extract, "SHARD_SIZE", 5)
            patch.setattr(augment, "SHARD_SIZE", 5)
            patch.setattr(embed, "BATCHES_PER_UNIT", 1)
            patch.setattr("steps.nnet.inference.length_batches.__defaults__", (4,))
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def voice(rng: np.random.Generator, formant: float, seconds: float) -> np.ndarray:
    """Noise through a resonance, in bursts with weak white noise between them."""
    num_samples = int(seconds * RATE)
    colour = scipy.signal.iirpeak(formant, 3.0, fs=RATE)
    loud = scipy.signal.lfilter(*colour, rng.standard_normal(num_samples))
    bursts = np.sin(np.arange(num_samples) * 2 * np.pi / (0.25 * RATE)) > -0.6
    return 0.1 * bursts * loud / loud.std() + 1e-3 * rng.standard_normal(num_samples)


def sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "rir":
        return 0.5 * rng.standard_normal(800) * np.exp(-np.arange(800) / 100)
    return 0.05 * rng.standard_normal(int(rng.integers(2000, 6000)))


def write_corpus(folder: Path, counts: dict[str, tuple[int, int]], sounds: dict[str, int], dev_trials: bool = True) -> Path:
    """A manifests folder with a stamp. `counts`: set -> (speakers, utterances of each); `sounds`: kind -> how many."""
    sets: dict[str, list[Utterance]] = {}

    def add(set_name: str, name: str, speaker: str, wave: np.ndarray) -> None:
        path = f"audio/{set_name}/{name}.wav"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, wave, RATE, subtype="PCM_16")
        utterance = Utterance(
            id=name, speaker=speaker, gender="", session=name, corpus="", path=path, sampling_rate=RATE, num_samples=len(wave)
        )
        sets.setdefault(set_name, []).append(utterance)

    for number, (set_name, (speakers, each)) in enumerate(counts.items()):
        for speaker in range(speakers):
            for index in range(each):
                rng = np.random.default_rng([number, speaker, index])
                wave = voice(rng, 300 + 3000 * speaker / speakers, rng.uniform(0.8, 1.2))
                add(set_name, f"{set_name}{speaker}/u{index}", f"{set_name}{speaker}", wave)
    for kind, num in sounds.items():
        for index in range(num):
            add(kind, f"{kind}_{index}", f"{kind}_{index}", sound(kind, np.random.default_rng([len(kind), index])))
    for set_name, utterances in sets.items():
        write_set(folder / set_name, utterances)
    write_roots(folder, dict.fromkeys(sets, ""))
    write_utt2spk(folder / "utt2spk", [utterance for name in counts for utterance in sets[name]])
    for name, kind in (("dev", "calibration"), ("test", "trials")):
        if name in sets and (dev_trials or name != "dev"):
            (folder / kind).mkdir()
            write_trials(folder / kind / f"{name}.txt", all_pairs(sets[name]))
    write_stamp(folder, {}, files.tree_hashes(folder, ("*/*", "utt2spk")), 0.0)
    return folder


@pytest.fixture(scope="session")
def manifests(tmp_path_factory) -> Path:
    """Six training, three dev and three test speakers with three utterances each; noise, music and rooms."""
    counts = {"train": (6, 3), "dev": (3, 3), "test": (3, 3)}
    return write_corpus(tmp_path_factory.mktemp("corpus") / "manifests", counts, {"noise": 4, "music": 2, "rir": 3})


def run(name: str, out: Path, *settings: str, jobs: int = 1, flags: tuple[str, ...] = (), **inputs: Path) -> Path:
    """`out`, made by one stage."""
    arguments = [f"--{key}={folder}" for key, folder in inputs.items()]
    assignments = [word for setting in settings for word in ("--set", setting)]
    with small_and_in_this_process():
        assert stage.run(STAGES[name], [*arguments, *assignments, "--out", str(out), "--jobs", str(jobs), *flags], LOG) == 0
    return out


def restamp(folder: Path) -> Path:
    """A folder that a test has changed, as if its stage had written it so."""
    stamp = read_stamp(folder)
    assert stamp is not None
    there = {name: files.content_hash(folder / name) for name in stamp["outputs"] if (folder / name).is_file()}
    write_stamp(folder, stamp["plan"], there, 0.0)
    return folder


def content(folder: Path) -> str:
    """The hash of all that a stage promises."""
    stamp = read_stamp(folder)
    assert stamp is not None
    return stamp["content"]


@pytest.fixture(scope="session")
def stages(tmp_path_factory, manifests) -> SimpleNamespace:
    """`run` and its helpers, and features, bank and model made once."""
    top = tmp_path_factory.mktemp("stages")
    features = run("extract", top / "features", *FBANK, manifests=manifests)
    none = run("augment", top / "none", *FBANK, *NONE, manifests=manifests)
    bank = run("augment", top / "bank", *FBANK, *ONLINE, manifests=manifests)
    model = run(
        "train", top / "model", *FBANK, *NONE, *TRAIN, manifests=manifests, features=features, augmented=none
    )  # fmt: skip
    return SimpleNamespace(
        run=run, content=content, restamp=restamp, write_corpus=write_corpus, manifests=manifests, features=features, none=none,
        bank=bank,
        model=model, FBANK=FBANK, NONE=NONE, ONLINE=ONLINE, COPIES=COPIES, NETWORK=NETWORK, TRAIN=TRAIN, RATE=RATE,
        log=LOG.name,
    )  # fmt: skip


@pytest.fixture(scope="session")
def killed_run() -> Callable[[list[str]], int]:
    """What runs a Python text in a process of its own and returns its exit status."""

    def start(words: list[str]) -> int:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, *words], env=environment, capture_output=True, timeout=120).returncode

    return start
