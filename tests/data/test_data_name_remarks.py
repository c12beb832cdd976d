"""Claims about remarks on the names of speakers."""

import pytest

from steps.data.name_remarks import name_remarks


@pytest.mark.parametrize(
    ("one", "other"), [("Anna", "anna"), ("anna-b", "Anna_b"), ("7", "007"), ("7", "7.0"), ("c/Spk01", "c/spk01")]
)
def test_names_that_people_write_in_two_ways_are_said_with_their_sets(one, other):
    (text,) = name_remarks({"train": [one, "x", one], "test": [other, "y"]})
    assert f"2 speaker names differ only in capitals, hyphens or zeros ({' and '.join(sorted((one, other)))})" in text
    assert "1 times in different sets" in text
    (text,) = name_remarks({"test": [one, other]})
    assert "different sets" not in text


def test_other_names_are_not_alike():
    names = ["1-0", "10", "100", "s1", "s01", "anna", "annab", "a/anna", "b/anna", "id10001", "ID 10001 b"]
    assert name_remarks({"train": names}) == []


@pytest.mark.parametrize("name", ["nan", "NaN", "unknown", "c/None"])
def test_a_word_for_nobody_is_said_to_be_taken_for_a_person(name):
    assert name_remarks({"train": ["a", name]}) == [
        f"taken for one person each: {name}; if nobody knows who these are, leave their lines or files out"
    ]
