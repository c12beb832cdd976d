"""CAM++ written out with functional calls and loops over segments; the count as published."""

import pytest
import torch
from torch.nn import functional

from steps.nnet.models import build_model, num_parameters
from steps.nnet.networks.campplus import segment_means
from steps.nnet.settings import CAMPPlus
from tests.nnet.networks.contract import check_contract, feats, small_model

SIZES = {"front_channels": 4, "init_channels": 6, "growth": 3, "bottleneck_factor": 2, "embedding_dim": 7}
SMALL = CAMPPlus(**SIZES, layers=(2, 3, 1), segment_frames=6)


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        CAMPPlus(**SIZES, front_blocks=(1, 3), layers=(2, 1), dilations=(2, 3), embedding_norm=False),
        CAMPPlus(**{**SIZES, "front_channels": 16}, layers=(1,), dilations=(1,), segment_frames=1),
    ],
)
@pytest.mark.parametrize("num_bins", [20, 17])
def test_contract(settings, num_bins):
    check_contract(settings, num_bins)


def test_parameters_are_those_that_3d_speaker_and_wespeaker_print():
    with torch.device("meta"):
        model = build_model(CAMPPlus(), 80)
    assert num_parameters(model) == 7_176_224
    assert round(num_parameters(model) / 1e6, 2) == 7.18
    assert model.min_frames == 3
    # 128 + 12 * 32 = 512, halved; 256 + 24 * 32 = 1024, halved; 512 + 16 * 32 = 1024, halved
    assert [transition[2].weight.shape[:2] for transition in model.transitions] == [(256, 512), (512, 1024), (512, 1024)]


def normed(x, norm):
    return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def front_block(x, block, stride):
    y = functional.relu(normed(functional.conv2d(x, block.conv1.weight, stride=(stride, 1), padding=1), block.norm1))
    y = normed(functional.conv2d(y, block.conv2.weight, padding=1), block.norm2)
    if stride == 2:
        x = normed(functional.conv2d(x[:, :, ::2], block.shortcut[0].weight), block.shortcut[1])
    return functional.relu(x + y)


def masked_layer(x, layer, dilation, segment):
    """One layer of a dense block; the mask frame by frame, from the mean of its own segment."""
    h = torch.einsum("oi,bit->bot", layer.bottleneck[2].weight[:, :, 0], functional.relu(normed(x, layer.bottleneck[0])))
    h = functional.relu(normed(h, layer.norm))
    local = functional.conv1d(h, layer.conv.weight, padding=dilation, dilation=dilation)
    masks = []
    for t in range(h.shape[2]):
        start = t // segment * segment
        context = h.mean(dim=2) + h[:, :, start : start + segment].mean(dim=2)
        inner = functional.relu(context @ layer.inner.weight[:, :, 0].T + layer.inner.bias)
        masks.append(torch.sigmoid(inner @ layer.outer.weight[:, :, 0].T + layer.outer.bias))
    return local * torch.stack(masks, dim=2)


@torch.no_grad()
def by_hand(model, feats_BTF, dilations, segment):
    x = feats_BTF.transpose(1, 2)[:, None]
    x = functional.relu(normed(functional.conv2d(x, model.front.conv1.weight, padding=1), model.front.norm1))
    for block, stride in zip(model.front.blocks, (2, 1, 2, 1), strict=True):
        x = front_block(x, block, stride)
    x = functional.relu(normed(functional.conv2d(x, model.front.conv2.weight, stride=(2, 1), padding=1), model.front.norm2))
    batch, channels, bins, num_frames = x.shape
    x = x.reshape(batch, channels * bins, num_frames)
    x = functional.relu(normed(functional.conv1d(x, model.tdnn.weight, stride=2, padding=2), model.norm))
    for layers, transition, dilation in zip(model.blocks, model.transitions, dilations, strict=True):
        for layer in layers:
            x = torch.cat([x, masked_layer(x, layer, dilation, segment)], dim=1)
        x = torch.einsum("oi,bit->bot", transition[2].weight[:, :, 0], functional.relu(normed(x, transition[0])))
    x = functional.relu(normed(x, model.out_norm))
    pooled = torch.cat([x.mean(dim=2), (x.var(dim=2, unbiased=False) + 1e-10).sqrt()], dim=1)
    return normed(pooled @ model.embedding.weight.T, model.center)


@pytest.mark.parametrize("num_frames", [31, 48])
def test_network_is_the_published_one_written_out(num_frames):
    model = small_model(SMALL).double()
    feats_BTF = feats(2, num_frames).double()
    with torch.no_grad():
        found = model(feats_BTF)
    assert model.embedding.bias is None
    torch.testing.assert_close(found, by_hand(model, feats_BTF, (1, 2, 2), 6), rtol=1e-9, atol=1e-10)


def test_segments_have_the_means_of_torchs_pooling_and_of_their_real_frames():
    x_BCT = torch.randn(2, 3, 25, generator=torch.Generator().manual_seed(4))
    expected = functional.avg_pool1d(x_BCT, 10, stride=10, ceil_mode=True)
    torch.testing.assert_close(segment_means(x_BCT, 10), expected)
    mask_BT = torch.arange(25) < torch.tensor([[25], [13]])
    found = segment_means(x_BCT * mask_BT[:, None], 10, mask_BT)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1, :, 0], x_BCT[1, :, :10].mean(dim=1))
    torch.testing.assert_close(found[1, :, 1], x_BCT[1, :, 10:13].mean(dim=1))
    assert found[1, :, 2].eq(0).all()


def test_layers_and_dilations_must_go_together():
    with pytest.raises(ValueError, match="as many layers as dilations"):
        CAMPPlus(layers=(2, 2))
