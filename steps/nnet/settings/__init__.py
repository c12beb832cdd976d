"""Settings of the networks and of their training heads; standard library only, so that planning a stage loads no torch.

`type` names the class in TOML (`type = "xvector"`): `MODEL_SETTINGS` and `HEAD_SETTINGS` map it to the dataclass.
"""

from steps.nnet.settings.margin import AAM, AM, Softmax
from steps.nnet.settings.resnet import ResNet
from steps.nnet.settings.tdnn import XVector

MODEL_SETTINGS = {
    "xvector": XVector,
    "resnet": ResNet,
}
HEAD_SETTINGS = {
    "softmax": Softmax,
    "am": AM,
    "aam": AAM,
}
