"""Softmax and margin heads over very many speakers: class vectors dealt out over the ranks, and only some of them compared."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from steps.nnet.distributed import World, share_of
from steps.nnet.heads.base import Head
from steps.nnet.heads.margin import MarginHead, SoftmaxHead
from steps.nnet.layers import at_least_float32


class PartialHead(Head):
    """The losses of a `SoftmaxHead` or `MarginHead` whose class vectors lie on several ranks, exactly.

    Every rank is given the embeddings of all and holds the class vectors of its share of the speakers; of the softmax they
    tell one another its maximum, its sum and the target's logit.

    With `share` below 1 each rank compares only that share of its class vectors in an update: those of the speakers of the
    batch, and others drawn anew. The rest neither moves nor decays, and its optimiser state waits. A hit is then one among
    those compared.

    Source: An et al., "Partial FC", arXiv 2010.05222 and 2203.15565, algorithm 1; deepinsight/insightface, partial_fc_v2.py.
    """

    whole_batch = True
    partial = True

    def __init__(
        self,
        base: SoftmaxHead | MarginHead,
        world: World,
        *,
        share: float = 1.0,
        draws: Callable[[int], np.random.Generator] | None = None,
    ) -> None:
        """Takes over a head that is the same on all ranks.

        Args:
            base: whose weights this begins with.
            world: which ranks there are.
            share: of each rank's class vectors that an update sees.
            draws: number of an update -> this rank's randomness for it; needed for a share below 1.
        """
        super().__init__()
        self.world, self.share, self.draws = world, share, draws
        self.num_speakers = len(base.weight_SD)
        self.rows = share_of(self.num_speakers, world)  # of the whole, that are here
        self.margin = base.margin
        # What is trained: all rows that are here, or the drawn ones of them, which are put back after each update.
        self.drawn = nn.ParameterDict()
        for name, whole in base.named_parameters():
            self.drawn[name] = nn.Parameter(whole.detach()[self.rows].clone())
            if share < 1.0:
                self.register_buffer(f"here_{name}", self.drawn[name].detach().clone(), persistent=False)
        self.waiting: dict[str, dict[str, Tensor]] = {}  # name -> kind of optimiser state -> of all rows that are here
        self.index_N: Tensor | None = None  # which of them are drawn; None: all
        self.base = _without_weights(base)

    @property
    def num_here(self) -> int:
        """Speakers whose class vectors this rank holds."""
        return self.rows.stop - self.rows.start

    def forward(self, x_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns losses_B and hits_B of the examples of all ranks, the same on each."""
        with torch.autocast(x_BD.device.type, enabled=False):
            place_B = labels_B - self.rows.start
            is_here_B = (place_B >= 0) & (place_B < self.num_here)
            if self.share < 1.0 and self.training:
                place_B = self._draw(place_B, is_here_B)
            row_K, place_K = is_here_B.nonzero().squeeze(1), place_B[is_here_B]
            scores_BN = self._scores(at_least_float32(x_BD))
            target_K = scores_BN[row_K, place_K]
            hits_B = self._hits(scores_BN.detach(), row_K, target_K.detach())
            if isinstance(self.base[0], MarginHead):
                self.base[0].margin = self.margin
                scores_BN = scores_BN.index_put((row_K, place_K), self.base[0].target_cosine(target_K)) * self.base[0].scale
            return _CrossEntropy.apply(scores_BN, row_K, place_K, self.world), hits_B

    def _scores(self, x_BD: Tensor) -> Tensor:
        """Logits, or cosines, of the class vectors in use."""
        weight_ND = self.drawn["weight_SD"]
        if isinstance(self.base[0], SoftmaxHead):
            return functional.linear(x_BD, weight_ND, self.drawn.get("bias_S"))
        return functional.normalize(x_BD) @ functional.normalize(weight_ND).T

    def _hits(self, scores_BN: Tensor, row_K: Tensor, target_K: Tensor) -> Tensor:
        target_B = self.world.add_(scores_BN.new_zeros(len(scores_BN)).index_put((row_K,), target_K))
        return self.world.add_((scores_BN >= target_B[:, None]).sum(dim=1)) == 1

    @torch.no_grad()
    def _draw(self, place_B: Tensor, is_here_B: Tensor) -> Tensor:
        """Draws rows into `drawn`; returns where there the speakers of the batch are."""
        keys_S = self.draws(self.update).random(self.num_here)
        keys_S[place_B[is_here_B].cpu().numpy()] = 2.0  # those always come
        num = min(self.num_here, max(1, round(self.share * self.num_here), int((keys_S == 2.0).sum())))
        chosen_N = np.sort(np.argpartition(-keys_S, num - 1)[:num])
        self.index_N = torch.from_numpy(chosen_N).to(place_B.device)
        for name, parameter in self.drawn.items():
            parameter.data = self.get_buffer(f"here_{name}")[self.index_N]
            parameter.grad = None
        return torch.searchsorted(self.index_N, place_B)

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One step of the optimiser, with the state of the drawn rows, which then go back to their places."""
        if self.index_N is None:
            optimizer.step()
            return
        for name, parameter in self.drawn.items():
            for kind, here in self.waiting.get(name, {}).items():
                optimizer.state[parameter][kind] = here[self.index_N]
        optimizer.step()
        for name, parameter in self.drawn.items():
            here = self.get_buffer(f"here_{name}")
            here[self.index_N] = parameter.data
            for kind, value in _by_row(optimizer.state[parameter], parameter).items():
                waiting = self.waiting.setdefault(name, {}).setdefault(kind, torch.zeros_like(here))
                waiting[self.index_N] = value

    def whole(self) -> Head:
        """Returns the head with all class vectors, as one process would have it, on the CPU. All ranks call it."""
        head = copy.deepcopy(self.base[0])
        for name, value in self.state_of_all().items():
            setattr(head, name, nn.Parameter(value))
        return head

    def state_of_all(self) -> dict[str, Tensor]:
        """Returns the weights of all speakers by the names of the plain head. All ranks call it."""
        return {name: self._gathered(self._here(name)) for name in self.drawn}

    def load_state_of_all(self, state: Mapping[str, Tensor]) -> None:
        """Takes this rank's rows of what `state_of_all` returned.

        Raises:
            ValueError: of other speakers, or of another head.
        """
        if state.keys() != set(self.drawn) or len(state["weight_SD"]) != self.num_speakers:
            raise ValueError(f"head: expected {sorted(self.drawn)} of {self.num_speakers} speakers, found {sorted(state)}")
        for name, parameter in self.drawn.items():
            own = state[name][self.rows].to(parameter.device)
            parameter.data = own.clone()
            if self.share < 1.0:
                self.get_buffer(f"here_{name}").copy_(own)
        self.index_N = None

    def optimizer_state_of_all(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Returns the optimiser's state with that of all class vectors. All ranks call it."""
        state = optimizer.state_dict()
        for name, number, parameter in self._numbered(optimizer):
            found = self.waiting.get(name) if self.share < 1.0 else _by_row(optimizer.state[parameter], parameter)
            if found:
                gathered = {kind: self._gathered(value) for kind, value in found.items()}
                state["state"][number] = state["state"][number] | gathered
        return state

    def load_optimizer_state_of_all(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Goes back to what `optimizer_state_of_all` returned."""
        mine = state | {"state": dict(state["state"])}
        for name, number, parameter in self._numbered(optimizer):
            whole = mine["state"].get(number, {})
            own = {
                kind: value[self.rows].to(parameter.device)
                for kind, value in whole.items()
                if isinstance(value, Tensor) and value.ndim and len(value) == self.num_speakers
            }
            mine["state"][number] = whole | own
            if self.share < 1.0:
                self.waiting[name] = {kind: value.clone() for kind, value in own.items()}
        optimizer.load_state_dict(mine)

    def _here(self, name: str) -> Tensor:
        return self.get_buffer(f"here_{name}") if self.share < 1.0 else self.drawn[name].detach()

    def _gathered(self, here: Tensor) -> Tensor:
        return self.world.stacked(here.cpu(), self.world.sizes(self.num_here))

    def _numbered(self, optimizer: torch.optim.Optimizer) -> list[tuple[str, int, nn.Parameter]]:
        """Name, number in the optimiser's state, and parameter."""
        order = [id(each) for group in optimizer.param_groups for each in group["params"]]
        return [(name, order.index(id(each)), each) for name, each in self.drawn.items()]


class _CrossEntropy(torch.autograd.Function):
    """losses_B of logits whose columns are dealt out over ranks; `place_K` are the targets' columns here, in rows `row_K`."""

    @staticmethod
    def forward(ctx: FunctionCtx, logits_BN: Tensor, row_K: Tensor, place_K: Tensor, world: World) -> Tensor:
        top_B = world.largest_(logits_BN.max(dim=1).values)
        shifted_BN = logits_BN - top_B[:, None]
        target_B = shifted_BN.new_zeros(len(top_B)).index_put((row_K,), shifted_BN[row_K, place_K])
        p_BN = shifted_BN.exp_()
        sum_B, target_B = world.add_(torch.stack([p_BN.sum(dim=1), target_B]))
        ctx.save_for_backward(p_BN.div_(sum_B[:, None]), row_K, place_K)
        return sum_B.log() - target_B

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient_B: Tensor) -> tuple[Tensor | None, ...]:
        p_BN, row_K, place_K = ctx.saved_tensors
        gradient_BN = p_BN * gradient_B[:, None]
        gradient_BN[row_K, place_K] -= gradient_B[row_K]
        return gradient_BN, None, None, None


def _without_weights(base: Head) -> tuple[Head]:
    """The head for its arithmetic alone; in a tuple, so that it is no part of the module."""
    head = copy.copy(base)
    head._parameters = dict.fromkeys(base._parameters)
    return (head,)


def _by_row(state: Mapping[str, Any], parameter: nn.Parameter) -> dict[str, Tensor]:
    """What of a parameter's optimiser state has a value for each of its entries."""
    return {kind: value for kind, value in state.items() if isinstance(value, Tensor) and value.shape == parameter.shape}
