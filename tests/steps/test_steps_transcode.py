"""Compressed audio becomes FLAC of the same samples, once, in parts; what is damaged is named and nothing is lost."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import transcode
from steps.core import stage
from steps.core.errors import RecipeError
from steps.core.stage import run
from tests.recipes.voxceleb_miniature import can_write_m4a, write_audio

LOG = logging.getLogger("transcode")


def tone(num_samples: int, frequency: float, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * frequency * np.arange(num_samples) / 16000)


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Five Ogg files, one of them over full scale, and a WAV that is none of this stage's business."""
    folder = tmp_path / "aac"
    for number in range(5):
        path = folder / f"id0001{number % 2}" / "-aBc_DEf123" / f"{number:05d}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        peak = 1.0 if number == 4 else 0.3
        soundfile.write(path, tone(4000 + 100 * number, 300 + 70 * number, peak), 16000, format="OGG", subtype="VORBIS")
    write_audio(folder / "id00010" / "-aBc_DEf123" / "00009.wav", np.ones(100))
    return folder


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Parts run in here, as to start Python for each takes most of the time."""

    def launch_here(command, num_parts, log_folder, *, threads, watch):
        for part in range(num_parts):
            run(transcode.STAGE, [word.replace("{part}", str(part)) for word in command[3:]], LOG)

    monkeypatch.setitem(stage.LAUNCHERS, "local", launch_here)


def make(corpus: Path, out: Path, *settings: str, jobs: int = 1) -> Path:
    words = [word for setting in (f"site.corpus={corpus}", *settings) for word in ("--set", setting)]
    assert run(transcode.STAGE, [*words, "--out", str(out), "--jobs", str(jobs)], LOG) == 0
    return out


def flacs(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.flac"))}


def test_each_file_has_the_samples_of_its_source(corpus, tmp_path):
    out = make(corpus, tmp_path / "flac")
    sources = sorted(corpus.rglob("*.ogg"))
    assert list(flacs(out)) == [path.relative_to(corpus).with_suffix(".flac").as_posix() for path in sources]
    for path in sources:
        samples_W, rate = soundfile.read(path)
        found_W, found_rate = soundfile.read(out / path.relative_to(corpus).with_suffix(".flac"))
        assert (rate, soundfile.info(out / path.relative_to(corpus).with_suffix(".flac")).subtype) == (found_rate, "PCM_16")
        # Half a step of 16 bits, where 16 bits can hold it; the largest of them is one step below 1.
        np.testing.assert_allclose(found_W, np.clip(samples_W, -1, 1 - 2**-15), atol=0.5 * 2**-15 + 1e-7)
    lines = (out / "flac.tsv").read_text().splitlines()
    assert lines[0] == f"id00010/-aBc_DEf123/00000.flac\t4000\t16000\t{sources[0].stat().st_size}"
    assert len(lines) == 5


def test_the_parts_do_not_matter_and_a_rerun_is_up_to_date(corpus, tmp_path, monkeypatch, caplog):
    one = make(corpus, tmp_path / "one")
    monkeypatch.setattr(transcode, "SHARD_SIZE", 2)
    several = make(corpus, tmp_path / "several", jobs=2)
    assert flacs(one) == flacs(several)
    assert (one / "flac.tsv").read_bytes() == (several / "flac.tsv").read_bytes()
    before = (several / "stamp.json").read_bytes()
    caplog.set_level(logging.INFO)
    make(corpus, several)
    assert (several / "stamp.json").read_bytes() == before
    assert "up to date" in caplog.text


def test_a_damaged_file_is_named_and_after_its_repair_only_that_is_done(corpus, tmp_path, monkeypatch):
    path = sorted(corpus.rglob("*.ogg"))[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(transcode, "SHARD_SIZE", 2)
    with pytest.raises(RecipeError, match=rf"1 of 5 files cannot be transcoded: id00010/-aBc_DEf123/{path.name} .*problems.tsv"):
        make(corpus, tmp_path / "flac")
    assert not (tmp_path / "flac").exists()
    path.write_bytes(whole)
    done, real = [], transcode.transcode
    monkeypatch.setattr(transcode, "transcode", lambda root, name, out: done.append(name) or real(root, name, out))
    out = make(corpus, tmp_path / "flac")
    assert done == [path.relative_to(corpus).as_posix()]
    assert flacs(out) == flacs(make(corpus, tmp_path / "again"))


def test_a_damaged_file_may_be_left_out(corpus, tmp_path):
    path = sorted(corpus.rglob("*.ogg"))[0]
    path.write_bytes(b"")
    with pytest.raises(RecipeError, match="1 of 5 files"):
        make(corpus, tmp_path / "flac", "transcode.bad_audio=exclude")  # more than one in a hundred
    shutil.rmtree(tmp_path / "flac.partial")
    out = make(corpus, tmp_path / "flac", "transcode.bad_audio=exclude", "transcode.max_bad=0.2")
    assert len(flacs(out)) == 4
    assert (out / "problems.tsv").read_text() == "flac\tid00010/-aBc_DEf123/00000.ogg\tis empty (0 bytes)\n"


def test_what_cannot_be_is_refused_before_any_work(corpus, tmp_path):
    with pytest.raises(RecipeError, match="lies in site.corpus"):
        make(corpus, corpus / "flac")
    path = next(corpus.rglob("*.ogg"))
    shutil.copy(path, path.with_suffix(".mp3"))
    with pytest.raises(RecipeError, match=r"\.mp3 and .*\.ogg would both become .*\.flac"):
        make(corpus, tmp_path / "flac")
    with pytest.raises(RecipeError, match="no compressed audio"):
        make((tmp_path / "none").mkdir() or tmp_path / "none", tmp_path / "flac")
    for changes in ({"bad_audio": "skip"}, {"max_bad": 2.0}):
        with pytest.raises(ValueError, match="expected"):
            transcode.Settings(**changes)


def test_aac_files_become_flac_of_what_is_decoded(tmp_path):
    if not can_write_m4a():  # asked here, as the answer takes seconds
        pytest.skip("needs torchcodec and the ffmpeg libraries, to make AAC files")
    from steps.data.audio import read_audio

    path = write_audio(tmp_path / "aac" / "id00012" / "x" / "00001.m4a", tone(8000, 440.0))
    out = make(tmp_path / "aac", tmp_path / "flac")
    decoded_W, rate = read_audio(path)
    found_W, found_rate = read_audio(out / "id00012" / "x" / "00001.flac")
    assert (len(found_W), found_rate) == (len(decoded_W), rate)
    np.testing.assert_allclose(found_W, np.clip(decoded_W, -1, 1 - 2**-15), atol=0.5 * 2**-15 + 1e-7)


def test_a_lost_flac_file_and_a_changed_source_are_noticed_and_only_these_are_made_anew(corpus, tmp_path):
    out = make(corpus, tmp_path / "flac")
    make(corpus, out)
    first, second, *_ = sorted(corpus.rglob("*.ogg"))
    target = out / second.relative_to(corpus).with_suffix(".flac")
    target.unlink()
    with pytest.raises(RecipeError, match="1 FLAC files are gone or have another size, first id00010/-aBc_DEf123/00002.flac"):
        make(corpus, out)
    content = bytearray(first.read_bytes())
    first.touch()
    with pytest.raises(RecipeError, match=r"made of other data: 1 FLAC files are gone or have another size, first [^;]*$"):
        make(corpus, out)
    content[40] ^= 1  # the serial number of the stream, so that it can still be read
    first.write_bytes(content)
    with pytest.raises(RecipeError, match="1 sources have other content, first id00010/-aBc_DEf123/00000.ogg"):
        make(corpus, out)
    first.write_bytes(bytes(content[:40]) + bytes([content[40] ^ 1]) + bytes(content[41:]))
    others = [path for path in out.rglob("*.flac") if path.name not in ("00000.flac", "00002.flac")]
    inodes = [path.stat().st_ino for path in others]
    words = ["--set", f"site.corpus={corpus}", "--out", str(out), "--force"]
    assert run(transcode.STAGE, words, LOG) == 0
    assert target.is_file()
    assert len(inodes) == 3
    assert [path.stat().st_ino for path in others] == inodes
    make(corpus, out)
