"""Stage 6 on the embeddings of a network: result.json as it is promised, its figures those of the files beside it."""

import json
import logging
import shutil

import numpy as np
import pytest

from steps.core import files, stage
from steps.core.errors import RecipeError
from steps.core.stamp import write_stamp
from steps.data.archive import Archive
from steps.data.item_lists import Role, write_roles
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


def test_lists_without_labels_or_of_one_kind_have_the_same_scores_and_no_figures(stages, scores, tmp_path, caplog, monkeypatch):
    drawn = []
    monkeypatch.setattr("steps.score._draw_trials", lambda job, scorer, test, rows, scores: drawn.append(rows.path.stem))
    manifests = tmp_path / "manifests"
    shutil.copytree(stages.manifests, manifests)
    lines = (manifests / "trials" / "test.txt").read_text().splitlines(keepends=True)
    (manifests / "trials" / "blind.txt").write_text("".join("-" + line[1:] for line in lines))
    (manifests / "trials" / "others.txt").write_text("".join(line for line in lines if line[0] == "0"))
    (manifests / "stamp.json").unlink()
    write_stamp(manifests, {}, files.tree_hashes(manifests, ("*", "*/*")), 0.0)
    words = ["--set", "system.name=tiny", "--config", str(scores / "settings.toml"), "--backend", str(scores)]
    words += ["--set", 'tasks.run=["pictures"]', "--set", "tasks.picture_set=test"]
    folders = ["--manifests", str(manifests), "--embeddings", str(scores.parent / "embeddings")]
    with caplog.at_level("INFO", logger=stages.log):
        assert stage.run(STAGE, [*words, *folders, "--out", str(tmp_path / "x")], logging.getLogger(stages.log)) == 0
    assert drawn == ["test"]  # a picture is of trials of both kinds
    for name in ("", "llr/"):
        assert (tmp_path / "x" / name / "blind.txt").read_bytes() == (scores / name / "test.txt").read_bytes()
    found = json.loads((tmp_path / "x" / "result.json").read_text())["trials"]
    num = sum(line[0] == "0" for line in lines)
    assert [found[name].get("no_figures") for name in ("blind", "others", "test")] == ["no labels", "no target trials", None]
    assert [found["others"][f"num_{name}"] for name in ("target", "nontarget", "unlabelled", "missing")] == [0, num, 0, 0]
    assert set(FIGURES) <= found["blind"].keys()
    assert f"blind: no figures (no labels), {len(lines)} scores: {tmp_path / 'x' / 'blind.txt'}" in caplog.text


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


def test_accuracy_is_at_the_threshold_of_the_dev_trials(stages, scores, tmp_path):
    figures = json.loads((scores / "result.json").read_text())["trials"]["test"]
    dev, test = (
        (read_scores(scores / path)[2], read_trials(stages.manifests / folder).is_target)
        for path, folder in (("calibration/dev.txt", "calibration/dev.txt"), ("test.txt", "trials/test.txt"))
    )

    def accuracy(values, truth, threshold):
        return ((values[truth] >= threshold).mean() + (values[~truth] < threshold).mean()) / 2

    chosen = json.loads((scores / "threshold.json").read_text())["threshold"]
    assert accuracy(*dev, chosen) == pytest.approx(max(accuracy(*dev, value) for value in dev[0]))
    assert figures["dev_accuracy"] == pytest.approx(accuracy(*dev, chosen))
    assert figures["accuracy"] == pytest.approx(accuracy(*test, chosen))
    # The same without a calibration; and with the back end of another corpus by that one's threshold.
    settings = ("system.name=tiny", "score.norm=as_norm", "score.norm_top=4", "score.replicates=50", "score.pictures=[]")
    words = [word for setting in (*settings, "score.calibrate=false") for word in ("--set", setting)]
    words += ["--manifests", str(stages.manifests), "--embeddings", str(scores.parent / "embeddings")]
    for name, more in (("plain", []), ("back", ["--backend", str(scores)])):
        assert stage.run(STAGE, [*words, *more, "--out", str(tmp_path / name)], logging.getLogger(stages.log)) == 0
        found = json.loads((tmp_path / name / "result.json").read_text())["trials"]["test"]
        assert found["cllr"] is None
        for key in ("accuracy", "accuracy_ci95", "dev_threshold"):
            assert found[key] == figures[key]


