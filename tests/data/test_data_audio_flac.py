"""Claims about steps.data.audio_flac: files of libFLAC tell their length by their last frame; lies of the header are found."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.data import audio_flac
from steps.data.audio import inspect_audio

RATE = 16000


def write(path: Path, num_samples: int, rate: int = RATE, channels: int = 1, subtype: str = "PCM_16") -> bytearray:
    samples_WC = np.random.default_rng(num_samples).uniform(-0.1, 0.1, (num_samples, channels))
    soundfile.write(path, samples_WC, rate, subtype=subtype)
    return bytearray(path.read_bytes())


def announce(content: bytearray, num_samples: int) -> bytes:
    """The file with another number of samples in its header: the last 36 bits of bytes 18 to 25 (RFC 9639, 8.2)."""
    bits = int.from_bytes(content[18:26], "big")
    return bytes(content[:18]) + (bits >> 36 << 36 | num_samples).to_bytes(8, "big") + bytes(content[26:])


@pytest.mark.parametrize("num_samples", [1, 100, 4095, 4096, 4097, 600_001])
@pytest.mark.parametrize(("rate", "channels", "subtype"), [(RATE, 1, "PCM_16"), (44100, 2, "PCM_24"), (11025, 1, "PCM_S8")])
def test_the_last_frame_says_where_the_file_ends(tmp_path, num_samples, rate, channels, subtype):
    path = tmp_path / "a.flac"
    content = write(path, num_samples, rate, channels, subtype)
    assert inspect_audio(path, decode=False, channel=0).problem == ""
    for said in (num_samples // 2, num_samples - 1, num_samples + 1, num_samples + 10_000):
        path.write_bytes(announce(content, said))
        if said:
            what = "is cut short" if said > num_samples else "is longer than its header says"
            expected = f"{what}: {said} samples announced, {num_samples} there; write it anew"
            assert inspect_audio(path, decode=False, channel=0).problem == expected


def test_a_file_cut_between_two_frames_is_found_without_decoding(tmp_path):
    path = tmp_path / "a.flac"
    content = bytes(write(path, 3 * RATE))
    frames = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xf8"]
    stream = audio_flac._stream(io.BytesIO(content))
    starts = [place for place in frames if audio_flac._frame(content[place : place + 16], stream)]
    assert len(starts) == -(-3 * RATE // 4096)
    path.write_bytes(content[: starts[-2]])
    assert (
        inspect_audio(path, decode=False).problem
        == f"is cut short: 48000 samples announced, {4096 * (len(starts) - 2)} there; write it anew"
    )


def test_what_looks_like_a_frame_and_is_none_is_passed_over(tmp_path):
    """A file that ends in something else than a whole frame, with a good header or a bad one."""
    path = tmp_path / "a.flac"
    content = bytes(write(path, 3 * RATE))
    first = content[content.index(b"\xff\xf8") :][:6]
    path.write_bytes(content + first + b"\0" * 20)  # nothing can be told of a file with a tag behind it
    assert inspect_audio(path, decode=False).problem == ""
    path.write_bytes(announce(bytearray(content + first + b"\0" * 20), 7))
    assert inspect_audio(path, decode=False).problem == ""
    longer = announce(bytearray(content), 7)
    path.write_bytes(longer[:-1] + bytes([longer[-1] ^ 1]))  # its last checksum is wrong
    assert inspect_audio(path, decode=False).problem == ""


def test_a_part_of_a_stream_has_its_own_length(tmp_path):
    """Frames that do not begin with the first sample, as in a recorded broadcast."""
    path = tmp_path / "a.flac"
    content = bytes(write(path, 3 * RATE))
    begin = content.index(b"\xff\xf8")
    stream = audio_flac._stream(io.BytesIO(content))
    second = next(p for p in range(begin + 1, len(content)) if audio_flac._frame(content[p : p + 16], stream))
    path.write_bytes(announce(bytearray(content[:begin] + content[second:]), 3 * RATE - 4096))
    assert inspect_audio(path, decode=False).problem == ""


def test_coded_numbers_are_those_of_utf_8():
    for number in (0, 1, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF):
        coded = chr(number).encode("utf-8", errors="surrogatepass")
        assert audio_flac._coded_number(b"0000" + coded + b"\xff") == (number, 4 + len(coded))
    assert audio_flac._coded_number(b"0000\xfe" + b"\xbf" * 6) == ((1 << 36) - 1, 11)  # the longest, beyond UTF-8
    for wrong in (b"\x80", b"\xc2\xff", b"\xff", b"\xe0\x80"):
        assert audio_flac._coded_number(b"0000" + wrong) == (-1, 0)


def test_checksums_are_those_of_their_polynomials():
    """The remainder of a division of polynomials with coefficients 0 and 1, digit by digit."""
    for content in (b"123456789", bytes(range(256)), zlib.compress(b"speech")):
        for crc, polynomial, width in ((audio_flac._crc8, 0x107, 8), (audio_flac._crc16, 0x18005, 16)):
            left = int.from_bytes(content, "big") << width
            for place in range(8 * len(content) + width - 1, width - 1, -1):
                left ^= (polynomial << (place - width)) * (left >> place & 1)
            assert crc(content) == left


def test_joined_files_are_a_problem_whatever_their_lengths(tmp_path):
    path = tmp_path / "a.flac"
    one, other, tag = bytes(write(path, 2 * RATE)), bytes(write(path, RATE)), b"ID3\4\0\0\0\0\0\5abcde"
    for content in (one + other, one + one, one + other + one, tag + one + tag + one):
        path.write_bytes(content)
        assert soundfile.info(path).frames == 2 * RATE  # it is the first part that would be read
        for decode in (True, False):
            assert inspect_audio(path, decode=decode).problem.startswith("holds several FLAC streams (files that were joined)")


def test_tags_in_front_and_behind_do_not_hide_a_length_that_is_wrong(tmp_path):
    path = tmp_path / "a.flac"
    content, front, behind = write(path, 2 * RATE), b"ID3\4\0\0\0\0\1\0" + b"\xff\xf8" * 64, b"TAG" + bytes(125)
    for said, problem in ((2 * RATE, ""), (RATE, "is longer than its header says"), (3 * RATE, "is cut short")):
        for wrapped in (
            front + announce(content, said),
            announce(content, said) + behind,
            front + announce(content, said) + behind,
        ):
            path.write_bytes(wrapped)
            found = inspect_audio(path, decode=False)
            assert found.problem.startswith(problem) if problem else found[1:] == ("", "")
