"""Settings of the networks and of their training heads; standard library only, so that planning a stage loads no torch.

`type` names the class in TOML (`type = "xvector"`): `MODEL_SETTINGS` and `HEAD_SETTINGS` map it to the dataclass.
"""

from steps.nnet.settings.basis import Centre, Heo
from steps.nnet.settings.ivector import IVector, NoHead
from steps.nnet.settings.margin import AAM, AM, Combined, L2Softmax, Softmax, SubCentre
from steps.nnet.settings.pairs import GE2E, AngularPrototypical, Contrastive, PairwiseKL, Prototypical, Siamese, Triplet
from steps.nnet.settings.recurrent import BiLSTM
from steps.nnet.settings.redimnet import ReDimNet
from steps.nnet.settings.resnet import ResNet
from steps.nnet.settings.segment_cnn import SegmentCNN
from steps.nnet.settings.spectrogram import VGGM, PreActResNet, ThinResNet, VGGResNet
from steps.nnet.settings.sphere import ASoftmax, SphereFace2
from steps.nnet.settings.tdnn import ECAPA, FTDNN, CAMPPlus, XVector
from steps.nnet.settings.voicemap import Voicemap

MODEL_SETTINGS = {
    "xvector": XVector,
    "ftdnn": FTDNN,
    "ecapa": ECAPA,
    "campplus": CAMPPlus,
    "resnet": ResNet,
    "redimnet": ReDimNet,
    "vggm": VGGM,
    "vgg_resnet": VGGResNet,
    "thin_resnet": ThinResNet,
    "preact_resnet": PreActResNet,
    "bilstm": BiLSTM,
    "cnn_kl": SegmentCNN,
    "voicemap": Voicemap,
    "ivector": IVector,
}
HEAD_SETTINGS = {
    "softmax": Softmax,
    "am": AM,
    "aam": AAM,
    "l2_softmax": L2Softmax,
    "a_softmax": ASoftmax,
    "combined": Combined,
    "sub_centre": SubCentre,
    "sphereface2": SphereFace2,
    "centre": Centre,
    "heo": Heo,
    "contrastive": Contrastive,
    "triplet": Triplet,
    "siamese": Siamese,
    "pairwise_kl": PairwiseKL,
    "ge2e": GE2E,
    "prototypical": Prototypical,
    "angular_prototypical": AngularPrototypical,
    "none": NoHead,
}
