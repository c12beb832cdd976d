"""Remarks on a list, each by the number that it is about; a sound list has none."""

import pytest

from steps.results.data_remarks import list_remarks

SOUND = {
    "target": 500, "nontarget": 5000, "unlabelled": 0, "missing": 0, "speakers": 40, "enrolled": 300, "models": 0, "tested": 300,
    "target_genders": {"f": 250, "m": 250}, "nontarget_genders": {"f-f": 2000, "f-m": 1000, "m-m": 2000},
    "target_sessions": {"same": 0, "other": 500}, "across_corpora": 0, "one_file": 0, "with_itself": 0, "doubled": 0,
    "mirrored": 0, "enrolled_and_tested": 0, "tests_that_enrol": 0, "equal_content": 0, "speakers_enrolled": 40,
    "speakers_in_one_trial": 0,
    "design": {"factors": {}, "drift": {"along": [0.01, 0.9], "speakers": [0.08, 0.1], "corpora": [0.1, 0.1]}},
}  # fmt: skip


def said(is_made=False, **changes):
    return list_remarks(SOUND | changes, is_made=is_made)


def told(**eers):
    factors = {name: {"eer": eer, "tells": eer < 0.4, "target": 500, "nontarget": 5000} for name, eer in eers.items()}
    return {"design": {"factors": factors, "drift": {}}}


def test_a_sound_list_has_no_remark():
    assert said() == []
    assert said(**told(duration=0.49, gender=0.48)) == []
    assert said(models=40) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"with_itself": 8}, "8 of 5,500 trials compare an utterance with itself"),
        ({"doubled": 20}, "20 of 5,500 trials are there a second time"),
        ({"mirrored": 337}, "337 pairs are mirrored"),
        ({"missing": 3}, "3 of 5,500 trials have no recordings"),
        ({"enrolled_and_tested": 8}, "8 of 5,500 trials test a model with an utterance that it was enrolled with"),
        ({"models": 3, "tests_that_enrol": 8}, "8 of 300 test utterances are also enrolled"),
        ({"target_sessions": {"same": 100, "other": 400}}, "100 of 500 target trials lie within a session"),
        ({"one_file": 7}, "7 of 5,500 trials compare two parts of one file"),
        ({"equal_content": 5}, "5 of 5,500 trials compare recordings that are equal to the last bit"),
        ({"speakers_in_one_trial": 4}, "4 of 40 enrolled speakers are in one trial only"),
        ({"target": 12}, "only 12 target trials: too few to tell"),
        ({"speakers": 5}, "only 5 speakers: too few to tell"),
        ({"design": {"factors": {}, "drift": {"corpora": [0.02, 0.1]}}}, "the share of target trials goes from 2.0 to 10.0 %"),
    ],
)
def test_each_fault_has_its_remark_and_no_other(changes, text):
    (remark,) = said(**changes)
    assert remark.startswith(text)


def test_what_tells_is_named_with_its_rate_its_reason_and_the_list_that_does_without():
    (remark,) = said(**told(gender=0.333, level_alike=0.25, duration=0.45))
    assert "being of one gender 33.3 % (20 % of the non-target trials are of a woman and a man)" in remark
    assert "how alike the levels are 25.0 %" in remark
    assert "how long" not in remark
    assert "--set" not in remark
    (remark,) = said(is_made=True, **told(gender=0.333, corpus=0.3))
    assert remark.endswith("; for another list: --set 'prepare.made_trials=[\"same_gender\"]' or prepare.within_corpus=true")
