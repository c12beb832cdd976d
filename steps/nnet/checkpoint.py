"""Training states and trained models on disk.

A file is there whole or not at all: it is written under a temporary name, synced, renamed. Its bytes depend on its
content alone, not on its name.
"""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

PLAIN = (Tensor, bool, int, float, str, bytes, type(None))


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes nested dicts, lists and tuples of tensors, numbers and strings.

    Raises:
        ValueError: something else is in there, which `load` would refuse (a numpy number, say).
    """
    _check_plain(state, "state")
    _write(Path(path), lambda file: torch.save(state, file))


def load(path: Path) -> dict[str, Any]:
    """Returns what `save` wrote, tensors on the CPU; runs no code from the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short or no checkpoint.
    """
    try:
        with Path(path).open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: no readable checkpoint, cut short or of another kind ({error})") from error


def save_model(path: Path, model: nn.Module) -> None:
    """Writes the parameters and running statistics of a bare model (no DDP, no torch.compile around it)."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    content = safetensors.torch.save(tensors)
    _write(Path(path), lambda file: file.write(content))


def load_model(path: Path, model: nn.Module) -> None:
    """Fills the model from a file of `save_model`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short, or belongs to a model of other settings.
    """
    state = load_tensors(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: belongs to a model of other settings: {error}") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file of `save_model` by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is cut short or no model.
    """
    try:
        return safetensors.torch.load(Path(path).read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: no readable model, cut short or of another kind ({error})") from error


def average(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the mean of state dicts of one model: floats (running statistics too) in double, integers of the last.

    Raises:
        ValueError: there are none, or their names differ.
    """
    if not states:
        raise ValueError("average of models: expected at least one, found none")
    for number, state in enumerate(states):
        if state.keys() != states[0].keys():
            differing = sorted(state.keys() ^ states[0].keys())
            raise ValueError(f"average of models: number {number} and number 0 differ in {differing[:5]}")
    return {name: _mean([state[name] for state in states]) for name in states[-1]}


def _mean(tensors: list[Tensor]) -> Tensor:
    last = tensors[-1]
    if not last.is_floating_point():
        return last.clone()
    total = torch.zeros_like(last, dtype=torch.float64)
    for tensor in tensors:
        total += tensor
    return (total / len(tensors)).to(last.dtype)


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_plain(item, f"{where}[{number}]")
    # The exact type: numpy's float64 is a float to isinstance, and refused when it is read again.
    elif not isinstance(value, Tensor) and type(value) not in PLAIN:
        raise ValueError(f"{where}: expected a tensor, number, string or None, found {type(value).__name__}")


def _write(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
