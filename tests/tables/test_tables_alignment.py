"""The tables of an alignment show the figures of its record."""

import pytest

from steps.tables.alignment import alignment_tables, gain_table, profiles_table, render_html, render_markdown

CELLS = ("old_old", "new_new", "enrol_new_run_old", "enrol_old_run_new")
GAINS = {
    "enrol_new_run_old": {"share": 0.625, "ci95": [0.4, 0.8125], "undefined": 0.025},
    "enrol_old_run_new": {"share": None, "ci95": None, "undefined": 1.0},
}


def _row(size, method, cell, eer):
    row = {"profile": size, "method": method, "cell": cell, "eer": eer, "eer_ci95": [eer / 2, 2 * eer]}
    row |= {"frr": 3 * eer, "frr_ci95": [0.0, 1.0]}
    if cell in GAINS:
        row |= {"eer_gain": GAINS[cell], "frr_gain": GAINS[cell]}
        if method != "logit":
            row["eer_minus_logit"] = row["frr_minus_logit"] = {"difference": -0.0123, "ci95": [-0.02, 0.005]}
    return row


@pytest.fixture
def record():
    rows = [_row(size, "none", cell, 0.01 * (i + 1)) for size in (1, 5) for i, cell in enumerate(CELLS)]
    rows += [_row(size, "logit", cell, 0.1) for size in (1, 5) for cell in CELLS[2:]]  # within_one = false
    numbers = dict.fromkeys(("num_profiles", "num_speakers", "num_left_out", "num_target", "num_nontarget"), 1234)
    return {
        "name": "a_b", "old": "a", "new": "b", "train_set": "train", "far": 0.01, "replicates": 1000, "num_train": 99,
        "num_train_speakers": 9, "dims": {"old": 512, "new": 256}, "figures": rows,
        "profiles": [{"num_utterances": 1} | numbers, {"num_utterances": 5} | numbers],
    }  # fmt: skip


def test_a_table_for_each_size_and_error(record):
    tables = alignment_tables(record)
    assert [table.title for table in tables] == [
        "EER, profiles of 1 utterance", "FRR at FAR 1 %, profiles of 1 utterance",
        "EER, profiles of 5 utterances", "FRR at FAR 1 %, profiles of 5 utterances",
    ]  # fmt: skip
    none, logit = tables[0].rows
    assert none[:3] == ("none", "1.00 [0.50, 2.00]", "2.00 [1.00, 4.00]")
    assert none[5] == "-1.23 [-2.00, 0.50]"
    assert logit == ("logit", None, None, "10.00 [5.00, 20.00]", "10.00 [5.00, 20.00]", None, None)
    assert tables[1].rows[0][1] == "3.00 [0.00, 100.00]"


def test_gain_shares(record):
    table = gain_table(record)
    assert [row[:2] for row in table.rows] == [("none", "1"), ("none", "5"), ("logit", "1"), ("logit", "5")]
    assert table.rows[0][2] == "0.62 [0.40, 0.81] (2.5 % undefined)"
    assert table.rows[0][3] == "undefined (100.0 % undefined)"


def test_numbers_of_profiles(record):
    assert profiles_table(record).rows[1] == ("5", *["1,234"] * 5)


def test_documents_hold_every_table(record):
    text, page = render_markdown(record), render_html(record)
    for table in [*alignment_tables(record), gain_table(record)]:
        assert f"## {table.title}\n" in text
        assert f"<caption>{table.title}</caption>" in page
    assert text.startswith("# a\\_b: a (old) and b (new)") or text.startswith("# a_b: a (old) and b (new)")
    assert "99 utterances of 9 speakers" in text
