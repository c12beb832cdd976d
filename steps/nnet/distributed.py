"""Several processes that train one network: what they tell one another.

Each process is a rank. All have the same weights and see the same draw of batches, of which each works on its share; what
depends on the whole batch (losses, batch norms, gradients) is added up over the ranks, so that a batch is the same update
whatever the number of ranks. Sums in another order have other last bits, no more.

On CPUs the ranks talk by gloo, on GPUs by NCCL.
"""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class RankLost(RuntimeError):
    """Another rank has ended, or did not answer for too long."""


class World:
    """The ranks of a run, as one of them sees them. `World()` is a process on its own: every method then costs nothing.

    All ranks call the same methods in the same order. Methods raise RankLost where another rank does not answer.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def join(cls, store: Any, *, rank: int, size: int, device: torch.device, timeout: float) -> "World":
        """Returns the world of `size` ranks once all of them are there.

        Args:
            store: of torch.distributed, the same for all.
            rank: of this process, from 0.
            size: how many ranks there are.
            device: where this rank computes.
            timeout: seconds that ranks wait for one another.
        """
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _contact():
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=timeout))
        return cls(rank, size)

    def leave(self) -> None:
        """The last thing that a rank does."""
        if self.size > 1:
            dist.destroy_process_group()

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes files and decides when to save and to stop."""
        return self.rank == 0

    def add_(self, x: Tensor) -> Tensor:
        """Returns x, changed in place to its sum over ranks."""
        return self._reduce(x, dist.ReduceOp.SUM)

    def largest_(self, x: Tensor) -> Tensor:
        """Returns x, changed in place to the largest of all ranks, entry by entry."""
        return self._reduce(x, dist.ReduceOp.MAX)

    def _reduce(self, x: Tensor, operation: Any) -> Tensor:
        if not self.alone:
            with _contact():
                dist.all_reduce(x, operation)
        return x

    def begin_sum(self, x: Tensor) -> Any:
        """Begins to add x up in place; `end_sum` of what is returned waits for it."""
        with _contact():
            return dist.all_reduce(x, async_op=True)

    def end_sum(self, work: Any) -> None:
        """Waits for a sum that was begun."""
        with _contact():
            work.wait()

    def from_first(self, value: Any) -> Any:
        """Returns rank 0's value (numbers, strings, tensors on the CPU, lists and dicts of them); others give anything."""
        if self.alone:
            return value
        values = [value if self.is_first else None]
        with _contact():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def agreed(self, *flags: bool) -> list[bool]:
        """Returns rank 0's flags, for all."""
        if self.alone:
            return list(flags)
        said = torch.tensor(flags, dtype=torch.int64)
        with _contact():
            dist.broadcast(said, src=0)
        return [bool(each) for each in said]

    def sizes(self, num: int) -> list[int]:
        """Returns the number that each rank gives."""
        if self.alone:
            return [num]
        sizes_R = torch.zeros(self.size, dtype=torch.int64)
        sizes_R[self.rank] = num
        return self.add_(sizes_R).tolist()

    def stacked(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Returns the rows of all ranks, rank after rank, without a gradient; this one gives `sizes[rank]` of them."""
        start = sum(sizes[: self.rank])
        # Added to zeros: exact, and ranks may give unequally many.
        whole = x.new_zeros(sum(sizes), *x.shape[1:])
        whole[start : start + len(x)] = x.detach()
        return self.add_(whole)

    def together(self, x_BD: Tensor, sizes: list[int], *, split_loss: bool = False) -> Tensor:
        """As `stacked`, with the gradient of this rank's rows.

        Args:
            x_BD: rows of this rank.
            sizes: rows of each rank.
            split_loss: whether each rank sees another part of the dependence on the rows, so that their gradients have to
                be added up; otherwise all ranks go on to the same loss in the same way.
        """
        return x_BD if self.alone else _Together.apply(x_BD, self, sizes, split_loss)


ALONE = World()


class _Together(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x_BD: Tensor, world: World, sizes: list[int], split_loss: bool) -> Tensor:
        ctx.world, ctx.split_loss = world, split_loss
        ctx.start = sum(sizes[: world.rank])
        ctx.num = len(x_BD)
        return world.stacked(x_BD, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.split_loss:
            gradient = ctx.world.add_(gradient.contiguous().clone())
        return gradient[ctx.start : ctx.start + ctx.num], None, None, None


def share_of(num: int, world: World) -> slice:
    """Returns which of `num` things are this rank's: neighbours, and of all ranks at most one more than of another."""
    return slice(world.rank * num // world.size, (world.rank + 1) * num // world.size)


@contextlib.contextmanager
def _contact() -> Iterator[None]:
    """torch says by RuntimeErrors of many kinds that a rank is gone."""
    try:
        yield
    except RuntimeError as error:
        raise RankLost(str(error).partition("\n")[0]) from error
