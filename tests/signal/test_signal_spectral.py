"""Spectrograms against numpy, torch.stft, torchaudio and figures that librosa's filters are known to have."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from steps.signal.frontend import extract
from steps.signal.normalise import normalise
from steps.signal.settings import LogMel, Spectrogram
from steps.signal.spectral import log_mel, slaney_bank, spectrogram, vggvox_front_end

VOICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "voices" / "test"
XIE = {"window": "hann", "periodic_window": True, "framing": "centred"}
CPU = torch.device("cpu")


def signals() -> list[np.ndarray]:
    """Noise with a mean, of lengths that are no whole number of frames, and two pieces of real speech if there are any."""
    rng = np.random.default_rng(0)
    made = [(0.1 * rng.standard_normal(size) + 0.02).astype(np.float32) for size in (1024, 16000, 33333)]
    return made + [soundfile.read(path, dtype="float32")[0][:40000] for path in sorted(VOICES.glob("*/*/*.flac"))[::400]]


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def matlab(waveform_W: np.ndarray) -> np.ndarray:
    """The samples that VGGVox frames, without its dither, sample by sample in double precision."""
    x = 32768 * waveform_W.astype(np.float64)
    y, last = np.zeros(len(x)), 0.0
    for n in range(len(x)):
        last = x[n] - (x[n - 1] if n else 0.0) + 0.99 * last
        y[n] = last
    return np.array([y[0], *(y[1:] - 0.97 * y[:-1])])


def matlab_spectrogram(waveform_W: np.ndarray) -> np.ndarray:
    """All 512 magnitudes of whole frames of 400 samples, 160 apart."""
    samples_W = matlab(waveform_W)
    n = np.arange(400)
    hamming_W = 0.54 - 0.46 * np.cos(2 * np.pi * n / 399)
    return np.stack([
        np.abs(np.fft.fft(samples_W[start : start + 400] * hamming_W, 512)) for start in range(0, len(samples_W) - 399, 160)
    ])  # fmt: skip


def librosa_stft(waveform_W: np.ndarray, n_fft: int, width: int) -> np.ndarray:
    """Magnitudes as librosa's formula has them: reflected by n_fft / 2, the window in the middle of the n_fft points."""
    padded_W = np.pad(waveform_W.astype(np.float64), n_fft // 2, mode="reflect")
    hann_W = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    left = (n_fft - width) // 2
    window_W = np.pad(hann_W, (left, n_fft - width - left))
    starts = range(0, len(padded_W) - n_fft + 1, 160)
    return np.stack([np.abs(np.fft.rfft(padded_W[start : start + n_fft] * window_W)) for start in starts])


def close(found_TF: torch.Tensor, expected_TF: np.ndarray, tolerance: float) -> None:
    """Close in relation to the loudest bin of each frame, which is what float32's FFT keeps."""
    assert found_TF.dtype == torch.float32
    assert found_TF.shape == expected_TF.shape
    error_TF = np.abs(found_TF.numpy() - expected_TF) / expected_TF.max(axis=1, keepdims=True)
    assert error_TF.max() < tolerance


def test_vggvox_is_matlabs():
    for waveform_W in signals():
        expected_TF = matlab_spectrogram(waveform_W)
        settings = Spectrogram(name="a", front_end="vggvox", bins="mirrored")
        # The dither is a millionth of the signal; in quiet frames of speech that is more than float32's rounding.
        tolerance = 1e-5 * max(1.0, expected_TF.max() / expected_TF.max(axis=1).min())
        close(spectrogram(torch.from_numpy(waveform_W), settings, rng=rng()), expected_TF, tolerance)


@pytest.mark.parametrize(("bins", "kept"), [("half", 257), ("half_without_nyquist", 256), ("mirrored", 512)])
@pytest.mark.parametrize("value", ["magnitude", "power", "log_magnitude"])
def test_values_and_bins_are_those_of_the_full_fft(bins, kept, value):
    waveform_W = signals()[1]
    settings = Spectrogram(name="a", bins=bins, value=value, window="rectangular")
    full_TF = np.stack([np.abs(np.fft.fft(waveform_W[t : t + 400].astype(np.float64), 512)) for t in range(0, 15601, 160)])
    expected_TF = {"magnitude": full_TF, "power": full_TF**2, "log_magnitude": np.log(full_TF)}[value][:, :kept]
    found_TF = spectrogram(torch.from_numpy(waveform_W), settings)
    assert found_TF.shape == (settings.num_frames(16000), settings.num_bins) == (98, kept)
    np.testing.assert_allclose(found_TF, expected_TF, rtol=1e-3, atol=1e-3 if value == "log_magnitude" else 1e-5)


def test_centred_frames_are_those_of_torchs_stft_and_of_librosas_formula():
    settings = Spectrogram(name="a", **XIE)
    for waveform_W in signals():
        found_TF = spectrogram(torch.from_numpy(waveform_W), settings)
        assert len(found_TF) == 1 + len(waveform_W) // 160
        close(found_TF, librosa_stft(waveform_W, 512, 400), 1e-5)
        stft_FT = torch.stft(
            torch.from_numpy(waveform_W).double(), 512, 160, 400, torch.hann_window(400, dtype=torch.float64),
            center=True, pad_mode="reflect", return_complex=True,
        )  # fmt: skip
        close(found_TF, stft_FT.abs().T.numpy(), 1e-5)


def test_xies_input_is_each_frame_less_its_mean_over_its_deviation_plus_epsilon():
    settings = Spectrogram(name="a", **XIE, normalise="frame_mean_variance", normalise_epsilon=1e-5)
    for waveform_W in signals():
        magnitude_FT = librosa_stft(waveform_W, 512, 400).T
        expected_FT = (magnitude_FT - magnitude_FT.mean(axis=0)) / (magnitude_FT.std(axis=0) + 1e-5)
        np.testing.assert_allclose(extract(waveform_W, 16000, settings), expected_FT.T, rtol=0, atol=1e-4)


def test_epsilon_matters_in_quiet_frames_only():
    loud_TF = torch.from_numpy(librosa_stft(signals()[1], 512, 400))
    assert (normalise(loud_TF, "frame_mean_variance", epsilon=1e-5) / normalise(loud_TF, "frame_mean_variance")).min() > 0.9999
    quiet_TF = 1e-5 * loud_TF  # samples of 1e-6, below 16 bits
    ratio_TF = normalise(quiet_TF, "frame_mean_variance", epsilon=1e-5) / normalise(quiet_TF, "frame_mean_variance")
    assert ratio_TF.max() < 0.9


def test_spectrogram512_is_vggvoxs_input_per_bin():
    settings = Spectrogram(name="a", front_end="vggvox", bins="mirrored", normalise="utterance_mean_variance")
    waveform_W = signals()[2]
    expected_TF = matlab_spectrogram(waveform_W)
    expected_TF = (expected_TF - expected_TF.mean(axis=0)) / expected_TF.std(axis=0)
    np.testing.assert_allclose(extract(waveform_W, 16000, settings, rng=rng()), expected_TF, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("rate", "pole"), [(16000, 0.99), (8000, 0.999)])
def test_the_front_end_has_its_frequency_response(rate, pole):
    impulse_W = torch.zeros(1 << 16, dtype=torch.float64)
    impulse_W[0] = 1.0
    response_F = np.fft.rfft(vggvox_front_end(impulse_W, rate, rng()).numpy())
    z = np.exp(-1j * np.linspace(0, np.pi, len(response_F)))
    expected_F = 32768 * (1 - z) / (1 - pole * z) * (1 - 0.97 * z)
    np.testing.assert_allclose(response_F, expected_F, rtol=0, atol=1.0)  # the dither of an impulse: 1e-6 * 128 * sqrt(2^16 / 6)


def test_the_dither_is_triangular_and_a_millionth_of_the_signal():
    noise_W = torch.from_numpy(np.random.default_rng(0).standard_normal(200000))
    first_W, other_W = (vggvox_front_end(noise_W, 16000, np.random.default_rng(k)).numpy() for k in (1, 2))
    # Deviation of the difference of two dithers of variance 1/6, before the pre-emphasis.
    expected = 1e-6 * 32768 * np.sqrt(2 / 6) * np.sqrt(1 + 0.97**2)
    assert (first_W - other_W).std() == pytest.approx(expected, rel=0.02)
    assert (first_W - other_W).max() < 2 * 1.97 * 1.1e-6 * 32768
    dither_W = first_W[:20000] - matlab(noise_W[:20000].numpy())
    assert abs(dither_W.mean()) < 0.05 * dither_W.std() * (1 - 0.97)  # of a constant, pre-emphasis leaves so much


def test_the_filters_are_torchaudios():
    for rate, n_fft, low, high, num_bins in (
        (16000, 1024, 0.0, 8000.0, 128),
        (16000, 512, 20.0, 7600.0, 40),
        (8000, 256, 0.0, 4e3, 23),
    ):
        expected_FF = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, low, high, num_bins, rate, "slaney", "slaney")
        # torchaudio computes them in float32.
        np.testing.assert_allclose(slaney_bank(num_bins, rate, n_fft, low, high, CPU), expected_FF, rtol=0, atol=1e-6)


