"""Claims about a corpus of which much is wrong: stage 1 says all of it at once, and the command that it names goes on."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import folder
from local.folder import Settings
from local.listing import shards
from steps.core.errors import RecipeError
from steps.data.manifests import read_rates, read_set
from tests.local.miniatures import prepare, write_audio

ROOT = Path(__file__).parents[2]
SPEAKERS, UTTERANCES = 8, 4


@pytest.fixture
def corpus(tmp_path) -> Path:
    for speaker in range(SPEAKERS):
        for number in range(UTTERANCES):
            write_audio(tmp_path / "corpus" / f"s{speaker}" / f"u{number}.wav", seed=10 * speaker + number)
    return tmp_path / "corpus"


def spoil(corpus: Path) -> None:
    """What people have: stereo of 44.1 kHz among the files, a silent and an empty one, blanks, a speaker with one file."""
    for speaker in range(3):
        write_audio(corpus / f"s{speaker}" / "u0.wav", speaker + 1, rate=44100, channels=2)
    soundfile.write(corpus / "s3" / "u0.wav", np.zeros(16000), 16000)
    (corpus / "s4" / "u0.wav").write_bytes(b"")
    (corpus / "s5" / "u0.wav").rename(corpus / "s5" / "u 0.wav")
    (corpus / "s6").rename(corpus / "s 6")
    write_audio(corpus / "s9" / "u0.wav")


def test_all_faults_are_said_in_one_run_and_the_command_that_is_named_ends_well(corpus, tmp_path):
    spoil(corpus)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "VIRTUAL_ENV": sys.prefix}
    command = f"{ROOT}/run.sh --recipe own --data={corpus} --exp {tmp_path / 'my exp'} --stop-stage 1 --jobs=1"
    command = command.replace("my exp", "'my exp'")
    first = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert first.returncode == 2, first.stderr
    for words in (
        f"{corpus}: 5 faults",
        "5 utterance ids have blanks",
        "1 speaker ids have blanks, control characters, or a part that is empty, '.' or '..': 's 6' (s 6/u0.wav);",
        "5 of 33 audio files cannot be used: s0/u0.wav has 2 channels, expected one",
        "in all 3 x has N channels, 1 x has only zero samples, 1 x is empty",
        "expected 16000 Hz in all files, found 16000 Hz in 28 files, 44100 Hz in 3 files; for example s0/u0.wav",
        "1 speakers have fewer than prepare.min_utterances = 2 utterances: s9 (1)",
        "this repairs all of it, and goes on with what is finished:",
    ):
        assert words in first.stderr, first.stderr
    listed = (tmp_path / "my exp" / "own" / "manifests.partial" / "out" / "problems.tsv").read_text()
    for words in (
        "s0/u0.wav\thas 2 channels",
        "s3/u0.wav\thas only",
        "s0/u0.wav\thas a sampling rate of 44100",
        "s9/u0.wav\tits",
    ):
        assert words in listed, listed
    repaired = first.stderr.split("what is finished:\n")[1].splitlines()[0].strip()
    assert shlex.split(repaired)[: len(shlex.split(command))] == shlex.split(command)
    second = subprocess.run(["bash", "-c", repaired], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "resuming: 1 of 1 parts of the work are done" in second.stderr
    assert (
        "left out: 3 files are in no set: 1 x has only zero samples, 1 x is empty, 1 x its speaker has fewer than 2 utterances"
        in second.stderr
    )
    manifests = tmp_path / "my exp" / "own" / "manifests"
    used = {each.path for name in ("train", "dev", "test") for each in read_set(manifests, name)}
    assert used == {str(path.relative_to(corpus)) for path in corpus.rglob("*.wav")} - {"s3/u0.wav", "s4/u0.wav", "s9/u0.wav"}
    assert sum(counts.get(44100, 0) for counts in read_rates(manifests).values()) == 3


def begun(corpus: Path, out: Path, **changes) -> dict[str, Path]:
    """The units of a stage 1 whose merge is yet to come."""
    out.mkdir()
    with pytest.raises(RecipeError):
        prepare(folder, Settings(split="test", **changes), corpus, out)
    return {unit.name: unit for unit in (out / "units").iterdir()}


def merged(corpus: Path, out: Path, units: dict[str, Path], **changes) -> Path:
    (out / "again").mkdir()
    folder.merge(Settings(split="test", **changes), {"corpus": str(corpus)}, units, out / "again")
    return out / "again"


def test_another_channel_and_other_ids_open_nothing_anew(corpus, tmp_path, monkeypatch):
    write_audio(corpus / "s0" / "u0.wav", channels=2)
    (corpus / "s5" / "u0.wav").rename(corpus / "s5" / "u 0.wav")
    units = begun(corpus, tmp_path / "x")
    monkeypatch.setattr(shards, "inspect_audio", None)
    out = merged(corpus, tmp_path / "x", units, channel="first", replace_spaces="_")
    assert {"s0/u0", "s5/u_0"} <= {each.id for each in read_set(out, "test")}


def test_the_other_channel_is_looked_at_where_it_is_asked_for(corpus, tmp_path):
    noise_W = np.random.default_rng(1).uniform(-0.5, 0.5, 800)
    for path in corpus.rglob("*.wav"):
        soundfile.write(path, np.stack([noise_W, noise_W], axis=1), 16000)
    soundfile.write(corpus / "s0" / "u0.wav", np.stack([noise_W, 0 * noise_W], axis=1), 16000)
    units = begun(corpus, tmp_path / "x")
    with pytest.raises(RecipeError, match="1 of 32 audio files cannot be used: s0/u0.wav has only zero samples"):
        merged(corpus, tmp_path / "x", units, channel="second")
    out = tmp_path / "y"
    out.mkdir()
    assert len(read_set(merged(corpus, out, units, channel="first"), "test")) == 32


@pytest.mark.parametrize("change", ["a file more", "another id"])
def test_rows_that_share_a_file_are_told_apart_by_their_ids(corpus, tmp_path, change):
    """A file in two rows of a table is one file under two ids: what is known of one of them is not taken for another's."""
    lines = [f"{path.relative_to(corpus)},{path.parent.name},{n}" for n, path in enumerate(sorted(corpus.rglob("*.wav")))]
    (corpus / "t.csv").write_text("\n".join(["path,speaker,id", *lines, "s0/u0.wav,s0,again"]))
    out = tmp_path / "x"
    out.mkdir()
    prepare(folder, Settings(split="test", table="t.csv"), corpus, out)
    units = {unit.name: unit for unit in (out / "units").iterdir()}
    lines_of = units["speech.00000"] / "utterances.jsonl"
    records = [json.loads(line) for line in lines_of.read_text().splitlines()]
    for record in records:
        record["num_samples"] = 500 if record["id"] in ("0", "again") else 600
    lines_of.write_text("".join(json.dumps(record) + "\n" for record in records))
    other = "s0/u0.wav,s0,new" if change == "another id" else "s0/u0.wav,s0,again\ns0/u0.wav,s0,new"
    (corpus / "t.csv").write_text("\n".join(["path,speaker,id", *lines, other]))
    folder.inventory(Settings(split="test", table="t.csv"), {"corpus": str(corpus)})
    found = read_set(merged(corpus, out, units, table="t.csv"), "test")
    known = {each.id: each.num_samples for each in found if each.path == "s0/u0.wav"}
    assert known == {"0": 500, "new": 400} | ({"again": 500} if change == "a file more" else {})


