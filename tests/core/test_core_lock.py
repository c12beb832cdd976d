"""One writer per output folder."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steps.core.errors import RecipeError
from steps.core.lock import locked

REPOSITORY = Path(__file__).parents[2]

HOLD = """
import sys, time
from pathlib import Path
from steps.core.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

# Each round a child takes the lock if it can. Half of the holders die with it in hand, as after kill -9.
RACE = """
import os, sys, time
from pathlib import Path
from steps.core.errors import RecipeError
from steps.core.lock import locked
out = Path(sys.argv[1])
inside, won = out / "inside", out / f"won.{os.getpid()}"
for turn in range(40):
    child = os.fork()
    if child == 0:
        try:
            with locked(out):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if somebody else is in here
                with open(won, "a") as file:
                    file.write("x")
                time.sleep(0.001)
                os.unlink(inside)
                if turn % 2:
                    os._exit(0)
        except RecipeError:
            os._exit(0)
        except FileExistsError:
            os._exit(3)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit(3)
"""


def _python(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path/out."""
    process = _python(HOLD, str(tmp_path / "out"))
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def _lock(tmp_path):
    return tmp_path / "out.lock"


def test_the_lock_names_its_holder_and_goes_with_the_block(tmp_path):
    with locked(tmp_path / "out"):
        holder = json.loads(_lock(tmp_path).read_text())
        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
        assert os.listdir(tmp_path) == ["out.lock"]
    assert os.listdir(tmp_path) == []


def test_the_lock_goes_with_an_exception(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "out"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_living_holder_is_named_and_left_alone(tmp_path, holder):
    text = _lock(tmp_path).read_text()
    with pytest.raises(RecipeError, match=f"being written by process {holder.pid} on this host"), locked(tmp_path / "out"):
        pass
    assert _lock(tmp_path).read_text() == text
    assert os.listdir(tmp_path) == ["out.lock"]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    with locked(tmp_path / "out"):
        assert json.loads(_lock(tmp_path).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_killed_process_that_nobody_has_waited_for_is_taken_over(tmp_path, holder):
    holder.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
    with locked(tmp_path / "out"):
        pass


def test_a_pid_that_was_used_again_is_no_holder(tmp_path, holder):
    lock = json.loads(_lock(tmp_path).read_text())
    _lock(tmp_path).write_text(json.dumps(lock | {"started": "1"}))
    with locked(tmp_path / "out"):
        pass


def test_a_holder_on_another_host_is_named_and_never_taken_over(tmp_path):
    _lock(tmp_path).write_text(json.dumps({"host": "node17", "pid": 1, "started": "5"}))
    with pytest.raises(RecipeError, match="process 1 on host node17"), locked(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out.lock"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": "a", "pid": "x", "started": ""}'])
def test_a_file_that_is_no_lock_is_refused(tmp_path, text):
    _lock(tmp_path).write_text(text)
    with pytest.raises(RecipeError, match=r"out\.lock: not a lock of ours"), locked(tmp_path / "out"):
        pass
    assert _lock(tmp_path).read_text() == text


def test_of_processes_that_race_for_the_lock_of_a_dead_one_only_one_is_inside(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    racers = [_python(RACE, str(out)) for _ in range(3)]
    assert [racer.wait(timeout=120) for racer in racers] == [0, 0, 0]
    entered = [len(path.read_text()) for path in out.glob("won.*")]
    assert sum(entered) >= 40, "the racers hardly ever got the lock: nothing was tested"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_named(tmp_path, monkeypatch, number):
    def no_link(source, target):
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(RecipeError, match="makes no hard links .* --exp"), locked(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())
