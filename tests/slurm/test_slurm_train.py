"""On a real Slurm: a training in two processes on two nodes, disturbed twice, ends in the bytes of one that was left alone."""

import os
import signal
from pathlib import Path

import pytest

from tests.steps.conftest import FBANK, NONE, TRAIN, run, write_corpus

pytestmark = pytest.mark.slurm

MORE = (
    "train.ranks=2", "train.device=cpu", "train.examples_per_epoch=250", "train.batch_size=5", "train.max_gradient_norm=1.0",
    "train.checkpoint_seconds=0.1",
)  # fmt: skip


@pytest.fixture
def words(bench):
    """The command line of stage 4, its inputs made, and a launcher "two": two nodes, and a stand-in for a container."""
    file, image = bench.folder / "conf" / "launch" / "test.toml", bench.folder / "image.sif"
    image.write_text(f'#!/bin/bash\necho "$3 ${{SLURM_PROCID-none}}" >>{bench.folder}/in_image\nexec "$@"\n')
    image.chmod(0o755)
    text = file.read_text().replace("[launch.cpu]", f'container = ["{image}"]\n[launch.cpu]\nnodes = 2')
    file.with_name("two.toml").write_text(text)
    manifests = write_corpus(bench.folder / "manifests", {"train": (4, 3), "dev": (2, 2)}, {})
    features = run("extract", bench.folder / "features", *FBANK, manifests=manifests)
    augmented = run("augment", bench.folder / "none", *FBANK, *NONE, manifests=manifests)
    inputs = [f"--manifests={manifests}", f"--features={features}", f"--augmented={augmented}"]
    return [*inputs, *(word for setting in (*FBANK, *NONE, *TRAIN, *MORE) for word in ("--set", setting))]


def test_ranks_on_two_nodes_outlive_a_killed_rank_and_their_time_limit(bench, words):
    process = bench.start("train", *words, "--out", "out", "--launcher", "two")
    log = bench.folder / "out.partial" / "log" / "part.0.log"

    bench.wait_until(lambda: list(bench.folder.rglob("checkpoint.pt")), seconds=90)
    (task,) = bench.jobs("train")
    assert bench.cluster.call("squeue", "--noheader", f"--jobs={task}", "--format=%D %C").split() == ["2", "2"]
    os.kill(_second_rank(bench.folder), signal.SIGKILL)
    bench.wait_until(lambda: "rank 1 of 2 ended without a word (killed, or out of memory?)" in log.read_text())

    bench.wait_until(lambda: "resuming at epoch 1" in log.read_text(), seconds=90)  # the part was tried again
    (task,) = bench.jobs("train")
    bench.cluster.call("scancel", "--batch", "--signal=USR1", task)  # what Slurm sends before the limit
    bench.wait_until(lambda: "start 2" in log.read_text())
    assert "asked to stop: epoch " in log.read_text()
    assert "goes back into the queue" in log.read_text()

    err = process.communicate(timeout=120)[1]
    assert process.returncode == 0, err + log.read_text()
    inside = set((bench.folder / "in_image").read_text().split("\n"))  # the task in the batch step, and both ranks
    assert {"steps.core.slurm_task 0", "steps.train 0", "steps.train 1"} <= inside, inside
    settings, inputs = words[4::2], dict(word.removeprefix("--").split("=") for word in words[:3])
    run("train", bench.folder / "here", *settings, **{name: Path(folder) for name, folder in inputs.items()})
    assert bench.content() == bench.content("here")


def _second_rank(folder) -> int:
    """The process that writes rank 1's log."""
    log = str(folder / "out.partial" / "units" / "all.tmp" / "ranks" / "rank.1.log")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            if "--rank" in command and os.readlink(f"/proc/{pid}/fd/2") == log:
                return int(pid)
        except OSError:
            continue
    raise AssertionError("rank 1 is not there")
