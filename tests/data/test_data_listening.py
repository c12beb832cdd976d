"""Levels by closed form; bands of noise through filters that are known, and of real speech through 8 kHz."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from steps.data.listening import NARROW, Listener, band, level, listen, spread_rows
from steps.data.manifests import Utterance, Utterances

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "voices" / "test"


def through(signal, edge, rate):
    """Nothing above the edge: the spectrum is cut."""
    spectrum = np.fft.rfft(signal)
    spectrum[np.fft.rfftfreq(len(signal), 1 / rate) > edge] = 0
    return np.fft.irfft(spectrum, len(signal)).astype(np.float32)


def test_the_level_of_a_sine_is_three_decibels_below_its_peak():
    samples = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    assert level(samples) == pytest.approx(-20 - 10 * np.log10(2), abs=1e-3)
    assert level(np.zeros(10, dtype=np.float32)) == -200


@pytest.mark.parametrize(
    ("edge", "rate"), [(3400, 16000), (4000, 16000), (7000, 16000), (4000, 44100), (16000, 48000), (3400, 8000)]
)
def test_the_band_ends_where_the_spectrum_was_cut(edge, rate):
    noise = np.random.default_rng(1).standard_normal(4 * rate)
    assert band(through(0.1 * noise, edge, rate), rate) == pytest.approx(edge, abs=300)


def test_a_band_ends_at_half_the_rate_and_short_sounds_have_one():
    noise = np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    assert band(noise, 16000) == 8000
    assert 0 <= band(noise[:5], 16000) <= 8000
    assert band(np.zeros(1000, dtype=np.float32), 16000) == 8000  # nothing is louder than anything


@pytest.mark.skipif(not SPEECH.is_dir(), reason="the real speech is not here")
def test_real_speech_is_wide_and_through_eight_kilohertz_it_is_not():
    files = [sorted(folder.glob("*.flac"))[0] for folder in sorted(SPEECH.glob("*/*"))]
    assert len(files) == 59
    wide, narrow = [], []
    for path in files:
        samples, rate = soundfile.read(path)
        half = scipy.signal.resample_poly(scipy.signal.resample_poly(samples, 1, 2), 2, 1)
        wide.append(band(samples.astype(np.float32), rate))
        narrow.append(band((np.round(half * 32767) / 32767).astype(np.float32), rate))
    assert max(narrow) < NARROW < min(wide)


def one(path, num_samples=16000, start=0.0):
    return Utterance(
        id=path,
        speaker="a",
        gender="",
        session="",
        corpus="",
        path=path,
        sampling_rate=16000,
        num_samples=num_samples,
        start=start,
    )


def test_an_utterance_within_a_file_is_heard_where_it_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.repeat([0.5, 0.05], 16000), 16000, subtype="FLOAT")
    assert listen(one("a.wav"), tmp_path).level == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert listen(one("a.wav", start=1.0), tmp_path).level == pytest.approx(20 * np.log10(0.05), abs=1e-3)


def test_what_cannot_be_read_is_said_without_the_place_on_this_machine(tmp_path):
    utterances = Utterances()
    utterances.append(one("there.wav"))
    utterances.append(one("two/gone.wav"))
    soundfile.write(tmp_path / "there.wav", np.full(16000, 0.1), 16000)
    listener = Listener(utterances, tmp_path)
    assert set(listener.hear([0])) == {0}
    assert listener.problem == ""
    assert listener.hear([0, 1]) == {}
    assert listener.problem == "two/gone.wav cannot be read"


def test_rows_are_spread_over_the_whole_set():
    assert spread_rows(5, 20) == [0, 1, 2, 3, 4]
    assert spread_rows(101, 3) == [0, 50, 100]
