"""A reader of Kaldi arks for lhotse, for those who have not installed kaldi_native_io."""

import re

import kaldiio
import numpy as np
from lhotse.features.io import FeaturesReader, register_reader


def use_kaldiio_in_lhotse() -> None:
    """Let lhotse, in this process, read storage type "kaldiio" (`<ark>:<offset>` as path) with the package kaldiio.

    lhotse's own reader of that name imports kaldi_native_io, whatever its name says. The manifests fit both.
    """
    register_reader(_KaldiioReader)


class _KaldiioReader(FeaturesReader):
    name = "kaldiio"

    def __init__(self, storage_path: str) -> None:
        self.storage_path = str(storage_path)

    def read(self, key: str, left_offset_frames: int = 0, right_offset_frames: int | None = None) -> np.ndarray:
        # Kaldi and kaldiio run a name with a pipe at either end as a command of the shell, also before [rows] or :offset; a
        # manifest from elsewhere could hold any.
        if not re.fullmatch(r"[^|]+:\d+", self.storage_path):
            raise ValueError(
                f"storage_path {self.storage_path!r}: expected <ark>:<offset>, found a pipe, which is not run here, or no offset"
            )
        return kaldiio.load_mat(self.storage_path)[left_offset_frames:right_offset_frames]
