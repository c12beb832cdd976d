"""Parts run as processes; what failed is named, and no part outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from steps.core import launch
from steps.core.launch import PartsFailed, launch_local
from steps.core.threads import THREAD_VARIABLES

REPOSITORY = Path(__file__).parents[2]

PART = """
import os, sys, time
from pathlib import Path
part, folder = int(sys.argv[1]), Path(sys.argv[2])
(folder / f"pid.{part}").write_text(str(os.getpid()))
"""

PARENT = """
import sys
from pathlib import Path
from steps.core.launch import launch_local
folder = Path(sys.argv[2])
launch_local([sys.executable, "-c", sys.argv[1], "{part}", str(folder)], 2, folder / "log", threads=1)
"""


def _launch(tmp_path, script, parts=3, **options):
    command = [sys.executable, "-c", PART + script, "{part}", str(tmp_path)]
    launch_local(command, parts, tmp_path / "log", **{"threads": 1} | options)


def _failure(tmp_path, script, parts=3):
    with pytest.raises(PartsFailed) as caught:
        _launch(tmp_path, script, parts)
    return caught.value


def _pids(folder, count):
    """The ids of the parts, once all have written them."""
    deadline = time.monotonic() + 30
    while True:
        texts = [path.read_text() for path in folder.glob("pid.*")]
        if len(texts) == count and all(texts):
            return [int(text) for text in texts]
        assert time.monotonic() < deadline, "the parts did not start"
        time.sleep(0.01)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until_gone(pids):
    deadline = time.monotonic() + 20
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline, "a part outlived its parent"
        time.sleep(0.01)


def test_every_part_runs_once_with_its_number_threads_and_log(tmp_path):
    script = f"print('part', part, [os.environ[name] for name in {THREAD_VARIABLES!r}])"
    _launch(tmp_path, script, threads=3)
    logs = [(tmp_path / "log" / f"part.{part}.log").read_text() for part in range(3)]
    assert logs == [f"part {part} ['3', '3', '3']\n" for part in range(3)]


def test_the_parts_run_side_by_side_and_somebody_watches(tmp_path):
    # Each part waits for the others: one after another they would never end.
    script = "while len(list(folder.glob('pid.*'))) < 3: time.sleep(0.01)"
    calls = []
    _launch(tmp_path, script, watch=lambda: calls.append(1))
    assert calls


def test_a_failed_part_is_named_with_the_end_of_its_log(tmp_path):
    script = "print(*range(100), sep='\\n')\nif part == 1: raise SystemExit('the disk is on fire')"
    failure = _failure(tmp_path, script)
    assert "1 of 3 parts failed (1); part 1 ended with status 1" in str(failure)
    assert "the disk is on fire" in str(failure)
    assert str(tmp_path / "log" / "part.1.log") in str(failure)
    assert "    99\n" in str(failure)
    assert "    10\n" not in str(failure)


@pytest.mark.parametrize(("statuses", "expected"), [((2, 0, 2), 2), ((2, 1, 0), 1), ((0, 2, 0), 2), ((3, 2, 2), 1)])
def test_a_failure_can_be_repaired_only_if_every_failed_part_says_so(tmp_path, statuses, expected):
    failure = _failure(tmp_path, f"sys.exit({statuses}[part])")
    assert failure.status == expected
    assert f"{sum(status != 0 for status in statuses)} of 3 parts" in str(failure)


def test_a_killed_part_is_named_with_its_signal(tmp_path):
    failure = _failure(tmp_path, "os.kill(os.getpid(), 9)", parts=1)
    assert "signal SIGKILL" in str(failure)
    assert failure.status == 1


def test_the_other_parts_end_their_work_when_one_fails(tmp_path):
    script = "if part == 0: sys.exit(2)\ntime.sleep(0.3)\n(folder / f'done.{part}').touch()"
    _failure(tmp_path, script)
    assert len(list(tmp_path.glob("done.*"))) == 2


def test_an_interrupt_ends_all_parts(tmp_path):
    def interrupt():
        if len(list(tmp_path.glob("pid.*"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _launch(tmp_path, "time.sleep(60)", parts=2, watch=interrupt)
    assert not any(_lives(pid) for pid in _pids(tmp_path, 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl of Linux")
def test_parts_die_with_their_parent(tmp_path, number):
    command = [sys.executable, "-c", PARENT, PART + "time.sleep(60)", str(tmp_path)]
    parent = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        pids = _pids(tmp_path, 2)
        os.kill(parent.pid, number)
        parent.wait(timeout=20)
        _wait_until_gone(pids)
    finally:
        parent.kill()
        parent.wait()


@pytest.mark.parametrize("word", ["a b", "a;exit 3", "$(exit 3)", "'", '"', "*", "\\", "{part}.txt", "\N{SNOWMAN}", "-x", ""])
def test_words_reach_a_part_as_they_are(tmp_path, word):
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "{part}", word]
    launch_local(command, 1, tmp_path / "log", threads=1)
    assert (tmp_path / "log" / "part.0.log").read_text() == f"{['0', word]}\n"


@pytest.mark.parametrize(
    ("num_blocks", "said"), [(1, "    (it is empty: no room is left on that disk)"), (1 << 20, "    (it is empty)")]
)
def test_an_empty_log_on_a_full_disk_says_so(tmp_path, monkeypatch, num_blocks, said):
    (tmp_path / "part.0.log").touch()
    monkeypatch.setattr(launch.os, "statvfs", lambda path: SimpleNamespace(f_bavail=num_blocks, f_frsize=4096))
    with pytest.raises(PartsFailed) as caught:
        launch.raise_if_failed({0: launch.Failure(how="ended with status 2", log=tmp_path / "part.0.log", repairable=True)}, 1)
    assert said in str(caught.value).splitlines()
