"""Tasks are what they promise, and accuracy is that of loops; embeddings all alike score exactly 1 / k."""

import itertools
import json

import numpy as np
import pytest

from steps.backend import few_shot
from steps.backend.few_shot import (
    Tasks,
    accuracy_interval,
    draw_tasks,
    few_shot_table,
    scored_credits,
    task_accuracy,
    task_credits,
    without_replacement,
)
from steps.backend.pairs import siamese

SPEAKERS = np.repeat(["a", "b", "c", "d", "e", "f"], [4, 3, 5, 2, 6, 1])


def tasks(ways=3, shots=2, num_tasks=300, seed=0):
    return draw_tasks(np.random.default_rng(seed), SPEAKERS, ways=ways, shots=shots, num_tasks=num_tasks)


def test_tasks_have_the_query_s_speaker_at_the_answer_and_others_elsewhere():
    drawn = tasks()
    for query, support_KN, answer in zip(drawn.query_J, drawn.support_JKN, drawn.answer_J, strict=True):
        found = [set(SPEAKERS[row_N]) for row_N in support_KN]
        assert all(len(each) == 1 for each in found)
        assert len(set.union(*found)) == 3
        assert found[answer] == {SPEAKERS[query]}
        assert query not in support_KN
        assert all(len(set(row_N)) == 2 for row_N in support_KN)
    assert np.bincount(drawn.answer_J).min() > 60  # the right place is not always the first
    assert "f" not in SPEAKERS[drawn.support_JKN]
    assert "d" not in SPEAKERS[drawn.query_J]  # two utterances: enough for support, not for a query beside it


def test_the_same_generator_gives_the_same_tasks():
    assert np.array_equal(tasks().support_JKN, tasks().support_JKN)
    assert not np.array_equal(tasks().support_JKN, tasks(seed=1).support_JKN)


@pytest.mark.parametrize(("ways", "shots"), [(7, 1), (6, 2), (2, 6), (1, 1)])
def test_too_few_speakers_are_refused(ways, shots):
    with pytest.raises(ValueError, match=f"{shots}-shot {ways}-way tasks: expected at least {ways} speakers"):
        tasks(ways=ways, shots=shots)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "dot"])
def test_accuracy_is_that_of_loops(distance):
    x_ND = np.random.default_rng(3).normal(size=(len(SPEAKERS), 4)) + 2 * (SPEAKERS[:, None] == np.array(list("abcd")))
    drawn = tasks()
    right = 0
    for query, support_KN, answer in zip(drawn.query_J, drawn.support_JKN, drawn.answer_J, strict=True):
        nearness = []
        for rows in support_KN:
            support = [x_ND[row] for row in rows]
            if distance == "euclidean":
                nearness.append(-np.sqrt(((x_ND[query] - sum(support) / 2) ** 2).sum()))
                continue
            mean = sum(each / np.sqrt(each @ each) for each in support) / 2
            if distance == "cosine":
                nearness.append(x_ND[query] @ mean / np.sqrt((x_ND[query] @ x_ND[query]) * (mean @ mean)))
            else:
                nearness.append(x_ND[query] @ mean * sum(np.sqrt(each @ each) for each in support) / 2)
        right += int(np.argmax(nearness)) == answer
    assert 0.4 < right / 300 < 1.0
    assert task_accuracy(drawn, x_ND, distance) == pytest.approx(right / 300)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "dot"])
def test_embeddings_that_are_all_alike_score_one_in_k(distance):
    assert task_accuracy(tasks(ways=4, shots=1), np.ones((len(SPEAKERS), 3)), distance) == pytest.approx(0.25)


def test_a_tie_of_two_gives_half():
    drawn = Tasks(np.array([0, 0]), np.array([[[1], [2], [3]]] * 2), np.array([0, 2]))
    x_ND = np.array([[0.0], [1.0], [-1.0], [5.0]])
    assert task_credits(drawn, x_ND, "euclidean").tolist() == [0.5, 0.0]


@pytest.mark.parametrize("distance", few_shot.DISTANCES)
def test_speakers_with_the_same_utterances_in_another_order_tie(distance):
    x_ND = np.random.default_rng(3).normal(size=(4, 64))
    x_ND = np.concatenate([x_ND, x_ND[:3]])
    orders = list(itertools.permutations(range(3)))
    support_JKN = np.array([[one, [4 + place for place in other]] for one in orders for other in orders])
    drawn = Tasks(np.full(len(support_JKN), 3), support_JKN, np.zeros(len(support_JKN), dtype=int))
    assert (task_credits(drawn, x_ND, distance) == 0.5).all()


