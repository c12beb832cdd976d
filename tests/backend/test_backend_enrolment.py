"""Speakers enrolled with several utterances, against loops over them."""

import numpy as np
import pytest

from steps.backend import enrolment
from steps.backend.cosine import score_pairs
from steps.backend.enrolment import average_scores, enrolments, mean_embeddings, plda_enrolment
from steps.backend.plda import PLDA

MODELS = [[3, 0], [5], [1, 2, 4, 7]]


def embeddings():
    return np.random.default_rng(0).normal(size=(8, 3)) + 1.0


def plda():
    return PLDA.from_covariances(np.zeros(3), np.diag([3.0, 2.0, 0.5]), np.eye(3))


def test_models_take_their_rows_in_the_order_given():
    models = enrolments(embeddings(), MODELS)
    assert len(models) == 3
    for number, rows in enumerate(MODELS):
        np.testing.assert_array_equal(models.item(number), embeddings()[rows])


@pytest.mark.parametrize("length_norm", [False, True])
def test_mean_embedding_is_the_mean_of_the_utterances(length_norm):
    x = embeddings()
    if length_norm:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = [x[rows].mean(axis=0) for rows in MODELS]
    np.testing.assert_allclose(mean_embeddings(enrolments(embeddings(), MODELS), length_norm=length_norm), expected)


def test_plda_gets_the_true_number_by_the_book_and_one_by_averaging():
    models = enrolments(embeddings(), MODELS)
    for pooling, expected in (("by_the_book", [2, 1, 4]), ("mean", [1, 1, 1])):
        mean, counts = plda_enrolment(models, pooling)
        np.testing.assert_allclose(mean, [embeddings()[rows].mean(axis=0) for rows in MODELS])
        assert counts.tolist() == expected
    with pytest.raises(ValueError, match="pooling: expected one of by_the_book, mean, found 'other'"):
        plda_enrolment(models, "other")


@pytest.mark.parametrize("at_a_time", [1, 4, 10**6])
def test_average_of_scores_is_that_of_each_utterance_scored_alone(monkeypatch, at_a_time):
    monkeypatch.setattr(enrolment, "TRIALS_AT_A_TIME", at_a_time)
    test = np.random.default_rng(1).normal(size=(4, 3))
    rows, columns = np.array([2, 0, 1, 2, 2]), np.array([0, 3, 1, 2, 0])
    models = enrolments(embeddings(), MODELS)

    def cosine(enrol_ND, test_ND, enrol_P, test_P):
        return score_pairs(enrol_ND[enrol_P], test_ND[test_P])

    for score_trials, one in ((plda().score_trials, plda().score_pairs), (cosine, score_pairs)):
        got = average_scores(score_trials, models, test, rows, columns)
        expected = [
            np.mean([one(embeddings()[[row]], test[[n]])[0] for row in MODELS[m]]) for m, n in zip(rows, columns, strict=True)
        ]
        np.testing.assert_allclose(got, expected, atol=1e-12)
    assert average_scores(plda().score_trials, models, test, np.empty(0, int), np.empty(0, int)).shape == (0,)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "found no speakers"),
        ([[0], []], r"found \[\] for speaker 1"),
        ([[0, 1, 0]], r"found \[0, 1, 0\] for speaker 0"),
        ([[0, 8]], "models: expected 0 to 7, found 0 to 8"),
        ([[0.5]], "list of whole numbers"),
    ],
)
def test_models_without_utterances_or_with_unknown_ones_are_refused(models, message):
    with pytest.raises(ValueError, match=message):
        enrolments(embeddings(), models)


def test_trials_of_unknown_speakers_are_refused():
    models = enrolments(embeddings(), MODELS)
    with pytest.raises(ValueError, match="enrol_index: expected 0 to 2, found 3 to 3"):
        average_scores(plda().score_trials, models, np.ones((1, 3)), [3], [0])
    with pytest.raises(ValueError, match="expected 2 trials"):
        average_scores(plda().score_trials, models, np.ones((1, 3)), [0, 1], [0])
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        average_scores(plda().score_trials, models, np.ones((1, 2)), [0], [0])
