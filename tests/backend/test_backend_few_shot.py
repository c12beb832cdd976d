"""Tasks are what they promise, and accuracy is that of loops; embeddings all alike score exactly 1 / k."""

import numpy as np
import pytest

from steps.backend.few_shot import Tasks, draw_tasks, task_accuracy, task_credits

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


def test_an_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="euclidean, cosine, dot"):
        task_accuracy(tasks(), np.ones((len(SPEAKERS), 3)), "manhattan")