def test_an_infinite_nearness_is_nearest_and_what_is_farther_by_more_than_rounding_is_not():
    assert few_shot.credits([[np.inf, 1.0], [-np.inf, -np.inf], [1.0, 1.0 - 1e-9]], [0, 1, 1]).tolist() == [1.0, 0.5, 0.0]


def test_an_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="euclidean, cosine, dot"):
        task_accuracy(tasks(), np.ones((len(SPEAKERS), 3)), "manhattan")


def test_a_score_of_pairs_is_averaged_over_support_utterances():
    x_ND, drawn = np.random.default_rng(5).normal(size=(len(SPEAKERS), 3)), tasks()
    head = siamese({"type": "weighted_l1", "weights": [0.5, 1.0, 2.0], "bias": 0.3}, 3)
    right = []
    for query, support_KN, answer in zip(drawn.query_J, drawn.support_JKN, drawn.answer_J, strict=True):
        outputs = [np.mean([-abs(x_ND[query] - x_ND[row]) @ [0.5, 1.0, 2.0] - 0.3 for row in rows]) for rows in support_KN]
        right.append(int(np.argmax(outputs)) == answer)
    assert task_credits(drawn, x_ND, head).tolist() == right


def test_the_siamese_output_of_one_shot_is_the_euclidean_rule():
    x_ND, drawn = np.random.default_rng(6).normal(size=(len(SPEAKERS), 3)), tasks(shots=1)
    head = siamese({"type": "euclidean", "weights": [0.7], "bias": -1.0}, 3)
    np.testing.assert_array_equal(task_credits(drawn, x_ND, head), task_credits(drawn, x_ND, "euclidean"))


def test_a_back_end_scores_the_query_with_each_enrolled_speaker():
    x_ND, drawn = np.random.default_rng(7).normal(size=(len(SPEAKERS), 3)), tasks()

    def score(models, model_P, test_P):
        means = np.stack([x_ND[rows].mean(axis=0) for rows in models])
        return -np.linalg.norm(means[model_P] - x_ND[test_P], axis=1)

    np.testing.assert_array_equal(scored_credits(drawn, score), task_credits(drawn, x_ND, "euclidean"))


def test_chunks_change_nothing(monkeypatch):
    x_ND, drawn = np.random.default_rng(8).normal(size=(len(SPEAKERS), 3)), tasks()
    whole = {distance: task_credits(drawn, x_ND, distance) for distance in few_shot.DISTANCES}
    monkeypatch.setattr(few_shot, "CHUNK_NUMBERS", 100)
    for distance, credits_J in whole.items():
        np.testing.assert_array_equal(task_credits(drawn, x_ND, distance), credits_J)


def test_longer_utterances_are_drawn_more_often():
    durations = np.where(np.arange(len(SPEAKERS)) == 0, 9.0, 1.0)
    draw = {"ways": 2, "shots": 1, "num_tasks": 2000}
    drawn = draw_tasks(np.random.default_rng(0), SPEAKERS, durations=durations, **draw)
    # Row 0 is one of a's four utterances; twenty can be asked for (f has but one): 9 of 28.
    assert np.mean(drawn.query_J == 0) == pytest.approx(9 / 28, abs=0.04)
    of_a = drawn.support_JKN[SPEAKERS[drawn.support_JKN] == "a"]
    assert np.mean(of_a == 0) > 0.3
    assert all(query not in support for query, support in zip(drawn.query_J, drawn.support_JKN, strict=True))


def test_tasks_without_durations_are_what_they_always_were():
    # regression: monitored accuracies of trained systems rest on these draws
    drawn = draw_tasks(np.random.default_rng(0), SPEAKERS, ways=3, shots=2, num_tasks=4)
    assert drawn.query_J.tolist() == [17, 11, 9, 4]
    assert drawn.support_JKN.reshape(4, -1).tolist() == [
        [18, 16, 2, 3, 12, 13],
        [7, 9, 12, 13, 4, 6],
        [10, 7, 1, 0, 13, 12],
        [5, 6, 17, 16, 3, 1],
    ]


@pytest.mark.parametrize("num", [1, 2, 5])
def test_draws_without_replacement_are_those_of_numpy(num):
    sizes = [5, 17, 400, 6]
    rng, theirs = np.random.default_rng(9), np.random.default_rng(9)
    for _ in range(50):
        expected = [theirs.choice(size, num, replace=False).tolist() for size in sizes]
        assert without_replacement(rng, sizes, num) == expected
    with pytest.raises(ValueError, match="expected at least 6 .*found 5"):
        without_replacement(rng, sizes, 6)


