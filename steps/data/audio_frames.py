"""The frames of MP3 and raw AAC files, one after the other; these files have no container, and none of them says that it ends.

Nothing is decoded. What stands before, between and behind the frames is passed over as decoders do: tags (ID3, APE), and
whatever else is there, up to the next two frames.

Source: ISO 11172-3 and 13818-3 (MPEG audio, layers I to III), 14496-3 and 13818-7 (AAC in ADTS), the header of a frame; ID3 2.4;
    APE tags 2.0; Xing's, Fraunhofer's and LAME's first frame as in LAME's VbrTag.c.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from steps.data.audio_finding import Finding

MP3_FRAME = 1152  # samples, at most
AAC_FRAME = 1024  # samples

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version
_KBITS = {  # by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # Hz


class Frame(NamedTuple):
    """One frame."""

    num_bytes: int
    num_samples: int  # per channel
    rate: int  # Hz


class Frames(NamedTuple):
    """What the frames of a file add up to."""

    num_samples: int  # per channel, but for frames that hold a count instead of samples
    seconds: float
    num_frames: int  # with samples
    announced: int  # frames, by a first frame that says how many there are (Xing, Info or VBRI); 0 = none says it
    is_whole: bool  # whether the last frame is all there: encoders write whole ones
    num_between: int  # bytes between frames that are neither frames nor tags


Head = Callable[[bytes, int], Frame | None]  # (content, place) -> the frame that begins there


def check_mp3(content: bytes) -> Finding:
    """Return whether the frames of an MPEG audio file are whole, and as many as its first one says."""
    frames = scan(content, mp3_frame)
    if frames is None:
        return Finding("has no MPEG audio frames that can be followed (free format?); write it anew")
    # Programs do not agree on whether the first frame counts itself.
    if frames.announced and frames.num_frames < frames.announced - 1:
        return Finding(f"is cut short: {frames.announced} MP3 frames announced, {frames.num_frames} there")
    if frames.announced and frames.num_frames > frames.announced + 1:
        return Finding(
            f"has {frames.num_frames} MP3 frames, but its first one counts {frames.announced}, and no more are read (were files "
            "joined?); write it anew"
        )
    if not frames.is_whole:
        return Finding("is cut short: its last MP3 frame is not whole")
    between = f"{frames.num_between} bytes between its MP3 frames are none: it may be damaged there" if frames.num_between else ""
    return Finding(remark=between, num_samples=None if frames.announced else frames.num_samples)


def scan(content: bytes, head: Head) -> Frames | None:
    """Return what the frames of a file add up to; None where it has none."""
    samples: Counter[int] = Counter()  # by sampling rate
    number, announced, end, between = 0, 0, 0, 0
    for place, frame in _frames(content, head):
        between += place - _behind_tags(content, end) if end else 0
        end = place + frame.num_bytes
        count = _count(content, place) if head is mp3_frame else -1
        if count < 0:
            samples[frame.rate] += frame.num_samples
            number += 1
        else:
            announced = announced if number else count
    is_whole = end <= len(content) and not _begins_a_frame(content[end:])
    seconds = sum(num / rate for rate, num in samples.items())
    return Frames(samples.total(), seconds, number, announced, is_whole, between) if end else None


def mp3_frame(content: bytes, place: int) -> Frame | None:
    """Return the frame of MPEG audio whose header stands at a place, None where there is none."""
    bits = int.from_bytes(content[place : place + 4], "big")
    version, layer, kbits, rate = bits >> 19 & 3, 4 - (bits >> 17 & 3), bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    bit_rate, hertz = 1000 * _KBITS[version == 3, layer][kbits], _RATES[version][rate]
    padding = bits >> 9 & 1
    if layer == 1:
        return Frame(4 * (12 * bit_rate // hertz + padding), 384, hertz)
    samples = 576 if layer == 3 and version != 3 else 1152
    return Frame(samples // 8 * bit_rate // hertz + padding, samples, hertz)


def adts_frame(content: bytes, place: int) -> Frame | None:
    """Return the frame of AAC in ADTS whose header stands at a place, None where there is none."""
    head = content[place : place + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_AAC_RATES):
        return None
    num_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if num_bytes < 7:
        return None
    return Frame(num_bytes, AAC_FRAME * ((head[6] & 3) + 1), _AAC_RATES[head[2] >> 2 & 15])


def id3_bytes(head: bytes) -> int:
    """Return how long the ID3 tag is that begins with these ten bytes; 0 = there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    length = sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    return 10 + length + (10 if head[5] & 16 else 0)


def _frames(content: bytes, head: Head) -> Iterator[tuple[int, Frame]]:
    """Yield (place, frame) of each frame; the last one may be cut."""
    place, follows = 0, False
    while 0 <= place < len(content):
        frame = head(content, place)
        if frame is not None and (follows or _is_followed(content, place, frame, head)):
            yield place, frame
            place, follows = place + frame.num_bytes, True
        else:
            tag_bytes, follows = _tag_bytes(content, place), False
            place = place + tag_bytes if tag_bytes else content.find(b"\xff", place + 1)


def _is_followed(content: bytes, place: int, frame: Frame, head: Head) -> bool:
    """Whether another frame, a tag or the end comes behind one: the few bits of a header may be there by chance."""
    after = place + frame.num_bytes
    following = head(content, after)
    return after == len(content) or (following is not None and following.rate == frame.rate) or _tag_bytes(content, after) > 0


def _begins_a_frame(rest: bytes) -> bool:
    """Whether what is left is the begin of a frame, too short for its header."""
    return 0 < len(rest) < 7 and rest[0] == 0xFF and (len(rest) == 1 or rest[1] & 0xE0 == 0xE0)


def _tag_bytes(content: bytes, place: int) -> int:
    """How long the tag is that stands at a place; 0 = there is none."""
    head = content[place : place + 32]
    if head[:3] == b"TAG" and place + 128 >= len(content):
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        stands_in_front = head[23] & 0x20  # of its items; else behind them
        return 32 + (int.from_bytes(head[12:16], "little") if stands_in_front else 0)
    return id3_bytes(head[:10])


def _behind_tags(content: bytes, place: int) -> int:
    """Where the tags end that stand at a place, one after the other."""
    while tag_bytes := _tag_bytes(content, place):
        place += tag_bytes
    return place


def _count(content: bytes, place: int) -> int:
    """How many frames the frame at a place says that there are, 0 if it only could say so; -1 where it holds samples."""
    is_first_version, is_mono = content[place + 1] >> 3 & 3 == 3, content[place + 3] >> 6 == 3
    side_bytes = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
    begin = place + 4 + side_bytes + (0 if content[place + 1] & 1 else 2)  # behind a checksum
    head = content[begin : begin + 12]
    if head[:4] in (b"Xing", b"Info") and len(head) == 12:
        return int.from_bytes(head[8:], "big") if head[7] & 1 else 0
    if content[place + 36 : place + 40] == b"VBRI":
        return int.from_bytes(content[place + 50 : place + 54], "big")
    return -1
