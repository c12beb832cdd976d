"""Claims about local.voxceleb, on a miniature of VoxCeleb and, where they are there, on the real lists and metadata."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import voxceleb
from local.celebrities import comparison, known
from local.listing.documented import Counts
from local.voxceleb import Settings
from steps.core.errors import RecipeError
from steps.data.audio import read_audio
from steps.data.manifests import audio_root, has_set, read_roots, read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.recipes.voxceleb_miniature import RATE, Miniature, can_write_m4a, make_miniature, write_audio, write_list

REAL = Path(__file__).parents[3] / "shared" / "data" / "voxceleb_lists"
LISTS = sorted(known.LIST_NAMES.values())
ONLY_O = "veri_test.txt;veri_test2.txt"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Miniature:
    return make_miniature(tmp_path_factory.mktemp("miniature") / "data", durations=(0.8, 1.0))


@pytest.fixture
def data(original, tmp_path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(original.folder, tmp_path / "data"))


@pytest.fixture
def log(caplog, monkeypatch):
    """What the stage says, also after another test has configured its logger."""
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    return caplog


def said(log, *levels: int) -> list[str]:
    """What the stage said (at these levels), with one blank between words."""
    return [" ".join(each.getMessage().split()) for each in log.records if not levels or each.levelno in levels]


def prepare(root: Path, out: Path, site: dict[str, str] | None = None, **changes) -> Path:
    settings = Settings(**{"dev_speakers": 2.0, "other_lists": "warn"} | changes)
    site = {"corpus": str(root), "noise": str(root / "musan"), "rir": str(root / "RIRS_NOISES")} if site is None else site
    voxceleb.inventory(settings, site)
    units = voxceleb.list_units(settings, site)
    for unit in units:
        (out / "units" / unit).mkdir(parents=True)
        voxceleb.prepare_unit(settings, site, unit, out / "units" / unit)
    (out / "out").mkdir(exist_ok=True)
    voxceleb.merge(settings, site, {unit: out / "units" / unit for unit in units}, out / "out")
    return out / "out"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "opened")  # which has times
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def speakers(out: Path, name: str) -> set[str]:
    return {item.speaker for item in read_set(out, name)}


def ids(out: Path, *names: str) -> set[str]:
    return {item.id for name in names for item in read_set(out, name)}


def list_names(out: Path) -> list[str]:
    return sorted(path.stem for path in (out / "trials").iterdir())


def test_training_is_vox2_dev_and_testing_what_the_lists_name(original, tmp_path):
    out = prepare(original.folder, tmp_path)
    assert ids(out, "train", "dev") == set(original.train)
    assert (len(speakers(out, "train")), len(speakers(out, "dev"))) == (6, 2)
    assert not speakers(out, "train") & speakers(out, "dev")
    everything = set(original.vox1_dev) | set(original.vox1_test)
    assert ids(out, "test") == everything
    assert read_roots(out) == {
        "train": "corpus", "dev": "corpus", "test": "corpus", "noise": "noise", "music": "noise", "rir": "rir",
    }  # fmt: skip
    files = original.train | original.vox1_dev | original.vox1_test
    for item in [item for name in ("train", "dev", "test") for item in read_set(out, name)]:
        speaker, video, _ = item.id.split("/")
        assert (item.path, item.speaker, item.session) == (files[item.id], speaker, video)
        assert (item.gender, item.corpus) == (original.genders[speaker], "vox1" if item.id in everything else "vox2")
    item = read_set(out, "test")[0]
    assert item.id == "id10001/0cYFdtyWVds/00003"
    samples_W, rate = read_audio(audio_root("test", out, {"corpus": str(original.folder)}) / item.path)
    assert (len(samples_W), rate) == (item.num_samples, RATE)
    assert read_utt2spk(out / "utt2spk") == {name: name.partition("/")[0] for name in files}
    assert any("/-aBc_DEf123/" in name for name in read_utt2spk(out / "utt2spk"))
    assert not (out / "problems.tsv").exists()


def test_the_lists_become_trials_line_by_line(original, tmp_path):
    out = prepare(original.folder, tmp_path)
    assert list_names(out) == LISTS
    for file, trials in original.lists.items():
        written = (out / "trials" / f"{known.LIST_NAMES[file]}.txt").read_text()
        # The last one of veri_test2.txt has no newline behind it.
        assert written == "".join(f"{int(label)} {enrol} {test}\n" for label, enrol, test in trials)
    assert not (original.folder / "vox1" / "veri_test2.txt").read_bytes().endswith(b"\n")
    calibration = read_trials(out / "calibration" / "dev.txt")
    assert {name.partition("/")[0] for name in calibration.enrol_ids} == speakers(out, "dev")
    assert (len(calibration), calibration.num_target) == (8 * 7 // 2, 2 * 6)


def test_metadata_with_their_oddities_are_read(original, data, tmp_path):
    out = prepare(original.folder, tmp_path / "x")
    assert (out / "spk2gender").read_text() == "".join(f"{name} {sex}\n" for name, sex in sorted(original.genders.items()))
    nationalities = sorted(original.nationalities.items())
    assert (out / "spk2nationality").read_text() == "".join(f"{name} {country}\n" for name, country in nationalities)
    assert "New Zealand" in dict(nationalities).values()
    shutil.rmtree(data / "meta")
    out = prepare(data, tmp_path / "y")
    assert not (out / "spk2gender").exists()
    assert {item.gender for item in read_set(out, "train")} == {""}


def test_musan_and_small_and_medium_rooms_become_banks(original, data, tmp_path, caplog):
    out = prepare(original.folder, tmp_path / "x")
    assert ids(out, "noise") == {
        "noise/free-sound/noise-free-sound-0000",
        "noise/free-sound/noise-free-sound-0002",
        "noise/sound-bible/noise-sound-bible-0001",
    }
    assert ids(out, "music") == {"music/fma/music-fma-0000", "music/hd-classical/music-hd-classical-0001"}
    rooms = {
        f"{size}/Room{room}/Room{room}-0000{n}" for size in ("smallroom", "mediumroom") for room in ("001", "002") for n in "12"
    }
    assert ids(out, "rir") == rooms
    item = read_set(out, "rir")[-1]
    assert item.path == f"simulated_rirs/{item.id}.wav"
    assert read_audio(audio_root("rir", out, {"rir": str(data / "RIRS_NOISES")}) / item.path)[1] == RATE
    out = prepare(data, tmp_path / "y", {"corpus": str(data)})
    assert [name for name in ("noise", "music", "rir") if has_set(out, name)] == []
    assert "site.rir is not set: no set 'rir' is made" in caplog.text


def test_the_same_bytes_wherever_it_lies_and_in_whatever_shards(original, data, tmp_path, monkeypatch):
    first = contents(prepare(original.folder, tmp_path / "x"))
    monkeypatch.setattr(voxceleb, "SHARD_SIZE", 7)
    assert contents(prepare(data, tmp_path / "y")) == first
    assert not any(str(tmp_path).encode() in content for content in first.values())
    assert len(list((tmp_path / "y" / "units").iterdir())) > len(list((tmp_path / "x" / "units").iterdir()))
    assert contents(prepare(data, tmp_path / "z", seed=3)) != first


def test_the_two_corpora_may_lie_apart(original, tmp_path):
    site = {"voxceleb1": str(original.folder / "vox1"), "voxceleb2": str(original.folder / "vox2")}
    out = prepare(original.folder, tmp_path / "x", site)
    assert read_roots(out) == {"train": "voxceleb2", "dev": "voxceleb2", "test": "voxceleb1"}
    assert read_set(out, "test")[0].path.startswith("dev/wav/id10001/")
    assert read_set(out, "train")[0].path.startswith("dev/aac/id000")
    with pytest.raises(RecipeError, match=r"below site.voxceleb1 and site.voxceleb2; expected one root"):
        prepare(original.folder, tmp_path / "y", site, train="both", trials=ONLY_O)


def test_dev_and_test_may_lie_in_one_folder(original, data, tmp_path):
    for part in ("dev", "test"):
        shutil.copytree(data / "vox1" / part / "wav", data / "vox1" / "wav", dirs_exist_ok=True)
        shutil.rmtree(data / "vox1" / part)
    (data / "vox2" / "dev" / "aac").rename(data / "vox2" / "aac")
    stranger = write_audio(data / "vox2" / "aac" / "id04170" / "abcdefghijk" / "00001.wav", np.ones(4000))
    out = prepare(data, tmp_path / "x")
    assert ids(out, "train", "dev") == set(original.train)  # the metadata say that id04170 is a test speaker
    assert ids(out, "test") == set(original.vox1_dev) | set(original.vox1_test)
    assert read_set(out, "test")[-1].path.startswith("vox1/wav/id10275/")
    (data / "meta" / "vox2_meta.csv").unlink()
    assert stranger.parent.parent.name in speakers(prepare(data, tmp_path / "y", dev_speakers=0.0), "train")
    out = prepare(data, tmp_path / "z", train="vox1_dev", trials=ONLY_O, dev_speakers=0.0)
    assert ids(out, "train") == set(original.vox1_dev)  # by their numbers


def test_aac_files_are_read(tmp_path):
    if not can_write_m4a():  # asked here, as the answer takes seconds
        pytest.skip("needs torchcodec and the ffmpeg libraries, to make AAC files")
    sizes = {"num_train": 3, "num_test": 2, "num_vox1_dev": 2, "num_utterances": 2}
    miniature = make_miniature(tmp_path / "data", m4a=True, durations=(0.8, 1.0), **sizes)
    out = prepare(miniature.folder, tmp_path, dev_speakers=0.0)
    items = read_set(out, "train")
    assert [item.path.rpartition(".")[2] for item in items] == ["m4a"] * 4 + ["wav"] * 2
    samples_W, rate = read_audio(audio_root("train", out, {"corpus": str(miniature.folder)}) / items[0].path)
    assert (len(samples_W), rate) == (items[0].num_samples, RATE)
    assert 0.8 * RATE <= len(samples_W) < 1.0 * RATE + 4096  # AAC comes in frames of 1024 samples


def test_lists_can_be_chosen(original, data, tmp_path):
    (data / "vox1" / "veri_test2.txt").rename(data / "veri_test2.txt")  # beside vox1/ will do
    for name in ("list_test_all.txt", "list_test_hard.txt", "list_test_hard2.txt"):
        (data / "vox1" / name).unlink()
    assert list_names(prepare(data, tmp_path / "x")) == ["vox1_e_cleaned", "vox1_o", "vox1_o_cleaned"]
    out = prepare(data, tmp_path / "y", trials=ONLY_O)
    assert list_names(out) == ["vox1_o", "vox1_o_cleaned"]
    assert ids(out, "test") == set(original.vox1_test)
    write_list(tmp_path / "mine.txt", original.lists["veri_test.txt"][:8])
    out = prepare(data, tmp_path / "z", trials=str(tmp_path / "mine.txt"))
    assert list_names(out) == ["mine"]
    assert len(read_set(out, "test")) == len({name for each in original.lists["veri_test.txt"][:8] for name in each[1:]})


def test_training_on_vox1_goes_with_o_only(original, tmp_path):
    out = prepare(original.folder, tmp_path / "x", train="vox1_dev", trials=ONLY_O)
    assert ids(out, "train", "dev") == set(original.vox1_dev)
    out = prepare(original.folder, tmp_path / "y", train="both", trials=ONLY_O)
    assert ids(out, "train", "dev") == set(original.vox1_dev) | set(original.train)
    assert read_roots(out)["train"] == "corpus"
    for number, train in enumerate(("vox1_dev", "both")):
        with pytest.raises(
            RecipeError, match=r"list_test_all.txt \(4 speakers\).*--set 'prepare.trials=veri_test.txt;veri_test2.txt'"
        ):
            prepare(original.folder, tmp_path / f"e{number}", train=train)
    with pytest.raises(RecipeError, match=r"list_test_hard2.txt \(\d speakers\).*; give other lists"):
        prepare(original.folder, tmp_path / "h", train="vox1_dev", trials="list_test_hard2.txt")


def test_a_trained_model_needs_no_training_data(data, tmp_path):
    shutil.rmtree(data / "vox2")
    out = prepare(data, tmp_path, split="test")
    assert sorted(read_roots(out)) == ["music", "noise", "rir", "test"]
    assert not (out / "calibration").exists()
    assert list_names(out) == LISTS


def test_counts_are_compared_with_the_documented_ones(original, data, tmp_path, log, monkeypatch):
    prepare(original.folder, tmp_path / "x")
    warnings = said(log, logging.WARNING)
    assert "vox1_test 6 / 40 24 / 4,874 - - this is not the published set" in warnings
    assert any(line.startswith("vox1_o 6 / 40 24 / 4,715 144 / 37,720 72 / 18,860 veri_test.txt is not") for line in warnings)
    log.clear()
    counts = {"vox1_dev": (4, 16), "vox1_test": (6, 24), "vox2_dev": (8, 32)}
    monkeypatch.setattr(known, "SETS", {k: Counts(speakers=s, utterances=u) for k, (s, u) in counts.items()})
    lists = {}
    for file, trials in original.lists.items():
        named = {name for _, *pair in trials for name in pair}
        numbers = {"trials": len(trials), "utterances": len(named), "speakers": len({name[:7] for name in named})}
        lists[known.LIST_NAMES[file]] = Counts(**numbers)
    monkeypatch.setattr(known, "LISTS", lists)
    monkeypatch.setattr(known, "LIST_HASHES", {})
    prepare(original.folder, tmp_path / "y")
    assert {record.levelno for record in log.records} == {logging.INFO}
    assert "found / documented speakers utterances trials target trials" in said(log)
    assert "vox2_dev 8 / 8 32 / 32 - - as documented" in said(log)
    assert "vox1_o 6 / 6 24 / 24 144 / 144 72 veri_test.txt, as documented" in said(log)
    assert "set dev 2 8 - -" in said(log)
    log.clear()
    write_list(data / "vox1" / "veri_test.txt", original.lists["veri_test.txt"][:-1])
    (data / next(iter(original.train.values()))).unlink()
    monkeypatch.setattr(comparison, "_SMALL_SHORTFALL", 0.05)
    prepare(data, tmp_path / "z")
    warnings = said(log, logging.WARNING)
    assert len(warnings) == 2
    assert warnings[0] == "vox2_dev 8 / 8 31 / 32 - - a few files less do no harm"
    assert warnings[1].startswith("vox1_o 6 / 6 24 / 24 143 / 144 72 veri_test.txt is not the published list")


def append(path: Path, line: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)


def no_lists(data: Path) -> None:
    for path in (data / "vox1").glob("*.txt"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "changes", "words"),
    [
        (lambda d: next(d.rglob("id10270/*/00001.wav")).unlink(), {}, r"veri_test.txt: 1 of its 24 .*'id10270/.*/00001'"),
        (lambda d: shutil.rmtree(d / "vox1" / "dev"), {}, r"list_test_all.txt: 16 of its 40 utterances .*E and H need dev"),
        (lambda d: shutil.rmtree(d / "vox1" / "dev"), {"train": "vox1_dev"}, r"no audio of the development set of VoxCeleb1"),
        (lambda d: shutil.rmtree(d / "vox1" / "dev" / "wav"), {"trials": ONLY_O, "vox1_folder": "v"}, r"data/v: no audio of"),
        (lambda d: shutil.rmtree(d / "vox2"), {}, r"development set of VoxCeleb2 .*dev/aac/id0xxxx/<video>/00001.m4a"),
        (no_lists, {}, r"no trial list: looked for veri_test.txt, .*voxceleb1_test_v2.txt, voxceleb1_test.txt in "),
        (lambda d: None, {"trials": "none.txt"}, r"no file 'none.txt'; looked for "),
        (lambda d: append(d / "vox1" / "veri_test.txt", "1 id10270/a b c\n"), {}, r"veri_test.txt:145: malformed trial '1 id1"),
        (lambda d: append(d / "vox1" / "veri_test.txt", "1 A_B/x/1.wav A_B/y/1.wav\n"), {}, r"2 of its 26 .*'A_B/x/1'"),
        (lambda d: (d / "vox1" / "veri_test.txt").write_text(""), {}, r"veri_test.txt: the trial list is empty"),
        (lambda d: shutil.copy(d / "vox1" / "veri_test.txt", d / "vox1_o.txt"), {"trials": "vox1_o.txt;veri_test.txt"}, "both"),
        (lambda d: write_audio(d / "vox1" / "dev" / "wav" / "A.J._Buckley" / "1.wav", np.ones(9)), {}, r"1 audio files do not"),
        (lambda d: shutil.copytree(d / "vox1", d / "vox2", dirs_exist_ok=True), {}, r"expected .../id0xxxx/<video>/<number>.m4a"),
        (lambda d: shutil.rmtree(d / "RIRS_NOISES" / "simulated_rirs" / "smallroom"), {}, r"smallroom: no audio file .*'rir'"),
        (lambda d: shutil.rmtree(d / "musan"), {}, r"site.noise = .*musan: no such folder"),
        (lambda d: append(d / "meta" / "vox1_meta.csv", "id10001\tX\tq\tUSA\tdev\n"), {}, r"vox1_meta.csv:12: gender 'q'"),
        (lambda d: append(d / "meta" / "vox1_meta.csv", "id10001\tX\tm\tUSA\tdev\n"), {}, r"csv:12: speaker 'id10001' has two"),
        (lambda d: append(d / "meta" / "vox2_meta.csv", "id00012 ,n ,f \n"), {}, r"vox2_meta.csv:11: 3 fields, expected 4"),
        (lambda d: None, {"dev_speakers": 40.0}, r"dev_speakers = 40 asks for 40 of 8 speakers"),
        (lambda d: None, {"sampling_rate": 8000}, r"expected 8000 Hz in all files, found 16000 Hz"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place(data, tmp_path, spoil, changes, words):
    spoil(data)
    with pytest.raises(RecipeError, match=words):
        prepare(data, tmp_path / "x", **changes)


def test_without_a_folder_the_message_says_which(tmp_path):
    with pytest.raises(RecipeError, match=r"nothing says where VoxCeleb1 lies; .*--data DIR .*site.voxceleb1"):
        prepare(tmp_path, tmp_path, {})
    with pytest.raises(RecipeError, match=r"site.voxceleb1 = .*none: no such folder"):
        prepare(tmp_path, tmp_path, {"voxceleb1": str(tmp_path / "none")})


def test_bad_audio_is_named_and_can_be_excluded(original, data, tmp_path):
    name, path = next(iter(original.train.items()))
    (data / path).write_bytes(b"")
    with pytest.raises(RecipeError, match=rf"1 of \d+ audio files cannot be used: {path} is empty"):
        prepare(data, tmp_path / "x")
    out = prepare(data, tmp_path / "y", bad_audio="exclude", max_bad=0.02)
    assert ids(out, "train", "dev") == set(original.train) - {name}
    assert (out / "problems.tsv").read_text() == f"vox2\t{path}\tis empty (0 bytes)\n"
    shutil.copy(original.folder / path, data / path)
    units = {unit.name: unit for unit in (tmp_path / "x" / "units").iterdir()}
    site = {"corpus": str(data), "noise": str(data / "musan"), "rir": str(data / "RIRS_NOISES")}
    voxceleb.inventory(Settings(dev_speakers=2.0), site)
    voxceleb.merge(Settings(dev_speakers=2.0), site, units, tmp_path / "x" / "out")  # opens again what was bad
    assert name in read_utt2spk(tmp_path / "x" / "out" / "utt2spk")


def test_trials_of_an_utterance_that_was_excluded_stay_in_their_list_and_are_counted(original, data, tmp_path):
    path = next(iter(original.vox1_test.values()))
    soundfile.write(data / path, np.zeros(800), RATE)
    trials = prepare(data, tmp_path, bad_audio="exclude", max_bad=0.1) / "trials" / "vox1_o.txt"
    num = sum(next(iter(original.vox1_test)) in line.split() for line in trials.read_text().splitlines())
    assert num > 0
    said = [line for line in (trials.parents[1] / "remarks.tsv").read_text().splitlines() if line.startswith("trials\tvox1_o\t")]
    assert said == [f"trials\tvox1_o\t{num} of 144 trials name files that are left out"]


def test_inventory_notices_audio_lists_and_metadata(data):
    settings, site = Settings(), {"corpus": str(data)}
    found = [voxceleb.inventory(settings, site)]
    assert found[0] == voxceleb.inventory(settings, site)
    for change in (
        lambda: next((data / "vox2").rglob("*.wav")).unlink(),
        lambda: write_audio(next((data / "vox1" / "test").rglob("*.wav")), np.ones(900)),
        lambda: (data / "vox1" / "list_test_hard.txt").unlink(),
        lambda: (data / "meta" / "vox2_meta.csv").unlink(),
    ):
        change()
        found.append(voxceleb.inventory(settings, site))
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "vox2"},
        {"split": "made"},
        {"bad_audio": "x"},
        {"dev_speakers": -1.0},
        {"rir_subfolders": ()},
        {"type": "folder"},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expected"):
        Settings(**changes)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real lists and metadata of ../shared/data/voxceleb_lists")
def test_the_real_lists_have_the_documented_numbers(tmp_path, log):
    clip = write_audio(tmp_path / "clip.wav", np.ones(400))
    lists = [REAL / name for name in ONLY_O.split(";")]
    names = {name for path in lists for trials in [read_trials(path)] for name in (*trials.enrol_ids, *trials.test_ids)}
    for name in names:
        target = tmp_path / "data" / "vox1" / "test" / "wav" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(clip, target)
    for path in REAL.glob("*.csv"):
        shutil.copy(path, tmp_path / "data")
    trials = ";".join(map(str, lists))
    changes = {"split": "test", "check_audio": "header", "trials": trials, "other_lists": "refuse"}
    out = prepare(tmp_path / "data", tmp_path, {"corpus": str(tmp_path / "data")}, **changes)
    lines = said(log)
    published = "37,720 / 37,720 18,860 / 18,860 veri_test.txt, as documented"
    assert f"vox1_o 40 / 40 4,715 / 4,715 {published}" in lines
    published = "37,611 / 37,611 18,802 / 18,802 veri_test2.txt, as documented"
    assert f"vox1_o_cleaned 40 / 40 4,708 / 4,708 {published}" in lines
    assert "set test 40 4,715 - -" in lines
    counts = {name: read_trials(out / "trials" / f"{name}.txt") for name in ("vox1_o", "vox1_o_cleaned")}
    assert [(len(each), each.num_target) for each in counts.values()] == [(37_720, 18_860), (37_611, 18_802)]
    genders = [line.split()[1] for line in (out / "spk2gender").read_text().splitlines()]
    assert (genders.count("m"), genders.count("f")) == (25, 15)
    assert len((out / "spk2nationality").read_text().splitlines()) == 40
