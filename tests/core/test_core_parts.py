"""A unit has one writer at a time; a work folder says how far it is; locks of jobs that are over are taken."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steps.core import parts, slurm, status
from steps.core.errors import RecipeError
from steps.core.lock import locked

REPOSITORY = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from steps.core.parts import _sole_writer
with _sole_writer(Path(sys.argv[1]), "u1"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _hold(path, seconds):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_unit_has_one_writer_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "units.lock"
    process = _hold(path, 60)
    try:
        with parts._sole_writer(path, "u2"):  # another unit is free
            pass
        monkeypatch.setattr(parts, "_HELD_SECONDS", 0.3)
        with pytest.raises(RecipeError, match="another process still works on 'u1'"), parts._sole_writer(path, "u1"):
            pass
    finally:
        process.kill()
        process.communicate()
    with parts._sole_writer(path, "u1"):  # the kernel gave it back
        pass


def test_the_last_writer_of_a_unit_is_waited_for(tmp_path):
    process = _hold(tmp_path / "units.lock", 1.0)
    began = time.monotonic()
    with parts._sole_writer(tmp_path / "units.lock", "u1"):
        assert time.monotonic() - began > 0.3
    process.communicate()


def _foreign_lock(tmp_path, **more):
    holder = {"host": "elsewhere", "pid": 7, "started": "1", **more}
    (tmp_path / "out.lock").write_text(json.dumps(holder))


def test_the_lock_of_a_job_that_is_over_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    _foreign_lock(tmp_path, job="12", restart="0")
    monkeypatch.setattr(slurm, "job_lives", lambda job: job == "12")
    with pytest.raises(RecipeError, match="process 7 on host elsewhere, job 12,"), locked(tmp_path / "out"):
        pass
    monkeypatch.setattr(slurm, "job_lives", lambda job: False)
    with locked(tmp_path / "out"):
        assert json.loads((tmp_path / "out.lock").read_text())["pid"] == os.getpid()


def test_a_job_that_began_anew_takes_over_its_own_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "job_lives", lambda job: True)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    _foreign_lock(tmp_path, job="12", restart="0")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with locked(tmp_path / "out"):
        assert json.loads((tmp_path / "out.lock").read_text())["restart"] == "1"
    _foreign_lock(tmp_path, job="12", restart="1")  # two steps of one start: both live
    with pytest.raises(RecipeError, match="on host elsewhere, job 12"), locked(tmp_path / "out"):
        pass


def test_a_lock_of_another_host_without_a_job_is_kept(tmp_path):
    _foreign_lock(tmp_path)
    with pytest.raises(RecipeError, match="delete the lock if that process is gone"), locked(tmp_path / "out"):
        pass


def test_the_status_says_what_is_done_at_work_and_stopped(bench, hanging):
    lines = status.report(bench.folder)
    assert any(line.startswith("done      source   source   ") for line in lines)
    (line,) = [line for line in lines if line.startswith("at work")]
    assert line.split()[2:] == ["fake", "out", "2", "of", "6", "pieces", "done"]
    assert f"            written by process {hanging.pid} on host" in "\n".join(lines)
    hanging.kill()
    hanging.wait()
    (line,) = [line for line in status.report(bench.folder) if line.startswith("stopped")]
    assert "2 of 6 pieces done" in line


def test_what_lies_in_an_empty_folder_is_nothing(tmp_path):
    assert status.report(tmp_path) == []
