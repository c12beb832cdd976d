"""Records are read whole, committed without names of machines, and read again as they were."""

import pytest

from steps.core.errors import RecipeError
from steps.core.files import read_json, write_json
from steps.documents.records import Records, commit, committed, read_alignment, read_log, read_record, read_sweep_record

FIGURES = {
    "num_target": 1, "num_nontarget": 2, "num_missing": 0, "eer": 0.1, "eer_ci95": None, "min_dcf": {}, "act_dcf": None,
    "cllr": None, "min_cllr": 0.2,
}  # fmt: skip
RECORD = {
    "recipe": "demo", "system": "a", "backend": "cosine", "num_parameters": None, "train_seconds": None, "trials": {"o": FIGURES},
    "fingerprint": "f", "commit": "c", "dirty": False, "command": "python -m steps.score --set score.seed=2", "seconds": 1.0,
    "date": "2025-01-01", "machine": "myhost, a CPU",
}  # fmt: skip
SWEEP = {
    "name": "s", "recipe": "demo", "title": "S", "form": "table", "axes": [{"name": "x", "values": ["1"]}],
    "machine": "myhost, a CPU", "points": [{"values": ["1"], "trials": {}}], "command": "./run.sh", "commit": "c", "dirty": False,
    "date": "2025-01-01",
}  # fmt: skip
ALIGNMENT = dict.fromkeys(
    ("train_set", "far", "replicates", "dims", "num_train", "num_train_speakers", "profiles", "figures", "commit",
     "dirty", "date")
) | {
    "recipe": "demo", "name": "al", "machine": "myhost, a CPU", "old": "a", "new": "b",
    "command": "python -m steps.align --config recipes/demo/align.toml --set align.seed=3 --embeddings /home/me/exp/a",
}  # fmt: skip


def test_what_is_committed_is_read_again_and_names_no_machine_and_no_python(tmp_path):
    home = tmp_path / "demo"
    commit(home, Records(systems=[RECORD], sweeps=[SWEEP], alignments=[ALIGNMENT]))
    found = committed(home)
    assert found.systems[0]["command"] == "./run.sh --recipe demo --system a --set score.seed=2"
    assert found.alignments[0]["command"] == "./run.sh --recipe demo --system a,b --set align.seed=3"
    for record in (*found.systems, *found.sweeps, *found.alignments):
        assert record["machine"] == "a CPU"
    assert found.sweeps[0]["points"] == SWEEP["points"]
    assert sorted(str(path.relative_to(home)) for path in home.rglob("*.json")) == [
        "results/a.json", "results/alignments/al.json", "results/sweeps/s.json"
    ]  # fmt: skip


@pytest.mark.parametrize(("folder", "name"), [("", "a"), ("sweeps", "s"), ("alignments", "al")])
def test_a_record_under_a_wrong_name_is_refused(tmp_path, folder, name):
    home = tmp_path / "demo"
    commit(home, Records(systems=[RECORD], sweeps=[SWEEP], alignments=[ALIGNMENT]))
    (home / "results" / folder / f"{name}.json").rename(home / "results" / folder / "other.json")
    with pytest.raises(RecipeError, match=f"other.json: .*'{name}' of the recipe 'demo'; expected 'other' of 'demo'"):
        committed(home)


@pytest.mark.parametrize(
    ("read", "record", "key", "message"),
    [
        (lambda path, _: read_record(path), RECORD, "fingerprint", "no value for fingerprint"),
        (read_sweep_record, SWEEP, "axes", "expected a sweep, found no axes"),
        (read_alignment, ALIGNMENT, "far", "no value for far"),
    ],
)
def test_what_lacks_a_key_or_is_another_recipes_is_refused_with_its_file(tmp_path, read, record, key, message):
    path = tmp_path / "r.json"
    write_json(path, record)
    assert read(path, "demo") == read_json(path)
    write_json(path, {name: value for name, value in record.items() if name != key})
    with pytest.raises(RecipeError, match=f"r.json: {message}"):
        read(path, "demo")
    if record is not RECORD:
        write_json(path, record | {"name": "../up"})
        with pytest.raises(RecipeError, match="'../up'"):
            read(path, "demo")


def test_a_figure_that_is_missing_is_named(tmp_path):
    write_json(tmp_path / "r.json", RECORD | {"trials": {"o": {key: value for key, value in FIGURES.items() if key != "cllr"}}})
    with pytest.raises(RecipeError, match="no value for trials.o.cllr; run the stage"):
        read_record(tmp_path / "r.json")


def test_a_log_names_its_broken_line_and_a_model_may_bring_none(tmp_path):
    assert read_log(tmp_path) == []
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "lo')
    with pytest.raises(RecipeError, match=r"log.jsonl:2: expected a JSON object"):
        read_log(tmp_path)
