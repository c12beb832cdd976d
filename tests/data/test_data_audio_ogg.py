"""Claims about steps.data.audio_ogg: libsndfile reads the first stream of an Ogg file, so that a second one is a problem."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.data.audio import inspect_audio
from tests.data.containers import RATE

JOINED = "Ogg streams of sound (joined files or several tracks), of which only the first would be read"


def write(path: Path, seconds: float, subtype: str) -> bytes:
    soundfile.write(path, np.random.default_rng(1).uniform(-0.3, 0.3, round(seconds * RATE)), RATE, format="OGG", subtype=subtype)
    return path.read_bytes()


def pages(content: bytes) -> list[bytes]:
    """The pages of a file, by their sizes (RFC 3533, section 6)."""
    found = []
    while content:
        size = 27 + content[26] + sum(content[27 : 27 + content[26]])
        found.append(content[:size])
        content = content[size:]
    return found


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_joined_streams_are_a_problem_and_one_is_none(tmp_path, subtype, decode):
    path = tmp_path / "a.ogg"
    first, second = write(path, 2, subtype), write(path, 1, subtype)
    path.write_bytes(first)
    assert inspect_audio(path, decode=decode)[1:] == ("", "")
    for content, num in ((first + second, 2), (first + first, 2), (second + first + second, 3)):
        path.write_bytes(content)
        assert soundfile.info(path).frames <= 2 * RATE  # it is a part that would be read
        assert inspect_audio(path, decode=decode).problem.startswith(f"holds {num} {JOINED}")


def test_streams_side_by_side_are_a_problem(tmp_path):
    path = tmp_path / "a.ogg"
    first, second = pages(write(path, 2, "VORBIS")), pages(write(path, 1, "VORBIS"))
    path.write_bytes(b"".join([first[0], second[0], *first[1:], *second[1:]]))
    assert inspect_audio(path, decode=False).problem.startswith(f"holds 2 {JOINED}")


def test_a_page_that_is_missing_in_the_middle_is_found_without_decoding(tmp_path):
    path = tmp_path / "a.ogg"
    content = pages(write(path, 8, "OPUS"))
    assert len(content) > 6
    path.write_bytes(b"".join(content[:4] + content[5:]))
    assert inspect_audio(path, decode=False).problem == "lacks pages of its Ogg stream in 1 places; fetch or write it anew"


def test_what_lies_between_pages_is_passed_over(tmp_path):
    path = tmp_path / "a.ogg"
    content = pages(write(path, 8, "OPUS"))
    path.write_bytes(b"".join([*content[:4], b"Ogg" * 30_000, *content[4:]]))
    assert inspect_audio(path, decode=False)[1:] == ("", "")


def test_a_file_whose_second_half_never_came_is_cut_short(tmp_path):
    path = tmp_path / "a.ogg"
    content = pages(write(path, 8, "OPUS"))
    begin, rest = b"".join(content[:5]), b"".join(content[5:])
    path.write_bytes(begin + bytes(len(rest)))  # as programs leave it that make room for all of a file first
    assert inspect_audio(path, decode=False).problem == (
        f"is cut short: its last Ogg page is not the end, and the {len(rest)} bytes behind it are no pages"
    )
    path.write_bytes(begin)
    assert inspect_audio(path, decode=False)[1:] == ("", "its Ogg stream has no end mark: it may have been cut short")
    path.write_bytes(begin + rest + bytes(1000))  # a tag, behind the end
    assert inspect_audio(path, decode=False)[1:] == ("", "")
