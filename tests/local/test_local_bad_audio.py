"""Claims about what stage 1 does with audio that is wrong, and with names that are: nothing is dropped without a word."""

import os
import struct
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import folder
from local.folder import Settings
from local.listing import findings, shards
from local.listing.files import Row
from local.listing.first_bytes import NAMED_AUDIO
from local.listing.shards import Opened
from steps.core.errors import RecipeError
from steps.data.audio import AUDIO_SUFFIXES, inspect_audio, read_audio
from steps.data.manifests import audio_root, read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.local.miniatures import prepare, write_audio

SPEAKERS, UTTERANCES = 4, 3
NOISE_W = np.random.default_rng(3).uniform(-0.3, 0.3, 800)
NFC, NFD = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))


@pytest.fixture
def corpus(tmp_path) -> Path:
    for speaker in range(SPEAKERS):
        for number in range(UTTERANCES):
            write_audio(tmp_path / "corpus" / f"s{speaker}" / f"u{number}.wav", seed=10 * speaker + number)
    return tmp_path / "corpus"


def run(root: Path, out: Path, **changes) -> Path:
    out.mkdir()
    return prepare(folder, Settings(**{"split": "test", **changes}), root, out)


def table(path: Path) -> dict[str, str]:
    """Path -> what was found, of a problems.tsv or remarks.tsv; it has three columns in each line, whatever the names are."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert {len(row) for row in rows} == {3}
    assert rows == sorted(rows)
    return {row[1]: row[2] for row in rows}


def cut(path: Path) -> None:
    soundfile.write(path, NOISE_W[:400], 16000)
    path.write_bytes(path.read_bytes()[:-200])


def cut_ogg(path: Path) -> None:
    soundfile.write(path, np.tile(NOISE_W, 20), 16000)
    path.write_bytes(path.read_bytes()[:-9])


def announce(path: Path, num_bytes: int) -> None:
    """Let the header of a WAV file say that it has so many bytes of samples."""
    content = bytearray(write_audio(path).read_bytes())
    content[40:44] = struct.pack("<I", num_bytes)
    path.write_bytes(content)


def with_odd_ones(value: float, num: int) -> np.ndarray:
    return np.where(np.arange(800) < num, value, NOISE_W)


def wave(path: Path, samples_W: np.ndarray, **options) -> None:
    soundfile.write(path, samples_W, 16000, **options)


BAD = {
    "cut.wav": (cut, "is cut short: its header announces 800 bytes of samples, 600 are there"),
    "cut_flac.flac": (cut, "cannot be decoded ("),
    "cut_ogg.ogg": (cut_ogg, "is cut short: its last Ogg page is not whole"),
    "long.wav": (lambda path: announce(path, 1 << 30), "is cut short: its header announces 1073741824 bytes"),
    "few.wav": (lambda path: announce(path, 100), "has 700 bytes behind the 100 bytes of samples that its header announces"),
    "none.wav": (lambda path: announce(path, 0), "bytes behind the 0 bytes of samples that its header announces"),
    "nothing.wav": (lambda path: wave(path, NOISE_W[:0]), "has no samples"),
    "empty.flac": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
    "text.mp3": (lambda path: path.write_text("hello " * 99), "cannot be read as audio (Format not recognised.)"),
    "gone.wav": (lambda path: path.symlink_to("nowhere.wav"), "is a broken link"),
    "itself.wav": (lambda path: path.symlink_to(path), "is a broken link"),
    "pipe.wav": (os.mkfifo, "is no file"),
    "nan.wav": (
        lambda path: wave(path, with_odd_ones(np.nan, 1), subtype="FLOAT"),
        "1 samples that are NaN",
    ),
    "inf.wav": (
        lambda path: wave(path, with_odd_ones(np.inf, 2), subtype="FLOAT"),
        "2 samples that are NaN",
    ),
    "zeros.wav": (lambda path: wave(path, np.zeros(800)), "has only zero samples"),
    "short.wav": (lambda path: wave(path, NOISE_W[:399]), "is too short: 0.0249375 s, expected prepare.min_duration = 0.025 s"),
    "stereo.wav": (lambda path: wave(path, np.stack([NOISE_W, NOISE_W], axis=1)), "has 2 channels, expected one"),
    "line\nend\tand tab.wav": (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
}
GOOD = {
    "bits8.wav": (lambda path: wave(path, NOISE_W, subtype="PCM_U8"), ""),
    "bits24.wav": (lambda path: wave(path, NOISE_W, subtype="PCM_24"), ""),
    "float.wav": (lambda path: wave(path, NOISE_W, subtype="FLOAT"), ""),
    "mulaw.wav": (lambda path: wave(path, NOISE_W, subtype="ULAW"), ""),
    "least.wav": (lambda path: wave(path, NOISE_W[:400]), ""),
    "rate8.wav": (lambda path: soundfile.write(path, NOISE_W, 8000), ""),
    "rate44.flac": (lambda path: write_audio(path, seed=1, rate=44100), ""),
    'it\'s "q" & <ü|漢😀>;$(x)\\n.wav': (lambda path: wave(path, NOISE_W), ""),
    "dc.wav": (lambda path: wave(path, NOISE_W + 0.1), "DC offset: its mean is 0.0"),
    "clipped.wav": (lambda path: wave(path, np.clip(9 * NOISE_W, -1, 1)), "clipping: 6"),
    "loud.wav": (lambda path: wave(path, 9 * NOISE_W, subtype="FLOAT"), "beyond full scale: its peak is 2.6"),
    "quiet.wav": (lambda path: wave(path, 0.001 * NOISE_W, subtype="FLOAT"), "nearly silent: its peak is 0.0003"),
    "other.wav": (lambda path: write_audio(path, form="FLAC"), "holds FLAC, which .wav does not say"),
    "piped.wav": (lambda path: announce(path, 0xFFFFFFFF), "its header does not say how long it is"),
}


def test_every_kind_of_wrong_audio_is_in_one_list_and_what_is_only_odd_in_another(corpus, tmp_path):
    for name, (make, _) in (BAD | GOOD).items():
        make(corpus / "s0" / name)
    changes = {"mixed_sampling_rates": "allow", "replace_spaces": "_"}
    with pytest.raises(RecipeError, match=rf"{len(BAD)} of {len(BAD | GOOD) + 12} audio files cannot be used: "):
        run(corpus, tmp_path / "x", **changes)
    found = table(tmp_path / "x" / "out" / "problems.tsv")
    out = run(corpus, tmp_path / "y", bad_audio="exclude", max_bad=0.5, **changes)
    assert table(out / "problems.tsv") == found
    assert "s0/line\\nend\\tand tab.wav" in found
    plain = {path.removeprefix("s0/"): what for path, what in found.items()}
    for name, (_, words) in BAD.items():
        assert words in plain.pop(name.replace("\n", "\\n").replace("\t", "\\t")), name
    assert not plain
    remarks, used = table(out / "remarks.tsv"), {Path(item.path).name: item for item in read_set(out, "test")}
    for name, (_, words) in GOOD.items():
        said = remarks.get("s0/" + name.replace("\\", "\\\\"), "")
        assert said.startswith(words) if words else not said, name
        samples_W, _ = read_audio(
            audio_root("test", out, {"corpus": str(corpus)}) / used[name].path, num_samples=used[name].num_samples
        )
        assert len(samples_W) == used[name].num_samples
    assert not {Path(path).name for path in remarks} & BAD.keys()
    assert not used.keys() & BAD.keys()


def test_headers_alone_show_what_they_can(corpus, tmp_path):
    for name in ("cut.wav", "nan.wav", "few.wav"):
        BAD[name][0](corpus / "s0" / name)
    with pytest.raises(RecipeError, match="2 of 15 audio files cannot be used"):
        run(corpus, tmp_path / "x", check_audio="header")
    assert set(table(tmp_path / "x" / "out" / "problems.tsv")) == {"s0/cut.wav", "s0/few.wav"}


def opened(num: int, bad: int, kind: str = "speech") -> list[Opened]:
    rows = [Row(id=f"{kind}{n}", path=f"{kind}{n}.wav", speaker="a") for n in range(num)]
    found = {"sampling_rate": 16000, "num_samples": 400, "num_channels": 1}
    return [Opened(kind=kind, row=row, problem="is bad" if n < bad else "", **found) for n, row in enumerate(rows)]


def test_the_share_that_may_be_bad_is_a_share_to_the_last_file(tmp_path):
    for num in range(1, 99):  # 0.29 times 100 is less than 29 in binary
        policy = {"bad_audio": "exclude", "max_bad": num / 100}
        assert len(findings.refuse_bad(opened(100, num), tmp_path, **policy)) == num
        with pytest.raises(RecipeError, match=rf"{num + 1} of 100 audio files cannot be used \(prepare.max_bad = "):
            findings.refuse_bad(opened(100, num + 1), tmp_path, **policy)
    with pytest.raises(RecipeError, match="1 of 100 audio files"):
        findings.refuse_bad(opened(100, 1), tmp_path, bad_audio="fail", max_bad=1.0)


def test_a_bank_that_is_bad_as_a_whole_does_not_vanish(tmp_path):
    files = opened(1000, 0) + opened(2, 2, "noise")
    with pytest.raises(RecipeError, match=r"none is left of: noise"):
        findings.refuse_bad(files, tmp_path, bad_audio="exclude", max_bad=0.5)
    assert len(findings.refuse_bad(files + opened(3, 0, "noise"), tmp_path, bad_audio="exclude", max_bad=0.5)) == 2


def test_what_is_left_out_is_said(corpus, tmp_path, caplog):
    (corpus / "s0" / "u0.wav").write_bytes(b"")
    caplog.set_level("INFO", "prepare")
    run(corpus, tmp_path / "x", bad_audio="exclude", max_bad=0.1)
    assert "1 of 12 audio files are left out (1 x is empty); see problems.tsv" in caplog.text


def test_another_least_duration_is_asked_of_files_that_are_open_already(corpus, tmp_path, monkeypatch):
    run(corpus, tmp_path / "x")
    units = {unit.name: unit for unit in (tmp_path / "x" / "units").iterdir()}
    site = {"corpus": str(corpus)}
    monkeypatch.setattr(shards, "inspect_audio", None)  # merge opens none that the units have found good
    with pytest.raises(RecipeError, match="0.04 s or more"):
        folder.merge(Settings(split="test", min_duration=0.04), site, units, tmp_path / "x" / "out")


def test_trials_of_excluded_files_stay_and_are_counted(corpus, tmp_path):
    (corpus / "s0" / "u0.wav").write_bytes(b"")
    (corpus / "l.txt").write_text("1 s0/u0.wav s0/u1.wav\n0 s1/u0 s0/u0\n1 s1/u0 s1/u1\n0 s1/u0 s2/u0\n")
    policy = {"bad_audio": "exclude", "max_bad": 0.1, "trials": "l.txt"}
    out = run(corpus, tmp_path / "x", **policy)
    assert len(read_trials(out / "trials" / "l.txt")) == 4
    assert "s0/u0" not in read_utt2spk(out / "utt2spk")
    assert table(out / "remarks.tsv") == {"l": "2 of 4 trials name files that are left out"}
    (corpus / "l.txt").write_text("0 s0/u0 s0/u1\n1 s1/u0 s1/u1\n")
    with pytest.raises(RecipeError, match=r"1 of 2 labels contradict .*; 's0/u0' was left out, as s0/u0.wav is empty"):
        run(corpus, tmp_path / "y", **policy)


@pytest.mark.parametrize(
    ("setting", "content"),
    [
        ("enrolment", "m0 s0/u0 s0/u1\n"),
        ("clustering", "a s0 s0/u0\nb s1 s1/u0\n"),
        ("identification", "enrol s0 s0/u0\nenrol s1 s1/u0\ntest s0 s0/u1\n"),
    ],
)
def test_lists_that_would_change_their_meaning_are_refused_with_the_reason(corpus, tmp_path, setting, content):
    (corpus / "s0" / "u0.wav").write_bytes(b"")
    (corpus / "l.txt").write_text("1 s1/u0 s1/u1\n0 s1/u0 s2/u1\n")
    (corpus / "m.txt").write_text(content)
    policy = {"bad_audio": "exclude", "max_bad": 0.1, "trials": "l.txt", setting: "m.txt"}
    with pytest.raises(RecipeError, match=r"m.txt: .*'s0/u0'.*; 's0/u0' was left out, as s0/u0.wav is empty .*: repair"):
        run(corpus, tmp_path / "x", **policy)


def test_links_are_followed_and_said(corpus, tmp_path):
    write_audio(tmp_path / "other" / "u9.wav", 9)
    write_audio(tmp_path / "other" / "u8.wav", 8)
    (corpus / "s9").symlink_to(tmp_path / "other")
    (corpus / "s0" / "twin.wav").symlink_to("u0.wav")
    (corpus / "s0" / "loop").symlink_to("..")
    out = run(corpus, tmp_path / "x")
    assert {"s9/u8", "s9/u9", "s0/twin"} <= read_utt2spk(out / "utt2spk").keys()
    expected = {"s9": "link: leads out of the corpus", "s0/twin.wav": "link: the same as s0/u0.wav"}
    assert {path: what for path, what in table(out / "remarks.tsv").items() if what.startswith("link")} == expected


def test_two_ways_to_write_an_accent_are_one_name(corpus, tmp_path):
    for number in (1, 2):
        write_audio(corpus / NFD / f"{number}.wav", number)
    names = [f"s{s}/u{u}" for s in range(SPEAKERS) for u in range(UTTERANCES)]
    (corpus / "l.txt").write_text(f"1 {NFC}/1.wav {NFD}/2\n0 s1/u0 {NFC}/1\n")
    (corpus / "m.csv").write_text(f"speaker,gender\n{NFC},m\n")
    out = run(corpus, tmp_path / "x", trials="l.txt", metadata="m.csv")
    assert {item.gender for item in read_set(out, "test") if item.speaker == NFD} == {"m"}
    assert (out / "trials" / "l.txt").read_text() == f"1 {NFD}/1 {NFD}/2\n0 s1/u0 {NFD}/1\n"
    lines = [f"{name}.wav,{name[:2]}" for name in names] + [f"{NFC}/{n}.wav,{NFC}" for n in (1, 2)]
    (corpus / "t.csv").write_text("\n".join(["path,speaker", *lines]))
    (corpus / "m.csv").write_text(f"speaker,gender\n{NFD},m\n")
    out = run(corpus, tmp_path / "y", table="t.csv", metadata="m.csv")
    found = {item.path: (item.speaker, item.gender) for item in read_set(out, "test")}
    assert found[f"{NFD}/1.wav"] == (NFC, "m")


def test_names_that_only_look_the_same_are_refused(corpus, tmp_path):
    write_audio(corpus / NFD / "1.wav")
    write_audio(corpus / NFC / "2.wav")
    with pytest.raises(RecipeError, match=r"1 speaker ids look like others .* 'Jose\\u0301' and 'Jos\\xe9'"):
        run(corpus, tmp_path / "x")
    (corpus / NFD / "1.wav").rename(corpus / "s0" / f"{NFD}.wav")
    (corpus / NFC / "2.wav").rename(corpus / "s0" / f"{NFC}.wav")
    with pytest.raises(RecipeError, match="1 utterance ids look like others"):
        run(corpus, tmp_path / "y")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"a\xff.wav", r"'s0/a\\udcff.wav' is not UTF-8 text"),
        (b"a\nb.wav", r"control characters.* 's0/a\\nb' \(s0/a\\nb.wav\)"),
        ("a\u00a0b.wav".encode(), r"blanks.* 's0/a\\xa0b'"),
        (b"a\x7f.wav", r"control characters.* 's0/a\\x7f'"),
    ],
)
def test_names_that_cannot_be_ids_are_refused_in_words_that_print(corpus, tmp_path, name, words):
    os.rename(corpus / "s0" / "u0.wav", os.fsencode(corpus / "s0") + b"/" + name)
    with pytest.raises(RecipeError, match=words) as error:
        run(corpus, tmp_path / "x")
    assert all(line.isprintable() for line in str(error.value).split("\n"))


def test_ids_that_no_reader_of_lists_takes_are_refused(corpus, tmp_path):
    deep = corpus.joinpath(*["x" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / "1.wav").write_bytes(b"x")
    with pytest.raises(RecipeError, match="has more than 1000 bytes"):
        run(corpus, tmp_path / "x")


def test_audio_of_other_formats_is_not_passed_over_without_a_word(corpus, tmp_path, caplog):
    for name in ("a.aiff", "b.wma", "c.wma", "notes.txt", ".d.wma"):
        (corpus / "s0" / name).write_bytes(b"x")
    caplog.set_level("INFO", "prepare")
    run(corpus, tmp_path / "x")
    assert "files that may be audio and are not read: 1 x .aiff, 2 x .wma; convert them" in caplog.text
    assert "files that do not begin as audio does, not read: 1 x .txt" in caplog.text
    assert not NAMED_AUDIO & AUDIO_SUFFIXES


def test_without_ffmpeg_one_message_says_what_to_install(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    for number in range(5):
        (corpus / "s0" / f"m{number}.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + b"\0" * 50)
    with pytest.raises(RecipeError, match="apt-get install ffmpeg") as error:
        run(corpus, tmp_path / "x", bad_audio="exclude", max_bad=1.0)
    assert str(error.value).count("m4a files need") == 1


def test_a_recording_that_may_not_be_read_is_a_bad_one():
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # nobody else may enter pytest's folders
        path = write_audio(Path(name) / "a.wav")
        path.parent.chmod(0o755)
        path.chmod(0)
        try:
            if before == 0:
                os.seteuid(65534)  # root may read everything
            assert inspect_audio(path).problem == "cannot be opened (Permission denied)"
        finally:
            os.seteuid(before)
