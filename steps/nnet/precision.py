"""In which number format a network runs, and torch's random state."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

PRECISIONS = ("auto", "float32", "bf16")
# Names in torch.cpu.get_capabilities(): bfloat16 products of AVX-512, AMX and Arm.
CPU_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def supports_bf16(device: torch.device | str) -> bool:
    """Returns whether the device multiplies bfloat16 in hardware.

    Torch emulates it elsewhere: right, and slower than float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(flag, False) for flag in CPU_BF16_FLAGS)
    return False


def chosen_precision(device: torch.device | str, precision: str) -> str:
    """Returns "float32" or "bf16"; "auto" is bf16 where the device has it.

    The choice decides bits: record it.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {PRECISIONS}, found {precision!r}")
    if precision == "auto":
        return "bf16" if supports_bf16(device) else "float32"
    return precision


def chosen_device(name: str) -> torch.device:
    """Returns the device for "cpu", "cuda", or "auto": the first GPU if there is one.

    Raises:
        ValueError: "cuda" where torch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device = 'cuda', but there is no GPU here that torch can use")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def autocast_for(device: torch.device | str, precision: str) -> AbstractContextManager:
    """Returns the context in which to run a network's forward pass at this precision ("auto", "float32", "bf16").

    Weights stay float32: matrix products and convolutions run in bfloat16, statistics and losses do not.
    """
    if chosen_precision(device, precision) == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def get_rng_state() -> dict[str, Any]:
    """Returns the state of torch's generators, CPU and all CUDA devices, fit for `checkpoint.save`."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_rng_state(state: dict[str, Any]) -> None:
    """Sets torch's generators to a state of `get_rng_state`.

    Raises:
        ValueError: the state comes from another number of CUDA devices.
    """
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if len(state["cuda"]) != num_devices:
        raise ValueError(f"random state: expected {num_devices} CUDA devices, found {len(state['cuda'])}")
    torch.set_rng_state(state["cpu"])
    if num_devices:
        torch.cuda.set_rng_state_all(state["cuda"])
