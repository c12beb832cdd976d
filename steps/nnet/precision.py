"""In which number format a network runs, and torch's random state."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import nn

PRECISIONS = ("auto", "float32", "bf16")
# Names in torch.cpu.get_capabilities(): bfloat16 products of AVX-512, AMX and Arm.
CPU_BF16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def supports_bf16(device: torch.device | str) -> bool:
    """Returns whether the device multiplies bfloat16 in hardware.

    Torch emulates it elsewhere: right, and slower than float32. So it does on a CPU that has it where oneDNN, which computes
    these products, is told not to use it (ONEDNN_MAX_CPU_ISA).
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(flag, False) for flag in CPU_BF16_FLAGS) and _onednn_has_bf16()
    return False


def _onednn_has_bf16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _lstm(device: torch.device) -> None:
    layer = nn.LSTM(2, 2, bidirectional=True).to(device)
    layer(torch.zeros(1, 1, 2, device=device))[0].sum().backward()


# Layers that torch emulates nowhere: where the hardware has no bfloat16 kernel for them they raise. A network names those that
# it is made of (`EmbeddingNetwork.bf16_layers`), and whether they run here is found by running them.
LAYERS: dict[str, Callable[[torch.device], None]] = {"lstm": _lstm}


@lru_cache
def runs_in_bf16(device: torch.device, layer: str) -> bool:
    """Returns whether a layer of `LAYERS` can be trained in bfloat16 on this device; torch's random state stays as it is."""
    generators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(generators), torch.inference_mode(False), torch.enable_grad():
        try:
            with torch.autocast(device.type, dtype=torch.bfloat16):
                LAYERS[layer](device)
        except RuntimeError:
            return False
    return True


def chosen_precision(device: torch.device | str, precision: str, layers: Sequence[str] = ()) -> str:
    """Returns "float32" or "bf16"; "auto" is bf16 where the device has it, for all of a network.

    The choice decides bits: record it.

    Args:
        device: where the network is.
        precision: "auto", "float32" or "bf16".
        layers: the network's `bf16_layers`.

    Raises:
        ValueError: unknown precision, or "bf16" where one of the layers cannot run in it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {PRECISIONS}, found {precision!r}")
    device = torch.device(device)
    if precision == "float32" or (precision == "auto" and not supports_bf16(device)):
        return "float32"
    missing = [layer for layer in layers if not runs_in_bf16(device, layer)]
    if missing and precision == "bf16":
        raise ValueError(f"precision = 'bf16', but {_hardware(device)} has no {missing[0]} layer in bfloat16")
    return "float32" if missing else "bf16"


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return f"this GPU ({torch.cuda.get_device_name(device)})"
    return f"this CPU ({torch.backends.cpu.get_cpu_capability()})"


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
