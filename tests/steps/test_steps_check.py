"""The lines that run.sh loops over: predecessors come first, circles are found, and what is set for whom."""

from pathlib import Path

import pytest

from steps import check
from steps.core import config
from steps.core.errors import RecipeError

ROOT = Path(__file__).parents[2]
COLUMNS = ("system", "features", "augmented", "network", "begins", "last", "manifests", "fused")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of systems that begin with each other, as paths from the repository's root."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))
    toy = ROOT / "recipes" / "toy"

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.toml").write_text(text)

    write("first", f'base = ["{toy}/xvector.toml"]\n')
    write("second", 'base = ["first.toml"]\n[train]\ninit = "first"\n')
    write("third", 'base = ["second.toml"]\n[train]\ninit = "second"\n[system]\ndata = "part"\n')
    write("shared", 'base = ["first.toml"]\n[system]\nmodel = "first"\n')
    write("upon_shared", 'base = ["first.toml"]\n[train]\ninit = "shared"\n')
    write("circle_a", 'base = ["first.toml"]\n[train]\ninit = "circle_b"\n')
    write("circle_b", 'base = ["first.toml"]\n[train]\ninit = "circle_a"\n')
    return tmp_path


def lines(recipe, systems, assignments=()):
    found = check.check_systems(recipe, systems, list(assignments))
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in found]


def test_what_a_system_begins_with_comes_first_and_is_only_trained(recipe):
    found = lines(recipe, ["third"])
    assert [(each["system"], each["begins"], each["last"]) for each in found] == [
        ("first", "-", "4"), ("second", "first", "4"), ("third", "second", "8"),
    ]  # fmt: skip


def test_a_system_that_is_asked_for_itself_runs_to_the_end_wherever_it_stands(recipe):
    found = lines(recipe, ["third", "first"])
    assert [(each["system"], each["last"]) for each in found] == [("first", "8"), ("second", "4"), ("third", "8")]


def test_a_preparation_of_its_own_has_folders_of_its_own(recipe):
    by_name = {each["system"]: each for each in lines(recipe, ["third"])}
    assert by_name["third"]["manifests"] == "manifests-part"
    assert by_name["third"]["features"] == by_name["first"]["features"] + "-part"
    assert by_name["third"]["augmented"] == by_name["first"]["augmented"] + "-part"


def test_beginning_with_a_system_that_shares_a_network_is_beginning_with_that_network(recipe):
    assert [(each["system"], each["begins"]) for each in lines(recipe, ["upon_shared"])][-1] == ("upon_shared", "first")


def test_a_circle_is_an_error(recipe):
    with pytest.raises(RecipeError, match="circle: circle_a -> circle_b -> circle_a"):
        lines(recipe, ["circle_a"])


def test_what_is_set_for_training_is_set_for_the_system_asked_for_alone(recipe):
    given = ["train.init=first", "train.epochs=1", "model.channels=[8,8,8,8,8]", "head.type=aam", "features.num_mel_bins=23"]
    assert check.for_predecessor([*given, "train.threads=4", "train.device=cpu"]) == [
        "features.num_mel_bins=23", "train.threads=4", "train.device=cpu",
    ]  # fmt: skip
    assert [each["system"] for each in lines(recipe, ["second"], ["train.freeze=frames"])] == ["first", "second"]


def test_a_bank_of_sounds_is_called_after_the_augmentation_alone(recipe):
    online = lines(recipe, ["first"])[0]
    copies = lines(recipe, ["first"], ["augment.mode=none"])[0]
    assert copies["augmented"] == f"{online['augmented']}-{online['features']}"
