"""ECAPA-TDNN against SpeechBrain's, and in the paper's form by loops over frames and taps; counts as published."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model, num_parameters
from steps.nnet.networks.ecapa import SqueezeExcitation, mirrored
from steps.nnet.settings import ECAPA
from tests.nnet.networks.contract import check_contract, feats, small_model

SIZES = {"channels": 8, "scale": 4, "se_dim": 3, "joined_channels": 12, "attention_dim": 5, "embedding_dim": 7}
PAPER = ECAPA(**SIZES)
SPEECHBRAIN = ECAPA(**SIZES, summed=False, joined_norm=True, attention_norm=True, padding="reflect")

SPEECHBRAIN_OUTPUTS = """
import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

given = torch.load("in.pt")
torch.manual_seed(11)
model = ECAPA_TDNN(
    20, lin_neurons=7, channels=[8, 8, 8, 8, 12], attention_channels=5, res2net_scale=4, se_channels=3
).double().eval()
for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm1d):
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2.0)
        torch.nn.init.normal_(module.weight)
        torch.nn.init.normal_(module.bias)
with torch.no_grad():
    outputs = {
        "state": list(model.state_dict().values()),
        "embedding": [model(x)[:, 0] for x in given["clips"]],
        "gated": model.blocks[1].se_block(given["frames"], given["relative"]),
        "pooled": model.asp(given["joined"], given["relative"])[:, :, 0],
    }
