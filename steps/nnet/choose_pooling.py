"""The pooling that a network's settings name."""

from typing import Any

from torch import nn

from steps.nnet.attentive_pooling import (
    AttentivePooling,
    BNAttentivePooling,
    ChannelAttentivePooling,
    MultiHeadPooling,
    MultiQueryPooling,
)
from steps.nnet.pooling import GlobalMaxPooling, GlobalMeanPooling, MaxPooling, MeanPooling, StatisticsPooling

# poolings without parameters
PLAIN = {
    "mean": MeanPooling,
    "statistics": StatisticsPooling,
    "max": MaxPooling,
    "global_mean": GlobalMeanPooling,
    "global_max": GlobalMaxPooling,
}


def build_pooling(settings: Any, channels: int, bins: int = 1) -> tuple[nn.Module, int]:
    """Returns the pooling, from [B, channels, T] or [B, channels, bins, T] to [B, dim], and its dim.

    It also takes mask_BT (true on real frames), has `min_frames`, and gives at least float32. `settings` has the fields
    `pooling`, `attention_dim`, `heads` and `queries`. A network over bins and frames has a channel at a bin where another
    one has a channel; the global poolings alone take all bins of a channel together.

    Raises:
        ValueError: the channels cannot be dealt out to the heads evenly.
    """
    name, vectors = settings.pooling, channels * bins
    if name in PLAIN:
        pooling = PLAIN[name]()
        return pooling, pooling.factor * (channels if name.startswith("global") else vectors)
    if vectors % settings.heads:
        raise ValueError(f"model.heads: expected a divisor of the {vectors} channels to pool, found {settings.heads}")
    pooling = _attentive(settings, vectors)
    return pooling, pooling.factor * vectors


def _attentive(settings: Any, channels: int) -> nn.Module:
    match settings.pooling:
        case "attentive_statistics":
            return AttentivePooling(channels, settings.attention_dim, settings.heads)
        case "channel_attentive":
            return ChannelAttentivePooling(channels, settings.attention_dim)
        case "channel_attentive_bn":
            return BNAttentivePooling(channels, settings.attention_dim)
        case "multi_head":
            return MultiHeadPooling(channels, settings.heads)
        case "multi_query":
            return MultiQueryPooling(channels, settings.attention_dim, settings.heads, settings.queries)
    raise ValueError(f"model.pooling: there is no {settings.pooling!r}")
