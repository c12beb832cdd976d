"""Stage 8 where lists have scores and no figures: they are in its documents, and in no table or picture of figures."""

import json
from pathlib import Path

import numpy as np
import pytest

from steps.core.files import write_json
from steps.data.trials import Trials, read_trials
from steps.results.figures import no_figures
from tests.recipes import test_report as made

experiment, cheap_pictures = made.experiment, made._cheap_pictures


@pytest.mark.parametrize("others", [True, False])
def test_lists_without_labels_are_in_the_documents_with_their_scores(experiment, capsys, others):
    lines = (experiment / "manifests/trials/demo_e.txt").read_text().splitlines()
    (experiment / "manifests/trials/blind.txt").write_text("".join(f"-{line[1:]}\n" for line in lines))
    made._stamp(experiment / "manifests")
    for system in ("xvector", "ecapa"):
        folder = experiment / system / "scores"
        for name in ("", "llr/") if system == "xvector" else ("",):
            (folder / name / "blind.txt").write_bytes((folder / name / "demo_e.txt").read_bytes())
        record = json.loads((folder / "result.json").read_text())
        blind = no_figures(read_trials(experiment / "manifests/trials/blind.txt")) | {"num_missing": 0}
        write_json(folder / "result.json", record | {"trials": (record["trials"] if others else {}) | {"blind": blind}})
        made._stamp(folder)
    assert made._report(experiment, "--set", "report.publish=true") == 0
    for text in ((experiment / "report/RESULTS.md").read_text(), Path("recipes/demo/RESULTS.md").read_text()):
        assert "| blind | xvector | no labels | xvector/scores/blind.txt | 200 |" in text
        assert ("## All figures" in text) is others
    for text in ((experiment / "report/report.html").read_text(), capsys.readouterr().out):
        assert "xvector/scores/blind.txt" in text
    assert (experiment / "report/figures/forest.png").exists() is others
    assert not list((experiment / "report/figures").glob("*blind*"))


def test_a_list_of_which_one_system_scored_one_kind_is_compared_with_nobody(experiment):
    path = experiment / "ecapa/scores/result.json"
    record = json.loads(path.read_text())
    record["trials"]["demo_e"] = no_figures(Trials(["e0"], ["t0"], np.array([True]))) | {"num_missing": 199}
    write_json(path, record)
    made._stamp(path.parent)
    assert made._report(experiment) == 0
    text = (experiment / "report/RESULTS.md").read_text()
    assert "| demo_e | ecapa | no non-target trials | ecapa/scores/demo_e.txt | 1 | 199 |" in text
    assert json.loads((experiment / "report/comparison.json").read_text()) == {}
