"""The networks and the training heads by the name they have in settings (see networks/base.py and heads/base.py)."""

from typing import Any

import torch
from torch import nn

from steps.nnet.heads.base import AbsentHead, Head
from steps.nnet.heads.basis import HeoHead
from steps.nnet.heads.centre import CentreHead
from steps.nnet.heads.episodes import AngularPrototypicalHead, GE2EHead, PrototypicalHead
from steps.nnet.heads.l2_softmax import L2SoftmaxHead
from steps.nnet.heads.margin import AAMHead, AMHead, CombinedHead, SoftmaxHead, SubCentreHead
from steps.nnet.heads.pairs import ContrastiveHead, SiameseHead, TripletHead
from steps.nnet.heads.pairwise_kl import PairwiseKLHead
from steps.nnet.heads.sphere import ASoftmaxHead, SphereFace2Head
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.networks.bilstm import BiLSTMNet
from steps.nnet.networks.campplus import CAMPPlusNet
from steps.nnet.networks.ecapa import ECAPANet
from steps.nnet.networks.ftdnn import FactorisedNet
from steps.nnet.networks.ivector import IVectorNet
from steps.nnet.networks.preact_resnet import PreActResidualNet
from steps.nnet.networks.redimnet import ReDimNetwork
from steps.nnet.networks.resnet import ResidualNet
from steps.nnet.networks.segment_cnn import SegmentCNNNet
from steps.nnet.networks.thin_resnet import ThinResidualNet
from steps.nnet.networks.vgg_resnet import VGGResidualNet
from steps.nnet.networks.vggm import VGGMNet
from steps.nnet.networks.voicemap import VoicemapNet
from steps.nnet.networks.xvector import XVectorNet
from steps.nnet.precision import chosen_precision

MODELS = {
    "xvector": XVectorNet,
    "ftdnn": FactorisedNet,
    "ecapa": ECAPANet,
    "campplus": CAMPPlusNet,
    "resnet": ResidualNet,
    "redimnet": ReDimNetwork,
    "vggm": VGGMNet,
    "vgg_resnet": VGGResidualNet,
    "thin_resnet": ThinResidualNet,
    "preact_resnet": PreActResidualNet,
    "bilstm": BiLSTMNet,
    "cnn_kl": SegmentCNNNet,
    "voicemap": VoicemapNet,
    "ivector": IVectorNet,
}
HEADS = {
    "softmax": SoftmaxHead,
    "am": AMHead,
    "aam": AAMHead,
    "l2_softmax": L2SoftmaxHead,
    "a_softmax": ASoftmaxHead,
    "combined": CombinedHead,
    "sub_centre": SubCentreHead,
    "sphereface2": SphereFace2Head,
    "centre": CentreHead,
    "heo": HeoHead,
    "contrastive": ContrastiveHead,
    "triplet": TripletHead,
    "siamese": SiameseHead,
    "pairwise_kl": PairwiseKLHead,
    "ge2e": GE2EHead,
    "prototypical": PrototypicalHead,
    "angular_prototypical": AngularPrototypicalHead,
    "none": AbsentHead,
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


def network_precision(settings: Any, device: torch.device | str, precision: str) -> str:
    """Returns "float32" or "bf16": what the network of these settings runs in on this device (see `chosen_precision`).

    Raises:
        ValueError: "bf16" where this network cannot run in it.
    """
    return chosen_precision(device, precision, MODELS[settings.type].bf16_layers)


def num_parameters(module: nn.Module) -> int:
    """Returns the count of trained numbers, running statistics not included."""
    return sum(p.numel() for p in module.parameters())
