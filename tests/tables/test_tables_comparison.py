"""Paired comparisons and calibration as tables."""

import pytest

from steps.tables.comparison import calibration_table, paired_table, probability


def _record(system, comparison=None, fingerprint="f", lists=("o", "o-sea")):
    figures = {"num_target": 100, "num_nontarget": 20}
    record = {"system": system, "fingerprint": fingerprint, "trials": {name: figures for name in lists}}
    return record | ({"comparison": comparison} if comparison else {})


def _comparison(reference="xvector", fingerprint="f", **lists):
    eer = {"value": 0.04, "reference": 0.05, "difference": -0.01, "ci95": [-0.02, 0.001], "p_value": 0.0512, "p_holm": 0.1}
    lists = lists or {"o": {"num_trials": 1234, "eer": eer}}
    return {"reference": reference, "reference_fingerprint": fingerprint, "replicates": 2000, "trials": lists}


def test_a_difference_stands_with_its_interval_p_values_and_trials():
    table = paired_table([_record("xvector"), _record("ecapa", _comparison())], "xvector")
    assert table.rows == (("o", "ecapa", "4.00", "-1.00", "[-2.00, 0.10]", "0.051", "0.100", "1,234"),)
    assert "minus xvector" in table.note
    assert "the same 2,000 draws of speakers" in table.note
    assert table.title == "Differences from xvector"


@pytest.mark.parametrize(
    ("comparison", "reference"),
    [
        (_comparison(reference="other"), "xvector"),
        (_comparison(fingerprint="older"), "xvector"),
        (_comparison(), "absent"),
        (None, "xvector"),
    ],
)
def test_a_comparison_with_another_reference_or_an_older_run_of_it_is_not_shown(comparison, reference):
    table = paired_table([_record("xvector"), _record("ecapa", comparison)], reference)
    assert table.rows == ()
    assert table.note == ""


def test_small_probabilities_are_bounds():
    assert [probability(p) for p in (None, 0.0004, 0.001, 1.0)] == [None, "< 0.001", "0.001", "1.000"]


def test_calibration_shows_before_and_after_and_leaves_out_what_nobody_has():
    figures = {"min_cllr": 0.2, "cllr": (0.9, 0.25), "min_dcf": {"0.01": 0.5}, "act_dcf": {"0.01": (3.0, 0.6)}}
    table = calibration_table(
        [("o", "a", figures), ("o", "b", figures | {"cllr": (0.8, None), "act_dcf": {"0.01": (2.0, None)}})]
    )
    assert table.columns == (
        "List", "System", "minCllr", "Cllr before", "Cllr after", "minDCF(0.01)", "actDCF(0.01) before", "actDCF(0.01) after"
    )  # fmt: skip
    assert table.rows[0] == ("o", "a", "0.200", "0.900", "0.250", "0.500", "3.000", "0.600")
    assert table.rows[1] == ("o", "b", "0.200", "0.800", None, "0.500", "2.000", None)
    bare = {"min_cllr": 0.2, "cllr": (0.8, None), "min_dcf": {}, "act_dcf": {}}
    assert "Cllr after" not in calibration_table([("o", "b", bare)]).columns
