"""Claims about local.librispeech, on a miniature."""

import logging
import shutil
from pathlib import Path

import pytest

from local import librispeech
from local.librispeech import Settings
from local.listing.documented import Counts
from steps.core.errors import RecipeError
from steps.data.manifests import has_set, read_roots, read_set
from steps.data.trials import read_trials
from tests.local.miniatures import LIBRI, make_librispeech, prepare, write_audio

ANY = {"wrong_counts": "warn", "made_trials": ("all_pairs",)}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_librispeech(tmp_path_factory.mktemp("libri"))


@pytest.fixture
def data(original, tmp_path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "data"))


@pytest.fixture
def log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    return caplog


def run(root: Path, out: Path, **changes) -> Path:
    return prepare(librispeech, Settings(**{**ANY, **changes}), root, out)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "opened")  # which has times
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def speakers(out: Path, name: str) -> set[str]:
    return {item.speaker for item in read_set(out, name)}


def test_readers_are_speakers_and_chapters_sessions(original, tmp_path):
    out = run(original, tmp_path)
    assert speakers(out, "train") == {"19", "60", "103", "14", "16"}
    assert speakers(out, "dev") == set(LIBRI["dev-clean"])
    assert speakers(out, "test") == set(LIBRI["test-clean"])
    item = next(item for item in read_set(out, "test") if item.id == "121-3121-0001")
    assert item.path == "LibriSpeech/test-clean/121/3121/121-3121-0001.flac"
    assert (item.speaker, item.session, item.gender) == ("121", "3121", "f")
    assert {item.session for item in read_set(out, "test") if item.speaker == "61"} == {"198", "3061"}
    assert read_roots(out) == {"train": "corpus", "dev": "corpus", "test": "corpus"}
    genders = dict(line.split() for line in (out / "spk2gender").read_text().splitlines())
    assert genders == {reader: sex.lower() for readers in LIBRI.values() for reader, (sex, _) in readers.items()}
    assert len(read_trials(out / "trials" / "all_pairs.txt")) == 12 * 11 // 2


def test_trials_may_be_of_different_chapters_only(original, tmp_path):
    trials = read_trials(run(original, tmp_path, cross_session=True) / "trials" / "all_pairs.txt")
    assert trials.num_target == 3 * 2 * 2
    assert all(
        a.split("-")[1] != b.split("-")[1]
        for a, b in zip(trials.enrol_ids, trials.test_ids, strict=True)
        if a.split("-")[0] == b.split("-")[0]
    )


def test_the_root_may_be_the_folder_itself_or_hold_it(original, data, tmp_path):
    inner = run(original / "LibriSpeech", tmp_path / "inner")
    assert read_set(inner, "dev")[0].path == "dev-clean/174/198/174-198-0000.flac"
    first = {item.id: item.gender for item in read_set(run(original, tmp_path / "outer"), "train")}
    assert {item.id: item.gender for item in read_set(inner, "train")} == first
    (data / "LibriSpeech").rename(data / "libri")  # whatever it is called
    assert contents(run(data, tmp_path / "renamed")).keys() == contents(inner).keys()


def test_subsets_are_settings(original, data, tmp_path):
    changes = {"train_subsets": ("train-clean-100", "dev-clean"), "dev_subsets": (), "dev_speakers": 2.0}
    out = run(original, tmp_path / "x", **changes)
    assert speakers(out, "train") | speakers(out, "dev") == set(LIBRI["train-clean-100"]) | set(LIBRI["dev-clean"])
    assert len(speakers(out, "dev")) == 2
    for mini, home in (("train-clean-5", "train-clean-100"), ("dev-clean-2", "dev-clean")):
        (data / "LibriSpeech" / home).rename(data / "LibriSpeech" / mini)  # SPEAKERS.TXT goes on saying `home`
    mini = {"train_subsets": ("train-clean-5",), "dev_subsets": (), "test_subsets": ("dev-clean-2",), "dev_speakers": 2.0}
    out = run(data, tmp_path / "mini", **mini)
    assert speakers(out, "test") == set(LIBRI["dev-clean"])


def test_a_trained_model_needs_the_test_subsets_alone(data, tmp_path):
    for subset in ("train-clean-100", "train-clean-360", "dev-clean"):
        shutil.rmtree(data / "LibriSpeech" / subset)
    out = run(data, tmp_path, split="test")
    assert speakers(out, "test") == set(LIBRI["test-clean"])
    assert not has_set(out, "train")


def test_without_speakers_txt_genders_are_not_known(data, tmp_path, log):
    (data / "LibriSpeech" / "SPEAKERS.TXT").rename(data / "LibriSpeech" / "speakers.txt")
    assert (run(data, tmp_path / "x") / "spk2gender").exists()  # any letter case
    (data / "LibriSpeech" / "speakers.txt").unlink()
    assert not (run(data, tmp_path / "y") / "spk2gender").exists()
    assert "genders: not known of 10 of 10 speakers" in log.text


