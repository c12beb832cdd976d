"""What every training head is, and what the heads share.

Heads compute in float32 (or double, if given that) also under autocast: at a scale of 32 the 8 bits of a bfloat16 cosine
move a logit by 0.1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Head(nn.Module):
    """From embeddings and speakers to losses: `forward(x_BD, labels_B) -> (losses_K, hits_K)`.

    K counts what the head decides about (utterances, pairs, triplets): `losses_K` has a loss for each, whose mean is
    minimised, and `hits_K` is true where the decision was right (detached, for the accuracy in the log).

    Training sets `margin` before every update where a schedule moves it, and `update` (updates done so far, from 0).
    """

    margin = 0.0
    update = 0
    # Whether a loss, or what the head keeps, depends on other examples of the batch: with several ranks it is given all of it.
    whole_batch = False
    # Whether it holds a part of the speakers (heads/partial.py).
    partial = False


class AbsentHead(Head):
    """The head of a model that is trained without one: an error for all that are trained by gradients."""

    def __init__(self, settings: object, input_dim: int, num_speakers: int) -> None:
        raise ValueError("head.type = 'none' is of a model that is trained without gradients (train.method = 'em')")


def classified(logits_BS: Tensor, labels_B: Tensor) -> Tensor:
    """Returns hits_B: where the largest logit is that of the speaker; a speaker that ties with another one is no hit."""
    logits_BS = logits_BS.detach()
    target_B = logits_BS.gather(1, labels_B[:, None]).squeeze(1)
    return (logits_BS >= target_B[:, None]).sum(dim=1) == 1


def cross_entropies(logits_BS: Tensor, labels_B: Tensor) -> Tensor:
    """Returns losses_B: the cross-entropy of each row."""
    return functional.cross_entropy(logits_BS, labels_B, reduction="none")


def apart(scores_BS: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Returns target_B, the scores of the speakers, and others_BS, where they are minus infinity.

    `others_BS` is `scores_BS` changed in place: of a hundred thousand speakers one copy of their scores is enough.
    """
    # Indexing, unlike gather, keeps nothing of the scores for its gradient that could not be overwritten.
    target_B = scores_BS[torch.arange(len(labels_B), device=labels_B.device), labels_B]
    return target_B, scores_BS.scatter_(1, labels_B[:, None], -torch.inf)


def together(target_B: Tensor, others_BS: Tensor, labels_B: Tensor) -> Tensor:
    """Returns scores_BS, the reverse of `apart`: `others_BS` changed in place."""
    return others_BS.scatter_(1, labels_B[:, None], target_B[:, None])


def log1p_exp(x: Tensor) -> Tensor:
    """Returns log(1 + exp(x)), exact to the last digits of a double; 0 at minus infinity."""
    return functional.softplus(x, threshold=40.0)


def class_vectors(num_speakers: int, dim: int) -> nn.Parameter:
    """Returns fresh class vectors, normal with Glorot's variance; its size sets how fast their directions move."""
    weight_SD = torch.empty(num_speakers, dim)
    nn.init.xavier_normal_(weight_SD)
    return nn.Parameter(weight_SD)
