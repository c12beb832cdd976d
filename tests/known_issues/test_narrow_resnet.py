"""With 8 or 12 channels, channels last in memory, torch 2.11 wrote past its buffers and the process died."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAIN = """
import torch
from steps.nnet.models import build_model
from steps.nnet.settings import ResNet
torch.set_num_threads(2)
model = build_model(ResNet(channels={channels}, blocks=(1, 1, 1, 1), embedding_dim=64), 40)
feats_BTF = torch.randn(32, 150, 40)
for _ in range(6):
    model(feats_BTF).pow(2).sum().backward()
"""


@pytest.mark.parametrize("channels", [8, 12, 16])
def test_a_narrow_network_trains_without_breaking_memory(channels: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(channels=channels)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-500:]
