"""What ranks keep the same between them while a network learns: statistics of batch norms, and gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from steps.nnet.distributed import World

BUCKET_BYTES = 16 * 2**20  # of gradients that are added up at a time, while backward makes the next


class SyncBatchNorm(_BatchNorm):
    """Batch norm over the examples of all ranks: with them it is what nn.BatchNorm is in one process with the whole batch.

    torch.nn.SyncBatchNorm is for GPUs only. State and parameters are named as those of nn.BatchNorm.
    """

    world: World

    @classmethod
    def of(cls, norm: _BatchNorm, world: World) -> "SyncBatchNorm":
        """Returns one that takes over the parameters and statistics of a batch norm: the same tensors, not copies."""
        made = cls(norm.num_features, norm.eps, norm.momentum, affine=False, track_running_stats=norm.track_running_stats)
        made.weight, made.bias, made.affine = norm.weight, norm.bias, norm.affine
        for name, buffer in norm.named_buffers():
            setattr(made, name, buffer)
        made.world = world
        return made.train(norm.training)

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise ValueError(f"batch norm: expected [B, C, ...], found shape {tuple(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Returns x `[B, C, ...]` normalised over all but its channels, and over ranks."""
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        y, mean_C, var_C, count = _Normalise.apply(x, self.weight, self.bias, self.eps, self.world)
        if self.track_running_stats:
            self._move_statistics(mean_C, var_C * (count / (count - 1)))
        return y

    @torch.no_grad()
    def _move_statistics(self, mean_C: Tensor, var_C: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running_C, new_C in ((self.running_mean, mean_C), (self.running_var, var_C)):
            running_C.mul_(1.0 - share).add_(new_C.to(running_C.dtype), alpha=share)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over the batches of all ranks, the variance over N.

    Means and squared deviations of the ranks are joined as in Chan, Golub and LeVeque (1979), equation 1.4 for many parts. What
    goes over x is done by the kernels of torch's own batch norm: in plain operations it takes as long as all else in a ResNet.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight_C: Tensor | None, bias_C: Tensor | None, epsilon: float, world: World
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=_layout(x))
        unused_C = x.new_zeros(x.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))  # says in which precision
        mean_C, var_C = torch.batch_norm_update_stats(x, unused_C, unused_C.clone(), 0.0)
        parts_R = mean_C.new_zeros(world.size, 2 * x.shape[1] + 1, dtype=torch.float64)
        parts_R[world.rank, 0] = x.numel() // x.shape[1]
        parts_R[world.rank, 1:] = torch.cat([mean_C, var_C])
        count_R, mean_RC, var_RC = world.add_(parts_R).tensor_split([1, 1 + x.shape[1]], dim=1)
        count = count_R.sum()
        all_mean_C = (count_R * mean_RC).sum(dim=0) / count
        all_var_C = (count_R * (var_RC + (mean_RC - all_mean_C).square())).sum(dim=0) / count
        joined_C, inverse_C = all_mean_C.to(mean_C.dtype), (all_var_C + epsilon).rsqrt().to(mean_C.dtype)
        ctx.save_for_backward(x, weight_C, joined_C, inverse_C, count)
        ctx.world, ctx.has_bias, ctx.epsilon = world, bias_C is not None, epsilon
        y = torch.batch_norm(x, weight_C, bias_C, joined_C, all_var_C.to(mean_C.dtype), False, 0.0, epsilon, False)
        ctx.mark_non_differentiable(all_mean_C, all_var_C, count)
        return y, all_mean_C, all_var_C, count

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor, *unused: Any) -> tuple[Tensor | None, ...]:
        x, weight_C, mean_C, inverse_C, count = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_layout(x))  # otherwise the kernel adds up bf16 in bf16
        # Sums of the gradient times the normalised x, and of the gradient.
        _, of_weight_C, of_bias_C = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight_C, None, None, mean_C, inverse_C, True, ctx.epsilon, [False, True, True]
        )
        own_2C = torch.stack([of_bias_C, of_weight_C]).to(torch.float64)
        means_2C = (ctx.world.add_(own_2C) / count).to(mean_C.dtype)
        # d x = (d y - mean(d y) - unit * mean(d y * unit)) * weight / deviation
        factor_C = inverse_C if weight_C is None else inverse_C * weight_C
        slope_C = -means_2C[1] * inverse_C * factor_C
        x_gradient = torch.addcmul(_along(-means_2C[0] * factor_C - mean_C * slope_C, x), gradient, _along(factor_C, x))
        x_gradient.addcmul_(x, _along(slope_C, x))
        return x_gradient.to(x.dtype), None if weight_C is None else of_weight_C, of_bias_C if ctx.has_bias else None, None, None


def _layout(x: Tensor) -> torch.memory_format:
    """In which order x lies in memory."""
    is_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def _along(values_C: Tensor, x: Tensor) -> Tensor:
    """One number for each channel of x `[B, C, ...]`, in a shape that broadcasts."""
    return values_C.view(1, -1, *(1,) * (x.ndim - 2))


def synchronise_batch_norms(module: nn.Module, world: World) -> None:
    """Puts a `SyncBatchNorm` in the place of every batch norm below a module."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, SyncBatchNorm.of(child, world))
        else:
            synchronise_batch_norms(child, world)


class GradientSum:
    """Adds up gradients over ranks, by buckets that do not depend on time: the same bits whenever a run was resumed.

    A bucket is sent as soon as backward has made its gradients and those of the buckets before it; backward goes on.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], factors: Sequence[float], world: World) -> None:
        """Watches parameters, each of whose gradients is multiplied by its factor before it is added up."""
        self.world = world
        self.factor_of = dict(zip(parameters, factors, strict=True))
        self.buckets: list[list[nn.Parameter]] = []
        room = 0
        for parameter in reversed(parameters):  # about the order in which backward comes by them
            size = parameter.numel() * parameter.element_size()
            if not self.buckets or size > room or parameter.dtype != self.buckets[-1][0].dtype:
                self.buckets.append([])
                room = BUCKET_BYTES
            self.buckets[-1].append(parameter)
            room -= size
        self.bucket_of = {parameter: number for number, bucket in enumerate(self.buckets) for parameter in bucket}
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._made)
        self.begin()

    def begin(self) -> None:
        """Before each backward pass."""
        self.missing = [len(bucket) for bucket in self.buckets]
        self.sent: list[tuple[Tensor, Any]] = []

    def finish(self) -> None:
        """After it: every gradient is its sum over ranks. A parameter that has none, on all ranks alike, gets none."""
        while len(self.sent) < len(self.buckets):
            self._send()
        for bucket, (flat, work) in zip(self.buckets, self.sent, strict=True):
            self.world.end_sum(work)
            for parameter, part in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(part.view_as(parameter))
        self.sent = []

    def _made(self, parameter: nn.Parameter) -> None:
        self.missing[self.bucket_of[parameter]] -= 1
        while len(self.sent) < len(self.buckets) and self.missing[len(self.sent)] == 0:
            self._send()

    def _send(self) -> None:
        bucket = self.buckets[len(self.sent)]
        flat = torch.cat(
            [
                each.new_zeros(each.numel()) if each.grad is None else (each.grad * self.factor_of[each]).flatten()
                for each in bucket
            ]
        )
        self.sent.append((flat, self.world.begin_sum(flat)))
