"""How any stage runs: skip, refuse, set aside, fail, be killed, go on; and always the same output."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from steps.core.config import Layers, site_roots
from steps.core.errors import RecipeError
from steps.core.stamp import fingerprint

UNITS = [f"u{number}" for number in range(6)]


@pytest.fixture
def undisturbed(bench):
    """The content hash of the output that nothing has disturbed."""
    bench.fake(out="undisturbed")
    shutil.move(bench.folder / "undisturbed", bench.folder / "source" / ".undisturbed")
    bench.calls()
    return json.loads((bench.folder / "source" / ".undisturbed" / "stamp.json").read_text())["content"]


def _finish(bench, undisturbed, *options):
    """Run to the end and compare with the undisturbed run; the units that this run began."""
    bench.fake(*options)
    assert bench.content() == undisturbed
    assert bench.left() == []
    return bench.calls()


def test_a_finished_output_holds_what_was_promised_and_its_stamp(bench):
    said = bench.fake()
    assert "done: out" in said
    assert sorted(os.listdir(bench.folder / "out")) == ["stamp.json", *[f"{unit}.txt" for unit in UNITS], "units.json"]
    assert (bench.folder / "out" / "u3.txt").read_text() == "u3 sound\n"
    assert bench.left() == []
    assert bench.calls() == UNITS


def test_the_same_again_is_up_to_date(bench):
    bench.fake()
    before = (bench.folder / "out" / "stamp.json").read_bytes()
    bench.calls()
    said = bench.fake("--set", "embed.workers=3", "--jobs", "2")
    assert "up to date: out" in said
    assert bench.calls() == []
    assert (bench.folder / "out" / "stamp.json").read_bytes() == before


def test_other_settings_are_refused_with_a_list_of_them(bench):
    bench.fake()
    said = bench.fake("--set", "embed.repeat=2", expect=2)
    assert "out was made with other settings or inputs" in said
    assert "    embed.repeat: 1 -> 2\n" in said
    assert "--force" in said
    assert "Traceback" not in said
    assert (bench.folder / "out" / "u0.txt").read_text() == "u0 sound\n"
    assert bench.left() == []


def test_force_sets_the_old_output_aside_and_makes_the_new_one(bench):
    bench.fake()
    said = bench.fake("--set", "embed.repeat=2", "--force")
    (old,) = bench.left()
    assert old.startswith("out.old-")
    assert old in said
    assert (bench.folder / "out" / "u0.txt").read_text() == "u0 soundsound\n"
    assert (bench.folder / old / "u0.txt").read_text() == "u0 sound\n"
    assert (bench.folder / old / "stamp.json").is_file()


def test_force_makes_nothing_anew_that_is_up_to_date(bench):
    bench.fake()
    bench.calls()
    assert "up to date" in bench.fake("--force")
    assert bench.calls() == []
    assert bench.left() == []


def test_changed_content_of_an_input_is_refused(bench):
    bench.fake()
    bench.source("--set", "system.name=noise", "--force")
    said = bench.fake(expect=2)
    assert "input source: " in said
    assert " -> " in said


def test_an_input_made_anew_with_the_same_content_changes_nothing(bench):
    bench.fake()
    shutil.rmtree(bench.folder / "source")
    bench.source()
    assert "up to date" in bench.fake()


def test_a_moved_input_or_output_changes_nothing(bench):
    bench.fake()
    (bench.folder / "source").rename(bench.folder / "elsewhere")
    (bench.folder / "out").rename(bench.folder / "moved")
    assert "up to date" in bench.fake(out="moved", source="elsewhere")


def test_an_input_that_changes_during_the_work_is_noticed(bench):
    said = bench.fake(FAKE="swap:merge", expect=2)
    assert "an input was made anew" in said
    assert not (bench.folder / "out").exists()
    assert "input source: " in bench.fake(expect=2)


def test_an_output_from_before_a_setting_existed_is_up_to_date_at_its_default(bench):
    bench.fake()
    stamp = json.loads((bench.folder / "out" / "stamp.json").read_text())
    del stamp["plan"]["settings"]["embed"]["repeat"]
    stamp["fingerprint"] = fingerprint(stamp["plan"])
    (bench.folder / "out" / "stamp.json").write_text(json.dumps(stamp))
    assert "up to date" in bench.fake()
    assert "embed.repeat: (absent) -> 2" in bench.fake("--set", "embed.repeat=2", expect=2)


@pytest.mark.parametrize("arguments", [(), ("--source", "nothing"), ("--source", "source", "--jobs", "0")])
def test_a_wrong_command_line_is_refused_before_anything_is_written(bench, arguments):
    said = bench.run("fake", "--out", "out", *arguments, expect=2)
    assert "Traceback" not in said
    assert bench.left() == []


@pytest.mark.parametrize("out", [".", "..", "source/word.txt/out", "source/word.txt", "source/" + "x" * 300])
def test_an_impossible_output_folder_is_refused(bench, out):
    said = bench.fake(out=out, expect=2)
    assert "Traceback" not in said
    assert out in said


def test_a_folder_that_no_stage_made_is_never_touched(bench):
    (bench.folder / "out").mkdir()
    (bench.folder / "out" / "thesis.tex").write_text("years of work")
    said = bench.fake("--force", expect=2)
    assert "no stage made it" in said
    assert os.listdir(bench.folder / "out") == ["thesis.tex"]


def test_print_config_prints_toml_that_gives_the_same_settings(bench):
    said = bench.run("fake", "--print-config", "--set", "embed.repeat=7")
    assert "[embed]\nrepeat = 7\n" in said


def test_one_part_and_three_parts_make_the_same(bench):
    bench.fake("--jobs", "1", out="one")
    one = bench.pids()
    bench.fake("--jobs", "3", out="three")
    assert len(one) == 1
    assert len(bench.pids()) == 3
    assert bench.content("one") == bench.content("three")


@pytest.mark.parametrize(("trick", "status", "words"), [
    ("refuse", 2, "u3: the recording is empty"), ("crash", 1, "KeyError: 'u3'"), ("kill", 1, "signal SIGKILL"),
    ("full", 2, "No space left on device"),
])  # fmt: skip
def test_after_a_failed_part_a_rerun_does_only_what_is_missing(bench, undisturbed, trick, status, words):
    said = bench.fake("--jobs", "2", expect=status, FAKE=f"{trick}:u3")
    assert words in said
    assert "1 of 2 parts failed (1)" in said
    assert not (bench.folder / "out").exists()
    # Part 0 had u0 u2 u4; part 1 had u1, u3 (where it failed) and u5 (which it did not come to).
    assert sorted(bench.calls()) == ["u0", "u1", "u2", "u3", "u4"]
    assert _finish(bench, undisturbed, "--jobs", "1") == ["u3", "u5"]


def test_what_is_missing_is_shared_by_all_jobs(bench, undisturbed):
    bench.fake("--jobs", "2", expect=2, FAKE="refuse:u3")
    bench.calls()
    bench.fake("--jobs", "2")
    assert len(bench.pids()) == 2
    assert bench.content() == undisturbed


def test_a_unit_is_never_seen_half_written(bench, hanging):
    folder = bench.folder / "out.partial" / "units"
    assert sorted(os.listdir(folder)) == ["u0", "u1", "u2.tmp"]
    assert (folder / "u2.tmp" / "u2.txt").read_text() == "u2 "
    assert (folder / "u1" / "u1.txt").read_text() == "u1 sound\n"
    assert not (bench.folder / "out").exists()


def test_what_was_begun_with_other_settings_is_refused_and_given_up_by_force(bench, hanging):
    os.killpg(hanging.pid, signal.SIGKILL)
    hanging.communicate()
    said = bench.fake("--set", "embed.repeat=2", expect=2)
    assert "was begun (and not finished)" in said
    assert "embed.repeat: 1 -> 2" in said
    bench.calls()
    bench.fake("--set", "embed.repeat=2", "--force")
    assert bench.calls() == UNITS
    assert bench.left() == []


def test_the_checkpoint_of_other_settings_is_kept_until_the_new_output_is_finished(bench):
    bench.run("slow", "--out", "out", expect=-signal.SIGKILL, KILL_AT="3")
    other = ("--set", "train.epochs=3", "--force")
    bench.run("slow", "--out", "out", *other, expect=-signal.SIGKILL, KILL_AT="2")
    assert any(name.startswith("out.partial.old-") for name in bench.left())
    bench.run("slow", "--out", "out", *other)
    assert bench.left() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whole_group", [False, True])
def test_after_a_signal_in_mid_work_a_rerun_makes_the_same(bench, undisturbed, number, whole_group):
    process = bench.start("fake", "--source", "source", "--out", "out", FAKE="hang:u2")
    bench.wait_for("out.partial/units/u2.tmp/u2.txt")
    parts = bench.pids() - {process.pid}
    (os.killpg if whole_group else os.kill)(process.pid, number)
    said = process.communicate(timeout=30)[1]
    if number != signal.SIGKILL:
        assert process.returncode == 2
        assert "interrupted; what was finished is kept" in said
        assert "Traceback" not in said
        assert not (bench.folder / "out.lock").exists()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in parts):
        assert time.monotonic() < deadline, "a part outlived the stage"
    assert _finish(bench, undisturbed) == UNITS[2:]


@pytest.mark.parametrize("trick", ["kill:merge", "refuse:merge", "full:merge"])
def test_after_a_failure_in_the_merge_a_rerun_only_merges(bench, undisturbed, trick):
    bench.fake(FAKE=trick, expect=-signal.SIGKILL if trick.startswith("kill") else 2)
    assert not (bench.folder / "out").exists()
    bench.calls()
    assert _finish(bench, undisturbed) == []


def test_a_promised_output_that_is_missing_is_a_bug(bench, undisturbed):
    said = bench.fake(FAKE="forget", expect=1)
    assert "promised units.json" in said
    assert "Traceback" in said
    assert not (bench.folder / "out").exists()
    bench.calls()
    assert _finish(bench, undisturbed) == []


def test_a_file_over_the_limit_is_a_message_and_a_rerun_works(bench, undisturbed):
    said = bench.fake(FAKE="big:u4", limit=1 << 16, expect=2)
    assert "File too large" in said
    assert "make room and rerun" in said
    bench.calls()
    assert _finish(bench, undisturbed) == ["u4", "u5"]


def test_a_full_disk_under_the_stamp_is_a_message_and_a_rerun_works(bench, undisturbed):
    # 600 bytes hold the plan and the units, but no stamp.
    said = bench.fake(limit=600, expect=2)
    assert "File too large" in said
    assert "Traceback" not in said
    assert not (bench.folder / "out").exists()
    bench.calls()
    _finish(bench, undisturbed)


def test_of_two_runs_at_once_the_second_names_the_first(bench, hanging):
    said = bench.fake(expect=2)
    assert f"out is being written by process {hanging.pid} on this host" in said
    assert "Traceback" not in said
    assert (bench.folder / "out.partial" / "units" / "u2.tmp").is_dir()


def test_the_lock_of_a_killed_run_is_taken_over(bench, hanging, undisturbed):
    os.killpg(hanging.pid, signal.SIGKILL)
    hanging.communicate()
    assert (bench.folder / "out.lock").exists()
    _finish(bench, undisturbed)


def test_leftovers_of_a_run_killed_at_its_very_end_are_removed(bench, undisturbed):
    bench.fake()
    plan = json.loads((bench.folder / "out" / "stamp.json").read_text())["plan"]
    (bench.folder / "out.partial" / "units" / "u0").mkdir(parents=True)
    (bench.folder / "out.partial" / "plan.json").write_text(json.dumps(plan))
    assert "up to date" in bench.fake()
    assert bench.left() == []


def test_work_begun_with_other_settings_outlives_a_look_at_the_finished_output(bench):
    bench.fake()
    bench.fake("--set", "embed.repeat=2", "--force", FAKE="refuse:u3", expect=2)
    assert "up to date" in bench.fake()
    bench.calls()
    bench.fake("--set", "embed.repeat=2", "--force")
    assert bench.calls() == ["u3", "u4", "u5"]


def test_a_half_removed_work_folder_counts_for_nothing(bench, undisturbed):
    # A run that was killed while it removed its work folder: some units are whole, some are not, the plan is gone.
    (bench.folder / "out.partial" / "units" / "u0").mkdir(parents=True)
    (bench.folder / "out.partial" / "units" / "u1").mkdir()
    (bench.folder / "out.partial" / "units" / "u1" / "u1.txt").write_text("u1 of other settings")
    assert _finish(bench, undisturbed) == UNITS


def test_a_stage_that_resumes_goes_on_where_it_was_killed(bench):
    assert "begins at 0" in bench.run("slow", "--out", "whole")
    bench.run("slow", "--out", "out", expect=-signal.SIGKILL, KILL_AT="3")
    assert "begins at 3" in bench.run("slow", "--out", "out")
    assert bench.content("whole") == bench.content("out")


def test_a_replaceable_output_is_replaced_unasked_and_not_kept(bench):
    bench.run("slow", "--out", "out")
    bench.run("slow", "--out", "out", "--set", "train.epochs=3")
    assert json.loads((bench.folder / "out" / "state.json").read_text()) == [0, 1, 4]
    assert bench.left() == []


def test_no_output_contains_its_own_path(bench):
    bench.fake()
    for path in (bench.folder / "out").rglob("*"):
        if path.name != "stamp.json":  # which records the command
            assert str(bench.folder) not in path.read_text()


def _site(**roots):
    layers = Layers()
    layers.merge({"site": roots}, "site.toml")
    return site_roots(layers)


def test_relative_roots_are_relative_to_the_corpus():
    assert _site(corpus="/data/voices", noise="../noise", rir="/rir") == {
        "corpus": "/data/voices", "noise": "/data/voices/../noise", "rir": "/rir",
    }  # fmt: skip
    assert _site(noise="noise") == {"noise": "noise"}
    with pytest.raises(RecipeError, match=r"site\.toml: site\.noise = 5"):
        _site(noise=5)


def test_the_command_line_outweighs_the_site_file(bench):
    (bench.folder / "conf").mkdir()
    (bench.folder / "conf" / "site.toml").write_text("[embed]\nrepeat = 3\n")
    assert "repeat = 3" in bench.run("fake", "--print-config")
    assert "repeat = 4" in bench.run("fake", "--print-config", "--set", "embed.repeat=4")


def test_the_python_that_runs_the_stage_runs_its_parts(bench):
    bench.fake("--jobs", "2", FAKE="refuse:u0", expect=2)
    log = (bench.folder / "out.partial" / "log" / "part.1.log").read_text()
    assert Path(sys.executable).name in log
