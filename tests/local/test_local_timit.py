"""Claims about local.timit, on a miniature in SPHERE and RIFF files."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import timit
from local.timit import Settings
from steps.core.errors import RecipeError
from steps.data.audio import read_audio
from steps.data.enrolment import read_models
from steps.data.item_lists import read_items
from steps.data.manifests import audio_root, has_set, read_set
from steps.data.trials import read_trials
from tests.local.miniatures import SENTENCES, TIMIT, make_timit, prepare, write_audio

ANY = {"wrong_counts": "warn", "made_trials": ("all_pairs",), "dev_speakers": 2.0}
TRAIN = {speaker for speakers in TIMIT["TRAIN"].values() for speaker in speakers}
TEST = ["FAKS0", "MDAB0", "FCMR0", "MPGL0"]  # in the order of their paths


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_timit(tmp_path_factory.mktemp("timit"))


def run(root: Path, out: Path, **changes) -> Path:
    return prepare(timit, Settings(**{**ANY, **changes}), root, out)


def speakers(out: Path, *names: str) -> set[str]:
    return {item.speaker for name in names for item in read_set(out, name)}


def sentences(out: Path, *names: str) -> dict[str, str]:
    return {item.id: item.path for name in names for item in read_set(out, name)}


def test_sphere_files_are_read(original, tmp_path):
    assert soundfile.info(next(original.rglob("SA1.WAV"))).format == "NIST"
    out = run(original, tmp_path)
    item = next(item for item in read_set(out, "test") if item.id == "FAKS0/SX25")
    assert (item.path, item.speaker, item.gender) == ("TIMIT/TEST/DR1/FAKS0/SX25.WAV", "FAKS0", "f")
    assert (item.sampling_rate, item.num_channels) == (16000, 1)
    samples_W, _ = read_audio(audio_root("test", out, {"corpus": str(original)}) / item.path)
    expected = np.random.default_rng(48).uniform(-0.5, 0.5, len(samples_W))  # the 48th sentence that was made
    np.testing.assert_allclose(samples_W, expected, atol=2**-15)
    assert (speakers(out, "train", "dev"), speakers(out, "test")) == (TRAIN, set(TEST))
    assert {item.gender for item in read_set(out, "test") if item.speaker.startswith("M")} == {"m"}


def test_letter_case_and_format_change_nothing_but_paths(original, tmp_path):
    expected = sentences(run(original, tmp_path / "x"), "train", "dev", "test")
    assert len(expected) == 80
    small = make_timit(tmp_path / "small", lower=True, form="WAV")
    found = sentences(run(small, tmp_path / "y"), "train", "dev", "test")
    assert {name: path.lower() for name, path in expected.items()} == found
    assert (tmp_path / "y" / "out" / "trials" / "halves.txt").read_text() == (tmp_path / "x/out/trials/halves.txt").read_text()
    inner = sentences(run(small / "timit", tmp_path / "z"), "test")
    assert inner["FAKS0/SA1"] == "test/dr1/faks0/sa1.wav"


@pytest.mark.parametrize(
    "names", [("{}.WAV", "{}_RIFF.WAV"), ("{}.WAV", "{}.WAV.wav"), ("{}.WAV", "{}.wav"), ("{}.WAV.wav", "{}_RIFF.WAV")]
)
def test_of_converted_files_beside_the_originals_one_is_read(tmp_path, names):
    root = make_timit(tmp_path / "data", names=names, count=2)
    found = sentences(run(root, tmp_path, halves=False, dev_speakers=0.0), "train", "test")
    assert len(found) == 16
    assert all(path.endswith(names[0].format("")) for path in found.values())


def test_converted_files_alone_are_read(tmp_path):
    root = make_timit(tmp_path / "data", names=("{}_RIFF.WAV",), count=2)
    assert len(sentences(run(root, tmp_path, halves=False, dev_speakers=0.0), "train", "test")) == 16


def test_sentences_that_all_speak_can_be_left_out(original, tmp_path):
    out = run(original, tmp_path, sa_sentences=False, halves=False)
    found = sentences(out, "train", "dev", "test")
    assert len(found) == 64
    assert not any("/SA" in name for name in found)


def test_the_halves_are_eight_sentences_against_two(original, tmp_path):
    out = run(original, tmp_path)
    models = read_models(out / "enrolment" / "halves.txt")
    assert models["FAKS0/first8"] == tuple(f"FAKS0/{name}" for name in SENTENCES[:8])
    trials = read_trials(out / "trials" / "halves.txt")
    assert (len(trials), trials.num_target) == (4 * 8, 4 * 2)
    assert {name.partition("/")[2] for name in trials.test_ids} == set(SENTENCES[8:])
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["all_pairs.txt", "halves.txt"]


def item_lists(out: Path) -> dict[str, list[str]]:
    """List -> speakers in their order, each once."""
    folder = out / "clustering"
    lists = {path.stem: read_items(path) for path in folder.glob("*.txt")}
    for items in lists.values():
        assert [item.id for item in items] == [
            f"{item.speaker}/{part}" for item, part in zip(items, ["first8", "last2"] * (len(items) // 2), strict=True)
        ]
    return {name: list(dict.fromkeys(item.speaker for item in items)) for name, items in lists.items()}


def test_zhaws_items_are_eight_sentences_and_two(original, tmp_path, monkeypatch):
    assert not (run(original, tmp_path / "x") / "clustering").exists()
    monkeypatch.setattr(timit, "_ZHAW", (2, 3, 60))
    out = run(original, tmp_path / "y", zhaw_items=True, test_list=3)
    assert item_lists(out) == {"zhaw2": TEST[:2], "zhaw3": TEST[:3]}
    first, last = read_items(out / "clustering" / "zhaw2.txt")[:2]
    assert first.utterances == tuple(f"FAKS0/{name}" for name in SENTENCES[:8])
    assert last.utterances == tuple(f"FAKS0/{name}" for name in SENTENCES[8:])
    found = item_lists(run(original, tmp_path / "z", zhaw_items=True, test_list="all", split="test"))
    assert sorted(found) == ["zhaw2", "zhaw3", "zhaw6", "zhaw8"]
    assert (set(found["zhaw6"]), set(found["zhaw8"])) == (TRAIN | set(TEST[2:]), TRAIN | set(TEST))


def test_speaker_lists_by_rule_and_by_file(original, tmp_path):
    out = run(original, tmp_path / "x", test_list=2)
    assert (speakers(out, "test"), speakers(out, "train", "dev")) == (set(TEST[:2]), TRAIN)
    out = run(original, tmp_path / "y", test_list="2", train_list="rest")
    assert (speakers(out, "test"), speakers(out, "train", "dev")) == (set(TEST[:2]), TRAIN | set(TEST[2:]))
    out = run(original, tmp_path / "z", test_list="all", split="test")
    assert speakers(out, "test") == TRAIN | set(TEST)
    assert not has_set(out, "train")
    (tmp_path / "mine.txt").write_text("mpgl0\r\nFCJF0\r\n\r\nMARC0\r\nFAEM0")
    out = run(original, tmp_path / "v", train_list=str(tmp_path / "mine.txt"), test_list="3")
    assert speakers(out, "train", "dev") == {"MPGL0", "FCJF0", "MARC0", "FAEM0"}
    # Who is tested is not trained on, whatever the folder.
    out = run(original, tmp_path / "w", test_list=str(tmp_path / "mine.txt"), dev_speakers=0.0)
    assert speakers(out, "train") == {"MCPM0"}


def test_counts_are_those_of_all_files_whoever_is_used(original, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    with pytest.raises(RecipeError, match=r"TEST: 40 utterances \(documented: 1,680\), 4 speakers \(documented: 168\)"):
        run(original, tmp_path / "x", wrong_counts="refuse")
    monkeypatch.setattr(timit, "_SPEAKERS", {"TRAIN": 4, "TEST": 4})
    run(original, tmp_path / "y", wrong_counts="refuse", test_list=2)
    assert "TEST 4 / 4 40 / 40 as documented" in " ".join(caplog.text.split())
    assert "used as test: 20 sentences of 2 speakers" in caplog.text
    run(original, tmp_path / "z", wrong_counts="refuse", sa_sentences=False, halves=False)
    assert "TRAIN 4 / 4 32 / 32 as documented" in " ".join(caplog.text.split())


def in_both(data: Path, sentence: str, name: str) -> None:
    """Copy a sentence of a test speaker to the training speakers."""
    (data / "TIMIT/TRAIN/DR1/FAKS0").mkdir(parents=True)
    shutil.copy(data / "TIMIT/TEST/DR1/FAKS0" / sentence, data / "TIMIT/TRAIN/DR1/FAKS0" / name)


@pytest.mark.parametrize(
    ("spoil", "changes", "words"),
    [
        (lambda d: write_audio(d / "TIMIT" / "TEST" / "DR1" / "X" / "SA1.WAV"), {}, r"1 files are not .*: TEST/DR1/X/SA1.WAV"),
        (lambda d: shutil.rmtree(d / "TIMIT" / "TEST"), {}, r"no folder TEST there; .*python -m steps.download timit"),
        (lambda d: None, {"test_list": "5"}, r"prepare.test_list = 5: expected a number from 1 to the 4 speakers of TEST"),
        (lambda d: None, {"train_list": "none.txt"}, r"none.txt: no such file"),
        (lambda d: (d / "s.txt").write_text("FCJF0\nFXXX0\n"), {"train_list": "s.txt"}, r"1 of its 2 speakers .*: FXXX0;"),
        (lambda d: (d / "s.txt").write_text("\n"), {"test_list": "s.txt"}, r"s.txt \(prepare.test_list\): is empty"),
        (lambda d: (d / "TIMIT/TEST/DR1/FAKS0/SX25.WAV").write_bytes(b"NIST_1A\n   1024\n"), {}, r"1 of 80 .*FAKS0/SX25.WAV"),
        (lambda d: in_both(d, "SX25.WAV", "SX25.WAV"), {}, r"'FAKS0' has the part 'TEST' .* and 'TRAIN' \(.*SX25"),
        (lambda d: in_both(d, "SX25.WAV", "SX999.WAV"), {}, r"'FAKS0' has the part 'TEST' .* and 'TRAIN'"),
        (lambda d: [p.unlink() for p in d.glob("TIMIT/TEST/DR3/MPGL0/SX*")], {}, r"1 speakers have no more than 8 .*MPGL0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(original, tmp_path, spoil, changes, words):
    data = Path(shutil.copytree(original, tmp_path / "data"))
    spoil(data)
    with pytest.raises(RecipeError, match=words):
        run(data, tmp_path / "x", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"test_list": "all"},
        {"sa_sentences": False},
        {"sa_sentences": False, "halves": False, "zhaw_items": True},
        {"halves": False, "made_trials": ()},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expected"):
        Settings(**changes)
