"""benchmarks/launch.py: only what is beside the work counts."""

import pytest

from benchmarks.launch import overhead, slope
from steps.core.launch import Local


def test_the_work_of_tasks_does_not_count(tmp_path):
    assert -0.01 < overhead(Local(), 2, 0.6, tmp_path) < 0.55  # the tasks run side by side, and 0.6 s of each are its work


def test_a_further_task_costs_what_the_line_through_all_sizes_rises():
    assert slope([1, 4, 16], [0.5 + 0.25 * size for size in (1, 4, 16)]) == pytest.approx(0.25)
