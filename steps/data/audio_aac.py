"""AAC and other sound in MPEG-4 files (.m4a, .mp4), and raw AAC (.aac), which libsndfile does not read.

They are decoded with torchcodec and the system's ffmpeg libraries, which decode one track of a file, and of a file that was
cut what is left. How long the sound is say the boxes of an MPEG-4 file, and of raw AAC its frames alone: ffmpeg guesses the
length of these from the bit rate of the first ones.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from steps.core.errors import RecipeError
from steps.data.audio_finding import Finding
from steps.data.audio_frames import AAC_FRAME, adts_frame, id3_bytes, scan
from steps.data.audio_mp4 import FIRST_BOXES, Mp4, read_mp4

SUFFIXES = frozenset({".m4a", ".aac", ".mp4"})
_OTHER_HEADS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b"NIST", b".snd", b"caff")
_SLACK = 0.1  # s that a whole MPEG-4 file may have less than its boxes say, or two frames: what an encoder needs to get going


class Decoded(NamedTuple):
    """A whole file."""

    samples_WC: np.ndarray  # float32 in +-1
    sampling_rate: int  # Hz


class AacError(Exception):
    """Why a file cannot be decoded, without its name."""


def is_aac(suffix: str, head: bytes) -> bool:
    """Return whether a file is read with ffmpeg, by its suffix (lower case) and its first 12 bytes."""
    return head[4:8] == b"ftyp" or (suffix in SUFFIXES and not head.startswith(_OTHER_HEADS))


def check_length(path: Path, num_samples: int, sampling_rate: int) -> Finding:
    """Return what the boxes or frames of a file say of its length, if so many samples of it could be decoded."""
    with open(path, "rb") as file:
        is_boxes = file.read(12)[4:8] in FIRST_BOXES
    finding, seconds = read_mp4(path) if is_boxes else _raw(path.read_bytes())
    there, two_frames = num_samples / sampling_rate, 2 * AAC_FRAME / sampling_rate
    if finding.problem or seconds is None or there >= seconds - (max(_SLACK, two_frames) if is_boxes else two_frames):
        return finding
    return Finding(f"is cut short: {seconds:.2f} s announced, {there:.2f} s there")


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
        decoded = AudioDecoder(str(path)).get_all_samples()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise AacError(f"cannot be decoded ({_plain(str(error), path)})") from None
    samples_WC = decoded.data.numpy().T.astype(np.float32, copy=False)
    return Decoded(samples_WC, int(decoded.sample_rate))


def _raw(content: bytes) -> Mp4:
    """What the frames of raw AAC say."""
    frames = scan(content, adts_frame)
    if frames is None:
        begin = content[id3_bytes(content[:10]) :][:4]
        return Mp4(Finding(f"has neither boxes of MPEG-4 nor frames of AAC (ADTS), but begins with {begin!r}; convert it"))
    return Mp4(Finding("" if frames.is_whole else "is cut short: its last AAC frame is not whole"), frames.seconds)


def _plain(message: str, path: Path) -> str:
    """The first line of a message of torchcodec, without its own source files and the name of the file."""
    line = (message.splitlines() or ["no reason given"])[0].replace(str(path), "").strip()
    return line.rpartition(".cpp:")[2].partition(", ")[2] or line
