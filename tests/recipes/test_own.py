"""Claims about the recipe for anybody's own recordings: every form of a corpus, from its folder to the table."""

import json
import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import prepare
from steps.core.log import configure
from steps.core.stage import run
from steps.data.manifests import has_set, read_set, read_utt2spk
from steps.data.trials import read_scores, read_trials

ROOT = Path(__file__).parents[2]
RATE = 16000
FORMATS = {".wav": {}, ".flac": {}, ".ogg": {}, ".mp3": {}, ".opus": {"format": "OGG", "subtype": "OPUS"}}
TINY = (
    "features.num_mel_bins=24", "features.high_freq=0", "model.channels=[32, 32, 32, 32, 64]", "model.embedding_dim=16",
    "train.epochs=2", "train.examples_per_epoch=60", "train.batch_size=10", "train.min_crop=0.6", "train.max_crop=0.6",
    "train.margin_end_epoch=2.0", "train.threads=1", "specaugment.p=0", "specaugment.num_time_masks=0",
    "specaugment.max_time_frames=0", "specaugment.num_freq_masks=0", "specaugment.max_freq_bins=0", "score.replicates=20",
)  # fmt: skip


def voice(speaker: int, number: int, seconds: float = 1.0) -> np.ndarray:
    """A buzz: the speaker sets pitch and resonances, the number the phase, the noise and what follows what."""
    rng = np.random.default_rng(1000 * speaker + number)
    own = np.random.default_rng(speaker)
    time = np.arange(int(RATE * seconds)) / RATE
    pitch = own.uniform(90, 250) * (1 + 0.03 * np.sin(2 * np.pi * rng.uniform(2, 4) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    centres = own.uniform(400, 3500, size=3)
    buzz = np.zeros_like(time)
    for harmonic in range(1, 20):
        gain = sum(np.exp(-(((harmonic * pitch.mean() - centre) / 300) ** 2)) for centre in centres)
        buzz += gain * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    buzz *= 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(3, 5) * time)
    return 0.1 * (buzz + 0.1 * rng.standard_normal(time.size))


def make_corpus(root: Path, speakers: range, utterances: int, suffix: str = ".wav", **options: str) -> Path:
    for speaker in speakers:
        for number in range(utterances):
            path = root / "some" / f"sp{speaker:02d}" / f"u{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, number), RATE, **options)
    return root


def prepared(corpus: Path, out: Path, *assignments: str) -> Path:
    """Stage 1 as run.sh calls it; the manifests."""
    arguments = ["--config", "recipes/own/resnet_aam.toml", "--out", str(out)]
    for each in (f"site.corpus={corpus}", *assignments):
        arguments += ["--set", each]
    assert run(prepare.STAGE, arguments, configure("prepare")) == 0
    return out


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_folder_of_speakers_is_read_in_every_format(tmp_path, at_root, suffix):
    out = prepared(make_corpus(tmp_path / "c", range(6), 2, suffix, **FORMATS[suffix]), tmp_path / "m")
    utt2spk = read_utt2spk(out / "utt2spk")
    assert utt2spk == {f"some/sp{s:02d}/u{n}": f"sp{s:02d}" for s in range(6) for n in range(2)}
    assert {item.path.rpartition(".")[2] for item in read_set(out, "train")} == {suffix[1:]}
    sets = {name: {item.speaker for item in read_set(out, name)} for name in ("train", "dev", "test")}
    assert {name: len(speakers) for name, speakers in sets.items()} == {"train": 2, "dev": 2, "test": 2}
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["all_pairs.txt", "balanced.txt"]


def write_table(corpus: Path, delimiter: str, name: str) -> None:
    """Speakers whose names, genders, sessions and splits no folder tells."""
    lines = [delimiter.join(("path", "speaker", "session", "gender", "split"))]
    splits = ["train", "train", "dev", "dev", "test", "test", "test", "test"]
    for speaker, split in enumerate(splits):
        for number in range(4):
            path = f"some/sp{speaker:02d}/u{number}.wav"
            lines.append(delimiter.join((path, f"n{speaker}", f"day{number % 2}", "fm"[speaker % 2], split)))
    (corpus / name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("delimiter", "name"), [(",", "list.csv"), ("\t", "list.tsv")])
def test_a_table_gives_speakers_splits_and_genders(tmp_path, at_root, delimiter, name):
    corpus = make_corpus(tmp_path / "c", range(8), 4)
    write_table(corpus, delimiter, name)
    lists = 'prepare.made_trials=["balanced", "all_pairs", "same_gender"]'
    out = prepared(corpus, tmp_path / "m", f"prepare.table={name}", "prepare.split=column", lists)
    assert {item.speaker for item in read_set(out, "test")} == {"n4", "n5", "n6", "n7"}
    assert {item.session for item in read_set(out, "dev")} == {"day0", "day1"}
    assert (out / "spk2gender").read_text().splitlines() == [f"n{n} {'fm'[n % 2]}" for n in range(8)]
    counts = {path.stem: read_trials(path) for path in (out / "trials").iterdir()}
    within, pairs = 4 * (4 * 3 // 2), 16 * 15 // 2
    assert {key: (value.num_target, value.num_nontarget) for key, value in counts.items()} == {
        "all_pairs": (within, pairs - within), "same_gender": (within, 2 * 4 * 4), "balanced": (within, within),
    }  # fmt: skip
    unasked = prepared(corpus, tmp_path / "unasked", f"prepare.table={name}")  # the column is there, and complete
    assert {item.speaker for item in read_set(unasked, "test")} == {"n4", "n5", "n6", "n7"}
    drawn = prepared(corpus, tmp_path / "drawn", f"prepare.table={name}", "prepare.split=made")
    assert len({item.speaker for item in read_set(drawn, "test")}) == 2


def test_kaldi_files_and_lists_in_both_forms(tmp_path, at_root):
    corpus = make_corpus(tmp_path / "c", range(4), 2)
    names = [(f"sp{s:02d}-u{n}", f"some/sp{s:02d}/u{n}.wav", f"sp{s:02d}") for s in range(4) for n in range(2)]
    (corpus / "wav.scp").write_text("".join(f"{name} {corpus / path}\n" for name, path, _ in names))
    (corpus / "utt2spk").write_text("".join(f"{name} {speaker}\n" for name, _, speaker in names))
    (corpus / "spk2gender").write_text("sp00 f\nsp01 m\nsp02 f\nsp03 m\n")
    (corpus / "vox.txt").write_text("1 sp00-u0 sp00-u1\n0 sp00-u0 sp01-u1\n")
    (tmp_path / "kaldi.txt").write_text("sp00-u0 sp00-u1 target\nsp00-u0 sp01-u1 nontarget\n")
    trials = f"prepare.trials=vox.txt;{tmp_path / 'kaldi.txt'}"
    out = prepared(corpus, tmp_path / "m", "prepare.split=test", trials)
    assert (out / "trials" / "vox.txt").read_text() == (out / "trials" / "kaldi.txt").read_text()
    assert (out / "trials" / "vox.txt").read_text() == "1 sp00-u0 sp00-u1\n0 sp00-u0 sp01-u1\n"
    assert not has_set(out, "train")
    assert not (out / "calibration").exists()
    assert str(tmp_path) not in "".join(item.path for item in read_set(out, "test"))


def test_split_folders_are_kept(tmp_path, at_root):
    for split, speakers in (("train", range(4)), ("dev", range(4, 6)), ("test", range(6, 8))):
        make_corpus(tmp_path / "c" / split, speakers, 2)
    out = prepared(tmp_path / "c", tmp_path / "m", "prepare.split=folders")
    assert [len({item.speaker for item in read_set(out, name)}) for name in ("train", "dev", "test")] == [4, 2, 2]
    assert read_set(out, "test")[0].id == "some/sp06/u0"


def run_sh(*options: str, settings: tuple[str, ...]) -> str:
    """Run the whole recipe; what it said."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": sys.prefix,
    }  # fmt: skip
    command = ["./run.sh", "--recipe", "own", "--jobs", "1", *options]
    for each in settings:
        command += ["--set", each]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr + done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Exp of a tiny x-vector trained on a folder of twelve speakers."""
    folder = tmp_path_factory.mktemp("own")
    corpus = make_corpus(folder / "mine", range(12), 5, ".flac")
    said = run_sh("--data", str(corpus), "--exp", str(folder / "exp"), "--system", "xvector", settings=TINY)
    assert "stage 7: fusion is passed over" in said
    return folder / "exp"


def eer_by_hand(target: np.ndarray, nontarget: np.ndarray) -> float:
    """Mean of miss and false-alarm rate at the threshold where they are nearest."""
    thresholds = np.unique(np.concatenate([target, nontarget, [np.inf]]))
    rates = [((target < each).mean(), (nontarget >= each).mean()) for each in thresholds]
    return float(np.mean(min(rates, key=lambda pair: abs(pair[0] - pair[1]))))


def check_figures(recipe: Path, system: str, lists: set[str]) -> dict:
    """Recompute the EERs from the files; the figures of the lists."""
    figures = json.loads((recipe / system / "scores" / "result.json").read_text())["trials"]
    assert set(figures) == lists
    for name, found in figures.items():
        trials = read_trials(recipe / "manifests" / "trials" / f"{name}.txt")
        enrol, test, scores = read_scores(recipe / system / "scores" / f"{name}.txt")
        assert (enrol, test) == (trials.enrol_ids, trials.test_ids)
        assert (found["num_target"], found["num_nontarget"]) == (trials.num_target, trials.num_nontarget)
        truth = trials.is_target
        assert found["eer"] == pytest.approx(eer_by_hand(scores[truth], scores[~truth]), abs=1e-12)
        assert len(read_scores(recipe / system / "scores" / "llr" / f"{name}.txt")[2]) == len(trials)
    return figures


@pytest.mark.slow
def test_a_folder_ends_in_a_table(trained):
    figures = check_figures(trained / "own", "xvector", {"balanced", "all_pairs"})
    # These voices differ so much that a network of any worth tells them apart better than chance.
    assert figures["all_pairs"]["eer"] < 0.4
    assert figures["all_pairs"]["act_dcf"]["0.05"] is not None
    assert "xvector" in (trained / "own" / "report" / "RESULTS.md").read_text()


@pytest.mark.slow
def test_without_features_and_speech_on_disk_the_scores_are_the_same(trained, tmp_path):
    settings = (*TINY, "features.storage=none", "augment.store_speech=false")
    options = ("--data", str(trained.parent / "mine"), "--exp", str(tmp_path), "--system", "xvector", "--stop-stage", "6")
    assert "report" not in run_sh(*options, settings=settings)
    for name in ("features", "augmented"):
        assert not list((tmp_path / "own" / name).rglob("*.ark"))
        assert list((trained / "own" / name).rglob("*.ark"))
    for name in ("model/model.safetensors", "scores/all_pairs.txt", "scores/llr/balanced.txt"):
        assert (tmp_path / "own/xvector" / name).read_bytes() == (trained / "own/xvector" / name).read_bytes()


@pytest.mark.slow
def test_a_trained_model_is_tried_on_another_folder_and_list(trained, tmp_path):
    stamps = {path: path.read_bytes() for path in (trained / "own").rglob("stamp.json")}
    other = make_corpus(tmp_path / "other", range(20, 24), 4)
    ids = [f"some/sp{speaker}/u{number}" for speaker in range(20, 24) for number in range(4)]
    lines = [f"{a} {b} {'target' if a[:9] == b[:9] else 'nontarget'}\n" for a, b in combinations(ids, 2)]
    (tmp_path / "pairs.txt").write_text("".join(lines))
    model = str(trained / "own" / "xvector" / "model")
    settings = (f"prepare.trials={tmp_path / 'pairs.txt'}", "score.replicates=20", "embed.window=0.4")
    said = run_sh("--data", str(other), "--exp", str(trained), "--model", model, settings=settings)
    assert [line.split()[1] for line in said.splitlines() if line.startswith("stage ")] == ["1:", "2:", "5:", "6:", "8:"]
    assert {path: path.read_bytes() for path in (trained / "own").rglob("stamp.json")} == stamps
    recipe = trained / "tried" / "other" / "own"
    figures = check_figures(recipe, "xvector", {"pairs"})
    assert figures["pairs"]["num_target"] == 4 * 6
    # Calibrated as the model's own scores are: the same line through other scores.
    calibration = json.loads((trained / "own" / "xvector" / "scores" / "calibration.json").read_text())
    scores, llrs = (read_scores(recipe / "xvector" / "scores" / each)[2] for each in ("pairs.txt", "llr/pairs.txt"))
    np.testing.assert_allclose(llrs, calibration["scale"] * scores + calibration["offset"], rtol=1e-6, atol=1e-6)
    run_alone(trained, tmp_path, other, settings)


def run_alone(trained: Path, tmp_path: Path, other: Path, settings: tuple[str, ...]) -> None:
    """The model without the scores beside it: plain cosine, no calibration."""
    shutil.copytree(trained / "own" / "xvector" / "model", tmp_path / "downloaded")
    options = ("--data", str(other), "--exp", str(trained / "tried" / "other"), "--model", str(tmp_path / "downloaded"))
    said = run_sh(*options, "--stop-stage", "6", settings=settings)
    assert said.count("up to date") == 2
    result = json.loads((trained / "tried" / "other" / "own" / "downloaded" / "scores" / "result.json").read_text())
    assert result["backend"] == "cosine"
    assert result["trials"]["pairs"]["act_dcf"] is None or set(result["trials"]["pairs"]["act_dcf"].values()) == {None}


@pytest.mark.slow
def test_two_recordings_of_nobody_known_are_scored_by_one_command(trained, tmp_path):
    root = tmp_path / "two"
    root.mkdir()
    for name, number in (("a", 0), ("b", 1)):
        soundfile.write(root / f"{name}.wav", voice(20, number), RATE)
    (root / "list.txt").write_text("a.wav b.wav\n")
    options = ("--data", str(root), "--exp", str(tmp_path / "exp"), "--model", str(trained / "own" / "xvector" / "model"))
    said = run_sh(*options, settings=("prepare.trials=list.txt",))
    scores = tmp_path / "exp" / "own" / "xvector" / "scores"
    assert f"list: no figures (no labels), 1 score: {scores / 'list.txt'}\n" in said
    [[enrol], [test], [score]] = read_scores(scores / "list.txt")
    assert (enrol, test) == ("a", "b")
    assert -100 < score < 100
    # The same pair among labelled ones of people who are known has the same score, but for the digits that batches decide.
    known = tmp_path / "known"
    for number in range(2):
        (known / "x").mkdir(parents=True, exist_ok=True)
        soundfile.write(known / "x" / f"{number}.wav", voice(20, number), RATE)
        (known / "y").mkdir(exist_ok=True)
        soundfile.write(known / "y" / f"{number}.wav", voice(21, number), RATE)
    (known / "list.csv").write_text("enrol,test,label\nx/0,x/1,1\nx/0,y/0,0\n")
    options = ("--data", str(known), "--exp", str(tmp_path / "exp2"), *options[-2:], "--stop-stage", "6")
    run_sh(*options, settings=("prepare.trials=list.csv", "score.replicates=20"))
    assert read_scores(tmp_path / "exp2" / "own" / "xvector" / "scores" / "list.txt")[2][0] == pytest.approx(score, abs=1e-3)
