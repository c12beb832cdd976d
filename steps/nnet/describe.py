"""What a network is made of: a line for each layer that has weights or changes the shape."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steps.nnet.networks.base import EmbeddingNetwork


@dataclass(frozen=True)
class Layer:
    """One layer as it was called."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of the output for one clip
    parameters: int


def layers_of(model: EmbeddingNetwork, num_frames: int, num_bins: int) -> list[Layer]:
    """Returns the layers in the order in which a clip of `[num_frames, num_bins]` passes them.

    These are the modules without modules of their own, and those that hold weights beside such ones. A layer that is called
    several times stands where it is called first; one that is never called (behind the embedding, say) is left out.

    Raises:
        ValueError: the clip is shorter than the network needs.
    """
    found: dict[str, Layer] = {}

    def watch(name: str, module: nn.Module) -> None:
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            if name not in found:
                own = sum(p.numel() for p in module.parameters(recurse=bool(not list(module.children()))))
                found[name] = Layer(name, type(module).__name__, _shape(output), own)

        handles.append(module.register_forward_hook(hook))

    handles: list = []
    for name, module in model.named_modules():
        if name and (not list(module.children()) or list(module.parameters(recurse=False))):
            watch(name, module)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            # Two clips: pairs of modules may not take a batch of one.
            embedding_BD = model(torch.zeros(2, num_frames, num_bins))
            model.classifier_input(embedding_BD)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return [layer for layer in found.values() if layer.kind != "Identity"]


def _shape(output: object) -> tuple[int, ...]:
    if isinstance(output, Tensor):
        return tuple(output.shape[1:])
    if isinstance(output, tuple | list) and output:
        return _shape(output[0])
    return tuple(getattr(getattr(output, "data", None), "shape", ()))  # a packed sequence


def table(layers: list[Layer], *, num_frames: int, num_bins: int, embedding_dim: int, total: int) -> str:
    """Returns the layers as lines of aligned columns, the sum of the parameters last."""
    rows = [("layer", "kind", "output", "parameters"), ("input", "", f"{num_frames} x {num_bins}", "")]
    rows += [(each.name, each.kind, " x ".join(map(str, each.shape)), f"{each.parameters:,}") for each in layers]
    rows.append((f"embedding: {embedding_dim}", "", "", f"{total:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3].rjust(12)]) for row in rows
    )
