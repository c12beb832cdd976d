"""Stage 4 in two processes: the model of one, and whatever ends a rank or the run, a rerun goes on to the same bytes."""

import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from steps.core import ranks
from steps.core.errors import RecipeError
from steps.core.launch import PartsFailed
from steps.data.manifests import read_roots, write_roots
from steps.examples.training_set import TrainingSet
from steps.monitor import dev
from steps.monitor.ranks import run_rank
from steps.nnet.training import Training
from steps.train import STAGE, _train

FILES = ("model.safetensors", "head.safetensors", "speakers", "settings.toml")
# 5 examples a batch: two for one rank, three for the other.
MORE = (
    "train.ranks=2",
    "train.batch_size=5",
    "train.learning_rate=0.002",
    "train.final_learning_rate=0.001",
    "train.max_gradient_norm=1.0",
    "train.precision=float32",
    "train.device=cpu",
    "train.workers=1",
)


class Fork:
    """What subprocess.Popen is to `run_ranks`, without the seconds that a new Python takes to load torch."""

    def __init__(self, command, environment):
        sys.stdout.flush()
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            os.environ.update(environment)
            try:
                torch.set_num_threads(1)
                run_rank(command[-1], STAGE.sections, _train)
            finally:
                os._exit(99)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self):
        while self.poll() is None:
            time.sleep(0.01)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture
def forks(monkeypatch) -> list[Fork]:
    """Ranks are forks of this process; filled with those that were started."""
    started = []

    def start(command, environment):
        started.append(Fork(command, environment))
        return started[-1]

    monkeypatch.setattr(ranks, "_start", start)
    return started


def train(stages, out, *settings):
    return stages.run(
        "train", out, *stages.FBANK, *stages.NONE, *stages.TRAIN, *MORE, *settings, manifests=stages.manifests,
        features=stages.features, augmented=stages.none,
    )  # fmt: skip


def records(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def once(folder: Path, name: str, act) -> threading.Thread:
    """`act()` as soon as a file is there below a folder."""

    def look():
        deadline = time.monotonic() + 60
        while not list(folder.rglob(name)) and time.monotonic() < deadline:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def test_two_ranks_train_the_model_of_one_process(stages, tmp_path, caplog):
    """As separate programs, which is how they are started."""
    with caplog.at_level(logging.INFO, logger=stages.log):
        two = train(stages, tmp_path / "two")
    one = train(stages, tmp_path / "one", "train.ranks=1")
    assert "2 ranks, each with 1 threads" in caplog.text
    assert json.loads((two / "training.json").read_text())["how"] == "cpu, float32, 2 ranks x 2 to 3 examples"
    for name in ("model", "head"):
        found, expected = (load_file(folder / f"{name}.safetensors") for folder in (two, one))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4)
    for found, expected in zip(records(two), records(one), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
        assert found["num_examples"] == expected["num_examples"] == 15


def test_ranks_find_recordings_that_lie_elsewhere(stages, forks, tmp_path):
    corpus = Path(shutil.copytree(stages.manifests, tmp_path / "corpus", ignore=shutil.ignore_patterns("audio")))
    write_roots(corpus, dict.fromkeys(read_roots(corpus), "recordings"))
    stages.restamp(corpus)
    more = ("features.storage=none", f"site.recordings={stages.manifests}")
    features = stages.run("extract", tmp_path / "features", *stages.FBANK, *more, manifests=corpus)
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, *MORE, *more)
    unstored = stages.run("train", tmp_path / "two", *settings, manifests=corpus, features=features, augmented=stages.none)
    stored = train(stages, tmp_path / "stored")
    assert len(forks) == 4
    assert (unstored / "model.safetensors").read_bytes() == (stored / "model.safetensors").read_bytes()


