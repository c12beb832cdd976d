"""What a finished output has lost is noticed, and only that is made anew."""

import json
import logging

import pytest

from steps.core import intact
from steps.core.errors import RecipeError
from steps.core.stamp import read_stamp, write_stamp


def _cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def _edit(path):
    path.write_bytes(path.read_bytes().replace(b"sound", b"noise"))


@pytest.mark.parametrize("options", [(), ("--force",), ("--jobs", "2")])
@pytest.mark.parametrize("harm", ["remove", "cut"])
def test_a_file_that_is_gone_or_cut_is_made_anew_and_nothing_else(bench, harm, options):
    bench.fake()
    content = bench.content()
    bench.calls()
    (bench.folder / "out" / "u3.txt").unlink() if harm == "remove" else _cut(bench.folder / "out" / "u3.txt")
    said = bench.fake(*options)
    assert f"u3.txt {'is missing' if harm == 'remove' else 'has 6 bytes, expected 9'}" in said
    assert bench.calls() == ["u3"]
    assert bench.content() == content
    assert (bench.folder / "out" / "u3.txt").read_text() == "u3 sound\n"
    assert bench.left() == []
    bench.fake()
    assert bench.calls() == []


def test_edited_content_is_found_and_repaired_by_verify_alone(bench):
    bench.fake()
    content = bench.content()
    bench.calls()
    _edit(bench.folder / "out" / "u3.txt")
    assert "up to date: out" in bench.fake()
    said = bench.fake("--verify")
    assert "u3.txt has other content than was written" in said
    assert bench.calls() == ["u3"]
    assert bench.content() == content
    (old,) = bench.left()  # somebody may want back what was written there
    assert (bench.folder / old / "u3.txt").read_text() == "u3 noise\n"
    assert "up to date, and its content compared: out" in bench.fake("--verify")
    assert bench.calls() == []


def test_what_merge_made_is_made_anew_without_any_unit(bench):
    bench.fake()
    bench.calls()
    (bench.folder / "out" / "units.json").unlink()
    bench.fake()
    assert bench.calls() == []
    assert (bench.folder / "out" / "units.json").is_file()


def test_what_lies_beside_the_promised_files_is_looked_for_but_not_the_log_of_a_training(tmp_path):
    for name in ("file", "model.json", "log.jsonl"):
        (tmp_path / name).write_text("x")
    stamp = write_stamp(tmp_path, {"stage": "embed"}, {"file": "0" * 64}, 0.0)
    assert intact.size_damage(tmp_path, stamp) == {}
    (tmp_path / "log.jsonl").unlink()
    assert intact.size_damage(tmp_path, stamp) == {}
    (tmp_path / "model.json").unlink()
    assert intact.size_damage(tmp_path, stamp) == {"model.json": "is missing"}


@pytest.mark.parametrize(("harm", "words"), [(_cut, "bytes, expected"), (_edit, "has other content than was written")])
def test_a_damaged_input_is_refused_and_verify_of_its_stage_repairs_it(bench, harm, words):
    harm(bench.folder / "source" / "word.txt")
    said = bench.fake(expect=2)
    assert "input source: source is not as steps.source left it: word.txt " in said
    assert words in said
    assert "--verify" in said
    assert bench.calls() == []
    bench.run("source", "--out", "source", "--verify")
    bench.fake()
    assert (bench.folder / "out" / "u0.txt").read_text() == "u0 sound\n"


def test_a_repair_takes_nothing_from_what_was_begun_with_other_settings(bench):
    bench.fake()
    content = bench.content()
    bench.fake("--force", "--set", "embed.repeat=2", expect=1, FAKE="kill:u3")
    (bench.folder / "out" / "u0.txt").unlink()
    bench.calls()
    bench.fake()
    assert bench.calls() == ["u0"]
    assert bench.content() == content
    assert bench.left() == []


