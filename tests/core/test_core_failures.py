"""Claims about failures of a machine: whichever library reports a full disk, the user gets one message, and a bug stays one."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from steps.core import failures
from steps.core.errors import RecipeError

ROOT = Path(__file__).parents[2]
# Each writer in a process that may write no file of more than 100,000 bytes: as a quota, without a disk that is full.
WRITERS = """
import gzip, os, resource, sys
import numpy as np, safetensors.torch, soundfile, torch
from steps.core.failures import as_recipe_error
from matplotlib.figure import Figure

def with_gzip():
    with gzip.open("a.gz", "wb") as file:
        file.write(os.urandom(1 << 20))

def with_torch():
    with open("a.pt", "wb") as file:
        torch.save(torch.zeros(1 << 18), file)

def with_matplotlib():
    figure = Figure(figsize=(30, 30))
    figure.subplots().imshow(np.random.default_rng(1).random((500, 500)), interpolation="nearest")
    figure.savefig("a.png")

noise = np.random.default_rng(1).uniform(-1, 1, 1 << 18)
torch.save(torch.zeros(1), "warm.pt")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, write in {
    "soundfile": lambda: soundfile.write("a.flac", noise, 16000),
    "safetensors": lambda: safetensors.torch.save_file({"a": torch.zeros(1 << 18)}, "a.safetensors"),
    "torch": with_torch,
    "torch, by name": lambda: torch.save(torch.zeros(1 << 18), "b.pt"),
    "numpy": lambda: np.save("a.npy", noise),
    "gzip": with_gzip,
    "matplotlib": with_matplotlib,
    "a file": lambda: open("a.txt", "wb", buffering=0).write(b"x" * 100_000) and open("a.txt", "ab", buffering=0).write(b"x"),
}.items():
    try:
        write()
    except Exception as error:
        print(f"{name}: {as_recipe_error(error)}")
    else:
        print(f"{name}: no error")
"""


def test_a_full_disk_is_one_message_whichever_library_meets_it(tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", WRITERS, "--out", "out"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = dict(line.split(": ", 1) for line in process.stdout.splitlines())
    assert len(lines) == 8, process.stderr
    assert {name: "make room" in text for name, text in lines.items()} == dict.fromkeys(lines, True), lines


@pytest.fixture
def small(tmp_path):
    """A disk of two megabytes, where one can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk is not possible here")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_stage_1_of_toy_says_that_the_disk_is_full(small):
    words = ["--config", "recipes/toy/xvector.toml", "--set", "system.name=x", "--out", str(small / "manifests")]
    process = subprocess.run(
        [sys.executable, "-m", "steps.prepare", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert "make room and rerun" in process.stderr
    assert "0.0 MB" in process.stderr


@pytest.mark.parametrize("place", ["/proc/none/exp", "/proc/1/exp"])
def test_a_place_that_takes_no_folders_is_refused(place):
    with pytest.raises((RecipeError, PermissionError)) as caught:
        failures.make_folder(Path(place))
    known = failures.as_recipe_error(caught.value)
    assert "no folder can be made there" in str(known) or "needs the right" in str(known)


def test_a_file_in_the_way_and_a_circle_of_links_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="is a file, expected a folder.*--exp"):
        failures.make_folder(tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for place in ("file/exp", "link/exp"):
        with pytest.raises((OSError, RecipeError)) as caught:
            failures.make_folder(tmp_path / place)
        assert failures.as_recipe_error(caught.value) is not None, place


def test_a_bug_stays_a_bug():
    assert failures.as_recipe_error(RuntimeError("unexpected shape")) is None
    assert failures.as_recipe_error(FileNotFoundError(errno.ENOENT, "x")) is None
    bug = ValueError("in what deals with another failure")
    bug.__context__ = PermissionError(errno.EACCES, "Permission denied")
    assert failures.as_recipe_error(bug) is None
    bug.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert failures.as_recipe_error(bug) is not None


def test_a_thread_that_meets_a_full_disk_shows_no_traceback(monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    failures.quiet_threads()
    for error in (OSError(errno.ENOSPC, "No space left on device"), ValueError("a bug")):
        thread = threading.Thread(target=lambda error=error: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()
    assert [str(each.exc_value) for each in shown] == ["a bug"]
