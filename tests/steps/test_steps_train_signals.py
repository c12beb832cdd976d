"""Stage 4 told to stop: the update under way is finished and saved, and a rerun ends in the bytes of a run left alone."""

import logging
import multiprocessing
import os
import signal
import time

import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from steps.core.interrupts import end_on_sigterm
from steps.examples.training_set import TrainingSet
from steps.monitor import dev
from steps.nnet import checkpoint
from steps.nnet.training import Training

FILES = ("model.safetensors", "head.safetensors", "speakers", "settings.toml")


@pytest.fixture(autouse=True)
def _as_from_the_command_line():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    end_on_sigterm()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def train(stages, out):
    # No checkpoint within an epoch but that of the interrupt.
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, "train.checkpoint_seconds=1000")
    return stages.run("train", out, *settings, manifests=stages.manifests, features=stages.features, augmented=stages.none)


def in_update(patch, wanted: int, act) -> None:
    """`act()` in the middle of update number `wanted`, counted from 1."""
    whole, done = Training.train_batch, 0

    def train_batch(self, *made):
        nonlocal done
        done += 1
        if done == wanted:
            act()
        whole(self, *made)

    patch.setattr(Training, "train_batch", train_batch)


def assert_a_rerun_ends_as_if_nothing_had_happened(stages, out) -> None:
    found = train(stages, out)
    for name in FILES:
        assert (found / name).read_bytes() == (stages.model / name).read_bytes(), name


def saved(out) -> tuple[int, int]:
    """Epoch and update of the checkpoint."""
    (path,) = out.with_name(out.name + ".partial").rglob("checkpoint.pt")
    state = checkpoint.load(path)
    return state["epoch"], state["step"]


def to_all(number: int) -> None:
    """As Slurm does it: to the processes that make batches, too, which live on."""
    workers = multiprocessing.active_children()
    for worker in workers:
        os.kill(worker.pid, number)
    time.sleep(0.2)
    assert all(worker.is_alive() for worker in workers)
    os.kill(os.getpid(), number)


# 4 updates an epoch: number 6 is the second of the second epoch.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_update_under_way_is_finished_and_saved(stages, tmp_path, caplog, number):
    out = tmp_path / "model"
    assert not multiprocessing.active_children()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO, logger=stages.log):
        in_update(patch, 6, lambda: to_all(number))
        with pytest.raises(KeyboardInterrupt):
            train(stages, out)
    assert not multiprocessing.active_children()
    assert "asked to stop: epoch 2 goes on after update 2 of 4" in caplog.text
    assert saved(out) == (2, 2)
    end_on_sigterm()
    assert_a_rerun_ends_as_if_nothing_had_happened(stages, out)


def test_an_interrupt_of_the_dev_evaluation_ends_it_at_once_and_loses_no_update(stages, tmp_path):
    out = tmp_path / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dev, "dev_figures", lambda *arguments: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            train(stages, out)
    assert saved(out) == (1, 4)
    end_on_sigterm()
    assert_a_rerun_ends_as_if_nothing_had_happened(stages, out)


MAKE = TrainingSet.make_batch


def slowly(self, batch):
    """A worker has later batches still to make while the first is learnt from."""
    time.sleep(0.2 * (batch.number > 0))
    return MAKE(self, batch)


@pytest.fixture
def _often_looked_for(monkeypatch):
    """The loader looks ten times a second whether its workers live, and not every fifth second."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))


@pytest.mark.usefixtures("_often_looked_for")
def test_a_worker_that_the_signal_ended_takes_no_update_with_it(stages, tmp_path):
    def killed_and_told():
        (worker,) = multiprocessing.active_children()
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.1)  # its end comes in the update, and is met after it
        signal.setitimer(signal.ITIMER_REAL, 0.3)  # its end is noticed before the signal comes

    out = tmp_path / "model"
    before = signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingSet, "make_batch", slowly)
            in_update(patch, 1, killed_and_told)
            with pytest.raises(KeyboardInterrupt):
                train(stages, out)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert saved(out) == (1, 1)


@pytest.mark.usefixtures("_often_looked_for")
def test_a_worker_that_dies_without_a_signal_is_no_interrupt(stages, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSet, "make_batch", slowly)
        in_update(patch, 1, lambda: [os.kill(worker.pid, signal.SIGKILL) for worker in multiprocessing.active_children()])
        with pytest.raises(RuntimeError, match="DataLoader worker"):
            train(stages, tmp_path / "model")
