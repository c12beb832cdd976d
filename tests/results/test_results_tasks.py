"""Figures of tasks: complete, plain, the same for any order of utterances, right where all is clear, chance where nothing is."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from steps.backend.items import Items
from steps.core.errors import RecipeError
from steps.metrics.clustering import misclassification_rate
from steps.results.settings import TASKS, TaskSettings
from steps.results.tasks import cosine_trials, shown_rows, system_tasks, task_figures, task_lines

SETTINGS = TaskSettings(
    run=TASKS,
    draws=3,
    enrol_utterances=2,
    ways=(3,),
    shots=(1, 2),
    few_shot_tasks=60,
    replicates=50,
    clusterings=("ahc", "spectral"),
)


def make(spread: float, num_speakers: int = 8, num_utterances: int = 5, seed: int = 0) -> SimpleNamespace:
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"s{index}" for index in range(num_speakers)], num_utterances)
    x_ND = np.repeat(rng.normal(size=(num_speakers, 16)), num_utterances, axis=0)
    x_ND = x_ND + spread * rng.normal(size=x_ND.shape)
    return SimpleNamespace(ids=[f"{speaker}/u{row}" for row, speaker in enumerate(speakers)], x_ND=x_ND, speakers=list(speakers))


def figures(case, **changes):
    return task_figures(case.ids, case.x_ND, case.speakers, **{"settings": SETTINGS} | changes)


@pytest.fixture(scope="module")
def hard():
    case = make(spread=1.0)
    case.found = figures(case)
    return case


def test_speakers_who_lie_apart_are_all_found():
    found = figures(make(spread=0.05))
    closed, opened = found["identification"]["closed"], found["identification"]["open"]
    assert closed["rate"] == {"1": 1.0, "5": 1.0}
    assert closed["rate_ci95"]["1"] == [1.0, 1.0]
    assert opened["dir"] == {"0.01": 1.0, "0.1": 1.0}
    assert all(each["accuracy"] == 1 for each in found["few_shot"])
    for method, name in (("ahc_average", "known"), ("ahc_average", "best"), ("ahc_complete", "known"), ("spectral", "known")):
        assert found["clustering"][method][name]["mr"] == 0
        assert found["clustering"][method][name]["ari"] == 1
    assert found["clustering"]["ahc_average"]["best"]["num_clusters"] == 8


def test_embeddings_of_nothing_score_at_chance():
    found = figures(make(spread=1e6, num_speakers=20))
    assert found["identification"]["closed"]["rate"]["1"] < 0.2
    assert found["identification"]["open"]["dir"]["0.1"] < 0.1
    assert all(abs(each["accuracy"] - 1 / 3) < 0.25 for each in found["few_shot"])
    assert abs(found["clustering"]["ahc_average"]["known"]["ari"]) < 0.15


def test_counts_add_up(hard):
    closed, opened = hard.found["identification"]["closed"], hard.found["identification"]["open"]
    assert (closed["num_enrolled"], closed["num_utterances"], closed["num_draws"]) == (8, 2, 3)
    assert (closed["num_mated"], closed["num_nonmated"]) == (3 * 8 * 3, 0)
    assert (opened["num_enrolled"], opened["num_mated"], opened["num_nonmated"]) == (4, 3 * 4 * 3, 3 * 4 * 5)
    assert hard.found["clustering"]["spectral"]["known"]["num_items"] == 40


def test_curves_hold_the_figures(hard):
    closed, opened = hard.found["identification"]["closed"], hard.found["identification"]["open"]
    assert len(closed["cmc"]) == 8
    assert (closed["cmc"][0], closed["cmc"][4], closed["cmc"][-1]) == (closed["rate"]["1"], closed["rate"]["5"], 1)
    assert 0 < closed["rate"]["1"] < 1
    far, dirs = np.array(opened["curve"]["far"]), np.array(opened["curve"]["dir"])
    assert opened["dir"]["0.1"] == dirs[far <= 0.1].max()
    assert (np.diff(far) > 0).all()
    assert (np.diff(dirs) >= 0).all()


def test_intervals_hold_their_figures(hard):
    pairs = [(of[f"{name}_ci95"][key], value)
             for of, name in ((hard.found["identification"]["closed"], "rate"), (hard.found["identification"]["open"], "dir"))
             for key, value in of[name].items()]  # fmt: skip
    pairs += [(each["ci95"], each["accuracy"]) for each in hard.found["few_shot"]]
    pairs += [
        (of[f"{name}_ci95"], of[name])
        for cuts in hard.found["clustering"].values()
        for of in cuts.values()
        for name in ("mr", "ari")
    ]
    assert all(0 <= low <= value <= high <= 1 for (low, high), value in pairs)
    assert sum(high > low for (low, high), _ in pairs) > 0.9 * len(pairs)


def test_figures_are_plain_and_come_again_in_any_order(hard):
    assert json.loads(json.dumps(hard.found)) == hard.found
    order = np.random.default_rng(1).permutation(40)
    moved = SimpleNamespace(ids=[hard.ids[i] for i in order], x_ND=hard.x_ND[order], speakers=[hard.speakers[i] for i in order])
    assert json.dumps(figures(moved), sort_keys=True) == json.dumps(hard.found, sort_keys=True)
    settings = TaskSettings(run=("identification",), draws=2, enrol_utterances=2, replicates=20)
    by_score = [figures(case, score=cosine_trials(case.x_ND), settings=settings) for case in (hard, moved)]
    assert by_score[0] == by_score[1]


def test_a_score_of_trials_is_used_for_every_task(hard):
    found = figures(hard, score=cosine_trials(hard.x_ND))
    assert found["identification"] == hard.found["identification"]
    assert found["clustering"]["ahc_average"]["known"]["mr"] == hard.found["clustering"]["ahc_average"]["known"]["mr"]
    by_name = {(each["shots"], each["distance"]): each["accuracy"] for each in found["few_shot"]}
    assert by_name[2, "score"] == by_name[2, "cosine"]
    shuffled = np.random.default_rng(0).permutation(40)
    other = figures(hard, score=lambda models, m, t: cosine_trials(hard.x_ND[shuffled])(models, m, t))
    assert other["identification"]["closed"]["rate"]["1"] < 0.5 * found["identification"]["closed"]["rate"]["1"]
    assert other["clustering"]["ahc_average"]["known"]["ari"] < 0.2
    assert other["clustering"]["spectral"] == found["clustering"]["spectral"]  # of the embeddings


def test_a_system_gives_its_scores_in_any_order_of_utterances(hard):
    def score(test, enrol_P, test_P, *, enrol):
        rows_ND = test.vectors()
        models = [
            np.flatnonzero((rows_ND[:, None] == enrol.utterances.item(index)).all(axis=2).any(axis=1))
            for index in range(len(enrol))
        ]
        return cosine_trials(rows_ND)(models, enrol_P, test_P)

    scorer = SimpleNamespace(chain=SimpleNamespace(transform=lambda x: x), score=score)
    scorer.of_mapped = lambda: scorer
    utterances = [SimpleNamespace(id=name, speaker=who, session="") for name, who in zip(hard.ids, hard.speakers, strict=True)]
    settings = TaskSettings(run=("identification",), draws=3, enrol_utterances=2, replicates=50)
    found = system_tasks(scorer, Items.single(hard.x_ND), utterances, settings)
    assert found["identification"] == hard.found["identification"]


def test_sessions_keep_probes_apart(hard):
    sessions = [str(index % 2) for index in range(5)] * 8
    found = figures(hard, sessions=sessions, settings=TaskSettings(run=("identification",), enrol_utterances=2, replicates=20))
    # Three utterances of one session, two of the other: probes are the two or the three of the session not enrolled.
    assert found["identification"]["closed"]["num_mated"] < 10 * 8 * 3


def test_a_large_set_is_clustered_in_part_by_whole_speakers(hard):
    settings = TaskSettings(run=("clustering",), clusterings=("ahc",), linkages=("average",), max_items=23, replicates=20)
    found = figures(hard, settings=settings)["clustering"]["ahc_average"]["known"]
    assert (found["num_items"], found["num_speakers"]) == (20, 4)


def test_the_best_cut_is_an_oracle_over_the_known_number(hard):
    for linkage in ("average", "complete"):
        of = hard.found["clustering"][f"ahc_{linkage}"]
        assert of["best"]["mr"] <= of["known"]["mr"]
        assert of["best"]["ari_of_any_cut"] >= max(of["best"]["ari"], of["known"]["ari"]) - 1e-12
        assert of["best"]["mr_legacy_of_any_cut"] <= of["known"]["mr_legacy"]
    assert misclassification_rate(hard.speakers, hard.speakers) == 0


def test_lines_name_every_task(hard):
    lines = task_lines(hard.found)
    assert lines[0].startswith("identification, closed set of 8: rank 1 ")
    assert any(line.startswith("1-shot 3-way, cosine: ") for line in lines)
    assert any(line.startswith("clustering, spectral (found): MR ") for line in lines)
    assert len(lines) == 2 + 6 + 6


def test_few_shot_tasks_by_length_as_in_voicemap(hard):
    few = {"run": ("few_shot",), "ways": (3,), "shots": (1,), "few_shot_tasks": 400, "distances": ("dot",), "replicates": 20}
    seconds = np.tile([1.0, 2.0, 2.0, 2.0, 2.0], 8)
    found = {}
    for name, more, durations in (
        ("even", {}, None),
        ("length", {"few_shot_weights": "length"}, np.tile([1e-6, 1.0, 1.0, 1.0, 1.0], 8)),
        ("long", {"few_shot_seconds": 1.0}, seconds),
    ):
        options = {"settings": TaskSettings(**few, **more), "durations": durations, "score": cosine_trials(hard.x_ND)}
        found[name] = [each["accuracy"] for each in figures(hard, **options)["few_shot"]]
    assert len({tuple(each) for each in found.values()}) == 3
    # What is left out might as well not be there.
    keep = np.flatnonzero(seconds > 1)
    rest = SimpleNamespace(ids=[hard.ids[i] for i in keep], x_ND=hard.x_ND[keep], speakers=[hard.speakers[i] for i in keep])
    expected = figures(rest, settings=TaskSettings(**few), score=cosine_trials(rest.x_ND))["few_shot"]
    assert found["long"] == [each["accuracy"] for each in expected]
    with pytest.raises(RecipeError, match="expected the durations of the utterances, found none"):
        figures(hard, settings=TaskSettings(**few, few_shot_seconds=1.0))
    with pytest.raises(RecipeError, match="expected utterances longer than 9.0 s, found none"):
        figures(hard, settings=TaskSettings(**few, few_shot_seconds=9.0), durations=seconds)


def test_what_cannot_be_drawn_is_said(hard):
    found = figures(hard, settings=TaskSettings(run=("few_shot",), ways=(9,), shots=(1,), replicates=20))
    assert found["few_shot"][0]["accuracy"] is None
    (line,) = task_lines(found)  # once, not for each distance
    assert line.startswith("not possible: 1-shot 9-way tasks: expected at least 9 speakers")
    with pytest.raises(RecipeError, match=r"tasks.run: identification: protocol: expected .*more than 5 utterances"):
        figures(hard, settings=TaskSettings(run=("identification",), enrol_utterances=5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a"] * 40}, "each id once .*found 40 ids, 1 different"),
        ({"speakers": ["a"] * 40}, "at least 2 speakers"),
        ({"speakers": ["a"]}, "speakers: expected one for each of 40 embeddings, found 1"),
    ],
)
def test_bad_input_is_refused(hard, change, message):
    arguments = {"ids": hard.ids, "embeddings": hard.x_ND, "speakers": hard.speakers} | change
    with pytest.raises(ValueError, match=message):
        task_figures(**arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"run": ("diarisation",)},
        {"linkages": ("upgma",)},
        {"draws": 0},
        {"ways": (1,)},
        {"ranks": ()},
        {"open_share": 1.0},
        {"fars": (2.0,)},
        {"few_shot_weights": "duration"},
        {"few_shot_seconds": -1.0},
    ],
)
def test_settings_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}.*found"):
        TaskSettings(**change)


def test_what_is_shown_in_the_plane_is_what_is_asked_for():
    speaker_N = np.repeat([f"s{number:02d}" for number in range(30)], 8)

    def counts(**settings):
        rows = shown_rows(speaker_N, TaskSettings(**settings))
        assert (np.diff(rows) > 0).all()
        return sorted(np.unique(speaker_N[rows], return_counts=True)[1])

    assert counts() == [8] * 30
    assert counts(max_items=50) == [8] * 6
    assert counts(picture_utterances=3) == [3] * 30
    assert counts(picture_utterances=3, max_items=50) == [3] * 16
    assert counts(picture_speakers=4, max_items=5) == [8] * 4  # as many as were asked for
    assert counts(picture_speakers=40, picture_utterances=9) == [8] * 30  # at most
    seeds = [tuple(shown_rows(speaker_N, TaskSettings(picture_speakers=4, seed=seed))) for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]
