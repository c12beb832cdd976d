"""Features against kaldi-native-fbank and torchaudio, programs that are not ours."""

from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from steps.signal.features import fbank, mfcc
from steps.signal.framing import log_energy
from steps.signal.settings import Fbank, Mfcc

VOICES = Path(__file__).resolve().parents[3] / "shared" / "data" / "voices" / "test"
TOLERANCE = 1e-3  # of a natural log; float32 sums of 512 squares of up to 32768, in another order
FBANKS = {
    "default": {},
    "snip_edges": {"snip_edges": True},
    "hamming_energy": {"window": "hamming", "use_energy": True},
    "hann_band": {"window": "hann", "low_freq": 100.0, "high_freq": -400.0, "snip_edges": True},
    "rectangular": {"window": "rectangular", "preemphasis": 0.0, "high_freq": 7600.0},
    "keep_dc": {"remove_dc": False, "use_energy": True, "num_mel_bins": 40},
    "wide_shift": {"frame_length": 0.02, "frame_shift": 0.03},
    "8_khz": {"sampling_rate": 8000, "num_mel_bins": 30},
}
MFCCS = {
    "default": {},
    "voxceleb_v2": {"num_mel_bins": 30, "num_ceps": 30, "high_freq": 7600.0},
    "no_energy": {"use_energy": False, "snip_edges": True},
    "no_lifter": {"use_energy": False, "cepstral_lifter": 0.0, "num_ceps": 20},
}


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32) + np.float32(0.01)


def real_speech() -> list[np.ndarray]:
    paths = sorted(VOICES.glob("*/*/*.flac"))[::160]
    if not paths:
        pytest.skip(f"no real speech in {VOICES}")
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


def assert_close_on_speech(found_TF: np.ndarray, expected_TF: np.ndarray, tolerance: float) -> None:
    """Filters far below the loudest hold what float32 leaves of the FFT: there the oracle, too, is 0.001 off float64."""
    difference_TF = np.abs(found_TF - expected_TF)
    assert np.quantile(difference_TF, 0.999) < tolerance
    assert difference_TF.max() < 10 * tolerance


def set_options(options, settings):
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq = settings.sampling_rate
    frame.frame_length_ms = 1000 * settings.frame_length
    frame.frame_shift_ms = 1000 * settings.frame_shift
    frame.preemph_coeff = settings.preemphasis
    frame.remove_dc_offset = settings.remove_dc
    frame.window_type = {"hann": "hanning"}.get(settings.window, settings.window)
    frame.snip_edges = settings.snip_edges
    frame.dither = 0
    mel.num_bins, mel.low_freq, mel.high_freq = settings.num_mel_bins, settings.low_freq, settings.high_freq
    options.use_energy = settings.use_energy
    options.raw_energy = True
    options.energy_floor = 0
    return options


def native(waveform_W: np.ndarray, settings: Fbank | Mfcc) -> np.ndarray:
    """Features by kaldi-native-fbank."""
    if isinstance(settings, Mfcc):
        options = set_options(kaldi_native_fbank.MfccOptions(), settings)
        options.num_ceps, options.cepstral_lifter = settings.num_ceps, settings.cepstral_lifter
        extractor = kaldi_native_fbank.OnlineMfcc(options)
    else:
        extractor = kaldi_native_fbank.OnlineFbank(set_options(kaldi_native_fbank.FbankOptions(), settings))
    extractor.accept_waveform(settings.sampling_rate, (waveform_W * 32768).tolist())
    extractor.input_finished()
    return np.stack([extractor.get_frame(t) for t in range(extractor.num_frames_ready)])


def compliance(waveform_W: np.ndarray, settings: Fbank | Mfcc) -> np.ndarray:
    """Features by torchaudio.compliance.kaldi."""
    options = {
        "sample_frequency": settings.sampling_rate,
        "frame_length": 1000 * settings.frame_length,
        "frame_shift": 1000 * settings.frame_shift,
        "preemphasis_coefficient": settings.preemphasis,
        "remove_dc_offset": settings.remove_dc,
        "window_type": {"hann": "hanning"}.get(settings.window, settings.window),
        "snip_edges": settings.snip_edges,
        "num_mel_bins": settings.num_mel_bins,
        "low_freq": settings.low_freq,
        "high_freq": settings.high_freq,
        "use_energy": settings.use_energy,
        "energy_floor": 0.0,
    }
    samples_CW = torch.from_numpy(waveform_W)[None] * 32768
    if isinstance(settings, Mfcc):
        options |= {"num_ceps": settings.num_ceps, "cepstral_lifter": settings.cepstral_lifter}
        return torchaudio.compliance.kaldi.mfcc(samples_CW, **options).numpy()
    return torchaudio.compliance.kaldi.fbank(samples_CW, **options).numpy()


