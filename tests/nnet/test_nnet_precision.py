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
    assert precision.supports_bf16("cpu") == (expected == "bf16")
    assert precision.chosen_precision("cpu", "auto") == expected
    assert product_type("auto") == {"bf16": torch.bfloat16, "float32": torch.float32}[expected]


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
