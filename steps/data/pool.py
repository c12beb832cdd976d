"""Which utterances active learning begins with, tries and takes in: pure functions of arrays and a generator.

The pool is a mask of utterances, `[N]`, True for those that are trained on.
"""

import numpy as np

from steps.data.sampling import SpeakerIndex


def first_pool(rng: np.random.Generator, labels_N: np.ndarray, share: float) -> np.ndarray:
    """Returns in_pool_N: `share` of each speaker's utterances, rounded up, so at least one, drawn without preference.

    The paper begins with 10 % "of each speaker", which it says became about 17 % of VoxCeleb2 dev by rounding; rounded up for
    each speaker it is little more than 10 %, and what else was rounded is not said.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of each speaker's utterances: expected above 0 and at most 1, found {share}")
    index = SpeakerIndex.of(labels_N)
    in_pool_N = np.zeros(len(labels_N), dtype=bool)
    for speaker, size in enumerate(index.size_S):
        count = int(np.ceil(share * size - 1e-9))  # 0.55 of 100 is a little more than 55 in binary
        in_pool_N[rng.choice(index.utterances(speaker), size=count, replace=False)] = True
    return in_pool_N


def candidates(rng: np.random.Generator, labels_N: np.ndarray, in_pool_N: np.ndarray, num_speakers: int) -> np.ndarray:
    """Returns, rising, the utterances outside the pool of `num_speakers` speakers drawn among those who have any; 0: of all.

    Source: stdm/ZHAW_deep_voice tries 128 speakers a round; whether it draws them among those who have something left is
    not known.
    """
    left_K = np.flatnonzero(~in_pool_N)
    speakers = np.unique(labels_N[left_K])
    if 0 < num_speakers < len(speakers):
        speakers = rng.choice(speakers, size=num_speakers, replace=False)
    return left_K[np.isin(labels_N[left_K], speakers)]


def most_uncertain(uncertainty_K: np.ndarray, labels_K: np.ndarray, count: int, per_speaker: int) -> np.ndarray:
    """Returns the places, rising, of the `count` largest uncertainties, at most `per_speaker` of one speaker (0: any number).

    Of equals the earlier place comes first. Fewer come back where there are no more.

    Raises:
        ValueError: not as many labels as uncertainties, or one that is not finite.
    """
    if uncertainty_K.shape != labels_K.shape or not np.isfinite(uncertainty_K).all():
        raise ValueError(
            f"uncertainties: expected {len(labels_K)} finite numbers, found shape {uncertainty_K.shape}, "
            f"{int((~np.isfinite(uncertainty_K)).sum())} of them not finite"
        )
    order_K = np.argsort(-uncertainty_K, kind="stable")
    if per_speaker:
        order_K = order_K[_rank_in_speaker(labels_K[order_K]) < per_speaker]
    return np.sort(order_K[:count])


def _rank_in_speaker(labels_K: np.ndarray) -> np.ndarray:
    """How many of the same label stand before each."""
    index = SpeakerIndex.of(labels_K)
    return index.place_N - index.first_S[index.speaker_N]
