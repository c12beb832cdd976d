"""What a recipe says of itself: read whole, or refused with its file."""

import pytest

from steps.core.errors import RecipeError
from steps.documents.facts import read_facts

PAPER = """
[[published]]
system = "xvector"
list = "demo_e"
eer = 0.10
min_dcf = { "0.01" = 0.9 }
source = "Somebody 2019, Table 3"
"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("paper.toml", PAPER + "eerr = 0.1", "published figure 1: unknown key 'eerr'"),
        ("paper.toml", PAPER.replace("0.10", "10.0"), "published figure 1: expected .* fraction"),
        ("paper.toml", PAPER.replace("source", "note"), "published figure 1: expected system, list and source"),
        ("paper.toml", "[[published", "paper.toml: not valid TOML"),
        ("recipe.toml", "[recipe]\nsystems = 'xvector'", "recipe.toml: expected report.title"),
        ("recipe.toml", "[recipe]\nsystems = [1]", "recipe.toml: expected report.title"),
        ("recipe.toml", "[report]\nreference = 3", "recipe.toml: expected report.title and report.reference"),
    ],
)
def test_what_the_recipe_says_wrongly_is_refused_with_its_file(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_facts(tmp_path)


def test_a_recipe_without_its_two_files_has_neither_systems_nor_published_figures(tmp_path):
    facts = read_facts(tmp_path)
    assert (facts.systems, facts.published, facts.reference) == ((), (), "")


def test_the_reference_is_the_default_system_unless_the_report_names_another(tmp_path):
    (tmp_path / "recipe.toml").write_text('[recipe]\ndefault = "a"\nsystems = ["a", "b"]\n')
    assert read_facts(tmp_path).reference == "a"
    (tmp_path / "recipe.toml").write_text('[recipe]\ndefault = "a"\nsystems = ["a", "b"]\n[report]\nreference = "b"\n')
    assert read_facts(tmp_path).reference == "b"


def test_published_figures_are_read_whole(tmp_path):
    (tmp_path / "paper.toml").write_text(PAPER)
    (row,) = read_facts(tmp_path).published
    assert (row.system, row.list, row.eer, row.min_dcf) == ("xvector", "demo_e", 0.1, {"0.01": 0.9})
