"""Two people, or two containers, that run one recipe into one folder: each is told of the other, and nothing is broken."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from steps.core.lock import holder_of
from tests.core.conftest import Bench

# A stage as another user runs it: the environment may lie where that one cannot read, so everything is loaded before.
AS_USER = """
import getpass, os, runpy, subprocess, sys, tomllib, locale, encodings.idna
sys.path.insert(0, os.getcwd())
import numpy, steps.core.stage, steps.core.stamp
steps.core.stamp.run_record()
number = int(sys.argv[1])
os.setgroups([])
os.setgid(number)
os.setuid(number)
os.umask(int(sys.argv[2], 8))
sys.argv = sys.argv[3:]
runpy.run_module("steps." + sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def shared():
    """A bench in a folder that other users can reach, as pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="two-users-"))
    folder.chmod(0o755)
    try:
        bench = Bench(folder)
        bench.source()
        yield bench
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def other():
    """The number of another user, made for these tests where that is possible."""
    if os.geteuid() != 0:
        pytest.skip("making a user needs root")
    name = f"two-users-{os.getpid()}"
    made = shutil.which("useradd") and subprocess.run(
        ["useradd", "--no-create-home", "--shell", "/bin/false", name], check=False, capture_output=True
    )
    if not made or made.returncode != 0:
        pytest.skip("no user can be made here")
    try:
        yield pwd.getpwnam(name).pw_uid
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


def _as(user: int, bench: Bench, stage: str, *words: str, umask: str = "022", expect: int, prefix=()) -> str:
    command = [*prefix, sys.executable, "-c", AS_USER, str(user), umask, stage, *words]
    done = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def _listing(bench: Bench) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in bench.folder.rglob("*") if path.is_file() and "steps" not in path.parts}


def test_another_user_may_look_and_not_write(shared, other):
    words = ("fake", "--source", "source", "--out", "out")
    process = shared.start(*words, FAKE="hang:u2")
    try:
        shared.wait_for("out.partial/units/u2.tmp/u2.txt")
        before = _listing(shared)
        said = _as(other, shared, *words, expect=2)
        assert "Permission denied; the account that runs this needs the right to use it" in said
        said = _as(other, shared, "core.status", "--folder", ".", expect=0)
        assert _listing(shared) == before
        shared.folder.chmod(0o777)  # a folder that both may write to
        said = _as(other, shared, *words, expect=2)
        assert f"out is being written by process {process.pid} on this host, of user root (lock out.lock); wait for it" in said
        assert _listing(shared) == before
    finally:
        process.kill()
        process.communicate()
    said = _as(other, shared, *words, expect=2)  # the lock of the dead is no hindrance, the rights to what it began are
    assert "out.partial" in said
    assert "Permission denied" in said
    assert _listing(shared) == {name: text for name, text in before.items() if not name.endswith("out.lock")}
    assert "resuming: 2 of 6" in shared.fake()
    before = _listing(shared)
    assert "up to date: out" in _as(other, shared, *words, expect=0)
    shared.folder.chmod(0o755)
    assert "Permission denied" in _as(other, shared, *words, "--set", "embed.repeat=2", "--force", expect=2)
    assert _listing(shared) == before


def test_a_group_that_shares_a_folder_goes_on_with_each_other_s_work(shared, other):
    shared.folder.chmod(0o777)
    _as(other, shared, "slow", "--out", "out", umask="000", expect=0)
    assert (shared.folder / "out").stat().st_uid == other
    shared.run("slow", "--out", "out", "--set", "train.epochs=6", KILL_AT="3", expect=-9)
    for path in shared.folder.glob("out.partial/**/*"):  # as a umask of 002 would have left them
        path.chmod(0o777 if path.is_dir() else 0o666)
    (shared.folder / "out.partial").chmod(0o777)
    _as(other, shared, "slow", "--out", "out", "--set", "train.epochs=6", expect=0)
    shared.run("slow", "--out", "alone", "--set", "train.epochs=6")
    assert shared.content() == shared.content("alone")


def test_a_process_that_proc_hides_is_not_taken_for_dead(shared, other):
    """As on clusters that mount /proc with hidepid=2: only one's own processes are seen there."""
    hidden = ("unshare", "--mount", "bash", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "-")
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount another /proc")
    shared.folder.chmod(0o777)
    process = shared.start("fake", "--source", "source", "--out", "out", FAKE="hang:u2")
    try:
        shared.wait_for("out.partial/units/u2.tmp/u2.txt")
        said = _as(other, shared, "fake", "--source", "source", "--out", "out", expect=2, prefix=hidden)
        assert f"being written by process {process.pid} on this host, of user root" in said
    finally:
        process.kill()
        process.communicate()


def test_a_holder_in_another_container_is_not_taken_for_dead(shared):
    """Of two containers with one name of host each has a process 1."""
    lock = {"host": os.uname().nodename, "pid": 2**22 + 1, "started": "5", "pids": "pid:[1]", "user": os.getuid()}
    (shared.folder / "out.lock").write_text(json.dumps(lock))
    assert f"process {2**22 + 1} on host {os.uname().nodename}" in shared.fake(expect=2)
    assert "delete the lock if that process is gone" in shared.fake(expect=2)
    assert holder_of(shared.folder / "out")
    (shared.folder / "out.lock").write_text(json.dumps(lock | {"pids": os.readlink("/proc/self/ns/pid")}))
    assert not holder_of(shared.folder / "out")
    shared.fake()


def test_jobs_that_a_cluster_hides_are_not_taken_for_ended(shared):
    """A cluster may show each user only the own jobs (PrivateData), so that another's would look ended."""
    lock = {"host": "node17", "pid": 1, "started": "5", "user": os.getuid() + 1, "job": "7", "restart": "0"}
    (shared.folder / "out.lock").write_text(json.dumps(lock))
    (shared.folder / "squeue").write_text("#!/bin/sh\nexit 0\n")
    (shared.folder / "squeue").chmod(0o755)
    path = f"{shared.folder}{os.pathsep}{os.environ['PATH']}"
    assert "process 1 on host node17, of user " in shared.fake(expect=2, PATH=path)
    (shared.folder / "out.lock").write_text(json.dumps(lock | {"user": os.getuid()}))
    shared.fake(PATH=path)
