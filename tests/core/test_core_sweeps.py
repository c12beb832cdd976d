"""Sweeps: the points that a file stands for, and what is refused."""

from pathlib import Path

import pytest

from steps.core import config
from steps.core.errors import RecipeError
from steps.core.sweeps import check_overrides, read_sweep

GRID = """
[sweep]
title = "Width against length"
system = "bilstm"
set = { "score.replicates" = 20 }
[[axis]]
name = "width"
setting = "model.width"
values = [8, 16]
[[axis]]
name = "scoring"
[[axis.point]]
name = "mean, cosine"
config = ["../cosine.toml"]
[[axis.point]]
name = "PLDA"
set = { "score.backend" = "plda", "score.transforms" = ["mean", "lda"] }
"""


def written(folder: Path, text: str, name: str = "sweep.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_grid_has_every_value_with_every_other_and_the_last_axis_varies_fastest(tmp_path):
    sweep = read_sweep(written(tmp_path, GRID))
    assert [point.name for point in sweep.points] == ["8-mean_cosine", "8-PLDA", "16-mean_cosine", "16-PLDA"]
    assert {point.system for point in sweep.points} == {"bilstm"}
    assert sweep.points[3].assignments == (
        "model.width=16", 'score.backend="plda"', 'score.transforms=["mean", "lda"]',
    )  # fmt: skip
    assert sweep.points[0].files == (tmp_path.parent / "cosine.toml",)
    assert sweep.assignments == ("score.replicates=20",)
    assert [value.number for value in sweep.axes[0].values] == [8.0, 16.0]
    assert [value.number for value in sweep.axes[1].values] == [None, None]


def test_what_an_axis_sets_is_what_the_settings_become(tmp_path):
    point = read_sweep(written(tmp_path, GRID)).points[3]
    tables = config.load_layers([], point.assignments).tables
    assert tables == {"model": {"width": 16}, "score": {"backend": "plda", "transforms": ["mean", "lda"]}}


def test_a_value_may_set_several_settings_some_so_many_times_it(tmp_path):
    text = (
        '[sweep]\nsystem = "a"\n[[axis]]\nname = "length"\nsetting = ["train.min_crop", "train.max_crop"]\n'
        'scaled = { "embed.hop" = 0.5 }\nvalues = [0.6, 4.0]\n'
    )
    first, second = read_sweep(written(tmp_path, text)).points
    assert first.assignments == ("train.min_crop=0.6", "train.max_crop=0.6", "embed.hop=0.3")
    assert config.load_layers([], second.assignments).tables["embed"] == {"hop": 2.0}
    assert second.values[0].number == 4.0
    with pytest.raises(RecipeError, match="axis 'length': scaled: expected settings with numbers, and values that are numbers"):
        read_sweep(written(tmp_path, text.replace("0.6, 4.0", '"a", "b"')))


def test_repeats_are_an_axis_beside_another(tmp_path):
    assert read_sweep(written(tmp_path, GRID)).repeats == ""
    found = read_sweep(written(tmp_path, GRID.replace("[sweep]", '[sweep]\nrepeats = "width"\ncurves = true')))
    assert (found.repeats, found.curves) == ("width", True)
    with pytest.raises(RecipeError, match="repeats = 'seed'; expected one of '', 'width', 'scoring'"):
        read_sweep(written(tmp_path, GRID.replace("[sweep]", '[sweep]\nrepeats = "seed"')))


def test_axes_that_run_side_by_side_give_one_point_a_value(tmp_path):
    text = (
        '[sweep]\nsystem = "a"\ncombine = "list"\n[[axis]]\nname = "x"\nsetting = "train.epochs"\nvalues = [1, 2]\n'
        '[[axis]]\nname = "y"\nsetting = "train.seed"\nvalues = [3, 4]\n'
    )
    assert [point.assignments for point in read_sweep(written(tmp_path, text)).points] == [
        ("train.epochs=1", "train.seed=3"), ("train.epochs=2", "train.seed=4"),
    ]  # fmt: skip
    with pytest.raises(RecipeError, match=r"as many values each, found \[1, 2\]"):
        read_sweep(written(tmp_path, text.replace("[3, 4]", "[3]")))


def test_an_axis_of_systems_says_what_each_point_begins_with(tmp_path):
    sweep = read_sweep(written(tmp_path, '[[axis]]\nname = "system"\nsystems = ["a", "b"]\n'))
    assert [(point.name, point.system) for point in sweep.points] == [("a", "a"), ("b", "b")]
    assert sweep.title == "sweep"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sweep]\n", "no axis"),
        ('[sweep]\ncolour = "red"\n[[axis]]\nname = "x"\nsystems = ["a"]\n', "found colour"),
        ('[[axis]]\nname = "x"\nsetting = "train.epochs"\nvalues = [1]\n', "expected one system a point"),
        ('[sweep]\nsystem = "a"\n[[axis]]\nname = "x"\nsetting = "train.epochs"\nvalues = []\n', "axis 'x'"),
        ('[sweep]\nsystem = "a"\n[[axis]]\nname = "x"\nsetting = "train.epochs"\nvalues = [1]\nsystems = ["a"]\n', "axis 'x'"),
        (
            '[sweep]\nsystem = "a"\n[[axis]]\nname = "x"\nsetting = "s.k"\nvalues = ["a b", "a_b"]\n',
            "two points are called 'a_b'",
        ),
        ('[sweep]\nsystem = "a"\n[[axis]]\nname = "x"\n[[axis.point]]\nname = "p"\nsets = {}\n', r"found \['sets'\]"),
        ('[sweep]\nsystem = "a"\nform = "cake"\n[[axis]]\nname = "x"\nsystems = ["a"]\n', "form = 'cake'"),
        ("[sweep\n", "not valid TOML"),
        ('[sweep]\nsystem = "a"\n[[axis]]\nname = "x"\nsetting = "s.k"\nvalues = 3\n', r"values = \[...\].*values = 3"),
        ('[axis]\nname = "x"\n', r"as \[\[axis\]\]; found \{'name': 'x'\}"),
        ('axis = ["x"]\n', r"as \[\[axis\]\]; found \['x'\]"),
        ('[sweep]\ncurves = "yes"\n[[axis]]\nname = "x"\nsystems = ["a"]\n', "curves = 'yes'; expected true or false"),
        (
            '[sweep]\nset = "train.epochs=2"\n[[axis]]\nname = "x"\nsystems = ["a"]\n',
            r"\[sweep\]: expected config = \[files\] and",
        ),
        ('[sweep]\nacross = ["y"]\n[[axis]]\nname = "x"\nsystems = ["a"]\n', "across = 'y'; expected one of 'x', 'lists'"),
        ('[[axis]]\nname = "lists"\nsystems = ["a"]\n', "different names, other than 'lists', found 'lists'"),
        ('[[axis]]\nname = "x"\nsystems = ["a"]\n[[axis]]\nname = "x"\nsetting = "s.k"\nvalues = [1]\n', "found 'x', 'x'"),
        ('[[axis]]\nname = "x"\nsystems = [".."]\n', r"a point is called '\.\.', which names no folder"),
        ('[[axis]]\nname = "x"\nsystems = ["summary"]\n', "a point is called 'summary', which names no folder"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message) as raised:
        read_sweep(written(tmp_path, text))
    assert "sweep.toml" in str(raised.value)


