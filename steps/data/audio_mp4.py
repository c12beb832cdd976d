"""The boxes of an MPEG-4 file: whether they are all there, how many tracks of sound they hold, and how long it is.

Source: ISO 14496-12 (boxes, tracks, edit lists, fragments).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from steps.data.audio_finding import Finding

FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid"})

_HOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf"})  # boxes of boxes
_READ = frozenset({b"mvhd", b"trex", b"tfhd", b"trun", b"tkhd", b"mdhd", b"hdlr", b"stts", b"elst"})
_MOST_BYTES = 1 << 26  # of a table in a box, which is read as a whole
_MOST_BOXES = 1_000_000


class Box(NamedTuple):
    """Its name and those of the boxes around it, and where its content lies."""

    path: tuple[bytes, ...]
    begin: int
    end: int


class Mp4(NamedTuple):
    """What the boxes of a file say."""

    finding: Finding
    seconds: float | None = None  # of its track of sound; None = that is not said


class _Track:
    """What is known of a track from its boxes, in units of its own time scale but for the edits."""

    def __init__(self) -> None:
        self.number, self.handler, self.scale = 0, b"", 0
        self.length, self.default = 0, 0  # of all samples, and of a sample of a fragment
        self.edits: list[tuple[int, int]] = []  # (length in the time scale of the film, begin in the track's; -1: nothing)

    def seconds(self, film_scale: int) -> float | None:
        """Return how long it sounds; edits leave out what an encoder needs to get going."""
        if not self.scale:
            return None
        whole = self.length / self.scale
        shown = [(length, begin) for length, begin in self.edits if begin >= 0]
        if not shown:
            return whole
        rest = max(0.0, whole - shown[0][1] / self.scale)
        edited = sum(length for length, _ in shown) / film_scale if film_scale else 0.0
        return min(rest, edited) if edited else rest


def read_mp4(path: Path) -> Mp4:
    """Return what the boxes of a file say.

    Problems: a box that reaches beyond the end of the file, no track of sound, or more than one.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        boxes = list(_boxes(file, 0, size, ()))
        cut = next((box for box in boxes if box.end > size), None)
        return _described(file, boxes) if cut is None else Mp4(Finding(_cut(cut, size)))


def _cut(box: Box, size: int) -> str:
    name, announced = box.path[-1].decode("latin-1"), box.end - box.begin
    return f"is cut short: its box {name!r} announces {announced} bytes, {size - box.begin} are there"


def _described(file: BinaryIO, boxes: list[Box]) -> Mp4:
    film_scale, tracks = _tracks(file, boxes)
    sound = [track for track in tracks if track.handler == b"soun"]
    if len(sound) != 1:
        found = f"holds {len(sound)} tracks of sound, of which only one would be read; write each to a file of its own"
        return Mp4(Finding(found if sound else "holds no track of sound"))
    return Mp4(Finding(), sound[0].seconds(film_scale))


def _boxes(file: BinaryIO, begin: int, end: int, above: tuple[bytes, ...]) -> Iterator[Box]:
    """Yield all boxes between two places, each before those that it holds; one that reaches beyond `end` is the last."""
    for _ in range(_MOST_BOXES):
        file.seek(begin)
        head = file.read(16)
        if begin + 8 > end or len(head) < 8:
            return
        length, name, own = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, own = int.from_bytes(head[8:], "big"), 16
        length = length if length or not name.strip(b"\0") else end - begin  # 0: up to the end
        if length < own or not all(31 < byte < 127 or byte == 0xA9 for byte in name):
            return  # no box: zeros, or a tag, behind the last one
        yield Box((*above, name), begin + own, begin + length)
        if begin + length > end:
            return
        if name in _HOLDERS and len(above) < len(_HOLDERS):
            yield from _boxes(file, begin + own, begin + length, (*above, name))
        begin += length


def _tracks(file: BinaryIO, boxes: list[Box]) -> tuple[int, list[_Track]]:
    """(Time scale of the film, its tracks)."""
    film_scale, tracks, defaults = 0, [], {}
    fragment = _Track()
    for box in boxes:
        content = _content(file, box)
        match box.path[-1]:
            case b"mvhd":
                film_scale = _number(content, 20 if content[:1] == b"\1" else 12)
            case b"trak":
                tracks.append(_Track())
            case b"trex":
                defaults[_number(content, 4)] = _number(content, 12)
            case b"tfhd":
                number = _number(content, 4)
                fragment = next((track for track in tracks if track.number == number), _Track())
                fragment.default = _fragment_default(content) or defaults.get(number, 0)
            case b"trun":
                fragment.length += _run_length(content, fragment.default)
            case _ if tracks and box.path[:2] == (b"moov", b"trak"):
                _describe(tracks[-1], box.path[-1], content)
    return film_scale, tracks


def _describe(track: _Track, name: bytes, content: bytes) -> None:
    """Take in what a box says of a track."""
    is_long = content[:1] == b"\1"
    match name:
        case b"tkhd":
            track.number = _number(content, 20 if is_long else 12)
        case b"mdhd":
            track.scale = _number(content, 20 if is_long else 12)
        case b"hdlr":
            track.handler = track.handler or content[8:12]  # QuickTime has another one behind it
        case b"stts":
            entries = struct.iter_unpack(">II", content[8 : 8 + 8 * min(_number(content, 4), (len(content) - 8) // 8)])
            track.length += sum(count * each for count, each in entries)
        case b"elst":
            code = ">Qqi" if is_long else ">Iii"
            size = struct.calcsize(code)
            entries = struct.iter_unpack(code, content[8 : 8 + size * min(_number(content, 4), (len(content) - 8) // size)])
            track.edits = [(length, start) for length, start, _ in entries]


def _fragment_default(content: bytes) -> int:
    """The length of a sample that the header of a fragment says; 0 = none."""
    flags = _number(content, 0) & 0xFFFFFF
    return _number(content, 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1)) if flags & 8 else 0


def _run_length(content: bytes, default: int) -> int:
    """How long the samples of a run are together."""
    flags, count = _number(content, 0) & 0xFFFFFF, _number(content, 4)
    if not flags & 0x100:
        return count * default
    begin = 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
    step = 4 * (1 + (flags >> 9 & 1) + (flags >> 10 & 1) + (flags >> 11 & 1))
    return sum(_number(content, begin + step * each) for each in range(min(count, max(0, len(content) - begin) // step)))


def _content(file: BinaryIO, box: Box) -> bytes:
    """What a box of those that are read here holds."""
    if box.path[-1] not in _READ:
        return b""
    file.seek(box.begin)
    return file.read(min(box.end - box.begin, _MOST_BYTES))


def _number(content: bytes, place: int) -> int:
    """The four bytes at a place, 0 where they are not there."""
    return int.from_bytes(content[place : place + 4], "big") if len(content) >= place + 4 else 0
