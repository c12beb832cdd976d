"""Identification, few-shot tasks and clustering as tables; the figures are those of steps/results/tasks.py."""

import numpy as np
import pytest

from steps.tables.tasks import cmc_curves, few_shot_curves, open_set_curves, task_tables

COUNTS = {"num_enrolled": 59, "num_utterances": 3, "num_draws": 10, "num_mated": 1234, "num_nonmated": 567}
TASKS = {
    "identification": {
        "closed": COUNTS | {"rate": {"5": 0.9, "10": 0.95}, "rate_ci95": {"5": [0.8, 0.95], "10": [0.9, 1.0]}, "cmc": [0.9, 1.0]},
        "open": COUNTS | {"dir": {"0.1": 0.7}, "dir_ci95": {"0.1": [0.6, 0.8]}, "curve": {"far": [0, 1], "dir": [0.2, 0.9]}},
    },
    "few_shot": [
        {"ways": 20, "shots": 1, "distance": "cosine", "accuracy": 0.75, "ci95": [0.7, 0.8], "reason": None},
        {"ways": 5, "shots": 1, "distance": "cosine", "accuracy": 0.9, "ci95": None, "reason": None},
        {"ways": 5, "shots": 5, "distance": "cosine", "accuracy": None, "ci95": None, "reason": "too few speakers"},
    ],
    "clustering": {
        "ahc_average": {"known": {"mr": 0.1, "mr_ci95": [0.05, 0.2], "mr_legacy": 0.2, "ari": 0.8, "ari_ci95": [0.7, 0.9],
                                  "purity": 0.9, "num_clusters": 59, "num_speakers": 59, "num_items": 1469}},
        "spectral": {"found": {"mr": 0.3, "ari": 0.5, "num_clusters": 60, "num_speakers": 59, "num_items": 1469}},
    },
}  # fmt: skip


def _cells(table, row=0):
    return dict(zip(table.columns, table.rows[row], strict=True))


def test_each_task_has_a_table_with_intervals():
    closed, opened, few, clustering = task_tables([{"system": "a", "tasks": TASKS}])
    assert _cells(closed) == {
        "System": "a", "Rank 5 % [95% interval]": "90.00 [80.00, 95.00]", "Rank 10 % [95% interval]": "95.00 [90.00, 100.00]",
        "Enrolled": "59", "Utterances of each": "3", "Searches": "1,234",
    }  # fmt: skip
    assert closed.columns[1].startswith("Rank 5 ")
    assert closed.note.startswith("Searches of 10 draws")
    assert _cells(opened)["DIR % at FAR 10% [95% interval]"] == "70.00 [60.00, 80.00]"
    assert few.columns == ("System", "Compared by", "1-shot 5-way %", "1-shot 20-way %", "5-shot 5-way %")
    assert few.rows == (("a", "cosine", "90.00", "75.00 [70.00, 80.00]", None),)
    assert few.note == "5-shot 5-way: too few speakers"
    assert [row[:4] for row in clustering.rows] == [
        ("a", "ahc average", "number of speakers known", "10.00 [5.00, 20.00]"), ("a", "spectral", "number found", "30.00")
    ]  # fmt: skip
    assert _cells(clustering)["ARI [95% interval]"] == "0.800 [0.700, 0.900]"
    assert _cells(clustering)["Utterances"] == "1,469"
    assert "ASP %" not in clustering.columns


@pytest.mark.parametrize("record", [{"system": "a"}, {"system": "a", "tasks": {}}, {"system": "a", "tasks": None}])
def test_a_system_without_tasks_has_no_row(record):
    assert task_tables([record]) == []
    assert [len(table.rows) for table in task_tables([record, {"system": "b", "tasks": TASKS}])] == [1, 1, 1, 2]
    assert cmc_curves([record]) == open_set_curves([record]) == {}


def test_curves_are_taken_by_system():
    records = [{"system": "a", "tasks": TASKS}, {"system": "b", "tasks": {"few_shot": []}}]
    assert cmc_curves(records) == {"a": [0.9, 1.0]}
    assert open_set_curves(records) == {"a": ([0, 1], [0.2, 0.9])}


def test_the_form_is_that_of_the_program_that_makes_it():
    from steps.results.settings import TASKS as TASK_NAMES
    from steps.results.settings import TaskSettings
    from steps.results.tasks import task_figures

    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(8), 8)
    embeddings = rng.normal(size=(8, 6))[speakers] + 0.3 * rng.normal(size=(64, 6))
    settings = TaskSettings(
        run=TASK_NAMES,
        replicates=20,
        draws=2,
        few_shot_tasks=10,
        ways=(5, 30),
        shots=(1,),
        linkages=("average",),
        clusterings=("ahc",),
    )
    ids = [f"u{i:02}" for i in range(64)]
    tables = task_tables(
        [{"system": "a", "tasks": task_figures(ids, embeddings, [f"s{s}" for s in speakers], settings=settings)}]
    )
    assert [len(table.rows) for table in tables] == [1, 1, 3, 2]
    assert tables[2].note.startswith("1-shot 30-way: ")


