"""Records become tables: what stands where, and what is never mixed up."""

import re

import pytest

from steps.tables.document import render_markdown
from steps.tables.results import (
    Published,
    comparison_table,
    corpus_matrices,
    corpus_tables,
    cost,
    decision_tables,
    duration,
    figured,
    interval,
    list_names,
    order_records,
    parent_and_corpus,
    per_cent,
    pooled_lists,
    pooled_table,
    repeat_command,
    runs_table,
    scored_only_table,
)
from steps.tables.sweep import figure_name, point_figure
from steps.tables.table import Table, markdown_text, to_html, to_markdown, to_text


def _figures(eer=0.05, **changes):
    return {
        "num_target": 1500, "num_nontarget": 3000, "num_missing": 0, "eer": eer, "eer_ci95": [eer - 0.01, eer + 0.01],
        "eer_rocch": 0.9 * eer, "min_dcf": {"0.01": 0.5, "0.05": 0.25}, "act_dcf": {"0.01": 0.6, "0.05": 0.3}, "cllr": 0.2,
        "min_cllr": 0.15,
    } | changes  # fmt: skip


def _record(system="xvector", trials=None, **changes):
    return {
        "recipe": "demo", "system": system, "backend": "cosine", "num_parameters": 4321000, "train_seconds": 5000.0,
        "trials": trials or {"demo_o": _figures()}, "fingerprint": "f" * 64, "commit": "0123456789abcdef", "dirty": False,
        "command": f"/opt/bin/python3 -m steps.score --config recipes/demo/{system}.toml --set score.top='5 6' --out x",
        "seconds": 12.0, "machine": "here", "date": "2025-03-01T10:11:12Z", "packages": {},
    } | changes  # fmt: skip


def _cells(table, row=0):
    return dict(zip(table.columns, table.rows[row], strict=True))


