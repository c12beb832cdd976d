"""Files and functions stay small, and public ones say what they return."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MAX_FILE = 400  # lines
MAX_FUNCTION = 80  # lines, docstring and decorators included
FILES = [path for top in ("steps", "local", "tests", "benchmarks") for path in sorted((REPOSITORY / top).rglob("*.py"))]
LIBRARY = [path for path in FILES if path.relative_to(REPOSITORY).parts[0] in ("steps", "local")]


def _named(path):
    return path.relative_to(REPOSITORY).as_posix()


def _undocumented(tree):
    """Public functions, classes and methods without a docstring; a method that another class announced needs none."""
    found = []
    for scope in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]:
        for node in scope.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            known = scope is not tree and (node.name in ("forward", "fit", "transform", "score") or scope.bases)
            if ast.get_docstring(node) is None and not known:
                found.append(f"{node.name} (line {node.lineno})")
    return found


@pytest.mark.parametrize("path", FILES, ids=_named)
def test_a_file_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE


@pytest.mark.parametrize("path", FILES, ids=_named)
def test_functions_are_short(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} (line {node.lineno}) has {length} lines"


@pytest.mark.parametrize("path", LIBRARY, ids=_named)
def test_public_things_are_documented(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree), "the module says nothing of itself"
    assert not _undocumented(tree)


def test_the_check_finds_what_is_undocumented():
    source = 'def a():\n    """A."""\ndef b(): pass\ndef _c(): pass\nclass D:\n    """D."""\n    def e(self): pass\n'
    assert _undocumented(ast.parse(source)) == ["b (line 3)", "e (line 7)"]
