"""Codecs and bands on tones and ramps, whose answers are known."""

import numpy as np
import pytest

from steps.signal.codec import apply_band, apply_codec, low_pass, mu_law, quantise, telephone_band
from steps.signal.settings import CODEC_KINDS

RATE = 16000


def tone(frequency: float, num_samples: int = 16000, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(num_samples) / rate)).astype(np.float32)


def gain_db(found_W: np.ndarray, given_W: np.ndarray) -> float:
    """Level of the middle, where filters have settled."""
    middle = slice(len(given_W) // 4, -len(given_W) // 4)
    return 10 * np.log10(np.mean(found_W[middle].astype(np.float64) ** 2) / np.mean(given_W[middle] ** 2))


@pytest.mark.parametrize("num_samples", [1, 2, 15999, 16000, 16001])
@pytest.mark.parametrize("kind", CODEC_KINDS)
def test_codecs_keep_length_and_silence(kind, num_samples):
    assert len(apply_codec(kind, tone(440.0, num_samples), RATE)) == num_samples
    silent_W = apply_codec(kind, np.zeros(num_samples, dtype=np.float32), RATE)
    assert silent_W.dtype == np.float32
    assert not silent_W.any()


@pytest.mark.parametrize("kind", ["telephone_band", "low_pass_3000"])
def test_bands_keep_the_length(kind):
    found_W = apply_band(kind, tone(440.0, 16001), RATE)
    assert found_W.shape == (16001,)
    assert found_W.dtype == np.float32


def test_mu_law_has_255_symmetric_levels_and_an_error_that_follows_the_signal():
    ramp_W = np.linspace(-1, 1, 200001, dtype=np.float32)
    found_W = mu_law(ramp_W)
    assert len(np.unique(found_W)) == 255
    np.testing.assert_allclose(found_W, -found_W[::-1], rtol=0, atol=1e-6)
    # d expm1(y ln 256) / 255 over a half step of y = 1 / 254: ln(256) (|x| + 1/255) / 254, and a little curvature.
    bound_W = np.log(256) * (np.abs(ramp_W) + 1 / 255) / 254 * 1.03
    assert (np.abs(found_W - ramp_W) <= bound_W).all()


def test_mu_law_of_a_quiet_tone_is_about_38_db_clean():
    # The classic figure of 8-bit mu-law: 38 dB over a wide range of levels, where 8-bit PCM has 10 dB at this one.
    quiet_W = 0.02 * tone(441.7)
    noise_db = {
        name: -gain_db(code(quiet_W) - quiet_W, quiet_W) for name, code in (("mu", mu_law), ("pcm", lambda x: quantise(x, 8)))
    }
    assert noise_db["mu"] > 28
    assert noise_db["mu"] > noise_db["pcm"] + 15


@pytest.mark.parametrize("bits", [4, 8, 12])
def test_quantisation_noise_is_6_db_a_bit(bits):
    signal_W = np.random.default_rng(0).uniform(-0.875, 0.875, 100000).astype(np.float32)
    error_W = quantise(signal_W, bits) - signal_W
    step = 2.0 ** (1 - bits)
    assert np.mean(error_W**2) == pytest.approx(step**2 / 12, rel=0.02)
    assert quantise(np.array([-3.0, 3.0]), 8).tolist() == [-1.0, 127 / 128]


@pytest.mark.parametrize(
    ("frequency", "least", "most"),
    [(100, -999, -30), (1000, -0.3, 0.3), (3000, -1, 0.3), (3950, -999, -20), (5000, -999, -50)],
)
def test_telephone_band_passes_300_to_3400_hz(frequency, least, most):
    assert least < gain_db(telephone_band(tone(frequency), RATE), tone(frequency)) < most


@pytest.mark.parametrize("rate", [8000, 44100])
def test_telephone_works_at_other_rates(rate):
    given_W = tone(1000.0, rate, rate)
    assert gain_db(telephone_band(given_W, rate), given_W) == pytest.approx(0, abs=0.3)
    with pytest.raises(ValueError, match="8000 Hz or more, found 4000"):
        telephone_band(given_W, 4000)


@pytest.mark.parametrize("frequency", [1000, 2500, 3000, 4500, 6000])
def test_low_pass_has_the_response_of_a_butterworth_filter(frequency):
    ratio = np.tan(np.pi * frequency / RATE) / np.tan(np.pi * 3000 / RATE)  # bilinear transform; -3 dB at the cut-off
    expected = -10 * np.log10(1 + ratio**16)
    assert gain_db(low_pass(tone(frequency), RATE, 3000.0), tone(frequency)) == pytest.approx(expected, abs=0.1)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="mp3"):
        apply_codec("mp3", tone(1.0), RATE)
    with pytest.raises(ValueError, match="band_pass"):
        apply_band("band_pass_300", tone(1.0), RATE)
    with pytest.raises(ValueError, match="Nyquist"):
        apply_band("low_pass_9000", tone(1.0), RATE)
