"""The mean over all pairs of windows, against loops over the pairs."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from steps.backend import stacks
from steps.backend.pairwise import PairwiseScoring
from steps.backend.windows import Windows

RNG = np.random.default_rng(0)
ITEMS = [RNG.normal(size=(count, 6)) for count in (10, 10, 3, 1, 10, 2, 3)]
TRIALS = RNG.integers(len(ITEMS), size=(2, 60))


@pytest.mark.parametrize("numbers", [40, 131_072])
@pytest.mark.parametrize(("measure", "metric", "shift"), [("euclidean", "euclidean", 0), ("cosine", "cosine", 1)])
def test_scores_are_the_means_of_scipys_distances(measure, metric, shift, numbers, monkeypatch):
    monkeypatch.setattr(stacks, "CHUNK_NUMBERS", numbers)
    expected = [shift - cdist(ITEMS[e], ITEMS[t], metric).mean() for e, t in TRIALS.T]
    # An utterance with itself has distances of 0, which products give to 1e-8.
    np.testing.assert_allclose(PairwiseScoring(measure).score_trials(Windows.of(ITEMS), *TRIALS), expected, atol=5e-8)
    others = TRIALS[0] != TRIALS[1]
    found = PairwiseScoring(measure).score_trials(Windows.of(ITEMS), *TRIALS[:, others])
    np.testing.assert_allclose(found, np.array(expected)[others], atol=1e-13)


def test_ten_crops_of_unit_length_a_side():
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in ITEMS]
    total = sum(np.sqrt(((one - other) ** 2).sum()) for one in unit[0] for other in unit[4])
    assert PairwiseScoring().score_trials(Windows.of(unit), [0], [4])[0] == pytest.approx(-total / 100, abs=1e-14)


def test_one_window_a_side_is_minus_the_distance():
    windows = Windows(np.array([[0.0, 3], [4, 0]], dtype=np.float32), np.arange(3))
    np.testing.assert_allclose(PairwiseScoring().score_trials(windows, [0], [1]), [-5], atol=1e-14)


@pytest.mark.parametrize("measure", ["euclidean", "cosine"])
def test_the_matrix_holds_all_trials(measure):
    scoring, windows = PairwiseScoring(measure), Windows.of(ITEMS)
    matrix = scoring.score_matrix(windows[:3], windows[3:])
    expected = scoring.score_trials(windows, np.repeat(np.arange(3), 4), np.tile(np.arange(3, 7), 3))
    np.testing.assert_allclose(matrix.ravel(), expected, atol=1e-14)


def test_what_cannot_be_is_refused():
    windows = Windows.of([np.ones((2, 3)), np.zeros((1, 3))])
    with pytest.raises(ValueError, match="measure: expected one of cosine, euclidean, found 'dot'"):
        PairwiseScoring("dot").score_trials(windows, [0], [0])
    with pytest.raises(ValueError, match="windows: expected embeddings with a length above 0"):
        PairwiseScoring("cosine").score_trials(windows, [0], [1])
    assert PairwiseScoring().score_trials(windows, [0], [1])[0] == pytest.approx(-np.sqrt(3))  # a distance all the same
    with pytest.raises(ValueError, match="test_index: expected 0 to 1"):
        PairwiseScoring().score_trials(windows, [0], [2])
