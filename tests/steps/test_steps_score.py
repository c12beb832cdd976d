"""Stage 6 on the embeddings of a network: result.json as it is promised, its figures those of the files beside it."""

import json
import logging

import numpy as np
import pytest

from steps.core import stage
from steps.core.errors import RecipeError
from steps.data.trials import read_scores, read_trials
from steps.score import STAGE

FIGURES = (
    "num_target", "num_nontarget", "num_missing", "eer", "eer_ci95", "min_dcf", "act_dcf", "cllr", "min_cllr",
)  # fmt: skip
RECORD = ("recipe", "system", "trials", "fingerprint", "commit", "command", "seconds", "machine")


@pytest.fixture(scope="module")
def scores(stages, tmp_path_factory):
    top = tmp_path_factory.mktemp("score")
    embeddings = stages.run(
        "embed", top / "embeddings", *stages.FBANK, *stages.NETWORK, features=stages.features, model=stages.model
    )
    settings = ("system.name=tiny", "score.norm=as_norm", "score.norm_top=4", "score.replicates=50")
    words = [word for setting in settings for word in ("--set", setting)]
    folders = ["--manifests", str(stages.manifests), "--embeddings", str(embeddings), "--out", str(top / "scores")]
    assert stage.run(STAGE, [*words, *folders], logging.getLogger(stages.log)) == 0
    return top / "scores"


def test_the_record_has_every_field_that_others_build_on(scores):
    record = json.loads((scores / "result.json").read_text())
    assert set(RECORD) <= record.keys()
    assert record["system"] == "tiny"
    assert list(record["trials"]) == ["test"]
    assert set(FIGURES) <= record["trials"]["test"].keys()
    assert set(record["trials"]["test"]["min_dcf"]) == {"0.01", "0.05"}


def test_the_figures_are_those_of_the_files(stages, scores):
    figures = json.loads((scores / "result.json").read_text())["trials"]["test"]
    trials = read_trials(stages.manifests / "trials" / "test.txt")
    enrol_ids, test_ids, values = read_scores(scores / "test.txt")
    assert (enrol_ids, test_ids) == (trials.enrol_ids, trials.test_ids)
    target, nontarget = values[trials.is_target], values[~trials.is_target]
    pairs = [((target < t).mean(), (nontarget >= t).mean()) for t in [*np.unique(values), np.inf]]
    miss, false_alarm = min(pairs, key=lambda pair: abs(pair[0] - pair[1]))
    assert figures["eer"] == pytest.approx((miss + false_alarm) / 2, abs=1e-12)
    assert (figures["num_target"], figures["num_nontarget"]) == (len(target), len(nontarget))
    llrs = read_scores(scores / "llr" / "test.txt")[2]
    terms = [np.logaddexp(0, -llrs[trials.is_target]).mean(), np.logaddexp(0, llrs[~trials.is_target]).mean()]
    assert figures["cllr"] == pytest.approx(sum(terms) / 2 / np.log(2), abs=1e-12)


def test_a_back_end_of_other_transforms_is_refused(stages, scores, tmp_path):
    embeddings = scores.parent / "embeddings"
    words = ["--set", "system.name=tiny", "--set", "score.transforms=[]", "--backend", str(scores), "--out", str(tmp_path / "x")]
    with pytest.raises(RecipeError, match=r"--backend .*score.transforms: \['mean'\] -> \[\].*settings\.toml"):
        stage.run(
            STAGE, [*words, "--manifests", str(stages.manifests), "--embeddings", str(embeddings)], logging.getLogger(stages.log)
        )


def test_a_back_end_from_elsewhere_gives_the_same_scores(stages, scores, tmp_path):
    words = ["--set", "system.name=tiny", "--config", str(scores / "settings.toml"), "--backend", str(scores)]
    folders = ["--manifests", str(stages.manifests), "--embeddings", str(scores.parent / "embeddings")]
    assert stage.run(STAGE, [*words, *folders, "--out", str(tmp_path / "x")], logging.getLogger(stages.log)) == 0
    for name in ("test.txt", "llr/test.txt"):
        assert (tmp_path / "x" / name).read_bytes() == (scores / name).read_bytes()


def test_lines_keep_nine_digits(scores):
    for line in (scores / "test.txt").read_text().splitlines()[:20]:
        value = float(line.split()[2])
        assert line.split()[2] == f"{value:.9g}"
