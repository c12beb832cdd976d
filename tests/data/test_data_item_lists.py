"""Lists of items to cluster and of speakers to identify: read as written, refused where they could not be used."""

import pytest

from steps.core.errors import RecipeError
from steps.data.item_lists import (
    Item,
    Role,
    check_owners,
    owners_of_items,
    read_items,
    read_roles,
    speakers_of,
    write_items,
    write_roles,
)

ITEMS = [Item("a/first", "a", ("u1", "u2")), Item("a/last", "a", ("u3",)), Item("b/first", "b", ("u4",))]
ROLES = [Role("enrol", "a", "u1"), Role("enrol", "b", "u4"), Role("test", "a", "u3")]


def test_lists_come_back_as_they_were_written(tmp_path):
    write_items(tmp_path / "clustering" / "x.txt", ITEMS)
    write_roles(tmp_path / "identification" / "x.txt", ROLES)
    assert (tmp_path / "clustering" / "x.txt").read_text() == "a/first a u1 u2\na/last a u3\nb/first b u4\n"
    assert (tmp_path / "identification" / "x.txt").read_text() == "enrol a u1\nenrol b u4\ntest a u3\n"
    assert read_items(tmp_path / "clustering" / "x.txt") == ITEMS
    assert read_roles(tmp_path / "identification" / "x.txt") == ROLES
    assert list(owners_of_items(ITEMS)) == [("u1", "a"), ("u2", "a"), ("u3", "a"), ("u4", "b")]


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_items, "i a u1\nj b", r"x.txt:2: .*too few words"),
        (read_items, "i a u1\n\ni b u2", r"x.txt:3: .*item 'i' is there already"),
        (read_items, "i a u1\nj b u2 u1", r"x.txt:2: .*utterance 'u1' is there already"),
        (read_items, "i a u1\nj b u2 u2", r"utterance 'u2' is there already"),
        (read_items, "i a u1\nj a u2", r"at least two speakers"),
        (read_items, " \n", r"is empty; expected lines '<item id> <speaker>"),
        (read_roles, "enrol a u1\nenrol b u2\ntest a u1", r"x.txt:3: .*'u1' is there already"),
        (read_roles, "enrol a u1\nenrols b u2", r"x.txt:2: .*found 'enrols b u2'"),
        (read_roles, "enrol a u1 u2", r"x.txt:1: "),
        (read_roles, "enrol a u1\nenrol b u2", r"found 2 enrolled and 0 tested"),
        (read_roles, "enrol a u1\ntest a u2", r"found 1 enrolled and 1 tested"),
        (read_roles, "enrol a u1\nenrol b u2\ntest c u3", r"1 are not enrolled, such as 'c'"),
    ],
)
def test_lists_that_cannot_be_used_are_refused_with_their_line(tmp_path, read, text, words):
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(RecipeError, match=words):
        read(tmp_path / "x.txt")


def test_visitors_may_be_tested_who_are_not_enrolled(tmp_path):
    (tmp_path / "x.txt").write_text("enrol a u1\nenrol b u2\ntest a u3\ntest c u4\ntest d u5\n")
    roles = read_roles(tmp_path / "x.txt")
    assert speakers_of(roles, "test") - speakers_of(roles, "enrol") == {"c", "d"}


def test_a_missing_list_and_owners_that_are_others(tmp_path):
    with pytest.raises(RecipeError, match="no such list"):
        read_items(tmp_path / "none.txt")
    known = {"u1": "a", "u2": "b"}
    check_owners([("u1", "a"), ("u2", "b")], known, "x")
    with pytest.raises(RecipeError, match="x: utterance 'u2' of speaker 'a' is of speaker b"):
        check_owners([("u2", "a")], known, "x")
    with pytest.raises(RecipeError, match="'u3' of speaker 'a' is not among"):
        check_owners([("u3", "a")], known, "x")
