"""Sweeps become tables: one row a point, or what goes down and what goes across."""

import copy

import pytest

from steps.tables.results import Published
from steps.tables.sweep import check_sweep, figure_name, is_rate, merged, point_figure, published_table, shown_lists, sweep_tables


def _figures(eer):
    return {"eer": eer, "eer_ci95": [eer - 0.01, eer + 0.01], "min_dcf": {"0.01": 10 * eer}, "num_target": 30, "num_nontarget": 4}


def _point(eer, *values, **more):
    trials = {"o": _figures(eer), "e": _figures(eer + 0.1), "e-sea": _figures(eer + 0.2)}
    return {"values": list(values), "system": f"s.{'-'.join(values)}", "trials": trials} | more


def _sweep(**changes):
    return {
        "name": "s", "recipe": "demo", "title": "S", "form": "table", "note": "Note.", "lists": [], "figures": ["eer"],
        "axes": [{"name": "scoring", "values": ["average", "ward"], "numbers": [None, None]},
                 {"name": "network", "values": ["lstm", "resnet"], "numbers": [None, None]}],
        "points": [_point(0.05, "average", "lstm"), _point(0.03, "average", "resnet"), _point(0.06, "ward", "lstm")],
        "command": "./run.sh", "commit": "c" * 40, "dirty": False, "date": "2025-01-01",
    } | changes  # fmt: skip


def test_a_table_has_a_row_a_point_and_a_column_a_pooled_list_and_figure():
    (table,) = sweep_tables(_sweep(figures=["eer", "min_dcf.0.01"]))
    assert table.columns == ("scoring", "network", "e EER %", "e minDCF(0.01)", "o EER %", "o minDCF(0.01)")
    assert table.rows[0] == ("average", "lstm", "15.00 [14.00, 16.00]", "1.500", "5.00 [4.00, 6.00]", "0.500")
    assert (len(table.rows), table.num_left) == (3, 2)


def test_a_matrix_of_two_axes_is_a_table_a_list_with_gaps_where_points_are_missing():
    e, o = sweep_tables(_sweep(form="matrix"))
    assert (e.title, o.title) == ("S, e, EER %", "S, o, EER %")
    assert o.columns == ("scoring", "lstm", "resnet")
    assert o.rows == (("average", "5.00 [4.00, 6.00]", "3.00 [2.00, 4.00]"), ("ward", "6.00 [5.00, 7.00]", None))


def test_methods_down_and_the_lists_of_two_networks_across():
    (table,) = sweep_tables(_sweep(form="matrix", across=["network", "lists"], lists=["o", "e"]))
    assert table.columns == ("scoring", "lstm, o", "lstm, e", "resnet, o", "resnet, e")
    assert table.rows[1] == ("ward", "6.00 [5.00, 7.00]", "16.00 [15.00, 17.00]", None, None)


def test_repeats_are_shown_as_their_mean_with_spread_and_ends():
    axes = [{"name": "way", "values": ["a", "b"]}, {"name": "seed", "values": ["1", "2", "3"]}]
    points = [_point(eer, "a", seed) for eer, seed in ((0.05, "1"), (0.06, "2"), (0.10, "3"))] + [_point(0.2, "b", "2")]
    (table,) = sweep_tables(_sweep(form="matrix", axes=axes, points=points, across=["lists"], repeats="seed", lists=["o"]))
    # 5, 6 and 10: mean 7, variance (4 + 1 + 9) / 2 = 7
    assert table.rows == (("a", "7.00 ± 2.65 [5.00, 10.00]"), ("b", "20.00 [20.00, 20.00]"))
    assert table.columns == ("way", "o")
    assert table.note == "Note. Mean ± standard deviation and [least, largest] of 1 or 3 values of seed."
    sweep = merged(_sweep(axes=axes, points=points, repeats="seed"))
    assert point_figure(sweep["points"][0], "eer", "o") == (pytest.approx(0.07), (0.05, 0.10))
    assert point_figure(sweep["points"][0], "cllr", "o") is None
    plain = _sweep()
    assert merged(plain) is plain


def test_what_was_published_of_a_point_stands_beside_ours():
    published = [
        Published(system="s.average-lstm", list="o", eer=0.04, source="Paper, Table 3"),
        Published(system="s.ward-resnet", list="o", eer=0.07, source="Paper, Table 3"),  # a point that was not run
        Published(system="st.average-lstm", list="o", eer=0.01, source="another sweep"),
        Published(system="average-lstm", list="o", eer=0.01, source="a system"),
    ]
    table = published_table(_sweep(), published)
    shown = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [(row["System"], row["List"], row["Published"], row["Ours"], row["Difference"]) for row in shown] == [
        ("s.average-lstm", "o", "4.00", "5.00", "+1.00"), ("s.ward-resnet", "o", "7.00", "not run", None),
    ]  # fmt: skip
    assert published_table(_sweep(), published[2:]).rows == ()


