"""On a real Slurm: whatever fails is named, a rerun does only what is missing, and the result is that of an undisturbed run."""

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from steps.core.files import read_json

pytestmark = pytest.mark.slurm

UNITS = [f"u{number}" for number in range(6)]  # part 0 has u0 u3, part 1 u1 u4, part 2 u2 u5


def _kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> str:
    os.kill(process.pid, number)
    return process.communicate(timeout=60)[1]


def _finish(bench, undisturbed, *options, **more):
    """The units that a rerun begins; its result is the expected one, and nothing is left beside it."""
    bench.calls()
    bench.faulty(*options, **more)
    assert bench.content() == undisturbed
    assert not list(bench.folder.glob("out.*"))
    return sorted(bench.calls())


def test_any_number_of_parts_anywhere_makes_the_same(bench, undisturbed):
    bench.launcher("narrow", "max_tasks = 1")
    assert "3 tasks (cpu)" in bench.faulty()
    bench.faulty("--jobs", "2", launcher="narrow", out="two")
    bench.faulty(launcher="local", out="local")
    # "undisturbed" was made in one part.
    assert {bench.content(name) for name in ("out", "two", "local")} == {undisturbed}
    assert not list(bench.folder.glob("*.partial"))


def test_a_part_that_fails_once_is_tried_again(bench, undisturbed):
    said = bench.faulty(FAULT="once:u4")
    assert "part 1 ended with status 1 (task" in said
    assert "it is tried again" in said
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == ["u0", "u1", "u2", "u3", "u4", "u4", "u5"]


def test_a_part_that_always_fails_is_named_with_the_end_of_its_log(bench, undisturbed):
    said = bench.faulty(FAULT="always:u1", expect=2)
    assert "1 of 3 parts failed (1); part 1 ended with status 2 (task" in said
    assert "u1: the recording is empty" in said
    assert "out.partial/log/part.1.log" in said
    assert said.count("it is tried again") == 1
    assert sorted(bench.calls()) == ["u0", "u1", "u1", "u2", "u3", "u5"]
    assert not (bench.folder / "out.partial" / "jobs.json").exists()
    assert _finish(bench, undisturbed) == ["u1", "u4"]


def test_a_cancelled_task_is_noticed_and_not_tried_again(bench, undisturbed):
    process = bench.begin()
    (task,) = [task for task in bench.jobs() if task.endswith("_2")]
    bench.cluster.call("scancel", task)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert f"part 2 was cancelled (task {task})" in said
    assert "tried again" not in said
    assert _finish(bench, undisturbed) == ["u2", "u5"]


def test_an_interrupt_cancels_the_array(bench, undisturbed):
    process = bench.begin()
    said = _kill(process, signal.SIGINT)  # SIGTERM: test_a_cancelled_detached_run_takes_its_array_with_it
    assert process.returncode == 2
    assert "interrupted; what was finished is kept" in said
    assert bench.jobs() == []
    assert not (bench.folder / "out.partial" / "jobs.json").exists()
    assert _finish(bench, undisturbed) == ["u2", "u5"]


def test_a_rerun_waits_for_the_array_of_a_killed_run(bench, undisturbed):
    _kill(bench.begin(unit="u0"))
    again = bench.start("faulty", "--source", "source", "--out", "out", "--jobs", "3", "--launcher", "test")
    time.sleep(1.0)
    assert again.poll() is None
    bench.go()
    said = again.communicate(timeout=60)[1]
    assert again.returncode == 0, said
    assert "of a run that was killed is still there: waiting for it" in said
    assert "tasks (cpu)" not in said  # no second array
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == UNITS


@pytest.mark.parametrize("options", [("--launcher", "local"), ("--set", "embed.word=other", "--force")])
def test_the_array_of_a_killed_run_that_is_of_no_use_is_cancelled_first(bench, undisturbed, options):
    _kill(bench.begin())
    said = bench.faulty(*options)
    assert "of a run that was killed is still there: cancelled" in said
    assert bench.jobs() == []
    assert (bench.content() == undisturbed) == ("local" in options)
    if "local" in options:
        assert sorted(bench.calls()) == ["u0", "u1", "u2", "u2", "u3", "u4", "u5"]


def test_an_array_whose_number_a_killed_run_did_not_note_is_found(bench, undisturbed):
    _kill(bench.begin())
    record = bench.folder / "out.partial" / "jobs.json"
    (name,) = read_json(record)
    record.write_text(f'{{"{name}": ""}}')
    bench.go()
    assert "waiting for it" in bench.faulty() or bench.jobs() == []
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == UNITS


