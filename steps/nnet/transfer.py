"""Beginning with the weights of another network."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from steps.nnet.networks.base import EmbeddingNetwork


@dataclass(frozen=True)
class Transfer:
    """What was taken over, by name, and what keeps its fresh weights."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]


def transfer(model: EmbeddingNetwork, state: Mapping[str, Tensor]) -> Transfer:
    """Fills the model with all tensors of `state` that have the same name and shape, and returns which these were.

    The layers before the pooling must agree entirely; those behind it may be others, or of other sizes, and then stay fresh.

    Raises:
        ValueError: the layers before the pooling differ, with the first that does.
    """
    own = model.state_dict()
    taken = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    parts = {id(tensor) for part in model.frame_part() for tensor in (*part.parameters(), *part.buffers())}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if id(tensor) in parts and name in own and name not in taken:
            found = tuple(state[name].shape) if name in state else "none"
            raise ValueError(f"layers before the pooling differ: {name}: expected shape {tuple(tensor.shape)}, found {found}")
    model.load_state_dict({**own, **taken})
    return Transfer(tuple(taken), tuple(sorted(own.keys() - taken.keys())))


def freeze(parts: list[nn.Module]) -> None:
    """Takes the parameters of these layers out of training; their batch norms are put into eval mode by the training loop."""
    for part in parts:
        part.requires_grad_(False)
