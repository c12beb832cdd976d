"""Claims about the miniature of VoxCeleb that tests run on, and about stage 1 of the recipe on it."""

from pathlib import Path

import pytest
import soundfile

from steps import prepare
from steps.core.log import configure
from steps.core.stage import run
from steps.data.manifests import has_set, read_set
from tests.recipes.voxceleb_miniature import RATE, Miniature, make_miniature

ROOT = Path(__file__).parents[2]
SMALL = {"num_train": 3, "num_test": 3, "num_vox1_dev": 2, "num_utterances": 2, "durations": (0.8, 1.0)}


@pytest.fixture(scope="module")
def miniature(tmp_path_factory) -> Miniature:
    return make_miniature(tmp_path_factory.mktemp("miniature") / "data", durations=(0.8, 1.0))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    first = contents(make_miniature(tmp_path / "x", **SMALL).folder)
    assert contents(make_miniature(tmp_path / "y", **SMALL).folder) == first
    other = contents(make_miniature(tmp_path / "z", seed=2, **SMALL).folder)
    assert other.keys() == first.keys()
    assert all(other[name] != content for name, content in first.items() if name.endswith(".wav"))


def test_audio_lies_where_voxceleb_has_it(miniature):
    assert (len(miniature.train), len(miniature.vox1_test), len(miniature.vox1_dev)) == (8 * 4, 6 * 4, 4 * 4)
    for utterance, path in (miniature.train | miniature.vox1_dev | miniature.vox1_test).items():
        info = soundfile.info(miniature.folder / path)
        assert (info.samplerate, info.channels) == (RATE, 1)
        assert 0.8 <= info.duration <= 1.0
        speaker, video, number = utterance.split("/")
        assert len(video) == 11
        assert path.endswith(f"{speaker}/{video}/{number}.wav")
    assert any(utterance.split("/")[1].startswith("-") for utterance in miniature.vox1_test)


def test_files_have_the_oddities_of_the_real_ones(miniature):
    vox2 = (miniature.folder / "meta" / "vox2_meta.csv").read_bytes()
    assert vox2.startswith(b"\xef\xbb\xbfVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r\n")
    assert b"id00012 ,n000012 ,f ,dev \r\n" in vox2
    vox1 = (miniature.folder / "meta" / "vox1_meta.csv").read_text()
    assert vox1.startswith("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\nid10001\t")
    lists = miniature.folder / "vox1"
    assert [name for name in miniature.lists if not (lists / name).read_bytes().endswith(b"\n")] == ["veri_test2.txt"]
    for path in miniature.folder.glob("RIRS_NOISES/simulated_rirs/*/rir_list"):
        assert all((miniature.folder / line.split()[-1]).is_file() for line in path.read_text().splitlines())


def test_lists_are_built_as_the_real_ones(miniature):
    for name, trials in miniature.lists.items():
        assert len({each[1:] for each in trials}) == len(trials)
        for is_target, enrol, test in trials:
            one, other = enrol.partition("/")[0], test.partition("/")[0]
            assert enrol != test
            assert is_target == (one == other)
            if "hard" in name:
                assert miniature.genders[one] == miniature.genders[other]
                assert miniature.nationalities[one] == miniature.nationalities[other]
    for name in ("veri_test", "list_test_all", "list_test_hard"):
        assert set(miniature.lists[f"{name}2.txt"]) < set(miniature.lists[f"{name}.txt"])
    speakers = {name: {utterance[:7] for each in trials for utterance in each[1:]} for name, trials in miniature.lists.items()}
    assert [len(speakers[name]) for name in ("veri_test.txt", "list_test_all.txt")] == [6, 10]
    assert [label for label, *_ in miniature.lists["veri_test.txt"][:4]] == [True, False, True, False]


def test_stage_1_of_the_recipe_runs_on_it(miniature, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("steps.core.config.SITE_FILE", Path("conf/no-site.toml"))
    arguments = ["--config", "recipes/voxceleb/resnet34_256_aam.toml", "--out", str(tmp_path / "m")]
    arguments += ["--set", f"site.corpus={miniature.folder}", "--set", "prepare.dev_speakers=2"]
    arguments += ["--set", "prepare.other_lists=warn"]  # they are none of those that were published
    arguments += ["--set", "prepare.calibration=pairs"]  # all clips are short
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0
    out = tmp_path / "m"
    assert all(has_set(out, name) for name in ("train", "dev", "test", "noise", "music", "rir", "babble"))
    assert len({item.speaker for item in read_set(out, "train")}) == 6
    assert sorted(path.stem for path in (out / "trials").iterdir()) == [
        "vox1_e", "vox1_e_cleaned", "vox1_h", "vox1_h_cleaned", "vox1_o", "vox1_o_cleaned",
    ]  # fmt: skip
    before = (out / "stamp.json").read_bytes()
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0  # up to date
    assert (out / "stamp.json").read_bytes() == before
