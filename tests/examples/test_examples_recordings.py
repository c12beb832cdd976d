"""Sounds out of recordings of any kind: parts of files, channels, bits and rates."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from steps.core.errors import RecipeError
from steps.data.manifests import Utterance, write_roots, write_set
from steps.examples.recordings import Sounds, features_of
from steps.signal.resample import resample
from steps.signal.settings import Spectrogram

RATE = 8000  # Hz
NOISE = np.random.default_rng(1).uniform(-0.9, 0.9, (6000, 2))


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Manifests of part of the second channel of a 24-bit file, a file of floats beyond +-1, and one of another rate."""
    files = {
        "part.flac": ("PCM_24", NOISE, RATE),
        "loud.wav": ("FLOAT", 1.5 * NOISE[:, :1], RATE),
        "fast.wav": ("PCM_16", 0.3 * NOISE, 11025),
    }
    for name, (subtype, samples_WC, rate) in files.items():
        soundfile.write(tmp_path / name, samples_WC, rate, subtype=subtype)
    common = {"speaker": "s", "gender": "", "session": "", "corpus": ""}
    utterances = [
        Utterance(
            id="a/part", path="part.flac", sampling_rate=RATE, num_samples=3000, start=0.25, channel=1, num_channels=2, **common
        ),
        Utterance(id="b/loud", path="loud.wav", sampling_rate=RATE, num_samples=6000, **common),
        Utterance(id="c/fast", path="fast.wav", sampling_rate=11025, num_samples=6000, num_channels=2, **common),
    ]
    write_set(tmp_path / "manifests" / "train", utterances)
    write_roots(tmp_path / "manifests", {"train": "corpus"})
    return tmp_path / "manifests"


def opened(corpus: Path, *, resample: bool = True) -> Sounds:
    return Sounds(corpus, "train", {"corpus": str(corpus.parent)}, sampling_rate=RATE, resample=resample)


def test_samples_are_those_of_the_file(corpus):
    sounds = opened(corpus)
    part = soundfile.read(corpus.parent / "part.flac", dtype="int32")[0][2000:5000, 1] / 2**16
    loud = soundfile.read(corpus.parent / "loud.wav")[0] * 2**15
    for name, exact in (("a/part", part), ("b/loud", np.clip(loud, -(2**15), 2**15 - 1))):
        found = sounds[name]
        assert found.dtype == np.int16
        np.testing.assert_allclose(found, exact, atol=0.501)
        assert sounds.num_rows(name) == len(found) == len(exact)
        np.testing.assert_array_equal(sounds.load_rows(name, 700, 300), found[700:1000])
    assert (sounds["b/loud"] == 2**15 - 1).sum() > 500  # clipped, not wrapped


def test_another_rate_is_converted_as_a_whole(corpus):
    sounds = opened(corpus)
    exact = resample(soundfile.read(corpus.parent / "fast.wav", dtype="float32")[0][:, 0], 11025, RATE)
    assert sounds.num_rows("c/fast") == len(exact) == 4354  # ceil(6000 * 8000 / 11025)
    np.testing.assert_allclose(sounds["c/fast"], exact * 2**15, atol=0.501)
    np.testing.assert_array_equal(sounds.load_rows("c/fast", 100, 50), sounds["c/fast"][100:150])
    with pytest.raises(
        RecipeError, match=r"fast\.wav: 11025 Hz, expected augment\.sampling_rate = 8000 Hz; .*--set features\.resample=true"
    ):
        opened(corpus, resample=False).load_rows("c/fast", 0, 10)


@pytest.mark.parametrize("threads", [2, 4])
def test_features_are_the_same_on_any_number_of_threads(tmp_path, threads):
    soundfile.write(tmp_path / "long.wav", np.resize(NOISE[:, 0], 8 * 16000), 16000)
    common = {"speaker": "s", "gender": "", "session": "", "corpus": ""}
    utterance = Utterance(id="a", path="long.wav", sampling_rate=16000, num_samples=8 * 16000, **common)
    settings = Spectrogram(name="s", n_fft=512, front_end="vggvox", bins="half", normalise="utterance_mean_variance")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected_TF = features_of(utterance, tmp_path, settings)
        torch.set_num_threads(threads)  # on which its last bits would be others
        np.testing.assert_array_equal(features_of(utterance, tmp_path, settings), expected_TF)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_ids_are_those_of_the_set(corpus):
    sounds = opened(corpus)
    assert list(sounds) == ["a/part", "b/loud", "c/fast"]
    assert (len(sounds), "b/loud" in sounds, "b" in sounds) == (3, True, False)
    with pytest.raises(RecipeError, match="no utterance 'b' there; run stage 1"):
        sounds.num_rows("b")
