"""Stage 7 on scores written here: weights, selection and gating are those of the library, and wrong files are named by line."""

import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend.calibration import LinearCalibration
from steps.backend.fusion import CalibratedMeanFusion, GenderGatedFusion, GreedyFusion, LinearFusion
from steps.core import files, stage
from steps.core.errors import RecipeError
from steps.core.stamp import write_stamp
from steps.data.trials import Trials, read_scores, write_scores, write_trials
from steps.fuse import STAGE, Fuse
from steps.metrics.error_rates import eer

LOG = logging.getLogger("tests.steps")
SYSTEMS = ("everybody", "men", "women", "noise")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Pictures are tested elsewhere, and take most of the time."""
    monkeypatch.setattr("steps.results.figures._draw", lambda *arguments: None, raising=False)


def trials_of(set_name: str, num_speakers: int, each: int = 3) -> Trials:
    names = [f"{set_name}{speaker:02d}/u{index}" for speaker in range(num_speakers) for index in range(each)]
    first, second = np.triu_indices(len(names), k=1)
    enrol, test = [names[i] for i in first], [names[i] for i in second]
    return Trials(enrol, test, np.array([a.split("/")[0] == b.split("/")[0] for a, b in zip(enrol, test, strict=True)]))


def stamped(folder):
    (folder / "stamp.json").unlink(missing_ok=True)
    write_stamp(folder, {}, files.tree_hashes(folder, ("*", "*/*")), 0.0)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Manifests, the scores of four systems on dev and test trials, and predicted genders."""
    top = tmp_path_factory.mktemp("fuse")
    lists = {"dev": trials_of("dev", 12), "eval": trials_of("test", 8)}
    names = sorted({name for trials in lists.values() for name in (*trials.enrol_ids, *trials.test_ids)})
    for folder in ("calibration", "trials"):
        (top / "manifests" / folder).mkdir(parents=True)
    write_trials(top / "manifests" / "calibration" / "dev.txt", lists["dev"])
    write_trials(top / "manifests" / "trials" / "eval.txt", lists["eval"])
    (top / "manifests" / "utt2spk").write_text("".join(f"{name} {name.split('/')[0]}\n" for name in names))
    rng, scores = np.random.default_rng(0), {}
    odds = {name: round(float(rng.normal() + 3 * (int(name.split("/")[0][-1]) % 2) - 1.5), 3) for name in names}
    for system, gap in zip(SYSTEMS, (2.0, 1.5, 1.5, 0.0), strict=True):
        folder = top / system
        (folder / "calibration").mkdir(parents=True)
        for list_name, trials in lists.items():
            path = folder / "calibration" / "dev.txt" if list_name == "dev" else folder / "eval.txt"
            write_scores(path, trials.enrol_ids, trials.test_ids, 5 * (rng.normal(size=len(trials)) + gap * trials.is_target))
            scores[system, list_name] = read_scores(path)[2]
        (folder / "gender.txt").write_text("".join(f"{name} {value}\n" for name, value in odds.items()))
        stamped(folder)
    stamped(top / "manifests")
    stacked = {name: np.stack([scores[system, name] for system in SYSTEMS], axis=1) for name in lists}
    return SimpleNamespace(top=top, lists=lists, scores=stacked, odds=odds)


def fuse(world, out, *settings, systems=SYSTEMS, folders=None, manifests=None):
    words = ["fuse.name=fusion", f"fuse.systems={json.dumps(systems)}", "score.replicates=20", *settings]
    arguments = [word for setting in words for word in ("--set", setting)]
    inputs = [f"--scores={folder}" for folder in folders or [world.top / system for system in systems]]
    assert (
        stage.run(STAGE, [*arguments, f"--manifests={manifests or world.top / 'manifests'}", *inputs, "--out", str(out)], LOG)
        == 0
    )
    result = json.loads((out / "result.json").read_text())
    return SimpleNamespace(
        scores=read_scores(out / "eval.txt")[2], llrs=read_scores(out / "llr" / "eval.txt")[2],
        about=json.loads((out / "fusion.json").read_text()), figures=result["trials"]["eval"], text=result["backend"],
    )  # fmt: skip


def test_logistic_fusion_of_all_is_what_it_was(world, tmp_path):
    found = fuse(world, tmp_path / "out")
    expected = LinearFusion(0.05).fit(world.scores["dev"], world.lists["dev"].is_target)
    np.testing.assert_allclose(found.scores, expected.transform(world.scores["eval"]), atol=1e-7)
    np.testing.assert_array_equal(found.llrs, found.scores)
    assert found.about["weights"] == dict(zip(SYSTEMS, expected.weights_K_, strict=True))
    assert found.about["offset"] == expected.offset_
    assert found.text == "logistic fusion of everybody, men, women, noise"
    truth = world.lists["eval"].is_target
    assert found.figures["eer"] == eer(found.scores[truth], found.scores[~truth])


