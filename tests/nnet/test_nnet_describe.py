"""The layer table: shapes by arithmetic, and parameters that add up."""

import pytest
import torch
from torch import nn

from steps.nnet.describe import layers_of, table
from steps.nnet.models import build_model, num_parameters
from steps.nnet.settings import ResNet, XVector


@pytest.mark.parametrize("settings", [XVector(channels=(8, 8, 8, 8, 12), embedding_dim=6), ResNet(channels=4, embedding_dim=6)])
def test_the_parameters_of_the_layers_add_up(settings):
    model = build_model(settings, 24)
    layers = layers_of(model, 50, 24)
    assert sum(each.parameters for each in layers) == num_parameters(model)
    assert model.training


def test_shapes_and_counts_of_an_x_vector():
    with torch.device("cpu"):
        layers = {each.name: each for each in layers_of(build_model(XVector(), 30), 200, 30)}
    assert layers["frame_layers.0.affine"].shape == (512, 196)
    assert layers["frame_layers.0.affine"].parameters == 30 * 512 * 5 + 512
    assert layers["frame_layers.4.norm"].shape == (1500, 186)
    assert layers["pooling"].shape == (3000,)
    assert layers["embedding"].shape == (512,)
    assert layers["embedding"].parameters == 3000 * 512 + 512


def test_a_layer_with_weights_of_its_own_beside_others_is_counted_once():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.inner = nn.Linear(3, 3)

        def forward(self, x):
            return self.inner(x * self.weight)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd = Odd()

        def forward(self, x_BTF):
            return self.odd(x_BTF).mean(dim=1)

        def classifier_input(self, x_BD):
            return x_BD

    layers = layers_of(Net(), 5, 3)
    assert [(each.name, each.parameters) for each in layers] == [("odd.inner", 12), ("odd", 3)]


def test_the_table_has_a_line_per_layer_and_ends_in_the_sum():
    model = build_model(XVector(), 30)
    lines = table(layers_of(model, 200, 30), num_frames=200, num_bins=30, embedding_dim=512, total=4_482_524).splitlines()
    assert lines[1].split() == ["input", "200", "x", "30"]
    assert lines[-1].endswith("4,482,524")
    assert len({len(line.rstrip()) for line in lines if line.strip().endswith(("0", "4"))}) <= 2
