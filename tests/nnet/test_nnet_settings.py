import subprocess
import sys
from pathlib import Path

import pytest

from steps.nnet.settings import AAM, AM, HEAD_SETTINGS, MODEL_SETTINGS, ResNet, Softmax, XVector

ROOT = Path(__file__).resolve().parents[2]


def test_settings_load_without_torch():
    code = "import sys, steps.nnet.settings; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("classes", [MODEL_SETTINGS, HEAD_SETTINGS])
def test_each_type_tag_is_the_default_of_its_class(classes):
    assert all(settings().type == name for name, settings in classes.items())


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (XVector, {"pooling": "median"}, "XVector.pooling: expected one of .*found 'median'"),
        (XVector, {"channels": (512, 512)}, "as many channels"),
        (XVector, {"segment_layers": 3}, "segment_layers"),
        (XVector, {"type": "resnet"}, "XVector.type"),
        (XVector, {"embedding_dim": 0}, "at least 1"),
        (ResNet, {"blocks": (3, 4, 6)}, "four groups, found 3"),
        (ResNet, {"channels": 0}, "at least 1"),
        (ResNet, {"head_input": "softmax"}, "head_input"),
        (Softmax, {"type": "aam"}, "Softmax.type"),
        (AM, {"scale": 0.0}, "scale"),
        (AM, {"margin": -0.1}, "margin"),
        (AAM, {"margin": 3.0}, "margin"),
    ],
)
def test_wrong_settings_are_refused(settings, values, message):
    with pytest.raises(ValueError, match=message):
        settings(**values)
