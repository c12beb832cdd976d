"""What the header of an audio file announces, against the bytes that are there.

libsndfile believes in the file's end rather than in the header: a file that was cut short is read as a shorter one, and of
several streams in a file only the first is read, without a word. These functions look at the containers themselves.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from steps.data import audio_chunks
from steps.data.audio_finding import Finding, bytes_behind, compared, stands_for_unknown
from steps.data.audio_flac import flac_problem
from steps.data.audio_frames import check_mp3, id3_bytes, mp3_frame, scan
from steps.data.audio_ogg import ogg

_WAVE64 = b"riff\x2e\x91\xcf\x11"
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding
_MOST_SPHERE_BYTES = 1 << 16  # of a header, which mostly has 1,024


def check_length(path: Path, *, is_mpeg: bool = False) -> Finding | None:
    """Return what is to be said of the length that a file announces; None of a container that is not known here.

    Args:
        path: the file.
        is_mpeg: whether it is known to hold MPEG audio, whose first frame may stand anywhere.

    Known: WAV, RF64, Wave64, AIFF, AU, CAF, SPHERE, FLAC, Ogg and MPEG audio. Nothing is decoded; of the last three all of the
    file is read, as only its pages and frames tell how long it is.

    Source: see `audio_chunks`, `audio_flac`, `audio_frames` and `audio_ogg`; AU as in Sun's audio(4), SPHERE as in NIST's manual.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        begin = id3_bytes(file.read(10))
        file.seek(begin)
        head = file.read(12)
        check = _mp3 if is_mpeg else _check_of(head) if not begin or head[:4] == b"fLaC" else None
        file.seek(begin)
        return check(file, size) if check else None


def _check_of(head: bytes) -> Callable[[BinaryIO, int], Finding] | None:
    """Return what looks at a file that begins with these bytes."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return partial(_wave, layout=audio_chunks.RIFX if head[:4] == b"RIFX" else audio_chunks.WAVE)
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return audio_chunks.aiff
    if head[:8] == _WAVE64:
        return partial(_wave, layout=audio_chunks.WAVE64)
    known = {b"fLaC": _flac, b".snd": _au, b"dns.": _au, b"caff": audio_chunks.caf, b"NIST": _sphere, b"OggS": ogg}
    return known.get(head[:4])


def _wave(file: BinaryIO, size: int, layout: audio_chunks.Layout) -> Finding:
    def num_mp3(begin: int, end: int) -> int | None:
        file.seek(begin)
        frames = scan(file.read(end - begin), mp3_frame)
        return frames.num_samples if frames else None

    return audio_chunks.wave(file, size, layout, num_mp3)


def _mp3(file: BinaryIO, size: int) -> Finding:
    return check_mp3(file.read(size))


def _flac(file: BinaryIO, size: int) -> Finding:
    return Finding(flac_problem(file, size))


def _au(file: BinaryIO, size: int) -> Finding:
    """AU, whose header says where the samples begin and how many bytes they are; all bits: that is not known."""
    head = file.read(24)
    order = "big" if head[:4] == b".snd" else "little"
    begin, length, encoding, _, channels = (int.from_bytes(head[at : at + 4], order) for at in range(4, 24, 4))
    block, there = channels * _AU_BYTES.get(encoding, 0), size - begin
    is_said = bool(length) and not stands_for_unknown(length)
    return compared(length, there, behind=bytes_behind(file, begin + length, size, length), block=block, is_said=is_said)


def _sphere(file: BinaryIO, size: int) -> Finding:
    """The number of samples against the end of the file, for those that are not compressed."""
    fields = sphere_fields(file.read(_MOST_SPHERE_BYTES))
    numbers = [fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes", b"header")]
    plain = fields.get(b"sample_coding", b"pcm") in (b"pcm", b"ulaw", b"alaw", b"pcm-ulaw", b"mu-law")
    if not plain or not all(number.isdigit() and len(number) < 16 for number in numbers):
        return Finding()
    count, channels, width, begin = map(int, numbers)
    announced, there = count * channels * width, size - begin
    behind = bytes_behind(file, begin + announced, size, announced)
    return compared(announced, there, behind=behind, block=channels * width)


def sphere_fields(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of the header of a SPHERE file by name, and its length as `header`; nothing of another file."""
    lines = head.split(b"end_head")[0].split(b"\n")
    if head[:7] != b"NIST_1A" or len(lines) < 2:
        return {}
    words = (line.split(None, 2) for line in lines[2:])
    return {each[0]: each[2].strip() for each in words if len(each) == 3} | {b"header": lines[1].strip()}
