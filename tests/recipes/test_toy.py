"""The default recipe from an empty folder to its table, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.data.trials import read_scores, read_trials
from steps.metrics.error_rates import eer

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = ("xvector", "resnet_aam", "fusion")
LISTS = ("toy_o", "toy_e", "toy_h", "toy_m")
# A good system lands at 1 to 8 % on synthetic voices; small networks and a minute of training leave them above that.
WORST_EER = 0.15

pytestmark = pytest.mark.slow


def run_sh(*arguments: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "VIRTUAL_ENV": sys.prefix}
    return subprocess.run(["./run.sh", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exp")
    done = run_sh("--exp", str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "EER" in done.stdout
    return folder


def result(exp: Path, system: str) -> dict:
    return json.loads((exp / "toy" / system / "scores" / "result.json").read_text())


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_tells_synthetic_voices_apart(exp: Path, system: str) -> None:
    trials = result(exp, system)["trials"]
    assert set(trials) == set(LISTS)
    for figures in trials.values():
        low, high = figures["eer_ci95"]
        assert 0 <= figures["eer"] < WORST_EER
        assert low <= figures["eer"] <= high
        assert figures["num_missing"] == 0


@pytest.mark.parametrize("name", LISTS)
def test_figures_follow_from_the_written_scores_and_vanish_with_shuffled_labels(exp: Path, name: str) -> None:
    trials = read_trials(exp / "toy" / "manifests" / "trials" / f"{name}.txt")
    enrol, test, scores = read_scores(exp / "toy" / "xvector" / "scores" / f"{name}.txt")
    assert (enrol, test) == (trials.enrol_ids, trials.test_ids)
    truth = trials.is_target
    assert eer(scores[truth], scores[~truth]) == result(exp, "xvector")["trials"][name]["eer"]
    shuffled = np.random.default_rng(0).permutation(truth)
    # 4 standard deviations of an EER of one half over the rarer kind of trial, trials taken as independent.
    slack = 4 * 0.5 / np.sqrt(min(truth.sum(), (~truth).sum()))
    assert abs(eer(scores[shuffled], scores[~shuffled]) - 0.5) < slack


def test_a_second_run_is_up_to_date_and_leaves_no_work_behind(exp: Path) -> None:
    stamps = {path: path.read_text() for path in sorted((exp / "toy").rglob("stamp.json"))}
    again = run_sh("--exp", str(exp))
    assert again.returncode == 0, again.stderr[-3000:]
    assert "done:" not in again.stderr
    assert again.stderr.count("up to date:") >= 2 * 6 + 2
    assert {path: path.read_text() for path in sorted((exp / "toy").rglob("stamp.json"))} == stamps
    assert not list(exp.rglob("*.partial")) + list(exp.rglob("*.lock"))


def test_a_changed_setting_is_refused_and_named(exp: Path) -> None:
    refused = run_sh("--exp", str(exp), "--stage", "6", "--stop-stage", "6", "--set", "score.replicates=500")
    assert refused.returncode == 2
    assert "score.replicates: 1000 -> 500" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_no_output_holds_the_path_it_was_written_under(exp: Path) -> None:
    for path in (exp / "toy").rglob("*"):
        if path.is_file() and path.suffix in (".scp", ".txt", ".jsonl", ".toml") or path.name in ("utt2spk", "roots.json"):
            assert str(exp) not in path.read_text(), path


def test_a_sweep_over_scorings_uses_the_network_that_is_there(exp: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "norms.toml"
    sweep.write_text(
        '[sweep]\nsystem = "resnet_aam"\nset = { "score.pictures" = [], "score.replicates" = 50 }\n'
        '[[axis]]\nname = "norm"\nsetting = "score.norm"\nvalues = ["none", "as_norm"]\n'
    )
    stamp = (exp / "toy" / "resnet_aam" / "model" / "stamp.json").read_text()
    options = ("--recipe", "toy", "--sweep", str(sweep), "--exp", str(exp), "--set", "report.histograms=false")
    done = run_sh(*options, "--stage", "4")
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("stage ")] == [
        "4:",
        "5:",
        "6:",
        "6:",
        "8:",
        "8:",
    ]
    assert (exp / "toy" / "resnet_aam" / "model" / "stamp.json").read_text() == stamp
    found = json.loads((exp / "toy" / "sweeps" / "norms" / "summary" / "sweep.json").read_text())
    rates = {point["values"][0]: point["trials"]["toy_o"]["eer"] for point in found["points"]}
    assert rates["as_norm"] == result(exp, "resnet_aam")["trials"]["toy_o"]["eer"]
    assert rates["none"] != rates["as_norm"]
    assert "norm" in (exp / "toy" / "report" / "RESULTS.md").read_text()