@pytest.mark.parametrize("reference", [native, compliance])
@pytest.mark.parametrize("options", FBANKS.values(), ids=FBANKS)
def test_fbank_is_kaldis(options, reference):
    settings = Fbank(name="test", **{"num_mel_bins": 80, **options})
    for num_samples in (16000, 31987, 65433):
        waveform_W = noise(num_samples)
        feats_TF = fbank(torch.from_numpy(waveform_W), settings).numpy()
        assert feats_TF.dtype == np.float32
        assert feats_TF.shape == (settings.num_frames(num_samples), settings.num_bins)
        np.testing.assert_allclose(feats_TF, reference(waveform_W, settings), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("reference", [native, compliance])
@pytest.mark.parametrize("options", MFCCS.values(), ids=MFCCS)
def test_mfcc_is_kaldis(options, reference):
    settings = Mfcc(name="test", **options)
    waveform_W = noise(40123)
    ceps_TF = mfcc(torch.from_numpy(waveform_W), settings).numpy()
    assert ceps_TF.shape == (settings.num_frames(40123), settings.num_bins)
    # The lifter multiplies by up to 12, and with it the error of a log energy.
    np.testing.assert_allclose(ceps_TF, reference(waveform_W, settings), rtol=0, atol=5 * TOLERANCE)


@pytest.mark.parametrize("options", FBANKS.values(), ids=FBANKS)
def test_fbank_is_kaldis_on_real_speech(options):
    settings = Fbank(name="test", **{"num_mel_bins": 80, **options})
    for waveform_W in real_speech():
        feats_TF = fbank(torch.from_numpy(waveform_W), settings).numpy()
        assert_close_on_speech(feats_TF, native(waveform_W, settings), TOLERANCE)


@pytest.mark.parametrize("options", MFCCS.values(), ids=MFCCS)
def test_mfcc_is_kaldis_on_real_speech(options):
    settings = Mfcc(name="test", **options)
    for waveform_W in real_speech():
        ceps_TF = mfcc(torch.from_numpy(waveform_W), settings).numpy()
        assert_close_on_speech(ceps_TF, native(waveform_W, settings), 5 * TOLERANCE)


@pytest.mark.parametrize("num_samples", [400, 401, 559, 560, 639, 640])
@pytest.mark.parametrize("snip_edges", [False, True])
def test_shortest_utterances_have_kaldis_frames(num_samples, snip_edges):
    settings = Fbank(name="test", num_mel_bins=23, snip_edges=snip_edges)
    waveform_W = noise(num_samples)
    feats_TF = fbank(torch.from_numpy(waveform_W), settings).numpy()
    np.testing.assert_allclose(feats_TF, native(waveform_W, settings), rtol=0, atol=TOLERANCE)


def test_log_energy_is_kaldis_energy_column():
    settings = Fbank(name="test", num_mel_bins=23, use_energy=True)
    waveform_W = noise(20000)
    energy_T = log_energy(torch.from_numpy(waveform_W), settings).numpy()
    np.testing.assert_allclose(energy_T, native(waveform_W, settings)[:, 0], rtol=0, atol=TOLERANCE)


def test_log_energy_of_a_square_wave_is_log_of_400_squares():
    waveform_W = torch.tensor([0.5, -0.5]).repeat(4000)
    settings = Fbank(name="test", num_mel_bins=23, snip_edges=True)
    expected = np.log(400 * (0.5 * 32768) ** 2)
    np.testing.assert_allclose(log_energy(waveform_W, settings).numpy(), expected, rtol=1e-6)


def test_batch_equals_one_by_one():
    settings = Mfcc(name="test")
    batch_BW = torch.from_numpy(np.stack([noise(50000, seed) for seed in range(3)]))
    together_BTF = mfcc(batch_BW, settings)
    for waveform_W, alone_TF in zip(batch_BW, together_BTF, strict=True):
        torch.testing.assert_close(mfcc(waveform_W, settings), alone_TF, rtol=0, atol=1e-4)


def test_silence_is_the_floor():
    feats_TF = fbank(torch.zeros(16000), Fbank(name="test", num_mel_bins=23, use_energy=True))
    np.testing.assert_allclose(feats_TF.numpy(), np.log(np.finfo(np.float32).eps), rtol=1e-6)


def test_the_waveform_is_not_changed():
    waveform_W = torch.from_numpy(noise(16000))
    before_W = waveform_W.clone()
    fbank(waveform_W, Fbank(name="test", num_mel_bins=23))
    assert torch.equal(waveform_W, before_W)


@pytest.mark.parametrize("snip_edges", [False, True])
def test_less_than_one_frame_is_refused(snip_edges):
    settings = Fbank(name="test", num_mel_bins=23, snip_edges=snip_edges)
    assert settings.num_frames(399) == 0
    with pytest.raises(ValueError, match="399 samples is shorter than one frame of 400"):
        fbank(torch.zeros(399), settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_samples_that_are_not_finite_are_refused(value):
    waveform_W = torch.zeros(16000)
    waveform_W[77] = value
    with pytest.raises(ValueError, match="1 of 16000 NaN or infinite"):
        fbank(waveform_W, Fbank(name="test", num_mel_bins=23))


def test_more_filters_than_the_fft_can_fill_are_refused():
    with pytest.raises(ValueError, match="num_mel_bins = 200"):
        fbank(torch.zeros(16000), Fbank(name="test", num_mel_bins=200))


def test_dither_comes_from_the_generator_only():
    settings = Fbank(name="test", num_mel_bins=23, dither=1.0)
    with pytest.raises(ValueError, match="rng"):
        fbank(torch.zeros(16000), settings)
    first, again, other = (fbank(torch.zeros(16000), settings, rng=np.random.default_rng(k)) for k in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # Energy of 400 samples of variance 1, less one degree of freedom; 100 frames of 400 leave about 1%.
    energy_T = fbank(
        torch.zeros(16000), Fbank(name="t", num_mel_bins=23, dither=1.0, use_energy=True), rng=np.random.default_rng(0)
    )[:, 0]
    assert float(energy_T.exp().mean()) == pytest.approx(399, rel=0.05)
