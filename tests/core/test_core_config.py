"""Settings: what is accepted, what is refused, and that each refusal names the file that said it."""

import math
import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core import config
from steps.core.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class _Train:
    epochs: int
    learning_rate: float = 0.1
    name: str = "sgd"
    compile: bool = False
    priors: tuple[float, ...] = (0.01,)
    sets: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    counts: dict[str, int] | str = ""
    workers: int = config.field(1, decides=False)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs: expected at least 1, found {self.epochs}")


@dataclass(frozen=True, kw_only=True)
class _Fbank:
    type: str = "fbank"
    num_bins: int = 80


@dataclass(frozen=True, kw_only=True)
class _Mfcc:
    type: str = "mfcc"
    num_ceps: int = 30


FEATURES = {"fbank": _Fbank, "mfcc": _Mfcc}


def _file(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _train(folder, text, *assignments):
    layers = config.load_layers([_file(folder, "system.toml", f"[train]\n{text}")], assignments)
    return config.build("train", _Train, layers)


def _refusal(call, *arguments):
    with pytest.raises(RecipeError) as caught:
        call(*arguments)
    return str(caught.value)


def test_values_arrive_with_their_types(tmp_path):
    text = 'epochs = 3\nlearning_rate = 1e-3\ncompile = true\npriors = [1, 0.5]\nsets = ["0123", "no"]\ncounts = {a = 2}'
    built = _train(tmp_path, text)
    assert built == _Train(epochs=3, learning_rate=0.001, compile=True, priors=(1.0, 0.5), sets=("0123", "no"), counts={"a": 2})
    assert all(type(prior) is float for prior in built.priors)


def test_an_unknown_section_names_file_and_nearest(tmp_path):
    message = _refusal(config.load_layers, [_file(tmp_path, "s.toml", "[trian]\nepochs = 1\n")])
    assert "s.toml" in message
    assert "[trian]" in message
    assert "did you mean train?" in message


def test_an_unknown_key_names_file_and_nearest(tmp_path):
    message = _refusal(_train, tmp_path, "epochs = 1\nlearning_rat = 0.1")
    assert "system.toml" in message
    assert "train.learning_rat" in message
    assert "did you mean learning_rate?" in message


def test_a_key_outside_a_section_is_refused(tmp_path):
    message = _refusal(config.load_layers, [_file(tmp_path, "s.toml", "train = 5\n")])
    assert "s.toml" in message
    assert "[train]" in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('epochs = "3"', "expected int"),
        ("epochs = 3.0", "expected int"),
        ("epochs = true", "expected int"),
        ("learning_rate = true", "expected float"),
        ("learning_rate = nan", "expected a finite number"),
        ("priors = [0.1, inf]", "expected a finite number"),
        ("name = 5", "expected str"),
        ("compile = 1", "expected bool"),
        ("priors = 0.5", "expected a list (tuple[float, ...]), as in --set 'train.priors=[0.5]'"),
        ('sets = "a"', "as in --set 'train.sets=[\"a\"]'"),
        ('priors = ["a"]', "expected float"),
        ("sets = [1]", "expected str"),
        ('kind = "c"', "expected one of a, b"),
        ("counts = {a = 1.5}", "expected dict[str, int] | str"),
        ("name = 2020-01-01", "expected str"),
    ],
)
def test_a_wrong_type_is_refused_naming_file_and_key(tmp_path, line, expected):
    message = _refusal(_train, tmp_path, line if line.startswith("epochs") else f"epochs = 1\n{line}")
    assert "system.toml" in message
    assert f"train.{line.split()[0]}" in message
    assert expected in message


def test_a_missing_value_is_refused(tmp_path):
    message = _refusal(_train, tmp_path, "learning_rate = 0.1")
    assert "[train]" in message
    assert "epochs" in message


def test_a_failed_check_between_fields_names_where_values_came_from(tmp_path):
    message = _refusal(_train, tmp_path, "epochs = 1", "train.epochs=0")
    assert "expected at least 1, found 0" in message
    assert "--set train.epochs=0" in message


def test_the_origin_of_a_bad_value_is_the_base_that_said_it(tmp_path):
    _file(tmp_path, "conf/base.toml", "[train]\nepochs = 1\nnmae = 'x'\n")
    system = _file(tmp_path, "recipes/system.toml", "base = ['../conf/base.toml']\n[train]\nlearning_rate = 0.5\n")
    message = _refusal(lambda: config.build("train", _Train, config.load_layers([system])))
    assert "base.toml" in message
    assert "system.toml" not in message


def test_later_layers_win_key_by_key(tmp_path):
    _file(tmp_path, "a.toml", "[train]\nepochs = 1\nname = 'a'\nlearning_rate = 0.1\n")
    _file(tmp_path, "b.toml", "base = ['a.toml']\n[train]\nname = 'b'\nlearning_rate = 0.2\n")
    system = _file(tmp_path, "c.toml", "base = ['a.toml', 'b.toml']\n[train]\nlearning_rate = 0.3\n")
    built = config.build("train", _Train, config.load_layers([system], ["train.learning_rate=0.4"]))
    assert (built.epochs, built.name, built.learning_rate) == (1, "b", 0.4)


@pytest.mark.parametrize("bases", [("b.toml", "a.toml"), ("../{here}/b.toml", "../{here}/a.toml"), ("b.toml", "b.toml")])
def test_a_file_that_is_its_own_base_is_refused(tmp_path, bases):
    first, second = (base.format(here=tmp_path.name) for base in bases)
    system = _file(tmp_path, "a.toml", f"base = ['{first}']\n")
    _file(tmp_path, "b.toml", f"base = ['{second}']\n")
    assert "is its own base" in _refusal(config.load_layers, [system])


