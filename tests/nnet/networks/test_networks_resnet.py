"""Parameter counts are the published ones; forward passes against torch's functions put together anew, or numpy."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from steps.nnet.models import build_model, num_parameters
from steps.nnet.residual import simam
from steps.nnet.settings import ResNet, XVector
from tests.nnet.networks.contract import check_contract, feats, small_model

SMALL = {"channels": 4, "embedding_dim": 6}
BOTTLENECK = ResNet(block="bottleneck", blocks=(1, 2, 1, 1), **SMALL)
SIMAM = ResNet(blocks=(1, 2, 1, 1), attention="simam", pooling="channel_attentive_bn", attention_dim=5, **SMALL)
SIMAM_34 = {"channels": 64, "attention": "simam", "pooling": "channel_attentive_bn"}


@pytest.mark.parametrize(
    ("settings", "published", "exact"),
    [
        # WeSpeaker, examples/voxceleb/v2/README.md, with the digits it prints (cut off, not rounded)
        (ResNet(), "6.63", 6_634_336),
        (ResNet(block="bottleneck", blocks=(6, 16, 48, 3)), "23.79", 23_792_224),
        (ResNet(block="bottleneck", blocks=(10, 20, 64, 3)), "28.62", 28_626_016),
        (ResNet(**SIMAM_34), "25.2", 25_213_760),
        (ResNet(blocks=(6, 16, 24, 3), **SIMAM_34), "50.2", 50_232_896),
        # printed of ResNet101 when there was a second layer of 256 x 256 + 256 behind the embedding
        (ResNet(block="bottleneck", blocks=(3, 4, 23, 3)), "15.95", 15_892_448 + 256 * 257),
    ],
)
def test_parameter_counts_are_the_published_ones(settings, published, exact):
    with torch.device("meta"):
        found = num_parameters(build_model(settings, 80))
    second_layer = 256 * 257 if published == "15.95" else 0
    assert found + second_layer == exact
    assert str(exact / 1e6).startswith(published)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ResNet(blocks=(2, 2, 2, 2)), 4_105_440),
        (ResNet(block="bottleneck"), 11_131_360),
        (ResNet(block="bottleneck", blocks=(3, 8, 36, 3)), 19_814_880),
    ],
)
def test_counts_of_the_depths_that_nobody_prints_add_up(settings, expected):
    expansion = 4 if settings.block == "bottleneck" else 1
    count, width = 9 * 32 + 2 * 32, 32
    for group, num_blocks in enumerate(settings.blocks):
        c = 32 * 2**group
        kernels = [1, 9, 1] if expansion == 4 else [9, 9]
        outs = [c] * (len(kernels) - 1) + [expansion * c]
        for number in range(num_blocks):
            for kernel, previous, out in zip(kernels, [width, *outs], outs, strict=False):
                count += kernel * previous * out + 2 * out
            if width != outs[-1] or (group and number == 0):
                count += width * outs[-1] + 2 * outs[-1]
            width = outs[-1]
    assert count + 256 * (2 * 10 * width + 1) == expected
    with torch.device("meta"):
        assert num_parameters(build_model(settings, 80)) == expected


@pytest.mark.parametrize(
    ("settings", "num_bins", "trunk", "total"),
    [
        (ResNet(channels=16, pooling="global_mean", embedding_dim=128), 64, 1_333_040, 1_349_552),
        (ResNet(channels=32, pooling="global_mean", embedding_dim=128), 64, 5_323_360, 5_356_256),
        (ResNet(pooling="attentive_statistics", heads=4, embedding_dim=128), 80, 5_323_360, 6_307_172),
    ],
)
def test_counts_of_the_networks_with_other_poolings(settings, num_bins, trunk, total):
    # 1.33M and 5.32M before the pooling, then 128 x 129 and 256 x 128 + 128;
    # attention 2560 x 128 + 128 + 4 x 129, then 5120 x 128 + 128
    with torch.device("meta"):
        model = build_model(settings, num_bins)
    assert sum(map(num_parameters, model.frame_part())) == trunk
    assert num_parameters(model) == total


@pytest.mark.parametrize(
    "settings",
    [
        BOTTLENECK,
        SIMAM,
        ResNet(blocks=(1, 1, 1, 1), pooling="global_mean", attention="simam", **SMALL),
        ResNet(blocks=(1, 1, 1, 1), pooling="global_max", head_input="bn_relu", **SMALL),
        ResNet(blocks=(1, 1, 1, 1), pooling="attentive_statistics", attention_dim=5, heads=4, **SMALL),
        ResNet(blocks=(1, 1, 1, 1), pooling="channel_attentive", attention_dim=5, embedding_norm=True, **SMALL),
        ResNet(blocks=(1, 1, 1, 1), pooling="multi_head", heads=8, block="bottleneck", **SMALL),
        ResNet(blocks=(1, 1, 1, 1), pooling="multi_query", attention_dim=5, heads=8, queries=2, **SMALL),
        XVector(channels=(8, 12), kernel_sizes=(3, 3), dilations=(1, 3), pooling="multi_query", queries=3, embedding_dim=6),
        XVector(channels=(8, 12), kernel_sizes=(3, 3), dilations=(1, 3), pooling="max", embedding_dim=6, segment_layers=1),
    ],
)
def test_networks_with_these_settings_hold_to_the_contract(settings):
    check_contract(settings)


def convolved(x, conv):
    return functional.conv2d(x, conv.weight, stride=conv.stride, padding=[size // 2 for size in conv.kernel_size])


def normed(x, norm):
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    return x * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]


def shortcut(x, block):
    return x if isinstance(block.shortcut, torch.nn.Identity) else normed(convolved(x, block.shortcut[0]), block.shortcut[1])


def test_bottlenecks_have_their_stride_on_the_middle_convolution_and_widen_four_times():
    model = small_model(BOTTLENECK).double()
    feats_BTF = feats(2, 21).double()
    with torch.no_grad():
        x = torch.relu(normed(convolved(feats_BTF.mT[:, None], model.conv), model.norm))
        channels = 4
        for group, blocks in enumerate(model.groups):
            for number, block in enumerate(blocks):
                stride = 2 if group > 0 and number == 0 else 1
                assert [c.kernel_size[0] for c in (block.conv1, block.conv2, block.conv3)] == [1, 3, 1]
                assert [c.stride[0] for c in (block.conv1, block.conv2, block.conv3)] == [1, stride, 1]
                y = torch.relu(normed(convolved(x, block.conv1), block.norm1))
                y = torch.relu(normed(convolved(y, block.conv2), block.norm2))
                x = torch.relu(normed(convolved(y, block.conv3), block.norm3) + shortcut(x, block))
                assert x.shape[1] == 4 * channels
            channels *= 2
        assert x.shape == (2, 128, 3, 3)
        x = x.flatten(1, 2).numpy()
        pooled = np.hstack([x.mean(-1), np.sqrt(x.var(-1) + 1e-10)])
        expected = pooled @ model.embedding.weight.numpy().T + model.embedding.bias.numpy()
        np.testing.assert_allclose(model(feats_BTF).numpy(), expected, rtol=1e-9)


def simam_by_loops(plane_FT):
    """Returns one plane gated by the inverse energy of each of its values, from the energy's closed form (equation 4)."""
    rest = plane_FT.size - 1
    mean = sum(plane_FT.flat) / plane_FT.size
    variance = sum((value - mean) ** 2 for value in plane_FT.flat) / rest
    gated = np.empty_like(plane_FT)
    for place, value in np.ndenumerate(plane_FT):
        energy = 4 * (variance + 1e-4) / ((value - mean) ** 2 + 2 * variance + 2e-4)
        gated[place] = value / (1 + np.exp(-1 / energy))
    return gated


