"""What heads that classify speakers say of an embedding, without labels and without margin."""

from torch import Tensor
from torch.nn import functional

from steps.nnet.heads.base import Head
from steps.nnet.heads.basis import HeoHead
from steps.nnet.heads.centre import CentreHead
from steps.nnet.heads.l2_softmax import L2SoftmaxHead
from steps.nnet.heads.margin import MarginHead, SoftmaxHead
from steps.nnet.heads.sphere import ASoftmaxHead, SphereFace2Head
from steps.nnet.layers import at_least_float32


def class_outputs(head: Head, x_BD: Tensor) -> Tensor:
    """Returns outputs_BS: what the head compares to tell whose an embedding is.

    Margin heads (am, aam, combined, sub_centre, and a_softmax and sphereface2): the cosines, before scale and margin.
    Softmax heads (softmax, l2_softmax, heo): the probabilities. A centre head: the outputs of its base.

    Raises:
        ValueError: a head without an output for each speaker.
    """
    outputs_BS, are_logits = _outputs(head, x_BD)
    return outputs_BS.softmax(dim=1) if are_logits else outputs_BS


def class_scores(head: Head, x_BD: Tensor) -> Tensor:
    """Returns scores_BS to identify by, higher = more likely that speaker: as `class_outputs`, but logarithms of probabilities.

    A probability that is too small for a number still has a logarithm, and its rank.

    Raises:
        ValueError: as `class_outputs`.
    """
    outputs_BS, are_logits = _outputs(head, x_BD)
    return outputs_BS.log_softmax(dim=1) if are_logits else outputs_BS


def _outputs(head: Head, x_BD: Tensor) -> tuple[Tensor, bool]:
    """outputs_BS, and whether they are logits of a softmax."""
    x_BD = at_least_float32(x_BD)
    if isinstance(head, CentreHead):
        return _outputs(head.base, x_BD)
    if isinstance(head, MarginHead):
        return head.cosines(functional.normalize(x_BD)), False
    if isinstance(head, ASoftmaxHead | SphereFace2Head):
        return functional.normalize(x_BD) @ functional.normalize(head.weight_SD).T, False
    if isinstance(head, L2SoftmaxHead):
        x_BD = head.alpha * functional.normalize(x_BD)
    elif not isinstance(head, SoftmaxHead | HeoHead):
        raise ValueError(f"head: expected one with an output for each speaker, found {type(head).__name__}")
    return functional.linear(x_BD, head.weight_SD, head.bias_S), True
