"""Claims about steps.data.strings: a list of texts is the reference."""

import bisect
import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.data.strings import Labels, Strings

TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), max_size=12)


@given(TEXTS, st.text(max_size=3), st.integers(-15, 15), st.integers(-15, 15))
def test_strings_behave_as_a_list(texts, other, start, stop):
    found = Strings(texts)
    assert found == texts == list(found)
    assert found[start:stop] == texts[start:stop]
    assert found == Strings(texts) == pickle.loads(pickle.dumps(found))
    assert (found == [*texts, other], other in found) == (False, other in texts)
    for place in range(-len(texts), len(texts)):
        assert found[place] == texts[place]
    for beyond in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            found[beyond]
    assert found.is_rising == all(one < next_one for one, next_one in zip(texts, texts[1:], strict=False))


@given(TEXTS, st.text(max_size=3))
def test_texts_are_found_by_halving(texts, other):
    texts = sorted(set(texts))
    found = Strings(texts)
    assert [found.find(text) for text in texts] == list(range(len(texts)))
    place = bisect.bisect_left(texts, other)
    assert found.find(other) == (place if texts[place : place + 1] == [other] else -1)


def test_labels_behave_as_a_list():
    texts = ["b", "a", "b", "", "c", "a"]
    found = Labels(texts)
    assert list(found) == texts
    assert (found[1:4], found[-1], len(found), found.names) == (texts[1:4], "a", 6, ["b", "a", "", "c"])


def test_a_text_takes_its_letters_and_eight_bytes():
    texts = (f"id{number:05d}/abcdefghijk/{number:05d}" for number in range(20_000))  # of 25 letters
    tracemalloc.start()
    found = Strings(texts)
    assert len(found) == 20_000
    assert tracemalloc.get_traced_memory()[0] / len(found) < 1.25 * (25 + 8)  # bytearrays and arrays grow by an eighth
    tracemalloc.stop()
