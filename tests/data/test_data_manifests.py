"""Claims about steps.data.manifests; lhotse is the outside reader."""

import gzip
import tracemalloc
from dataclasses import replace

import lhotse
import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data import manifests
from steps.data.manifests import Utterance


def utterance(name: str, **changes) -> Utterance:
    values = {
        "id": name, "speaker": name.split("/")[0], "gender": "f", "session": "s1", "corpus": "c", "path": f"{name}.wav",
        "sampling_rate": 16000, "num_samples": 1601,
    }  # fmt: skip
    return Utterance(**values | changes)


ITEMS = [
    utterance("b/2", gender="", session="", corpus=""),
    utterance("a/1"),
    utterance("a/ü", start=0.1, channel=1, num_channels=2),
]


def test_read_set_returns_what_was_written_sorted_by_id(tmp_path):
    manifests.write_set(tmp_path / "test", ITEMS)
    assert list(manifests.read_set(tmp_path, "test")) == sorted(ITEMS, key=lambda item: item.id)


def test_utterances_are_a_sequence_and_read_once(tmp_path):
    manifests.write_set(tmp_path / "test", ITEMS)
    found, expected = manifests.read_set(tmp_path, "test"), sorted(ITEMS, key=lambda item: item.id)
    assert (found[1], found[-1], found[1:], len(found)) == (expected[1], expected[-1], expected[1:], 3)
    assert (list(found.ids), list(found.speakers)) == (["a/1", "a/ü", "b/2"], ["a", "a", "b"])
    assert manifests.read_set(tmp_path, "test") is found
    manifests.write_set(tmp_path / "test", ITEMS[:2])
    assert list(manifests.read_set(tmp_path, "test")) == expected[::2]


def test_a_million_utterances_would_take_two_hundred_megabytes(tmp_path):
    num = 4000
    ids = [f"id{number // 180:05d}/abcdefghij{number // 8 % 10}/{number:05d}" for number in range(num)]
    manifests.write_set(tmp_path / "train", (utterance(name, path=f"vox2/dev/aac/{name}.m4a") for name in ids))
    manifests._set_at.cache_clear()
    tracemalloc.start()
    found = manifests.read_set(tmp_path, "train")
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == num
    assert held / num < 200  # bytes; as objects about 500, and as parsed JSON 5,000
    assert most / num < 400


@pytest.mark.parametrize("kept", [slice(0, 2), slice(1, 3), slice(None, None, -1)])
def test_files_of_a_set_that_differ_are_refused(tmp_path, kept):
    manifests.write_set(tmp_path / "test", ITEMS)
    path = tmp_path / "test" / manifests.SUPERVISIONS
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[kept])))
    with pytest.raises(RecipeError, match="differ in utterance . expected the same ids".replace(" . ", ".*")):
        manifests.read_set(tmp_path, "test")
    recordings = tmp_path / "test" / manifests.RECORDINGS
    both = gzip.decompress(recordings.read_bytes()).splitlines(keepends=True)[::-1]
    recordings.write_bytes(gzip.compress(b"".join(both)))
    path.write_bytes(gzip.compress(b"".join(lines[::-1])))
    with pytest.raises(RecipeError, match="sorted by id"):
        manifests.read_set(tmp_path, "test")


def test_written_set_has_the_same_bytes_in_any_order_and_place(tmp_path):
    for name, items in (("x", ITEMS), ("y", ITEMS[::-1])):
        manifests.write_set(tmp_path / name, items)
    for file in (manifests.RECORDINGS, manifests.SUPERVISIONS):
        first, second = ((tmp_path / name / file).read_bytes() for name in "xy")
        assert first == second
        assert first[4:8] == b"\0\0\0\0"  # the time stamp of gzip (RFC 1952)


def test_lhotse_loads_the_samples_of_every_supervision(tmp_path):
    samples_WC = np.random.default_rng(1).uniform(-0.5, 0.5, (4000, 2)).astype(np.float32)
    items = [
        utterance("a/1", num_samples=4000, path="audio/a.wav", num_channels=2),
        utterance("a/2", num_samples=800, path="audio/a.wav", start=0.125, channel=1, num_channels=2),
    ]
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", samples_WC, 16000, subtype="FLOAT")
    manifests.write_set(tmp_path / "test", items)
    recordings = lhotse.RecordingSet.from_file(tmp_path / "test" / manifests.RECORDINGS).with_path_prefix(tmp_path)
    supervisions = lhotse.SupervisionSet.from_file(tmp_path / "test" / manifests.SUPERVISIONS)
    found = {cut.supervisions[0].id: cut for cut in lhotse.CutSet.from_manifests(recordings, supervisions).trim_to_supervisions()}
    np.testing.assert_array_equal(found["a/1"].load_audio()[0], samples_WC[:, 0])
    np.testing.assert_array_equal(found["a/2"].load_audio()[0], samples_WC[2000:2800, 1])
    supervision = next(iter(supervisions))
    assert (supervision.speaker, supervision.gender, supervision.custom) == ("a", "f", {"corpus": "c", "session": "s1"})


