"""Masks over time and frequency."""

import numpy as np
import pytest

from steps.signal.settings import SpecAugment
from steps.signal.specaugment import spec_augment


def masks_of(settings: SpecAugment, shape: tuple[int, int], count: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([spec_augment(np.ones(shape), rng, settings) == 0 for _ in range(count)])


def test_a_time_mask_is_a_run_of_whole_frames_of_every_length_up_to_the_limit():
    settings = SpecAugment(p=1.0, num_time_masks=1, max_time_frames=10)
    masks_NTF = masks_of(settings, (100, 4))
    assert (masks_NTF.all(axis=2) == masks_NTF.any(axis=2)).all()
    masks_NT = masks_NTF.any(axis=2)
    lengths = masks_NT.sum(axis=1)
    assert set(lengths) == set(range(11))
    assert ((np.diff(masks_NT.astype(int), axis=1, prepend=0) == 1).sum(axis=1) <= 1).all()
    assert lengths.mean() == pytest.approx(5, abs=0.3)  # 2000 draws of variance 10: 4 standard errors
    assert masks_NT.any(axis=0).all()


def test_a_frequency_mask_covers_whole_bins():
    masks_NTF = masks_of(SpecAugment(p=1.0, num_freq_masks=1, max_freq_bins=3), (10, 20))
    assert (masks_NTF.all(axis=1) == masks_NTF.any(axis=1)).all()
    assert set(masks_NTF.any(axis=1).sum(axis=1)) == {0, 1, 2, 3}


def test_p_is_the_share_of_masked_examples():
    settings = SpecAugment(p=0.3, num_time_masks=3, max_time_frames=40)
    share = masks_of(settings, (100, 2)).any(axis=(1, 2)).mean()
    assert share == pytest.approx(0.3, abs=0.05)


def test_at_least_half_of_a_short_example_is_left():
    assert masks_of(SpecAugment(p=1.0, num_time_masks=1, max_time_frames=50), (9, 2)).any(axis=2).sum(axis=1).max() == 4


def test_the_features_given_are_not_changed_and_the_generator_decides():
    settings = SpecAugment(p=1.0, num_time_masks=2, max_time_frames=20, num_freq_masks=1, max_freq_bins=10)
    feats_TF = np.random.default_rng(1).standard_normal((200, 40)).astype(np.float32)
    before_TF = feats_TF.copy()
    first_TF, again_TF = (spec_augment(feats_TF, np.random.default_rng(5), settings) for _ in range(2))
    assert np.array_equal(feats_TF, before_TF)
    assert np.array_equal(first_TF, again_TF)
    assert first_TF.dtype == np.float32
    assert np.array_equal(first_TF[first_TF != 0], feats_TF[first_TF != 0])


def test_without_masks_the_features_come_back():
    feats_TF = np.ones((5, 5))
    assert spec_augment(feats_TF, np.random.default_rng(0), SpecAugment()) is feats_TF
