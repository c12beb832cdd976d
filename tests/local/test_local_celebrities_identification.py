"""VoxCeleb with its identification split, and trained on one gender, on a miniature."""

import logging
from pathlib import Path

import pytest

from local import voxceleb
from local.celebrities import identification
from local.voxceleb import Settings
from steps.core.errors import RecipeError
from steps.data.item_lists import read_roles
from steps.data.manifests import read_set
from steps.data.trials import read_trials
from tests.recipes.voxceleb_miniature import make_miniature

PARTS = {1: "2", 2: "3", 3: "3", 4: "1", 5: "1", 6: "2"}  # utterance of a speaker -> part


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    found = make_miniature(
        tmp_path_factory.mktemp("miniature") / "data",
        durations=(0.8, 1.0),
        num_train=6,
        num_test=3,
        num_vox1_dev=3,
        num_utterances=6,
    )
    lines = [f"{PARTS[int(name[-5:])]} {name}.wav" for name in [*found.vox1_dev, *found.vox1_test]]
    (found.folder / "vox1" / "iden_split.txt").write_text("\n".join(lines))
    return found


def prepare(root: Path, out: Path, **changes) -> Path:
    settings = Settings(**{"dev_speakers": 2.0, "other_lists": "warn", "noise": "", "music": "", "rir": ""} | changes)
    site = {"corpus": str(root)}
    voxceleb.inventory(settings, site)
    units = voxceleb.list_units(settings, site)
    for unit in units:
        (out / "units" / unit).mkdir(parents=True)
        voxceleb.prepare_unit(settings, site, unit, out / "units" / unit)
    (out / "out").mkdir(parents=True)
    voxceleb.merge(settings, site, {unit: out / "units" / unit for unit in units}, out / "out")
    return out / "out"


def ids(out: Path, name: str) -> set[str]:
    return {item.id for item in read_set(out, name)}


def of_part(original, part: str) -> set[str]:
    return {name for name in original.vox1_dev | original.vox1_test if PARTS[int(name[-5:])] == part}


def check_list(original, out: Path) -> None:
    roles = read_roles(out / "identification" / "vox1_identification.txt")
    for role, part in (("enrol", "1"), ("test", "3")):
        assert {each.utterance for each in roles if each.role == role} == of_part(original, part)
    assert all(each.utterance.startswith(f"{each.speaker}/") for each in roles)


def test_part_1_of_all_speakers_is_trained_on(original, tmp_path):
    out = prepare(original.folder, tmp_path, train="vox1_identification", identification="iden_split.txt")
    for name, part in (("train", "1"), ("dev", "2"), ("test", "3")):
        assert ids(out, name) == of_part(original, part)
        assert len({item.speaker for item in read_set(out, name)}) == 6
    check_list(original, out)
    # No published list: they all test speakers who are trained on.
    assert [path.stem for path in (out / "trials").iterdir()] == ["vox1_identification_seen"]
    trials = read_trials(out / "trials" / "vox1_identification_seen.txt")
    assert {*trials.enrol_ids, *trials.test_ids} <= of_part(original, "3")
    calibration = read_trials(out / "calibration" / "dev.txt")
    assert {*calibration.enrol_ids, *calibration.test_ids} <= of_part(original, "2")


def test_a_system_of_voxceleb2_enrols_and_tests_the_same_utterances(original, tmp_path):
    out = prepare(original.folder, tmp_path / "x", identification="iden_split.txt", trials="veri_test.txt")
    check_list(original, out)
    assert ids(out, "train") | ids(out, "dev") == set(original.train)
    assert ids(out, "test") == set(original.vox1_test) | of_part(original, "1") | of_part(original, "3")
    plain = prepare(original.folder, tmp_path / "y", trials="veri_test.txt")
    assert ids(plain, "test") == set(original.vox1_test)
    assert not (plain / "identification").exists()


def test_training_on_one_gender_leaves_dev_and_test(original, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    plain, men = (prepare(original.folder, tmp_path / str(len(g)), trials="veri_test.txt", train_genders=g) for g in ((), ("m",)))
    assert ids(men, "train") == {name for name in ids(plain, "train") if original.genders[name.partition("/")[0]] == "m"}
    assert ids(men, "dev") == ids(plain, "dev")
    assert ids(men, "test") == ids(plain, "test")
    assert (men / "calibration" / "dev.txt").read_bytes() == (plain / "calibration" / "dev.txt").read_bytes()
    assert "trained on: 12 utterances of 2 speakers of gender m (of: 2 f, 2 m)" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 id10001/abc/00001.wav\n4 id10001/abc/00002.wav", r"iden.txt:2: .*found '4 id10001"),
        ("1 id10001/abc/00001.wav\n3 id10001/abc/00001.wav", r"iden.txt:2: .*'id10001/abc/00001' is there already"),
        ("1 id10001/00001.wav", r"iden.txt:1: expected"),
        ("1 id10001/abc/00001.wav", r"expected utterances of part 1 and of part 3, found \['1'\]"),
        ("1 id10001/abc/00001.wav\n3 id10001/abc/00002.wav", r"2 of its 2 utterances are not there: id10001/abc/00001"),
    ],
)
def test_a_split_that_is_another_is_refused(original, tmp_path, text, words):
    (tmp_path / "iden.txt").write_text(text)
    with pytest.raises(RecipeError, match=words):
        prepare(original.folder, tmp_path / "x", train="vox1_identification", identification=str(tmp_path / "iden.txt"))


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "vox1_identification"},
        {"train": "vox1_identification", "identification": "i", "trials": "veri_test.txt"},
        {"train": "vox1_identification", "identification": "i", "train_genders": ("m",)},
        {"train": "vox1_dev", "identification": "i"},
        {"train_genders": ("male",)},
    ],
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expect"):
        Settings(**changes)
    if "identification" in changes and changes["train"] == "vox1_dev":
        Settings(**changes, split="test")


def test_an_utterance_in_two_sets_is_refused(original, tmp_path):
    train = read_set(prepare(original.folder, tmp_path, trials="veri_test.txt"), "train")
    identification.check_apart({"train": train[1:], "test": train[:1]})
    with pytest.raises(RecipeError, match="1 utterances are in two sets, first"):
        identification.check_apart({"train": train, "test": train[:1]})


def test_sizes_are_compared_with_the_documented_ones():
    assert sum(identification.DOCUMENTED.values()) == 148_642 + 4_874
    is_known, line = identification.remark({"a/b/1": "1", "a/b/2": "3"})
    assert not is_known
    assert "1 (documented: 138,361), 0 (documented: 6,904), 1 (documented: 8,251) utterances of 1 speakers" in line
