"""Derivatives against Kaldi's documented loop, and torchaudio where the ends of the utterance do not matter."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio

from steps.core import config
from steps.signal.deltas import add_deltas, delta_filters
from steps.signal.features import mfcc
from steps.signal.framing import log_energy
from steps.signal.frontend import extract
from steps.signal.normalise import normalise
from steps.signal.settings import FEATURES, Fbank, Mfcc
from steps.signal.vad import energy_vad

CONF = Path(__file__).resolve().parents[2] / "conf" / "features"


def kaldi_add_deltas(feats_TF, order, window):
    """Frame by frame: filters that are convolved order by order, frames beyond the ends taken from the ends."""
    scales = [np.ones(1)]
    for _ in range(order):
        before, wider = scales[-1], np.zeros(len(scales[-1]) + 2 * window)
        for j in range(-window, window + 1):
            for k in range(len(before)):
                wider[j + window + k] += j * before[k]
        scales.append(wider / sum(j * j for j in range(-window, window + 1)))
    num_frames, num_bins = feats_TF.shape
    out_TF = np.zeros((num_frames, num_bins * (order + 1)))
    for t in range(num_frames):
        for i, scale in enumerate(scales):
            for j, weight in enumerate(scale):
                frame = min(max(t + j - len(scale) // 2, 0), num_frames - 1)
                out_TF[t, i * num_bins : (i + 1) * num_bins] += weight * feats_TF[frame]
    return out_TF


@pytest.mark.parametrize(("order", "window"), [(1, 2), (2, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 40])
def test_derivatives_are_kaldis(order, window, num_frames):
    feats_TF = np.random.default_rng(0).standard_normal((num_frames, 3))
    found_TF = add_deltas(torch.from_numpy(feats_TF), order, window)
    np.testing.assert_allclose(found_TF, kaldi_add_deltas(feats_TF, order, window), atol=1e-12)


def test_away_from_the_ends_they_are_torchaudios():
    feats_TF = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first_FT = torchaudio.functional.compute_deltas(feats_TF.T[None], win_length=7)[0]
    second_FT = torchaudio.functional.compute_deltas(first_FT[None], win_length=7)[0]
    found_TF = add_deltas(feats_TF, 2, 3)
    torch.testing.assert_close(found_TF[:, 4:8], first_FT.T)
    torch.testing.assert_close(found_TF[6:-6, 8:], second_FT.T[6:-6])
    assert not torch.allclose(found_TF[:3, 8:], second_FT.T[:3])  # Kaldi filters the utterance once, with a wider filter


def test_of_a_parabola_they_are_slope_and_curvature():
    time_T = torch.arange(30, dtype=torch.float64)
    found_TF = add_deltas((3 * time_T.square() - time_T)[:, None], 2, 2)[5:-5]
    torch.testing.assert_close(found_TF[:, 1], 6 * time_T[5:-5] - 1)
    torch.testing.assert_close(found_TF[:, 2], torch.full((20,), 6.0, dtype=torch.float64))


def test_batches_are_their_utterances_and_order_0_is_nothing():
    feats_TF = torch.randn(2, 3, 20, 4, generator=torch.Generator().manual_seed(0))
    found_TF = add_deltas(feats_TF, 2, 2)
    assert torch.equal(found_TF[1, 2], add_deltas(feats_TF[1, 2], 2, 2))
    assert add_deltas(feats_TF, 0, 2) is feats_TF
    assert [len(taps) for taps in delta_filters(3, 2)] == [5, 9, 13]


def test_the_order_is_kaldis_derivatives_then_mean_then_vad():
    """As sid/train_diag_ubm.sh has it: add-deltas, apply-cmvn-sliding, select-voiced-frames."""
    rng = np.random.default_rng(0)
    waveform_W = (0.1 * rng.standard_normal(80000) * (np.arange(80000) // 8000 % 2 + 1e-3)).astype(np.float32)
    settings = config.build("features", FEATURES, config.load_layers([CONF / "mfcc72.toml"]))
    assert (settings.num_bins, settings.delta_window, settings.upper_freq) == (72, 3, 7600.0)
    samples_W = torch.from_numpy(waveform_W)
    static_TF = mfcc(samples_W, settings).numpy()
    expected_TF = kaldi_add_deltas(static_TF, 2, 3)
    starts_T = np.clip(np.arange(500) - 150, 0, 200)
    expected_TF -= np.stack([expected_TF[start : start + 300].mean(axis=0) for start in starts_T])
    speech_T = energy_vad(log_energy(samples_W, settings), threshold=5.5, mean_scale=0.5, context=2, proportion=0.12).numpy()
    assert 0 < speech_T.sum() < 500
    np.testing.assert_allclose(extract(waveform_W, 16000, settings), expected_TF[speech_T], atol=2e-4)


def test_variances_are_those_of_the_derivatives_too():
    settings = config.build("features", FEATURES, config.load_layers([CONF / "mfcc39.toml"]))
    waveform_W = (0.1 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32)
    feats_TF = extract(waveform_W, 16000, settings)
    assert feats_TF.shape == (200, 39)
    np.testing.assert_allclose(feats_TF.mean(axis=0), 0, atol=1e-4)  # the log energy hardly varies in noise
    np.testing.assert_allclose(feats_TF.std(axis=0), 1, atol=1e-4)
    expected_TF = add_deltas(mfcc(torch.from_numpy(waveform_W), settings), 2, 2)
    np.testing.assert_allclose(feats_TF, normalise(expected_TF, "utterance_mean_variance"), atol=1e-5)


@pytest.mark.parametrize("changes", [{"delta_order": -1}, {"delta_order": 2, "delta_window": 0}, {"delta_window": 3}])
def test_what_makes_no_derivatives_is_refused(changes):
    with pytest.raises(ValueError, match=r"mfcc\.delta_(order|window): expected .*, found"):
        Mfcc(name="a", **changes)


def test_all_kaldi_features_know_their_size():
    assert Fbank(name="a", num_mel_bins=40, use_energy=True, delta_order=1).num_bins == 82
    assert Mfcc(name="a", num_ceps=20, delta_order=2).num_bins == 60
