"""Whole utterances in chunks: which utterances, which frames, and frames drawn from all of them."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data.archive import Archive, write_ark, write_scp
from steps.examples.whole import WholeUtterances

LENGTHS = {"a": 7, "b": 3, "c": 9, "d": 7, "e": 1}


@pytest.fixture
def data(tmp_path):
    """Features whose first column says which utterance, the second which frame."""
    items = [(name, np.stack([np.full(n, ord(name)), np.arange(n)], axis=1).astype(np.float32)) for name, n in LENGTHS.items()]
    write_scp(tmp_path, write_ark(tmp_path / "feats.0.ark", items))
    archive = Archive(tmp_path)
    return SimpleNamespace(utterances=archive.ids, num_frames=archive.num_rows, archive_of=lambda name: archive)


def source(data, **changes):
    settings = {"every": 1, "longest": 0, "chunk_frames": 10, "seed": 1, "workers": 0}
    return WholeUtterances(data, **settings | changes)


def frames(rows):
    return [(chr(int(name)), int(frame)) for name, frame in rows]


EVERY_FRAME = [(name, frame) for name, length in LENGTHS.items() for frame in range(length)]


def test_chunks_are_whole_utterances_and_end_when_they_are_full(data):
    chunks = list(source(data).chunks("extractor"))
    assert [lengths for _, lengths in chunks] == [[7, 3], [9, 7], [1]]
    assert [each for feats_TF, _ in chunks for each in frames(feats_TF)] == EVERY_FRAME


def test_the_ubm_sees_every_so_many_frames_of_each_utterance(data):
    (feats_TF, lengths), *more = source(data, every=3).chunks("full")
    assert (frames(feats_TF), lengths) == ([each for each in EVERY_FRAME if each[1] % 3 == 0 and each[0] < "e"], [3, 1, 3, 3])
    assert [frames(each) for each, _ in more] == [[("e", 0)]]
    assert sum(len(each) for each, _ in source(data, every=3).chunks("extractor")) == 27


def test_the_longest_are_taken_and_of_equals_the_first(data):
    read = lambda longest: [len(each) for _, each in [*source(data, longest=longest, chunk_frames=99).chunks("extractor")]]  # noqa: E731
    assert source(data, longest=2).longest == ["a", "c"]
    assert source(data, longest=3).longest == ["a", "c", "d"]
    assert (read(3), read(99), read(0)) == ([3], [5], [5])
    assert len([*source(data, longest=2, chunk_frames=99).chunks("diagonal")][0][1]) == 5  # the UBM sees all


def test_frames_are_drawn_once_each_from_all_utterances(data):
    found = frames(source(data).random_frames(12))
    assert len(found) == len(set(found)) == 12
    assert found == sorted(found, key=EVERY_FRAME.index)
    assert found != frames(source(data, seed=2).random_frames(12))
    assert found == frames(source(data).random_frames(12))
    assert frames(source(data).random_frames(27)) == frames(source(data).random_frames(1000)) == EVERY_FRAME
    drawn = [each for seed in range(200) for each in frames(source(data, seed=seed).random_frames(5))]
    counts = [drawn.count(each) for each in EVERY_FRAME]
    assert 15 < min(counts) <= max(counts) < 70  # 37 on average


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_worker_cannot_read_is_said_as_it_is(data, tmp_path, workers):
    opened = source(data, workers=workers)
    (tmp_path / "feats.0.ark").unlink()
    with pytest.raises(RecipeError, match=rf"^{re.escape(str(tmp_path / 'feats.0.ark'))}[^\n]*$"):
        list(opened.chunks("extractor"))
