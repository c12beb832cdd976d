"""The bytes of stage 6 are the same whatever number of threads the environment asks for, and whatever kernels the CPU has."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.core import files
from steps.core.stamp import write_stamp
from steps.data.archive import write_embeddings
from steps.data.manifests import Utterance, write_roots, write_set, write_utt2spk
from steps.data.trials import all_pairs, write_trials

DIM = 100  # with the numbers below, OpenBLAS's products and factorisations have other last bits on two threads
COUNTS = {"train": (110, 11), "dev": (8, 12), "test": (8, 12)}  # speakers, utterances of each
COMMON = ("system.name=s", "score.replicates=20", "score.pictures=[]")
SYSTEMS = {
    "cosine": ("score.norm=as_norm", "score.norm_top=20", "score.quality=['cohort_mean', 'magnitude']"),
    "plda": ("score.transforms=['mean', 'whiten', 'lda', 'length_norm']", "score.lda_dim=90", "score.backend=plda",
             "score.norm=s_norm", "tasks.run=['identification', 'few_shot', 'clustering']"),
    "learned": ("score.backend=learned", "score.learned_width=256", "score.learned_epochs=1", "score.learned_batches=5"),
}  # fmt: skip
WRITTEN = ("test.txt", "llr/test.txt", "calibration/dev.txt", "calibration.json", "threshold.json")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Manifests and embeddings of speakers in noise."""
    top, rng = tmp_path_factory.mktemp("threads"), np.random.default_rng(1)
    sets = {}
    for name, (speakers, each) in COUNTS.items():
        known = [(f"{name}{s}/u{u:02d}", f"{name}{s}") for s in range(speakers) for u in range(each)]
        centre_SD = rng.normal(size=(speakers, DIM))
        write_embeddings(
            top / "embeddings" / name, [one for one, _ in known],
            np.repeat(centre_SD, each, axis=0) + 1.5 * rng.normal(size=(len(known), DIM)),
        )  # fmt: skip
        audio = {"gender": "", "corpus": "", "sampling_rate": 8000, "num_samples": 8000}
        sets[name] = [Utterance(id=one, speaker=speaker, session=one, path=f"{one}.wav", **audio) for one, speaker in known]
        write_set(top / "manifests" / name, sets[name])
    write_roots(top / "manifests", dict.fromkeys(sets, ""))
    write_utt2spk(top / "manifests" / "utt2spk", sum(sets.values(), []))
    for name, kind in (("dev", "calibration"), ("test", "trials")):
        (top / "manifests" / kind).mkdir()
        write_trials(top / "manifests" / kind / f"{name}.txt", all_pairs(sets[name]))
    files.write_json(top / "embeddings" / "model.json", {})
    for folder in ("manifests", "embeddings"):
        write_stamp(top / folder, {}, files.tree_hashes(top / folder, ("*/*",)), 0.0)
    return top


def scored(inputs: Path, out: Path, system: str, **environment: str) -> dict[str, bytes]:
    """What stage 6 writes of scores, by file, in a process with these variables."""
    words = [word for setting in (*COMMON, *SYSTEMS[system]) for word in ("--set", setting)]
    words += ["--manifests", str(inputs / "manifests"), "--embeddings", str(inputs / "embeddings"), "--out", str(out)]
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    subprocess.run([sys.executable, "-m", "steps.score", *words], env=plain | environment, check=True, capture_output=True)
    return {name: (out / name).read_bytes() for name in WRITTEN} | {
        path.name: path.read_bytes() for path in out.glob("*.safetensors")
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_stage_6_writes_the_same_with_one_thread_and_with_two(inputs, tmp_path, system):
    """numpy is loaded before stage 6 can say on how many threads it computes: that must not be too late."""
    one = scored(inputs, tmp_path / "1", system, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    for name, variables in {"2": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}, "unset": {}}.items():
        assert scored(inputs, tmp_path / name, system, **variables) == one, name


@pytest.mark.skipif(platform.machine() != "x86_64", reason="OpenBLAS has these kernels on x86-64")
def test_scores_with_adaptive_norms_are_the_same_with_kernels_for_avx2_and_for_more(inputs, tmp_path):
    """Products of the cohort are exact: OpenBLAS's kernels give the same bits, those that any x86-64 CPU has, too."""
    kernels = {kind: scored(inputs, tmp_path / kind, "cosine", OPENBLAS_CORETYPE=kind) for kind in ("Prescott", "Haswell")}
    here = scored(inputs, tmp_path / "here", "cosine")
    for kind, found in kernels.items():
        assert found["test.txt"] == here["test.txt"], kind


def test_stages_4_and_5_write_the_same_whatever_threads_the_environment_asks_for(stages, tmp_path):
    """They compute on as many as their settings say."""
    wide = "model.channels=[64, 64, 64, 64, 128]"
    written = []
    for number in ("1", "3"):
        model, embeddings = tmp_path / number / "model", tmp_path / number / "embeddings"
        runs = {
            "train": ((*stages.FBANK, *stages.NONE, *stages.TRAIN, wide, "train.epochs=2"), model,
                      {"manifests": stages.manifests, "features": stages.features, "augmented": stages.none}),
            "embed": ((*stages.FBANK, *stages.NETWORK, wide), embeddings, {"features": stages.features, "model": model}),
        }  # fmt: skip
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), number)
        for name, (settings, out, inputs) in runs.items():
            words = [word for setting in settings for word in ("--set", setting)]
            words += [f"--{key}={folder}" for key, folder in inputs.items()]
            command = [sys.executable, "-m", f"steps.{name}", *words, "--out", str(out)]
            subprocess.run(command, env=environment, check=True, capture_output=True)
        arks = sorted(embeddings.glob("*/*.ark"))
        assert len(arks) >= 3
        written.append([path.read_bytes() for path in (model / "model.safetensors", *arks)])
    assert written[0] == written[1]
