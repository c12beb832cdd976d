"""Miniature containers, put together byte by byte as their specifications say; what they hold is mostly no sound."""

import struct

RATE = 16000


def chunk(name: bytes, content: bytes, length: int | None = None, order: str = "<") -> bytes:
    """A chunk of RIFF or, big end first, of AIFF, padded to an even length."""
    return name + struct.pack(f"{order}I", len(content) if length is None else length) + content + b"\0" * (len(content) % 2)


def riff(*chunks: bytes, name: bytes = b"RIFF", order: str = "<") -> bytes:
    """WAV of 16 bits, one channel, with these chunks behind its format."""
    body = b"WAVE" + chunk(b"fmt ", struct.pack(f"{order}HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16), order=order) + b"".join(chunks)
    return name + struct.pack(f"{order}I", len(body)) + body


def adts(num_frames: int, rate_index: int = 8, num_bytes: int = 50) -> bytes:
    """Raw AAC, silent for all we know (ISO 13818-7, 6.2): one channel, frames of 1024 samples; index 8 is 16 kHz."""
    head = bytes(
        [0xFF, 0xF1, 1 << 6 | rate_index << 2, 1 << 6 | num_bytes >> 11, num_bytes >> 3 & 255, (num_bytes & 7) << 5 | 31, 0xFC]
    )
    return num_frames * (head + bytes(num_bytes - len(head)))


def box(name: bytes, *content: bytes) -> bytes:
    """A box of MPEG-4 (ISO 14496-12, 4.2)."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


def sound(num_samples: int, *, handler: bytes = b"soun", edits: bytes = b"", number: int = 1) -> bytes:
    """A track at 16 kHz, in a table with one entry of so many samples; `edits` is a box."""
    head = box(b"mdhd", bytes(12), struct.pack(">II", RATE, num_samples), bytes(4))
    kind = box(b"hdlr", bytes(8), handler, bytes(13))
    table = box(b"stbl", box(b"stts", bytes(4), struct.pack(">III", 1, num_samples, 1)))
    track = box(b"tkhd", bytes(12), struct.pack(">I", number), bytes(68))
    return box(b"trak", track, edits, box(b"mdia", head, kind, box(b"minf", table)))


def edit(num_samples: int, begin: int) -> bytes:
    """An edit list (8.6.6): so many samples of the track from one on, in a film whose time scale is 16 kHz too."""
    return box(b"edts", box(b"elst", bytes(4), struct.pack(">IIiI", 1, num_samples, begin, 1 << 16)))


def mp4(*tracks: bytes, behind: bytes = b"") -> bytes:
    """A file with these tracks."""
    film = box(b"mvhd", bytes(12), struct.pack(">II", RATE, 0), bytes(80))
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", film, *tracks) + box(b"mdat", bytes(40)) + behind


def fragment(num_runs: int, num_samples: int, *, lengths: bool) -> bytes:
    """A fragment of track 1 (8.8): runs of so many samples of length 1024, said by each run or by the fragment's head."""
    if lengths:
        run = box(b"trun", struct.pack(">II", 0x100, num_samples), num_samples * struct.pack(">I", 1024))
        head = box(b"tfhd", struct.pack(">II", 0, 1))
    else:
        run = box(b"trun", struct.pack(">II", 0, num_samples))
        head = box(b"tfhd", struct.pack(">III", 8, 1, 1024))
    return box(b"moof", box(b"traf", head, *[run] * num_runs)) + box(b"mdat", bytes(40))