def test_a_list_without_labels_is_fused_and_has_no_figures(world, tmp_path, caplog):
    manifests, folders = tmp_path / "exp" / "manifests", [tmp_path / "exp" / system for system in SYSTEMS]
    shutil.copytree(world.top / "manifests", manifests)
    path = manifests / "trials" / "blind.txt"
    path.write_text("".join(f"-{line[1:]}" for line in (manifests / "trials" / "eval.txt").read_text().splitlines(True)))
    for folder in folders:
        shutil.copytree(world.top / folder.name, folder)
        shutil.copyfile(folder / "eval.txt", folder / "blind.txt")
        stamped(folder)
    stamped(manifests)
    with caplog.at_level("INFO"):
        found = fuse(world, tmp_path / "out", folders=folders, manifests=manifests)
    assert (tmp_path / "out" / "blind.txt").read_bytes() == (tmp_path / "out" / "eval.txt").read_bytes()
    figures = json.loads((tmp_path / "out" / "result.json").read_text())["trials"]
    assert (figures["blind"]["eer"], figures["blind"]["no_figures"], figures["eval"]["eer"]) == (
        None,
        "no labels",
        found.figures["eer"],
    )
    assert f"blind: no figures (no labels), {len(found.scores)} scores: {tmp_path / 'out' / 'blind.txt'}" in caplog.text


def test_mean_has_calibrated_llrs_beside_it(world, tmp_path):
    found = fuse(world, tmp_path / "out", "fuse.method=mean", "fuse.prior=0.1")
    expected = CalibratedMeanFusion(0.1).fit(world.scores["dev"], world.lists["dev"].is_target)
    np.testing.assert_allclose(found.scores, expected.means(world.scores["eval"]), atol=1e-7)
    np.testing.assert_allclose(found.llrs, expected.transform(world.scores["eval"]), atol=1e-6)
    assert found.about["calibration"] == {"scale": expected.scale_, "offset": expected.offset_}
    assert found.about["standardised"]["men"] == {"mean": expected.mean_K_[1], "std": expected.std_K_[1]}
    assert found.figures["cllr"] is not None


@pytest.mark.parametrize("method", ["logistic", "mean"])
def test_greedy_selection_says_order_and_criteria(world, tmp_path, method):
    settings = (f"fuse.method={method}", "fuse.select=greedy", "fuse.folds=4", "fuse.criterion=eer")
    found = fuse(world, tmp_path / "out", *settings, systems=SYSTEMS[::-1])
    speakers = [[name.split("/")[0] for name in side] for side in (world.lists["dev"].enrol_ids, world.lists["dev"].test_ids)]
    inner = LinearFusion(0.05) if method == "logistic" else CalibratedMeanFusion(0.05)
    expected = GreedyFusion(inner, num_folds=4, criterion=eer).fit(
        world.scores["dev"][:, ::-1], world.lists["dev"].is_target, *speakers
    )
    assert found.about["order"] == [SYSTEMS[::-1][k] for k in expected.order_]
    if method == "logistic":
        assert found.about["weights"] == dict(zip(found.about["order"], inner.weights_K_, strict=True))
    assert found.about["criteria"] == expected.criteria_.tolist()
    np.testing.assert_allclose(found.llrs, expected.transform(world.scores["eval"][:, ::-1]), atol=1e-6)
    assert found.text.endswith(f"of {', '.join(found.about['order'])}, selected from 4")


def test_greedy_selection_stops_where_it_is_told(world, tmp_path):
    found = fuse(world, tmp_path / "out", "fuse.select=greedy", "fuse.max_systems=1")
    assert found.about["order"] == list(found.about["weights"]) == ["everybody"]


def test_gender_gated_fusion(world, tmp_path):
    found = fuse(world, tmp_path / "out", "fuse.method=gender_gated", systems=SYSTEMS[:3])
    odds = {
        name: [[world.odds[each] for each in side] for side in (trials.enrol_ids, trials.test_ids)]
        for name, trials in world.lists.items()
    }
    gated = GenderGatedFusion().fit(world.scores["dev"][:, :3])
    fused = {name: gated.transform(world.scores[name][:, :3], *odds[name]) for name in odds}
    np.testing.assert_allclose(found.scores, fused["eval"], atol=1e-7)
    llrs = LinearCalibration(0.05).fit(fused["dev"], world.lists["dev"].is_target).transform(fused["eval"])
    np.testing.assert_allclose(found.llrs, llrs, atol=1e-6)
    assert found.about["roles"] == {"all": "everybody", "male": "men", "female": "women"}
    same = [(a > 0) == (b > 0) for a, b in zip(*odds["dev"], strict=True)]
    assert found.about["num_same_gender"] == sum(same)


def copied(world, folder, name="everybody"):
    """A copy of a system's scores, to be spoilt."""
    (folder / "calibration").mkdir(parents=True)
    for path in ("eval.txt", "calibration/dev.txt", "gender.txt"):
        (folder / path).write_bytes((world.top / name / path).read_bytes())
    return folder


def spoilt(world, folder, change, file="eval.txt"):
    path = copied(world, folder) / file
    path.write_text("".join(line + "\n" for line in change(path.read_text().splitlines())))
    return [stamped(folder), *(world.top / system for system in SYSTEMS[1:])]