def test_speakers_txt_may_have_a_byte_order_mark_and_cr_lf(original, data, tmp_path):
    path = data / "LibriSpeech" / "SPEAKERS.TXT"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert contents(run(data, tmp_path / "x")) == contents(run(original, tmp_path / "y"))


def test_an_utterance_in_two_formats_is_there_once(data, tmp_path):
    folder = data / "LibriSpeech" / "test-clean" / "61" / "198"
    write_audio(folder / "61-198-0000.wav", 5)
    (folder / "61-198-0001.flac").rename(folder / "kept")
    write_audio(folder / "61-198-0001.wav", 6)
    paths = {item.id: item.path for item in read_set(run(data, tmp_path), "test")}
    assert paths["61-198-0000"].endswith(".flac")
    assert paths["61-198-0001"].endswith(".wav")


def test_counts_are_compared_with_the_documented_ones(data, tmp_path, log, monkeypatch):
    counts = {subset: Counts(speakers=len(readers), utterances=4 * len(readers)) for subset, readers in LIBRI.items()}
    counts["train-clean-100"] = Counts(speakers=3, utterances=12)
    monkeypatch.setattr(Settings, "DOCUMENTED", counts)
    run(data, tmp_path / "x", wrong_counts="refuse")
    assert "test-clean 3 / 3 12 / 12 as documented" in " ".join(log.text.split())
    assert {record.levelno for record in log.records} == {logging.INFO}
    log.clear()
    (data / "LibriSpeech" / "train-clean-100" / "19" / "198" / "19-198-0000.flac").unlink()
    with pytest.raises(
        RecipeError, match=r"train-clean-100: 11 utterances \(documented: 12\), 3 speakers; this is another corpus"
    ):
        run(data, tmp_path / "y", wrong_counts="refuse")
    monkeypatch.setattr("local.listing.documented.SMALL_SHORTFALL", 0.1)
    run(data, tmp_path / "z", wrong_counts="refuse")
    assert "train-clean-100 3 / 3 11 / 12 a few files less do no harm" in " ".join(log.text.split())
    for number in range(3):
        write_audio(data / "LibriSpeech" / "train-clean-100" / "60" / "198" / f"60-198-000{5 + number}.flac")
    with pytest.raises(RecipeError, match=r"train-clean-100: 14 utterances \(documented: 12\)"):
        run(data, tmp_path / "more", wrong_counts="refuse")
    shutil.rmtree(data / "LibriSpeech" / "train-clean-100" / "19")
    with pytest.raises(RecipeError, match=r"2 speakers \(documented: 3\).*--set prepare.wrong_counts=warn"):
        run(data, tmp_path / "v", wrong_counts="refuse")
    log.clear()
    run(data, tmp_path / "w")
    assert [" ".join(record.getMessage().split()) for record in log.records if record.levelno == logging.WARNING] == [
        "train-clean-100 2 / 3 11 / 12 this is not the published set"
    ]


def append(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: append(d / "SPEAKERS.TXT", "\n99 | F | dev-clean"), r"SPEAKERS.TXT: 1 lines .*line 15 '99 \| F \| dev-clean'"),
        (lambda d: append(d / "SPEAKERS.TXT", "\nx | F | dev-clean | 1 | N"), r"1 lines are not .*line 15"),
        (lambda d: append(d / "SPEAKERS.TXT", "\n98 | Q | dev-clean | 1 | N\n19 | F | t | 1 | N"), r"2 lines .*line 15 .*16"),
        (lambda d: shutil.rmtree(d / "dev-clean"), r"no folder dev-clean; .*found the folders test-clean.*--subset dev"),
        (lambda d: write_audio(d / "dev-clean" / "84" / "84-198-0000.flac"), r"1 files do not lie .*: 84/84-198-0000.flac"),
        (lambda d: write_audio(d / "dev-clean" / "84" / "198" / "85-198-0000.flac"), r"1 files do not lie .*85-198-0000.flac"),
        (lambda d: shutil.move(d / "test-clean" / "61", d / "dev-clean" / "61"), r"dev-clean: 4 files .*: 61 \(test-clean\)"),
        (lambda d: shutil.copytree(d / "test-clean" / "61", d / "train-clean-5" / "61"), r"4 utterance ids .*'61-198-0000'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(data, tmp_path, spoil, words):
    spoil(data / "LibriSpeech")
    changes = {}
    if (data / "LibriSpeech" / "train-clean-5").exists():
        changes["train_subsets"] = ("train-clean-100", "train-clean-5")
    with pytest.raises(RecipeError, match=words):
        run(data, tmp_path / "x", **changes)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"no folder test-clean, train-clean-100, .*python -m steps.download librispeech"):
        run(tmp_path, tmp_path / "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"train_subsets": ("clean",)},
        {"train_subsets": ("dev-clean",)},
        {"test_subsets": ()},
        {"type": "timit"},
        {"split": "folders"},
        {"wrong_counts": "x"},
        {"rir_subfolder": "a", "rir_subfolders": ("b",)},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expected"):
        Settings(**changes)
