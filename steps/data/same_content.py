"""Utterances whose recordings are equal to the last bit: lines `<utterance id> <utterance id> ...` of manifests/same_content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from steps.core.files import atomic_write
from steps.data.list_sides import NONE
from steps.data.manifests import Utterances

FILE = "same_content"


def write_groups(manifests: Path, groups: Iterable[Sequence[str]]) -> None:
    """Write a line for each group of ids, sorted; no file if there are none."""
    lines = sorted(" ".join(sorted(group)) + "\n" for group in groups)
    if lines:
        with atomic_write(manifests / FILE) as file:
            file.writelines(lines)


def read_groups(manifests: Path) -> list[list[str]]:
    """Return the groups of ids; none where there is no file."""
    path = manifests / FILE
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def content_codes(groups: Iterable[Sequence[str]], utterances: Utterances) -> np.ndarray:
    """Return the number of the group of each utterance, [N]; NONE for those that are equal to no other."""
    code_N = np.full(len(utterances), NONE, dtype=np.int64)
    for code, group in enumerate(groups):
        rows = [row for row in map(utterances.ids.find, group) if row >= 0]
        code_N[rows] = code
    return code_N
