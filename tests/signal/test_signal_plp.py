"""PLP against a float64 calculation by other means: Toeplitz solver, integrals of log spectra.

The reference follows the facts of Kaldi's src/feat/feature-plp.cc; kaldi-native-fbank and torchaudio have no PLP.
"""

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import soundfile
import torch

from steps.signal.features import filter_centres
from steps.signal.framing import log_energy
from steps.signal.plp import equal_loudness, levinson, lpc_cepstrum, plp
from steps.signal.settings import Plp

VOICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "voices" / "test"
SETTINGS = {
    "default": {},
    "no_energy": {"use_energy": False},
    "but": {"num_mel_bins": 40, "lpc_order": 29, "num_ceps": 30, "high_freq": 7600.0, "use_energy": False},
    "htk": {"window": "hamming", "remove_dc": False, "preemphasis": 0.0, "low_freq": 0.0, "snip_edges": True, "htk_compat": True},
    "scaled": {"num_ceps": 8, "cepstral_lifter": 0.0, "cepstral_scale": 2.5, "compress_factor": 0.25, "use_energy": False},
    "8_khz": {"sampling_rate": 8000, "num_mel_bins": 15, "use_energy": False},
}


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    """Noise of a falling spectrum, so that the prediction has something to do."""
    white_W = np.random.default_rng(seed).standard_normal(num_samples)
    return (0.05 * np.convolve(white_W, 0.9 ** np.arange(40))[:num_samples] + 0.01).astype(np.float32)