def test_pairs_of_utterances_are_drawn_as_one_after_the_other_in_proportion_to_length():
    lengths, num = np.array([1.0, 2.0, 5.0]), 20_000
    # Speaker b is asked for; of a's three utterances two are drawn.
    speakers, durations = ["a", "a", "a", "b", "b", "b"], np.append(lengths, [1.0, 1.0, 1e6])
    drawn = draw_tasks(np.random.default_rng(0), speakers, ways=2, shots=2, num_tasks=num, durations=durations)
    of_a = drawn.support_JKN[np.arange(num), 1 - drawn.answer_J][drawn.query_J >= 3]
    for first, second in ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)):
        share = lengths[first] / 8 * lengths[second] / (8 - lengths[first])
        assert np.mean((of_a == [first, second]).all(axis=1)) == pytest.approx(share, abs=0.015)  # four standard errors


def test_the_interval_is_over_speakers_and_not_over_tasks():
    # Two speakers, one always right: whatever the number of tasks, both, or the one, or the other.
    credits_J, speakers = np.repeat([1.0, 0.0], 5000), np.repeat(["a", "b"], 5000)
    assert accuracy_interval(credits_J, speakers, rng=np.random.default_rng(0)) == (0.0, 1.0)
    rng, again = np.random.default_rng(1), np.random.default_rng(1)
    credits_J, speakers = rng.random(60), rng.integers(6, size=60)
    again.random(60), again.integers(6, size=60)
    values = []
    for _ in range(200):
        counts = np.bincount(again.integers(6, size=6), minlength=6)
        values.append(np.repeat(credits_J, counts[speakers]).mean())
    found = accuracy_interval(credits_J, speakers, rng=rng, num_replicates=200)
    assert found == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_the_table_holds_every_cell_and_says_what_it_could_not_draw():
    x_ND = np.random.default_rng(3).normal(size=(len(SPEAKERS), 4)) + 2 * (SPEAKERS[:, None] == np.array(list("abcd")))
    head = siamese({"type": "euclidean", "weights": [1.0], "bias": 0.0}, 4)
    settings = {"shots": (1, 2), "num_tasks": 50, "seeds": (1, 2), "num_replicates": 20}
    table = few_shot_table(
        x_ND, SPEAKERS, ways=(2, 6), distances=("euclidean", "cosine"), pair_scores={"siamese": head}, **settings
    )
    assert len(table) == 2 * 2 * 3
    cells = {(each["ways"], each["shots"], each["distance"]): each for each in table}
    cell = cells[2, 1, "euclidean"]
    drawn = [draw_tasks(np.random.default_rng([seed, 2, 1]), SPEAKERS, ways=2, shots=1, num_tasks=50) for seed in (1, 2)]
    accuracies = [task_accuracy(each, x_ND, "euclidean") for each in drawn]
    assert cell["accuracy"] == pytest.approx(np.mean(accuracies))
    assert cell["spread"] == pytest.approx(np.std(accuracies, ddof=1))
    assert cell["ci95"][0] <= cell["accuracy"] <= cell["ci95"][1]
    assert (cell["num_tasks"], cell["num_speakers"], cell["reason"]) == (100, 5, None)
    assert cells[2, 1, "siamese"]["accuracy"] == cell["accuracy"]  # a monotone map of the same distance
    assert cells[6, 1, "cosine"]["accuracy"] < cells[2, 1, "cosine"]["accuracy"]
    missing = cells[6, 2, "cosine"]
    assert missing["accuracy"] is None
    assert "2-shot 6-way tasks: expected at least 6 speakers" in missing["reason"]
    assert json.loads(json.dumps(table)) == table


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_tasks(np.random.default_rng(0), SPEAKERS, ways=2, shots=1, num_tasks=1, durations=[1.0]), "durations"),
        (
            lambda: few_shot_table(np.ones((2, 2)), ["a"], ways=[2], shots=[1], num_tasks=1, seeds=[1]),
            "few-shot table: expected a speaker for each of 2",
        ),
        (
            lambda: few_shot_table(np.ones((2, 2)), ["a", "b"], ways=[2], shots=[1], num_tasks=1, seeds=[], distances=[]),
            "found .* 0 and 0",
        ),
        (lambda: accuracy_interval([], [], rng=np.random.default_rng(0)), "credits: expected one a task"),
        (lambda: few_shot.credits([[np.nan, 1.0]], [0]), "nearness: expected numbers, found 1 others"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
