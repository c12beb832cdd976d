"""The CNN of the pairwise KL loss against sums over kernel positions, and its segments against clips cut by hand."""

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model, num_parameters
from steps.nnet.settings import SegmentCNN
from tests.nnet.networks.contract import check_contract, feats, small_model

SMALL = SegmentCNN(channels=(3, 5), segment_frames=21, embedding_dim=11, dense_dim=7)


@pytest.mark.parametrize("settings", [SMALL, SegmentCNN(channels=(16, 16), segment_frames=24, embedding_dim=6, dense_dim=4)])
def test_the_contract_of_networks(settings):
    check_contract(settings, num_frames=75)


def test_parameters_are_those_of_the_layers_for_100_speakers():
    frames, bins = (((size - 3 - 2) // 2 - 3 - 2) // 2 for size in (100, 128))
    convolutions = 32 * (16 + 1) + 64 * (32 * 16 + 1)
    norms = 2 * (32 + 64 + 1000)
    dense = (64 * frames * bins + 1) * 1000 + (1000 + 1) * 500
    with torch.device("meta"):
        assert num_parameters(build_model(SegmentCNN(), 128)) == convolutions + norms + dense == 38_169_068


def normed(x, module):
    shape = (-1,) + (1,) * (x.ndim - 1)
    mean, var, weight, bias = (
        each.detach().numpy().reshape(shape) for each in (module.running_mean, module.running_var, module.weight, module.bias)
    )
    return (x - mean) / np.sqrt(var + 1e-4) * weight + bias


def block(x_CFT, conv, norm):
    """Valid 4x4 convolution, ReLU, BN, and the maximum of 4x4 positions, two apart."""
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    rows, columns = (size - 3 for size in x_CFT.shape[1:])
    y = np.zeros((len(weight), rows, columns)) + bias[:, None, None]
    for f in range(4):
        for t in range(4):
            y += np.einsum("oc,cft->oft", weight[:, :, f, t], x_CFT[:, f : f + rows, t : t + columns])
    y = normed(np.maximum(y, 0), norm)
    places = [[(f, t) for t in range(0, columns - 3, 2)] for f in range(0, rows - 3, 2)]
    return np.stack([np.stack([y[:, f : f + 4, t : t + 4].max((1, 2)) for f, t in row], axis=1) for row in places], axis=1)


def by_hand(model, segment_TF):
    conv1, _, norm1, _, conv2, _, norm2, _ = model.blocks
    x = block(block(segment_TF.T[None], conv1, norm1), conv2, norm2)
    weight, bias = model.embedding.weight.detach().numpy(), model.embedding.bias.detach().numpy()
    return np.maximum(weight @ x.ravel() + bias, 0)


def biased(settings):
    model = small_model(settings).double()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.normal_(module.bias)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.weight)
    return model


def test_a_segment_gives_what_sums_over_kernel_positions_give():
    model = biased(SMALL)
    feats_BTF = feats(3, 21).double()
    expected_BD = np.stack([by_hand(model, clip.numpy()) for clip in feats_BTF])
    assert np.count_nonzero(expected_BD) > 5
    with torch.no_grad():
        embedding_BD = model(feats_BTF)
        np.testing.assert_allclose(embedding_BD.numpy(), expected_BD, rtol=1e-9, atol=1e-12)
        x_BD = model.classifier_input(embedding_BD).numpy()
    inner = normed(expected_BD.T, model.norm).T
    expected = np.maximum(inner @ model.dense.weight.detach().numpy().T + model.dense.bias.detach().numpy(), 0)
    np.testing.assert_allclose(x_BD, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("num_frames", "starts"), [(30, [0]), (31, [0, 10]), (40, [0, 10]), (41, [0, 10, 20])])
def test_a_longer_clip_has_the_mean_embedding_of_its_half_overlapping_segments(num_frames, starts):
    model = biased(SMALL)
    feats_BTF = feats(2, num_frames).double()
    expected_BD = [np.mean([by_hand(model, clip[s : s + 21].numpy()) for s in starts], axis=0) for clip in feats_BTF]
    with torch.no_grad():
        np.testing.assert_allclose(model(feats_BTF).numpy(), np.stack(expected_BD), rtol=1e-9, atol=1e-12)


def test_padding_stays_out_of_the_statistics_of_training():
    model = small_model(SMALL).train()
    feats_BTF = feats(3, 60)
    feats_BTF[1, 33:] = 1e6
    model(feats_BTF, torch.tensor([60, 33, 60]))
    assert model.blocks[2].running_mean.abs().max() < 10


def test_dropout_hits_half_the_outputs_behind_the_batch_norm():
    model = build_model(SegmentCNN(channels=(2, 2), segment_frames=20, embedding_dim=4000, dense_dim=3), 20).train()
    seen = []
    model.dense.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.classifier_input(torch.randn(3, 4000))
    assert abs(float((seen[0] == 0).float().mean()) - 0.5) < 0.02


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="needs at least 19 bins, found 18"):
        build_model(SMALL, 18)
    assert torch.isfinite(small_model(SMALL, 19)(feats(1, 21, 19))).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segment_frames": 18}, "segment_frames: expected at least 19, found 18"),
        ({"channels": (32,)}, "two convolutions"),
        ({"dropout": -0.1}, "SegmentCNN.dropout"),
        ({"embedding_dim": 0}, "at least 1"),
        ({"type": "cnn"}, "SegmentCNN.type"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        SegmentCNN(**values)
