"""Scores find their trials again, and comparisons are those of the trials that both systems have."""

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.score_files import TrialIndex
from steps.data.trials import write_scores
from steps.documents.comparison import Scored, aligned_scores, calibration_figures, compare_with, read_scored, trial_speakers
from steps.metrics.cllr import cllr
from steps.metrics.costs import act_dcf
from steps.metrics.paired import compare_systems, holm

TRIALS = TrialIndex.of(["a", "a", "b", "b"], ["c", "d", "c", "d"], np.array([True, False, False, True]))


def test_scores_are_matched_by_pair_and_missing_ones_are_nan(tmp_path):
    write_scores(tmp_path / "s.txt", ["b", "a", "a"], ["d", "d", "c"], np.array([4.0, 2.0, 1.0]))
    np.testing.assert_array_equal(aligned_scores(TRIALS, tmp_path / "s.txt"), [1.0, 2.0, np.nan, 4.0])
    scored = read_scored(TRIALS, tmp_path, "s")
    assert [kind.tolist() for kind in scored.pair()] == [[1.0, 4.0], [2.0]]
    assert scored.llr_pair() is None
    twice = TrialIndex.of([*TRIALS.enrol_ids, "a"], [*TRIALS.test_ids, "c"], np.append(TRIALS.is_target, True))
    np.testing.assert_array_equal(aligned_scores(twice, tmp_path / "s.txt"), [1.0, 2.0, np.nan, 4.0, np.nan])  # scored once


def test_scores_of_other_pairs_or_of_one_kind_are_refused(tmp_path):
    write_scores(tmp_path / "s.txt", ["b", "z"], ["d", "d"], np.array([4.0, 2.0]))
    with pytest.raises(RecipeError, match="s.txt:2: a score of 'z' and 'd', which is no trial"):
        aligned_scores(TRIALS, tmp_path / "s.txt")
    write_scores(tmp_path / "s.txt", ["b"], ["d"], np.array([4.0]))
    with pytest.raises(RecipeError, match="1 targets in 1 scored trials"):
        aligned_scores(TRIALS, tmp_path / "s.txt")


def test_llrs_are_read_where_there_are_some(tmp_path):
    (tmp_path / "llr").mkdir()
    for folder, factor in ((tmp_path, 1), (tmp_path / "llr", -2)):
        write_scores(folder / "s.txt", TRIALS.enrol_ids, TRIALS.test_ids, factor * np.arange(4.0))
    target, nontarget = read_scored(TRIALS, tmp_path, "s").llr_pair()
    assert (target.tolist(), nontarget.tolist()) == ([0, -6], [-2, -4])


def test_speakers_are_those_of_utterances_and_of_enrolled_models(tmp_path):
    (tmp_path / "utt2spk").write_text("a s1\nc s1\nd s2\nx s3\n")
    (tmp_path / "enrolment").mkdir()
    (tmp_path / "enrolment/l.txt").write_text("b d\n")
    enrol, test = trial_speakers(tmp_path, "l", TRIALS)
    assert (enrol.tolist(), test.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    with pytest.raises(RecipeError, match="'b' is not in utt2spk"):
        trial_speakers(tmp_path, "other", TRIALS)


def _scored(num=240):
    rng = np.random.default_rng(0)
    truth = np.arange(num) % 3 == 0
    scores = {
        name: truth * gap + rng.normal(size=num) for name, gap in (("ref", 1.5), ("good", 3.0), ("same", 1.5), ("part", 2.0))
    }
    scores["part"][5:20] = np.nan
    speakers = rng.integers(0, 12, num), rng.integers(0, 12, num)
    return {name: Scored(truth, values, None) for name, values in scores.items()}, speakers


def test_systems_are_compared_on_the_trials_that_both_have():
    scored, speakers = _scored()
    found = compare_with("ref", scored, speakers, name="l", seed=3, num_replicates=50)
    assert {name: each["num_trials"] for name, each in found.items()} == {"good": 240, "same": 240, "part": 225}
    kept = np.isfinite(scored["part"].scores_P)
    alone = compare_systems(
        {name: scored[name].scores_P[kept] for name in ("ref", "part")}, scored["ref"].is_target[kept],
        speakers[0][kept], speakers[1][kept], reference="ref", rng=generator(3, "comparison", "l"), num_replicates=50,
    )["part"]["eer"]  # fmt: skip
    for key in ("value", "reference", "difference", "ci95", "p_value"):
        assert found["part"]["eer"][key] == alone[key]
    corrected = holm([each["eer"]["p_value"] for each in found.values()])
    assert [each["eer"]["p_holm"] for each in found.values()] == corrected


def test_a_comparison_does_not_depend_on_which_others_are_compared():
    scored, speakers = _scored()
    both = compare_with("ref", scored, speakers, name="l", seed=3, num_replicates=50)
    one = compare_with("ref", {name: scored[name] for name in ("ref", "good")}, speakers, name="l", seed=3, num_replicates=50)
    assert one["good"]["eer"]["ci95"] == both["good"]["eer"]["ci95"]
    assert compare_with("ref", {"ref": scored["ref"]}, speakers, name="l", seed=3, num_replicates=50) == {}


def test_systems_without_common_trials_of_both_kinds_are_not_compared():
    scored, speakers = _scored()
    scored["part"].scores_P[scored["part"].is_target & (np.arange(240) > 2)] = np.nan
    scored["ref"].scores_P[:3] = np.nan
    found = compare_with("ref", scored, speakers, name="l", seed=3, num_replicates=20)
    assert set(found) == {"good", "same"}


def test_costs_before_calibration_are_those_of_scores_taken_for_llrs():
    scored = _scored()[0]["good"]
    after = {"min_cllr": 0.1, "cllr": 0.2, "min_dcf": {"0.01": 0.3, "0.05": 0.2}, "act_dcf": {"0.01": 0.4, "0.05": 0.25}}
    found = calibration_figures(scored, after)
    assert found["cllr"] == (cllr(*scored.pair()), 0.2)
    assert found["act_dcf"]["0.05"] == (act_dcf(*scored.pair(), 0.05), 0.25)
    bare = calibration_figures(scored, after | {"cllr": None, "act_dcf": None})
    assert (bare["cllr"][1], bare["act_dcf"]["0.01"][1]) == (None, None)
