"""Decisions about a list at thresholds that were chosen elsewhere."""

import json

import numpy as np
import pytest

from steps.backend.settings import Score
from steps.metrics.replicates import draw_replicates
from steps.results.verification import Decisions, Threshold, decision_figures, load_threshold

rng = np.random.default_rng(0)
ENROL, TEST = rng.integers(8, size=(2, 300))
TRUTH = ENROL == TEST
SCORES = rng.normal(size=300) + 2 * TRUTH
CHOSEN = Threshold(threshold=0.7, accuracy=0.9, num_target=5, num_nontarget=6)


def figures(decisions, scores=SCORES):
    replicates = draw_replicates(TRUTH, ENROL, TEST, rng=np.random.default_rng(1), num_replicates=100)
    return decision_figures(scores, TRUTH, replicates, decisions)


def at(threshold):
    return ((SCORES[TRUTH] >= threshold).mean() + (SCORES[~TRUTH] < threshold).mean()) / 2


def test_the_threshold_of_dev_trials_is_applied_and_the_list_s_own_best_is_not():
    found = figures(Decisions(chosen=CHOSEN))
    assert found["accuracy"] == pytest.approx(at(0.7))
    assert found["accuracy_ci95"][0] < found["accuracy"] < found["accuracy_ci95"][1]
    assert (found["dev_threshold"], found["dev_accuracy"]) == (0.7, 0.9)
    assert "own_accuracy" not in found
    assert "ambiguous" not in found
    assert json.loads(json.dumps(found)) == found


def test_without_dev_trials_there_is_no_accuracy():
    found = figures(Decisions())
    assert found == dict.fromkeys(("accuracy", "accuracy_ci95", "dev_threshold", "dev_accuracy"))
    found = figures(Decisions(own=0.0))
    assert found["accuracy"] is None
    assert found["own_accuracy"] == pytest.approx(at(0.0))
    assert found["own_accuracy_ci95"][0] < found["own_accuracy"] < found["own_accuracy_ci95"][1]


def test_scores_that_are_heights_tell_which_trials_are_ambiguous():
    heights = np.random.default_rng(4).random(300)
    found = figures(Decisions(are_heights=True), scores=-heights)["ambiguous"]
    wrong = np.where(TRUTH, heights >= 0.6, heights <= 0.4)
    assert found["rate"] == pytest.approx(wrong.mean())
    assert (found["target_rate"], found["nontarget_rate"]) == pytest.approx((wrong[TRUTH].mean(), wrong[~TRUTH].mean()))
    assert found["rate_ci95"][0] < found["rate"] < found["rate_ci95"][1]


def test_what_a_system_decides_by_follows_from_its_settings():
    assert Decisions.of(Score(backend="siamese", norm="none"), CHOSEN) == Decisions(chosen=CHOSEN, own=0.0)
    assert Decisions.of(Score(backend="siamese", norm="as_norm"), None) == Decisions()  # no odds any more
    assert Decisions.of(Score(backend="linkage", linkage="average"), None) == Decisions(are_heights=True)
    assert Decisions.of(Score(backend="linkage", linkage="ward"), None) == Decisions()


def test_a_chosen_threshold_is_kept_in_a_file(tmp_path):
    assert load_threshold(tmp_path) is None
    chosen = Threshold.chosen_on(SCORES, TRUTH)
    assert (chosen.num_target, chosen.num_nontarget) == (TRUTH.sum(), (~TRUTH).sum())
    assert chosen.accuracy == pytest.approx(at(chosen.threshold))
    assert chosen.accuracy >= max(map(at, SCORES)) - 1e-12
    chosen.save(tmp_path)
    assert load_threshold(tmp_path) == chosen
