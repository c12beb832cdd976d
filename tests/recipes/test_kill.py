"""A killed run, started again, makes what an undisturbed one makes; and the script that shows it can see a difference."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steps.core.files import tree_hashes
from steps.core.stamp import write_stamp

SCRIPT = Path(__file__).with_name("kill_test.py")


@pytest.fixture
def script():
    """The module of the script."""
    spec = importlib.util.spec_from_file_location("kill_test", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def two_runs(tmp_path):
    """Two experiments with the same results."""
    for exp in ("one", "other"):
        for name, text in (("toy/x/model/model.safetensors", "weights"), ("toy/x/scores/llr/o.txt", "a b 1\n")):
            path = tmp_path / exp / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
        for folder in ("toy/x/model", "toy/x/scores"):
            path = tmp_path / exp / folder
            write_stamp(path, {"stage": "test"}, tree_hashes(path, ("**/*",)), 1.0)
    return tmp_path / "one", tmp_path / "other"


def test_the_same_is_the_same(script, two_runs):
    assert script.differing(*two_runs) == []
    assert script.damaged(two_runs[0]) == []


def test_other_bytes_are_seen(script, two_runs):
    (two_runs[1] / "toy/x/scores/llr/o.txt").write_text("a b 2\n")
    assert script.differing(*two_runs) == ["toy/x/scores/llr/o.txt: bytes"]
    assert [Path(name).name for name in script.damaged(two_runs[1])] == ["o.txt"]


def test_a_missing_output_and_leftovers_are_seen(script, two_runs):
    shutil.rmtree(two_runs[1] / "toy/x/model")
    (two_runs[1] / "toy/x/model.partial").mkdir()
    assert script.differing(*two_runs) == [
        "toy/x/model/stamp.json: content", "toy/x/model/model.safetensors: bytes", "toy/x/model.partial: left behind",
    ]  # fmt: skip


def test_other_content_is_seen(script, two_runs):
    write_stamp(two_runs[1] / "toy/x/model", {"stage": "test"}, {"model.safetensors": "0" * 64}, 1.0)
    assert script.differing(*two_runs) == ["toy/x/model/stamp.json: content"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_told_to_stop_ends_after_its_stage(script, tmp_path, number):
    exp = tmp_path / "exp"
    process = script.start(exp, "xvector", 1)
    while not list(exp.rglob("*.partial")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) != 0
    assert not list(exp.rglob("*.lock"))  # which would refuse a rerun
    assert "interrupted; what was finished is kept" in exp.with_name("exp.log").read_text()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_makes_the_same_in_the_end(tmp_path):
    command = [sys.executable, str(SCRIPT), "--kills", "2", "--seed", "1", "--folder", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "2 kills" in process.stdout
    assert "all the same" in process.stdout
