"""Products of the windows of trials against loops over trials."""

import numpy as np
import pytest

from steps.backend import stacks
from steps.backend.stacks import Stacks, score_all_pairs
from steps.backend.windows import Windows

RNG = np.random.default_rng(0)
ITEMS = [RNG.normal(size=(count, 5)) for count in (3, 1, 4, 3, 2, 3, 1, 3)]
WINDOWS = Windows.of(ITEMS)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_trials(num: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(len(ITEMS), size=num), RNG.integers(len(ITEMS), size=num)


ALL = np.repeat(np.arange(8), 8), np.tile(np.arange(8), 8)  # those of an enrolment side by side
SOME = np.array([5, 0, 3, 5]), np.array([7, 3, 7, 0])  # all of three windows; items 1, 2, 4, 6 in no trial


@pytest.mark.parametrize("trials", [random_trials(40), ALL, SOME, random_trials(1)], ids=["random", "all", "some", "one"])
@pytest.mark.parametrize("is_unit", [True, False])
@pytest.mark.parametrize("numbers", [30, 100_000])
def test_chunks_hold_the_products_of_each_stack(trials, is_unit, numbers):
    seen = []
    for chunk in Stacks(WINDOWS, *trials, unit=is_unit).chunks(numbers):
        assert (np.diff(chunk.num_Q) <= 0).all()
        assert chunk.product_Qnn.size <= max(numbers, chunk.product_Qnn[0].size)
        for place, trial in enumerate(chunk.index_Q):
            both = np.concatenate([ITEMS[trials[0][trial]], ITEMS[trials[1][trial]]])
            both = unit(both) if is_unit else both
            num = chunk.num_Q[place]
            np.testing.assert_allclose(chunk.product_Qnn[place, :num, :num], both @ both.T, atol=1e-13)
            assert not chunk.product_Qnn[place, num:].any()
            assert not chunk.product_Qnn[place, :, num:].any()
        seen += chunk.index_Q.tolist()
    assert sorted(seen) == list(range(trials[0].size))


@pytest.mark.parametrize("numbers", [7, 100_000])
def test_runs_hold_the_products_of_both_sides(numbers, monkeypatch):
    monkeypatch.setattr(stacks, "CHUNK_NUMBERS", numbers)
    enrol_P, test_P = random_trials(50)
    seen = []
    for run in Stacks(WINDOWS, enrol_P, test_P, unit=False).runs():
        assert run.cross_Qet.size <= max(numbers, run.cross_Qet[0].size)
        for place, trial in enumerate(run.index_Q):
            one, other = ITEMS[enrol_P[trial]], ITEMS[test_P[trial]]
            np.testing.assert_allclose(run.cross_Qet[place], one @ other.T, atol=1e-13)
            np.testing.assert_allclose(run.enrol_squared_Qe[place], (one**2).sum(axis=1), atol=1e-13)
            np.testing.assert_allclose(run.test_squared_Qt[place], (other**2).sum(axis=1), atol=1e-13)
        seen += run.index_Q.tolist()
    assert sorted(seen) == list(range(50))


def test_rows_of_a_trial_are_those_given():
    found = Stacks(WINDOWS, [2, 5], [1, 0]).rows_of(1)
    np.testing.assert_array_equal(found, np.concatenate([ITEMS[5], ITEMS[0]]))


def test_no_trials_have_no_stacks():
    none = Stacks(WINDOWS, np.array([], dtype=int), np.array([], dtype=int))
    assert list(none.chunks()) == list(none.runs()) == []


def test_all_pairs_are_scored_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(stacks, "PAIRS", 7)
    sizes = []

    def score(windows: Windows, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        sizes.append(enrol_P.size)
        return np.array([windows.item(e)[0] @ windows.item(t)[-1] for e, t in zip(enrol_P, test_P, strict=True)])

    found = score_all_pairs(score, WINDOWS[:5], WINDOWS[5:])
    np.testing.assert_allclose(found, [[one[0] @ other[-1] for other in ITEMS[5:]] for one in ITEMS[:5]], atol=1e-14)
    assert sizes == [6, 6, 3]


def test_bad_trials_and_windows_are_refused():
    with pytest.raises(ValueError, match="enrol_index: expected 0 to 7, found 8 to 8"):
        Stacks(WINDOWS, [8], [0])
    with pytest.raises(ValueError, match="test_index: expected 1 trials as in enrol_index, found 2"):
        Stacks(WINDOWS, [0], [0, 1])
    with_zero = Windows.of([np.ones((1, 2)), np.array([[0.0, 0], [1, 1]])])
    with pytest.raises(ValueError, match="expected lengths above 0, found 1 of 3 windows without"):
        Stacks(with_zero, [0], [1])
    Stacks(with_zero, [0], [0])  # the one of zeros is in no trial
    with pytest.raises(ValueError, match="expected finite numbers, found others in 1 of 2 windows"):
        Stacks(Windows(np.array([[1.0], [np.nan]]), np.array([0, 1, 2])), [0], [1], unit=False)
    with pytest.raises(ValueError, match="expected 5 dimensions as in enrolment, found 2"):
        score_all_pairs(lambda *_: np.zeros(1), WINDOWS, with_zero)