BOTH = '[sweep]\nsystem = "a"\nset = {{ "train.seed" = 3 }}\n[[axis]]\nname = "x"\n{first}[[axis]]\nname = "y"\n{second}'
EPOCHS = 'setting = "train.epochs"\nvalues = [1, 2]\n'


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (EPOCHS, EPOCHS, "the axis 'x' sets train.epochs, which the axis 'y' sets in every point"),
        (EPOCHS, 'setting = "train.seed"\nvalues = [1]\n', r"\[sweep\] sets train.seed, which the axis 'y' sets in every point"),
        (EPOCHS, '[[axis.point]]\nname = "p"\nset = { "train.epochs" = 3 }\n', "the axis 'x' sets train.epochs"),
    ],
)
def test_a_setting_that_has_no_effect_in_any_point_is_refused(tmp_path, first, second, message):
    with pytest.raises(RecipeError, match=message):
        read_sweep(written(tmp_path, BOTH.format(first=first, second=second)))


def test_a_point_may_differ_from_what_the_others_have(tmp_path):
    some = '[[axis.point]]\nname = "p"\n[[axis.point]]\nname = "q"\nset = { "train.seed" = 4 }\n'
    sweep = read_sweep(written(tmp_path, BOTH.format(first=EPOCHS, second=some)))
    assert [point.assignments for point in sweep.points[:2]] == [("train.epochs=1",), ("train.epochs=1", "train.seed=4")]


def test_the_command_line_may_not_set_what_an_axis_varies(tmp_path):
    (tmp_path / "cosine.toml").write_text('[score]\nnorm = "none"\n')
    sweep = read_sweep(written(tmp_path, GRID.replace("../cosine.toml", "cosine.toml")))
    check_overrides(sweep, ["train.epochs=1", "score.replicates=5"])
    for setting, axis in (("model.width=8", "width"), ("score.backend=dot", "scoring"), ("score.norm=s_norm", "scoring")):
        with pytest.raises(
            RecipeError, match=f"--set {setting.partition('=')[0]}: the axis '{axis}' of the sweep sweep varies it"
        ):
            check_overrides(sweep, [setting])


def test_a_missing_file_names_those_that_are_there(tmp_path):
    written(tmp_path, GRID, "widths.toml")
    with pytest.raises(RecipeError, match="there are: widths"):
        read_sweep(tmp_path / "width.toml")
