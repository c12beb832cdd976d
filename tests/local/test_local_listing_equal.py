"""Recordings of equal bytes are found, and told apart by whose they are."""

from dataclasses import replace

from local.listing.equal import write_equal
from local.listing.files import Row
from local.listing.shards import Opened
from steps.data.same_content import FILE, read_groups


def opened(path, speaker, content, kind="speech", problem="", num_samples=16000):
    row = Row(id=path.removesuffix(".wav"), path=path, speaker=speaker)
    return Opened(
        kind=kind, row=row, problem=problem, sampling_rate=16000, num_samples=num_samples, num_channels=1, content=content
    )  # fmt: skip


def test_equal_recordings_are_said_with_whose_they_are(tmp_path):
    files = [
        opened("b/1.wav", "b", "X"), opened("a/1.wav", "a", "X"), opened("a/2.wav", "a", "Y"), opened("a/3.wav", "a", "Y"),
        opened("c/1.wav", "c", "Z"), opened("n.wav", "n", "Z", kind="noise"), opened("c/2.wav", "c", "Z", problem="is cut short"),
    ]  # fmt: skip
    found = write_equal(tmp_path, files, 0)
    assert found == [
        ("speech", "b/1.wav", "the same content as a/1.wav, of ANOTHER speaker, 'a' not 'b'"),
        ("speech", "a/3.wav", "the same content as a/2.wav, of the same speaker"),
    ]
    assert read_groups(tmp_path) == [["a/1", "b/1"], ["a/2", "a/3"]]


def test_nothing_is_said_where_nothing_is_known(tmp_path):
    assert write_equal(tmp_path, [opened("a.wav", "a", ""), opened("b.wav", "b", "")], 0) == []
    assert not (tmp_path / FILE).exists()


def test_one_recording_under_two_ids_is_named_by_them(tmp_path):
    part, same = (opened(f"a/{n}.wav", "a", "P") for n in "12")
    part, same = (replace(each, row=replace(each.row, end=1.0)) for each in (part, same))
    assert write_equal(tmp_path, [part, same], 0) == [
        ("speech", "a/2.wav", "its part 'a/2' has the same content as 'a/1' of a/1.wav, of the same speaker")
    ]
    one, other = (opened("a/1.wav", "a", "X") for _ in range(2))
    other = replace(other, row=replace(other.row, id="again"))
    assert write_equal(tmp_path, [one, other], 0) == [
        ("speech", "a/1.wav", "the same recording is 'again' and 'a/1', of the same speaker")
    ]
