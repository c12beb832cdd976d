import numpy as np
import pytest
import torch

from steps.nnet.pooling import GlobalMaxPooling, GlobalMeanPooling, MaxPooling, MeanPooling, StatisticsPooling, statistics


def test_statistics_are_those_of_the_formula():
    x_BCT = torch.randn(3, 4, 50, generator=torch.Generator().manual_seed(1)).double()
    mean, deviation = statistics(x_BCT)
    x = x_BCT.numpy()
    expected = np.sqrt((x**2).mean(-1) - x.mean(-1) ** 2 + 1e-10)
    np.testing.assert_allclose(mean.numpy(), x.mean(-1), rtol=1e-12)
    np.testing.assert_allclose(deviation.numpy(), expected, rtol=1e-12)


def test_pooled_vector_has_all_means_channel_by_channel_then_all_deviations():
    x_BCFT = torch.randn(2, 3, 5, 20, generator=torch.Generator().manual_seed(2))
    pooled = StatisticsPooling()(x_BCFT)
    x = x_BCFT.numpy()
    np.testing.assert_allclose(pooled.numpy(), np.hstack([x.mean(-1).reshape(2, 15), x.std(-1).reshape(2, 15)]), 1e-5)
    np.testing.assert_array_equal(MeanPooling()(x_BCFT), pooled[:, :15])


POOLINGS = [MeanPooling(), StatisticsPooling(), MaxPooling(), GlobalMeanPooling(), GlobalMaxPooling()]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_masked_frames_count_for_nothing_whatever_is_in_them(pooling):
    x_BCFT = torch.randn(2, 3, 5, 20, generator=torch.Generator().manual_seed(3)) - 3.0
    x_BCFT[1, :, :, 13:] = torch.nan
    mask_BT = torch.arange(20) < torch.tensor([[20], [13]])
    pooled = pooling(x_BCFT, mask_BT)
    torch.testing.assert_close(pooled[:1], pooling(x_BCFT[:1]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(pooled[1:], pooling(x_BCFT[1:, :, :, :13]), rtol=1e-6, atol=1e-6)


def test_a_constant_channel_has_the_floor_as_deviation_and_a_finite_gradient():
    # 1000.1 is not a float32: E[x^2] - E[x]^2 taken literally would be off by whole units here.
    x_BCT = torch.full((1, 1, 30), 1000.1, requires_grad=True)
    mean, deviation = statistics(x_BCT)
    assert mean.item() == pytest.approx(1000.1)
    assert deviation.item() <= 2e-4
    deviation.sum().backward()
    assert torch.isfinite(x_BCT.grad).all()


def test_bfloat16_frames_are_summed_in_float32():
    x_BCT = torch.ones(1, 1, 1000, dtype=torch.bfloat16)
    x_BCT[..., :500] = 3.0
    pooled = StatisticsPooling()(x_BCT)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 1.0]]))


def test_maxima_are_over_time_per_channel_and_bin_or_over_both():
    x_BCFT = torch.randn(2, 3, 5, 20, generator=torch.Generator().manual_seed(4)) - 10.0
    x = x_BCFT.numpy()
    np.testing.assert_array_equal(MaxPooling()(x_BCFT), [[max(row) for plane in clip for row in plane] for clip in x])
    np.testing.assert_array_equal(GlobalMaxPooling()(x_BCFT), [[plane.max() for plane in clip] for clip in x])


def test_global_mean_is_over_all_bins_and_frames_of_a_channel():
    x_BCFT = torch.randn(2, 3, 5, 20, generator=torch.Generator().manual_seed(5))
    expected = [[plane.mean() for plane in clip] for clip in x_BCFT.numpy()]
    np.testing.assert_allclose(GlobalMeanPooling()(x_BCFT), expected, rtol=1e-5, atol=1e-7)
