"""Normalisation against loops over frames and torchaudio."""

import numpy as np
import pytest
import torch
import torchaudio

from steps.signal.normalise import normalise, normalise_frames


def feats(num_frames: int, num_bins: int = 5) -> torch.Tensor:
    rng = np.random.default_rng(num_frames)
    return torch.from_numpy((10 + 3 * rng.standard_normal((num_frames, num_bins))).astype(np.float32))


def sliding_loop(feats_TF: np.ndarray, window: int, variance: bool) -> np.ndarray:
    """The rule frame by frame: a window of constant length is pushed inside the utterance."""
    num_frames = len(feats_TF)
    out_TF = np.zeros_like(feats_TF)
    for t in range(num_frames):
        start, end = t - window // 2, t - window // 2 + window
        if start < 0:
            start, end = 0, end - start
        if end > num_frames:
            start, end = max(0, start - (end - num_frames)), num_frames
        part_TF = feats_TF[start:end]
        out_TF[t] = feats_TF[t] - part_TF.mean(axis=0)
        if variance:
            out_TF[t] /= np.sqrt(np.maximum(part_TF.var(axis=0), 1e-10))
    return out_TF


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize(("num_frames", "window"), [(700, 300), (301, 300), (300, 300), (40, 300), (50, 7), (9, 2), (5, 1)])
def test_sliding_equals_the_loop(num_frames, window, variance):
    how = "sliding_mean_variance" if variance else "sliding_mean"
    feats_TF = feats(num_frames)
    expected_TF = sliding_loop(feats_TF.numpy().astype(np.float64), window, variance)
    np.testing.assert_allclose(normalise(feats_TF, how, window).numpy(), expected_TF, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variance", [False, True])
def test_sliding_equals_torchaudio(variance):
    how = "sliding_mean_variance" if variance else "sliding_mean"
    feats_TF = feats(450)
    expected_TF = torchaudio.functional.sliding_window_cmn(feats_TF.double(), cmn_window=300, center=True, norm_vars=variance)
    np.testing.assert_allclose(normalise(feats_TF, how, 300).numpy(), expected_TF.numpy(), rtol=0, atol=1e-5)


def test_sliding_keeps_its_digits_far_from_zero():
    feats_TF = feats(2000)
    np.testing.assert_allclose(
        normalise(feats_TF + 1000, "sliding_mean_variance").numpy(),
        normalise(feats_TF, "sliding_mean_variance").numpy(),
        rtol=0,
        atol=1e-3,  # float32 resolves 6e-5 at 1000
    )


def test_utterance_equals_numpy():
    feats_TF = feats(123).numpy().astype(np.float64)
    centred_TF = feats_TF - feats_TF.mean(axis=0)
    mean_TF = normalise(torch.from_numpy(feats_TF).float(), "utterance_mean").numpy()
    both_TF = normalise(torch.from_numpy(feats_TF).float(), "utterance_mean_variance").numpy()
    np.testing.assert_allclose(mean_TF, centred_TF, rtol=0, atol=1e-5)
    np.testing.assert_allclose(both_TF, centred_TF / feats_TF.std(axis=0), rtol=0, atol=1e-5)


def test_frames_have_mean_0_and_variance_1():
    out_TF = normalise_frames(feats(50, 40)).double()
    np.testing.assert_allclose(out_TF.mean(dim=1), 0, atol=1e-6)
    np.testing.assert_allclose(out_TF.var(dim=1, unbiased=False), 1, rtol=1e-5)
    assert torch.equal(normalise(feats(50, 40), "frame_mean_variance"), normalise_frames(feats(50, 40)))


@pytest.mark.parametrize("how", ["utterance_mean_variance", "frame_mean_variance", "sliding_mean_variance"])
def test_epsilon_is_added_to_the_deviation(how):
    feats_TF = feats(40).numpy().astype(np.float64)  # shorter than the sliding window: the utterance as a whole
    axis = 1 if how == "frame_mean_variance" else 0
    centred_TF = feats_TF - feats_TF.mean(axis=axis, keepdims=True)
    expected_TF = centred_TF / (feats_TF.std(axis=axis, keepdims=True) + 0.5)
    found_TF = normalise(torch.from_numpy(feats_TF).float(), how, epsilon=0.5)
    np.testing.assert_allclose(found_TF.numpy(), expected_TF, rtol=0, atol=1e-5)


def test_epsilon_is_added_to_the_deviation_of_each_window():
    feats_TF = feats(700)
    deviation_TF = (normalise(feats_TF, "sliding_mean") / normalise(feats_TF, "sliding_mean_variance")).double()
    expected_TF = normalise(feats_TF, "sliding_mean").double() / (deviation_TF + 0.5)
    found_TF = normalise(feats_TF, "sliding_mean_variance", epsilon=0.5)
    np.testing.assert_allclose(found_TF.numpy(), expected_TF.numpy(), rtol=0, atol=1e-4)


def test_epsilon_keeps_a_constant_bin_at_0():
    feats_TF = feats(400)
    feats_TF[:, 2] = 5.0
    for how in ("utterance_mean_variance", "sliding_mean_variance"):
        assert normalise(feats_TF, how, epsilon=1e-5)[:, 2].abs().max() == 0


@pytest.mark.parametrize("how", ["utterance_mean_variance", "sliding_mean_variance"])
def test_a_constant_bin_becomes_0(how):
    feats_TF = feats(400)
    feats_TF[:, 2] = 5.0
    out_TF = normalise(feats_TF, how)
    assert torch.isfinite(out_TF).all()
    assert out_TF[:, 2].abs().max() == 0


@pytest.mark.parametrize("how", ["utterance_mean", "sliding_mean_variance", "frame_mean_variance"])
def test_batch_equals_one_by_one(how):
    batch_BTF = torch.stack([feats(400), 2 * feats(400)])
    torch.testing.assert_close(normalise(batch_BTF, how)[1], normalise(batch_BTF[1], how))


def test_none_changes_nothing_and_other_words_are_refused():
    assert torch.equal(normalise(feats(9), "none"), feats(9))
    with pytest.raises(ValueError, match="sliding_variance"):
        normalise(feats(9), "sliding_variance")
