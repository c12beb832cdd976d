"""Sounds to augment with, as `steps.signal.policy` asks for them."""

from pathlib import Path

import numpy as np

from steps.data.archive import Archive

KINDS = ("speech", "noise", "music", "rir")


class ArchiveBank:
    """A bank of 16-bit wav arks on disk (the output of stage 3 in mode online), read crop by crop."""

    def __init__(self, folder: Path) -> None:
        self.archives = {kind: Archive(folder / kind) for kind in KINDS if (folder / kind).is_dir()}
        self.ids = {kind: archive.ids for kind, archive in self.archives.items()}

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
