"""Every pooling against its formula by loops over clips, heads, queries and frames, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from steps.nnet.choose_pooling import build_pooling
from steps.nnet.settings import ResNet, XVector

# 6 channels x 2 bins, 9 frames
SHAPE = (3, 6, 2, 9)
SETTINGS = {
    "attentive_statistics": ResNet(pooling="attentive_statistics", attention_dim=5),
    "attentive_statistics, heads": ResNet(pooling="attentive_statistics", attention_dim=5, heads=4),
    "channel_attentive": ResNet(pooling="channel_attentive", attention_dim=5),
    "channel_attentive_bn": ResNet(pooling="channel_attentive_bn", attention_dim=5),
    "multi_head": ResNet(pooling="multi_head", heads=3),
    "multi_query": ResNet(pooling="multi_query", attention_dim=5, heads=3, queries=2),
}


def pooling_of(name):
    """Returns the pooling for 12 channels, its weights large enough that no two frames weigh the same, and its dim."""
    torch.manual_seed(0)
    pooling, dim = build_pooling(SETTINGS[name], 6, 2)
    for parameter in pooling.parameters():
        torch.nn.init.normal_(parameter)
    for module in pooling.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return pooling.double().eval(), dim


def planes(seed=1):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).double()


def numbers(module):
    """Returns a 1x1 convolution's weight as a matrix, and its bias."""
    return module.weight.detach().numpy()[:, :, 0], module.bias.detach().numpy()


def softmax(logits):
    shares = [np.exp(logit - max(logits)) for logit in logits]
    return [share / sum(shares) for share in shares]


def moments(values, weights):
    """Returns the weighted mean and deviation of one channel."""
    mean = sum(w * v for w, v in zip(weights, values, strict=True))
    return mean, np.sqrt(sum(w * v**2 for w, v in zip(weights, values, strict=True)) - mean**2 + 1e-10)


def means_then_deviations(pairs):
    return [mean for mean, _ in pairs] + [deviation for _, deviation in pairs]


def attentive_statistics(pooling, x_CT):
    (inner, b), (outer, k) = numbers(pooling.inner), numbers(pooling.outer)
    pairs = []
    for c, values in enumerate(x_CT):
        head = c * len(k) // len(x_CT)
        weights = softmax([outer[head] @ np.tanh(inner @ frame + b) + k[head] for frame in x_CT.T])
        pairs.append(moments(values, weights))
    return means_then_deviations(pairs)


def channel_attentive(pooling, x_CT):
    (inner, b), (outer, k) = numbers(pooling.inner), numbers(pooling.outer)
    logits_TC = [outer @ np.tanh(inner @ frame + b) + k for frame in x_CT.T]
    return means_then_deviations([moments(values, softmax([row[c] for row in logits_TC])) for c, values in enumerate(x_CT)])


def channel_attentive_bn(pooling, x_CT):
    (inner, b), (outer, k) = numbers(pooling.inner), numbers(pooling.outer)
    norm = pooling.norm
    mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
    scale, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    pairs = []
    for c, values in enumerate(x_CT):
        hidden_TH = [(np.maximum(inner @ frame + b, 0) - mean) / np.sqrt(var + 1e-5) * scale + shift for frame in x_CT.T]
        pairs.append(moments(values, softmax([outer[c] @ hidden + k[c] for hidden in hidden_TH])))
    return means_then_deviations(pairs)


def multi_head(pooling, x_CT):
    pooled = []
    for head, query in enumerate(pooling.query_HG.detach().numpy()):
        group_GT = x_CT[head * len(query) : (head + 1) * len(query)]
        weights = softmax([query @ frame / np.sqrt(len(query)) for frame in group_GT.T])
        pooled += list(group_GT @ weights)
    return pooled


def multi_query(pooling, x_CT):
    heads, queries, hidden, group = 3, 2, 5, 4
    (inner, b), (outer, k) = numbers(pooling.inner), numbers(pooling.outer)
    pooled = []
    for query in range(queries):
        pairs = []
        for head in range(heads):
            group_GT = x_CT[head * group : (head + 1) * group]
            units = slice((head * queries + query) * hidden, (head * queries + query + 1) * hidden)
            for g in range(group):
                row = (head * queries + query) * group + g
                logits = [outer[row] @ np.tanh(inner[units] @ frame + b[units]) + k[row] for frame in group_GT.T]
                pairs.append(moments(group_GT[g], softmax(logits)))
        pooled += means_then_deviations(pairs)
    return pooled


