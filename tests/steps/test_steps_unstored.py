"""Stages 2 to 5 without features, or without training speech, on disk: the same bytes as with them."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data.archive import Archive

NO_FEATURES, NO_SPEECH = "features.storage=none", "augment.store_speech=false"
SPECTROGRAM = (
    "features.type=spectrogram", "features.name=spectrogram", "features.sampling_rate=8000", "features.n_fft=256",
    "features.front_end=vggvox", "features.bins=half", "features.normalise=utterance_mean_variance",
)  # fmt: skip
WAVEFORM = ("features.type=waveform", "features.name=wave", "features.sampling_rate=8000", "features.decimate=5")


def same_arks(one: Path, other: Path, num: int) -> None:
    names = sorted(path.relative_to(one) for path in one.rglob("*.ark"))
    assert len(names) == num
    assert names == sorted(path.relative_to(other) for path in other.rglob("*.ark"))
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def same_training(one: Path, other: Path) -> None:
    for name in ("model.safetensors", "head.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (one, other)]
    assert [(line["loss"], line["dev_eer"]) for line in logs[0]] == [(line["loss"], line["dev_eer"]) for line in logs[1]]
    assert logs[0][-1]["dev_eer"] is not None


def kinds(stages) -> dict[str, tuple[str, ...]]:
    return {
        "fbank": stages.FBANK,
        "vad": (*stages.FBANK, "features.vad=energy"),
        "dither": (*stages.FBANK, "features.dither=1.0"),
        "waveform": WAVEFORM,
        "spectrogram": SPECTROGRAM,
    }


@pytest.mark.parametrize("kind", ["fbank", "vad", "dither", "waveform", "spectrogram"])
def test_features_made_on_the_way_train_and_embed_to_the_same_bytes(stages, tmp_path, kind):
    settings = kinds(stages)[kind]
    made: dict[str, tuple[Path, Path]] = {}
    for name, more in (("stored", ()), ("unstored", (NO_FEATURES,))):
        top, every = tmp_path / name, (*settings, *more)
        features = stages.run("extract", top / "features", *every, manifests=stages.manifests, jobs=2)
        none = stages.run("augment", top / "none", *every, *stages.NONE, manifests=stages.manifests)
        inputs = {"manifests": stages.manifests, "features": features}
        model = stages.run("train", top / "model", *every, *stages.NONE, *stages.TRAIN, **inputs, augmented=none)
        inputs = inputs if more else {"features": features}
        embeddings = stages.run(
            "embed", top / "embeddings", *every, *stages.NETWORK, "embed.threads=2", **inputs, model=model, jobs=3
        )
        made[name] = model, embeddings
    assert sorted(path.name for path in (tmp_path / "unstored/features").rglob("*") if path.is_file()) == [
        "stamp.json", *["utt2checksum"] * 3, *["utt2num_frames"] * 3,
    ]  # fmt: skip
    same_training(made["stored"][0], made["unstored"][0])
    same_arks(made["stored"][1], made["unstored"][1], 5 + 3 + 3)
    found = dict(line.split() for line in (tmp_path / "unstored/features/train/utt2num_frames").read_text().splitlines())
    assert found == {name: str(len(feats)) for name, feats in Archive(tmp_path / "stored/features/train").items()}


def test_windows_of_features_made_on_the_way_are_the_same(stages, tmp_path):
    features = stages.run("extract", tmp_path / "features", *stages.FBANK, NO_FEATURES, manifests=stages.manifests)
    more = (*stages.FBANK, *stages.NETWORK, "embed.window=0.4", "embed.append_reversed=true")
    one = stages.run("embed", tmp_path / "one", *more, features=stages.features, model=stages.model)
    inputs = {"features": features, "manifests": stages.manifests}
    other = stages.run("embed", tmp_path / "other", *more, NO_FEATURES, **inputs, model=stages.model)
    same_arks(one, other, 5 + 3 + 3)


def test_speech_read_from_the_recordings_trains_to_the_same_bytes(stages, tmp_path):
    settings = (*stages.FBANK, *stages.ONLINE, *stages.TRAIN, NO_FEATURES)
    features = stages.run(
        "extract", tmp_path / "features", *settings[: len(stages.FBANK)], NO_FEATURES, manifests=stages.manifests
    )
    bank = stages.run("augment", tmp_path / "bank", *stages.FBANK, *stages.ONLINE, NO_SPEECH, manifests=stages.manifests, jobs=2)
    assert sorted(path.name for path in bank.iterdir() if path.is_dir()) == ["music", "noise", "rir"]
    inputs = {"manifests": stages.manifests, "features": features}
    with_it = stages.run("train", tmp_path / "with", *settings, **inputs, augmented=stages.bank)
    without = stages.run("train", tmp_path / "without", *settings, NO_SPEECH, **inputs, augmented=bank)
    same_training(with_it, without)


def test_other_samples_in_a_file_of_the_same_length_are_another_input(stages, tmp_path):
    corpus = Path(shutil.copytree(stages.manifests, tmp_path / "corpus"))
    made = [stages.run("extract", tmp_path / name, *stages.FBANK, NO_FEATURES, manifests=corpus) for name in ("a", "b")]
    assert stages.content(made[0]) == stages.content(made[1])
    path = corpus / "audio/test/test1/u1.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path, 0.5 * samples, rate, subtype="PCM_16")
    stages.restamp(corpus)
    made.append(stages.run("extract", tmp_path / "c", *stages.FBANK, NO_FEATURES, manifests=corpus))
    assert stages.content(made[2]) != stages.content(made[0])
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert f"test1/u1 {checksum}\n" in (made[2] / "test" / "utt2checksum").read_text()


def test_a_bank_of_nothing_but_speech_can_be_left_out_too(stages, tmp_path):
    corpus = stages.write_corpus(tmp_path / "corpus", {"train": (2, 2)}, {})
    speeds = ("augment.mode=online", "augment.sampling_rate=8000", "augment.speed_factors=[0.9]", NO_SPEECH)
    bank = stages.run("augment", tmp_path / "bank", *stages.FBANK, *speeds, manifests=corpus)
    assert sorted(path.name for path in bank.iterdir()) == ["mode.json", "stamp.json"]
    features = stages.run("extract", tmp_path / "features", *stages.FBANK, NO_FEATURES, manifests=corpus)
    settings = (*stages.FBANK, NO_FEATURES, *speeds, *stages.TRAIN, "train.batch_size=2")
    stages.run("train", tmp_path / "model", *settings, manifests=corpus, features=features, augmented=bank)


def test_what_does_not_go_together_is_refused(stages, tmp_path):
    unstored = (*stages.FBANK, NO_FEATURES)
    more, manifests = (*stages.FBANK, *stages.NETWORK), {"manifests": stages.manifests}
    features = stages.run("extract", tmp_path / "features", *unstored, **manifests)
    bank = stages.run("augment", tmp_path / "bank", *stages.FBANK, *stages.ONLINE, NO_SPEECH, **manifests)
    from_stored = manifests | {"features": stages.features, "model": stages.model}
    embedding = {"features": features, "model": stages.model}
    training = manifests | {"features": features, "augmented": bank}
    for name, settings, inputs, said in (
        (
            "augment",
            (*unstored, *stages.COPIES),
            manifests,
            r"storage = 'none' with augment\.mode = 'copies'.*--set features\.storage=float32",
        ),
        ("augment", (*stages.FBANK, NO_SPEECH, *stages.COPIES), manifests, r"store_speech: expected true in mode copies"),
        ("extract", (*unstored, "features.sampling_rate=16000"), manifests, r"train0/u0\.wav.*expected 16000 Hz, found 8000 Hz"),
        ("embed", (*more, NO_FEATURES), embedding, r"'none': expected --manifests .* exactly with 'none'"),
        ("embed", more, from_stored, r"'float32': expected --manifests .* exactly with 'none'"),
        ("embed", (*more, NO_FEATURES), from_stored, r"holds no features \(\*/utt2num_frames\); give the output of stage 2"),
        (
            "train",
            (*unstored, *stages.ONLINE, *stages.TRAIN),
            training,
            r"bank: holds no training speech.*set it to false as in stage 3",
        ),
    ):
        with pytest.raises(RecipeError, match=said):
            stages.run(name, tmp_path / "out", *settings, **inputs)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train0/u0 0\n", r"line 1: expected 'train0/u0 <frames>', found 'train0/u0 0'"),
        ("train0/u1 70\n", r"line 1: expected 'train0/u0 <frames>', found 'train0/u1 70'"),
        ("", r"line 1: expected 'train0/u0 <frames>', found 'train0/u1 \d+'; it was made of others than .*manifests/train"),
        ("\xff\n", "line 1: expected|not UTF-8"),
    ],
)  # fmt: skip
def test_lengths_of_other_recordings_are_noticed(stages, tmp_path, line, said):
    features = stages.run("extract", tmp_path / "features", *stages.FBANK, NO_FEATURES, manifests=stages.manifests)
    path = features / "train" / "utt2num_frames"
    rest = path.read_bytes().splitlines(keepends=True)[1:]
    path.write_bytes(line.encode("latin-1") + b"".join(rest))
    more = (*stages.FBANK, *stages.NETWORK, NO_FEATURES)
    with pytest.raises(RecipeError, match=f"{re.escape(str(path))}: .*(?:{said}).*run stage 2"):
        stages.run("embed", tmp_path / "out", *more, features=features, manifests=stages.manifests, model=stages.model)


def test_recordings_that_change_after_stage_2_are_noticed(stages, tmp_path):
    corpus = Path(shutil.copytree(stages.manifests, tmp_path / "corpus"))
    settings = (*stages.FBANK, "features.vad=energy", NO_FEATURES)
    features = stages.run("extract", tmp_path / "features", *settings, manifests=corpus)
    path = corpus / "audio/test/test1/u1.wav"
    samples, rate = soundfile.read(path)
    inputs = {"features": features, "manifests": corpus, "model": stages.model}
    for wave, its_rate, said in (
        (samples[:-9], rate, "found .*; the file was changed or cut after the manifest was made"),
        (samples, 16000, "expected 8000 Hz as the manifest says, found 16000 Hz"),
        (
            np.where(np.arange(len(samples)) < 2000, 1e-4, 1.0) * samples,
            rate,
            r"'test1/u1' has \d+ frames, and had \d+ in stage 2",
        ),
    ):
        soundfile.write(path, wave, its_rate, subtype="PCM_16")
        with pytest.raises(RecipeError, match="audio/test/test1/u1.wav has .* --verify"):
            stages.run("embed", tmp_path / f"out{len(wave)}{its_rate}{wave[0]}", *settings, *stages.NETWORK, **inputs)
        stages.restamp(corpus)
        with pytest.raises(RecipeError, match=said):
            stages.run("embed", tmp_path / f"out{len(wave)}{its_rate}{wave[0]}", *settings, *stages.NETWORK, **inputs)
