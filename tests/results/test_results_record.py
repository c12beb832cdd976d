"""result.json has the fields that others build on, and hashes to its figures only."""

import json
import shlex
import sys

import pytest

from steps.core.files import content_hash
from steps.results.record import write_result

TRIALS = {"demo": {"eer": 0.1, "num_target": 3}}


def written(tmp_path, folder="a", **changes):
    out = tmp_path / folder
    out.mkdir()
    (tmp_path / "toy" / "manifests").mkdir(parents=True, exist_ok=True)
    values = {
        "system": "xvector", "backend": "mean, cosine", "figures": TRIALS, "fingerprint": "f" * 64, "seconds": 1.23456,
        "model": {"num_parameters": 7, "train_seconds": 60.0, "how": "cpu"},
    }  # fmt: skip
    write_result(out, tmp_path / "toy" / "manifests", **values | changes)
    return out / "result.json"


def test_all_fields_are_there(tmp_path):
    record = json.loads(written(tmp_path).read_text())
    assert record["recipe"] == "toy"
    assert record["system"] == "xvector"
    assert record["backend"] == "mean, cosine"
    assert record["trials"] == TRIALS
    assert record["fingerprint"] == "f" * 64
    assert (record["num_parameters"], record["train_seconds"]) == (7, 60.0)
    assert record["seconds"] == 1.23
    for name in ("commit", "command", "machine", "date", "packages", "dirty"):
        assert name in record
    assert record["command"] == shlex.join(sys.orig_argv)


def test_a_system_without_a_network_leaves_its_fields_empty(tmp_path):
    record = json.loads(written(tmp_path, model={}).read_text())
    assert record["num_parameters"] is None
    assert record["train_seconds"] is None


def test_time_taken_does_not_change_the_content_and_figures_do(tmp_path):
    first = content_hash(written(tmp_path, "a"))
    assert content_hash(written(tmp_path, "b", seconds=99.0)) == first
    assert content_hash(written(tmp_path, "c", figures={"demo": {"eer": 0.2, "num_target": 3}})) != first


def test_a_figure_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        written(tmp_path, figures={"demo": {"eer": float("nan")}})
