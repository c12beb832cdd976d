"""Claims about audio that is written anew: its content decides, whatever its size and times say."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import augment, extract, prepare
from steps.data.audio_content import content_of, read_opened, state_of

ROOT = Path(__file__).parents[2]
RATE = 16000
FACE = ("--set", "site.noise={corpus}/../noise", "--set", "prepare.noise=noise")


def _write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, RATE // 4), RATE)


@pytest.fixture
def corpus(tmp_path) -> Path:
    for speaker in range(6):
        for number in range(3):
            _write(tmp_path / "corpus" / f"s{speaker}" / f"u{number}.wav", 10 * speaker + number)
    for number in range(2):
        _write(tmp_path / "noise" / f"n{number}.wav", 100 + number)
    return tmp_path / "corpus"


@pytest.fixture
def stage(corpus, monkeypatch, capsys):
    """Runs a stage as its command line does; returns (status, what it said)."""
    monkeypatch.chdir(ROOT)
    handler = signal.getsignal(signal.SIGTERM)
    top = corpus.parent

    def run(module, *words: str, out: str, **inputs: str) -> tuple[int, str]:
        arguments = ["--config", "recipes/own/resnet_aam.toml", "--set", f"site.corpus={corpus}", "--set", "system.name=x"]
        arguments += [each.format(corpus=corpus) for each in (*FACE, *words)]
        for name, folder in inputs.items():
            arguments += [f"--{name}", str(top / folder)]
        monkeypatch.setattr(sys, "argv", [module.__name__, *arguments, "--out", str(top / out)])
        with pytest.raises(SystemExit) as caught:
            module.STAGE.main()
        return caught.value.code, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGTERM, handler)


def _rewrite(path: Path, *, keep_times: bool = False) -> None:
    """Other samples at the same size; `keep_times`: with the modification time of before."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-200:] = bytes(255 - each for each in content[-200:])
    with open(path, "r+b") as file:  # the inode stays, too
        file.write(content)
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("name", ["corpus/s1/u2.wav", "noise/n1.wav"])
def test_audio_written_anew_at_equal_size_is_refused_by_name_and_taken_by_force(stage, corpus, name, keep_times):
    assert stage(prepare, out="manifests")[0] == 0
    before = json.loads((corpus.parent / "manifests" / "stamp.json").read_text())["content"]
    _rewrite(corpus.parent / name, keep_times=keep_times)
    status, said = stage(prepare, out="manifests")
    assert status == 2
    assert f"other content than when stage 1 read it: {name.partition('/')[2]} (of 20)" in said
    assert "--force" in said
    assert stage(prepare, "--force", out="manifests")[0] == 0
    assert json.loads((corpus.parent / "manifests" / "stamp.json").read_text())["content"] != before
    assert "up to date" in stage(prepare, out="manifests")[1]


def test_audio_that_was_only_touched_or_copied_is_up_to_date_and_looked_at_once(stage, corpus, monkeypatch):
    assert stage(prepare, out="manifests")[0] == 0
    os.utime(corpus / "s0" / "u0.wav")
    shutil.copy(corpus / "s0" / "u1.wav", corpus / "copy")
    os.replace(corpus / "copy", corpus / "s0" / "u1.wav")
    looked_at = []

    def counted(path, **options):
        looked_at.append(Path(path).name)
        return content_of(path, **options)

    monkeypatch.setattr("local.listing.contents.content_of", counted)
    assert "up to date" in stage(prepare, out="manifests")[1]
    assert sorted(looked_at) == ["u0.wav", "u1.wav"]
    assert "up to date" in stage(prepare, out="manifests")[1]
    assert len(looked_at) == 2
    lines = {line.path: line for line in read_opened(corpus.parent / "manifests", "speech.00000")}
    assert lines["s0/u0.wav"].state == state_of(corpus / "s0" / "u0.wav")


@pytest.mark.parametrize("harm", ["remove", "cut", "garble"])
def test_records_of_opened_audio_that_are_gone_are_made_anew_and_hide_no_change(stage, corpus, harm):
    assert stage(prepare, out="manifests")[0] == 0
    known = corpus.parent / "manifests" / "opened" / "speech.00000.tsv"
    right, content = read_opened(corpus.parent / "manifests", "speech.00000"), (corpus / "s1" / "u2.wav").read_bytes()
    if harm == "remove":
        shutil.rmtree(known.parent)
    elif harm == "cut":
        known.write_bytes(known.read_bytes()[:900])
    else:
        known.write_bytes(known.read_bytes().replace(b"{", b"\xff", 3))
    _rewrite(corpus / "s1" / "u2.wav")
    status, said = stage(prepare, out="manifests")
    assert status == 2
    assert "other content than when stage 1 read it: s1/u2.wav (of 20)" in said
    (corpus / "s1" / "u2.wav").write_bytes(content)
    status, said = stage(prepare, out="manifests")
    assert status == 0
    assert "opened/speech.00000.tsv is missing or damaged" in said
    made = read_opened(corpus.parent / "manifests", "speech.00000")
    assert [line[1:] for line in made] == [line[1:] for line in right]
    assert "up to date" in stage(prepare, out="manifests")[1]