def test_scores_in_another_order_are_put_right(world, tmp_path):
    plain = fuse(world, tmp_path / "plain")
    shuffled = fuse(world, tmp_path / "out", folders=spoilt(world, tmp_path / "in", lambda lines: ["", *lines[::-1]]))
    np.testing.assert_array_equal(shuffled.scores, plain.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: lines[:4] + lines[5:],
            r"in/eval\.txt: no score for 1 of 276 trials of .*trials/eval\.txt, .*\(trial 5\)",
        ),
        (
            lambda lines: [*lines, "", "strange other 1.0"],
            r"in/eval\.txt:278: a score of 'strange' and 'other', which is no trial of",
        ),
        (lambda lines: [*lines, lines[2]], r"in/eval\.txt:277: a second score of '.*' and '.*', after that in line"),
    ],
)
def test_missing_extra_and_repeated_scores_are_refused(world, tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        fuse(world, tmp_path / "out", folders=spoilt(world, tmp_path / "in", change))


def test_missing_scores_may_be_allowed_and_dev_trials_may_be_fewer(world, tmp_path):
    folders = spoilt(world, tmp_path / "in", lambda lines: lines[3:])
    found = fuse(world, tmp_path / "out", "score.allow_missing=true", folders=folders)
    assert found.figures["num_missing"] == 3
    assert len(found.scores) == 273
    folders = spoilt(world, tmp_path / "dev", lambda lines: lines[9:], "calibration/dev.txt")
    found = fuse(world, tmp_path / "out2", folders=folders)
    expected = LinearFusion(0.05).fit(world.scores["dev"][9:], world.lists["dev"].is_target[9:])
    assert found.about["weights"] == dict(zip(SYSTEMS, expected.weights_K_, strict=True))
    assert found.about["num_trials"] == len(world.lists["dev"]) - 9
    halves = [
        spoilt(world, tmp_path / name, change, "calibration/dev.txt")[0]
        for name, change in (("a", lambda lines: lines[:300]), ("b", lambda lines: lines[300:]))
    ]
    with pytest.raises(RecipeError, match="no trial has been scored by all systems"):
        fuse(world, tmp_path / "out3", folders=halves, systems=SYSTEMS[:2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], r"1 utterances, such as 'dev00/u0', have no line in .*gender\.txt; run stage 6"),
        (lambda lines: [*lines, lines[0]], r"gender\.txt:61: .*each utterance once.*found 'dev00/u0"),
        (lambda lines: ["dev00/u0 inf", *lines[1:]], r"gender\.txt:1: .*the number finite"),
        (lambda lines: ["dev00/u0", *lines[1:]], r"gender\.txt:1: expected '<utterance id> <log odds of female>'"),
        (lambda lines: [], r"gender\.txt: is empty"),
    ],
)
def test_bad_genders_are_refused(world, tmp_path, change, message):
    folders = spoilt(world, tmp_path / "in", change, "gender.txt")[:3]
    with pytest.raises(RecipeError, match=message):
        fuse(world, tmp_path / "out", "fuse.method=gender_gated", systems=SYSTEMS[:3], folders=folders)


def test_what_is_lacking_is_said(world, tmp_path):
    folders = spoilt(world, tmp_path / "in", list)[:3]
    (tmp_path / "in" / "gender.txt").unlink()
    stamped(tmp_path / "in")
    with pytest.raises(RecipeError, match="for the first system run stage 6 again with --set score.predict_gender=true"):
        fuse(world, tmp_path / "out", "fuse.method=gender_gated", systems=SYSTEMS[:3], folders=folders)
    with pytest.raises(RecipeError, match="num_folds: expected 3 or more.*found 9 for 12 speakers"):
        fuse(world, tmp_path / "out", "fuse.select=greedy", "fuse.folds=9")
    with pytest.raises(RecipeError, match="expected one folder for each of everybody, men, women, noise, found 2"):
        fuse(world, tmp_path / "out", folders=folders[:2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "median"}, "method: expected one of logistic, mean, gender_gated, found 'median'"),
        ({"select": "best"}, "select: expected one of all, greedy"),
        ({"criterion": "auc", "select": "greedy"}, "criterion: expected one of cllr, min_dcf, act_dcf, eer"),
        ({"method": "gender_gated"}, "systems: expected three with method = 'gender_gated'"),
        ({"method": "gender_gated", "systems": ("a", "b", "c"), "select": "greedy"}, "select = 'greedy'"),
        ({"max_systems": 3}, "max_systems: has no effect with select = 'all'"),
        ({"folds": 4}, "folds: has no effect"),
        ({"folds": 2, "select": "greedy"}, "3 or more, found 0 and 2"),
        ({"max_systems": -1, "select": "greedy"}, "0 or more"),
        ({"systems": ("a",)}, "systems: expected two or more"),
        ({"prior": 1.0}, "prior: expected a probability"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Fuse(**{"name": "fusion", "systems": ("a", "b"), **settings})
