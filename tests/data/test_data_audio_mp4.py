"""Claims about steps.data.audio_mp4: the length of the one track of sound, by the rules of ISO 14496-12."""

import pytest

from steps.data.audio_mp4 import read_mp4
from tests.data.containers import RATE, box, edit, fragment, mp4, sound

TWO = "holds 2 tracks of sound, of which only one would be read; write each to a file of its own"
PICTURES = sound(90_000, handler=b"vide", number=2)
DEFAULT = box(b"mvex", box(b"trex", bytes(4), b"\0\0\0\1\0\0\0\1\0\0\4\0", bytes(8)))  # track 1: 1024 a sample
FILES = {
    "one track": (mp4(sound(32_000)), "", 2.0),
    "pictures beside it, which last longer": (mp4(PICTURES, sound(32_000)), "", 2.0),
    "what an encoder needs to get going": (mp4(sound(33_024, edits=edit(32_000, 1024))), "", 2.0),
    "an edit of another part": (mp4(sound(33_024, edits=edit(16_000, 1024))), "", 1.0),
    "an edit that says nothing of the length": (mp4(sound(33_024, edits=edit(0, 1024))), "", 2.0),
    "nothing but silence in front": (mp4(sound(32_000, edits=edit(16_000, -1))), "", 2.0),
    "two tracks": (mp4(sound(32_000), sound(16_000, number=3)), TWO, None),
    "no sound": (mp4(PICTURES), "holds no track of sound", None),
    "no film": (box(b"ftyp", bytes(8)) + box(b"mdat", bytes(90)), "holds no track of sound", None),
    "fragments with lengths": (mp4(sound(0), behind=2 * fragment(2, 8, lengths=True)), "", 32 * 1024 / RATE),
    "fragments with one length": (mp4(sound(0), behind=fragment(3, 5, lengths=False)), "", 15 * 1024 / RATE),
    "fragments with a length of the film": (
        mp4(sound(0), DEFAULT, behind=box(b"moof", box(b"traf", box(b"tfhd", bytes(7), b"\1"), box(b"trun", bytes(7), b"\7")))),
        "", 7 * 1024 / RATE,
    ),
    "zeros behind": (mp4(sound(32_000), behind=bytes(300)), "", 2.0),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_the_boxes_say_how_long_the_sound_is(tmp_path, case):
    content, problem, seconds = FILES[case]
    (tmp_path / "a.m4a").write_bytes(content)
    found = read_mp4(tmp_path / "a.m4a")
    assert (found.finding.problem, found.seconds) == (problem, seconds)


def test_a_file_that_was_cut_within_a_box_is_found(tmp_path):
    path = tmp_path / "a.m4a"
    for content, name, announced in (
        (mp4(sound(32_000)), "mdat", 40),
        (mp4(sound(0), behind=2 * fragment(2, 8, lengths=True)), "mdat", 40),
    ):
        path.write_bytes(content[:-3])
        assert read_mp4(path).finding.problem == f"is cut short: its box '{name}' announces {announced} bytes, 37 are there"
    path.write_bytes(box(b"ftyp", bytes(8)) + b"\0\0\0\1mdat" + (1 << 40).to_bytes(8, "big") + bytes(90))  # with a long length
    assert read_mp4(path).finding.problem == f"is cut short: its box 'mdat' announces {(1 << 40) - 16} bytes, 90 are there"
    path.write_bytes(mp4(sound(32_000)) + b"\0\0\0\0mdat" + bytes(90))  # a last box without a length is whole
    assert read_mp4(path).finding.problem == ""
