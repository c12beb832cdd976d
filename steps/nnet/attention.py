"""Pooling over time in which every channel weighs the frames by itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.layers import at_least_float32, zero_padding
from steps.nnet.pooling import VARIANCE_FLOOR, statistics


class AttentiveStatisticsPooling(nn.Module):
    """Weighted means, then weighted standard deviations over time, with weights that sum to one over the real frames.

    The weight of frame t in channel c is softmax over t of (V h_t + k)_c, h_t = tanh(W z_t + b). z_t is x_t, or with
    `global_context` x_t on top of the plain mean and standard deviation of the clip. `hidden = "relu_bn_tanh"` puts ReLU
    and batch norm before the tanh, as the public ECAPA programs do.

    Shape: x_BCT, mask_BT (true on real frames) -> [B, 2 * channels], at least float32.

    Source: Okabe et al., arXiv 1803.10963 (one weight per frame there); Desplanques et al., arXiv 2005.07143, eq. 1 to 3
    and section 3.1. Under the root stands the floor of `steps.nnet.pooling` instead of a clamp.
    """

    factor = 2
    # one frame has no deviation
    min_frames = 2

    def __init__(self, channels: int, attention_dim: int = 128, global_context: bool = True, *, hidden: str = "tanh") -> None:
        super().__init__()
        if hidden not in ("tanh", "relu_bn_tanh"):
            raise ValueError(f"hidden: expected 'tanh' or 'relu_bn_tanh', found {hidden!r}")
        self.channels = channels
        self.global_context = global_context
        self.inner = nn.Conv1d(3 * channels if global_context else channels, attention_dim, 1)
        self.hidden = nn.Identity()
        if hidden == "relu_bn_tanh":
            self.hidden = nn.Sequential(nn.ReLU(), nn.BatchNorm1d(attention_dim))
        self.outer = nn.Conv1d(attention_dim, channels, 1)

    def forward(self, x_BCT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        logits_BCT = at_least_float32(self.outer(torch.tanh(self.hidden(self._projected(x_BCT, mask_BT)))))
        if mask_BT is not None:
            logits_BCT = logits_BCT.masked_fill(~mask_BT[:, None], float("-inf"))
        weight_BCT = logits_BCT.softmax(dim=2)
        # a weight of zero does not silence padding that is not finite
        x_BCT = zero_padding(at_least_float32(x_BCT), mask_BT)
        mean_BC = (weight_BCT * x_BCT).sum(dim=2)
        variance_BC = (weight_BCT * (x_BCT - mean_BC[..., None]).square()).sum(dim=2)
        return torch.cat([mean_BC, (variance_BC + VARIANCE_FLOOR).sqrt()], dim=1)

    def _projected(self, x_BCT: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Returns W z + b; the part of the clip's statistics is the same in every frame and so computed once."""
        if not self.global_context:
            return self.inner(x_BCT)
        weight = self.inner.weight
        clip_BC = torch.cat(statistics(x_BCT, mask_BT), dim=1)
        context_BC = functional.linear(clip_BC, weight[:, self.channels :, 0], self.inner.bias)
        return functional.conv1d(x_BCT, weight[:, : self.channels]) + context_BC[..., None]
