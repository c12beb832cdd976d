import os
from collections import OrderedDict

import numpy as np
import pytest
import torch

from steps.nnet import checkpoint
from steps.nnet.models import build_model
from steps.nnet.settings import ResNet, XVector

STATE = {
    "step": 12,
    "rng": {"cpu": torch.arange(5, dtype=torch.uint8), "cuda": [], "numpy": 2**127 + 3},
    "model": OrderedDict(weight=torch.randn(2, 3), count=torch.tensor(4)),
    "best": [("epoch", 3, 0.25), None, True],
}


def small_model(seed=0, channels=4):
    torch.manual_seed(seed)
    return build_model(ResNet(blocks=(1, 1, 1, 1), channels=channels, embedding_dim=8), 20)


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
        assert found.dtype == expected.dtype
    else:
        assert found == expected


def test_a_state_comes_back_as_it_was(tmp_path):
    checkpoint.save(tmp_path / "last.pt", STATE)
    assert_same(checkpoint.load(tmp_path / "last.pt"), STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_an_optimizer_with_momentum_comes_back(tmp_path):
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 20, 20)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "last.pt", {"optimizer": optimizer.state_dict()})
    again = torch.optim.SGD(small_model(1).parameters(), lr=0.5, momentum=0.9)
    again.load_state_dict(checkpoint.load(tmp_path / "last.pt")["optimizer"])
    assert_same(again.state_dict()["state"][0], optimizer.state_dict()["state"][0])


@pytest.mark.parametrize("write", ["save", "save_model"])
def test_bytes_do_not_depend_on_the_name(tmp_path, write):
    content = STATE if write == "save" else small_model()
    for name in ("a.pt", "another_name.bin"):
        getattr(checkpoint, write)(tmp_path / name, content)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another_name.bin").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1})

    def full_disk(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_the_content_is_synced_before_the_rename(tmp_path, monkeypatch):
    events = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append((tmp_path / "last.pt").exists()), sync(fd)))
    checkpoint.save(tmp_path / "last.pt", {"step": 1})
    assert events == [False, True]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_named(tmp_path, share):
    checkpoint.save(tmp_path / "last.pt", STATE)
    checkpoint.save_model(tmp_path / "model.safetensors", small_model())
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"last\.pt: no readable checkpoint"):
        checkpoint.load(tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"model\.safetensors: no readable model"):
        checkpoint.load_model(tmp_path / "model.safetensors", small_model())


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"x": os.getcwd}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match=r"evil\.pt: no readable checkpoint"):
        checkpoint.load(tmp_path / "evil.pt")


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError):
        checkpoint.load_model(tmp_path / "none.safetensors", small_model())


@pytest.mark.parametrize("value", [np.float64(0.1), np.zeros(3), {1, 2}, small_model])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, value):
    with pytest.raises(ValueError, match=r"state\['best'\]\[1\]: expected a tensor"):
        checkpoint.save(tmp_path / "last.pt", {"best": [1, value]})
    assert not list(tmp_path.iterdir())


def test_a_model_comes_back_bit_by_bit_also_from_channels_last(tmp_path):
    model, again = small_model(channels=16), small_model(1, channels=16)
    assert any(not value.is_contiguous() for value in model.state_dict().values())
    model(torch.randn(4, 20, 20))
    checkpoint.save_model(tmp_path / "model.safetensors", model)
    checkpoint.load_model(tmp_path / "model.safetensors", again)
    assert_same(dict(again.state_dict()), dict(model.state_dict()))


def test_a_model_of_other_settings_is_refused(tmp_path):
    checkpoint.save_model(tmp_path / "model.safetensors", small_model())
    with pytest.raises(ValueError, match=r"model\.safetensors: belongs to a model of other settings"):
        checkpoint.load_model(tmp_path / "model.safetensors", build_model(XVector(channels=(4,) * 5), 20))


def test_average_is_that_of_doubles_and_the_last_integers():
    states = [
        {"weight": torch.tensor([value, 1.0]), "running_var": torch.tensor([count]), "num": torch.tensor(int(count))}
        for value, count in ((2.0**24, 1.0), (1.0, 2.0), (1.0, 6.0))
    ]
    mean = checkpoint.average(states)
    # In float32 2^24 + 1 + 1 = 2^24 when summed one by one.
    assert mean["weight"].tolist() == [np.float32((2.0**24 + 2) / 3), 1.0]
    assert mean["running_var"].item() == 3.0
    assert mean["num"].item() == 6
    assert mean["weight"].dtype == torch.float32


def test_average_refuses_nothing_and_different_models():
    with pytest.raises(ValueError, match="found none"):
        checkpoint.average([])
    with pytest.raises(ValueError, match=r"differ in \['b'\]"):
        checkpoint.average([{"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)}])
