"""How long a FLAC file is by its last frame, against what its header announces.

Each frame says which samples it holds, so that the last one tells where the stream ends; nothing has to be decoded. libsndfile
reads as many samples as the header announces, and says nothing of those behind.

Source: RFC 9639, sections 8.2 (stream information), 9.1 (frame header: number, size and checksum) and 9.3 (frame footer).
"""

import struct
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO, NamedTuple

_STREAM_INFO_BYTES = 34
_MOST_BLOCKS = 1000  # of metadata
_MOST_TAIL = 1 << 20  # bytes that are searched where the header does not say how long a frame may be
_STARTS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # of a stream: its name, and the head of a block of 34 bytes
_PIECE = 1 << 20  # bytes searched at a time
_TAG_BYTES = 128  # of ID3v1, which stands at the end
_HEADER_BYTES = 16  # of the longest frame header, that of a variable block size
_SIZES = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}, **{code: 256 << (code - 8) for code in range(8, 16)}}


class _Frame(NamedTuple):
    first: int  # sample
    size: int  # samples


class _Stream(NamedTuple):
    """What the header says."""

    block_size: int  # samples of each frame but the last one, where all are alike
    most_bytes: int  # of a frame; 0 = not said
    rate: int  # Hz
    num_channels: int
    num_samples: int  # 0 = not said
    begin: int  # byte at which the frames begin


def flac_problem(file: BinaryIO, size: int) -> str:
    """Return in what the header of a FLAC file of so many bytes differs from its frames, "" if in nothing that can be told.

    Nothing is said of a file whose last frame is not whole (decoding finds that), or is followed by what is no ID3 tag.

    Args:
        file: at the first byte of the stream, which may stand behind a tag.
        size: of the whole file, in bytes.
    """
    start = file.tell()
    if _has_another_stream(file, start + 4):
        return "holds several FLAC streams (files that were joined), of which only the first would be read; write it anew"
    return _length_problem(file, start, _without_tag(file, size))


def _has_another_stream(file: BinaryIO, begin: int) -> bool:
    file.seek(begin)
    piece, before = file.read(_PIECE), b""
    while piece:
        if any(start in before + piece for start in _STARTS):
            return True
        before, piece = piece[-len(_STARTS[0]) :], file.read(_PIECE)
    return False


def _without_tag(file: BinaryIO, size: int) -> int:
    """The size of a file without an ID3 tag at its end."""
    file.seek(max(0, size - _TAG_BYTES))
    return size - _TAG_BYTES if file.read(3) == b"TAG" else size


def _length_problem(file: BinaryIO, start: int, size: int) -> str:
    stream = _stream(file, start)
    if stream is None or not stream.num_samples:
        return ""
    file.seek(stream.begin)
    begin = _frame(file.read(_HEADER_BYTES), stream)
    if begin is None:
        return ""
    file.seek(max(stream.begin, size - (stream.most_bytes or _MOST_TAIL)))
    tail = file.read(max(0, size - file.tell()))
    for place, frame in _frames_from_the_end(tail, stream):
        there = frame.first + frame.size - begin.first
        if there == stream.num_samples:
            return ""
        if _crc16(tail[place:]) == 0:  # over a frame and its checksum
            what = "is cut short" if there < stream.num_samples else "is longer than its header says"
            return f"{what}: {stream.num_samples} samples announced, {there} there; write it anew"
    return ""


def _stream(file: BinaryIO, start: int = 0) -> _Stream | None:
    """The stream information, which is the first block of metadata; None where it is not as it should be."""
    file.seek(start + 4)
    begin, found = start + 4, None
    for _ in range(_MOST_BLOCKS):
        head = file.read(4)
        if len(head) < 4:
            return None
        length = int.from_bytes(head[1:], "big")
        if found is None:
            content = file.read(length)
            if head[0] & 127 or length != _STREAM_INFO_BYTES or len(content) < length:
                return None
            found = content
        begin += 4 + length
        if head[0] & 128:
            break
        file.seek(begin)
    else:
        return None
    least, most = struct.unpack(">HH", found[:4])
    bits = int.from_bytes(found[10:18], "big")  # rate 20, channels 3, bits per sample 5, samples 36
    return _Stream(
        block_size=least if least == most else 0,
        most_bytes=int.from_bytes(found[7:10], "big"),
        rate=bits >> 44,
        num_channels=(bits >> 41 & 7) + 1,
        num_samples=bits & (1 << 36) - 1,
        begin=begin,
    )


def _frames_from_the_end(tail: bytes, stream: _Stream) -> Iterator[tuple[int, _Frame]]:
    """Yield (place, frame) of whatever looks like the header of a frame, the last one first."""
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        if place + 1 < len(tail) and tail[place + 1] & 0xFE == 0xF8:
            frame = _frame(tail[place : place + _HEADER_BYTES], stream)
            if frame is not None:
                yield place, frame


def _frame(head: bytes, stream: _Stream) -> _Frame | None:
    """The frame that a header describes; None where it is none of this stream."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    channels, is_variable = head[3] >> 4, head[1] & 1
    if (channels + 1 if channels < 8 else 2) != stream.num_channels or channels > 10:
        return None
    number, end = _coded_number(head)
    size_code, rate_code = head[2] >> 4, head[2] & 15
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    last = end + size_bytes + rate_bytes
    if number < 0 or not size_code or rate_code == 15 or last >= len(head) or _crc8(head[: last + 1]):
        return None
    size = int.from_bytes(head[end : end + size_bytes], "big") + 1 if size_bytes else _SIZES[size_code]
    if not is_variable and not stream.block_size:
        return None
    return _Frame(number if is_variable else number * stream.block_size, size)


def _coded_number(head: bytes) -> tuple[int, int]:
    """The number behind the fourth byte, coded as UTF-8 is but up to 36 bits, and where it ends; (-1, 0) if it is none."""
    first = head[4]
    if first < 0x80:
        return first, 5
    num_more = 0
    while first & 0x40 >> num_more and num_more < 6:
        num_more += 1
    rest = head[5 : 5 + num_more]
    if num_more == 0 or len(rest) < num_more or any(byte & 0xC0 != 0x80 for byte in rest):
        return -1, 0
    number = first & 0x3F >> num_more
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, 5 + num_more


@cache
def _table(polynomial: int, width: int) -> tuple[int, ...]:
    """What each byte makes of a checksum of so many bits, that is 0 before."""
    top, mask = 1 << (width - 1), (1 << width) - 1
    found = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = ((value << 1) ^ (polynomial if value & top else 0)) & mask
        found.append(value)
    return tuple(found)


def _crc8(content: bytes) -> int:
    value, table = 0, _table(0x07, 8)
    for byte in content:
        value = table[value ^ byte]
    return value


def _crc16(content: bytes) -> int:
    value, table = 0, _table(0x8005, 16)
    for byte in content:
        value = (value << 8 & 0xFF00) ^ table[value >> 8 ^ byte]
    return value
