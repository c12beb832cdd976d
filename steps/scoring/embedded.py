"""The embeddings of a set, as back ends take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from steps.backend.items import Items
from steps.backend.windows import Windows
from steps.core.errors import RecipeError
from steps.data.archive import read_embeddings, read_windows
from steps.data.manifests import Utterance, read_set


@dataclass(frozen=True, eq=False)
class Embedded:
    """Utterances of a set with their embeddings, in the order of their ids."""

    ids: list[str]
    items: Items

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each utterance."""
        return {name: row for row, name in enumerate(self.ids)}

    def vectors(self) -> np.ndarray:
        """Return one embedding an utterance, [N, D]."""
        return self.items.vectors()

    def part(self, rows: np.ndarray) -> Embedded:
        """Return some of the utterances."""
        return Embedded([self.ids[row] for row in rows.tolist()], self.items.joined([np.array([row]) for row in rows]))


def read_embedded(folder: Path, *, windows: bool) -> Embedded:
    """Return the embeddings of a set's folder; where windows are compared, these too.

    Raises:
        RecipeError: as `read_embeddings`; or windows are to be compared, and no utterance has two.
    """
    if not windows:
        ids, matrix_ND = read_embeddings(folder)
        return Embedded(ids, Items.single(matrix_ND))
    ids, rows_RD, start_N1 = read_windows(folder)
    found = Windows(rows_RD, start_N1)
    if len(rows_RD) == len(ids):
        raise RecipeError(
            f"{folder}: every utterance has one embedding, but score.backend or score.learned_linkage compares windows; "
            "add --set embed.window=SECONDS (and --set embed.hop=SECONDS), and run stage 5 (embed) again"
        )
    return Embedded(ids, Items.single(found.means(), found))


def utterances(manifests: Path, set_name: str, ids: Iterable[str]) -> list[Utterance]:
    """Return what the manifests say of utterances of a set, in the order of the ids.

    Raises:
        RecipeError: an utterance that the manifests do not hold.
    """
    known = {utterance.id: utterance for utterance in read_set(manifests, set_name)}
    try:
        return [known[name] for name in ids]
    except KeyError as error:
        raise RecipeError(
            f"{manifests / set_name}: no utterance {error}, which has an embedding; run stages 1, 2 and 5"
        ) from None


def durations(manifests: Path, set_name: str, ids: Iterable[str]) -> np.ndarray:
    """Return the length in seconds of each utterance of a set. Raises RecipeError as `utterances`."""
    return np.array([utterance.duration for utterance in utterances(manifests, set_name, ids)])
