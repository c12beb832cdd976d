"""Processes that belong together: they get their numbers, are told to stop, and none outlives another's bad end."""

import os
import signal
import sys
import threading
import time

import pytest

from steps.core import ranks
from steps.core.ranks import place, run_ranks

SAY = "import os, sys; open(sys.argv[1] + os.environ['RANK'], 'w').write(' '.join(os.environ[k] for k in sys.argv[2:]))"
HANG = "import time; time.sleep(60)"
STOPS = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(4))
open(sys.argv[1] + os.environ['RANK'], 'w').close()
time.sleep(60)
"""


def program(text, *words):
    return [sys.executable, "-S", "-c", text, *map(str, words)]


def wait_for(*paths):
    deadline = time.monotonic() + 30
    while not all(path.exists() for path in paths) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_each_rank_knows_its_number_and_has_its_threads(tmp_path):
    statuses, interrupted = run_ranks(program(SAY, f"{tmp_path}/", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS"), 3, threads=2)
    assert (statuses, interrupted) == ({0: 0, 1: 0, 2: 0}, False)
    assert [(tmp_path / str(rank)).read_text() for rank in range(3)] == ["0 3 2", "1 3 2", "2 3 2"]


def test_a_rank_that_ends_badly_ends_the_others(monkeypatch):
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.2)
    text = f"import os, sys\nif os.environ['RANK'] == '1': sys.exit(7)\n{HANG}"
    assert run_ranks(program(text), 3, threads=1)[0] == {0: -signal.SIGKILL, 1: 7, 2: -signal.SIGKILL}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_an_interrupt_is_handed_on_and_the_ranks_are_waited_for(tmp_path, number):
    def send():
        wait_for(tmp_path / "0", tmp_path / "1")
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    assert run_ranks(program(STOPS, f"{tmp_path}/"), 2, threads=1) == ({0: 4, 1: 4}, True)
    thread.join()


def test_where_slurm_starts_them_it_numbers_them(monkeypatch, tmp_path):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    srun = tmp_path / "srun"  # a stand-in that starts two tasks
    srun.write_text('#!/bin/sh\nshift\nfor i in 0 1; do SLURM_PROCID=$i SLURM_LOCALID=0 "$@"; done\n')
    srun.chmod(0o755)
    monkeypatch.setenv(ranks.SRUN_VARIABLE, f"{srun} --nodes=2")
    text = SAY.replace("RANK", "SLURM_PROCID")
    assert run_ranks(program(text, f"{tmp_path}/", "SLURM_LOCALID"), 2, threads=1) == ({}, False)
    assert (tmp_path / "1").read_text() == "0"
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert (place().rank, place().local_rank, place().by_srun) == (3, 1, True)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert (place().rank, place().local_rank, place().by_srun) == (2, 2, False)
