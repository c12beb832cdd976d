"""Figures of a list: those of the written scores, by definitions worked out here one threshold at a time."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend.settings import Score
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.trials import Trials, all_pairs, read_scores, write_scores
from steps.metrics.intervals import interval, speaker_bootstrap
from steps.results.figures import list_figures, one_line, speaker_indices
from steps.results.verification import Decisions, Threshold

SETTINGS = Score(replicates=200)
SCORES = Path("exp/own/scores/demo.txt")


def utterances() -> list[SimpleNamespace]:
    return [
        SimpleNamespace(id=f"s{speaker}/u{index}", speaker=f"s{speaker}", gender="", session=f"{index}", corpus="")
        for speaker in range(6)
        for index in range(3)
    ]


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("figures")
    trials = all_pairs(utterances())
    rng = np.random.default_rng(5)
    raw = rng.normal(size=len(trials)) + 1.2 * trials.is_target
    write_scores(folder / "scores.txt", trials.enrol_ids, trials.test_ids, raw)
    write_scores(folder / "llr.txt", trials.enrol_ids, trials.test_ids, 1.5 * raw - 2.0)
    scores, llrs = (read_scores(folder / f"{name}.txt")[2] for name in ("scores", "llr"))
    utt2spk = {each.id: each.speaker for each in utterances()}
    found = list_figures("demo", trials, scores, llrs, utt2spk, settings=SETTINGS, plots=folder / "plots")
    return SimpleNamespace(folder=folder, trials=trials, scores=scores, llrs=llrs, utt2spk=utt2spk, found=found)


def rates(scores: np.ndarray, is_target: np.ndarray) -> list[tuple[float, float]]:
    """Miss and false-alarm rate at every threshold: a score that reaches it accepts."""
    thresholds = [*np.unique(scores), np.inf]
    return [((scores[is_target] < t).mean(), (scores[~is_target] >= t).mean()) for t in thresholds]


def eer(scores: np.ndarray, is_target: np.ndarray) -> float:
    miss, false_alarm = min(rates(scores, is_target), key=lambda pair: abs(pair[0] - pair[1]))
    return (miss + false_alarm) / 2


def cost(miss: float, false_alarm: float, prior: float) -> float:
    return (prior * miss + (1 - prior) * false_alarm) / min(prior, 1 - prior)


def test_figures_are_those_of_the_score_file(case):
    labels = {
        (enrol, test): target
        for enrol, test, target in zip(case.trials.enrol_ids, case.trials.test_ids, case.trials.is_target, strict=True)
    }
    enrol_ids, test_ids, scores = read_scores(case.folder / "scores.txt")
    is_target = np.array([labels[pair] for pair in zip(enrol_ids, test_ids, strict=True)])
    assert case.found["eer"] == pytest.approx(eer(scores, is_target), abs=1e-12)
    for prior in (0.01, 0.05):
        expected = min(cost(*pair, prior) for pair in rates(scores, is_target))
        assert case.found["min_dcf"][str(prior)] == pytest.approx(expected, abs=1e-12)


def test_calibrated_figures_are_those_of_the_llr_file(case):
    llrs, is_target = read_scores(case.folder / "llr.txt")[2], case.trials.is_target
    for prior in (0.01, 0.05):
        threshold = -np.log(prior / (1 - prior))
        pair = (llrs[is_target] < threshold).mean(), (llrs[~is_target] >= threshold).mean()
        assert case.found["act_dcf"][str(prior)] == pytest.approx(cost(*pair, prior), abs=1e-12)
    terms = [np.log2(1 + np.exp(-llrs[is_target])).mean(), np.log2(1 + np.exp(llrs[~is_target])).mean()]
    assert case.found["cllr"] == pytest.approx(sum(terms) / 2, abs=1e-12)
    assert case.found["min_cllr"] <= case.found["cllr"]


def test_counts_are_those_of_the_list(case):
    assert case.found["num_target"] == 6 * 3
    assert case.found["num_nontarget"] == 18 * 17 // 2 - 18
    assert case.found["num_speakers"] == 6


def test_the_interval_holds_the_rate_and_comes_again(case):
    low, high = case.found["eer_ci95"]
    assert 0 <= low < case.found["eer"] < high <= 1
    again = list_figures(
        "demo", case.trials, case.scores, case.llrs, case.utt2spk, settings=SETTINGS, plots=case.folder / "plots"
    )
    assert again == case.found
    other = list_figures(
        "other", case.trials, case.scores, case.llrs, case.utt2spk, settings=SETTINGS, plots=case.folder / "plots"
    )
    assert other["eer_ci95"] != case.found["eer_ci95"]  # lists have draws of their own


def test_the_interval_is_that_of_the_bootstrap_over_speakers(case):
    enrol_P, test_P, _ = speaker_indices("demo", case.trials, case.utt2spk)
    rng = generator(SETTINGS.seed, "bootstrap", "demo")
    replicates = speaker_bootstrap(case.scores, case.trials.is_target, enrol_P, test_P, rng=rng, num_replicates=200)
    assert case.found["eer_ci95"] == list(interval(replicates))


def test_decisions_are_made_where_something_is_known_before(case):
    assert case.found["accuracy"] is None
    chosen = Threshold(threshold=0.5, accuracy=0.8, num_target=1, num_nontarget=1)
    found = list_figures(
        "demo", case.trials, case.scores, case.llrs, case.utt2spk, settings=replace(SETTINGS, pictures=()),
        plots=case.folder / "plots", decisions=Decisions(chosen=chosen),
    )  # fmt: skip
    miss, false_alarm = (case.scores[case.trials.is_target] < 0.5).mean(), (case.scores[~case.trials.is_target] >= 0.5).mean()
    assert found["accuracy"] == pytest.approx(1 - (miss + false_alarm) / 2)
    assert f"accuracy {100 * found['accuracy']:.2f} %" in one_line(found, SCORES)
    assert {key: value for key, value in found.items() if "acc" not in key and "dev" not in key} == {
        key: value for key, value in case.found.items() if "acc" not in key and "dev" not in key
    }


def test_without_calibration_its_figures_are_empty(case):
    found = list_figures("demo", case.trials, case.scores, None, case.utt2spk, settings=SETTINGS, plots=case.folder / "plots")
    assert found["act_dcf"] is None
    assert found["cllr"] is None
    assert found["eer"] == case.found["eer"]


def test_pictures_are_drawn_for_each_list(case):
    names = {path.name for path in (case.folder / "plots").iterdir()}
    assert {path.partition(".")[0] for path in names} == {"det", "scores"}
    assert any(name.startswith("det.demo.") for name in names)


@pytest.mark.parametrize("kind", [True, False])
def test_a_list_of_one_kind_has_scores_and_no_figures(case, kind, tmp_path):
    rows = np.flatnonzero(case.trials.is_target == kind)
    trials = Trials([case.trials.enrol_ids[i] for i in rows], [case.trials.test_ids[i] for i in rows], np.full(len(rows), kind))
    found = list_figures("demo", trials, case.scores[rows], None, case.utt2spk, settings=SETTINGS, plots=tmp_path / "plots")
    lacking = "non-target" if kind else "target"
    counts = found["num_target"], found["num_nontarget"], found["num_unlabelled"]
    assert counts == ((18, 0, 0) if kind else (0, 135, 0))
    line = one_line(found, SCORES)
    assert line == f"no figures (no {lacking} trials), {len(rows)} scores: exp/own/scores/demo.txt"
    assert not (tmp_path / "plots").exists()


def test_a_list_without_labels_has_nobody_behind_its_scores(case, tmp_path):
    trials = Trials(["x"], ["y"], None)  # of nobody who is known
    found = list_figures("demo", trials, np.array([0.5]), np.array([1.0]), {}, settings=SETTINGS, plots=tmp_path)
    assert found.keys() >= case.found.keys() - {"accuracy", "accuracy_ci95", "dev_threshold", "dev_accuracy"}
    assert all(found[key] is None for key in ("eer", "eer_ci95", "cllr", "min_cllr", "act_dcf", "num_speakers"))
    assert (found["num_target"], found["num_nontarget"], found["num_unlabelled"], found["min_dcf"]) == (0, 0, 1, {})
    assert one_line(found, SCORES) == "no figures (no labels), 1 score: exp/own/scores/demo.txt"


def test_an_utterance_of_nobody_is_named(case):
    with pytest.raises(RecipeError, match=r"trial list demo: utterance 's0/u1' is not in utt2spk; run stage 1 again"):
        speaker_indices("demo", case.trials, {key: value for key, value in case.utt2spk.items() if key != "s0/u1"})


def test_speakers_are_numbered_alike_on_both_sides(case):
    enrol_P, test_P, num_speakers = speaker_indices("demo", case.trials, case.utt2spk)
    np.testing.assert_array_equal(enrol_P == test_P, case.trials.is_target)
    assert num_speakers == 6
    assert sorted(set(enrol_P.tolist()) | set(test_P.tolist())) == list(range(6))


def test_one_line_gives_the_chief_figures_in_per_cent(case):
    figures = case.found | {
        "eer": 0.1234,
        "eer_ci95": [0.1, 0.2],
        "min_dcf": {"0.01": 0.5},
        "num_target": 180,
        "num_speakers": 60,
    }
    assert one_line(figures, SCORES) == (
        "EER 12.34 % [10.00, 20.00], minDCF(0.01) 0.500, 180 target and 135 non-target trials of 60 speakers"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [((1, 8), "too few to tell: 1 targets, 8 speakers"), ((20, 19), "too few to tell: 19 speakers"), ((20, 20), "4.00, 6.00")],
)
def test_one_line_says_too_few_to_tell_instead_of_an_interval(case, counts, bounds):
    figures = case.found | {"eer": 0.05, "eer_ci95": [0.04, 0.06], "num_target": counts[0], "num_speakers": counts[1]}
    assert one_line(figures, SCORES).startswith(f"EER 5.00 % [{bounds}], ")
