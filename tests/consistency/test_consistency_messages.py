"""What messages advise can be typed: settings as `--set section.key=value`, and those that there are."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from steps import check, transcode
from steps.core import config
from steps.core.config import IfGiven

REPOSITORY = Path(__file__).parents[2]
FILES = [path for top in ("steps", "local") for path in sorted((REPOSITORY / top).rglob("*.py"))]
SECTIONS = "|".join(config.SECTIONS)
# "set prepare.x", and "or prepare.x = y" behind a semicolon, where advice stands
OLD = re.compile(rf"(?<!--)\bset (?:{SECTIONS})\.[a-z_]+|;[^;]* (?:set|or|and|add) (?:{SECTIONS})\.[a-z_]+ = ")
TYPED = re.compile(rf"--set ({SECTIONS})\.(\w+)=")


def _named(path):
    return path.relative_to(REPOSITORY).as_posix()


def _docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            yield node.body[0].value


def _texts(source):
    """(line, text) of each string that is no docstring; what is filled into it is {}."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    passed_over = parts | {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield node.lineno, node.value


def _known_settings():
    found = set()
    for stage in (*check.EVERY_STAGE, transcode.STAGE):
        for name, kind in stage.sections.items():
            kind = kind.kind if isinstance(kind, IfGiven) else kind
            kinds = kind.values() if isinstance(kind, dict) else [kind]
            found |= {(name, field.name) for each in kinds for field in dataclasses.fields(each)}
    return found


@pytest.mark.parametrize("path", FILES, ids=_named)
def test_a_message_says_the_option_to_type(path):
    found = [f"line {line}: {OLD.search(text)[0]}" for line, text in _texts(path.read_text("utf-8")) if OLD.search(text)]
    assert not found


def test_settings_that_messages_advise_are_there():
    known = _known_settings()
    for path in FILES:
        for line, text in _texts(path.read_text("utf-8")):
            for section, key in TYPED.findall(text):
                assert section == "site" or (section, key) in known, f"{_named(path)}:{line}: --set {section}.{key}"


def test_the_check_finds_what_it_looks_for():
    source = '"""set train.x: a docstring."""\na = f"{b}: wrong; set train.device = {c}"\nd = "x; do, or train.x = 1; e"\n'
    assert [(line, OLD.search(text)[0]) for line, text in _texts(source)] == [
        (2, "; set train.device = "),
        (3, "; do, or train.x = "),
    ]
    assert not OLD.search("x; add --set train.device=cpu")
    assert not OLD.search("train.x = 1 and train.y = 2: expected one")
    assert TYPED.findall("add --set train.device=cpu") == [("train", "device")]
    assert ("prepare", "few_utterances") in _known_settings()
