"""The lines that run.sh loops over: predecessors come first, circles are found, and what is set for whom."""

from pathlib import Path

import pytest

from steps import check
from steps.core import config
from steps.core.errors import RecipeError
from steps.core.sweeps import read_sweep

ROOT = Path(__file__).parents[2]


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


def plans(recipe, systems, assignments=()):
    return check.plan_systems(recipe, systems, list(assignments))


def test_what_a_system_begins_with_comes_first_and_is_only_trained(recipe):
    found = plans(recipe, ["third"])
    assert [(each.system, each.begins, each.last) for each in found] == [
        ("first", "-", 4), ("second", "first/model", 4), ("third", "second/model", 8),
    ]  # fmt: skip


def test_a_system_that_is_asked_for_itself_runs_to_the_end_wherever_it_stands(recipe):
    found = plans(recipe, ["third", "first"])
    assert [(each.system, each.last) for each in found] == [("first", 8), ("second", 4), ("third", 8)]


def test_an_unknown_system_is_told_those_of_the_recipe(recipe):
    with pytest.raises(RecipeError, match=r"resnet\.toml: .*no such system; there are: xvector, xvector_cosine, resnet_aam$"):
        plans(Path("recipes/toy"), ["resnet"])


def test_a_preparation_of_its_own_has_folders_of_its_own(recipe):
    by_name = {each.system: each for each in plans(recipe, ["third"])}
    assert by_name["third"].manifests == "manifests-part"
    assert by_name["third"].features == by_name["first"].features + "-part"
    assert by_name["third"].augmented == by_name["first"].augmented + "-part"


def test_beginning_with_a_system_that_shares_a_network_is_beginning_with_that_network(recipe):
    assert [(each.system, each.begins) for each in plans(recipe, ["upon_shared"])][-1] == ("upon_shared", "first/model")


def test_a_circle_is_an_error(recipe):
    with pytest.raises(RecipeError, match="circle: circle_a -> circle_b -> circle_a"):
        plans(recipe, ["circle_a"])


def test_what_is_set_for_training_is_set_for_the_system_asked_for_alone(recipe):
    given = ["train.init=first", "train.epochs=1", "model.channels=[8,8,8,8,8]", "head.type=aam", "features.num_mel_bins=23"]
    assert check.for_predecessor([*given, "train.threads=4", "train.device=cpu"]) == [
        "features.num_mel_bins=23", "train.threads=4", "train.device=cpu",
    ]  # fmt: skip
    assert [each.system for each in plans(recipe, ["second"], ["train.freeze=frames"])] == ["first", "second"]


def test_a_bank_of_sounds_is_called_after_the_augmentation_alone(recipe):
    online = plans(recipe, ["first"])[0]
    copies = plans(recipe, ["first"], ["augment.mode=none"])[0]
    assert copies.augmented == f"{online.augmented}-{online.features}"


def sweep(recipe, text):
    (recipe / "sweeps").mkdir(exist_ok=True)
    (recipe / "sweeps" / "s.toml").write_text('[sweep]\nsystem = "first"\n' + text)
    return check.plan_sweep(recipe, read_sweep(recipe / "sweeps" / "s.toml"), [])


def test_points_share_what_their_settings_have_in_common(recipe):
    axes = (
        '[[axis]]\nname = "epochs"\nsetting = "train.epochs"\nvalues = [3, 4]\n'
        '[[axis]]\nname = "window"\nsetting = "embed.window"\nvalues = [0.0, 1.0]\n'
        '[[axis]]\nname = "norm"\nsetting = "score.norm"\nvalues = ["none", "s_norm"]\n'
    )
    found = sweep(recipe, axes)
    assert [plan.system for plan in found[:3]] == ["s.3-0-none", "s.3-0-s_norm", "s.3-1-none"]
    assert [plan.model for plan in found] == 4 * ["sweeps/s/3-0-none/model"] + 4 * ["sweeps/s/4-0-none/model"]
    assert [plan.embeddings.split("/")[2] for plan in found[:4]] == ["3-0-none", "3-0-none", "3-1-none", "3-1-none"]
    assert [plan.first for plan in found[:5]] == [1, 6, 5, 6, 1]
    assert len({plan.scores for plan in found}) == 8
    assert {plan.features for plan in found} == {plans(recipe, ["first"])[0].features}


def test_a_wrong_setting_of_a_sweep_names_the_point_and_one_that_varies_may_not_be_given(recipe):
    with pytest.raises(RecipeError, match="sweep s, point 3: --set model.embeding_dim=3: unknown setting"):
        sweep(recipe, '[[axis]]\nname = "size"\nsetting = "model.embeding_dim"\nvalues = [3]\n')
    sweep(recipe, '[[axis]]\nname = "size"\nsetting = "model.embedding_dim"\nvalues = [3, 4]\n')
    found = read_sweep(recipe / "sweeps" / "s.toml")
    with pytest.raises(RecipeError, match="--set model.embedding_dim: the axis 'size' of the sweep s varies it"):
        check.plan_sweep(recipe, found, ["model.embedding_dim=3"])
    line = check.sweep_line(recipe, found, recipe / "sweeps" / "s.toml", [], ["train.epochs=1"])
    assert line.split("\t")[2].split(check.JOINED)[-2:] == ["--set", "train.epochs=1"]