def test_lhotse_writes_the_same_fields(tmp_path):
    manifests.write_set(tmp_path / "test", [utterance("a/1")])
    recording = lhotse.RecordingSet.from_file(tmp_path / "test" / manifests.RECORDINGS)
    recording = next(iter(recording))
    with gzip.open(tmp_path / "test" / manifests.RECORDINGS, "rt") as file:
        assert recording.to_dict() == manifests.json.loads(file.read())


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], ["no utterance"]),
        ([utterance("a/1", path="x.wav"), utterance("a/1", path="y.flac")], ["'a/1'", "x.wav", "y.flac"]),
        ([utterance("a/1 2")], ["'a/1 2'", "replace_spaces"]),
        ([utterance("../a")], ["'../a'"]),
        ([utterance("a//b")], ["'a//b'"]),
        ([utterance("a/1", speaker="")], ["speaker ids"]),
        ([utterance("a/1", path="/x/a.wav")], ["/x/a.wav", "relative"]),
        ([utterance("a/1", path="../a.wav")], ["../a.wav"]),
        ([utterance("a/1", num_samples=0)], ["0 samples"]),
        ([utterance("a/1", gender="x")], ["gender 'x'"]),
        ([utterance("a/1", channel=1)], ["channel 1 of 1"]),
    ],
)
def test_write_set_refuses_and_names(tmp_path, items, words):
    with pytest.raises(RecipeError) as error:
        manifests.write_set(tmp_path / "test", items)
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "test").exists()


def test_missing_and_damaged_sets_are_named(tmp_path):
    manifests.write_set(tmp_path / "dev", ITEMS)
    with pytest.raises(RecipeError, match=r"no set 'test'.*\['dev'\]"):
        manifests.read_set(tmp_path, "test")
    path = tmp_path / "dev" / manifests.SUPERVISIONS
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecipeError, match="supervisions.jsonl.gz"):
        manifests.read_set(tmp_path, "dev")
    assert manifests.has_set(tmp_path, "dev")
    assert not manifests.has_set(tmp_path, "test")


def test_audio_lies_below_the_root_of_its_set(tmp_path):
    manifests.write_roots(tmp_path, {"test": "corpus", "toy": ""})
    item = utterance("a/1")
    assert (manifests.audio_root("test", tmp_path, {"corpus": "/data"}) / item.path).as_posix() == "/data/a/1.wav"
    assert manifests.audio_root("toy", tmp_path, {}) / item.path == tmp_path / "a/1.wav"
    with pytest.raises(RecipeError, match=r"site\.corpus"):
        manifests.audio_root("test", tmp_path, {"noise": "/n"})
    with pytest.raises(RecipeError, match="no root for the set 'dev'"):
        manifests.audio_root("dev", tmp_path, {})
    manifests.write_roots(tmp_path, {"test": "elsewhere"})  # read anew
    assert manifests.read_roots(tmp_path) == {"test": "elsewhere"}


def test_utt2spk_round_trip_and_its_errors(tmp_path):
    manifests.write_utt2spk(tmp_path / "utt2spk", [*ITEMS, ITEMS[0]])
    assert (tmp_path / "utt2spk").read_text() == "a/1 a\na/ü a\nb/2 b\n"
    assert manifests.read_utt2spk(tmp_path / "utt2spk") == {"a/1": "a", "a/ü": "a", "b/2": "b"}
    (tmp_path / "utt2spk").write_text("a/1 a\na/1 b\n")
    with pytest.raises(RecipeError, match="utt2spk:2: .*'a' and 'b'"):
        manifests.read_utt2spk(tmp_path / "utt2spk")
    (tmp_path / "utt2spk").write_text("a/1\n")
    with pytest.raises(RecipeError, match="utt2spk:1"):
        manifests.read_utt2spk(tmp_path / "utt2spk")


def test_duration_and_first_sample_follow_from_samples():
    item = replace(ITEMS[0], start=0.1, num_samples=8000)
    assert (item.duration, item.start_sample) == (0.5, 1600)
