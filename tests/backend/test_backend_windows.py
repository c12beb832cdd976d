"""Windows keep their rows together, however items are chosen and joined."""

import numpy as np
import pytest

from steps.backend.windows import Windows

ITEMS = [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 7.0]]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0]])]


def rows(windows: Windows) -> list[list[list[float]]]:
    return [windows.item(index).tolist() for index in range(len(windows))]


def test_items_come_back_as_they_were_given():
    windows = Windows.of(ITEMS)
    assert rows(windows) == [item.tolist() for item in ITEMS]
    np.testing.assert_array_equal(windows.counts_N, [1, 2, 3])
    np.testing.assert_array_equal(windows.start_N1, [0, 1, 3, 6])
    np.testing.assert_array_equal(windows.means(), [[1, 2], [4, 5.5], [2, 4]])


@pytest.mark.parametrize("part", [slice(0, 3), slice(1, 3), slice(2, 99), slice(-2, -1), slice(None, 1)])
def test_a_slice_holds_those_items(part):
    assert rows(Windows.of(ITEMS)[part]) == [item.tolist() for item in ITEMS[part]]


@pytest.mark.parametrize("part", [slice(0, 3, 2), slice(2, 2), slice(3, 9), slice(None, None, -1)])
def test_an_empty_slice_or_one_with_a_step_is_refused(part):
    with pytest.raises(ValueError, match="expected a slice of items without a step, not empty"):
        Windows.of(ITEMS)[part]


def test_joined_items_have_the_rows_of_all_their_parts_in_order():
    joined = Windows.of(ITEMS).joined([[2, 0], [1], [1, 1]])
    assert rows(joined) == [
        [*ITEMS[2].tolist(), *ITEMS[0].tolist()], ITEMS[1].tolist(), [*ITEMS[1].tolist(), *ITEMS[1].tolist()]
    ]  # fmt: skip
    with pytest.raises(ValueError, match="made of at least one each"):
        Windows.of(ITEMS).joined([[0], []])


def test_items_followed_by_others():
    both = Windows.of(ITEMS[1:]).followed_by(Windows.of(ITEMS[:2]))
    assert rows(both) == [item.tolist() for item in (ITEMS[1], ITEMS[2], ITEMS[0], ITEMS[1])]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "at least one window each"),
        ([np.zeros((0, 2))], "at least one window each"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], "of one dimension"),
        ([np.zeros(3)], "at least one window each"),
        ([np.full((1, 2), np.nan)], "expected finite numbers"),
    ],
)
def test_items_that_are_no_windows_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        Windows.of(items)


@pytest.mark.parametrize("starts", [[0, 1], [0, 2, 2, 3], [1, 3], [0, 3, 2, 3]])
def test_starts_that_do_not_fit_the_rows_are_refused(starts):
    with pytest.raises(ValueError, match="expected starts from 0 to 3 that rise"):
        Windows(np.zeros((3, 2)), np.array(starts))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9])
def test_means_of_equally_many_rows_have_the_bits_of_any(count):
    rows_RD = np.random.default_rng(count).normal(size=(7 * count, 5)).astype(np.float32)
    windows = Windows(rows_RD, count * np.arange(8))
    np.testing.assert_array_equal(
        windows.means(), np.add.reduceat(rows_RD, windows.start_N1[:-1], axis=0) / np.full((7, 1), count)
    )