def test_a_point_that_agrees_with_a_system_uses_its_network(recipe):
    found = sweep(recipe, '[[axis]]\nname = "norm"\nsetting = "score.norm"\nvalues = ["none", "s_norm"]\n')
    assert [(plan.model, plan.embeddings, plan.first) for plan in found] == [
        ("first/model", "first/embeddings", 1), ("first/model", "first/embeddings", 6),
    ]  # fmt: skip


def test_a_point_of_other_features_or_another_preparation_has_folders_of_its_own(recipe):
    plain = plans(recipe, ["first"])[0]
    bins = sweep(recipe, '[[axis]]\nname = "bins"\nsetting = "features.num_mel_bins"\nvalues = [23, 30]\n')
    assert len({plan.features for plan in (*bins, plain)}) == 3
    assert {plan.manifests for plan in bins} == {"manifests"}
    seeds = sweep(recipe, '[[axis]]\nname = "seed"\nsetting = "prepare.seed"\nvalues = [8, 9]\n')
    assert len({plan.manifests for plan in (*seeds, plain)}) == 3
    assert all(plan.manifests.startswith("manifests-s-") for plan in seeds)


def test_what_a_swept_system_begins_with_is_trained_first(recipe):
    found = sweep(recipe, '[[axis]]\nname = "system"\nsystems = ["second"]\n'.replace("first", "second"))
    assert [(plan.system, plan.last, plan.begins) for plan in found] == [("first", 4, "-"), ("s.second", 8, "first/model")]


def test_a_line_holds_the_arguments_as_they_are(recipe):
    plan = plans(recipe, ["first"], ["site.corpus=/a folder/with; $(odd) names"])[0]
    columns = plan.line().split("\t")
    assert columns[:2] == ["system", "first"]
    assert len(columns) == 14
    assert columns[-1] == "yes"  # features are stored
    assert plans(recipe, ["first"], ["features.storage=none"])[0].line().endswith("\t-")
    assert columns[2].split(check.JOINED)[-2:] == ["--set", "site.corpus=/a folder/with; $(odd) names"]


@pytest.mark.parametrize("odd", ["a\tb", "a\nb", "a\x1f--force", "a\udcff"])
def test_a_setting_that_run_sh_would_cut_in_two_is_refused(recipe, odd):
    plan = plans(recipe, ["first"], [f"site.corpus=/{odd}"])[0]
    with pytest.raises(RecipeError, match="site.corpus=/a.*expected no tab, line break"):
        plan.line()


def test_systems_that_swept_ones_begin_with_are_trained_even_if_they_are_swept_too(recipe):
    found = sweep(
        recipe,
        '[[axis]]\nname = "system"\nsystems = ["second", "first"]\n'
        '[[axis]]\nname = "size"\nsetting = "train.batch_size"\nvalues = [16]\n',
    )
    by_name = {plan.system: plan for plan in found}
    assert by_name["s.second-16"].begins == by_name["first"].model == "first/model"
    assert (by_name["first"].last, by_name["s.first-16"].model) == (4, "sweeps/s/first-16/model")


def test_scorings_that_need_something_of_other_sections_are_refused_before_the_first_stage(recipe):
    with pytest.raises(RecipeError, match=r"first\.toml: score\.backend = 'linkage' compares windows"):
        plans(recipe, ["first"], ["score.backend=linkage", "score.norm=none", "score.enrolment=mean"])
    with pytest.raises(RecipeError, match=r"needs head\.type = 'siamese'"):
        plans(recipe, ["first"], ["score.backend=siamese", "score.norm=none", "score.enrolment=mean"])


def test_a_fusion_may_not_be_called_as_a_system(recipe):
    (recipe / "recipe.toml").write_text('[recipe]\nsystems = ["first", "second"]\ndefault = "first"\n')
    (recipe / "fusion.toml").write_text('[fuse]\nname = "second"\nsystems = ["first", "second"]\n')
    with pytest.raises(RecipeError, match="fuse.name = 'second' is that of a system"):
        check.joined_lines(recipe, [])


def test_an_alignment_reads_the_embeddings_of_the_networks(recipe):
    (recipe / "recipe.toml").write_text('[recipe]\nsystems = ["first", "shared", "second"]\ndefault = "first"\n')
    (recipe / "align.toml").write_text('[align]\nname = "a"\nold = "shared"\nnew = "second"\n')
    assert check.joined_lines(recipe, [])[0].split("\t")[-1] == "first/embeddings second/embeddings"
