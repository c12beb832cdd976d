"""Attentive statistics pooling by loops over channels and frames."""

import math

import numpy as np
import pytest
import torch

from steps.nnet.attention import AttentiveStatisticsPooling


def pooling(channels=4, attention_dim=3, **options):
    torch.manual_seed(0)
    module = AttentiveStatisticsPooling(channels, attention_dim, **options).double().eval()
    for norm in module.hidden.children():
        if isinstance(norm, torch.nn.BatchNorm1d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    return module


def batch(num_frames=9):
    return torch.randn(3, 4, num_frames, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def by_loops(module, x_CT, global_context, with_norm):
    weight, bias = module.inner.weight.detach().numpy()[:, :, 0], module.inner.bias.detach().numpy()
    outer, outer_bias = module.outer.weight.detach().numpy()[:, :, 0], module.outer.bias.detach().numpy()
    mean, deviation = x_CT.mean(axis=1), np.sqrt(x_CT.var(axis=1) + 1e-10)
    logits = []
    for frame in x_CT.T:
        h = weight @ (np.concatenate([frame, mean, deviation]) if global_context else frame) + bias
        if with_norm:
            norm = module.hidden[1]
            h = np.maximum(h, 0) - norm.running_mean.numpy()
            h = h / np.sqrt(norm.running_var.numpy() + 1e-5) * norm.weight.detach().numpy() + norm.bias.detach().numpy()
        logits.append(outer @ np.tanh(h) + outer_bias)
    means, deviations = [], []
    for channel, values in enumerate(x_CT):
        exps = [math.exp(frame[channel]) for frame in logits]
        weights = [e / sum(exps) for e in exps]
        mu = sum(w * x for w, x in zip(weights, values, strict=True))
        means.append(mu)
        deviations.append(math.sqrt(sum(w * (x - mu) ** 2 for w, x in zip(weights, values, strict=True)) + 1e-10))
    return np.array(means + deviations)


@pytest.mark.parametrize("global_context", [True, False])
@pytest.mark.parametrize("hidden", ["tanh", "relu_bn_tanh"])
def test_pooling_is_its_formula_also_of_the_real_frames_of_a_padded_batch(global_context, hidden):
    module = pooling(global_context=global_context, hidden=hidden)
    x_BCT = batch()
    lengths = [9, 5, 2]
    expected = [
        by_loops(module, x_CT[:, :n].numpy(), global_context, hidden == "relu_bn_tanh")
        for x_CT, n in zip(x_BCT, lengths, strict=True)
    ]
    for x_CT, n in zip(x_BCT, lengths, strict=True):
        x_CT[:, n:] = math.inf
    mask_BT = torch.arange(9) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        np.testing.assert_allclose(module(x_BCT, mask_BT).numpy(), np.stack(expected), rtol=1e-9)
        np.testing.assert_allclose(module(x_BCT[:1]).numpy()[0], expected[0], rtol=1e-9)


def test_pooling_is_float32_under_autocast_and_its_gradient_is_right():
    module = pooling().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(batch().to(torch.bfloat16)).dtype == torch.float32
    module = pooling(hidden="relu_bn_tanh")
    mask_BT = torch.arange(5) < torch.tensor([5, 3, 2])[:, None]
    assert torch.autograd.gradcheck(lambda x: module(x, mask_BT), batch(5).requires_grad_())


def test_an_unknown_hidden_layer_is_refused():
    with pytest.raises(ValueError, match="hidden: expected 'tanh' or 'relu_bn_tanh', found 'relu'"):
        AttentiveStatisticsPooling(4, hidden="relu")
