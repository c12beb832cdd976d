"""Pairs of different speakers that a network finds alike, to be trained on: offline hard negatives."""

import numpy as np

from steps.data.sampling import SpeakerIndex

CHUNK = 8192  # pairs compared at once


def mine_hard_negatives(
    rng: np.random.Generator, labels_N: np.ndarray, embeddings_ND: np.ndarray, num_pairs: int, share: float
) -> np.ndarray:
    """The nearest of randomly generated pairs of different speakers, `[K, 2]` indices, the nearest first.

    Distances are Euclidean between unit vectors. Both utterances of a pair are drawn evenly, the second one from all that
    other speakers have; a pair that is drawn again (in either order) counts once.

    Args:
        rng: draws the pairs.
        labels_N: `[N]` speaker of each utterance.
        embeddings_ND: `[N, D]` embedding of each utterance.
        num_pairs: drawn.
        share: of the pairs that are returned; at least one is.

    Raises:
        ValueError: there is one speaker only, embeddings and labels do not fit, or a setting is out of range.

    Source: Chung et al., Interspeech 2018: the top 1% of randomly generated pairs.
    """
    if embeddings_ND.ndim != 2 or len(embeddings_ND) != len(labels_N):
        raise ValueError(f"mining: expected embeddings of {len(labels_N)} utterances, found shape {embeddings_ND.shape}")
    if num_pairs < 1 or not 0 < share <= 1:
        raise ValueError(f"mining: expected at least 1 pair and a share above 0 and up to 1, found {num_pairs}, {share}")
    pairs_P2 = _different_speakers(rng, labels_N, num_pairs)
    lengths_N = np.linalg.norm(embeddings_ND, axis=1)
    squared_P = np.concatenate(
        [
            _squared_distances(embeddings_ND, lengths_N, pairs_P2[start : start + CHUNK])
            for start in range(0, len(pairs_P2), CHUNK)
        ]
    )
    nearest = np.argsort(squared_P, kind="stable")[: max(1, round(share * len(pairs_P2)))]
    return pairs_P2[nearest]


def _different_speakers(rng: np.random.Generator, labels_N: np.ndarray, num_pairs: int) -> np.ndarray:
    """Random pairs `[P, 2]` of utterances of different speakers, the lower index first, each once, sorted."""
    index = SpeakerIndex.of(labels_N)
    num = len(labels_N)
    if len(index.size_S) < 2:
        raise ValueError(f"mining: expected utterances of at least 2 speakers, found {len(index.size_S)}")
    first = rng.integers(num, size=num_pairs)
    start, size = index.first_S[index.speaker_N[first]], index.size_S[index.speaker_N[first]]
    # A place among the utterances by speaker, with those of the first one's speaker stepped over.
    place = rng.integers(num - size)
    second = index.order_N[place + np.where(place >= start, size, 0)]
    codes = np.unique(np.minimum(first, second) * num + np.maximum(first, second))
    return np.stack(np.divmod(codes, num), axis=1)


def _squared_distances(embeddings_ND: np.ndarray, lengths_N: np.ndarray, pairs_P2: np.ndarray) -> np.ndarray:
    lengths_P2 = np.maximum(lengths_N[pairs_P2], np.finfo(lengths_N.dtype).tiny)
    first_PD, second_PD = (embeddings_ND[pairs_P2[:, side]] / lengths_P2[:, side, None] for side in (0, 1))
    return np.square(first_PD - second_PD).sum(axis=1)
