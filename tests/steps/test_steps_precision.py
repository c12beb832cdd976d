"""On a CPU whose oneDNN has no LSTM in bfloat16 a BiLSTM is refused, before any work is begun, or runs in float32."""

import os
import platform
import subprocess
import sys

import pytest

BILSTM = ("model.type=bilstm", "model.width=8", "model.dense_dims=[8]", "model.dense_dropout=0.0")
OLD_CPU = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN's limits of instructions are those of x86-64")


def started(name, out, settings, **inputs):
    """A stage in a process of its own, as on a CPU with AVX2."""
    words = [word for setting in settings for word in ("--set", setting)]
    words += [f"--{key}={folder}" for key, folder in inputs.items()]
    return subprocess.run(
        [sys.executable, "-m", f"steps.{name}", *words, "--out", str(out)],
        env=os.environ | OLD_CPU,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("more", [(), ("train.ranks=2",)], ids=["alone", "in ranks"])
def test_training_is_refused_with_the_reason_and_a_rerun_with_what_it_says_works(stages, tmp_path, more):
    inputs = {"manifests": stages.manifests, "features": stages.features, "augmented": stages.none}
    settings = (
        *stages.FBANK,
        *stages.NONE,
        *stages.TRAIN,
        *BILSTM,
        "train.epochs=1",
        "train.average=1",
        "train.margin_end_epoch=1",
    )
    settings = tuple(each for each in settings if each not in stages.NETWORK) + more
    refused = started("train", tmp_path / "model", (*settings, "train.precision=bf16"), **inputs)
    assert refused.returncode == 2, refused.stderr
    assert (
        "train.precision = 'bf16', but this CPU (AVX2) has no lstm layer in bfloat16; add --set train.precision=float32, or auto"
        in (refused.stderr)
    )
    assert "Traceback" not in refused.stderr
    done = started("train", tmp_path / "model", (*settings, "train.precision=auto"), **inputs)
    assert done.returncode == 0, done.stderr
    assert "cpu, float32" in done.stderr


def test_embedding_is_refused_with_the_reason(stages, tmp_path):
    settings = (*stages.FBANK, *BILSTM, "embed.precision=bf16")
    refused = started("embed", tmp_path / "embeddings", settings, features=stages.features, model=stages.model)
    assert refused.returncode == 2, refused.stderr
    assert (
        "embed.precision = 'bf16', but this CPU (AVX2) has no lstm layer in bfloat16; add --set embed.precision" in refused.stderr
    )
    assert "Traceback" not in refused.stderr
