"""What the header of an audio file announces, against the bytes that are there.

libsndfile believes in the file's end rather than in the header: a WAV or Ogg file that was cut short is read as a shorter one,
without a word. These functions look at the containers themselves.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from steps.data.audio_flac import flac_problem

_NOT_KNOWN = (0xFFFFFFFF, 0x7FFFFFFF)  # lengths that programs write who do not know better, as into a pipe
_PIPE_BYTES = 0x7FFF0000  # SoX writes somewhat less than the second of these
_MAX_CHUNKS = 1000
_TRAILING_SHARE = 0.01  # of the samples: what may follow them that is no chunk, such as zeros up to a sector's end
_MAX_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, table and as many segments as it holds (RFC 3533)


class Finding(NamedTuple):
    """What is wrong with a file, and what is only to be said of it; "" = nothing."""

    problem: str = ""
    remark: str = ""


def check_length(path: Path) -> Finding:
    """Return what is to be said of the length that a WAV, FLAC, SPHERE or Ogg file announces; nothing of other formats.

    Source: RIFF as in IBM and Microsoft (1991), RF64 as in EBU Tech 3306; NIST SPHERE; Ogg as in RFC 3533.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            return _wave(file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:7] == b"NIST_1A":
            return _sphere(file, size)
        if head[:4] == b"OggS":
            return _ogg(file, size)
        if head[:4] == b"fLaC":
            return Finding(flac_problem(file, size))
    return Finding()


def _wave(file: BinaryIO, size: int, order: str) -> Finding:
    """The chunk of samples against the end of the file, and what follows it."""
    long_size = None
    for name, begin, length in _chunks(file, 12, size, order):
        if name == b"ds64" and begin + 16 <= size:
            file.seek(begin + 8)
            long_size = struct.unpack(f"{order}Q", file.read(8))[0]
        if name != b"data":
            continue
        if length in _NOT_KNOWN or length > _PIPE_BYTES:
            if long_size is None:
                return Finding(
                    remark="its header does not say how long it is: it was written to a pipe, or is still being written"
                )
            length = long_size
        there = size - begin
        if length > there + 3:  # less than a sample more is a sloppy header
            return Finding(f"is cut short: its header announces {length} bytes of samples, {max(0, there)} are there")
        trailing = size - _end_of_chunks(file, begin + length + length % 2, size, order)
        if trailing > max(64, _TRAILING_SHARE * length):
            return Finding(f"has {trailing} bytes behind the {length} bytes of samples that its header announces")
        return Finding()
    return Finding()


def _chunks(file: BinaryIO, begin: int, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, where its content begins, length) of each chunk."""
    for _ in range(_MAX_CHUNKS):
        file.seek(begin)
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        yield name, begin + 8, length
        begin += 8 + length + length % 2
        if begin >= size:
            return


def _end_of_chunks(file: BinaryIO, begin: int, size: int, order: str) -> int:
    """Return where the chunks from `begin` on end: what follows is none."""
    end = min(begin, size)
    for name, content, length in _chunks(file, begin, size, order):
        if not all(32 <= byte < 127 for byte in name) or content + length > size:
            break
        end = min(size, content + length + length % 2)
    return end


def _sphere(file: BinaryIO, size: int) -> Finding:
    """The number of samples against the end of the file, for those that are not compressed."""
    file.seek(0)
    lines = file.read(1024).split(b"\n")
    fields = {words[0]: words[2] for words in (line.split(None, 2) for line in lines[2:]) if len(words) == 3}
    numbers = [fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    header = lines[1].strip() if len(lines) > 1 else b""
    plain = fields.get(b"sample_coding", b"pcm").strip() in (b"pcm", b"ulaw", b"alaw", b"pcm-ulaw", b"mu-law")
    if not plain or not all(number.strip().isdigit() and len(number) < 16 for number in (*numbers, header)):
        return Finding()
    count, channels, width = map(int, numbers)
    announced, there = count * channels * width, size - int(header)
    if announced > there:
        return Finding(f"is cut short: its header announces {announced} bytes of samples, {max(0, there)} are there")
    return Finding()


def _ogg(file: BinaryIO, size: int) -> Finding:
    """Whether the last page is whole, and is marked as the last one."""
    file.seek(max(0, size - 2 * _MAX_OGG_PAGE))
    tail = file.read()
    begin = tail.rfind(b"OggS")
    page = tail[begin:]
    if begin < 0 or len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return Finding("is cut short: its last Ogg page is not whole")
    if not page[5] & 4:
        return Finding(remark="its Ogg stream has no end mark: it may have been cut short")
    return Finding()


class Mp3(NamedTuple):
    """What the frames of an MP3 file add up to."""

    num_samples: int  # per channel
    has_count: bool  # whether a first frame says how many there are (Xing, Info or VBRI)
    is_whole: bool  # whether the last frame is all there: encoders write whole ones


def scan_mp3(path: Path) -> Mp3 | None:
    """Return what the frames of an MPEG layer III file add up to; None where its frames cannot be followed.

    Source: ISO 11172-3 and 13818-3, the header of a frame; the tags as in LAME's VbrTag.c.
    """
    content = path.read_bytes()
    place = 10 + _synchsafe(content[6:10]) if content[:3] == b"ID3" else 0
    num_samples, has_count, is_first = 0, False, True
    while place + 4 <= len(content):
        frame = _mp3_frame(content[place : place + 4])
        if frame is None:
            break
        length, samples = frame
        if is_first and any(tag in content[place : place + 200] for tag in (b"Xing", b"Info", b"VBRI")):
            has_count = True
        else:
            num_samples += samples
        place, is_first = place + length, False
    # What is left may be a tag at the end; more than that means that the frames were lost on the way.
    is_followed = not is_first and (len(content) - place <= 0.02 * len(content) + 4096)
    return Mp3(num_samples, has_count, is_whole=place <= len(content)) if is_followed else None


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
_KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mp3_frame(head: bytes) -> tuple[int, int] | None:
    """Return (bytes, samples per channel) of a frame of layer III, None where there is none."""
    bits = int.from_bytes(head, "big")
    version, layer, kbits, rate = bits >> 19 & 3, bits >> 17 & 3, bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    bit_rate = 1000 * _KBITS[3 if version == 3 else 2][kbits]
    return samples // 8 * bit_rate // _RATES[version][rate] + (bits >> 9 & 1), samples


def _synchsafe(four: bytes) -> int:
    """A number of four times seven bits, as ID3 writes the length of its tag."""
    return sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(four))
