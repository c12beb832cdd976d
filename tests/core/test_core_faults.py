"""Claims about faults that are told together: one message, and a command line that a shell reads as it is meant."""

import shlex

import pytest

from steps.core import config, faults
from steps.core.errors import RecipeError
from steps.core.faults import COMMAND, Faults, command_with


def typed(*words: str) -> str:
    return "\x1f".join(words)


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("first", "--set prepare.x=first"),
        ("", "--set prepare.x="),
        (0.05, "--set prepare.x=0.05"),
        (True, "--set prepare.x=true"),
        ("true", "--set 'prepare.x=\"true\"'"),
        ("7", "--set 'prepare.x=\"7\"'"),
        ("a b.txt;c.txt", "--set 'prepare.x=a b.txt;c.txt'"),
        (" a", "--set 'prepare.x=\" a\"'"),
        (["balanced", "it's"], None),
        ({"a": "b"}, None),
        ('"', None),
        ("#", None),
        ("a\nb", None),
    ],
)
def test_an_option_is_read_back_as_it_was(value, option):
    text = config.option("prepare.x", value)
    assert option is None or text == option
    first, assignment = shlex.split(text)
    assert first == "--set"
    assert config.load_layers([], [assignment]).tables == {"prepare": {"x": value}}


def test_the_command_is_what_was_typed_with_the_settings_behind_it(monkeypatch):
    repairs = [("prepare.channel", "first"), ("prepare.max_bad", 0.05)]
    monkeypatch.delenv(COMMAND, raising=False)
    assert command_with(repairs) == "--set prepare.channel=first --set prepare.max_bad=0.05"
    words = ("./run.sh", "--data", "my speech", "--set", "prepare.max_bad=0.01", "--set=prepare.channel=mono", "--set", "a.b=1")
    monkeypatch.setenv(COMMAND, typed(*words))
    kept = "./run.sh --data 'my speech' --set a.b=1"
    assert command_with(repairs) == f"{kept} --set prepare.channel=first --set prepare.max_bad=0.05"
    monkeypatch.setenv(COMMAND, "./run.sh")
    assert command_with(repairs[:1]) == "./run.sh --set prepare.channel=first"


def collect(*errors: RecipeError) -> Faults:
    found = Faults("corpus")
    for error in errors:
        with found.collected():
            raise error
    return found


def test_faults_are_told_together_with_what_repairs_them(monkeypatch):
    monkeypatch.setenv(COMMAND, "./run.sh")
    Faults("corpus").check()
    one, other = (RecipeError(name, repairs=[(f"prepare.{name}", 1)]) for name in ("a", "b"))
    with pytest.raises(RecipeError) as caught:
        collect(one, other).check()
    assert str(caught.value) == (
        "corpus: 2 faults\n  1. a\n  2. b\nthis repairs all of it, and goes on with what is finished:\n"
        "    ./run.sh --set prepare.a=1 --set prepare.b=1"
    )
    assert dict(caught.value.repairs) == {"prepare.a": 1, "prepare.b": 1}
    with pytest.raises(
        RecipeError, match=r"^a\nthis repairs it, and goes on with what is finished:\n    \./run.sh --set prepare.a=1$"
    ):
        collect(one).check()
    with pytest.raises(RecipeError, match="^by hand$"):
        collect(RecipeError("by hand")).check()
    with pytest.raises(RecipeError, match="no setting repairs 2: change the files or lists; this repairs the others"):
        collect(one, RecipeError("by hand"), other).check()


def test_what_is_no_recipe_error_is_not_collected():
    with pytest.raises(ValueError, match="a bug"), faults.Faults("corpus").collected():
        raise ValueError("a bug")
