"""The networks by the name they have in settings.

Every model has `forward(feats_BTF, num_frames_B=None) -> embedding_BD`, `classifier_input(embedding_BD)` for the
training head, and the attributes `embedding_dim`, `classifier_dim` (of the head's input) and `min_frames`.
"""

from torch import nn

from steps.nnet.resnet import ResidualNet
from steps.nnet.settings import ResNet, XVector
from steps.nnet.xvector import XVectorNet

MODELS = {"xvector": XVectorNet, "resnet": ResidualNet}


def build_model(settings: XVector | ResNet, num_bins: int) -> nn.Module:
    """Returns the network of these settings with fresh weights from torch's global generator: seed it first.

    Raises:
        ValueError: no network has this type.
    """
    if settings.type not in MODELS:
        raise ValueError(f"model.type: expected one of {sorted(MODELS)}, found {settings.type!r}")
    return MODELS[settings.type](settings, num_bins)


def num_parameters(module: nn.Module) -> int:
    """Returns the count of trained numbers, running statistics not included."""
    return sum(p.numel() for p in module.parameters())