def test_what_a_repair_leaves_is_looked_at_in_the_same_run(corpus, tmp_path):
    """Once the bad files are left out there are too few speakers, and a list names what is not there."""
    for speaker in range(2, SPEAKERS):
        for number in range(1, UTTERANCES):
            (corpus / f"s{speaker}" / f"u{number}.wav").write_bytes(b"")
    (corpus / "l.txt").write_text("1 s0/u0 s0/u1\n0 s0/u0 nobody/u9\n")
    (tmp_path / "x").mkdir()
    with pytest.raises(RecipeError) as caught:
        prepare(folder, Settings(), corpus, tmp_path / "x")
    text = str(caught.value)
    assert "18 of 32 audio files cannot be used" in text
    assert "6 speakers have fewer than prepare.min_utterances" in text
    assert "prepare.test_speakers = 0.2 asks for 2 of 2 speakers" in text
    assert "(2 speakers in all: " in text
    assert "no setting repairs 3" in text
    (tmp_path / "y").mkdir()
    with pytest.raises(RecipeError, match="nobody/u9"):
        prepare(folder, Settings(split="test", trials="l.txt"), corpus, tmp_path / "y")


def test_ids_that_are_there_twice_hide_nothing_else(corpus, tmp_path):
    write_audio(corpus / "s0" / "u0.flac")
    (corpus / "s4" / "u0.wav").write_bytes(b"")
    (tmp_path / "x").mkdir()
    with pytest.raises(RecipeError) as caught:
        prepare(folder, Settings(split="test"), corpus, tmp_path / "x")
    assert "1 utterance ids are there more than once" in str(caught.value)
    assert "of 32 audio files cannot be used: s4/u0.wav is empty" in str(caught.value)
    assert dict(caught.value.repairs) == {"prepare.bad_audio": "exclude", "prepare.max_bad": 0.04}


def test_a_bank_without_a_good_file_has_no_command_that_would_lose_it(corpus, tmp_path):
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "n.wav").write_bytes(b"")
    (tmp_path / "x").mkdir()
    with pytest.raises(RecipeError, match="none is left of: noise") as caught:
        prepare(folder, Settings(split="test", noise="noise"), corpus, tmp_path / "x", noise=str(tmp_path / "noise"))
    assert not caught.value.repairs


def test_where_all_speakers_have_too_few_recordings_nobody_is_told_to_leave_them_out(corpus, tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(RecipeError, match="all 8 speakers have fewer than prepare.min_utterances = 5 utterances") as error:
        prepare(folder, Settings(min_utterances=5), corpus, tmp_path / "x")
    assert "few_utterances" not in str(error.value)
    assert "of 0 speakers" not in str(error.value)
    assert "faults" not in str(error.value)