def test_simam_divides_by_the_energy_of_each_value():
    x_BCFT = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    x_BCFT[0, 0] = 0.001 * x_BCFT[0, 0]
    expected = [[simam_by_loops(plane) for plane in clip] for clip in x_BCFT.numpy()]
    np.testing.assert_allclose(simam(x_BCFT).numpy(), expected, rtol=1e-12)


def test_simam_sees_no_padding():
    x_BCFT = torch.randn(2, 3, 4, 9, generator=torch.Generator().manual_seed(2)).double()
    x_BCFT[1, ..., 5:] = torch.nan
    found = simam(x_BCFT, torch.arange(9) < torch.tensor([[9], [5]]))
    torch.testing.assert_close(found[0], simam(x_BCFT[:1])[0])
    torch.testing.assert_close(found[1, ..., :5], simam(x_BCFT[1:, ..., :5])[0])


def test_simam_networks_gate_before_the_shortcut_is_added():
    model = small_model(SIMAM).double()
    feats_BTF = feats(1, 21).double()
    with torch.no_grad():
        x = torch.relu(normed(convolved(feats_BTF.mT[:, None], model.conv), model.norm))
        for blocks in model.groups:
            for block in blocks:
                y = torch.relu(normed(convolved(x, block.conv1), block.norm1))
                y = normed(convolved(y, block.conv2), block.norm2)
                y = torch.from_numpy(np.stack([simam_by_loops(plane) for plane in y[0].numpy()]))[None]
                x = torch.relu(y + shortcut(x, block))
        expected = model.embedding(model.pooling(x))
        np.testing.assert_allclose(model(feats_BTF).numpy(), expected.numpy(), rtol=1e-9)


def test_simam_in_bottlenecks_is_refused():
    with pytest.raises(ValueError, match="'simam' goes with block 'basic'"):
        ResNet(block="bottleneck", attention="simam")


@pytest.mark.parametrize("settings", [BOTTLENECK, SIMAM])
def test_embeddings_are_near_the_same_under_bfloat16_autocast(settings):
    model = small_model(settings)
    feats_BTF = feats(3, 60)
    with torch.no_grad():
        full_BD = model(feats_BTF)
        with torch.autocast("cpu", torch.bfloat16):
            half_BD = model(feats_BTF)
    assert half_BD.dtype == torch.float32
    assert functional.cosine_similarity(half_BD, full_BD).min() > 0.99
