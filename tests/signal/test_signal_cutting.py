"""Where windows lie, against lists written by hand and against the rule carried out frame by frame."""

import numpy as np
import pytest

from steps.signal.cutting import CUTS, cut_centre, cut_even, cut_last, cut_tiled, cutting, repeated


@pytest.mark.parametrize(
    ("num_frames", "spans"),
    [
        (10, [(0, 10)]),
        (9, [(0, 9)]),
        (11, [(0, 10), (1, 11)]),
        (14, [(0, 10), (4, 14)]),
        (19, [(0, 10), (4, 14), (8, 18), (9, 19)]),
    ],
)
def test_last_windows_cover_the_utterance_and_the_last_ends_with_it(num_frames, spans):
    found = cut_last(num_frames, 10, 4)
    assert [(start, start + found.length) for start in found.starts] == spans
    assert found.num_frames == num_frames


@pytest.mark.parametrize(
    ("num_frames", "length", "hop", "repeats", "starts"),
    [
        (12, 4, 2, 1, [0, 2, 4, 6]),  # three windows long: not repeated, four windows
        (13, 4, 2, 1, [0, 2, 4, 6, 8]),
        (14, 4, 2, 1, [0, 2, 4, 6, 8]),  # a window at 10 would end with the utterance: it starts before, strictly
        (15, 4, 2, 1, [0, 2, 4, 6, 8, 10]),
        (11, 4, 2, 2, [0, 2, 4, 6, 8, 10, 12, 14, 16]),  # 12 // 11 + 1 = 2: 22 frames, so starts under 18
        (6, 4, 2, 3, [0, 2, 4, 6, 8, 10, 12]),  # 12 // 6 + 1 = 3, though twice would do
        (5, 4, 2, 3, [0, 2, 4, 6, 8, 10]),
        (1, 4, 2, 13, [0, 2, 4, 6, 8]),
        (7, 4, 1, 2, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),  # 75 % overlap: repeated under two windows, 8 frames
        (8, 4, 1, 1, [0, 1, 2, 3]),
    ],
)
def test_tiled_windows_by_hand(num_frames, length, hop, repeats, starts):
    assert cut_tiled(num_frames, length, hop) == (repeats * num_frames, length, tuple(starts))


@pytest.mark.parametrize("overlap", [2, 4])
def test_tiled_windows_are_those_of_the_rule_carried_out(overlap):
    length = 8
    hop = length // overlap
    for num_frames in range(1, 60):
        frames = list(range(num_frames))
        if num_frames < length + 4 * hop:
            frames = frames * ((length + 4 * hop) // num_frames + 1)
        windows, offset = [], 0
        while offset < len(frames) - length:
            windows.append(frames[offset : offset + length])
            offset += hop
        found = cut_tiled(num_frames, length, hop)
        feats_TF = repeated(np.arange(num_frames)[:, None], found.num_frames)
        assert [feats_TF[start : start + length, 0].tolist() for start in found.starts] == windows
        assert len(windows) >= 4


@pytest.mark.parametrize(
    ("num_frames", "num_windows", "starts"),
    [
        (12, 3, [0, 1, 2]),
        (13, 3, [0, 1, 3]),  # 1.5 is rounded down
        (10, 3, [0, 0, 0]),
        (11, 4, [0, 0, 0, 1]),
        (37, 10, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]),
        (99, 1, [0]),
    ],
)
def test_even_windows_by_hand(num_frames, num_windows, starts):
    assert cut_even(num_frames, 10, num_windows) == (num_frames, 10, tuple(starts))


def test_even_windows_end_with_the_utterance_and_short_ones_are_repeated():
    for num_frames in range(1, 300):
        found = cut_even(num_frames, 30, 10)
        assert len(found.starts) == 10
        assert found.starts[-1] + 30 == found.num_frames == max(30, num_frames)
        gaps = np.diff(found.starts)
        assert gaps.max() - gaps.min() <= 1
    np.testing.assert_array_equal(repeated(np.arange(4)[:, None], 10)[:, 0], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize(
    ("num_frames", "length", "frames"),
    [
        (10, 4, [3, 4, 5, 6]),
        (11, 4, [3, 4, 5, 6]),  # 7 around it: 3 before, 4 behind
        (10, 5, [2, 3, 4, 5, 6]),
        (11, 5, [3, 4, 5, 6, 7]),
        (4, 4, [0, 1, 2, 3]),
        (5, 4, [0, 1, 2, 3]),
        (3, 4, [0, 1, 2, 0]),
        (1, 4, [0, 0, 0, 0]),
        (3, 8, [0, 1, 2, 0, 1, 2, 0, 1]),
    ],
)
def test_the_window_in_the_centre_by_hand(num_frames, length, frames):
    found = cut_centre(num_frames, length)
    feats_TF = repeated(np.arange(num_frames)[:, None], found.num_frames)
    assert [feats_TF[start : start + found.length, 0].tolist() for start in found.starts] == [frames]


def test_the_window_in_the_centre_is_what_is_left_when_ends_are_taken_away_in_turn():
    """From behind first, so that what was taken away in front is never more."""
    for length in (1, 2, 7, 12):
        for num_frames in range(1, 40):
            frames = [index % num_frames for index in range(max(num_frames, length))]
            for turn in range(len(frames) - length):
                frames.pop(-1 if turn % 2 == 0 else 0)
            found = cut_centre(num_frames, length)
            feats_TF = repeated(np.arange(num_frames)[:, None], found.num_frames)
            assert (found.length, len(found.starts)) == (length, 1)
            assert feats_TF[found.starts[0] : found.starts[0] + length, 0].tolist() == frames


def test_long_enough_features_are_not_copied():
    feats_TF = np.zeros((5, 2))
    assert repeated(feats_TF, 5) is feats_TF


def test_each_way_is_chosen_by_name():
    assert cutting("last", 50, 10, hop=4) == cut_last(50, 10, 4)
    assert cutting("tiled", 50, 10, hop=4) == cut_tiled(50, 10, 4)
    assert cutting("even", 50, 10, num_windows=4) == cut_even(50, 10, 4)
    assert cutting("centre", 51, 10) == cutting("centre", 51, 10, hop=4) == cut_centre(51, 10)


@pytest.mark.parametrize("how", CUTS)
def test_numbers_below_one_are_refused(how):
    good = {"hop": 1, "num_windows": 1}
    with pytest.raises(ValueError, match="expected at least 1 each, found 0"):
        cutting(how, 0, 1, **good)
    with pytest.raises(ValueError, match=r"length.*: expected at least 1 each, found 1, 0"):
        cutting(how, 1, 0, **good)
    if how == "centre":  # which needs neither
        return
    with pytest.raises(ValueError, match="num_windows" if how == "even" else "hop"):
        cutting(how, 1, 1)


def test_another_way_is_refused():
    with pytest.raises(ValueError, match="cut: expected one of last, tiled, even, centre, found 'first'"):
        cutting("first", 10, 5, hop=1)
