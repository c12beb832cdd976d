"""Claims about the folders of VoxCeleb: both releases of VoxCeleb1, and utterances that are there in several formats."""

from pathlib import Path

import pytest

from local.celebrities.metadata import Speaker
from local.celebrities.tree import VOX1, VOX2, find_rows
from steps.core.errors import RecipeError

PEOPLE = {
    "id10003": Speaker(gender="m", nationality="India", part="dev", name="Aamir_Khan"),
    "id10270": Speaker(gender="f", nationality="USA", part="test", name="Eartha_Kitt"),
    "id00012": Speaker(gender="m", part="dev", name="n000012"),
}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_the_first_release_has_the_ids_of_the_second(tmp_path):
    # The first lines of the two lists of VoxCeleb1-O are of these two recordings; a video's id may have '_' and '-' anywhere.
    first = {
        "Eartha_Kitt/x6uYqmx31kE_0000001.wav": "id10270/x6uYqmx31kE/00001",
        "Eartha_Kitt/8jEAjG6SegY_0000008.wav": "id10270/8jEAjG6SegY/00008",
        "Aamir_Khan/-_lIFE-0_-O_0000123.wav": "id10003/-_lIFE-0_-O/00123",
    }
    touch(tmp_path, *(f"vox1/voxceleb1_wav/{name}" for name in first), "vox1/voxceleb1_wav/README")
    rows = find_rows(VOX1, tmp_path, "vox1", PEOPLE)
    assert {row.path: row.id for row in rows} == {f"vox1/voxceleb1_wav/{name}": row_id for name, row_id in first.items()}
    assert {(row.speaker, row.gender, row.split) for row in rows} == {("id10270", "f", "test"), ("id10003", "m", "dev")}
    assert {row.session for row in rows} == {"x6uYqmx31kE", "8jEAjG6SegY", "-_lIFE-0_-O"}
    assert find_rows(VOX1, tmp_path / "vox1", "", PEOPLE)[0].path == rows[0].path.removeprefix("vox1/")
    touch(tmp_path, "vox1/wav/id10270/x6uYqmx31kE/00001.wav")  # the second release beside it: each recording is read once
    assert [row.id for row in find_rows(VOX1, tmp_path, "vox1", PEOPLE)].count("id10270/x6uYqmx31kE/00001") == 1


def test_the_first_release_needs_the_names_of_the_metadata(tmp_path):
    touch(tmp_path, "voxceleb1_wav/Aamir_Khan/x6uYqmx31kE_0000001.wav", "voxceleb1_wav/No_Body/x6uYqmx31kE_0000001.wav")
    with pytest.raises(RecipeError, match=r"1 folders of VoxCeleb1's first release .* which names 3 people: No_Body;"):
        find_rows(VOX1, tmp_path, "", PEOPLE)
    with pytest.raises(RecipeError, match=r"2 folders of .* vox1_meta.csv, which is not there: Aamir_Khan, No_Body; put"):
        find_rows(VOX1, tmp_path, "", {})


@pytest.mark.parametrize("name", ["wav/Aamir_Khan/1.wav", "wav/Aamir_Khan/x6uYqmx31k_0000001.wav", "wav/Aamir_Khan/x/00001.wav"])
def test_other_names_are_refused(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(RecipeError, match=r"1 audio files do not lie where .*or voxceleb1_wav/<name>/<video>_<number>.wav"):
        find_rows(VOX1, tmp_path, "", PEOPLE)


def test_the_second_corpus_has_no_names(tmp_path):
    touch(tmp_path, "dev/aac/n000012/x6uYqmx31kE_0000001.m4a")
    with pytest.raises(RecipeError, match=r"expected .../id0xxxx/<video>/<number>.m4a; move"):
        find_rows(VOX2, tmp_path, "", PEOPLE)


def test_of_several_formats_the_one_that_decodes_fastest_is_read(tmp_path):
    name = "id00012/-aBc_DEf123/0000"
    touch(tmp_path, *(f"dev/aac/{name}{number}.m4a" for number in range(4)))  # as published
    touch(tmp_path, *(f"dev/flac/{name}{number}.flac" for number in range(3)))  # what steps.transcode makes, one short
    touch(tmp_path, f"dev/wav/{name}0.wav", f"dev/aac/{name}3.flac", f"dev/flac/{name}0.ogg")
    touch(tmp_path, f"dev/flac.partial/units/flac.00000/{name}4.flac")  # not finished: it does not count
    rows = find_rows(VOX2, tmp_path, "", {}, ("dev",))
    assert {row.id: row.path for row in rows} == {
        f"{name}0": f"dev/wav/{name}0.wav", f"{name}1": f"dev/flac/{name}1.flac",
        f"{name}2": f"dev/flac/{name}2.flac", f"{name}3": f"dev/aac/{name}3.flac",
    }  # fmt: skip
