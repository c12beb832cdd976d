import types

import pytest
import torch

from steps.nnet import checkpoint, precision


def product_type(precision_name):
    with precision.autocast_for("cpu", precision_name):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_the_named_precisions_decide_the_products():
    assert product_type("float32") == torch.float32
    assert product_type("bf16") == torch.bfloat16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"neon": True, "bf16": True}, "bf16"),
        ({}, "float32"),
    ],
)
def test_auto_is_bf16_only_where_the_processor_has_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: types.MappingProxyType(capabilities))
    monkeypatch.setattr(precision, "_onednn_has_bf16", lambda: True)
    assert precision.supports_bf16("cpu") == (expected == "bf16")
    assert precision.chosen_precision("cpu", "auto") == expected
    assert product_type("auto") == {"bf16": torch.bfloat16, "float32": torch.float32}[expected]


def test_auto_is_float32_where_onednn_may_not_use_what_the_processor_has(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precision, "_onednn_has_bf16", lambda: False)
    assert precision.chosen_precision("cpu", "auto") == "float32"


def without_kernel(device):
    torch.rand(1)  # as a layer's initial weights
    raise RuntimeError("could not create a primitive descriptor")


def with_kernel(device):
    torch.rand(1)


def test_a_network_with_a_layer_that_has_no_bfloat16_here_runs_in_float32_or_is_refused(monkeypatch):
    monkeypatch.setattr(precision, "supports_bf16", lambda device: True)
    monkeypatch.setitem(precision.LAYERS, "lame", without_kernel)
    monkeypatch.setitem(precision.LAYERS, "sound", with_kernel)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    assert precision.chosen_precision("cpu", "auto", ["sound"]) == "bf16"
    assert precision.chosen_precision("cpu", "bf16", ["sound"]) == "bf16"
    assert precision.chosen_precision("cpu", "auto", ["sound", "lame"]) == "float32"
    assert precision.chosen_precision("cpu", "float32", ["lame"]) == "float32"
    with pytest.raises(ValueError, match=r"precision = 'bf16', but this CPU \(\w+\) has no lame layer in bfloat16"):
        precision.chosen_precision("cpu", "bf16", ["sound", "lame"])
    assert torch.equal(torch.rand(5), expected)
    precision.runs_in_bf16.cache_clear()


def test_a_layer_can_be_tried_where_gradients_are_off():
    precision.runs_in_bf16.cache_clear()
    expected = precision.runs_in_bf16(torch.device("cpu"), "lstm")
    precision.runs_in_bf16.cache_clear()
    with torch.inference_mode():
        assert precision.runs_in_bf16(torch.device("cpu"), "lstm") == expected


def test_unknown_precisions_are_refused():
    with pytest.raises(ValueError, match="found 'fp16'"):
        precision.autocast_for("cpu", "fp16")


def test_random_numbers_go_on_where_they_stood(tmp_path):
    torch.manual_seed(3)
    torch.rand(10)
    checkpoint.save(tmp_path / "last.pt", {"rng": precision.get_rng_state()})
    expected = torch.rand(5)
    torch.manual_seed(99)
    precision.set_rng_state(checkpoint.load(tmp_path / "last.pt")["rng"])
    assert torch.equal(torch.rand(5), expected)


def test_a_state_of_other_devices_is_refused():
    state = precision.get_rng_state()
    state["cuda"] = [*state["cuda"], torch.zeros(16, dtype=torch.uint8)]
    with pytest.raises(ValueError, match="CUDA devices"):
        precision.set_rng_state(state)
