"""The page has what was found, and no empty headings."""

from steps.documents.facts import RecipeFacts
from steps.documents.page import Findings, report_page
from steps.documents.records import Records

FIGURES = {
    "num_target": 1, "num_nontarget": 2, "num_missing": 0, "eer": 0.1, "eer_rocch": 0.09, "eer_ci95": None,
    "min_dcf": {"0.01": 0.5}, "act_dcf": None, "cllr": None, "min_cllr": 0.2,
}  # fmt: skip
RECORD = {
    "recipe": "demo", "system": "a", "backend": "cosine", "num_parameters": None, "train_seconds": None, "trials": {"o": FIGURES},
    "fingerprint": "f", "commit": "c", "dirty": False, "command": "./run.sh", "seconds": 1.0, "date": "2025-01-01",
}  # fmt: skip
SWEEP = {
    "name": "s", "recipe": "demo", "title": "Segments", "form": "table", "axes": [{"name": "x", "values": ["1"]}],
    "points": [{"values": ["1"], "trials": {"o": {"eer": 0.123}}}], "command": "./run.sh --sweep s", "commit": "c",
    "dirty": False, "date": "2025-01-01",
}  # fmt: skip


def test_a_page_without_findings_has_no_empty_headings():
    page = report_page(Records(systems=[RECORD]), "demo", RecipeFacts(not_run={}), Findings())
    for absent in (
        "DET plots",
        "Other tasks",
        "Scores and calibration",
        "Training",
        "Sweep",
        "Alignment",
        "Differences",
        "By corpus",
    ):
        assert f"<h2>{absent}" not in page
    assert "<h2>Results</h2>" in page


def test_a_page_shows_what_was_found():
    calibration = {"min_cllr": 0.2, "cllr": (0.9, 0.25), "min_dcf": {"0.01": 0.5}, "act_dcf": {"0.01": (3.0, 0.6)}}
    found = Findings(
        calibration=[("o", "a", calibration)], dets=["<svg>det"], forests=["<svg>all", "<svg>parts"],
        by_system={"a": ["<svg>tippett"]}, tasks=["<svg>cmc"], sweeps={"s": ["<svg>sweep"]}, training=["<svg>loss"],
    )  # fmt: skip
    page = report_page(Records(systems=[RECORD], sweeps=[SWEEP]), "demo", RecipeFacts(not_run={}, title="A & B"), found)
    for part in ("<svg>det", "<svg>all", "<svg>parts", "<svg>cmc", "<svg>sweep", "<svg>loss", "12.30", "./run.sh --sweep s"):
        assert part in page
    assert page.index("0.900") < page.index("<summary>a</summary>") < page.index("<svg>tippett")
    assert "<h1>A &amp; B</h1>" in page
