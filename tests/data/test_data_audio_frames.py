"""Claims about steps.data.audio_frames: MP3 and raw AAC are as long as their frames, whatever tags and files lie between them."""

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.data import audio_aac
from steps.data.audio import check_audio, inspect_audio, read_audio
from steps.data.audio_frames import adts_frame, check_mp3, mp3_frame, scan
from tests.data.containers import RATE, adts, chunk

NOISE_W = np.random.default_rng(1).uniform(-0.5, 0.5, 3 * RATE)
ID3 = b"ID3\4\0\0\0\0\1\0" + b"\xff\xfb\x90\x40" * 32  # 128 bytes that look like frames
ID3V1 = b"TAG" + b"\0" * 125


def mp3(path: Path, samples_W: np.ndarray, *, counted: bool = True, mode: str = "CONSTANT", level: float = 0.5) -> bytes:
    """An MP3 file, with or without a first frame that says how many there are."""
    soundfile.write(path, samples_W, RATE, format="MP3", bitrate_mode=mode, compression_level=level)
    content = path.read_bytes()
    return content if counted else content[content.index(content[:2], 4) :]


def test_joined_mp3_files_are_a_problem_where_a_part_would_be_read(tmp_path):
    path = tmp_path / "a.mp3"
    first, second = mp3(path, NOISE_W), mp3(path, NOISE_W[: RATE // 5])
    for content in (
        first + second,
        first + first,
        first + ID3 + second,
        first + ID3V1 + second,
        first + second[len(second) // 2 :],
    ):
        path.write_bytes(content)
        assert len(soundfile.read(path)[0]) == len(NOISE_W)  # the second one is not read
        for decode in (True, False):
            assert "joined" in check_audio(path, decode=decode)


def test_joined_mp3_files_without_a_count_are_read_as_a_whole(tmp_path):
    path = tmp_path / "a.mp3"
    content = mp3(path, NOISE_W, counted=False)
    path.write_bytes(content + content)
    frames = scan(content, mp3_frame)
    for decode in (True, False):
        found = inspect_audio(path, decode=decode)
        assert (found.problem, found.info.num_samples) == ("", 2 * frames.num_samples)
    assert len(read_audio(path)[0]) == 2 * frames.num_samples


def id3(content: bytes) -> bytes:
    """A tag (ID3 2.4, section 3.1): its length in four times seven bits."""
    return b"ID3\4\0\0" + bytes(len(content) >> shift & 127 for shift in (21, 14, 7, 0)) + content


def ape(content: bytes) -> bytes:
    """A tag with a head and a foot, each 32 bytes; the length counts the foot."""
    ends = [b"APETAGEX" + struct.pack("<IIIIQ", 2000, len(content) + 32, 1, flags, 0) for flags in (0xA0000000, 0x80000000)]
    return ends[0] + content + ends[1]


@pytest.mark.parametrize("tag", [lambda inside: b"", id3, ape, lambda inside: ape(inside) + ID3V1, lambda inside: bytes(900)])
def test_tags_are_no_sound_even_if_they_hold_frames(tmp_path, tag):
    path = tmp_path / "a.mp3"
    inside = mp3(path, NOISE_W[: RATE // 4], counted=False)
    for counted in (True, False):
        content = mp3(path, NOISE_W, counted=counted)
        assert scan(id3(inside) + content + tag(inside), mp3_frame) == scan(content, mp3_frame)
        path.write_bytes(id3(inside) + content + tag(b"an image" * 80))  # frames in a tag behind are sound to libsndfile
        assert inspect_audio(path, decode=False)[1:] == inspect_audio(path)[1:] == ("", "")


def test_frames_without_a_length_are_a_problem(tmp_path):
    """Free format: the header of each frame says 0 for its bit rate."""
    path = tmp_path / "a.mp3"
    content = bytearray(mp3(path, NOISE_W, counted=False))
    assert "can be followed" in check_mp3(bytes(content[:1]) * 3000).problem
    place = 0
    while frame := mp3_frame(bytes(content), place):
        content[place + 2] &= 0x0F
        place += frame.num_bytes
    assert "can be followed" in check_mp3(bytes(content)).problem


def test_the_length_of_frames_is_that_of_the_standard():
    """ISO 11172-3, 2.4.3.1: 144 bit rate / rate bytes (layers II and III), four times 12 bit rate / rate (I); half in MPEG 2."""
    for head, expected in {
        b"\xff\xfb\x90\x40": (417, 1152, 44100), b"\xff\xfb\x92\x40": (418, 1152, 44100), b"\xff\xf3\x80\xc0": (208, 576, 22050),
        b"\xff\xfd\xa4\x00": (576, 1152, 48000), b"\xff\xff\x98\x00": (432, 384, 32000), b"\xff\xe3\x48\xc4": (288, 576, 8000),
    }.items():  # fmt: skip
        assert mp3_frame(head, 0) == expected
    for none in (
        b"\xff\xfb\x00\x40",
        b"\xff\xfb\xf0\x40",
        b"\xff\xfb\x9c\x40",
        b"\xff\xeb\x90\x40",
        b"\xff\xf9\x90\x40",
        b"\xfe\xfb\x90\x40",
        b"",
    ):
        assert mp3_frame(none, 0) is None


def test_mp3_in_wav_is_as_long_as_its_frames(tmp_path):
    frames = mp3(tmp_path / "a.mp3", NOISE_W, counted=False)
    head = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 576, 1, 1393)
    body = b"WAVE" + chunk(b"fmt ", head) + chunk(b"fact", struct.pack("<I", 48000)) + chunk(b"data", frames)
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    for decode in (True, False):
        found = inspect_audio(tmp_path / "a.wav", decode=decode)
        assert (found.problem, found.info.num_samples) == ("", scan(frames, mp3_frame).num_samples)


def test_raw_aac_is_as_long_as_its_frames(tmp_path, monkeypatch):
    decoded = {"num": 100 * 1024}
    monkeypatch.setattr(
        audio_aac, "decode", lambda path: audio_aac.Decoded(np.full((decoded["num"], 1), 0.1, dtype=np.float32), RATE)
    )
    path, content = tmp_path / "a.aac", adts(100)
    assert scan(content, adts_frame)[:3] == (100 * 1024, 100 * 1024 / RATE, 100)
    for good in (content, ID3 + content, content + ID3V1, content[:2000] + ID3 + content[2000:]):
        path.write_bytes(good)
        assert check_audio(path) == ""
    for lost in (1, 6, 43, 44, 49):
        path.write_bytes(content[:-lost])
        for decode in (True, False):
            assert check_audio(path, decode=decode) == "is cut short: its last AAC frame is not whole"
    path.write_bytes(content)
    decoded["num"] = 97 * 1024
    assert check_audio(path) == "is cut short: 6.40 s announced, 6.21 s there"
    path.write_bytes(b"\x56\xe0\x10 LATM is no ADTS" * 9)
    assert check_audio(path).startswith("has neither boxes of MPEG-4 nor frames of AAC (ADTS)")


def test_no_whole_aac_file_of_ffmpeg_is_refused_and_every_cut_one_is(tmp_path):
    pytest.importorskip(
        "torchcodec.decoders", reason="torchcodec or ffmpeg is missing", exc_type=(ImportError, RuntimeError, OSError)
    )
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is missing")
    rng, path = np.random.default_rng(3), tmp_path / "a.aac"
    for number in range(12):  # ffmpeg guesses the length of half of these wrongly: speech and silence have unlike bit rates
        level_W = np.repeat(rng.uniform(0, 1, 20) ** 6, RATE // 4)
        soundfile.write(tmp_path / "a.wav", 0.2 * level_W * rng.normal(size=level_W.size), RATE)
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", tmp_path / "a.wav", path], check=True)
        found = inspect_audio(path)
        assert (found.problem, found.info.num_samples // 1024) == ("", -(-level_W.size // 1024) + 1)
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(len(content) // 2, len(content) - 1))])
        assert check_audio(path).startswith(("is cut short", "cannot be decoded")), number


def test_damage_between_the_frames_of_an_mp3_is_remarked_and_tags_are_not(tmp_path):
    path = tmp_path / "a.mp3"
    for counted in (True, False):
        content = mp3(path, NOISE_W, counted=counted)
        places, place = [], 0
        while place < len(content):
            places.append(place)
            place += mp3_frame(content, place).num_bytes
        middle = places[len(places) // 2]
        path.write_bytes(content[:middle] + ID3 + ID3 + content[middle:])
        assert check_mp3(path.read_bytes())[:2] == ("", "")
        path.write_bytes(content[:middle] + bytes(4) + content[middle + 4 :])
        found = inspect_audio(path, decode=False)
        assert (found.problem, found.remark) == (
            "",
            f"{places[len(places) // 2 + 1] - middle} bytes between its MP3 frames are none: it may be damaged there",
        )