def test_lists_of_the_corpus_and_gender_have_tables_of_their_own():
    of_list = {"rate": {"1": 0.5}, "rate_ci95": {"1": [0.4, 0.6]}, "num_enrolled": 1251, "num_enrol_utterances": 138361,
               "num_mated": 8251, "cmc": [0.5]}  # fmt: skip
    best = {"mr": 0.025, "mr_ci95": [0.0, 0.05], "mr_legacy": 0.2, "mr_legacy_of_any_cut": 0.0375, "num_clusters": 41,
            "num_clusters_legacy": 43, "ari": 0.9, "num_items": 80, "num_speakers": 40}  # fmt: skip
    gender = {"set": "train", "accuracy": 0.97, "accuracy_ci95": [0.95, 0.99], "majority": 0.55, "silhouette": 0.123,
              "silhouette_ci95": [0.1, 0.15], "pc1": 0.5, "pc1_ci95": [0.4, 0.6], "pc1_variance": 0.1, "num_female": 200,
              "num_male": 232, "num_utterances": 4000}  # fmt: skip
    known = {key: value for key, value in best.items() if not key.endswith(("of_any_cut", "_legacy"))} | {"mr_legacy": 0.2}
    tasks = {"identification_lists": {"iden": of_list}, "gender": gender}
    tasks |= {"clustering_lists": {"zhaw40": {"ahc_complete": {"known": known, "best": best}}}}
    identified, listed, genders = task_tables([{"system": "a", "tasks": tasks}])
    assert identified.rows == (("a", "iden", "enrolment", "50.00 [40.00, 60.00]", "1,251", "138,361", "8,251"),)
    start = ("a", "zhaw40", "ahc complete")
    assert listed.rows == (
        (*start, "number of speakers known", "2.50 [0.00, 5.00]", "41", "20.00", "41", "0.900", "80", "40"),
        (*start, "cut of the least MR", "2.50 [0.00, 5.00]", "41", "3.75", "43", "0.900", "80", "40"),
    )
    assert genders.rows == (
        (
            "a",
            "train",
            "97.00 [95.00, 99.00]",
            "55.00",
            "0.123 [0.100, 0.150]",
            "50.00 [40.00, 60.00]",
            "10.00",
            "200",
            "232",
            "4,000",
        ),
    )
    assert all(len(row) == len(table.columns) for table in (identified, listed, genders) for row in table.rows)


def test_lists_are_identified_in_two_ways_and_also_among_strangers():
    closed = {"rate": {"1": 0.5}, "rate_ci95": {"1": [0.4, 0.6]}, "num_enrolled": 9, "num_mated": 7, "cmc": [0.5]}
    opened = {"dir": {"0.01": 0.3}, "dir_ci95": {"0.01": [0.2, 0.4]}, "num_enrolled": 5, "num_draws": 3, "num_mated": 4,
              "num_nonmated": 3}  # fmt: skip
    tasks = {"identification_lists": {"iden": closed | {"num_enrol_utterances": 20, "open": opened}},
             "identification_by_classifier": {"iden": closed | {"rate": {"1": 0.8, "5": 0.9}}}}  # fmt: skip
    drawn = {"identification": {"open": opened | {"num_utterances": 2}}}
    identified, strangers = task_tables([{"system": "a", "tasks": tasks}, {"system": "b", "tasks": drawn}])
    assert [row[:5] for row in identified.rows] == [
        ("a", "iden", "enrolment", "50.00 [40.00, 60.00]", None), ("a", "iden", "classifier", "80.00 [40.00, 60.00]", "90.00"),
    ]  # fmt: skip
    assert "Nagrani" in identified.note
    assert strangers.rows == (
        ("b", None, "30.00 [20.00, 40.00]", "5", "2", "4", "3"), ("a", "iden", "30.00 [20.00, 40.00]", "5", None, "4", "3"),
    )  # fmt: skip
    assert strangers.columns[:2] == ("System", "List")
    assert "Others are" not in strangers.note
    tasks["identification_lists"]["iden"] |= {"num_visitors": 12, "num_visits": 3}
    assert (
        "Others are the visitors of a list, who are not enrolled in it: iden 12."
        in task_tables([{"system": "a", "tasks": tasks}])[1].note
    )
    [alone] = task_tables([{"system": "b", "tasks": drawn}])
    assert alone.columns[0] == "System"
    assert alone.columns[1].startswith("DIR")


def test_systems_of_one_network_share_a_row_about_gender():
    gender = {"set": "train", "accuracy": 0.97, "majority": 0.55, "silhouette": 0.1, "pc1": 0.5, "pc1_variance": 0.1}
    records = [
        {"system": name, "tasks": {"gender": gender | more}}
        for name, more in (("a", {}), ("b", {"pc1": 0.4}), ("c", {"pc1": 0.5 + 1e-9}))
    ]
    [table] = task_tables(records)
    assert [row[0] for row in table.rows] == ["a, c", "b"]


def few_shot(ways, distance="score", shots=1):
    common = {"shots": shots, "distance": distance, "ci95": [0.1, 1.0], "reason": None}
    return [common | {"ways": way, "accuracy": 1 - way / 100} for way in ways]


def test_of_many_numbers_of_speakers_the_table_has_two_and_the_curves_all():
    cells = [*few_shot([20, 2, 5, 10]), *few_shot([2, 5], shots=5), *few_shot([2, 3, 4], "dot")]
    record = {"system": "a", "tasks": {"few_shot": cells + [{**few_shot([30])[0], "accuracy": None, "ci95": None}]}}
    [table] = task_tables([record])
    assert table.columns[2:] == ("1-shot 5-way %", "1-shot 20-way %", "5-shot 5-way %")
    assert few_shot_curves([record, {"system": "b"}]) == {
        "a": {1: [(way, 1 - way / 100, (0.1, 1.0)) for way in (2, 5, 10, 20)]}  # of two numbers there is no curve
    }
    assert list(few_shot_curves([record], "dot")["a"]) == [1]
    [table] = task_tables([{"system": "a", "tasks": {"few_shot": few_shot([3, 4])}}])
    assert table.columns[2:] == ("1-shot 3-way %", "1-shot 4-way %")
