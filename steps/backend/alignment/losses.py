"""Losses that bring two embedding spaces together.

Suffixes: S speakers, Q queries of each, N items, E dimensions of the shared space. Every loss normalises what it is given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def ge2e_similarities(query_SQE: Tensor, centroid_SE: Tensor, own_SQE: Tensor | None = None) -> Tensor:
    """Return cos(query j of speaker i, centroid k), as [S, Q, S].

    Args:
        query_SQE: mapped test embeddings, by the run-time model.
        centroid_SE: mapped profile of each speaker, by the enrolment model.
        own_SQE: for the speaker itself (k = i) the profile without utterance j. Queries and profiles come from two models, so a
            query is never itself part of a centroid; what is left out is the enrolment model's embedding of the same utterance,
            which would let the map match the recording and not the voice. Not needed where queries and profiles have no
            utterance in common.
    """
    query_SQE = normalize(query_SQE, dim=-1)
    cosine_SQS = query_SQE @ normalize(centroid_SE, dim=-1).T
    if own_SQE is None:
        return cosine_SQS
    own_SQ = (query_SQE * normalize(own_SQE, dim=-1)).sum(dim=-1)
    is_own_S1S = torch.eye(len(centroid_SE), dtype=torch.bool, device=query_SQE.device)[:, None, :]
    return torch.where(is_own_S1S, own_SQ[:, :, None], cosine_SQS)


def ge2e_loss(query_SQE: Tensor, centroid_SE: Tensor, scale: Tensor | float, own_SQE: Tensor | None = None) -> Tensor:
    """Return the GE2E softmax loss, mean over queries: -S_ij,i + log sum_k exp(S_ij,k), S_ij,k = w cos(e_ij, c_k) + b.

    b adds the same to all S_ij,k of a query and so cancels: it is left out. w = `scale` must be above 0 (the caller's part).

    Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018, equations 5, 6, 8 and 9, with profiles and
        queries from different models (Gao et al., arXiv 2401.12440).
    """
    similarity_SQS = scale * ge2e_similarities(query_SQE, centroid_SE, own_SQE)
    num_speakers, num_queries, _ = similarity_SQS.shape
    target_N = torch.arange(num_speakers, device=query_SQE.device).repeat_interleave(num_queries)
    return cross_entropy(similarity_SQS.reshape(-1, num_speakers), target_N)


def aam_loss(embedding_NE: Tensor, class_SE: Tensor, target_N: Tensor, *, scale: float, margin: float) -> Tensor:
    """Return the additive angular margin softmax loss, mean over items; both spaces are given the same class matrix.

    The target's logit is s cos(theta + m); past theta = pi - m, where that would rise again, s (cos(theta) - m sin(m)).

    Source: Deng et al., "ArcFace", 2019, equation 3; the guard is that of clovaai's voxceleb_trainer.
    """
    cosine_NS = normalize(embedding_NE, dim=-1) @ normalize(class_SE, dim=-1).T
    cosine_N1 = cosine_NS.gather(1, target_N[:, None])
    sine_N1 = (1.0 - cosine_N1.square()).clamp(min=1e-9).sqrt()  # the root has no slope at 0
    shifted_N1 = cosine_N1 * math.cos(margin) - sine_N1 * math.sin(margin)
    guarded_N1 = torch.where(cosine_N1 > math.cos(math.pi - margin), shifted_N1, cosine_N1 - margin * math.sin(margin))
    return cross_entropy(scale * cosine_NS.scatter(1, target_N[:, None], guarded_N1), target_N)


def regression_loss(enrol_NE: Tensor, run_NE: Tensor) -> Tensor:
    """Return the mean of 1 - cos of both models' (mapped) embeddings of the same utterances."""
    return (1.0 - (normalize(enrol_NE, dim=-1) * normalize(run_NE, dim=-1)).sum(dim=-1)).mean()