def test_a_missing_base_names_who_wants_it_and_what_there_is(tmp_path):
    system = _file(tmp_path, "a.toml", "base = ['fbank8.toml']\n")
    _file(tmp_path, "fbank80.toml", "")
    message = _refusal(config.load_layers, [system])
    assert "fbank8.toml: no such settings file" in message
    assert "a.toml" in message
    assert "fbank80" in message


@pytest.mark.parametrize("text", ["[train\n", "a = 1\na = 2\n", "base = 'x.toml'\n", "base = [1]\n"])
def test_a_damaged_file_is_refused_by_name(tmp_path, text):
    assert "a.toml" in _refusal(config.load_layers, [_file(tmp_path, "a.toml", text)])


def test_a_file_of_another_encoding_or_a_folder_is_refused(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes("[train]\nname = 'é'\n".encode("latin-1"))
    assert "a.toml" in _refusal(config.load_layers, [path])
    (tmp_path / "b.toml").mkdir()
    assert "b.toml" in _refusal(config.load_layers, [tmp_path / "b.toml"])


def test_another_type_starts_the_section_afresh(tmp_path):
    _file(tmp_path, "a.toml", "[features]\ntype = 'fbank'\nnum_bins = 40\n")
    other = _file(tmp_path, "b.toml", "base = ['a.toml']\n[features]\ntype = 'mfcc'\nnum_ceps = 20\n")
    same = _file(tmp_path, "c.toml", "base = ['a.toml']\n[features]\ntype = 'fbank'\n")
    assert config.build("features", FEATURES, config.load_layers([other])) == _Mfcc(num_ceps=20)
    assert config.build("features", FEATURES, config.load_layers([same])) == _Fbank(num_bins=40)


@pytest.mark.parametrize("text", ["type = 'fbnk'", "type = ['fbank']", "type = 1", "num_bins = 3"])
def test_a_wrong_or_missing_type_lists_those_there_are(tmp_path, text):
    layers = config.load_layers([_file(tmp_path, "a.toml", f"[features]\n{text}\n")])
    message = _refusal(config.build, "features", FEATURES, layers)
    assert "fbank, mfcc" in message


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.name=plda", {"name": "plda"}),
        ("train.name = plda", {"name": "plda"}),
        ('train.name="5"', {"name": "5"}),
        ("train.name=/a path/b#c=d", {"name": "/a path/b#c=d"}),
        ("train.name=", {"name": ""}),
        ("train.compile=true", {"compile": True}),
        ("train.learning_rate=1e-3", {"learning_rate": 0.001}),
        ("train.priors=[0.5, 1]", {"priors": (0.5, 1.0)}),
        ('train.sets=["a", "b"]', {"sets": ("a", "b")}),
        ("train.sets=[]", {"sets": ()}),
        ("train.counts={a = 1}", {"counts": {"a": 1}}),
    ],
)
def test_assignments_are_toml_values_or_bare_words(tmp_path, assignment, expected):
    assert _train(tmp_path, "epochs = 1", assignment) == _Train(epochs=1, **expected)


@pytest.mark.parametrize("assignment", ["train.epochs", "epochs=5", ".epochs=5", "train.=5", "=5", ""])
def test_a_malformed_assignment_is_refused_with_an_example(tmp_path, assignment):
    message = _refusal(_train, tmp_path, "epochs = 1", assignment)
    assert f"--set {assignment}" in message
    assert "train.epochs=5" in message


def test_a_bad_assignment_is_named_as_the_option(tmp_path):
    assert "--set train.epohcs=5: unknown setting" in _refusal(_train, tmp_path, "epochs = 1", "train.epohcs=5")
    assert "--set train.epochs=five" in _refusal(_train, tmp_path, "epochs = 1", "train.epochs=five")


def test_marked_fields_do_not_decide():
    assert "workers" not in config.deciding(_Train(epochs=1))
    assert config.deciding(_Train(epochs=1, workers=8)) == config.deciding(_Train(epochs=1))
    assert config.deciding(_Train(epochs=1, priors=(0.1, 0.2)))["priors"] == [0.1, 0.2]


@given(
    st.fixed_dictionaries(
        {
            "epochs": st.integers(1, 2**62),
            "learning_rate": st.floats(allow_nan=False, allow_infinity=False),
            "name": st.text(st.characters(exclude_categories=["Cs"])),
            "compile": st.booleans(),
            "priors": st.tuples(st.floats(0, 1), st.floats(0, 1)),
            "sets": st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
        }
    )
)
def test_settings_survive_being_written_as_toml(values):
    settings = _Train(**values)
    layers = config.Layers()
    layers.merge(tomllib.loads(config.to_toml({"train": config.deciding(settings)})), "text")
    assert config.build("train", _Train, layers) == settings


@pytest.mark.parametrize("text", ["\x7f", "\r", '"', "\\", "\\n", "\x00", "é\u2028", "a\tb\nc", "'''", '"""'])
def test_odd_strings_survive_being_written_as_toml(text):
    assert tomllib.loads(config.to_toml({"a": {"b": text, "c": [text], "d": {text: text}}})) == {
        "a": {"b": text, "c": [text], "d": {text: text}}
    }


def test_numbers_survive_being_written_as_toml():
    numbers = [1e16, 1e-5, 5e-324, 0.1, -0.0, 10**18, math.pi]
    read = tomllib.loads(config.to_toml({"a": {"b": numbers}}))["a"]["b"]
    assert read == numbers
    assert [type(x) for x in read] == [type(x) for x in numbers]
