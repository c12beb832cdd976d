"""On a real Slurm: hosts whose clocks differ, and what a user of the cluster may see."""

import pytest

from tests.core.conftest import REPOSITORY, STAGES
from tests.core.test_core_clocks import wrong_clocks

pytestmark = pytest.mark.slurm

AHEAD = 'prologue = ["export SKEW_HOURS=$((1 - 2 * SLURM_ARRAY_TASK_ID))"]'  # of task 0; the others are behind


def test_hosts_whose_clocks_differ_end_in_the_same_bytes(bench, undisturbed):
    wrong_clocks(bench.folder, REPOSITORY / "tests" / "slurm" / "stages", STAGES)
    bench.launcher("skewed", AHEAD, "retries = 1")
    said = bench.faulty(FAULT="once:u4", launcher="skewed")
    assert "it is tried again" in said
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == ["u0", "u1", "u2", "u3", "u4", "u4", "u5"]
    times = [(bench.folder / "out" / f"u{number}.txt").stat().st_mtime for number in range(3)]
    assert times[0] - times[1] > 7000, "no clock was wrong: nothing was tested"
    assert "up to date" in bench.faulty(SKEW_HOURS="-5")
