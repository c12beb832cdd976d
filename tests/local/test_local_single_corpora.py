"""Claims about local.vctk, local.speechocean762 and local.audiomnist, on miniatures."""

import json
import shutil
from pathlib import Path

import pytest

from local import audiomnist, speechocean762, vctk
from local.listing.documented import Counts
from steps.core.errors import RecipeError
from steps.data.manifests import has_set, read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.local.miniatures import make_audiomnist, make_speechocean762, make_vctk, prepare, write_audio

ANY = {"wrong_counts": "warn", "made_trials": ("all_pairs",), "dev_speakers": 0.0}


def run(corpus, root: Path, out: Path, **changes) -> Path:
    return prepare(corpus, corpus.Settings(**{**ANY, **changes}), root, out)


def items(out: Path, *names: str):
    return {item.id: item for name in names for item in read_set(out, name)}


def genders(out: Path) -> dict[str, str]:
    return dict(line.split() for line in (out / "spk2gender").read_text().splitlines())


@pytest.fixture(scope="module")
def voices(tmp_path_factory) -> Path:
    return make_vctk(tmp_path_factory.mktemp("vctk"))


def test_of_vctk_one_microphone_is_read(voices, tmp_path):
    out = run(vctk, voices, tmp_path / "x", split="test")
    found = items(out, "test")
    assert len(found) == 5 * 3
    assert found["p225/p225_001"].path == "VCTK-Corpus-0.92/wav48_silence_trimmed/p225/p225_001_mic1.flac"
    assert genders(out) == {"p225": "f", "p226": "m", "p280": "f", "p315": "m", "s5": "f"}
    out = run(vctk, voices / "VCTK-Corpus-0.92", tmp_path / "y", split="test", microphone="mic2")
    assert {item.speaker for item in items(out, "test").values()} == {"p225", "p226", "s5"}
    assert all(item.path.endswith("_mic2.flac") for item in items(out, "test").values())
    made = run(vctk, voices, tmp_path / "z", test_speakers=2.0)
    assert (len(read_set(made, "train")), len(read_set(made, "test"))) == (9, 6)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: write_audio(d / "wav48_silence_trimmed" / "p225" / "p226_001_mic1.flac"), r"1 files .*p225/p226_001_mic1"),
        (lambda d: (d / "wav48_silence_trimmed").rename(d / "wav48"), r"no folder wav48_silence_trimmed there; expected VCTK"),
        (lambda d: (d / "speaker-info.txt").write_text("ID AGE\np225 23\n"), r"speaker-info.txt:2: expected '<speaker> <age>"),
        (lambda d: (d / "speaker-info.txt").write_text("225 23 X\n"), r"speaker-info.txt:1: gender 'X'"),
    ],
)  # fmt: skip
def test_another_vctk_is_refused(voices, tmp_path, spoil, words):
    data = Path(shutil.copytree(voices, tmp_path / "data"))
    spoil(data / "VCTK-Corpus-0.92")
    with pytest.raises(RecipeError, match=words):
        run(vctk, data, tmp_path / "x")


def test_vctk_has_as_many_speakers_as_documented(voices, tmp_path):
    with pytest.raises(RecipeError, match=r"mic2: 9 utterances, 3 speakers \(documented: 108\)"):
        run(vctk, voices, tmp_path, wrong_counts="refuse", microphone="mic2")


@pytest.fixture(scope="module")
def learners(tmp_path_factory) -> Path:
    return make_speechocean762(tmp_path_factory.mktemp("so762"))


def test_speechocean762_has_its_published_sets(learners, tmp_path):
    out = run(speechocean762, learners, tmp_path / "x", dev_speakers=2.0, dev_min_utterances=2)
    assert {item.speaker for item in items(out, "train", "dev").values()} == {"0001", "0005", "0006", "0026"}
    found = items(out, "test")
    assert found["000030011"].path == "speechocean762/WAVE/SPEAKER0003/000030011.WAV"
    assert {item.speaker for item in found.values()} == {"0003", "0024"}
    assert genders(out)["0024"] == "m"
    out = run(speechocean762, learners / "speechocean762", tmp_path / "y", split="test")
    assert not has_set(out, "train")
    assert items(out, "test")["000030011"].path == "WAVE/SPEAKER0003/000030011.WAV"