def test_a_second_run_into_the_same_folder_is_refused(bench, undisturbed):
    process = bench.begin()
    said = bench.faulty(expect=2)
    assert f"out is being written by process {process.pid} on this host" in said
    assert len(bench.jobs()) == 1
    bench.go()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == UNITS


def test_a_controller_that_restarts_is_waited_for(bench, undisturbed):
    process = bench.begin()
    bench.cluster.end("slurmctld")  # killed, it would forget what it started last
    time.sleep(1.0)
    bench.go()
    time.sleep(0.5)
    assert process.poll() is None or process.returncode == 0
    bench.cluster.call("slurmctld")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == UNITS


def test_a_lost_node_never_writes_beside_its_successor(bench, undisturbed):
    process = bench.begin()
    (task,) = bench.jobs()
    node = bench.cluster.call("squeue", "--noheader", "--format=%N", "--jobs", task).strip()
    (lost,) = [int(line.split()[1]) for line in (bench.folder / "calls.txt").read_text().splitlines() if line.startswith("u2 ")]
    bench.cluster.end(f"slurmd.{node}", signal.SIGKILL)  # its job goes on, and nobody hears of it
    bench.cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")  # it would be found in ten seconds
    log = bench.folder / "out.partial" / "log" / "part.2.log"
    try:
        bench.wait_until(lambda: "start 2" in log.read_text())
        time.sleep(1.0)
        assert (bench.folder / "calls.txt").read_text().count("u2 ") == 1  # it waits: the unit has a writer
        assert Path(f"/proc/{lost}").exists()
        os.kill(lost, signal.SIGKILL)
        bench.go()
        said = process.communicate(timeout=60)[1]
    finally:
        bench.cluster.call("slurmd", "-N", node)
        bench.cluster.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)  # it may have come by itself
    assert process.returncode == 0, said
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == ["u0", "u1", "u2", "u2", "u3", "u4", "u5"]
    bench.wait_until(lambda: bench.cluster.call("sinfo", "-h", "-N", "-o", "%t", "-p", "cpu").split() == ["idle", "idle"])


def test_a_full_disk_is_named_and_a_rerun_works(bench, undisturbed):
    small = bench.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", small], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        said = bench.faulty(out="small/out", FAULT="fill:u4", expect=2)
        assert "ended with status 2 (task" in said
        assert "No space left on device; nothing finished was lost: make room and rerun" in said
        done = {path.name for path in (small / "out.partial" / "units").iterdir() if path.suffix != ".tmp"}
        subprocess.run(["mount", "-o", "remount,size=32M", small], check=True)
        bench.calls()
        bench.faulty(out="small/out", FAULT="fill:u4")
        assert set(bench.calls()) == set(UNITS) - done
        assert bench.content("small/out") == undisturbed
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_files_that_other_hosts_show_late_are_waited_for(bench, undisturbed):
    began = time.monotonic()
    bench.faulty(FAULT="late:u5")
    assert time.monotonic() - began > 2.0
    assert bench.content() == undisturbed
    assert sorted(bench.calls()) == UNITS


def test_words_and_folders_reach_a_part_unharmed(bench):
    hard = "a b;$(touch pwned)`touch pwned`'\"\\ %a%%j*"
    word = hard + " {part} \N{SNOWMAN}"
    bench.faulty("--set", f"embed.word={word}", out=hard)
    assert (bench.folder / hard / "u3.txt").read_text() == f"u3 {word} sound\n"
    assert not list(bench.folder.rglob("pwned"))
    bench.launcher("once", "retries = 0")
    said = bench.faulty("--set", f"embed.word={word}", out=f"{hard}2", launcher="once", FAULT="always:u1", expect=2)
    assert "u1: the recording is empty" in said  # from its log, below that folder


def test_what_slurm_refuses_is_said(bench):
    (bench.folder / "conf" / "launch" / "wrong.toml").write_text('base = ["test.toml"]\n[launch.cpu]\npartition = "moon"\n')
    said = bench.faulty(launcher="wrong", expect=2)
    assert "--partition=moon" in said
    assert "invalid partition specified" in said
    assert "conf/launch" in said


def test_outputs_have_the_rights_that_the_umask_gives(bench):
    before = os.umask(0o027)
    try:
        bench.launcher("once", "retries = 0")
        bench.faulty()
        bench.faulty(out="failed", launcher="once", FAULT="always:u1", expect=2)
    finally:
        os.umask(before)
    for path in [bench.folder / "out", *(bench.folder / "out").rglob("*"), *(bench.folder / "failed.partial").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o027 == 0, f"{path}: {mode:o}"