torch.save(outputs, "out.pt")
"""


@pytest.mark.parametrize(
    "settings",
    [
        PAPER,
        SPEECHBRAIN,
        ECAPA(**SIZES, padding="reflect"),
        ECAPA(**{**SIZES, "channels": 6, "scale": 2}, dilations=(1, 6), global_context=False, embedding_norm=True),
    ],
)
def test_contract(settings):
    check_contract(settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # WeSpeaker prints 6.19M and 14.65M
        (ECAPA(), 6_190_720),
        (ECAPA(channels=1024), 14_657_088),
        # SpeechBrain's: 2 * 1536 for the norm behind the joining layer and 2 * 128 for the attention's more
        (ECAPA(channels=1024, summed=False, joined_norm=True, attention_norm=True), 14_660_416),
    ],
)
def test_parameter_counts_are_the_published_ones(settings, expected):
    with torch.device("meta"):
        assert num_parameters(build_model(settings, 80)) == expected


def test_the_shortest_clip_is_that_which_can_be_mirrored_and_pooled():
    with torch.device("meta"):
        assert build_model(PAPER, 20).min_frames == 2
        assert build_model(SPEECHBRAIN, 20).min_frames == 5


@pytest.fixture(scope="module")
def speechbrain(tmp_path_factory):
    """Returns what went to SpeechBrain and what came back; in a process of its own, as for PLDA."""
    if find_spec("speechbrain") is None:
        pytest.skip("speechbrain is not installed")
    folder = tmp_path_factory.mktemp("speechbrain")
    generator = torch.Generator().manual_seed(12)
    given = {
        "clips": [feats(2, num_frames, seed=num_frames).double() for num_frames in (37, 5)],
        "frames": torch.randn(3, 8, 10, dtype=torch.double, generator=generator),
        "joined": torch.randn(3, 12, 10, dtype=torch.double, generator=generator),
        # half a frame below the length: relative lengths times ten are compared with whole numbers there
        "relative": torch.tensor([0.95, 0.65, 0.15], dtype=torch.double),
    }
    torch.save(given, folder / "in.pt")
    subprocess.run([sys.executable, "-c", SPEECHBRAIN_OUTPUTS], cwd=folder, check=True, capture_output=True)
    found = torch.load(folder / "out.pt")
    model = build_model(SPEECHBRAIN, 20).double().eval()
    ours = model.state_dict()
    # both list their tensors in the order of computation; SpeechBrain's affine maps are convolutions of one frame
    state = {name: theirs.view_as(x) for (name, x), theirs in zip(ours.items(), found["state"], strict=True)}
    model.load_state_dict(state)
    return given, found, model


# SpeechBrain divides by a float32 count of frames, in double precision too, and has another floor under the root.
def test_embeddings_are_those_of_speechbrain(speechbrain):
    given, found, model = speechbrain
    for clip, expected in zip(given["clips"], found["embedding"], strict=True):
        with torch.no_grad():
            torch.testing.assert_close(model(clip), expected, rtol=1e-5, atol=1e-5)


def test_gates_and_pooling_of_padded_clips_are_those_of_speechbrain(speechbrain):
    given, found, model = speechbrain
    mask_BT = torch.arange(10) < torch.tensor([10, 7, 2])[:, None]
    with torch.no_grad():
        gated = model.blocks[0].gates(given["frames"], mask_BT)
        pooled = model.pooling(given["joined"], mask_BT)
    torch.testing.assert_close(gated, found["gated"], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(pooled, found["pooled"], rtol=1e-5, atol=1e-7)


def numpy_of(tensor):
    return tensor.detach().numpy()


def normed(x, norm):
    x = (x - numpy_of(norm.running_mean)) / np.sqrt(numpy_of(norm.running_var) + 1e-5)
    return x * numpy_of(norm.weight) + numpy_of(norm.bias)


def convolved(x_TC, layer, dilation=1):
    """Returns convolution with zeros beyond the ends, ReLU, batch norm; by loops over frames and taps."""
    weight = numpy_of(layer.conv.weight)
    taps = weight.shape[2]
    y_TC = np.zeros((len(x_TC), len(weight))) + numpy_of(layer.conv.bias)
    for t in range(len(x_TC)):
        for k in range(taps):
            source = t + (k - taps // 2) * dilation
            if 0 <= source < len(x_TC):
                y_TC[t] += weight[:, :, k] @ x_TC[source]
    return normed(np.maximum(y_TC, 0), layer.norm)


def block_output(x_TC, block, dilation):
    y_TC = convolved(x_TC, block.dense1)
    first, second, third, fourth = (y_TC[:, 2 * group : 2 * group + 2] for group in range(4))
    second = convolved(second, block.res2.layers[0], dilation)
    third = convolved(third + second, block.res2.layers[1], dilation)
    fourth = convolved(fourth + third, block.res2.layers[2], dilation)
    y_TC = convolved(np.concatenate([first, second, third, fourth], axis=1), block.dense2)
    squeezed = np.maximum(numpy_of(block.gates.squeeze.weight) @ y_TC.mean(0) + numpy_of(block.gates.squeeze.bias), 0)
    excited = numpy_of(block.gates.excite.weight) @ squeezed + numpy_of(block.gates.excite.bias)
    return x_TC + y_TC / (1 + np.exp(-excited))


def test_the_papers_form_by_loops():
    model = small_model(PAPER).double()
    feats_BTF = feats(1, 17).double()
    y0 = convolved(feats_BTF[0].numpy(), model.first)
    y1 = block_output(y0, model.blocks[0], 2)
    y2 = block_output(y0 + y1, model.blocks[1], 3)
    y3 = block_output(y0 + y1 + y2, model.blocks[2], 4)
    joint = np.concatenate([y1, y2, y3], axis=1) @ numpy_of(model.join[0].weight)[:, :, 0].T + numpy_of(model.join[0].bias)
    with torch.no_grad():
        pooled = model.pooling(torch.from_numpy(np.maximum(joint, 0).T[None]))[0].numpy()
        found = model(feats_BTF)[0].numpy()
    expected = numpy_of(model.embedding.weight) @ normed(pooled, model.pooled_norm) + numpy_of(model.embedding.bias)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_mirroring_turns_at_each_clips_last_real_frame():
    x_BCT = torch.arange(12.0).reshape(2, 1, 6)
    mask_BT = torch.arange(6) < torch.tensor([[6], [4]])
    first, second = mirrored(x_BCT, 2, mask_BT)[:, 0].tolist()
    assert first == [2, 1, 0, 1, 2, 3, 4, 5, 4, 3]
    assert second[:8] == [8, 7, 6, 7, 8, 9, 8, 7]
    torch.testing.assert_close(mirrored(x_BCT, 2, None)[0, 0], torch.tensor(first))


def test_gates_stay_between_nothing_and_all():
    torch.manual_seed(0)
    x_BCT = torch.rand(2, 6, 5) + 0.1
    with torch.no_grad():
        ratio = SqueezeExcitation(6, 2)(x_BCT) / x_BCT
    assert 0 < ratio.min() <= ratio.max() < 1
    # one gate for all frames of a channel
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 12, "scale": 8}, "channels: expected a multiple of scale = 8, found 12"),
        ({"padding": "same"}, "padding: expected one of"),
        ({"dilations": ()}, "dilations: expected numbers"),
        ({"scale": 1}, "scale: expected a number above 1"),
    ],
)
def test_settings_that_no_network_has_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ECAPA(**fields)