REGIMES = {
    "shard": ("train.shard_head=true",),
    "mined pairs": (
        "head.type=contrastive",
        "train.sampling=pairs",
        "train.mined_pairs=60",
        "train.mined_share=0.2",
        "train.batch_size=8",
    ),
    "pool and plateau": (
        "train.active=one_minus_max",
        "train.active_share=0.4",
        "train.active_add=4",
        "train.decay=plateau",
        "train.plateau_patience=1",
        "train.average_of=best",
        "train.final_learning_rate=0.0",
    ),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_what_rank_0_finds_out_holds_for_all(stages, tmp_path, forks, regime):
    """The log is that of one process, although in between rank 0 is the only one that looks at pairs, pools and dev speakers."""
    found = records(train(stages, tmp_path / "two", *REGIMES[regime]))
    alone = [setting for setting in REGIMES[regime] if "shard_head" not in setting]
    expected = records(train(stages, tmp_path / "one", *alone, "train.ranks=1"))
    assert len(forks) == 2
    for each, other in zip(found, expected, strict=True):
        assert each == pytest.approx(other, rel=2e-3)
    shapes = [
        {key: value.shape for key, value in load_file(tmp_path / name / "head.safetensors").items()} for name in ("two", "one")
    ]
    assert shapes[0] == shapes[1]


def test_what_one_rank_meets_is_the_message_of_the_stage(stages, tmp_path, forks, monkeypatch):
    whole = TrainingSet.make_batch

    def torn(self, batch):
        if len(batch.examples) == 3:  # the share of rank 1
            raise RecipeError("an archive is torn")
        return whole(self, batch)

    monkeypatch.setattr(TrainingSet, "make_batch", torn)
    with pytest.raises(RecipeError, match="^an archive is torn"):
        train(stages, tmp_path / "model", "train.rank_timeout=20")


def test_a_bug_in_a_rank_ends_with_its_traceback(stages, tmp_path, forks, monkeypatch):
    monkeypatch.setattr(Training, "train_batch", lambda self, *made: 1 / (1 - self.world.rank))
    with pytest.raises(PartsFailed, match=r"(?s)rank 1 of 2 failed:.*ZeroDivisionError.*the last checkpoint is kept") as error:
        train(stages, tmp_path / "model", "train.rank_timeout=20")
    assert error.value.status == 1


def test_a_rank_that_does_not_answer_is_given_up(stages, tmp_path, forks, monkeypatch):
    whole = Training.train_batch
    monkeypatch.setattr(Training, "train_batch", lambda self, *made: time.sleep(60 * self.world.rank) or whole(self, *made))
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.5)
    with pytest.raises(RecipeError, match=r"rank \d of 2 .*; the last checkpoint is kept"):
        train(stages, tmp_path / "model", "train.rank_timeout=2")
    assert forks[0].poll() == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.ranks=8", "train.batch_size=8"), "train.ranks = 8: expected at least as many speakers"),
        (("train.ranks=6",), "batch_size: expected an example for each of 6 ranks, found 5"),
        (("train.compile=true",), "compile: expected false with ranks = 2"),
        (("train.shard_head=true", "train.ranks=1"), "shard_head: expected false with ranks = 1"),
        (("train.class_share=0.5",), "class_share: expected shard_head = true with ranks = 2"),
        (("train.class_share=0.0",), "class_share: expected a share above 0"),
        (("train.shard_head=true", "head.type=sphereface2"), "head.type = 'sphereface2' with train.shard_head or"),
        (("train.shard_head=true", "train.active=random", "train.active_add=1"), "active: expected 'none' with shard_head"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(stages, tmp_path, forks, settings, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        train(stages, tmp_path / "model", *settings)


def test_another_number_of_ranks_does_not_go_on_with_what_was_begun(stages, tmp_path, forks, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dev, "dev_figures", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model")
    with pytest.raises(RecipeError, match=r"train\.ranks: 2 -> 1"):
        train(stages, tmp_path / "model", "train.ranks=1")


def test_whatever_ends_it_a_rerun_goes_on_to_the_same_bytes(stages, tmp_path, forks, caplog):
    # With dropout: each update of each rank has its own.
    long = (
        "train.examples_per_epoch=60",
        "model.type=bilstm",
        "model.width=4",
        "model.dense_dims=[6]",
        "model.dense_dropout=0.0",
    )
    whole = train(stages, tmp_path / "whole", *long)
    out, work = tmp_path / "model", tmp_path / "model.partial"

    # A rank is killed, by the out-of-memory killer, say.
    thread = once(work, "checkpoint.pt", lambda: forks[3].kill())
    with pytest.raises(RecipeError, match=r"rank 1 of 2 ended with signal SIGKILL .*the last checkpoint is kept, and a rerun"):
        train(stages, out, *long)
    thread.join()
    assert all(fork.poll() is not None for fork in forks)

    # The run is told to stop, in the middle of its second epoch.
    thread = once(work, "0001.head.safetensors", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with caplog.at_level(logging.INFO, logger=stages.log), pytest.raises(KeyboardInterrupt):
        train(stages, out, *long)
    thread.join()
    assert forks[-2].poll() == 4  # and rank 1 was told, or lost it in the middle of what rank 0 does alone
    assert forks[-1].poll() in (3, 4)

    assert not out.exists()
    train(stages, out, *long)
    assert records(out) == records(whole)
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
