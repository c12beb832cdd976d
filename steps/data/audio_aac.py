"""AAC (.m4a, .aac, .mp4), which libsndfile does not read: with torchcodec and the system's ffmpeg libraries."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from steps.core.errors import RecipeError

SUFFIXES = frozenset({".m4a", ".aac", ".mp4"})
_OTHER_HEADS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"NIST")  # of files that have one of these suffixes wrongly


class Decoded(NamedTuple):
    """A whole file."""

    samples_WC: np.ndarray  # float32 in +-1
    sampling_rate: int  # Hz
    announced: float  # s, by the header; 0 = it does not say


class AacError(Exception):
    """Why a file cannot be decoded, without its name."""


def is_aac(suffix: str, head: bytes) -> bool:
    """Return whether a file is read with ffmpeg, by its suffix (lower case) and its first 12 bytes."""
    return head[4:8] == b"ftyp" or (suffix in SUFFIXES and not head.startswith(_OTHER_HEADS))


def decode(path: Path) -> Decoded:
    """Return all samples of a file.

    Raises:
        RecipeError: torchcodec or ffmpeg is not there.
        AacError: the file cannot be decoded.
    """
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, RuntimeError, OSError):
        # torchcodec's own message is a page for each version of ffmpeg that it did not find.
        raise RecipeError(
            f"{path}: {path.suffix} files need the Python package torchcodec and the system's ffmpeg libraries "
            "(version 4 to 8), which cannot be loaded; install them (Debian: apt-get install ffmpeg), or convert the "
            "corpus to FLAC once: ffmpeg -i in.m4a out.flac"
        ) from None
    try:
        decoder = AudioDecoder(str(path))
        decoded = decoder.get_all_samples()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise AacError(f"cannot be decoded ({_plain(str(error), path)})") from None
    samples_WC = decoded.data.numpy().T.astype(np.float32, copy=False)
    return Decoded(samples_WC, int(decoded.sample_rate), float(decoder.metadata.duration_seconds_from_header or 0.0))


def _plain(message: str, path: Path) -> str:
    """The first line of a message of torchcodec, without its own source files and the name of the file."""
    line = (message.splitlines() or ["no reason given"])[0].replace(str(path), "").strip()
    return line.rpartition(".cpp:")[2].partition(", ")[2] or line
