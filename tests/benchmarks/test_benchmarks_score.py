"""The programs that benchmarks/score.py times: they run at small sizes, and those of a task find the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import score_programs
from benchmarks.score import PROGRAMS, QUICK

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("task", PROGRAMS)
def test_programs_of_a_task_find_the_same(tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)  # one of them changes the folder
    getattr(score_programs, f"make_{task}")(tmp_path, QUICK)
    found = [getattr(score_programs, f"{task}_{name}")(tmp_path, QUICK, 1)() for name in PROGRAMS[task] if name != "faiss"]
    assert len(found) > 1
    for numbers in found[:-1]:
        # Cohort scores in single precision, divided by a standard deviation of about 0.1.
        np.testing.assert_allclose(numbers, found[-1], atol=1e-4 if task == "list" else 1e-6)


def test_the_table_has_time_memory_and_difference_of_each_program():
    command = [sys.executable, "-m", "benchmarks.score", "--quick", "--repeats", "1", "--threads", "1", "--tasks", "pairs"]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[3:]]
    assert [row[:2] for row in rows] == [["pairs", "ours"], ["pairs", "bare"]]
    assert all(float(cell) > 0 for row in rows for cell in row[2:5])
    assert [float(row[5]) for row in rows] == [0, 0]
    for arguments in (["--tasks", "none"], ["--set", "dims=3"]):
        refused = subprocess.run([*command[:3], *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "expected" in refused.stderr
