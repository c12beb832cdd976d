"""Launchers by name, their settings, and those that the repository brings."""

import tomllib
from pathlib import Path

import pytest

from steps.core import launchers
from steps.core.errors import RecipeError
from steps.core.launch import Local
from steps.core.launchers import read_launcher
from steps.core.slurm import Resources, Slurm

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a launcher's file."""
    monkeypatch.setattr(launchers, "FOLDER", tmp_path)
    return lambda name, text: (tmp_path / f"{name}.toml").write_text(text)


def test_the_repository_s_own_files_load_with_and_without_their_comments(monkeypatch, write):
    text = (REPOSITORY / "conf" / "launch" / "slurm.toml").read_text()
    write("slurm", text)
    plain = read_launcher("slurm")
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and "`" not in line else line
        for line in text.splitlines()
    ]
    write("all", "\n".join(lines))
    whole = read_launcher("all")
    assert whole.cpu.partition == "cpu"
    assert whole.gpu.time == "24:00:00"
    assert whole.prologue[0] == "module purge"
    for name in ("max_tasks", "gpu", "cpu", "submitter"):
        assert getattr(plain, name) != getattr(whole, name)
    for name in ("retries", "requeues", "stop_seconds", "poll_seconds", "late_seconds", "detach"):  # commented out: the default
        assert getattr(plain, name) == getattr(whole, name) == getattr(Slurm(), name)
    monkeypatch.setattr(launchers, "FOLDER", REPOSITORY / "conf" / "launch")
    assert read_launcher("local") == Local()
    assert tomllib.loads((REPOSITORY / "conf" / "launch" / "local.toml").read_text()) == {"launch": {"type": "local"}}


def test_local_needs_no_file(write):
    assert read_launcher("local") == Local()


def test_a_file_may_build_on_another(write):
    write("slurm", '[launch]\ntype = "slurm"\nretries = 3\n[launch.cpu]\nmemory = "4G"\n[launch.gpu]\ngres = "gpu:1"\n')
    write("mine", 'base = ["slurm.toml"]\n[launch.cpu]\npartition = "p"\n')
    mine = read_launcher("mine")
    assert (mine.retries, mine.cpu, mine.gpu) == (3, Resources(partition="p"), Resources(gres="gpu:1"))


@pytest.mark.parametrize(("text", "words"), [
    ("[launch]\ntype = 'slurm'\nretrys = 3", r"x\.toml: unknown setting launch\.retrys; did you mean retries"),
    ("[launch]\ntype = 'sge'", "expected one of local, slurm"),
    ("[launch]\nretries = 3", "'type' is missing"),
    ("[launch]\ntype = 'local'\nretries = 3", r"unknown setting launch\.retries"),
    ("[launch]\ntype = 'slurm'\n[launch.cpu]\npartitoin = 'p'", r"unknown setting launch\.cpu\.partitoin; did you mean"),
    ("[launch]\ntype = 'slurm'\ncpu = 3", r"launch\.cpu = 3; expected a table"),
    ("[launch]\ntype = 'slurm'\n[launch.gpu]\ntime = 'a day'", r"\[launch\.gpu\] .*: time: expected minutes"),
    ("[launch]\ntype = 'slurm'\n[launch.gpu]\nmemory = '4 GB'", r"memory: expected a number with K, M, G or T, found '4 GB'"),
    ("[launch]\ntype = 'slurm'\n[launch.gpu]\noptions = ['exclusive']", r"options: expected words like"),
    ("[launch]\ntype = 'slurm'\npoll_seconds = 0", "poll_seconds: expected above 0"),
    ("[launch]\ntype = 'slurm'\nretries = -1", "retries: expected at least 0"),
    ("[launch]\ntype = 'slurm'\ndetach = 'there'", "detach: expected 'job' or 'here'"),
    ("[launch]\ntype = 'slurm'\ncontainer = ['', 'exec']", "container: expected a program and its options"),
    ("[launch]\ntype = 'slurm'\n[train]\nepochs = 3", r"section \[train\] does not belong here"),
])  # fmt: skip
def test_a_wrong_setting_is_named(write, text, words):
    write("x", text)
    with pytest.raises(RecipeError, match=words):
        read_launcher("x")


@pytest.mark.parametrize("name", ["moon", "../slurm", "", "a b"])
def test_an_unknown_launcher_is_named_with_those_that_there_are(write, name):
    write("mine", "")
    with pytest.raises(RecipeError, match="there are: local, mine"):
        read_launcher(name)
