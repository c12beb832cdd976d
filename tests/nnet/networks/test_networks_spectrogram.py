"""VGG-M, the ResNets of VoxCeleb2, the thin ResNet and the pre-activation ResNet: sizes of the papers' tables, golden passes.

The golden passes use torch's functional layers and the weights by name; batch norm and VLAD are written out.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from steps.nnet.models import build_model, num_parameters
from steps.nnet.planes import through_groups
from steps.nnet.settings import VGGM, PreActResNet, ThinResNet, VGGResNet
from tests.nnet.networks.contract import check_contract, feats, small_model

RESNET50 = VGGResNet(block="bottleneck", fc1_dim=2048)
SMALL_VGGM = VGGM(channels=(4, 6, 8, 6, 4), fc_dims=(10, 7))
SMALL_RESNET = VGGResNet(blocks=(2, 1, 2, 1), channels=4, fc1_dim=6)
SMALL_BOTTLENECK = VGGResNet(block="bottleneck", blocks=(2, 1, 1, 1), channels=4, fc1_dim=6, embedding_dim=5)
THIN = {
    "stem_channels": 4,
    "blocks": (1, 2, 1, 1),
    "inner_channels": (3, 4, 5, 6),
    "outer_channels": (6, 5, 7, 8),
    "embedding_dim": 5,
}
SMALL_THIN = ThinResNet(**THIN, feature_dim=6, clusters=3, ghosts=2)
WIDTHS = (16, 16, 32, 32)
SMALL_PREACT = PreActResNet(blocks=(2, 1, 1, 2), channels=4, embedding_dim=6)
SMALL = [
    (SMALL_VGGM, 129, 90),
    (VGGM(channels=(16,) * 5, fc_dims=(12, 8), embedding_dim=5), 97, 101),
    (SMALL_RESNET, 33, 61),
    (VGGResNet(blocks=(1, 1, 1, 1), channels=16, fc1_dim=6, embedding_dim=5), 1, 40),
    (SMALL_BOTTLENECK, 40, 45),
    (SMALL_THIN, 40, 61),
    (ThinResNet(**THIN, feature_dim=6, clusters=3, ghosts=0), 34, 50),
    (ThinResNet(**THIN, feature_dim=6, clusters=0, ghosts=0), 66, 33),
    (ThinResNet(stem_channels=16, inner_channels=WIDTHS, outer_channels=WIDTHS, feature_dim=8, embedding_dim=5), 40, 40),
    (SMALL_PREACT, 20, 61),
    (PreActResNet(blocks=(1, 1, 1, 1), channels=16, embedding_dim=5, embedding_scale=3.0), 5, 33),
]


@pytest.mark.parametrize(("settings", "num_bins", "num_frames"), SMALL)
def test_contract_of_every_network(settings, num_bins, num_frames):
    check_contract(settings, num_bins, num_frames)


def thin_trunk():
    """Returns the weights of the convolutions and of the batch norms, counted from the table."""
    convolutions, norms, inputs = 49 * 64, 2 * 64, 64
    for num_blocks, inner, outer in [(2, 48, 96), (3, 96, 128), (3, 128, 256), (3, 256, 512)]:
        for block in range(num_blocks):
            projected = inputs * outer if block == 0 else 0
            convolutions += inputs * inner + 9 * inner * inner + inner * outer + projected
            norms += 2 * (2 * inner + outer) + (2 * outer if block == 0 else 0)
            inputs = outer
    return convolutions, norms


def preact_trunk():
    """Returns the weights of the convolutions and of the batch norms, counted from the sheet."""
    convolutions, norms, inputs = 49 * 64, 2 * 512, 64
    for num_blocks, channels in [(3, 64), (4, 128), (6, 256), (4, 512)]:
        for _ in range(num_blocks):
            convolutions += 9 * inputs * channels + 9 * channels**2 + (inputs * channels if inputs != channels else 0)
            norms += 2 * inputs + 2 * channels
            inputs = channels
    return convolutions, norms


THIN_TRUNK, PREACT_TRUNK = sum(thin_trunk()), sum(preact_trunk())


@pytest.mark.parametrize(
    ("settings", "num_bins", "expected", "in_batch_norms"),
    [
        (VGGM(), 512, 16_628_992, 16_628_992 - 16_616_256),
        (VGGM(), 257, 11_373_376 + 12_736, 12_736),
        (VGGM(), 256, 11_373_376 + 12_736, 12_736),
        (VGGM(embedding_dim=256), 512, 16_628_992 + 1024 * 256 + 256, 12_736),
        # ResNet-34 of image recognition without its classifier has 21,284,672, with 3 input channels in the 7x7 convolution
        (VGGResNet(), 257, 21_284_672 - 2 * 49 * 64 + 9 * 512 * 512 + 2 * 512, 2 * (8512 + 512)),
        # and ResNet-50 23,508,032
        (RESNET50, 257, 23_508_032 - 2 * 49 * 64 + 9 * 2048 * 2048 + 2 * 2048, 2 * (26_560 + 2048)),
        (ThinResNet(), 257, THIN_TRUNK + 7 * 512 * 522 + 522 + 8 * 512 + 4096 * 512 + 512, thin_trunk()[1]),
        (ThinResNet(ghosts=0), 257, THIN_TRUNK + 7 * 512 * 520 + 520 + 8 * 512 + 4096 * 512 + 512, thin_trunk()[1]),
        (ThinResNet(clusters=0, ghosts=0), 257, THIN_TRUNK + 7 * 512 * 512 + 512 + 512 * 512 + 512, thin_trunk()[1]),
        (PreActResNet(), 64, PREACT_TRUNK + 512 * 1024 + 1024, preact_trunk()[1]),
    ],
)
def test_parameter_counts(settings, num_bins, expected, in_batch_norms):
    with torch.device("meta"):
        model = build_model(settings, num_bins)
    assert num_parameters(model) == expected
    norms = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert sum(map(num_parameters, norms)) == in_batch_norms


def test_counts_in_millions_are_those_of_the_sheets():
    with torch.device("meta"):
        counts = [num_parameters(build_model(s, b)) for s, b in [(VGGResNet(), 257), (RESNET50, 257), (ThinResNet(), 257)]]
    # 23.6, 61.3 and 7.66 there
    assert [round(count / 1e6, 2) for count in counts] == [23.64, 61.25, 7.66]
    assert [round(count / 1e6, 2) for count in (THIN_TRUNK, PREACT_TRUNK)] == [3.69, 26.0]


def sizes_of(layers, x):
    found = []
    for layer in layers:
        x, _ = layer(x)
        found.append(tuple(x.shape[1:]))
    return x, found


@pytest.mark.parametrize(
    ("num_bins", "rows"), [(512, (254, 126, 62, 30, 9)), (257, (127, 63, 31, 15, 4)), (256, (126, 62, 30, 14, 4))]
)
def test_vggm_has_the_maps_of_the_table(num_bins, rows):
    with torch.device("meta"):
        model = build_model(VGGM(), num_bins)
        x, found = sizes_of(model.layers, torch.zeros(1, 1, num_bins, 300))
        assert model.fc6(x).shape == (1, 4096, 8)
    conv1, pool1, conv2, pool2, pool5 = rows
    first = [(96, conv1, 148), (96, pool1, 73), (256, conv2, 36), (256, pool2, 17)]
    assert found == [*first, (384, pool2, 17), (256, pool2, 17), (256, pool2, 17), (256, pool5, 8)]
    assert model.fc6.weight.shape == (4096, 256 * pool5, 1)


def group_sizes(model, x):
    shapes = []
    for blocks in model.groups:
        blocks[-1].register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    return through_groups(model.groups, x, None)[0], shapes


@pytest.mark.parametrize(("settings", "channels"), [(VGGResNet(), (64, 128, 256, 512)), (RESNET50, (256, 512, 1024, 2048))])
def test_vgg_resnets_have_the_maps_of_the_sheet(settings, channels):
    with torch.device("meta"):
        model = build_model(settings, 257)
        x, found = sizes_of(model.stem, torch.zeros(1, 1, 257, 300))
        assert found == [(64, 129, 150), (64, 65, 75)]
        x, found = group_sizes(model, x)
        assert found == list(zip(channels, (65, 33, 17, 9), (75, 38, 19, 10), strict=True))
        assert model.fc1(x).shape == (1, settings.fc1_dim, 10)
    assert model.fc1.weight.numel() == 9 * channels[-1] * settings.fc1_dim
    assert [len(blocks) for blocks in model.groups] == [3, 4, 6, 3]


def test_thin_resnet_has_the_maps_of_the_table():
    with torch.device("meta"):
        model = build_model(ThinResNet(), 257)
        x, found = sizes_of(model.stem, torch.zeros(1, 1, 257, 250))
        assert found == [(64, 257, 250), (64, 128, 125)]
        x, found = group_sizes(model, x)
        assert found == [(96, 128, 125), (128, 64, 63), (256, 32, 32), (512, 16, 16)]
        x, _ = model.pool(x)
        assert x.shape[1:] == (512, 7, 16)
        assert model.features(x).shape[1:] == (512, 16)
        assert model.assignment(x).shape[1:] == (10, 16)
    assert [len(blocks) for blocks in model.groups] == [2, 3, 3, 3]
    assert num_parameters(model.stem) + num_parameters(model.groups) == THIN_TRUNK


def test_preact_resnet_has_the_maps_of_the_sheet():
    with torch.device("meta"):
        model = build_model(PreActResNet(), 64)
        x = model.stem(torch.zeros(1, 1, 64, 300))
        assert x.shape[1:] == (64, 30, 296)
        _, found = sizes_of(model.blocks, x)
    ends = [found[i] for i in (2, 6, 12, 16)]
    assert len(found) == 17
    assert ends == [(64, 30, 296), (128, 15, 148), (256, 8, 74), (512, 4, 37)]


@pytest.mark.parametrize(
    ("settings", "fewest_bins", "min_frames"),
    [(SMALL_VGGM, 97, 65), (SMALL_RESNET, 1, 1), (SMALL_THIN, 34, 2), (SMALL_PREACT, 5, 5)],
)
def test_fewest_bins_and_frames(settings, fewest_bins, min_frames):
    for num_bins in (fewest_bins, fewest_bins + 1, fewest_bins + 30):
        model = small_model(settings, num_bins)
        assert model.min_frames == min_frames
        with torch.no_grad():
            assert model(feats(2, min_frames, num_bins)).shape == (2, model.embedding_dim)
    with pytest.raises(ValueError, match=f"at least {fewest_bins} feature bins, found {fewest_bins - 1}"):
        build_model(settings, fewest_bins - 1)


@pytest.mark.parametrize(("settings", "num_bins", "num_frames"), [SMALL[1], SMALL[3], SMALL[8], SMALL[10]])
def test_bfloat16_gives_nearly_the_embedding_of_float32(settings, num_bins, num_frames):
    model = small_model(settings, num_bins)
    feats_BTF = feats(3, num_frames, num_bins)
    with torch.no_grad():
        expected_BD = model(feats_BTF)
        with torch.autocast("cpu", torch.bfloat16):
            found_BD = model(feats_BTF)
    assert found_BD.dtype == torch.float32
    assert (functional.cosine_similarity(found_BD, expected_BD) > 0.99).all()


class Weights:
    """Functional layers by the names of a model's weights."""

    def __init__(self, model, eps=1e-5):
        self.state, self.eps = model.state_dict(), eps

    def conv(self, x, name, stride=1, padding=0):
        return functional.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), stride, padding)

    def norm(self, x, name):
        mean, var, weight, bias = (self.state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        shape = (-1,) + (1,) * (x.ndim - 2)
        return (x - mean.view(shape)) / (var.view(shape) + self.eps).sqrt() * weight.view(shape) + bias.view(shape)

    def relu_norm(self, x, name):
        return self.norm(x, name).clamp(min=0)

    def tall(self, x_BCFT, name):
        """A convolution whose kernel is as high as the map: [B, channels, T]."""
        weight = self.state[f"{name}.weight"]
        kernel = weight.view(len(weight), x_BCFT.shape[1], x_BCFT.shape[2], 1)
        return functional.conv2d(x_BCFT, kernel, self.state.get(f"{name}.bias"))[:, :, 0]

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def bottleneck(self, x, name, stride):
        y = self.relu_norm(self.conv(x[:, :, ::stride, ::stride], f"{name}.conv1"), f"{name}.norm1")
        y = self.relu_norm(self.conv(y, f"{name}.conv2", padding=1), f"{name}.norm2")
        return (self.norm(self.conv(y, f"{name}.conv3"), f"{name}.norm3") + self.shortcut(x, name, stride)).clamp(min=0)

    def basic(self, x, name, stride):
        y = self.relu_norm(self.conv(x, f"{name}.conv1", stride, 1), f"{name}.norm1")
        y = self.norm(self.conv(y, f"{name}.conv2", padding=1), f"{name}.norm2")
        return (y + self.shortcut(x, name, stride)).clamp(min=0)

    def shortcut(self, x, name, stride):
        if f"{name}.shortcut.0.weight" not in self.state:
            return x
        return self.norm(self.conv(x[:, :, ::stride, ::stride], f"{name}.shortcut.0"), f"{name}.shortcut.1")


def golden(settings, num_bins, num_frames):
    """Returns a model in double, features as [B, 1, F, T], and what the model makes of them."""
    model = small_model(settings, num_bins).double()
    feats_BTF = feats(2, num_frames, num_bins).double()
    with torch.no_grad():
        return model, feats_BTF.transpose(1, 2)[:, None], model(feats_BTF)


@pytest.mark.parametrize("embedding_dim", [0, 5])
def test_vggm_by_functional_layers(embedding_dim):
    settings = VGGM(channels=SMALL_VGGM.channels, fc_dims=SMALL_VGGM.fc_dims, embedding_dim=embedding_dim)
    model, x, found = golden(settings, 140, 103)
    w = Weights(model)
    x = functional.max_pool2d(w.relu_norm(w.conv(x, "layers.0.conv", 2, 1), "layers.0.norm"), 3, 2)
    x = functional.max_pool2d(w.relu_norm(w.conv(x, "layers.2.conv", 2, 1), "layers.2.norm"), 3, 2)
    for layer in (4, 5, 6):
        x = w.relu_norm(w.conv(x, f"layers.{layer}.conv", 1, 1), f"layers.{layer}.norm")
    x = functional.max_pool2d(x, (5, 3), (3, 2))
    x = w.relu_norm(w.tall(x, "fc6"), "norm6").mean(dim=2)
    x = w.relu_norm(w.linear(x, "fc7"), "norm7")
    torch.testing.assert_close(found, w.linear(x, "embedding") if embedding_dim else x)


@pytest.mark.parametrize("settings", [SMALL_RESNET, SMALL_BOTTLENECK])
def test_vgg_resnet_by_functional_layers(settings):
    model, x, found = golden(settings, 70, 85)
    w = Weights(model)
    x = functional.max_pool2d(w.relu_norm(w.conv(x, "stem.0.conv", 2, 3), "stem.0.norm"), 3, 2, 1)
    for group, num_blocks in enumerate(settings.blocks):
        for block in range(num_blocks):
            run = w.basic if settings.block == "basic" else w.bottleneck
            x = run(x, f"groups.{group}.{block}", 2 if group and not block else 1)
    x = w.relu_norm(w.tall(x, "fc1"), "norm1").mean(dim=2)
    torch.testing.assert_close(found, w.linear(x, "embedding") if settings.embedding_dim else x)


@pytest.mark.parametrize(("clusters", "ghosts"), [(3, 2), (4, 0), (0, 0)])
def test_thin_resnet_by_functional_layers(clusters, ghosts):
    settings = ThinResNet(**THIN, feature_dim=6, clusters=clusters, ghosts=ghosts)
    model, x, found = golden(settings, 70, 61)
    w = Weights(model, eps=1e-3)
    x = functional.max_pool2d(w.relu_norm(w.conv(x, "stem.0.conv", padding=3), "stem.0.norm"), 2)
    for group, num_blocks in enumerate(settings.blocks):
        for block in range(num_blocks):
            assert (f"groups.{group}.{block}.shortcut.0.weight" in w.state) == (block == 0)
            x = w.bottleneck(x, f"groups.{group}.{block}", 2 if group and not block else 1)
    x = functional.max_pool2d(x, (3, 1), (2, 1))
    features_BCT = w.tall(x, "features").clamp(min=0)
    pooled = features_BCT.mean(dim=2)
    if clusters:
        share_BKT = w.tall(x, "assignment").softmax(dim=1)
        residual_BKCT = features_BCT[:, None] - w.state["vlad.centres_KC"][..., None]
        vlad_BKC = (share_BKT[:, :clusters, None] * residual_BKCT).sum(dim=3)
        pooled = (vlad_BKC / vlad_BKC.norm(dim=2, keepdim=True)).flatten(1)
    torch.testing.assert_close(found, w.linear(pooled, "embedding").clamp(min=0))


def test_thin_resnet_starts_orthogonal_with_the_batch_norm_of_keras():
    torch.manual_seed(0)
    model = build_model(SMALL_THIN, 40)
    for layer in (model.stem[0].conv, model.groups[1][0].conv2, model.features, model.assignment, model.embedding):
        weight = layer.weight.flatten(1)
        gram = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    assert not any(layer.bias.any() for layer in (model.features, model.assignment, model.embedding))
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_preact_resnet_by_functional_layers_with_time_before_bins():
    model, x_BCFT, found = golden(SMALL_PREACT, 30, 43)
    w = Weights(model)
    w.state = {name: value.transpose(2, 3) if value.ndim == 4 else value for name, value in w.state.items()}
    x = functional.conv2d(x_BCFT.transpose(2, 3), w.state["stem.weight"], stride=(1, 2), padding=1)
    assert x.shape == (2, 4, 39, 13)
    for index, stride in enumerate((1, 1, 2, 2, 2, 1)):
        name = f"blocks.{index}"
        active = w.relu_norm(x, f"{name}.norm1")
        x = active if index == 0 else x
        if f"{name}.shortcut.weight" in w.state:
            x = w.conv(x, f"{name}.shortcut", stride)
        y = w.relu_norm(w.conv(active, f"{name}.conv1", stride, 1), f"{name}.norm2")
        x = x + w.conv(y, f"{name}.conv2", padding=1)
    x = w.relu_norm(x, "norm")
    code = w.linear(x.mean(dim=(2, 3)) + x.amax(dim=(2, 3)), "embedding")
    torch.testing.assert_close(found, code / code.square().sum(dim=1, keepdim=True).sqrt() * 10)
    assert sum("shortcut" in name for name in w.state) == 3


def test_preact_resnet_starts_with_he_weights_by_fan_out():
    torch.manual_seed(0)
    model = build_model(PreActResNet(blocks=(1, 1, 1, 1), channels=32), 20)
    for layer in (model.blocks[2].conv1, model.blocks[3].conv2):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * layer.out_channels)), rel=0.02)
    assert not model.embedding.bias.any()


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (VGGM, {"channels": (1, 2, 3, 4)}, "VGGM.channels: expected 5 numbers, found 4"),
        (VGGM, {"fc_dims": (4, 0)}, "at least 1"),
        (VGGM, {"embedding_dim": -1}, "VGGM.embedding_dim"),
        (VGGResNet, {"block": "wide"}, "VGGResNet.block: expected one of"),
        (VGGResNet, {"blocks": (3, 4, 6)}, "4 numbers"),
        (VGGResNet, {"fc1_dim": 0}, "at least 1"),
        (ThinResNet, {"inner_channels": (48,)}, "4 numbers"),
        (ThinResNet, {"clusters": 0}, "ThinResNet.ghosts: expected 0"),
        (ThinResNet, {"ghosts": -1}, "ThinResNet.ghosts"),
        (PreActResNet, {"embedding_scale": 0.0}, "PreActResNet.embedding_scale"),
        (PreActResNet, {"type": "resnet"}, "PreActResNet.type"),
    ],
)
def test_wrong_settings_are_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)
