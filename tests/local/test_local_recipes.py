"""Stage 1 of the recipes of published corpora, on miniatures of their downloads, as run.sh calls it."""

from pathlib import Path

import pytest

from steps import prepare
from steps.core.config import load_layers
from steps.core.errors import RecipeError
from steps.core.log import configure
from steps.core.stage import run
from steps.data.manifests import has_set, read_set
from tests.local.miniatures import (
    make_audiomnist,
    make_cnceleb,
    make_librispeech,
    make_speechocean762,
    make_timit,
    make_vctk,
    write_audio,
)

ROOT = Path(__file__).parents[2]
# Recipe -> what makes its miniature, its first system, lists, and what a handful of speakers cannot do without.
RECIPES = {
    "librispeech": (make_librispeech, "resnet34_aam", ["balanced", "same_gender"], ()),
    "timit": (make_timit, "bilstm_kl", ["all_pairs", "halves"], ("test_list=3", "dev_speakers=2")),
    "cnceleb": (make_cnceleb, "resnet34_aam", ["cnc_eval_avg"], ("dev_speakers=2", "dev_min_utterances=2")),
    "vctk": (make_vctk, "resnet_aam", ["balanced", "same_gender"], ("dev_speakers=0", "test_speakers=4")),
    "speechocean762": (
        make_speechocean762, "resnet_aam", ["balanced"], ("dev_speakers=2", "dev_min_utterances=2", 'made_trials=["balanced"]'),
    ),
    "audiomnist": (make_audiomnist, "resnet_aam", ["balanced", "same_gender"], ("dev_speakers=0", "test_speakers=4")),
}  # fmt: skip


def make_banks(folder: Path) -> None:
    for name in ("musan/noise/free-sound/n", "musan/music/fma/m", "musan/speech/librivox/s"):
        write_audio(folder / f"{name}.wav")
    for size in ("smallroom", "mediumroom"):
        write_audio(folder / "RIRS_NOISES" / "simulated_rirs" / size / "Room001" / "Room001-00001.wav")


def arguments_of(recipe: str, system: str, out: Path, *assignments: str) -> list[str]:
    arguments = ["--config", f"recipes/{recipe}/{system}.toml", "--out", str(out)]
    return [*arguments, *(word for each in assignments for word in ("--set", each))]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_download_becomes_manifests_and_trials(recipe, tmp_path, monkeypatch):
    make, system, lists, changes = RECIPES[recipe]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("steps.core.config.SITE_FILE", Path("conf/no-site.toml"))
    make(tmp_path / "data")
    make_banks(tmp_path / "data")
    settings = (f"site.corpus={tmp_path / 'data'}", *(f"prepare.{each}" for each in changes))
    arguments = arguments_of(recipe, system, tmp_path / "m", *settings, "prepare.wrong_counts=warn")
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0
    out = tmp_path / "m"
    assert sorted(path.stem for path in (out / "trials").iterdir()) == lists
    assert (out / "calibration" / "dev.txt").exists() == ("dev_speakers=0" not in changes)
    assert has_set(out, "rir") == (recipe == "cnceleb")
    sets = [{item.speaker for item in read_set(out, name)} for name in ("train", "dev", "test") if has_set(out, name)]
    assert sum(len(each) for each in sets) == len(set.union(*sets))
    before = (out / "stamp.json").read_bytes()
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0  # up to date
    assert (out / "stamp.json").read_bytes() == before
    # None of them is as large as the corpus that it stands for.
    with pytest.raises(RecipeError, match=r"documented: [\d,]+\).*; this is another corpus, or a part of it"):
        run(prepare.STAGE, arguments_of(recipe, system, tmp_path / "n", *settings), configure("prepare"))


def test_systems_trained_as_wespeaker_does_have_its_augmentation():
    """Its setup is "aug_prob 0.6, speed perturb" (README of examples/voxceleb/v2); fine-tuning begins with such a system."""
    files = sorted((ROOT / "recipes" / "voxceleb").glob("*.toml"))
    bases = {path.stem: path.read_text() for path in files}
    of_wespeaker = {name for name, text in bases.items() if "conf/train/wespeaker.toml" in text}
    assert len(of_wespeaker) == 16
    assert {name for name, text in bases.items() if "conf/augment/online_wespeaker.toml" in text} == of_wespeaker
    tables = load_layers([ROOT / "recipes" / "voxceleb" / "resnet34_aam_lmft.toml"]).tables
    assert tables["augment"]["speed_as_new_speakers"], "its head has a class for each speed, as that of resnet34_aam"


def test_those_and_no_others_have_wespeakers_learning_rate():
    """Rates of batches of 64 that are multiplied by the batch, and a decay that runs under the warm-up."""
    ours = {"rate_batch_size": 64, "decay_start": "first_update"}
    train = {
        f"{path.parent.name}/{path.stem}": load_layers([path]).tables.get("train", {})
        for path in (ROOT / "recipes").glob("*/*.toml")
        if path.stem != "paper"
    }
    texts = {name: (ROOT / "recipes" / f"{name}.toml").read_text() for name in train}
    based = {name for name, text in texts.items() if "conf/train/wespeaker.toml" in text}
    assert len(based) == 17
    based |= {"voxceleb/resnet34_aam_lmft", "cnceleb/ecapa512_aam"}  # on one of these
    assert {name for name, table in train.items() if table.keys() & ours} == based
    assert all(train[name] | ours == train[name] for name in based)


def test_mini_librispeech_is_a_preparation_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("steps.core.config.SITE_FILE", Path("conf/no-site.toml"))
    top = make_librispeech(tmp_path / "data") / "LibriSpeech"
    (top / "train-clean-100").rename(top / "train-clean-5")
    (top / "test-clean").rename(top / "dev-clean-2")
    settings = (f"site.corpus={tmp_path / 'data'}", "prepare.wrong_counts=warn", "prepare.dev_speakers=2")
    arguments = arguments_of("librispeech", "mini_resnet", tmp_path / "m", *settings)
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0
    assert {item.speaker for item in read_set(tmp_path / "m", "test")} == {"61", "121", "237"}
