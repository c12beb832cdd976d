"""The chunk of samples of WAV, RF64, Wave64, AIFF and CAF files against the end of the file, and what follows it.

Source: RIFF as in IBM and Microsoft (1991), RF64 and BW64 as in EBU Tech 3306 and ITU-R BS.2088; Sony's Wave64; Apple's AIFF 1.3,
AIFF-C and Core Audio Format 1.0.
"""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from steps.data.audio_finding import Finding, bytes_behind, compared, stands_for_unknown

_MAX_CHUNKS = 1000
_MP3_IN_WAV = 0x55
_EXTENSIBLE = 0xFFFE
_LINEAR_OR_LAW = (1, 3, 6, 7)  # formats of WAV in which every sample has its bytes: PCM, float, A-law, mu-law
_PACKED_AIFF = (b"ima4", b"MAC3", b"MAC6", b"GSM ", b"G722", b"G726", b"G728")  # compression types of AIFF-C


class Layout(NamedTuple):
    """How the chunks of a container lie."""

    begin: int  # of the first one
    order: str  # of bytes, as struct has it
    name_bytes: int
    length_code: str  # as struct has it
    own_bytes: int  # of name and length, where the length counts them
    align: int


WAVE, RIFX, AIFF = Layout(12, "<", 4, "I", 0, 2), Layout(12, ">", 4, "I", 0, 2), Layout(12, ">", 4, "I", 0, 2)
WAVE64, CAF = Layout(40, "<", 16, "Q", 24, 8), Layout(8, ">", 4, "Q", 0, 1)


class Chunk(NamedTuple):
    """Four letters, where the content begins, and how long the chunk says that it is."""

    name: bytes
    begin: int
    length: int


def wave(file: BinaryIO, size: int, layout: Layout, num_mp3: Callable[[int, int], int | None]) -> Finding:
    """WAV, RF64 and Wave64; `num_mp3` says how many samples the MP3 frames from one byte to another hold."""
    block, tag, long_length = 0, 0, None
    for name, begin, length in _chunks(file, layout.begin, size, layout):
        if name == b"ds64" and begin + 16 <= size:
            (long_length,) = struct.unpack(f"{layout.order}Q", _bytes(file, begin + 8, 8))
        elif name == b"fmt " and begin + 16 <= size:
            tag, block = _wave_format(_bytes(file, begin, 26), layout.order)
        elif name == b"data":
            is_said = not _is_open(length, layout)
            if length == 0xFFFFFFFF and long_length is not None:
                length, is_said = long_length, True
            found = _samples(file, size, Chunk(name, begin, length), layout, block, is_said)
            is_mp3 = tag == _MP3_IN_WAV and not found.problem
            return found._replace(num_samples=num_mp3(begin, min(size, begin + length))) if is_mp3 else found
    return Finding()


def aiff(file: BinaryIO, size: int) -> Finding:
    """AIFF and AIFF-C, whose samples follow eight bytes that say where they begin."""
    block = 0
    for name, begin, length in _chunks(file, AIFF.begin, size, AIFF):
        if name == b"COMM" and begin + 18 <= size:
            channels, _, bits = struct.unpack(">HIH", _bytes(file, begin, 8))
            is_packed = length >= 22 and _bytes(file, begin + 18, 4) in _PACKED_AIFF
            block = 0 if is_packed else channels * -(-bits // 8)
        elif name == b"SSND" and begin + 8 <= size:
            (offset,) = struct.unpack(">I", _bytes(file, begin, 4))
            samples = Chunk(name, begin + 8 + offset, max(0, length - 8 - offset))
            return _samples(file, size, samples, AIFF, block, bool(length) and not stands_for_unknown(length))
    return Finding()


def caf(file: BinaryIO, size: int) -> Finding:
    """CAF, whose samples follow four bytes; a length of -1 reaches to the end of the file."""
    block = 0
    for name, begin, length in _chunks(file, CAF.begin, size, CAF):
        if name == b"desc" and begin + 32 <= size:
            code, _, packet_bytes, packet_samples = struct.unpack(">4sIII", _bytes(file, begin + 8, 16))
            block = packet_bytes if packet_samples == 1 and code in (b"lpcm", b"ulaw", b"alaw") else 0
        elif name == b"data":
            return _samples(file, size, Chunk(name, begin + 4, max(0, length - 4)), CAF, block, not _is_open(length, CAF))
    return Finding()


def _samples(file: BinaryIO, size: int, chunk: Chunk, layout: Layout, block: int, is_said: bool) -> Finding:
    end = min(size, chunk.begin + chunk.length + _padding(chunk, layout))
    if layout is not WAVE64:  # libsndfile reads what is behind the samples of these as samples, too
        end = _end_of_chunks(file, end, size, layout)
    behind = bytes_behind(file, end, size, chunk.length)
    return compared(chunk.length, size - chunk.begin, behind=behind, block=block, is_said=is_said)


def _padding(chunk: Chunk, layout: Layout) -> int:
    """Bytes between a chunk and the next: RIFF and AIFF count from the chunk's begin, Wave64 from the file's."""
    return chunk.length % 2 if layout.align == 2 else -(chunk.begin + chunk.length) % layout.align


def _is_open(length: int, layout: Layout) -> bool:
    if layout.length_code == "Q":
        return length + layout.own_bytes >= 1 << 62
    return stands_for_unknown(length)


def _wave_format(content: bytes, order: str) -> tuple[int, int]:
    """Return (format, bytes of a sample of all channels, or 0 where they are packed)."""
    tag, channels, _, _, block, bits = struct.unpack(f"{order}HHIIHH", content[:16])
    if tag == _EXTENSIBLE and len(content) == 26:
        (tag,) = struct.unpack(f"{order}H", content[24:])
    is_plain = tag in _LINEAR_OR_LAW and block == channels * -(-bits // 8)
    return tag, block if is_plain else 0


def _bytes(file: BinaryIO, begin: int, num: int) -> bytes:
    file.seek(begin)
    return file.read(num)


def _chunks(file: BinaryIO, begin: int, size: int, layout: Layout) -> Iterator[Chunk]:
    """Yield each chunk."""
    code = f"{layout.order}{layout.length_code}"
    head_bytes = layout.name_bytes + struct.calcsize(code)
    for _ in range(_MAX_CHUNKS):
        head = _bytes(file, begin, head_bytes) if begin < size else b""
        if len(head) < head_bytes:
            return
        length = struct.unpack(code, head[layout.name_bytes :])[0] - layout.own_bytes
        if length < 0:
            return
        chunk = Chunk(head[:4], begin + head_bytes, length)
        yield chunk
        begin = chunk.begin + length + _padding(chunk, layout)


def _end_of_chunks(file: BinaryIO, begin: int, size: int, layout: Layout) -> int:
    """Return where the chunks from `begin` on end: what follows is none."""
    end = min(begin, size)
    for chunk in _chunks(file, begin, size, layout):
        if not all(32 <= byte < 127 for byte in chunk.name) or chunk.begin + chunk.length > size:
            break
        end = min(size, chunk.begin + chunk.length + _padding(chunk, layout))
    return end
