"""Parts of audio files: what is wrong with each, found out while the file is decoded once."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from steps.core.errors import RecipeError
from steps.data.audio import MONO, AudioInfo, Inspection, audio_blocks, inspect_audio, read_audio
from steps.data.audio_levels import Levels

_MOST_ROUNDED = 0.005  # s: lists hold times in hundredths of a second
_COMPRESSED = frozenset({".mp3", ".ogg", ".opus", ".m4a", ".aac", ".mp4"})  # in which no place is found without decoding
_MOST_KEPT = 1 << 26  # bytes of such a file: an hour of MP3
_NUM_DIGITS = 6  # behind the point, of a time that is looked at for how it was rounded


class Part(NamedTuple):
    """A stretch of a file, on one channel."""

    start: float  # s
    end: float  # s; 0 = that of the file
    channel: int  # 0 = the first; MONO = the only one


def inspect_parts(path: Path | str, parts: Sequence[Part], *, decode: bool = True) -> list[Inspection]:
    """Return for each part what `inspect_audio` returns for a file: its own samples decide, and its file as a whole.

    An end may lie beyond that of the file by as much as it was rounded (half a unit of its last digit, 5 ms at most), or by one
    sample; the part ends with the file then. What lies further beyond is a problem. What is to be said of the file is said once,
    with its first part.
    """
    # What an MP3 holds is known once it is decoded; other headers say it.
    whole = inspect_audio(path, decode=False, channel=0)
    if whole.info is None or whole.problem:
        return [whole] * len(parts)
    try:
        levels, num_there = _heard(path, parts, whole.info) if decode else ([None] * len(parts), whole.info.num_samples)
    except RecipeError:  # it cannot be decoded: the same is found of the whole file, in words for a list of problems
        return [inspect_audio(path, channel=0)] * len(parts)
    found = [_judged(part, whole, num_there, heard) for part, heard in zip(parts, levels, strict=True)]
    found[0] = found[0]._replace(remark="; ".join(filter(None, (whole.remark, found[0].remark))))
    if decode and num_there < whole.info.num_samples and not _is_mpeg(path):
        cut = f"is cut short: {whole.info.num_samples} samples announced, {num_there} there"
        return [each._replace(problem=cut) for each in found]
    return found


def extent(part: Part, sampling_rate: int, num_samples: int) -> tuple[int, int]:
    """Return (first sample, number of samples) of a part of a file with so many."""
    first = round(part.start * sampling_rate)
    last = min(round(part.end * sampling_rate), num_samples) if part.end else num_samples
    return first, max(0, last - first)


def read_part(path: Path | str, start_sample: int, num_samples: int, channel: int) -> tuple[np.ndarray, int]:
    """Return what `read_audio` returns; a compressed recording is kept in memory until another one is read.

    Raises:
        RecipeError: as `read_audio`.
    """
    path = Path(path)
    if path.suffix.lower() not in _COMPRESSED or not path.is_file() or path.stat().st_size > _MOST_KEPT:
        return read_audio(path, start_sample, num_samples, channel)
    samples_W, sampling_rate = _kept(path, path.stat().st_mtime_ns, channel)
    if start_sample + num_samples > len(samples_W):
        return read_audio(path, start_sample, num_samples, channel)  # which says what is wrong
    return samples_W[start_sample : start_sample + num_samples].copy(), sampling_rate


@lru_cache(maxsize=1)
def _kept(path: Path, time: int, channel: int) -> tuple[np.ndarray, int]:
    """Return all of a recording; its time is an argument so that a rewritten file is read again."""
    return read_audio(path, channel=channel)


def _heard(path: Path | str, parts: Sequence[Part], info: AudioInfo) -> tuple[list[Levels], int]:
    """Return the levels of each part, and how many samples the file has."""
    levels, place = [Levels() for _ in parts], 0
    bounds = [_bounds(part, info.sampling_rate) for part in parts]
    for samples_WC in audio_blocks(path):
        for part, (first, last), heard in zip(parts, bounds, levels, strict=True):
            begin, end = max(first - place, 0), min(last - place, len(samples_WC))
            if begin < end and max(part.channel, 0) < samples_WC.shape[1]:
                heard.add(samples_WC[int(begin) : int(end), max(part.channel, 0)].copy())
        place += len(samples_WC)
    return levels, place


def _bounds(part: Part, sampling_rate: int) -> tuple[float, float]:
    return round(part.start * sampling_rate), round(part.end * sampling_rate) if part.end else math.inf


def _judged(part: Part, whole: Inspection, num_there: int, levels: Levels | None) -> Inspection:
    rate, num_channels = whole.info.sampling_rate, whole.info.num_channels
    _, num_samples = extent(part, rate, num_there)
    info = replace(whole.info, num_samples=num_samples)
    length = num_there / rate
    problem = ""
    if part.channel == MONO and num_channels != 1:
        problem = f"has {num_channels} channels, expected one"
    elif part.channel >= num_channels:
        problem = f"has {num_channels} channels, and channel {part.channel + 1} is asked for"
    elif part.end > length + _slack(part.end, rate):
        problem = f"ends too early for a part: the part ends at {part.end:g} s, the file at {length:g} s"
    elif num_samples == 0 and round(part.start * rate) < num_there:
        problem = f"has no sample from {part.start:g} s to {part.end:g} s"
    elif num_samples == 0:
        problem = f"ends too early for a part: the part begins at {part.start:g} s, the file ends at {length:g} s"
    elif levels is not None and levels.problem:
        problem = f"{levels.problem} from {part.start:g} s to {part.end or length:g} s"
    return Inspection(info, problem, "" if problem or levels is None else "; ".join(levels.remarks))


def _slack(end: float, sampling_rate: int) -> float:
    """Return by how much (s) an end may lie behind that of the file, as it was rounded."""
    digits = len(f"{end:.{_NUM_DIGITS}f}".rstrip("0").partition(".")[2])
    return max(min(0.5 * 10.0**-digits, _MOST_ROUNDED), 1 / sampling_rate) + 1e-9


def _is_mpeg(path: Path | str) -> bool:
    return Path(path).suffix.lower() in (".mp3", ".mp2")
