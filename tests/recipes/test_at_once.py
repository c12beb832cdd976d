"""run.sh with several systems at the same time: what overlaps, what waits, what becomes of a failure. The stages are stubs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Stands for `python`: plans are the real ones, a stage is a line when it begins, a nap, its folder, and a line when it ends.
STUB = f"""#!{sys.executable}
import os, pathlib, sys, time
words = sys.argv[1:]
if words[0] != "-m" or words[1] == "steps.check":
    os.execv({sys.executable!r}, [{sys.executable!r}, *words])
verb = words[1].removeprefix("steps.")
out = pathlib.Path(words[words.index("--to" if verb == "download" else "--out") + 1])
def note(what):
    with open(os.environ["STUB_NOTES"], "a") as file:
        file.write(f"{{what}} {{verb}} {{out.parent.name}}\\n")
note("begin")
try:
    time.sleep(float(os.environ.get("STUB_NAP", "0.15")) if verb in ("train", "embed", "score") else 0)
except KeyboardInterrupt:
    note("interrupted")
    sys.exit(2)
if f"{{verb}} {{out.parent.name}}" == os.environ.get("STUB_FAILS"):
    sys.exit("train: error: the disk is full")
out.mkdir(parents=True, exist_ok=True)
note("end")
"""
SYSTEMS = "tdnn_softmax,tdnn_am,tdnn_aam,tdnn_aam_genders"  # the last one has the network of the third


@pytest.fixture
def stub(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(STUB)
    (folder / "python").chmod(0o755)
    return os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}", "VIRTUAL_ENV": "stub", "STUB_NOTES": str(tmp_path / "notes"),
    }  # fmt: skip


def command(tmp_path, *words: str, recipe: str = "voices", system: str = SYSTEMS, stop_stage: int = 6) -> list[str]:
    return [
        "bash", str(REPOSITORY / "run.sh"), "--recipe", recipe, "--system", system, "--exp", str(tmp_path / "exp"),
        "--stop-stage", str(stop_stage), *words,
    ]  # fmt: skip


def notes(tmp_path) -> list[tuple[str, str, str]]:
    return [tuple(line.split()) for line in (tmp_path / "notes").read_text().splitlines()]


def most_at_work(found, verb: str) -> int:
    at_work = most = 0
    for what, of, _ in found:
        at_work += {"begin": 1, "end": -1}[what] if of == verb else 0
        most = max(most, at_work)
    return most


def test_two_at_a_time_with_a_barrier_after_each_stage(tmp_path, stub):
    done = subprocess.run(command(tmp_path, "--at-once", "2"), env=stub, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = notes(tmp_path)
    assert {verb: most_at_work(found, verb) for verb in ("extract", "train", "embed", "score")} == {
        "extract": 1, "train": 2, "embed": 2, "score": 2
    }  # fmt: skip
    verbs = [verb for what, verb, _ in found if what == "begin" and verb in ("train", "embed", "score")]
    assert verbs == sorted(verbs, key=("train", "embed", "score").index)
    # Who uses another's network is asked for after that one, and finds it there.
    assert [system for what, verb, system in found if verb == "train"][-2:] == ["tdnn_aam", "tdnn_aam"]
    assert "tdnn_am" in (tmp_path / "exp/voices/runs/tdnn_am.4.log").read_text()


def test_one_after_the_other_each_system_is_finished_before_the_next(tmp_path, stub):
    assert subprocess.run(command(tmp_path), env=stub | {"STUB_NAP": "0"}, capture_output=True).returncode == 0
    scored = [system for what, verb, system in notes(tmp_path) if verb in ("train", "score") and what == "end"]
    assert scored[:4] == ["tdnn_softmax", "tdnn_softmax", "tdnn_am", "tdnn_am"]


def test_one_that_fails_is_named_and_the_others_come_to_their_end(tmp_path, stub):
    stub["STUB_FAILS"] = "train tdnn_softmax"
    done = subprocess.run(command(tmp_path, "--at-once", "2"), env=stub, capture_output=True, text=True)
    assert done.returncode == 1
    assert "stage 4: tdnn_softmax failed:\n" in done.stderr
    assert "train: error: the disk is full" in done.stderr
    found = notes(tmp_path)
    assert {system for what, verb, system in found if (what, verb) == ("end", "train")} == {"tdnn_am", "tdnn_aam"}
    assert "embed" not in {verb for _, verb, _ in found}


def test_an_interrupt_reaches_all_that_are_at_work(tmp_path, stub):
    process = subprocess.Popen(
        command(tmp_path, "--at-once", "3"), env=stub | {"STUB_NAP": "60"}, stderr=subprocess.PIPE, start_new_session=True
    )  # fmt: skip
    for _ in range(400):
        time.sleep(0.05)
        if (tmp_path / "notes").exists() and most_at_work(notes(tmp_path), "train") == 3:
            break
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 2
    assert sorted(note for note in notes(tmp_path) if note[0] == "interrupted") == [
        ("interrupted", "train", name) for name in ("tdnn_aam", "tdnn_am", "tdnn_softmax")
    ]


def test_a_number_that_is_none_is_refused(tmp_path, stub):
    done = subprocess.run(command(tmp_path, "--at-once", "0"), env=stub, capture_output=True, text=True)
    assert (done.returncode, "--at-once '0': expected a number" in done.stderr) == (2, True)


def test_what_a_system_needs_is_fetched_before_its_first_stage(tmp_path, stub):
    words = ["--download", "--data", str(tmp_path / "speech")]
    of_librispeech = command(tmp_path, *words, recipe="librispeech", system="mini_resnet", stop_stage=1)
    done = subprocess.run(of_librispeech, env=stub, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [(verb, of) for what, verb, of in notes(tmp_path) if what == "begin"] == [
        ("download", tmp_path.name), ("prepare", "librispeech")
    ]  # fmt: skip