def test_repeats_must_be_an_axis_beside_others_and_not_go_across():
    for change, message in (
        ({"repeats": "seed"}, "repeats: expected one of several axes scoring, network, found 'seed'"),
        ({"repeats": "network", "across": ["network"]}, "that are no repeats, found 'network'"),
    ):
        with pytest.raises(ValueError, match=message):
            check_sweep(_sweep(**change))


def test_one_axis_goes_down_and_lists_across():
    axes = [{"name": "scoring", "values": ["average", "ward"]}]
    (table,) = sweep_tables(_sweep(form="matrix", axes=axes, points=[_point(0.05, "average"), _point(0.06, "ward")]))
    assert table.columns == ("scoring", "e", "o")
    assert table.rows[0] == ("average", "15.00 [14.00, 16.00]", "5.00 [4.00, 6.00]")


def test_lists_of_a_sub_corpus_are_shown_where_they_are_asked_for():
    assert shown_lists(_sweep()) == ["e", "o"]
    tables = sweep_tables(_sweep(form="matrix", lists=["o", "e-sea"]))
    assert [table.title for table in tables] == ["S, o, EER %", "S, e-sea, EER %"]


TASKS = {
    "identification": {
        "closed": {"rate": {"1": 0.9}, "rate_ci95": {"1": [0.8, 0.95]}, "num_enrolled": 59},
        "open": {"dir": {"0.01": 0.6}, "dir_ci95": {"0.01": [0.5, 0.7]}},
    },
    "few_shot": [{"ways": 5, "shots": 1, "distance": "cosine", "accuracy": 0.7, "ci95": [0.6, 0.8]},
                 {"ways": 5, "shots": 5, "distance": "cosine", "accuracy": None, "ci95": None}],
    "clustering": {"ahc_complete": {"best": {"mr": 0.1, "mr_ci95": [0.05, 0.2], "ari": 0.5}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("figure", "found"),
    [
        ("tasks.identification.closed.rate.1", (0.9, [0.8, 0.95])),
        ("tasks.identification.open.dir.0.01", (0.6, [0.5, 0.7])),
        ("tasks.few_shot.ways=5,shots=1,distance=cosine.accuracy", (0.7, [0.6, 0.8])),
        ("tasks.few_shot.ways=5,shots=5,distance=cosine.accuracy", None),
        ("tasks.few_shot.ways=9,shots=5,distance=cosine.accuracy", None),
        ("tasks.clustering.ahc_complete.best.mr", (0.1, [0.05, 0.2])),
        ("tasks.clustering.ahc_complete.best.ari", (0.5, None)),
        ("tasks.clustering.ward.best.mr", None),
        ("min_dcf.0.01", (0.5, None)),
        ("cllr", None),
    ],
)
def test_a_figure_is_found_by_its_path(figure, found):
    assert point_figure(_point(0.05, "a", tasks=TASKS), figure, "o") == found


def test_figures_of_tasks_have_no_list():
    points = [_point(0.05, "average", "lstm", tasks=TASKS), _point(0.03, "ward", "lstm", tasks=None)]
    figures = ["eer", "tasks.clustering.ahc_complete.best.mr", "tasks.identification.closed.num_enrolled"]
    (table,) = sweep_tables(_sweep(points=points, figures=figures, lists=["o"]))
    assert table.columns[3:] == ("clustering ahc complete best mr %", "identification closed num enrolled")
    assert [row[3:] for row in table.rows] == [("10.00 [5.00, 20.00]", "59"), (None, None)]
    (matrix,) = sweep_tables(_sweep(points=points, figures=figures[1:2], form="matrix"))
    assert matrix.rows == (("average", "10.00 [5.00, 20.00]", None),)


def test_names_say_what_is_per_cent():
    assert [figure_name(name) for name in ("eer", "act_dcf.0.05", "min_cllr")] == ["EER %", "actDCF(0.05)", "minCllr"]
    assert figure_name("tasks.identification.open.dir.0.01") == "identification open dir 0.01 %"
    assert [is_rate(name) for name in ("eer", "tasks.clustering.spectral.found.ari", "cllr", "x.purity")] == [
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "grid"}, "form: expected one of table, matrix"),
        ({"axes": []}, "axes: expected at least one"),
        ({"axes": [{"name": "lists", "values": ["a"]}]}, "axes: expected at least one, with different names"),
        ({"across": ["width"]}, "across: expected some of scoring, network, lists that are no repeats, found 'width'"),
        ({"points": [_point(0.1, "average")]}, r"points: expected a value of each axis and trials, found \['average'\]"),
        ({"points": [_point(0.1, "average", "other")]}, "points: expected a value"),
    ],
)
def test_what_is_no_sweep_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check_sweep(_sweep(**change))


def test_a_missing_key_is_named_and_a_sweep_is_not_changed_by_its_tables():
    with pytest.raises(ValueError, match="found no axes, date"):
        check_sweep({key: value for key, value in _sweep().items() if key not in ("axes", "date")})
    sweep = _sweep(form="matrix")
    before = copy.deepcopy(sweep)
    sweep_tables(sweep)
    assert sweep == before