def test_numbers_have_their_units_and_decimals():
    assert per_cent(0.05536) == "5.54"
    assert per_cent(-0.001, sign=True) == "-0.10"
    assert per_cent(0.001, sign=True) == "+0.10"
    assert interval([0.0512, 0.06]) == "[5.12, 6.00]"
    assert cost(1.23456) == "1.235"
    assert [per_cent(None), interval(None), cost(None), duration(None)] == [None] * 4
    assert [duration(s) for s in (12, 61, 3600, 90000)] == ["12 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]


def _scored_only(**changes):
    figures = dict.fromkeys(("eer", "eer_ci95", "eer_rocch", "act_dcf", "cllr", "min_cllr", "num_speakers"))
    counts = {"num_target": 0, "num_nontarget": 0, "num_unlabelled": 1200, "num_missing": 0}
    return figures | counts | {"min_dcf": {}, "no_figures": "no labels"} | changes


def test_lists_without_figures_have_a_table_of_their_own_and_rows_in_no_other():
    lists = {"demo_o": _figures(), "demo_o-air": _scored_only(), "blind": _scored_only(num_missing=3)}
    one = {"num_nontarget": 7, "num_unlabelled": 0, "no_figures": "no target trials"}
    records = [_record(trials=lists), _record("other", {"demo_o": _scored_only(**one)})]
    table = scored_only_table(records)
    assert table.rows[0] == ("blind", "xvector", "no labels", "xvector/scores/blind.txt", "1,200", "3")
    assert table.rows[1] == ("demo_o", "other", "no target trials", "other/scores/demo_o.txt", "7", None)
    assert [row[:2] for row in table.rows[2:]] == [("demo_o-air", "xvector")]
    assert list_names(records) == ["demo_o"]
    assert [list(record["trials"]) for record in figured(records)] == [["demo_o"], []]
    text = render_markdown(records, [], recipe="demo")
    assert text.count("| blind |") == 1
    assert text.count("| demo_o | other |") == 1
    assert "by corpus" not in text
    assert "## All figures" not in render_markdown([_record(trials={"blind": _scored_only()})], [], recipe="demo")


def test_a_list_is_a_part_only_of_a_list_that_exists():
    names = {"voices_e", "voices_e-arabic_sc", "voices_e-a-b", "vox1-o", "vox1-o-x"}
    assert parent_and_corpus("voices_e-arabic_sc", names) == ("voices_e", "arabic_sc")
    assert parent_and_corpus("voices_e-a-b", names) == ("voices_e", "a-b")
    assert parent_and_corpus("vox1-o-x", names) == ("vox1-o", "x")
    assert pooled_lists(names) == ["voices_e", "vox1-o"]


def test_the_pooled_table_holds_every_figure_of_every_pooled_list():
    trials = {"demo_o": _figures(0.05), "demo_o-sea": _figures(0.09)}
    table = pooled_table([_record(trials=trials), _record("ecapa")])
    assert len(table.rows) == 2
    assert _cells(table) == {
        "List": "demo_o", "System": "xvector", "EER % [95% interval]": "5.00 [4.00, 6.00]", "EER (ROCCH) %": "4.50",
        "minDCF(0.01)": "0.500",
        "minDCF(0.05)": "0.250", "actDCF(0.01)": "0.600", "actDCF(0.05)": "0.300", "Cllr": "0.200", "minCllr": "0.150",
        "Target": "1,500", "Non-target": "3,000",
    }  # fmt: skip


def test_missing_trials_get_a_column_and_uncalibrated_systems_a_gap():
    bare = _figures(act_dcf=None, cllr=None, eer_ci95=None, num_missing=7)
    table = pooled_table([_record(), _record("ecapa", {"demo_o": bare})])
    row = _cells(table, 1)
    assert row["EER % [95% interval]"] == "5.00"
    assert row["Missing"] == "7"
    assert row["actDCF(0.01)"] is row["Cllr"] is _cells(table)["Missing"] is None
    assert "Cllr" not in pooled_table([_record(trials={"demo_o": bare})]).columns


def test_each_corpus_has_a_table_of_its_parts():
    trials = {"e": _figures(), "e-sea": _figures(0.01), "e-air": _figures(0.02), "h": _figures(), "h-sea": _figures(0.03)}
    air, sea = corpus_tables([_record(trials=trials)])
    assert (air.title, sea.title) == ("Corpus air", "Corpus sea")
    assert [row[:3] for row in sea.rows] == [
        ("e", "xvector", "1.00 [0.00, 2.00]"),
        ("h", "xvector", "3.00 [2.00, 4.00]"),
    ]


def test_a_matrix_for_each_pooled_list_shows_the_eer_of_its_parts():
    trials = {
        "e": _figures(),
        "e-sea": _figures(0.01),
        "e-air": _figures(0.02),
        "h": _figures(),
        "h-sea": _figures(0.03),
        "x": _figures(),
    }
    partial = _record("ecapa", {"e": _figures(), "e-sea": _figures(0.04, eer_ci95=None, num_target=1000)})
    e, h = corpus_matrices([_record(trials=trials), partial, _record("other", {"x": _figures()})])
    assert (e.title, e.columns, h.title, h.columns) == ("e by corpus", ("System", "air", "sea"), "h by corpus", ("System", "sea"))
    assert e.rows == (("xvector", "2.00 [1.00, 3.00]", "1.00 [0.00, 2.00]"), ("ecapa", None, "4.00"))
    assert "air 1,500 + 3,000; sea 1,500 + 3,000 at most" in e.note
    assert h.rows == (("xvector", "3.00 [2.00, 4.00]"),)


def test_the_rules_of_both_eers_stand_under_the_table():
    table = pooled_table([_record()])
    assert "step rule" in table.note
    assert "convex hull" in table.note
    for text in (to_markdown(table), to_html(table), to_text(table)):
        assert table.note in text


def test_a_published_figure_stands_beside_ours_with_the_difference():
    published = [Published(system="xvector", list="demo_o", eer=0.042, min_dcf={"0.01": 0.45}, source="A 2019", note="b")]
    eer, dcf = (_cells(comparison_table([_record()], published), row) for row in range(2))
    assert eer == {
        "List": "demo_o", "System": "xvector", "Figure": "EER %", "Published": "4.20", "Ours": "5.00", "Difference": "+0.80",
        "95% interval": "[4.00, 6.00]", "Trials": "4,500", "Commit": "0123456789", "Date": "2025-03-01",
        "Source of the published figure": "A 2019; b",
    }  # fmt: skip
    assert (dcf["Figure"], dcf["Published"], dcf["Ours"], dcf["Difference"]) == ("minDCF(0.01)", "0.450", "0.500", "+0.050")
    assert dcf["95% interval"] is None


def test_a_published_figure_is_never_shown_as_ours():
    published = [
        Published(system="other", list="demo_o", eer=0.042, source="A"),
        Published(system="xvector", list="demo_h", eer=0.09, source="A"),
        Published(system="xvector", list="demo_o", min_dcf={"0.001": 0.3}, source="A"),
    ]
    table = comparison_table([_record()], published)
    rows = {(row[0], row[1], row[2]): _cells(table, i) for i, row in enumerate(table.rows)}
    assert rows["demo_o", "other", "EER %"]["Ours"] == "not run"
    assert rows["demo_h", "xvector", "EER %"]["Ours"] == "not scored"
    assert rows["demo_o", "xvector", "minDCF(0.001)"]["Ours"] == "not scored"
    assert rows["demo_o", "xvector", "EER %"]["Published"] is None
    assert rows["demo_o", "xvector", "EER %"]["Ours"] == "5.00"
    assert all(row["Difference"] is None for row in rows.values() if "Difference" in row)


def test_the_command_to_repeat_keeps_settings_and_drops_the_machine():
    assert repeat_command(_record()) == "./run.sh --recipe demo --system xvector --set 'score.top=5 6'"
    one_word = _record(command="python -m steps.score --set=train.seed=3")
    assert repeat_command(one_word) == "./run.sh --recipe demo --system xvector --set train.seed=3"
    tried = "python -m steps.score --config recipes/demo/recipe.toml --config m/settings.toml --config m/../scores/settings.toml"
    tried = _record(command=f"{tried} --set site.corpus=/c --set prepare.split=test")
    assert repeat_command(tried) == "./run.sh --recipe demo --model m --data DIR"
    fusion = _record("all", command="/opt/bin/python3.11 -m steps.fuse --scores exp/a/scores --out exp/all/scores")
    assert repeat_command(fusion) == "./run.sh --recipe demo --system all"
    assert repeat_command(_record("all", command=repeat_command(fusion))) == repeat_command(fusion)


def test_a_commit_with_changed_files_says_so():
    assert _cells(runs_table([_record(dirty=True)]))["Commit"] == "0123456789, modified"


def test_runs_have_size_and_training_time_where_known():
    row = _cells(runs_table([_record(), _record("plda", num_parameters=None, train_seconds=None)]))
    assert (row["Scoring"], row["Parameters"], row["Training"]) == ("cosine", "4,321,000", "1 h 23 min")
    assert "Parameters" not in runs_table([_record(num_parameters=None)]).columns


def test_systems_stand_in_the_order_of_the_recipe_and_fusions_last():
    records = [_record(name) for name in ("zeta", "fusion", "ecapa", "xvector")]
    ordered = order_records(records, ["xvector", "ecapa", "absent"])
    assert [record["system"] for record in ordered] == ["xvector", "ecapa", "fusion", "zeta"]


def test_markdown_does_not_depend_on_the_order_of_records_and_names_what_was_not_run():
    records = [_record("ecapa"), _record()]
    facts = {"recipe": "demo", "systems": ["xvector", "ecapa", "resnet"], "not_run": {"resnet": "needs a GPU"}}
    text = render_markdown(records, [], **facts)
    assert text == render_markdown(records[::-1], [], **facts)
    assert "## Not run\n\n- resnet: needs a GPU\n" in text
    assert "./run.sh --recipe demo --system xvector,ecapa --stage 8 --set report.publish=true" in text
    assert "Generated by stage 8" in text
    assert "/opt" not in text
    assert re.search(r"^\| demo_o +\| xvector", text, re.MULTILINE)


def test_markdown_without_a_result_says_that_nothing_was_run():
    published = [Published(system="xvector", list="demo_o", eer=0.042, source="A")]
    text = render_markdown([], published, recipe="demo", systems=["xvector"])
    assert "- xvector: not run yet" in text
    assert "4.20" in text
    assert "not run" in text


TABLE = Table(title="T", columns=("Name", "Two", "N"), rows=(("a|b", "<x>", "1"), ("longer", "y", None)))


def test_markdown_tables_escape_what_would_break_them():
    lines = to_markdown(TABLE).splitlines()
    assert lines == ["| Name | Two | N |", "| :-- | :-- | --: |", r"| a\|b | \<x\> | 1 |", "| longer | y | – |"]
    assert markdown_text("_x_ a_b *c* [1, 2]\n`d`") == r"\_x\_ a_b \*c\* [1, 2] \`d\`"


def test_html_tables_escape_what_would_break_them():
    text = to_html(TABLE)
    assert "<td>&lt;x&gt;</td>" in text
    assert '<td class="number">1</td>' in text
    assert "<caption>T</caption>" in text


def test_text_tables_are_aligned_ascii():
    assert to_text(TABLE).splitlines() == [
        "T", "", "Name    Two  N", "------  ---  -", "a|b     <x>  1", "longer  y    -"
    ]  # fmt: skip


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table(title="T", columns=("a", "b"), rows=(("x",),))


def test_decisions_about_pooled_lists_have_two_tables():
    assert decision_tables([_record(trials={"o": _figures(accuracy=None, accuracy_ci95=None)}), _record("old")]) == []
    by_dev = {"accuracy": 0.92, "accuracy_ci95": [0.9, 0.94], "dev_threshold": -0.1234, "dev_accuracy": 0.95}
    unclear = {"ambiguous": {"rate": 0.02, "rate_ci95": [0.01, 0.03], "target_rate": 0.035, "nontarget_rate": 0.005}}
    records = [
        _record("siamese", {"o": _figures(**by_dev, own_accuracy=0.9, own_accuracy_ci95=[0.8, 0.95]), "o-x": _figures(**by_dev)}),
        _record("lstm", {"o": _figures(**by_dev, **unclear)}),
    ]
    accuracy, ambiguous = decision_tables(records)
    assert accuracy.rows == (
        ("o", "siamese", "92.00 [90.00, 94.00]", "-0.123", "95.00", "90.00 [80.00, 95.00]"),
        ("o", "lstm", "92.00 [90.00, 94.00]", "-0.123", "95.00", None),
    )
    assert ambiguous.rows == (("o", "lstm", "2.00 [1.00, 3.00]", "3.50", "0.50", "4,500"),)
    [without] = decision_tables([_record("x", {"o": _figures(**by_dev)})])
    assert len(without.columns) == 5


@pytest.mark.parametrize(
    ("figure", "name", "found"),
    [
        ("accuracy", "accuracy %", (0.92, [0.9, 0.94])),
        ("own_accuracy", "own accuracy %", (0.9, None)),
        ("ambiguous.rate", "ambiguous rate %", (0.02, [0.01, 0.03])),
        ("dev_threshold", "dev threshold", (-0.1, None)),
    ],
)
def test_decisions_are_figures_of_sweeps(figure, name, found):
    of_list = {"accuracy": 0.92, "accuracy_ci95": [0.9, 0.94], "own_accuracy": 0.9, "dev_threshold": -0.1,
               "ambiguous": {"rate": 0.02, "rate_ci95": [0.01, 0.03]}}  # fmt: skip
    assert figure_name(figure) == name
    assert point_figure({"trials": {"o": of_list}}, figure, "o") == found
    assert point_figure({"trials": {"o": {"accuracy": None}}}, "accuracy", "o") is None