def test_verify_reads_all_audio(stage, corpus, monkeypatch):
    assert stage(prepare, out="manifests")[0] == 0
    _rewrite(corpus / "s1" / "u2.wav")
    monkeypatch.setattr("local.listing.contents.state_of", lambda path: lines[os.path.normpath(path)])
    lines = {
        str(corpus.parent / ("noise" if line.root_name == "noise" else "corpus") / line.path): line.state
        for name in ("speech.00000", "noise.00000")
        for line in read_opened(corpus.parent / "manifests", name)
    }
    assert "up to date" in stage(prepare, out="manifests")[1]  # as a disk would that changes bytes by itself
    status, said = stage(prepare, "--verify", out="manifests")
    assert status == 2
    assert "s1/u2.wav" in said


@pytest.mark.parametrize("storage", ["float32", "none"])
def test_what_changes_between_two_stages_is_noticed_when_it_is_read(stage, corpus, storage):
    assert stage(prepare, out="manifests")[0] == 0
    stored = ("--set", f"features.storage={storage}")
    assert stage(extract, *stored, out="features", manifests="manifests")[0] == 0
    _rewrite(corpus / "s1" / "u2.wav")
    _rewrite(corpus.parent / "noise" / "n0.wav")
    status, said = stage(extract, *stored, out="others", manifests="manifests")
    assert (status, "Traceback" in said) == (2, False)
    assert "s1/u2.wav: its content is not what stage 1 (prepare) read" in said
    online = ("--set", "augment.store_speech=false", "--set", "augment.p_noise=1")
    status, said = stage(augment, *online, out="augmented", manifests="manifests")
    assert status == 2
    assert "n0.wav: its content is not what stage 1 (prepare) read" in said


def test_manifests_of_before_contents_were_recorded_are_up_to_date(stage, corpus):
    assert stage(prepare, out="manifests")[0] == 0
    folder = corpus.parent / "manifests"
    shutil.rmtree(folder / "opened")
    (folder / "audio_content.tsv").unlink()
    stamp = json.loads((folder / "stamp.json").read_text())
    del stamp["outputs"]["audio_content.tsv"], stamp["sizes"]
    (folder / "stamp.json").write_text(json.dumps(stamp))
    _rewrite(corpus / "s1" / "u2.wav")
    assert "up to date" in stage(prepare, out="manifests")[1]
    assert stage(extract, out="features", manifests="manifests")[0] == 0


def test_a_damaged_trial_list_is_made_anew_without_opening_audio(stage, corpus, monkeypatch):
    assert stage(prepare, out="manifests")[0] == 0
    folder = corpus.parent / "manifests"
    content = json.loads((folder / "stamp.json").read_text())["content"]
    (folder / "trials" / "balanced.txt").unlink()
    monkeypatch.setattr("local.listing.shards.inspect_audio", None)
    status, said = stage(prepare, out="manifests")
    assert status == 0, said
    assert "trials/balanced.txt is missing" in said
    assert json.loads((folder / "stamp.json").read_text())["content"] == content


def test_only_the_ends_of_a_file_are_read_where_only_its_header_was(stage, corpus, tmp_path):
    assert stage(prepare, "--set", "prepare.check_audio=header", out="manifests")[0] == 0
    (line, *_) = read_opened(corpus.parent / "manifests", "speech.00000")
    assert line.content.startswith("~")
    large = tmp_path / "large"
    large.write_bytes(bytes(300_000))
    whole, ends = content_of(large), content_of(large, whole=False)
    with open(large, "r+b") as file:
        file.seek(150_000)
        file.write(b"1")
    assert content_of(large) != whole
    assert content_of(large, whole=False) == ends
    with open(large, "r+b") as file:
        file.seek(299_999)
        file.write(b"1")
    assert content_of(large, whole=False) != ends


def test_a_name_that_no_file_can_have_is_absent_and_no_traceback():
    assert state_of("a\0b.wav") == "absent"
    assert content_of("a\0b.wav") == ""
