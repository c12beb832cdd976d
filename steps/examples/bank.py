"""Sounds to augment with, as `steps.signal.policy` asks for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.data.archive import Archive
from steps.examples.recordings import Sounds

KINDS = ("speech", "noise", "music", "rir", "babble")
SHARES = "shares"  # file beside the sounds of a kind, lines `<id> <share of the draws>`


def read_cumulative_shares(folder: Path, ids: Sequence[str]) -> np.ndarray | None:
    """Up to which number from 0 to 1 a draw is each of the sounds `[N]`, by `<folder>/shares`; None: all are equally likely.

    Raises:
        RecipeError: the file does not have a share over 0 of each of the sounds, and of no other.
    """
    path = folder / SHARES
    if not path.is_file():
        return None
    found = dict(line.rpartition(" ")[::2] for line in path.read_text(encoding="utf-8").splitlines())
    if found.keys() != set(ids) or not all(float(value) > 0 for value in found.values()):
        raise RecipeError(f"{path}: expected a share over 0 of each of the {len(ids)} sounds there; run stages 1 and 3 again")
    ends_N = np.cumsum([float(found[name]) for name in ids])
    return ends_N / ends_N[-1]


class ArchiveBank:
    """A bank of 16-bit wav arks on disk (the output of stage 3 in mode online), read crop by crop.

    Args:
        folder: of the bank.
        speech: where the speech is, if not there.
    """

    def __init__(self, folder: Path, speech: Sounds | None = None) -> None:
        self.archives: dict[str, Archive | Sounds] = {
            kind: Archive(folder / kind) for kind in KINDS if (folder / kind).is_dir()
        } | ({} if speech is None else {"speech": speech})
        self.ids = {kind: archive.ids for kind, archive in self.archives.items()}
        self.shares = {kind: read_cumulative_shares(folder / kind, ids) for kind, ids in self.ids.items()}

    def num(self, kind: str) -> int:
        """The number of sounds of a kind."""
        return len(self.ids.get(kind, ()))

    def length(self, kind: str, index: int) -> int:
        """Samples of a sound."""
        return self.archives[kind].num_rows(self.ids[kind][index])

    def get(self, kind: str, index: int, start: int, num_samples: int) -> np.ndarray:
        """`num_samples` float32 samples in +-1 from `start` on."""
        rows = self.archives[kind].load_rows(self.ids[kind][index], start, num_samples)
        return np.asarray(rows, dtype=np.float32) / 32768.0

    def cumulative_shares(self, kind: str) -> np.ndarray | None:
        """Up to which number from 0 to 1 a draw is each sound `[N]`; None: all are equally likely."""
        return self.shares.get(kind)
