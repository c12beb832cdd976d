"""Training on one gender, and lists of items and of speakers to identify, of a corpus that is a folder."""

from pathlib import Path

import pytest

from local import folder
from local.folder import Settings
from steps.core.errors import RecipeError
from steps.data.item_lists import read_items, read_roles
from steps.data.manifests import has_set, read_set
from tests.local.miniatures import prepare, write_audio

SPEAKERS = {f"s{number:02}": "fm"[number % 2] if number < 14 else "" for number in range(16)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("genders") / "corpus"
    for number, speaker in enumerate(SPEAKERS):
        for utterance in range(4):
            write_audio(root / speaker / f"u{utterance}.wav", seed=10 * number + utterance)
    lines = [f"{speaker},{gender}\n" for speaker, gender in SPEAKERS.items()]
    (root / "speakers.csv").write_text("speaker,gender\n" + "".join(lines))
    return root


def run(root: Path, out: Path, **changes) -> Path:
    out.mkdir()
    return prepare(
        folder, Settings(**{"metadata": "speakers.csv", "test_speakers": 4.0, "dev_speakers": 4.0} | changes), root, out
    )


def contents(top: Path, *names: str) -> dict[str, bytes]:
    paths = [path for name in names for path in sorted((top / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


def test_only_the_training_set_is_of_one_gender(corpus, tmp_path):
    everybody = run(corpus, tmp_path / "all")
    for gender in "fm":
        out = run(corpus, tmp_path / gender, train_genders=(gender,))
        expected = [item.id for item in read_set(everybody, "train") if SPEAKERS[item.speaker] == gender]
        assert [item.id for item in read_set(out, "train")] == expected
        # Fusions are trained on the same trials of held-out men and women, and tried on the same lists.
        shared = ("dev", "test", "trials", "calibration")
        assert contents(out, *shared) == contents(everybody, *shared)
        assert {SPEAKERS[item.speaker] for item in read_set(out, "dev")} >= {"f", "m"}
    both = run(corpus, tmp_path / "both", train_genders=("f", "m"))
    assert {SPEAKERS[item.speaker] for item in read_set(both, "train")} == {"f", "m"}
    assert "" in {SPEAKERS[item.speaker] for item in read_set(everybody, "train")}


def test_a_gender_that_nobody_is_known_to_have_is_refused(corpus, tmp_path):
    with pytest.raises(RecipeError, match=r"train_genders = \['m'\]: expected at least two training speakers.*not documented"):
        run(corpus, tmp_path / "x", metadata="", train_genders=("m",))
    for wrong in (("male",), ("m", "m")):
        with pytest.raises(ValueError, match="train_genders: expected some of"):
            Settings(train_genders=wrong)


def test_given_lists_are_brought_to_the_ids(corpus, tmp_path):
    (tmp_path / "mine.txt").write_text("a s00 ./s00/u0.wav s00/u1\nb s00 s00/u2\nc s01 x/s01/u0.wav")
    (tmp_path / "who.txt").write_text("enrol s00 s00/u0.wav\nenrol s01 s01/u0\ntest s01 s01/u3.wav\n")
    lists = {"clustering": str(tmp_path / "mine.txt"), "identification": str(tmp_path / "who.txt"), "trials_root": "x"}
    out = run(corpus, tmp_path / "o", split="test", **lists)
    assert [item.utterances for item in read_items(out / "clustering" / "mine.txt")] == [
        ("s00/u0", "s00/u1"), ("s00/u2",), ("s01/u0",)
    ]  # fmt: skip
    assert [each.utterance for each in read_roles(out / "identification" / "who.txt")] == ["s00/u0", "s01/u0", "s01/u3"]
    assert not has_set(out, "train")
    plain = run(corpus, tmp_path / "p", split="test")
    assert not (plain / "clustering").exists()
    assert not (plain / "identification").exists()
    (tmp_path / "mine.txt").write_text("a s00 s00/u0\nb s02 s01/u0\n")
    with pytest.raises(RecipeError, match=r"mine.txt: utterance 's01/u0' of speaker 's02' is of speaker s01"):
        run(corpus, tmp_path / "q", split="test", **lists)
    (tmp_path / "mine.txt").write_text("a s00 s00/u0\nb s01 s01/u9\n")
    with pytest.raises(RecipeError, match=r"'s01/u9' of speaker 's01' is not among"):
        run(corpus, tmp_path / "r", split="test", **lists)


def test_the_inventory_holds_the_lists(corpus, tmp_path):
    site = {"corpus": str(corpus)}
    (tmp_path / "mine.txt").write_text("a s00 s00/u0\nb s01 s01/u0\n")
    settings = Settings(clustering=str(tmp_path / "mine.txt"))
    found = {folder.inventory(Settings(), site), folder.inventory(settings, site)}
    (tmp_path / "mine.txt").write_text("a s00 s00/u0\nb s01 s01/u1\n")
    assert len(found | {folder.inventory(settings, site)}) == 3
