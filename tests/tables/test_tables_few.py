"""An interval over few speakers or target trials is no interval, and test speakers stand beside the error rate."""

import pytest

from steps.tables.comparison import paired_table
from steps.tables.document import render_markdown
from steps.tables.results import comparison_table, corpus_matrices, decision_tables, pooled_table
from steps.tables.sweep import sweep_tables
from steps.tables.table import to_text

SUMMARY = {
    "sets": {
        "test": {
            "utterances": 9, "speakers": 5, "hours": 0.5, "seconds": [1.0, 2.0, 3.0], "per_speaker": [1, 2, 3],
            "rates": {"16000": 9}, "genders": {"": 5}, "sessions": 0, "corpora": {"": 9},
        },
    },
    "lists": {},
    "remarks": [["trials", "o", "337 pairs are mirrored"]],
}  # fmt: skip


def figures(num_target=200, num_speakers=50):
    found = {
        "num_target": num_target, "num_nontarget": 300, "num_missing": 0, "eer": 0.05, "eer_rocch": 0.05,
        "eer_ci95": [0.04, 0.06], "min_dcf": {"0.01": 0.5}, "act_dcf": None, "cllr": None, "min_cllr": 0.2,
        "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95], "dev_threshold": 0.5, "dev_accuracy": 0.9,
    }  # fmt: skip
    return found | ({"num_speakers": num_speakers} if num_speakers else {})


def record(name="a", data=None, **counts):
    common = {
        "recipe": "demo", "system": name, "backend": "cosine", "num_parameters": None, "train_seconds": None, "fingerprint": "f",
        "trials": {"o": figures(**counts), "o-sea": figures(**counts)}, "commit": "c", "dirty": False, "command": "./run.sh",
        "seconds": 1.0, "date": "2025-01-01",
    }  # fmt: skip
    return common | ({"data": data} if data else {})


def cell(table, column):
    return dict(zip(table.columns, table.rows[0], strict=True))[column]


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({}, "[4.00, 6.00]"),
        ({"num_speakers": 20, "num_target": 20}, "[4.00, 6.00]"),
        ({"num_speakers": 19}, "[too few to tell]"),
        ({"num_target": 19}, "[too few to tell]"),
        ({"num_speakers": None}, "[4.00, 6.00]"),  # a record from before they were counted
    ],
)
def test_every_table_of_lists_says_too_few_to_tell(counts, shown):
    records = [record(**counts)]
    assert cell(pooled_table(records), "EER % [95% interval]") == f"5.00 {shown}"
    assert cell(corpus_matrices(records)[0], "sea") == f"5.00 {shown}"
    assert cell(comparison_table(records, []), "95% interval") == shown
    accuracy = cell(decision_tables(records)[0], "Accuracy % [95% interval]")
    assert accuracy == ("90.00 [80.00, 95.00]" if "4.00" in shown else f"90.00 {shown}")


def test_a_paired_difference_and_a_point_of_a_sweep_say_it_too():
    eer = {"value": 0.05, "difference": 0.01, "ci95": [0.0, 0.02], "p_value": 0.5, "p_holm": 0.5}
    compared = {"reference": "a", "reference_fingerprint": "f", "replicates": 9, "trials": {"o": {"num_trials": 30, "eer": eer}}}
    for num, shown in ((19, ("[too few to tell]", None)), (20, ("[0.00, 2.00]", "0.500"))):
        table = paired_table([record("a"), record("b", num_speakers=num) | {"comparison": compared}], "a")
        assert (cell(table, "95% interval"), cell(table, "p")) == shown
        point = {"values": ["1"], "trials": {"o": figures(num_speakers=num)}}
        sweep = {
            "name": "s",
            "recipe": "demo",
            "title": "S",
            "form": "table",
            "note": "",
            "command": "",
            "commit": "c",
            "dirty": False,
        }
        sweep |= {"date": "2025-01-01", "axes": [{"name": "x", "values": ["1"]}], "points": [point]}
        text = "".join(map(to_text, sweep_tables(sweep | {"lists": ["o"], "figures": ["eer"]})))
        assert ("5.00 [too few to tell]" in text) == (num == 19)
        assert ("5.00 [4.00, 6.00]" in text) == (num == 20)


def test_test_speakers_stand_beside_the_error_rate():
    table = pooled_table([record(num_speakers=5)])
    place = table.columns.index("Test speakers")
    assert table.columns[place - 1] == "EER % [95% interval]"
    assert table.rows[0][place] == "5"


def test_results_show_the_data_once_for_the_systems_that_share_it():
    other = SUMMARY | {"remarks": []}
    text = render_markdown([record("a", SUMMARY), record("b", SUMMARY), record("c", other), record("d")], [], recipe="demo")
    assert text.count("## Data of a, b\n") == text.count("## Data of c\n") == 1
    assert "Data of d" not in text
    assert "- list o: 337 pairs are mirrored\n" in text
    assert "| test | 5 | 9 | 0.50 | 1.00 / 2.00 / 3.00 | 1 / 2 / 3 | 16000 |" in text
    assert text.count("Remarks:") == 1
    assert "## Data" not in render_markdown([record("d")], [], recipe="demo")