@pytest.mark.parametrize("name", SETTINGS)
def test_poolings_with_attention_are_their_formula_computed_by_loops(name):
    pooling, dim = pooling_of(name)
    by_loops = globals()[SETTINGS[name].pooling]
    with torch.no_grad():
        found_BD = pooling(planes()).numpy()
    assert found_BD.shape == (3, dim)
    expected_BD = [by_loops(pooling, clip.numpy().reshape(12, 9)) for clip in planes()]
    # the formula takes the difference of two squares, ours does not: tiny deviations differ in the twelfth decimal
    np.testing.assert_allclose(found_BD, expected_BD, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", SETTINGS)
def test_masked_frames_count_for_nothing_whatever_is_in_them(name):
    pooling, _ = pooling_of(name)
    x_BCFT = planes()
    x_BCFT[1, :, :, 4:] = torch.nan
    mask_BT = torch.arange(9) < torch.tensor([[9], [4], [9]])
    with torch.no_grad():
        found_BD = pooling(x_BCFT, mask_BT)
        torch.testing.assert_close(found_BD[1:2], pooling(x_BCFT[1:2, :, :, :4]))
        torch.testing.assert_close(found_BD[::2], pooling(x_BCFT[::2]))


def test_padding_does_not_enter_the_batch_norm_of_the_attention():
    padded, alone = pooling_of("channel_attentive_bn")[0].train(), pooling_of("channel_attentive_bn")[0].train()
    x_BCFT = planes()
    mask_BT = torch.arange(12) < torch.tensor([[9], [9], [9]])
    longer_BCFT = torch.cat([x_BCFT, torch.full((3, 6, 2, 3), 1e3).double()], dim=3)
    torch.testing.assert_close(padded(longer_BCFT, mask_BT), alone(x_BCFT))
    torch.testing.assert_close(padded.norm.running_mean, alone.norm.running_mean)
    torch.testing.assert_close(padded.norm.running_var, alone.norm.running_var)


@pytest.mark.parametrize("name", SETTINGS)
def test_sums_are_in_float32_under_autocast_and_gradients_finite_in_a_silent_channel(name):
    pooling, _ = pooling_of(name)
    x_BCFT = planes().float()
    x_BCFT[:, 0] = 0.0
    with torch.autocast("cpu", torch.bfloat16):
        pooled_BD = pooling.float()(x_BCFT.requires_grad_())
    assert pooled_BD.dtype == torch.float32
    pooled_BD.sum().backward()
    assert torch.isfinite(x_BCFT.grad).all()


@pytest.mark.parametrize(
    ("settings", "channels", "bins", "parameters", "dim"),
    [
        (ResNet(pooling="global_mean"), 256, 10, 0, 256),
        (ResNet(pooling="max"), 256, 10, 0, 2560),
        # Okabe: D * A + A, A + 1 per head
        (ResNet(pooling="attentive_statistics", heads=4), 256, 10, 2560 * 128 + 128 + 4 * 129, 5120),
        # India: one query per head, D numbers in all
        (XVector(pooling="multi_head", heads=4), 1500, 1, 1500, 1500),
        # WeSpeaker's MQMHASTP(2560): 16 networks 320 -> 64 -> 320
        (
            ResNet(pooling="multi_query", attention_dim=64, heads=8, queries=2),
            *(256, 10),
            16 * (320 * 64 + 64 + 64 * 320 + 320),
            10240,
        ),
    ],
)
def test_parameters_and_dimensions_are_those_of_the_sources(settings, channels, bins, parameters, dim):
    with torch.device("meta"):
        pooling, found = build_pooling(settings, channels, bins)
    assert (sum(p.numel() for p in pooling.parameters()), found) == (parameters, dim)


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="divisor of the 12 channels to pool, found 5"):
        build_pooling(replace(SETTINGS["multi_head"], heads=5), 6, 2)


@pytest.mark.parametrize(
    "values",
    [
        {"pooling": "mean", "heads": 2},
        {"pooling": "statistics", "attention_dim": 64},
        {"pooling": "multi_head", "attention_dim": 64},
        {"pooling": "channel_attentive", "heads": 4},
        {"pooling": "attentive_statistics", "queries": 2},
    ],
)
def test_a_setting_that_the_pooling_has_no_use_for_is_refused(values):
    with pytest.raises(ValueError, match="has no use for it"):
        ResNet(**values)


def test_poolings_over_bins_are_not_for_networks_without_bins():
    with pytest.raises(ValueError, match=r"XVector.pooling: expected one of .*, found 'global_mean'"):
        XVector(pooling="global_mean")
