"""Parameter counts are those of the public networks (WeSpeaker prints 6.63M for its ResNet34), the rest brute force."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from steps.nnet.models import MODELS, build_model, num_parameters
from steps.nnet.settings import MODEL_SETTINGS, ResNet, XVector
from tests.nnet.networks.contract import feats, small_model

ETDNN = {
    "channels": (512,) * 9 + (1500,),
    "kernel_sizes": (5, 1, 3, 1, 3, 1, 3, 1, 1, 1),
    "dilations": (1, 1, 2, 1, 3, 1, 4, 1, 1, 1),
}
BIG_TDNN = {
    "channels": (1024,) * 8 + (2000,),
    "kernel_sizes": (5, 1, 5, 1, 3, 1, 3, 1, 1),
    "dilations": (1, 1, 2, 1, 3, 1, 4, 1, 1),
}
SMALL_TDNN = XVector(channels=(8, 8, 12), kernel_sizes=(5, 3, 1), dilations=(1, 2, 1), embedding_dim=6)
SMALL_RESNET = ResNet(blocks=(1, 2, 1, 1), channels=4, embedding_dim=6)
SMALL = [
    SMALL_TDNN,
    XVector(channels=(8, 12), kernel_sizes=(3, 3), dilations=(1, 3), pooling="mean", embedding_dim=6, segment_layers=1),
    SMALL_RESNET,
    ResNet(blocks=(1, 1, 1, 1), channels=4, pooling="mean", embedding_dim=6, head_input="bn_relu"),
]


@pytest.mark.parametrize(
    ("settings", "num_bins", "expected"),
    [
        (XVector(segment_layers=1), 30, 4_219_868),
        (XVector(segment_layers=2), 30, 4_482_524),
        (XVector(**ETDNN, segment_layers=1), 30, 6_057_436),
        (XVector(**ETDNN), 30, 6_320_092),
        (XVector(**BIG_TDNN, segment_layers=1), 40, 20_040_144),
        (XVector(**BIG_TDNN), 40, 20_302_800),
        (ResNet(embedding_dim=256), 40, 5_978_976),
        (ResNet(embedding_dim=160), 40, 5_733_120),
        (ResNet(embedding_dim=256), 80, 6_634_336),
    ],
)
def test_parameter_counts_are_the_published_ones(settings, num_bins, expected):
    with torch.device("meta"):
        assert num_parameters(build_model(settings, num_bins)) == expected


def test_every_settings_class_has_a_model():
    assert MODELS.keys() == MODEL_SETTINGS.keys()


@pytest.mark.parametrize("settings", SMALL)
def test_padded_batches_give_the_embeddings_of_the_clips_one_by_one(settings):
    model = small_model(settings)
    lengths_B = torch.tensor([61, 40, model.min_frames, 25, 48])
    feats_BTF = feats(5, 61)
    for clip, length in zip(feats_BTF, lengths_B, strict=True):
        clip[length:] = 1e3
    with torch.no_grad():
        batch_BD = model(feats_BTF, lengths_B)
        single_BD = torch.cat([model(clip[None, :n]) for clip, n in zip(feats_BTF, lengths_B, strict=True)])
    assert batch_BD.shape == (5, model.embedding_dim)
    torch.testing.assert_close(batch_BD, single_BD, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", SMALL)
def test_a_batch_whose_clips_are_all_shorter_than_it_is_still_masked(settings):
    model = small_model(settings)
    feats_BTF = feats(2, 50)
    with torch.no_grad():
        torch.testing.assert_close(model(feats_BTF, torch.tensor([33, 33])), model(feats_BTF[:, :33]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", SMALL)
def test_full_lengths_give_the_bits_of_no_lengths(settings):
    model = small_model(settings)
    feats_BTF = feats(3, 40)
    with torch.no_grad():
        assert torch.equal(model(feats_BTF, torch.full((3,), 40)), model(feats_BTF))


@pytest.mark.parametrize("settings", SMALL)
def test_clips_below_min_frames_are_refused_and_one_of_just_that_length_passes(settings):
    model = small_model(settings)
    with torch.no_grad():
        assert torch.isfinite(model(feats(1, model.min_frames))).all()
        with pytest.raises(ValueError, match=rf"needs {model.min_frames} frames, found {model.min_frames - 1}"):
            model(feats(1, model.min_frames - 1))
        with pytest.raises(ValueError, match="too short"):
            model(feats(2, 60), torch.tensor([60, model.min_frames - 1]))


def test_min_frames_of_the_public_networks():
    # x-vector: 15 frames of context give one pooled frame; ResNet34: 9 frames give two after three halvings.
    with torch.device("meta"):
        assert build_model(XVector(), 30).min_frames == 16
        assert build_model(ResNet(), 80).min_frames == 9


@pytest.mark.parametrize("lengths", [[60], [60, 61], [[60, 60]]])
def test_lengths_that_do_not_fit_the_batch_are_refused(lengths):
    with pytest.raises(ValueError, match="num_frames: expected"):
        small_model(SMALL_RESNET)(feats(2, 60), torch.tensor(lengths))


@pytest.mark.parametrize("settings", SMALL)
def test_padding_is_refused_where_batch_norms_would_count_it(settings):
    model = small_model(settings).train()
    lengths_B = torch.tensor([60, 30])
    with pytest.raises(ValueError, match="padded batch with batch norms in training mode"):
        model(feats(2, 60), lengths_B)
    for module in model.children():
        if module not in (model.embedding, model.segment):
            module.eval()
    model(feats(2, 60), lengths_B)


def batch_norm(x, module):
    shape = (-1,) + (1,) * (x.ndim - 2)
    mean, var = module.running_mean.numpy(), module.running_var.numpy()
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + module.eps)
    if module.affine:
        y = y * module.weight.detach().numpy().reshape(shape) + module.bias.detach().numpy().reshape(shape)
    return y


def test_xvector_is_affine_of_spliced_frames_relu_batch_norm_pooling():
    model = small_model(SMALL_TDNN).double()
    feats_BTF = feats(1, 30).double()
    x_TC = feats_BTF[0].numpy()
    for layer, offsets in zip(model.frame_layers, ([-2, -1, 0, 1, 2], [-2, 0, 2], [0]), strict=True):
        weight = layer.affine.weight.detach().numpy()
        centres = range(-offsets[0], len(x_TC) - offsets[-1])
        rows = [sum(weight[:, :, k] @ x_TC[t + o] for k, o in enumerate(offsets)) for t in centres]
        x_TC = np.maximum(np.stack(rows) + layer.affine.bias.detach().numpy(), 0)
        assert not layer.norm.affine
        x_TC = (x_TC - layer.norm.running_mean.numpy()) / np.sqrt(layer.norm.running_var.numpy() + 1e-3)
    pooled = np.concatenate([x_TC.mean(0), np.sqrt(x_TC.var(0) + 1e-10)])
    expected = model.embedding.weight.detach().numpy() @ pooled + model.embedding.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(model(feats_BTF)[0].numpy(), expected, rtol=1e-10)


def test_second_segment_layer_of_the_xvector_is_relu_bn_affine_relu_bn():
    model = small_model(SMALL_TDNN)
    _, norm1, affine, _, norm2 = model.segment
    embedding_BD = feats(4, 6, 1)[:, :, 0]
    inner = batch_norm(np.maximum(embedding_BD.numpy(), 0), norm1)
    outer = np.maximum(inner @ affine.weight.detach().numpy().T + affine.bias.detach().numpy(), 0)
    with torch.no_grad():
        found = model.classifier_input(embedding_BD).numpy()
    np.testing.assert_allclose(found, batch_norm(outer, norm2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [SMALL[1], SMALL[2]])
def test_margin_heads_see_the_embedding_itself(settings):
    embedding_BD = torch.randn(3, 6)
    assert small_model(settings).classifier_input(embedding_BD) is embedding_BD


def test_softmax_head_of_the_resnet_sees_bn_and_relu():
    model = small_model(SMALL[3])
    embedding_BD = torch.randn(3, 6, generator=torch.Generator().manual_seed(4))
    expected = np.maximum(batch_norm(embedding_BD.numpy(), model.segment[0]), 0)
    with torch.no_grad():
        np.testing.assert_allclose(model.classifier_input(embedding_BD).numpy(), expected, rtol=1e-4, atol=1e-5)


def convolved(x_CFT, conv):
    """Returns the convolution of one example by loops over kernel positions; padding = (width - 1) / 2."""
    weight, stride = conv.weight.detach().numpy(), conv.stride[0]
    pad = weight.shape[-1] // 2
    x = np.pad(x_CFT, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = (-(-size // stride) for size in x_CFT.shape[1:])
    y = np.zeros((weight.shape[0], rows, columns))
    for f in range(rows):
        for t in range(columns):
            patch = x[:, f * stride : f * stride + 2 * pad + 1, t * stride : t * stride + 2 * pad + 1]
            y[:, f, t] = np.tensordot(weight, patch, 3)
    return y


def test_resnet_is_its_sheet_computed_by_loops():
    model = small_model(SMALL_RESNET).double()
    feats_BTF = feats(1, 21).double()

    def norm(x, module):
        return batch_norm(x[None], module)[0]

    x = np.maximum(norm(convolved(feats_BTF[0].numpy().T[None], model.conv), model.norm), 0)
    for blocks, num_blocks, stride in zip(model.groups, SMALL_RESNET.blocks, (1, 2, 2, 2), strict=True):
        assert len(blocks) == num_blocks
        for number, block in enumerate(blocks):
            assert block.conv1.stride[0] == (stride if number == 0 else 1)
            y = np.maximum(norm(convolved(x, block.conv1), block.norm1), 0)
            y = norm(convolved(y, block.conv2), block.norm2)
            if x.shape != y.shape:
                x = norm(convolved(x, block.shortcut[0]), block.shortcut[1])
            x = np.maximum(x + y, 0)
    assert x.shape == (32, 3, 3)
    pooled = np.concatenate([x.mean(-1).ravel(), np.sqrt(x.var(-1) + 1e-10).ravel()])
    expected = model.embedding.weight.detach().numpy() @ pooled + model.embedding.bias.detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(model(feats_BTF)[0].numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("settings", SMALL)
def test_all_parameters_of_the_model_get_a_gradient(settings):
    model = small_model(settings).train()
    loss = model.classifier_input(model(feats(4, 40))).square().sum() + model(feats(4, 40)).sum()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("settings", [SMALL_TDNN, SMALL_RESNET])
def test_embeddings_are_float32_and_near_the_same_under_bfloat16_autocast(settings):
    model = small_model(settings)
    feats_BTF = feats(3, 60)
    with torch.no_grad():
        full_BD = model(feats_BTF)
        with torch.autocast("cpu", torch.bfloat16):
            half_BD = model(feats_BTF)
    assert half_BD.dtype == torch.float32
    assert not torch.equal(half_BD, full_BD)
    assert functional.cosine_similarity(half_BD, full_BD).min() > 0.999


def test_an_unknown_type_is_refused_with_the_known_ones():
    settings = ResNet()
    object.__setattr__(settings, "type", "resnext")
    with pytest.raises(ValueError, match=r"expected one of \[.*'resnet', .*'xvector'\], found 'resnext'"):
        build_model(settings, 80)