def test_a_list_that_somebody_put_among_the_finished_is_said_and_not_used(bench):
    (bench.folder / "source" / "mine.txt").write_text("x")
    said = bench.fake(expect=2)
    assert "input source: source holds what the stage that made it did not write: mine.txt; take it away" in said
    assert "source holds what the stage that made it did not write: mine.txt" in bench.run("source", "--out", "source")
    (bench.folder / "source" / "mine.txt").unlink()
    bench.fake()


def test_an_output_whose_input_was_damaged_later_stays_up_to_date(bench):
    bench.fake()
    _edit(bench.folder / "source" / "word.txt")
    assert "up to date" in bench.fake()


def test_verify_compares_what_is_joined_too_as_the_run_may_not_go_through_all_of_it(bench):
    bench.run("source", "--out", "second")
    several = ("--source", "source", "--source", "second", "--out", "out")
    bench.run("joined", *several)
    _edit(bench.folder / "second" / "word.txt")
    assert "up to date: out" in bench.run("joined", *several)
    said = bench.run("joined", *several, "--verify", expect=2)
    assert "input source: second is not as steps.source left it: word.txt has other content" in said
    bench.run("source", "--out", "second", "--verify")
    assert "up to date, and its content compared: out" in bench.run("joined", *several, "--verify")


@pytest.mark.parametrize(
    ("folder", "stage", "words"),
    [
        ("exp/toy/resnet/scores", "score", "(from --stage 6 on, with --system resnet or more)"),
        ("exp/toy/sweeps/lengths/p1/scores", "score", "(from --stage 6 on, with the --sweep called lengths)"),
        ("exp/toy/manifests", "prepare", "(from --stage 1 on)"),
    ],
)
def test_the_repair_names_the_system_that_a_run_may_not_go_through(tmp_path, folder, stage, words):
    out = tmp_path / folder
    out.mkdir(parents=True)
    (out / "file").write_text("x")
    write_stamp(out, {"stage": stage}, {"file": "0" * 64}, 0.0)
    with pytest.raises(RecipeError) as caught:
        intact.check_input("scores", out, logging.getLogger("intact"))
    assert words in str(caught.value)


def test_training_is_not_begun_anew_unasked(bench):
    bench.run("slow", "--out", "out")
    content = bench.content()
    (bench.folder / "out" / "state.json").unlink()
    said = bench.run("slow", "--out", "out", expect=2)
    assert "out is not as it was left: state.json is missing; put the files back, or add --verify" in said
    bench.run("slow", "--out", "out", "--verify")
    assert bench.content() == content


def test_a_stamp_without_sizes_is_still_believed(bench):
    bench.fake()
    path = bench.folder / "out" / "stamp.json"
    stamp = json.loads(path.read_text())
    del stamp["sizes"]
    path.write_text(json.dumps(stamp))
    assert "up to date" in bench.fake()
    (bench.folder / "out" / "u1.txt").unlink()
    assert "u1.txt is missing" in bench.fake()


def test_large_inputs_are_hashed_up_to_a_limit_the_small_files_first(tmp_path, monkeypatch, caplog):
    for name, size in (("large", 3000), ("small", 10)):
        (tmp_path / name).write_bytes(bytes(size))
    from steps.core.files import tree_hashes

    write_stamp(tmp_path, {"stage": "extract"}, tree_hashes(tmp_path, ("*",)), 0.0)
    monkeypatch.setattr(intact, "HASHED_BYTES", 1000)
    (tmp_path / "large").write_bytes(b"1" * 3000)
    log = logging.getLogger("intact")
    with caplog.at_level("INFO"):
        intact.check_input("features", tmp_path, log)
    assert "compared by size only" in caplog.text
    (tmp_path / "small").write_bytes(b"1" * 10)
    with pytest.raises(RecipeError, match=r"stage 2 \(extract\) left it: small has other content .*--verify.*--stage 2"):
        intact.check_input("features", tmp_path, log)
    assert set(intact.damage(tmp_path, read_stamp(tmp_path))) == {"large", "small"}
