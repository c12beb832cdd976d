"""Claims about ids that lists of enrolments and items give two values."""

import pytest

from steps.core.errors import RecipeError
from tests.local.listed_corpora import people, prepare


@pytest.fixture
def corpus(tmp_path):
    people(tmp_path / "corpus", 3, 4)
    return tmp_path / "corpus"


def test_a_model_that_is_another_one_elsewhere_is_refused(corpus, tmp_path):
    (corpus / "models.txt").write_text("m0 s0/u0\n")
    (corpus / "more.txt").write_text("m0 s0/u1\nm1 s1/u0\n")
    (corpus / "t.txt").write_text("1 m0 s0/u3\n0 m1 s0/u3\n")
    with pytest.raises(RecipeError, match=r"more.txt: model 'm0' is another one in .*models.txt"):
        prepare(corpus, tmp_path / "x", enrolment="models.txt;more.txt", trials="t.txt")


def test_an_item_or_utterance_of_two_lines_is_refused_with_both(corpus, tmp_path):
    for name, text, words in (
        ("clustering", "a s0 s0/u0\nb s1 s1/u0\na s1 s1/u1\n", r"c.txt:3: .*item 'a' is there already, in line 1"),
        ("clustering", "a s0 s0/u0\n\nb s1 s1/u0 s0/u0\n", r"c.txt:3: .*'s0/u0' is there already, in line 1"),
        ("identification", "enrol s0 s0/u0\n\ntest s0 s0/u0\n", r"c.txt:3: .*'s0/u0' is there already, in line 1"),
    ):
        (corpus / "c.txt").write_text(text)
        with pytest.raises(RecipeError, match=words):
            prepare(corpus, tmp_path / name / text[-4:-1].replace("/", ""), split="test", **{name: "c.txt"})
