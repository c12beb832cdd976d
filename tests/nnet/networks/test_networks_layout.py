"""Which networks put their planes into the layout with channels last: those whose widths torch's kernels are sound for.

Others once wrote past their buffers there, and the process ended. Nothing is computed here.
"""

import pytest
import torch
from torch import nn

from steps.nnet.models import build_model
from steps.nnet.settings import VGGM, CAMPPlus, PreActResNet, ResNet, SegmentCNN, ThinResNet, VGGResNet

BLOCKS = (1, 1, 1, 1)
# Settings and input bins of a network whose first width is the one given, the others following from it.
NETWORKS = {
    "resnet": lambda width: (ResNet(blocks=BLOCKS, channels=width), 40),
    "campplus": lambda width: (CAMPPlus(front_channels=width, init_channels=16, layers=(2, 2, 2), growth=8), 40),
    "segment_cnn": lambda width: (SegmentCNN(channels=(width, 2 * width)), 128),
    "vggm": lambda width: (VGGM(channels=(width,) * 5, fc_dims=(32, 16)), 257),
    "vgg_resnet": lambda width: (VGGResNet(blocks=BLOCKS, channels=width, fc1_dim=16), 257),
    "thin_resnet": lambda width: (
        ThinResNet(
            stem_channels=width, blocks=BLOCKS, inner_channels=(16,) * 4, outer_channels=(16,) * 4, feature_dim=16,
            clusters=0, ghosts=0,
        ),
        257,
    ),
    "preact_resnet": lambda width: (PreActResNet(blocks=BLOCKS, channels=width), 64),
}  # fmt: skip


def planes(name: str, width: int) -> list[torch.Tensor]:
    """The weights of two-dimensional convolutions whose place in memory says which layout they have."""
    settings, num_bins = NETWORKS[name](width)
    weights = [layer.weight for layer in build_model(settings, num_bins).modules() if isinstance(layer, nn.Conv2d)]
    return [weight for weight in weights if min(weight.shape[1], weight.shape[2] * weight.shape[3]) > 1]


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("name", NETWORKS)
def test_wide_networks_have_channels_last(name, width):
    weights = planes(name, width)
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("width", [2, 18, 40])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_other_widths_stay_in_the_ordinary_layout(name, width):
    weights = planes(name, width)
    assert weights
    assert all(weight.is_contiguous() for weight in weights)