def test_the_filters_are_librosas():
    # librosa.filters.mel(sr=22050, n_fft=2048): 0.016 is in its documentation, these digits in that of the crate mel_filter.
    bank_FF = slaney_bank(128, 22050, 2048, 0.0, 11025.0, CPU).numpy()
    np.testing.assert_allclose(bank_FF[:6, 0], [0, 0.016182853, 0.032365706, 0.028990088, 0.012807235, 0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        bank_FF[3:8, 1], [0.009779236, 0.025962089, 0.035393705, 0.019211042, 0.003027999], rtol=0, atol=3e-7
    )


def mel_filter(k: int) -> np.ndarray:
    """The k-th of 128 filters, on 513 bins, written out: points on Slaney's scale, a triangle of area 1."""
    mels = np.linspace(0, 15 + 27 * math.log(8) / math.log(6.4), 130)[k : k + 3]
    left, centre, right = (m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in mels)
    return np.interp(np.arange(513) * 15.625, [left, centre, right], [0, 2 / (right - left), 0])


def test_log_mel_is_zhaws():
    bank_FF = np.stack([mel_filter(k) for k in range(128)], axis=1)
    settings = LogMel(name="a")
    for waveform_W in signals():
        expected_TF = np.log10(1 + 10000 * (librosa_stft(waveform_W, 1024, 1024) ** 2 @ bank_FF))
        np.testing.assert_allclose(log_mel(torch.from_numpy(waveform_W), settings), expected_TF, rtol=0, atol=1e-4)
        per_bin_TF = (expected_TF - expected_TF.mean(axis=0)) / (expected_TF.std(axis=0) + 1e-5)
        zhaw = LogMel(name="a", normalise="utterance_mean_variance", normalise_epsilon=1e-5)
        np.testing.assert_allclose(extract(waveform_W, 16000, zhaw), per_bin_TF, rtol=0, atol=1e-3)


def test_log_mel_has_its_band_and_gain():
    waveform_W = signals()[1]
    settings = LogMel(name="a", num_mel_bins=40, low_freq=300.0, high_freq=3400.0, log_gain=10.0, framing="snip_edges")
    frames_TW = np.stack([waveform_W[t : t + 1024] for t in range(0, 16000 - 1023, 160)]).astype(np.float64)
    power_TF = np.abs(np.fft.rfft(frames_TW * np.hanning(1025)[:-1])) ** 2
    bank_FF = torchaudio.functional.melscale_fbanks(513, 300.0, 3400.0, 40, 16000, "slaney", "slaney").double().numpy()
    np.testing.assert_allclose(log_mel(torch.from_numpy(waveform_W), settings), np.log10(1 + 10 * power_TF @ bank_FF), atol=1e-4)


SETTINGS = {
    "plain": Spectrogram(name="a"),
    "vggvox": Spectrogram(name="a", front_end="vggvox", bins="mirrored"),
    "xie": Spectrogram(name="a", **XIE),
    "log_mel": LogMel(name="a"),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_batch_equals_one_by_one_and_a_tail_changes_no_earlier_frame(settings):
    compute = log_mel if isinstance(settings, LogMel) else spectrogram
    batch_BW = torch.from_numpy(np.stack([signals()[2][:30000], signals()[2][3000:33000]]))
    together_BTF = compute(batch_BW, settings, rng=rng())
    assert together_BTF.shape == (2, settings.num_frames(30000), settings.num_bins)
    for waveform_W, expected_TF in zip(batch_BW, together_BTF, strict=True):
        torch.testing.assert_close(compute(waveform_W, settings, rng=rng()), expected_TF, rtol=1e-4, atol=0.1)
        if settings.type != "spectrogram" or settings.front_end == "none":
            torch.testing.assert_close(compute(waveform_W[:20000], settings)[:100], expected_TF[:100], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_silence_is_0_and_the_waveform_is_not_changed(settings):
    compute = log_mel if isinstance(settings, LogMel) else spectrogram
    assert compute(torch.zeros(16000), settings, rng=rng()).abs().max() == 0
    waveform_W = torch.from_numpy(signals()[1])
    before_W = waveform_W.clone()
    compute(waveform_W, settings, rng=rng())
    assert torch.equal(waveform_W, before_W)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_one_frame_of_samples_is_enough_and_one_less_is_refused(settings):
    compute = log_mel if isinstance(settings, LogMel) else spectrogram
    least = settings.frame_samples
    assert len(compute(torch.zeros(least), settings, rng=rng())) == settings.num_frames(least) >= 1
    assert settings.num_frames(least - 1) == 0
    with pytest.raises(ValueError, match=f"{least - 1} samples is shorter than one frame of {least} samples"):
        compute(torch.zeros(least - 1), settings, rng=rng())
    with pytest.raises(ValueError, match="16000 of 16000 NaN"):
        compute(torch.full((16000,), float("nan")), settings, rng=rng())
    with pytest.raises(ValueError, match="floating-point"):
        compute(torch.zeros(16000, dtype=torch.int16), settings, rng=rng())


def test_vggvox_asks_for_a_generator_and_obeys_it():
    settings = SETTINGS["vggvox"]
    waveform_W = torch.from_numpy(signals()[1])
    with pytest.raises(ValueError, match="vggvox.*rng"):
        spectrogram(waveform_W, settings)
    first, again, other = (spectrogram(waveform_W, settings, rng=np.random.default_rng(k)) for k in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_filters_than_the_fft_can_fill_are_refused():
    with pytest.raises(ValueError, match="num_mel_bins = 400.*1024 points"):
        log_mel(torch.zeros(16000), LogMel(name="a", num_mel_bins=400))
