"""The pages of an Ogg file, one after the other: which streams they belong to, whether all of them are there.

libsndfile reads the first stream of sound and stops where it ends, without a word about others behind it or beside it.

Source: RFC 3533 (pages), RFC 7845 (Opus in Ogg), Vorbis I, sections 4.2 and A.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from steps.data.audio_finding import Finding

_HEAD_BYTES = 27
_TRAILING_BYTES = 64
_FIRST, _LAST = 2, 4  # marks of a page
_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"fLaC\0\0\0\x22")  # how their first packets begin


class _Page(NamedTuple):
    marks: int
    serial: int  # of its stream
    number: int  # within its stream
    start: bytes  # of what it holds
    is_whole: bool
    end: int  # where the next one may begin


@dataclass
class _Streams:
    """What the pages read so far say."""

    num_sound: int = 0
    num_missing: int = 0  # pages
    ends: bool = False  # whether the last page of sound is marked as such
    is_whole: bool = True
    end: int = 0  # of the last page

    def __post_init__(self) -> None:
        self._next: dict[int, int] = {}  # serial -> number of the page that should come
        self._sound: set[int] = set()

    def add(self, page: _Page) -> None:
        if page.marks & _FIRST:
            self._next.pop(page.serial, None)
            self._sound.discard(page.serial)
            if page.start.startswith(_SOUND):
                self._sound.add(page.serial)
                self.num_sound += 1
        if page.serial in self._sound:
            self.num_missing += page.number != self._next.get(page.serial, page.number)
            self._next[page.serial] = page.number + 1
            self.ends = bool(page.marks & _LAST)
        self.is_whole, self.end = page.is_whole, page.end


def ogg(file: BinaryIO, size: int) -> Finding:
    """Return whether an Ogg file of so many bytes holds one stream of sound, with all its pages, the last one whole."""
    streams = _Streams()
    for page in _pages(file, size):
        streams.add(page)
    if not streams.is_whole:
        return Finding("is cut short: its last Ogg page is not whole")
    if streams.num_sound > 1:
        return Finding(
            f"holds {streams.num_sound} Ogg streams of sound (joined files or several tracks), of which only the first would be "
            "read; write each to a file of its own, or one stream of all of them"
        )
    if streams.num_missing:
        return Finding(f"lacks pages of its Ogg stream in {streams.num_missing} places; fetch or write it anew")
    if not streams.ends and size - streams.end > _TRAILING_BYTES:
        behind = size - streams.end
        return Finding(f"is cut short: its last Ogg page is not the end, and the {behind} bytes behind it are no pages")
    return Finding(remark="" if streams.ends else "its Ogg stream has no end mark: it may have been cut short")


def _pages(file: BinaryIO, size: int) -> Iterator[_Page]:
    """Yield each page, passing over what is none."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(_HEAD_BYTES)
        if head[:4] != b"OggS":
            place = _next_page(file, place)
            continue
        table = file.read(head[26]) if len(head) == _HEAD_BYTES else b""
        end = place + len(head) + len(table) + sum(table)
        is_whole = len(head) == _HEAD_BYTES and len(table) == head[26] and end <= size
        head = head.ljust(_HEAD_BYTES, b"\0")
        serial, number = (int.from_bytes(head[at : at + 4], "little") for at in (14, 18))
        yield _Page(head[5], serial, number, file.read(min(16, sum(table))), is_whole, end)
        place = end


def _next_page(file: BinaryIO, place: int) -> int:
    """The next place behind this one at which a page may begin; beyond all if there is none."""
    while True:
        place += 1
        file.seek(place)
        block = file.read(1 << 16)
        found = block.find(b"OggS")
        if found >= 0:
            return place + found
        if len(block) < 4:
            return 1 << 62
        place += len(block) - 4
