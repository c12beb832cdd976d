"""Claims about trial lists of VoxCeleb1's first release, which give people's names: they are the lists of the second one."""

import shutil
from pathlib import Path

import pytest

from local.celebrities import first_release, known, trial_lists
from local.celebrities.metadata import Speaker, read_speakers
from steps.core.errors import RecipeError
from steps.data.manifests import Utterance
from steps.data.trials import read_trials

REAL = Path(__file__).parents[3] / "shared" / "data" / "voxceleb_lists"
SPEAKERS = {
    "id10003": Speaker(gender="m", part="dev", name="Aamir_Khan"),
    "id10270": Speaker(gender="f", part="test", name="Eartha_Kitt"),
    "id10271": Speaker(gender="m", part="test"),
}
PEOPLE = first_release.people(SPEAKERS)
NAMES = {  # the first line of OpenSLR's voxceleb1_test.txt has the first two
    "Eartha_Kitt/x6uYqmx31kE_0000001.wav": "id10270/x6uYqmx31kE/00001",
    "Eartha_Kitt/8jEAjG6SegY_0000008.wav": "id10270/8jEAjG6SegY/00008",
    "./Aamir_Khan/-_lIFE-0_-O_0000123.wav": "id10003/-_lIFE-0_-O/00123",
    "id10270/x6uYqmx31kE/00017.wav": "id10270/x6uYqmx31kE/00017",
}


def utterances(ids) -> list[Utterance]:
    return [
        Utterance(id=name, speaker=name[:7], gender="", session="", corpus="vox1", path=f"{name}.wav", sampling_rate=16000,
                  num_samples=16000) for name in ids
    ]  # fmt: skip


def test_a_list_of_names_becomes_one_of_ids(tmp_path):
    path = tmp_path / "list.txt"
    first, second, other, plain = NAMES
    path.write_text(f"1 {first} {second}\n0 {first} {other}\n1 {plain} {second}\n")
    assert trial_lists.named(path, PEOPLE) == set(NAMES.values())
    found = trial_lists.read(path, utterances(NAMES.values()), PEOPLE)
    assert found.enrol_ids == [NAMES[first], NAMES[first], NAMES[plain]]
    assert found.test_ids == [NAMES[second], NAMES[other], NAMES[second]]
    assert found.is_target.tolist() == [True, False, True]


def test_people_whom_the_metadata_do_not_know_are_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1 No_Body/x6uYqmx31kE_0000001.wav No_Body/x6uYqmx31kE_0000002.wav\n")
    with pytest.raises(RecipeError, match=r"list.txt: 1 of the names .* vox1_meta.csv, which names 2 people: No_Body; put the"):
        trial_lists.named(path, PEOPLE)
    with pytest.raises(RecipeError, match=r"vox1_meta.csv, which is not there: No_Body; .* beside the list or above it"):
        trial_lists.named(path, {})


@pytest.mark.parametrize(
    "name", ["Eartha_Kitt/x6uYqmx31k_0000001.wav", "Eartha_Kitt/x6uYqmx31kE_00001.wav", "a/b/x6uYqmx31kE_0000001"]
)
def test_other_names_stay_as_they_are(name):
    assert first_release.renamed(name, PEOPLE) == name
    assert first_release.person(name) == ""


def test_of_several_files_of_one_list_that_of_the_site_is_taken(tmp_path):
    for file in ("voxceleb1_test.txt", "voxceleb1_test_v2.txt", "veri_test.txt", "veri_test2.txt"):
        (tmp_path / file).write_text("1 a b\n")
    first, second, third = "veri_test.txt", "voxceleb1_test_v2.txt", "voxceleb1_test.txt"
    for gone, taken in (("", first), (first, second), (second, third)):
        if gone:
            (tmp_path / gone).unlink()
        found = trial_lists.find("", [tmp_path])
        assert {name: path.name for name, path in found.items()} == {"vox1_o": taken, "vox1_o_cleaned": "veri_test2.txt"}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real lists and metadata of ../shared/data/voxceleb_lists")
def test_the_real_list_by_names_is_the_published_one(tmp_path):
    speakers = read_speakers(REAL / "vox1_meta.csv", "voxceleb1 id")
    people, path = first_release.people(speakers), tmp_path / "voxceleb1_test.txt"

    def by_name(word: str) -> str:
        speaker, _, rest = word.partition("/")
        return f"{speakers[speaker].name}/{rest[:11]}_00{rest[12:]}" if rest else word

    lines = (REAL / "veri_test.txt").read_text().splitlines()
    path.write_text("".join(" ".join(map(by_name, line.split())) + "\n" for line in reversed(lines)))
    assert "1 Eartha_Kitt/x6uYqmx31kE_0000001.wav Eartha_Kitt/8jEAjG6SegY_0000008.wav\n" in path.read_text()
    ids = trial_lists.named(path, people)
    trials = trial_lists.read(path, utterances(ids), people)
    assert (len(trials), trials.num_target, len(ids)) == (37_720, 18_860, known.LISTS["vox1_o"].utterances)
    given = read_trials(REAL / "veri_test.txt")
    expected = [f"{enrol} {test}".replace(".wav", "") for enrol, test in zip(given.enrol_ids, given.test_ids, strict=True)]
    assert [f"{enrol} {test}" for enrol, test in zip(trials.enrol_ids, trials.test_ids, strict=True)] == expected[::-1]
    trial_lists.check_published(path, "vox1_o", ids, people)
    shutil.copy(path, tmp_path / "other.txt")
    text = path.read_text()
    path.write_text(
        text.replace(
            "Eartha_Kitt/x6uYqmx31kE_0000001.wav Eartha_Kitt/8jEAjG6SegY_0000008",
            "Eartha_Kitt/8jEAjG6SegY_0000008.wav Eartha_Kitt/x6uYqmx31kE_0000001",
        )
    )
    with pytest.raises(RecipeError, match=r"is not the published list: .* as documented, but other lines"):
        trial_lists.check_published(path, "vox1_o", ids, people)
