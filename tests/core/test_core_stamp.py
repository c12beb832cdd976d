"""What an output folder was made of."""

import hashlib
import json

import pytest

from steps.core import stamp
from steps.core.errors import RecipeError

PLAN = {
    "stage": "fake",
    "version": 1,
    "settings": {"train": {"epochs": 1, "priors": [0.1]}, "features": {"type": "fbank"}},
    "inputs": {"manifests": "a" * 64},
}


def _with(**changes):
    plan = json.loads(json.dumps(PLAN))
    plan["settings"]["train"] |= changes
    return plan


def test_equal_plans_have_one_fingerprint_whatever_the_order():
    turned = {key: PLAN[key] for key in reversed(PLAN)}
    assert stamp.fingerprint(turned) == stamp.fingerprint(PLAN)


def test_every_part_of_a_plan_changes_the_fingerprint():
    changed = [
        PLAN | {"stage": "other"}, PLAN | {"version": 2}, PLAN | {"inputs": {"manifests": "b" * 64}},
        PLAN | {"inputs": {}}, _with(epochs=2), _with(epochs=1.0), _with(priors=[]), _with(seed=1),
    ]  # fmt: skip
    assert len({stamp.fingerprint(plan) for plan in [PLAN, *changed]}) == len(changed) + 1


def test_differences_list_every_leaf_with_its_old_and_new_value():
    new = _with(epochs=5, seed=1) | {"version": 2, "inputs": {"manifests": "b" * 64, "model": "c" * 64}}
    del new["settings"]["features"]["type"]
    assert stamp.differences(PLAN, new) == [
        'features.type: "fbank" -> (absent)',
        "input manifests: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "input model: (absent) -> cccccccccccc",
        "train.epochs: 1 -> 5",
        "train.seed: (absent) -> 1",
        "version: 1 -> 2",
    ]
    assert stamp.differences(PLAN, PLAN) == []


def test_an_old_plan_is_completed_with_defaults_alone():
    defaults = {"train": {"epochs": 9, "seed": 1, "decay": "cosine"}}
    assert stamp.completed(PLAN, _with(seed=1), defaults) == _with(seed=1)
    assert stamp.completed(PLAN, _with(seed=2), defaults) == PLAN, "not at its default: another thing was asked for"
    assert stamp.completed(PLAN, _with(rate=0.1), defaults) == PLAN, "it has no default"
    assert stamp.completed(PLAN, _with(epochs=9), defaults) == PLAN, "what was chosen stays"
    assert stamp.completed(_with(seed=1), PLAN, defaults) == _with(seed=1), "what is gone is a difference"


def test_a_stamp_says_what_was_made_of_what(tmp_path):
    outputs = {"b": "2" * 64, "a": "1" * 64}
    written = stamp.write_stamp(tmp_path, PLAN, outputs, 1.234)
    assert stamp.read_stamp(tmp_path) == written
    assert written["plan"] == PLAN
    assert written["fingerprint"] == stamp.fingerprint(PLAN)
    assert written["content"] == hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()
    assert written["seconds"] == 1.23
    for key in ("commit", "dirty", "command", "machine", "packages", "date"):
        assert key in written
    assert written["packages"]["numpy"]


def test_the_content_of_a_stamp_depends_on_the_outputs_alone(tmp_path):
    (tmp_path / "x").mkdir()
    first = stamp.write_stamp(tmp_path, PLAN, {"a": "1"}, 1.0)["content"]
    assert stamp.write_stamp(tmp_path / "x", _with(epochs=9), {"a": "1"}, 2.0)["content"] == first
    assert stamp.write_stamp(tmp_path / "x", PLAN, {"a": "2"}, 1.0)["content"] != first
    assert stamp.write_stamp(tmp_path / "x", PLAN, {"b": "1"}, 1.0)["content"] != first


def test_a_folder_that_no_stage_made_is_refused(tmp_path):
    assert stamp.read_stamp(tmp_path / "none") is None
    (tmp_path / "precious").mkdir()
    with pytest.raises(RecipeError, match="no stage made it"):
        stamp.read_stamp(tmp_path / "precious")


def test_an_input_that_is_absent_or_unfinished_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"input model: .*does not exist"):
        stamp.input_content("model", tmp_path / "model")
    (tmp_path / "model.partial").mkdir()
    with pytest.raises(RecipeError, match="was begun but not finished"):
        stamp.input_content("model", tmp_path / "model")
    (tmp_path / "model").mkdir()
    written = stamp.write_stamp(tmp_path / "model", PLAN, {"a": "1"}, 1.0)
    assert stamp.input_content("model", tmp_path / "model") == written["content"]


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"plan": {}}', '{"plan": {"stage": "x"}, "fingerprint": "a"}'])
def test_a_damaged_stamp_is_an_error_that_says_what_to_move(tmp_path, text):
    (tmp_path / "stamp.json").write_text(text)
    with pytest.raises(RecipeError, match=r"stamp.json: is damaged.*move .* away and rerun"):
        stamp.read_stamp(tmp_path)
