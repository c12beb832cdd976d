"""ReDimNet against its blocks written anew in numpy, in float64, and the published counts."""

import tomllib
from math import erf
from pathlib import Path

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model, num_parameters
from steps.nnet.settings import ReDimNet
from tests.nnet.networks.contract import check_contract, feats, small_model

CONF = Path(__file__).resolve().parents[3] / "conf" / "model"
CONVNEXT = ReDimNet(
    channels=4,
    strides=(1, 2, 3),
    blocks=(1, 2, 1),
    expansions=(1, 1, 1),
    reductions=(0, 6, 3),
    group_channels=4,
    attention_dim=5,
    embedding_dim=6,
)
BASIC = ReDimNet(
    channels=3,
    strides=(2, 1),
    blocks=(1, 2),
    expansions=(2, 1),
    reductions=(3, 0),
    block="basic",
    group_channels=1,
    attention_dim=5,
    embedding_dim=6,
)
SMALL = [(CONVNEXT, 12), (BASIC, 8)]


@pytest.mark.parametrize(("settings", "num_bins"), SMALL)
def test_redimnets_hold_to_the_contract(settings, num_bins):
    check_contract(settings, num_bins)


@pytest.mark.parametrize(
    ("size", "num_bins", "found", "wespeaker"),
    # The authors print 1.0M, 2.2M and 4.7M. WeSpeaker's program prints what stands here behind its own (frozen) number 1 and
    # without the batch norm behind the pooling.
    [("b0", 60, 1_004_250, 1.0), ("b1", 72, 2_126_936, 2.1), ("b2", 72, 4_892_848, 4.9)],
)
def test_parameter_counts_are_those_of_the_public_programs(size, num_bins, found, wespeaker):
    values = tomllib.loads((CONF / f"redimnet_{size}.toml").read_text())["model"]
    settings = ReDimNet(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    with torch.device("meta"):
        count = num_parameters(build_model(settings, num_bins))
    assert count == found
    batch_norm = 2 * 2 * settings.channels * num_bins
    assert round((count - batch_norm + 1) / 1e6, 1) == wespeaker


def numbers(tensor):
    return tensor.detach().numpy()


def convolved(x, conv):
    """Returns [C, ..., T] convolved: the sum over kernel positions of the shifted input times a matrix per group."""
    weight, bias = numbers(conv.weight), 0.0 if conv.bias is None else numbers(conv.bias)
    x = np.pad(x, [(0, 0), *((pad, pad) for pad in conv.padding)])
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], conv.kernel_size, conv.stride, strict=True)]
    y = np.zeros((len(weight), *sizes))
    fan = weight.shape[1]
    for position in np.ndindex(*conv.kernel_size):
        window = tuple(slice(p, p + n * s, s) for p, n, s in zip(position, sizes, conv.stride, strict=True))
        seen = x[(slice(None), *window)]
        for out in range(len(weight)):
            first = out // (len(weight) // conv.groups) * fan
            y[out] += np.tensordot(weight[(out, slice(None), *position)], seen[first : first + fan], 1)
    return y + np.reshape(bias, (-1, *[1] * (y.ndim - 1)))


def batch_normed(x, norm, eps=1e-5):
    shape = (-1, *[1] * (x.ndim - 1))
    scale = numbers(norm.weight) / np.sqrt(norm.running_var.numpy() + eps)
    return (x - norm.running_mean.numpy().reshape(shape)) * scale.reshape(shape) + numbers(norm.bias).reshape(shape)


def layer_normed(x, norm):
    """Returns [C, ...] normalised over its channels."""
    shape = (-1, *[1] * (x.ndim - 1))
    centred = x - x.mean(0)
    return centred / np.sqrt((centred**2).mean(0) + 1e-6) * numbers(norm.weight).reshape(shape) + numbers(norm.bias).reshape(
        shape
    )


def gelu(x):
    return np.vectorize(lambda value: value * (1 + erf(value / 2**0.5)) / 2)(x)


def softmax(x, axis):
    shares = np.exp(x - x.max(axis, keepdims=True))
    return shares / shares.sum(axis, keepdims=True)


def convnext(x, block):
    return x + convolved(gelu(batch_normed(convolved(x, block.conv), block.norm)), block.mix)


def basic(x, block):
    y = batch_normed(np.maximum(convolved(convolved(x, block.conv1), block.mix1), 0), block.norm1)
    return np.maximum(batch_normed(convolved(convolved(y, block.conv2), block.mix2), block.norm2) + x, 0)


def affine(x_CT, linear):
    return numbers(linear.weight) @ x_CT + numbers(linear.bias)[:, None]