def frames_of(samples_W: np.ndarray, s: Plp) -> np.ndarray:
    """Frames as Kaldi cuts them: the signal mirrored at its edges, one frame after another."""
    width, shift = round(s.frame_length * s.sampling_rate), round(s.frame_shift * s.sampling_rate)
    if s.snip_edges:
        starts = range(0, len(samples_W) - width + 1, shift)
    else:
        starts = [round(shift * (t + 0.5)) - width // 2 for t in range((len(samples_W) + shift // 2) // shift)]
    mirrored_W = np.concatenate([samples_W[::-1], samples_W, samples_W[::-1]])
    return np.stack([mirrored_W[len(samples_W) + start : len(samples_W) + start + width] for start in starts])


def mel_energies(samples_W: np.ndarray, s: Plp) -> tuple[np.ndarray, np.ndarray]:
    """Mel energies and centre frequencies, filter by filter."""
    frames_TW = frames_of(samples_W, s)
    if s.remove_dc:
        frames_TW = frames_TW - frames_TW.mean(axis=1, keepdims=True)
    frames_TW = frames_TW - s.preemphasis * np.concatenate([frames_TW[:, :1], frames_TW[:, :-1]], axis=1)
    width = frames_TW.shape[1]
    windows = {"povey": np.hanning(width) ** 0.85, "hamming": np.hamming(width)}
    n_fft = 2 ** int(np.ceil(np.log2(width)))
    power_TF = np.abs(np.fft.rfft(frames_TW * windows[s.window], n_fft)) ** 2
    high = s.high_freq or s.sampling_rate / 2
    to_mel = lambda f: 1127 * np.log(1 + f / 700)  # noqa: E731
    edges = np.linspace(to_mel(s.low_freq), to_mel(high), s.num_mel_bins + 2)
    mel_F = to_mel(np.arange(n_fft // 2) * s.sampling_rate / n_fft)
    energies = [power_TF[:, :-1] @ np.interp(mel_F, edges[k : k + 3], [0, 1, 0]) for k in range(s.num_mel_bins)]
    return np.stack(energies, axis=1), 700 * (np.exp(edges[1:-1] / 1127) - 1)


def reference(waveform_W: np.ndarray, s: Plp) -> np.ndarray:
    """PLP of one frame after another, by a Toeplitz solver and an integral over the log spectrum of the model."""
    samples_W = waveform_W.astype(np.float64) * 32768
    mel_TF, centre_F = mel_energies(samples_W, s)
    f2_F = centre_F**2
    loudness_F = (f2_F / (f2_F + 1.6e5)) ** 2 * (f2_F + 1.44e6) / (f2_F + 9.61e6)
    rows = []
    for mel_F in mel_TF:
        half_F = (mel_F * loudness_F) ** s.compress_factor
        half_F = np.concatenate([half_F[:1], half_F, half_F[-1:]])
        autocorrelation_F = np.fft.irfft(half_F)[: s.lpc_order + 1]  # of the even spectrum
        a_F = scipy.linalg.solve_toeplitz(autocorrelation_F[:-1], -autocorrelation_F[1:])
        error = autocorrelation_F[0] + a_F @ autocorrelation_F[1:]
        log_model = -2 * np.log(np.abs(np.fft.rfft(np.concatenate([[1.0], a_F]), 1 << 15)))
        ceps_F = np.concatenate([[np.log(error)], np.fft.irfft(log_model)[1 : s.lpc_order + 1]])[: s.num_ceps]
        k = np.arange(s.num_ceps)
        lifter_F = 1 + s.cepstral_lifter / 2 * np.sin(np.pi * k / s.cepstral_lifter) if s.cepstral_lifter else np.ones(len(k))
        rows.append(s.cepstral_scale * lifter_F * ceps_F)
    rows_TF = np.array(rows)
    if s.use_energy:
        frames_TW = frames_of(samples_W, s)
        frames_TW = frames_TW - s.remove_dc * frames_TW.mean(axis=1, keepdims=True)
        rows_TF[:, 0] = np.log((frames_TW**2).sum(axis=1))
    return np.roll(rows_TF, -1, axis=1) if s.htk_compat else rows_TF


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_plp_is_the_reference(options):
    settings = Plp(name="test", **options)
    for num_samples in (400, 16007):
        waveform_W = noise(num_samples)
        ceps_TF = plp(torch.from_numpy(waveform_W), settings).numpy()
        assert ceps_TF.dtype == np.float32
        assert ceps_TF.shape == (settings.num_frames(num_samples), settings.num_bins)
        # The lifter multiplies by up to 12, and with it what float32 leaves of the mel energies.
        np.testing.assert_allclose(ceps_TF, reference(waveform_W, settings), rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", [SETTINGS["default"], SETTINGS["but"]], ids=["default", "but"])
def test_plp_is_the_reference_on_real_speech(options):
    paths = sorted(VOICES.glob("*/*/*.flac"))[::300]
    if not paths:
        pytest.skip(f"no real speech in {VOICES}")
    settings = Plp(name="test", **options)
    for path in paths:
        waveform_W = soundfile.read(path, dtype="float32")[0][:48000]
        difference_TF = np.abs(plp(torch.from_numpy(waveform_W), settings).numpy() - reference(waveform_W, settings))
        # A filter far below the loudest holds what float32 leaves of the FFT, here under the power of 1/3.
        assert np.quantile(difference_TF, 0.999) < 1e-4
        assert difference_TF.max() < 1e-3


@pytest.mark.parametrize("order", [1, 2, 12, 29])
def test_levinson_solves_the_normal_equations(order):
    rng = np.random.default_rng(order)
    spectrum_TF = np.exp(rng.standard_normal((5, 65)))
    autocorrelation_TF = np.fft.irfft(spectrum_TF)[:, : order + 1]
    lpc_TF, residual_T = levinson(torch.from_numpy(autocorrelation_TF))
    for r_F, a_F, residual in zip(autocorrelation_TF, lpc_TF.numpy(), residual_T.tolist(), strict=True):
        expected_F = scipy.linalg.solve_toeplitz(r_F[:-1], -r_F[1:])
        np.testing.assert_allclose(a_F, expected_F, rtol=0, atol=1e-9)
        assert residual == pytest.approx(r_F[0] + expected_F @ r_F[1:], rel=1e-9)


def test_the_cepstrum_is_that_of_the_all_pole_filter():
    # Poles inside the unit circle: c_n = sum of their n-th powers / n, in closed form.
    poles = np.array([0.9 * np.exp(0.4j), 0.9 * np.exp(-0.4j), 0.7 * np.exp(2j), 0.7 * np.exp(-2j), -0.5])
    lpc_F = np.poly(poles).real[1:]
    expected_F = [(poles**n).sum().real / n for n in range(1, 6)]
    np.testing.assert_allclose(lpc_cepstrum(torch.from_numpy(lpc_F)).numpy(), expected_F, rtol=0, atol=1e-12)


def test_a_resonance_of_the_autocorrelation_comes_back():
    # An autoregressive process of order 2 has just this prediction, and no more coefficients at a higher order.
    poles = 0.8 * np.exp(np.array([1j, -1j]))
    denominator_F = np.poly(poles).real
    power_F = 1 / np.abs(np.fft.rfft(denominator_F, 4096)) ** 2
    lpc_F, residual = levinson(torch.from_numpy(np.fft.irfft(power_F)[:7]))
    np.testing.assert_allclose(lpc_F.numpy(), [*denominator_F[1:], 0, 0, 0, 0], rtol=0, atol=1e-9)
    assert float(residual) == pytest.approx(1.0)


def test_the_ear_is_deaf_to_0_hz_and_best_above_2_khz():
    settings = Plp(name="test", num_mel_bins=60, lpc_order=20)
    weight_F, centre_F = equal_loudness(settings).numpy(), filter_centres(settings).numpy()
    f2_F = centre_F**2
    np.testing.assert_allclose(weight_F, f2_F**2 * (f2_F + 1.44e6) / ((f2_F + 1.6e5) ** 2 * (f2_F + 9.61e6)), rtol=1e-9)
    assert weight_F[centre_F < 100].max() < 0.002 < 0.3 < weight_F[centre_F > 2500].min()


def test_the_louder_the_speech_the_higher_c0_and_nothing_else_changes():
    settings = Plp(name="test", use_energy=False, cepstral_lifter=0.0)
    waveform_W = torch.from_numpy(noise(16000))
    soft_TF, loud_TF = plp(waveform_W, settings), plp(4 * waveform_W, settings)
    np.testing.assert_allclose(loud_TF[:, 0] - soft_TF[:, 0], 0.33333 * np.log(16), rtol=0, atol=1e-4)
    np.testing.assert_allclose(loud_TF[:, 1:], soft_TF[:, 1:], rtol=0, atol=1e-5)


def test_the_log_energy_takes_the_place_of_c0_and_htk_puts_it_last():
    waveform_W = torch.from_numpy(noise(16000))
    plain_TF, energy_TF = plp(waveform_W, Plp(name="a", use_energy=False)), plp(waveform_W, Plp(name="a"))
    assert torch.equal(energy_TF[:, 0], log_energy(waveform_W, Plp(name="a")))
    assert torch.equal(energy_TF[:, 1:], plain_TF[:, 1:])
    htk_TF = plp(waveform_W, Plp(name="a", htk_compat=True))
    assert torch.equal(htk_TF[:, -1], energy_TF[:, 0])
    assert torch.equal(htk_TF[:, :-1], energy_TF[:, 1:])


def test_batch_equals_one_by_one():
    settings = Plp(name="test")
    batch_BW = torch.from_numpy(np.stack([noise(50000, seed) for seed in range(3)]))
    for waveform_W, alone_TF in zip(batch_BW, plp(batch_BW, settings), strict=True):
        torch.testing.assert_close(plp(waveform_W, settings), alone_TF, rtol=0, atol=1e-4)


@pytest.mark.parametrize("options", [SETTINGS["no_energy"], SETTINGS["but"]], ids=["no_energy", "but"])
def test_silence_and_a_pure_tone_are_finite(options):
    settings = Plp(name="test", **options)
    tone_W = torch.sin(2 * np.pi * 1000 / 16000 * torch.arange(16000, dtype=torch.float64)).float()
    for waveform_W in (torch.zeros(16000), tone_W):
        ceps_TF = plp(waveform_W, settings)
        assert torch.isfinite(ceps_TF).all()
        assert (ceps_TF[:, 0] >= 0).all()  # Kaldi's floor


def test_wrong_samples_are_refused():
    settings = Plp(name="test")
    with pytest.raises(ValueError, match="399 samples is shorter than one frame of 400"):
        plp(torch.zeros(399), settings)
    with pytest.raises(ValueError, match="16000 of 16000 NaN"):
        plp(torch.full((16000,), float("nan")), settings)
    with pytest.raises(ValueError, match="rng"):
        plp(torch.zeros(16000), Plp(name="test", dither=1.0))