def test_a_list_is_identified_by_enrolment_and_by_the_classifier(stages, tmp_path):
    manifests = tmp_path / "manifests"
    shutil.copytree(stages.manifests, manifests)
    roles = [Role("test" if index == 2 else "enrol", f"train{n}", f"train{n}/u{index}") for n in range(6) for index in range(3)]
    write_roles(manifests / "identification" / "seen.txt", roles)
    strangers = [Role("test" if index else "enrol", f"test{n}", f"test{n}/u{index}") for n in range(3) for index in range(3)]
    write_roles(manifests / "identification" / "unseen.txt", strangers)
    more = (*stages.FBANK, *stages.NETWORK, 'embed.class_scores=["train"]')
    embeddings = stages.run("embed", tmp_path / "embeddings", *more, features=stages.features, model=stages.model)
    settings = ("system.name=tiny", "score.replicates=20", "score.pictures=[]", 'tasks.run=["identification"]',
                "tasks.ranks=[1, 2]", "tasks.enrol_utterances=1", "tasks.draws=2", "tasks.replicates=20")  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--manifests", str(manifests), "--embeddings", str(embeddings), "--out", str(tmp_path / "scores")]
    assert stage.run(STAGE, words, logging.getLogger(stages.log)) == 0
    tasks = json.loads((tmp_path / "scores" / "result.json").read_text())["tasks"]
    assert list(tasks["identification_lists"]) == ["seen", "unseen"]
    assert list(tasks["identification_by_classifier"]) == ["seen"]  # the others are nobody's class
    archive, speakers = Archive(embeddings / "class_scores" / "train"), (embeddings / "speakers").read_text().split()
    places = [list(np.argsort(-archive[f"train{n}/u2"])).index(speakers.index(f"train{n}")) for n in range(6)]
    rates = {str(rank): np.mean([place < rank for place in places]) for rank in (1, 2)}
    assert tasks["identification_by_classifier"]["seen"]["rate"] == pytest.approx(rates)


@pytest.mark.parametrize(("settings", "each"), [((), [3, 3, 3]), (("set='train'", "speakers=4", "utterances=2"), [2, 2, 2, 2])])
def test_pictures_show_what_is_asked_for(stages, scores, tmp_path, monkeypatch, settings, each):
    shown = []
    monkeypatch.setattr("steps.results.pictures.write_embedding_pictures", lambda *arguments, **more: shown.append(arguments))
    words = ["system.name=tiny", "score.pictures=[]", "score.norm=none", "score.replicates=20", 'tasks.run=["pictures"]']
    words = [part for word in [*words, *(f"tasks.picture_{word}" for word in settings)] for part in ("--set", word)]
    words += ["--manifests", str(stages.manifests), "--embeddings", str(scores.parent / "embeddings"), "--out"]
    assert stage.run(STAGE, [*words, str(tmp_path / "out")], logging.getLogger(stages.log)) == 0
    rows_RD, speakers = shown[0][2:]
    set_name = "train" if settings else "test"
    archive = Archive(scores.parent / "embeddings" / set_name)
    assert sorted(np.unique(speakers, return_counts=True)[1]) == each
    centred = {name: vector - archive_mean(scores, "train") for name, vector in archive.items()}
    for row_D, speaker in zip(rows_RD, speakers, strict=True):
        assert any(
            np.allclose(row_D, vector, rtol=1e-4, atol=1e-3) for name, vector in centred.items() if name.startswith(f"{speaker}/")
        )
    few = [part for word in ("set='train'", "speakers=2", "utterances=1") for part in ("--set", f"tasks.picture_{word}")]
    with pytest.raises(RecipeError, match="at least 3 embeddings of the set 'train', found 2; raise tasks.picture_speakers"):
        stage.run(STAGE, [*words, str(tmp_path / "x"), *few], logging.getLogger(stages.log))


def archive_mean(scores, set_name):
    return np.mean(list(Archive(scores.parent / "embeddings" / set_name).values()), axis=0)


def test_lines_keep_nine_digits(scores):
    for line in (scores / "test.txt").read_text().splitlines()[:20]:
        value = float(line.split()[2])
        assert line.split()[2] == f"{value:.9g}"