def test_everybody_can_be_tested_as_in_voxceleb1_e(learners, tmp_path):
    out = run(speechocean762, learners, tmp_path, split="all", made_trials=("extended",))
    assert not any(has_set(out, name) for name in ("train", "dev"))
    speakers = {item.speaker for item in read_set(out, "test")}
    assert speakers == {"0001", "0003", "0005", "0006", "0024", "0026"}
    trials = read_trials(out / "trials" / "extended.txt")
    utt2spk = read_utt2spk(out / "utt2spk")
    assert {utt2spk[name] for name in trials.enrol_ids} == speakers
    with pytest.raises(ValueError, match="split: expected one of made, test, found 'all'"):
        vctk.Settings(split="all")  # "test" says it there


def test_another_speechocean762_is_refused(learners, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"test: 6 utterances \(documented: 2,500\), 2 speakers \(documented: 125\)"):
        run(speechocean762, learners, tmp_path / "x", wrong_counts="refuse")
    with pytest.raises(RecipeError, match=r"no test/wav.scp there"):
        run(speechocean762, tmp_path, tmp_path / "y")
    data = Path(shutil.copytree(learners, tmp_path / "data"))
    next(data.rglob("000030011.WAV")).unlink()
    with pytest.raises(RecipeError, match=r"000030011.WAV does not exist"):
        run(speechocean762, data, tmp_path / "z")


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    return make_audiomnist(tmp_path_factory.mktemp("digits"))


def test_speakers_of_audiomnist_are_drawn(digits, tmp_path):
    out = run(audiomnist, digits, tmp_path / "x", test_speakers=3.0)
    assert (len(read_set(out, "train")), len(read_set(out, "test"))) == (12, 12)
    found = items(out, "train", "test")
    assert found["26/9_26_49"].path == "AudioMNIST/data/26/9_26_49.wav"
    assert genders(out) == {"01": "m", "02": "m", "12": "f", "26": "f", "28": "f", "60": "f"}
    for number, root in enumerate((digits / "AudioMNIST", digits / "AudioMNIST" / "data")):
        assert len(items(run(audiomnist, root, tmp_path / f"{number}", split="test"), "test")) == 24


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: write_audio(d / "26" / "0_28_0.wav", rate=48000), r"1 files are not .*26/0_28_0.wav"),
        (lambda d: write_audio(d / "26" / "0_26_7.wav", rate=16000), r"expected 48000 Hz in all files, found 16000 Hz in 1"),
        (lambda d: (d / "audioMNIST_meta.txt").write_text('{"01": {"age": 3}}'), r"_meta.txt: expected .*KeyError: 'gender'"),
        (lambda d: (d / "audioMNIST_meta.txt").write_text('{"01": '), r"audioMNIST_meta.txt: expected .*JSONDecodeError"),
        (lambda d: (d / "audioMNIST_meta.txt").write_text(json.dumps({"01": {"gender": "x"}})), r"speaker 01: gender 'x'"),
        (lambda d: [shutil.rmtree(each) for each in list(d.iterdir()) if each.is_dir()], r"no folders 01, 02 ... there"),
    ],
)  # fmt: skip
def test_another_audiomnist_is_refused(digits, tmp_path, spoil, words):
    data = Path(shutil.copytree(digits, tmp_path / "data"))
    spoil(data / "AudioMNIST" / "data")
    with pytest.raises(RecipeError, match=words):
        run(audiomnist, data, tmp_path / "x")


def test_audiomnist_has_as_many_recordings_as_documented(digits, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"audiomnist: 24 utterances \(documented: 30,000\), 6 speakers \(documented: 60\)"):
        run(audiomnist, digits, tmp_path / "x", wrong_counts="refuse")
    monkeypatch.setattr(audiomnist.Settings, "DOCUMENTED", {"audiomnist": Counts(speakers=6, utterances=24)})
    run(audiomnist, digits, tmp_path / "y", wrong_counts="refuse")


@pytest.mark.parametrize("make", [lambda: vctk.Settings(microphone="mic3"), lambda: vctk.Settings(split="published")])
def test_settings_are_checked(make):
    with pytest.raises(ValueError, match="expected"):
        make()