def encoded(x_CT, layer):
    query, key, value = (affine(x_CT, part) for part in (layer.query, layer.key, layer.value))
    size = len(x_CT) // 4
    seen = []
    for head in range(4):
        rows = slice(head * size, (head + 1) * size)
        weight_TT = softmax(query[rows].T @ key[rows] / np.sqrt(size), axis=1)
        seen.append(value[rows] @ weight_TT.T)
    x_CT = layer_normed(x_CT + affine(np.concatenate(seen), layer.out), layer.attention_norm)
    inner = affine(x_CT, layer.inner)
    inner = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    return layer_normed(x_CT + affine(inner, layer.outer), layer.norm)


def time_context(x_WT, block):
    inner = layer_normed(convolved(x_WT, block.narrow), block.norm)
    assert [conv.conv.kernel_size[0] for conv in block.convs] == [7, 19, 31, 59]
    for conv in block.convs:
        assert conv.conv.groups == len(inner)
        inner = convnext(inner, conv)
    return x_WT + convolved(encoded(inner, block.attention), block.widen)


def sequence_of(x_CFT):
    return np.stack([x_CFT[c, f] for f in range(x_CFT.shape[1]) for c in range(x_CFT.shape[0])])


def plane_of(x_WT, channels):
    bins = len(x_WT) // channels
    return np.stack([np.stack([x_WT[f * channels + c] for f in range(bins)]) for c in range(channels)])


def pooled(x_WT, pooling):
    mean, deviation = x_WT.mean(1, keepdims=True), np.sqrt(x_WT.var(1, keepdims=True) + 1e-10)
    context = np.concatenate([x_WT, mean + 0 * x_WT, deviation + 0 * x_WT])
    weight = softmax(convolved(np.tanh(convolved(context, pooling.inner)), pooling.outer), axis=1)
    mean = (weight * x_WT).sum(1)
    return np.concatenate([mean, np.sqrt((weight * x_WT**2).sum(1) - mean**2 + 1e-10)])


@pytest.mark.parametrize(("settings", "num_bins"), SMALL)
def test_redimnet_is_its_blocks_written_anew(settings, num_bins):
    model = small_model(settings, num_bins).double()
    for weighted_sum in model.sums:
        torch.nn.init.normal_(weighted_sum.logits_NW)
    feats_BTF = feats(1, 13, num_bins).double()
    sequences = [sequence_of(layer_normed(convolved(feats_BTF[0].numpy().T[None], model.stem), model.stem_norm))]
    total, channels, bins = sequences[0], settings.channels, num_bins
    for number, stage in enumerate(model.stages):
        x = convolved(plane_of(total, channels), stage.down)
        channels, bins = channels * settings.strides[number], bins // settings.strides[number]
        assert x.shape == (channels * settings.expansions[number], bins, 13)
        assert len(stage.blocks) == settings.blocks[number]
        for block in stage.blocks:
            x = convnext(x, block) if settings.block == "convnext" else basic(x, block)
        if settings.expansions[number] > 1:
            squeeze = stage.squeeze
            x = convolved(gelu(batch_normed(convolved(x, squeeze.conv), squeeze.norm, 1e-6)), squeeze.mix)
        x = sequence_of(x)
        sequences.append(time_context(x, stage.context) if settings.reductions[number] else x)
        weights = softmax(numbers(model.sums[number].logits_NW), axis=0)
        total = sum(weight[:, None] * x for weight, x in zip(weights, sequences, strict=True))
    vector = batch_normed(pooled(total, model.pooling), model.pooling_norm)
    expected = numbers(model.embedding.weight) @ vector + numbers(model.embedding.bias)
    with torch.no_grad():
        np.testing.assert_allclose(model(feats_BTF)[0].numpy(), expected, rtol=1e-8)


def test_fresh_sums_weigh_all_sequences_alike():
    model = build_model(CONVNEXT, 12)
    ones, threes = torch.ones(1, 48, 2), torch.full((1, 48, 2), 3.0)
    torch.testing.assert_close(model.sums[0]([ones, threes]), torch.full((1, 48, 2), 2.0))


@pytest.mark.parametrize(
    ("values", "num_bins", "message"),
    [
        ({}, 80 + 1, "feature bins divisible by 8, found 81"),
        ({"channels": 11}, 72, "equal groups"),
        ({"reductions": (12, 12, 12, 8, 8, 10)}, 72, "divisible by 4 heads"),
        ({"strides": (1, 2)}, 72, "as many strides as blocks"),
        ({"reductions": (-1, 12, 12, 8, 8, 4)}, 72, "at least 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, num_bins, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build_model(ReDimNet(**values), num_bins)


def test_embeddings_are_float32_and_near_the_same_under_bfloat16_autocast():
    model = small_model(CONVNEXT, 12)
    feats_BTF = feats(3, 60, 12)
    with torch.no_grad():
        full_BD = model(feats_BTF)
        with torch.autocast("cpu", torch.bfloat16):
            half_BD = model(feats_BTF)
    assert half_BD.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(half_BD, full_BD).min() > 0.99
