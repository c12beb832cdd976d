"""Claims about parts of audio files: each is judged alone, and read as it is in the whole file."""

import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data import audio_parts
from steps.data.audio import MONO, audio_blocks, inspect_audio, read_audio
from steps.data.audio_parts import Part, extent, inspect_parts, read_part

RATE = 16000
FORMS = [".wav", ".flac", ".ogg", ".mp3"]


def write(path, seconds=3.0, channels=2, seed=0):
    tone_WC = np.random.default_rng(seed).uniform(-0.4, 0.4, (round(seconds * RATE), channels))
    soundfile.write(path, tone_WC, RATE)
    return path


@pytest.mark.parametrize("suffix", FORMS)
def test_a_part_is_read_and_judged_as_a_file_of_its_own(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}")
    whole_W, _ = read_audio(path, channel=1)
    np.testing.assert_array_equal(np.concatenate(list(audio_blocks(path)))[:, 1], whole_W)
    parts = [Part(0.5, 1.25, 1), Part(0.0, 1.0, 1), Part(2.0, 0.0, 1), Part(0.0, 0.0, 0)]
    for part, found in zip(parts, inspect_parts(path, parts), strict=True):
        first, num = extent(part, RATE, len(whole_W))
        samples_W, rate = read_part(path, first, num, part.channel)
        np.testing.assert_array_equal(samples_W, read_audio(path, channel=part.channel)[0][first : first + num])
        cut = tmp_path / "cut.wav"
        soundfile.write(cut, samples_W, RATE, subtype="FLOAT")
        alone = inspect_audio(cut)
        assert (found.info.num_samples, found.problem, rate) == (alone.info.num_samples, alone.problem, RATE)
        assert alone.remark in found.remark
    with pytest.raises(RecipeError, match="expected 90000 samples from sample 10 on"):
        read_part(path, 10, 90_000, 0)


def test_a_compressed_recording_is_decoded_once_for_all_its_parts(tmp_path, monkeypatch):
    path, decoded = write(tmp_path / "a.ogg"), []
    read = audio_parts.read_audio
    monkeypatch.setattr(audio_parts, "read_audio", lambda *given, **named: decoded.append(given) or read(*given, **named))
    audio_parts._kept.cache_clear()
    for start in range(0, 40_000, 1000):
        read_part(path, start, 1000, 0)
    assert len(decoded) == 1
    before_W = read_part(path, 0, 1000, 0)[0]
    write(path, seed=5)
    assert not np.array_equal(read_part(path, 0, 1000, 0)[0], before_W)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (Part(0, 0, MONO), "has 2 channels, expected one"),
        (Part(0, 1, 2), "has 2 channels, and channel 3 is asked for"),
        (Part(1, 3 + 1.0 / RATE, 0), ""),
        (Part(1, 3 + 2.5 / RATE, 0), "ends too early for a part: the part ends at 3.00016 s, the file at 3 s"),
        (Part(1, 3.1, 0), "ends too early for a part: the part ends at 3.1 s, the file at 3 s"),
        (Part(3, 0, 0), "ends too early for a part: the part begins at 3 s, the file ends at 3 s"),
        (Part(1, 2, 1), "has only zero samples from 1 s to 2 s"),
        (Part(0, 1, 1), ""),
    ],
)
def test_what_is_wrong_with_a_part_is_said_in_seconds(tmp_path, part, problem):
    path = write(tmp_path / "a.wav")
    samples_WC, _ = soundfile.read(path)
    samples_WC[RATE : 2 * RATE, 1] = 0
    soundfile.write(path, samples_WC, RATE)
    assert inspect_parts(path, [part, Part(0, 1, 0)])[0].problem == problem
    with_header = inspect_parts(path, [part], decode=False)[0].problem
    assert with_header == ("" if "zero" in problem else problem)


def test_what_is_wrong_with_a_file_is_wrong_with_all_its_parts(tmp_path):
    path = write(tmp_path / "a.flac")
    path.write_bytes(path.read_bytes()[:-20_000])
    found = inspect_parts(path, [Part(0, 1, 0), Part(1, 2, 0)])
    assert {bool(each.problem) for each in found} == {True}
    assert [each.problem for each in inspect_parts(tmp_path / "none.wav", [Part(0, 1, 0)])] == ["does not exist or is no file"]


def test_what_is_said_of_a_file_is_said_once(tmp_path):
    write(tmp_path / "a.flac").rename(tmp_path / "a.wav")
    found = inspect_parts(tmp_path / "a.wav", [Part(0, 1, 0), Part(1, 2, 0)])
    assert [each.remark for each in found] == ["holds FLAC, which .wav does not say", ""]
