"""Poolings over time with learnt weights, shared by a group of channels or of each channel's own.

All take x [B, ..., T], whose middle dimensions they flatten (a channel at a bin is a channel here), and mask_BT, true on
real frames. H heads cut the channels into H groups of neighbours, [B, H, G, T], and each head weighs the frames for its own
group. `steps.nnet.attention` has the weights per channel of ECAPA-TDNN.
"""

import math

import torch
from torch import Tensor, nn

from steps.nnet.attention import AttentiveStatisticsPooling
from steps.nnet.layers import at_least_float32, zero_padding
from steps.nnet.pooling import VARIANCE_FLOOR


def attention_weights(logits: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Returns the softmax over the real frames of [B, ..., T]; zero on the others, at least float32."""
    logits = at_least_float32(logits)
    if mask_BT is not None:
        logits = logits.masked_fill(~mask_BT.view(mask_BT.shape[0], *(1,) * (logits.ndim - 2), -1), float("-inf"))
    return logits.softmax(dim=-1)


def weighted_statistics(x: Tensor, weight: Tensor, mask_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation over time under weights that sum to one; weight broadcasts to x.

    The deviation is sqrt(sum of w (x - mean)^2 + 1e-10), the same as of sum of w x^2 - mean^2 but never of less than 0.
    """
    # a weight of zero does not silence padding that is not finite
    x = zero_padding(at_least_float32(x), mask_BT)
    mean = (weight * x).sum(dim=-1)
    variance = (weight * (x - mean[..., None]).square()).sum(dim=-1)
    return mean, (variance + VARIANCE_FLOOR).sqrt()


def flattened(x: Tensor) -> Tensor:
    """Returns x_BCT of [B, ..., T]."""
    return x.flatten(1, -2)


class ChannelAttentivePooling(AttentiveStatisticsPooling):
    """Attentive statistics with weights of each channel's own, without the clip's context: [B, ..., T] -> [B, 2 C].

    Source: Desplanques et al., arXiv 2005.07143; wenet-e2e/wespeaker, pooling_layers.py, ASTP.
    """

    def __init__(self, channels: int, attention_dim: int = 128) -> None:
        super().__init__(channels, attention_dim, global_context=False)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        return super().forward(flattened(x), mask_BT)


class BNAttentivePooling(nn.Module):
    """Attentive statistics with weights of each channel's own whose hidden layer is ReLU and batch norm: [B, ..., T] -> [B, 2 C].

    The logits are V BN(relu(W x + b)) + k, all means precede all deviations.

    Source: wenet-e2e/wespeaker, pooling_layers.py, ASP (of the SimAM ResNets of VoxBlink2).
    """

    factor = 2
    # one frame has no deviation
    min_frames = 2

    def __init__(self, channels: int, attention_dim: int = 128) -> None:
        super().__init__()
        self.inner = nn.Conv1d(channels, attention_dim, 1)
        self.norm = nn.BatchNorm1d(attention_dim)
        self.outer = nn.Conv1d(attention_dim, channels, 1)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        x_BCT = flattened(x)
        logits_BCT = self.outer(self._normalised(torch.relu(self.inner(x_BCT)), mask_BT))
        return torch.cat(weighted_statistics(x_BCT, attention_weights(logits_BCT, mask_BT), mask_BT), dim=1)

    def _normalised(self, hidden_BHT: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Returns the batch norm of the hidden units; padding does not enter its statistics."""
        if mask_BT is None:
            return self.norm(hidden_BHT)
        hidden_BTH = hidden_BHT.transpose(1, 2)
        normed = self.norm(hidden_BTH[mask_BT])
        return normed.new_zeros(hidden_BTH.shape).masked_scatter(mask_BT[..., None], normed).transpose(1, 2)


class AttentivePooling(nn.Module):
    """Attentive statistics with one weight per frame and head: [B, ..., T] -> [B, 2 C].

    The logits of all heads are V tanh(W x + b) + k: 1x1 convolutions C -> attention_dim -> heads. Head h weighs the frames
    of channel group h. All means precede all deviations, channels in their order.

    With one head it is the pooling of the source; what more heads do is not published for Zhou et al. (ASRU 2019), who
    have them: groups keep the output as long as it was.

    Source: Okabe et al., arXiv 1803.10963, equations 4 to 7.
    """

    factor = 2
    # one frame has no deviation
    min_frames = 2

    def __init__(self, channels: int, attention_dim: int = 128, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.inner = nn.Conv1d(channels, attention_dim, 1)
        self.outer = nn.Conv1d(attention_dim, heads, 1)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        x_BCT = flattened(x)
        weight_BHT = attention_weights(self.outer(torch.tanh(self.inner(x_BCT))), mask_BT)
        x_BHGT = x_BCT.unflatten(1, (self.heads, -1))
        mean, deviation = weighted_statistics(x_BHGT, weight_BHT[:, :, None], mask_BT)
        return torch.cat([mean.flatten(1), deviation.flatten(1)], dim=1)


class MultiHeadPooling(nn.Module):
    """Weighted means, the weights of a head from the likeness of its channel group to a learnt query: [B, ..., T] -> [B, C].

    The logit of frame t for head h is x_th . u_h / sqrt(C / H), without a hidden layer.

    Source: India et al., arXiv 1906.09890, equations 2 to 5.
    """

    factor = 1
    min_frames = 1

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        self.query_HG = nn.Parameter(torch.empty(heads, channels // heads))
        nn.init.xavier_normal_(self.query_HG)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        heads, group = self.query_HG.shape
        with torch.autocast(x.device.type, enabled=False):
            x_BHGT = zero_padding(at_least_float32(flattened(x)), mask_BT).unflatten(1, (heads, group))
            logits_BHT = torch.einsum("hg,bhgt->bht", self.query_HG, x_BHGT) / math.sqrt(group)
            return torch.einsum("bht,bhgt->bhg", attention_weights(logits_BHT, mask_BT), x_BHGT).flatten(1)


class MultiQueryPooling(nn.Module):
    """Weighted means and deviations of Q queries per head: [B, ..., T] -> [B, Q * 2 C].

    Query q of head h looks at channel group h only: logits V_qh tanh(W_qh x_h + b_qh) + k_qh, one for each channel of the
    group. The result is, query by query, all means and then all deviations (the public program has means and deviations
    head by head, which the layer behind it cannot tell apart).

    Source: Zhao et al., arXiv 2110.05042; wenet-e2e/wespeaker, pooling_layers.py, MQMHASTP with d_s = 2 (Q 2, H 8, 64
    hidden units there).
    """

    # one frame has no deviation
    min_frames = 2

    def __init__(self, channels: int, attention_dim: int = 128, heads: int = 1, queries: int = 1) -> None:
        super().__init__()
        self.factor = 2 * queries
        self.heads, self.queries = heads, queries
        # groups: the hidden units of head 0 (query 0, query 1, ...), then those of head 1, ...
        self.inner = nn.Conv1d(channels, heads * queries * attention_dim, 1, groups=heads)
        self.outer = nn.Conv1d(heads * queries * attention_dim, queries * channels, 1, groups=heads * queries)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        x_BCT = flattened(x)
        logits = self.outer(torch.tanh(self.inner(x_BCT))).unflatten(1, (self.heads, self.queries, -1))
        logits_BQCT = logits.transpose(1, 2).flatten(2, 3)
        statistics = weighted_statistics(x_BCT[:, None], attention_weights(logits_BQCT, mask_BT), mask_BT)
        return torch.cat(statistics, dim=2).flatten(1)
