"""The networks and the training heads by the name they have in settings (see networks/base.py and heads/base.py)."""

from typing import Any

from torch import nn

from steps.nnet.heads.base import Head
from steps.nnet.heads.margin import AAMHead, AMHead, SoftmaxHead
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.networks.resnet import ResidualNet
from steps.nnet.networks.xvector import XVectorNet

MODELS = {
    "xvector": XVectorNet,
    "resnet": ResidualNet,
}
HEADS = {
    "softmax": SoftmaxHead,
    "am": AMHead,
    "aam": AAMHead,
}


def build_model(settings: Any, num_bins: int) -> EmbeddingNetwork:
    """Returns the network of these settings with fresh weights from torch's global generator: seed it first.

    Raises:
        ValueError: no network has this type, or it cannot be built for so many feature bins.
    """
    if settings.type not in MODELS:
        raise ValueError(f"model.type: expected one of {sorted(MODELS)}, found {settings.type!r}")
    return MODELS[settings.type](settings, num_bins)


def build_head(settings: Any, input_dim: int, num_speakers: int) -> Head:
    """Returns the head of these settings for inputs of `model.classifier_dim`; weights from torch's global generator.

    Raises:
        ValueError: no head has this type, or there are fewer than two speakers.
    """
    if settings.type not in HEADS:
        raise ValueError(f"head.type: expected one of {sorted(HEADS)}, found {settings.type!r}")
    if num_speakers < 2:
        raise ValueError(f"training needs at least 2 speakers, found {num_speakers}")
    return HEADS[settings.type](settings, input_dim, num_speakers)


def num_parameters(module: nn.Module) -> int:
    """Returns the count of trained numbers, running statistics not included."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
