"""What the points of a sweep found becomes one record, which the tables take."""

import json
import logging

import pytest

from steps.core import files, stage
from steps.core.errors import RecipeError
from steps.sweep import STAGE
from steps.tables.sweep import check_sweep, point_figure

SWEEP = """
[sweep]
title = "Length"
system = "a"
form = "matrix"
across = ["lists"]
figures = ["eer"]
[[axis]]
name = "length, s"
setting = "embed.window"
values = [0.5, 1.0]
"""


@pytest.fixture
def points(tmp_path):
    (tmp_path / "length.toml").write_text(SWEEP)
    for number, eer in enumerate((0.2, 0.1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        record = {"recipe": "r", "system": f"length.{number}", "backend": "cosine", "trials": {"o": {"eer": eer}}}
        files.write_json(folder / "result.json", record)
        files.write_json(folder / "stamp.json", {"fingerprint": "", "content": str(eer), "outputs": {}, "plan": {}})
    return tmp_path


def run(folder, *scores: str, models=(), settings=()) -> int:
    words = ["--set", f"sweep.file={folder / 'length.toml'}", "--out", str(folder / "summary")]
    words += [word for each in settings for word in ("--set", each)]
    words += [word for each in scores for word in ("--scores", str(folder / each))]
    words += [word for each in models for word in ("--model", str(folder / each))]
    return stage.run(STAGE, words, logging.getLogger("sweep"))


def test_each_point_has_its_values_and_figures(points):
    assert run(points, "0", "1") == 0
    found = json.loads((points / "summary" / "sweep.json").read_text())
    check_sweep(found)
    assert (found["name"], found["recipe"], found["title"], found["across"]) == ("length", "r", "Length", ["lists"])
    assert found["axes"] == [{"name": "length, s", "values": ["0.5", "1"], "numbers": [0.5, 1.0]}]
    assert [(point["values"], point_figure(point, "eer", "o")) for point in found["points"]] == [
        (["0.5"], (0.2, None)), (["1"], (0.1, None)),
    ]  # fmt: skip
    assert found["command"] == "./run.sh --sweep recipes/r/sweeps/length.toml"


def test_points_of_lists_without_labels_have_a_record_and_no_cells(points, caplog):
    for number in (0, 1):
        record = json.loads((points / str(number) / "result.json").read_text())
        files.write_json(
            points / str(number) / "result.json", record | {"trials": {"o": {"eer": None, "no_figures": "no labels"}}}
        )
    assert run(points, "0", "1") == 0
    assert "no list has figures" in caplog.text
    assert [point["trials"]["o"]["eer"] for point in json.loads((points / "summary" / "sweep.json").read_text())["points"]] == [
        None
    ] * 2


def test_another_title_is_another_record_and_another_place_is_not(points):
    assert run(points, "0", "1") == 0
    first = (points / "summary" / "stamp.json").read_text()
    assert run(points, "0", "1") == 0
    assert (points / "summary" / "stamp.json").read_text() == first
    (points / "length.toml").write_text(SWEEP.replace("Length", "Duration"))
    assert run(points, "0", "1") == 0
    assert json.loads((points / "summary" / "sweep.json").read_text())["title"] == "Duration"


def test_a_point_without_scores_is_an_error(points):
    with pytest.raises(RecipeError, match="--scores: expected 2 folders for 2 points, found 1"):
        run(points, "0")


def test_the_training_curves_of_the_points_are_kept_where_they_are_asked_for(points):
    log = {"epoch": 1, "loss": 2.0, "dev_eer": 0.1, "seconds_seen": 36.0, "pool_hours": 2.0}
    for number in (0, 1):  # any folder with a stamp does
        (points / str(number) / "log.jsonl").write_text(json.dumps(log | {"dev_eer": None if number else 0.1}) + "\n")
    (points / "length.toml").write_text(SWEEP.replace("[sweep]", "[sweep]\ncurves = true"))
    with pytest.raises(RecipeError, match="--model: expected 2 folders for 2 points, found 0"):
        run(points, "0", "1")
    assert run(points, "0", "1", models=("0", "1")) == 0
    first, second = json.loads((points / "summary" / "sweep.json").read_text())["points"]
    assert first["log"] == [{"epoch": 1, "seconds_seen": 36.0, "pool_hours": 2.0, "dev_eer": 0.1}]
    assert second["log"] == [{"epoch": 1, "seconds_seen": 36.0, "pool_hours": 2.0}]


def test_the_tables_are_printed_also_if_they_are_up_to_date(points, capsys):
    for _ in range(2):
        assert run(points, "0", "1") == 0
        assert capsys.readouterr().out.splitlines()[2:] == [
            "length, s      o",
            "---------  -----",
            "0.5        20.00",
            "1          10.00",
        ]


@pytest.mark.parametrize("figure", ["err", "tasks.few_shot.shots=1,ways=5,distance=cosine.accuracy", "eer.0.01"])
def test_a_figure_that_no_point_has_is_an_error_that_lists_those_there_are(points, figure):
    (points / "length.toml").write_text(SWEEP.replace('["eer"]', f'["eer", "{figure}"]'))
    with pytest.raises(RecipeError, match=rf"figures: no point has '{figure}'; of a trial list there are eer, of tasks none"):
        run(points, "0", "1")


def test_the_command_that_repeats_it_has_the_settings_of_the_command_line(points, monkeypatch):
    given = ["site.corpus=/home/somebody", "train.epochs=2", "score.priors=[0.01, 0.5]"]
    monkeypatch.setattr("sys.orig_argv", ["python", *(word for each in ("sweep.file=x", *given) for word in ("--set", each))])
    assert run(points, "0", "1", settings=given) == 0
    assert json.loads((points / "summary" / "sweep.json").read_text())["command"] == (
        "./run.sh --sweep recipes/r/sweeps/length.toml --data DIR --set train.epochs=2 --set 'score.priors=[0.01, 0.5]'"
    )
