"""On a real Slurm: jobs that near their time limit go on where they were, and run.sh goes on without its shell."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slurm


def test_a_job_near_its_limit_saves_and_goes_on(bench):
    process = bench.start("counting", "--out", "out", "--launcher", "test")
    log = bench.folder / "out.partial" / "log" / "part.0.log"
    bench.wait_until(lambda: "begins at 0" in log.read_text())
    (task,) = bench.jobs("counting")
    bench.cluster.call("scancel", "--batch", "--signal=USR1", task)  # what Slurm sends before the limit
    bench.wait_until(lambda: "start 2" in log.read_text())
    said = log.read_text()
    assert "goes back into the queue" in said
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    bench.run("counting", "--out", "whole")
    assert bench.content() == bench.content("whole")
    assert "begins at" not in out  # it ran as a job, not here


def test_a_job_that_nears_its_limit_too_often_is_named(bench):
    bench.launcher("strict", "requeues = 0", "retries = 0")
    process = bench.start("counting", "--out", "out", "--launcher", "strict")
    log = bench.folder / "out.partial" / "log" / "part.0.log"
    bench.wait_until(lambda: "begins at 0" in log.read_text())
    (task,) = bench.jobs("counting")
    bench.cluster.call("scancel", "--batch", "--signal=USR1", task)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert f"part 0 reached its time limit too often (task {task} on n" in said
    bench.run("counting", "--out", "out", "--launcher", "test")
    bench.run("counting", "--out", "whole")
    assert bench.content() == bench.content("whole")


def _python(bench, *words):
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=bench.folder,
        env=bench.cluster.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_detached_run_outlives_its_shell_and_its_limit(bench, undisturbed):
    run = bench.folder / "run.sh"
    stage = f"{sys.executable} -m steps.faulty --source source --out exp/out --jobs 3 --launcher test"
    run.write_text(f"#!/bin/bash\n{stage}\n")
    run.chmod(0o755)
    bench.cluster.environment["FAULT"] = "hang:u2"
    try:
        words = ("--launcher", "test", "--folder", "exp/runs", "--start", str(bench.folder), str(run), "--detach", "--jobs", "3")
        assert _python(bench, "steps.core.detach", *words).startswith("job ")
    finally:
        del bench.cluster.environment["FAULT"]
    bench.wait_for("exp/out.partial/units/u2.tmp/u2.txt")
    (task,) = bench.jobs("run-")
    said = _python(bench, "steps.core.status", "--folder", "exp")
    assert "at work   faulty   out   " in said
    assert " of 6 pieces done" in said
    assert f"detached  job {task.partition('_')[0]}: 1 running; log: exp/runs/run-" in said
    bench.cluster.call("scancel", "--batch", "--signal=USR1", task)
    (log,) = (bench.folder / "exp" / "runs").glob("*/part.0.log")
    bench.wait_until(lambda: "still there: waiting for it" in log.read_text())
    bench.go()
    bench.wait_until(lambda: (bench.folder / "exp" / "out").is_dir())
    assert bench.content("exp/out") == undisturbed
    assert sorted(bench.calls()) == [f"u{number}" for number in range(6)]
    bench.wait_until(lambda: "ended with status 0" in _python(bench, "steps.core.status", "--folder", "exp"))


def test_a_cancelled_detached_run_takes_its_array_with_it(bench, undisturbed):
    run = bench.folder / "run.sh"
    run.write_text(
        f"#!/bin/bash\nFAULT=hang:u2 {sys.executable} -m steps.faulty --source source --out exp/out --jobs 3 --launcher test\n"
    )
    run.chmod(0o755)
    words = ("--launcher", "test", "--folder", "exp/runs", "--start", str(bench.folder), str(run))
    _python(bench, "steps.core.detach", *words)
    bench.wait_for("exp/out.partial/units/u2.tmp/u2.txt")
    (task,) = bench.jobs("run-")
    bench.cluster.call("scancel", task)
    bench.wait_until(lambda: not bench.jobs("run-") and not bench.jobs())
    bench.wait_until(lambda: "stopped   faulty" in _python(bench, "steps.core.status", "--folder", "exp"))
    bench.faulty(out="exp/out")
    assert bench.content("exp/out") == undisturbed
