"""Identification: whose voice is it, of M enrolled speakers, and in the open set: is it any of theirs?

Definitions. A search compares one test item with all M enrolled speakers. It is mated if the item's speaker is enrolled,
non-mated if not. The rank of a mated search is 1 + the number of other enrolled speakers that score at least as high as
the right one: equal scores count against the system, so that one whose scores are all equal identifies nobody. Scores that
differ by no more than 1e-12 (of the score, where that is over 1) are equal: a matrix product gives a pair of embeddings another
last bit in another place, and which of two equal speakers gets it must not decide.
- identification rate at rank r (closed set): share of mated searches of rank r or better; over r = 1..M the
  cumulative match characteristic (CMC).
- false-positive identification rate FPIR(T), here also false-alarm rate (FAR): share of non-mated searches in which any
  enrolled speaker scores T or more.
- false-negative identification rate FNIR(R, T): share of mated searches whose speaker is not among the first R ranks or
  scores below T. The detection and identification rate DIR(R, T) is 1 - FNIR(R, T).
FPIR and FNIR grow with the number of enrolled speakers, which is to be reported beside them.

Source: ISO/IEC 19795-1:2021 and NIST FRTE 1:N (Grother, Ngan and Hanaoka, NISTIR 8271) for FPIR, FNIR and rank; Phillips,
    Grother and Micheals, "Evaluation methods in face recognition", Handbook of Face Recognition, 2011, for CMC and DIR.
Suffixes: M enrolled speakers, N searches, R replicates, K thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.metrics.replicates import draw_speaker_counts

NOT_ENROLLED = -1
TIE = 1e-12  # that equal scores may differ by: some thousand roundings of double precision
MAX_DRAWS = 1000  # of one replicate; a replicate without searches of both kinds is drawn again


@dataclass(frozen=True, eq=False)
class Searches:
    """All that figures need to know of N searches.

    Attributes:
        rank_N: of the right speaker, from 1; 0 where the search is non-mated.
        own_N: score of the right speaker; -inf where the search is non-mated.
        best_N: highest score of any enrolled speaker.
        num_enrolled: M; the largest, where searches of several galleries were put together.
    """

    rank_N: np.ndarray
    own_N: np.ndarray
    best_N: np.ndarray
    num_enrolled: int

    def __len__(self) -> int:
        return self.rank_N.size

    @property
    def mated_N(self) -> np.ndarray:
        """Which searches are mated."""
        return self.rank_N > 0


def rank_scores(scores: npt.ArrayLike, answer: npt.ArrayLike) -> Searches:
    """Return what becomes of the searches whose scores with each enrolled speaker are the columns of a matrix.

    Args:
        scores: `[M, N]`; higher = more likely the same speaker.
        answer: `[N]` row of the right speaker, or -1 (`NOT_ENROLLED`).

    Raises:
        ValueError: a matrix that is empty or not finite, or answers that are not one row, or -1, a column.
    """
    scores_MN = np.asarray(scores, dtype=np.float64)
    if scores_MN.ndim != 2 or 0 in scores_MN.shape:
        raise ValueError(f"scores: expected [enrolled speakers, searches], not empty, found shape {scores_MN.shape}")
    if not np.isfinite(scores_MN).all():
        row, column = np.argwhere(~np.isfinite(scores_MN))[0]
        raise ValueError(f"scores: expected finite numbers, found {scores_MN[row, column]} in row {row}, column {column}")
    answer_N = np.asarray(answer)
    if answer_N.shape != scores_MN.shape[1:] or not np.issubdtype(answer_N.dtype, np.integer):
        raise ValueError(f"answer: expected {scores_MN.shape[1]} whole numbers, found {answer_N.dtype} {answer_N.shape}")
    if answer_N.min() < NOT_ENROLLED or answer_N.max() >= len(scores_MN):
        raise ValueError(f"answer: expected -1 to {len(scores_MN) - 1}, found {answer_N.min()} to {answer_N.max()}")
    mated_N = answer_N != NOT_ENROLLED
    own_N = np.where(mated_N, scores_MN[answer_N, np.arange(answer_N.size)], -np.inf)
    # Counts the right speaker too, hence no + 1.
    least_N = own_N - TIE * np.maximum(1.0, np.abs(np.where(mated_N, own_N, 0.0)))
    rank_N = np.where(mated_N, (scores_MN >= least_N).sum(axis=0), 0)
    return Searches(rank_N, own_N, scores_MN.max(axis=0), len(scores_MN))


def rank_blocks(blocks: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> Searches:
    """Return the searches of blocks (scores [M, n], answer [n]), one block in memory at a time.

    Raises:
        ValueError: no blocks, or what `rank_scores` refuses.
    """
    return together([rank_scores(scores, answer) for scores, answer in blocks])


def together(searches: Sequence[Searches]) -> Searches:
    """Return several sets of searches as one, in their order; for instance of several draws of enrolled speakers.

    Raises:
        ValueError: none.
    """
    if not searches:
        raise ValueError("searches: expected at least one block, found none")
    arrays = (np.concatenate([getattr(each, name) for each in searches]) for name in ("rank_N", "own_N", "best_N"))
    return Searches(*arrays, num_enrolled=max(each.num_enrolled for each in searches))


def identification_rate(searches: Searches, rank: int = 1) -> float:
    """Return the share of mated searches of this rank or better; non-mated ones do not count.

    Raises:
        ValueError: a rank under 1, or no mated search.
    """
    return float(np.mean(identified(searches, rank)))


def identified(searches: Searches, rank: int = 1) -> np.ndarray:
    """Return whether each mated search is of this rank or better, as booleans [number of mated searches].

    Raises:
        ValueError: a rank under 1, or no mated search.
    """
    _check_rank(rank)
    rank_N = searches.rank_N[searches.mated_N]
    if not rank_N.size:
        raise ValueError("identification rate: expected searches of enrolled speakers, found none")
    return rank_N <= rank


def cmc(searches: Searches) -> np.ndarray:
    """Return the cumulative match characteristic: identification rate at rank 1, 2, ..., M, [M].

    Raises:
        ValueError: no mated search.
    """
    identified(searches)
    counts_M = np.bincount(searches.rank_N[searches.mated_N], minlength=searches.num_enrolled + 1)[1:]
    return np.cumsum(counts_M) / counts_M.sum()


def open_set_rates(searches: Searches, rank: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (thresholds, FAR = FPIR, DIR = 1 - FNIR) at every score that counts and at infinity, ascending, each [K].

    A search is positive where a score >= threshold. At the lowest threshold, the lowest best score, FAR is 1; at infinity
    both are 0.

    Raises:
        ValueError: a rank under 1, or searches of one kind only.
    """
    hit_N, miss_N = _kinds(searches, rank)
    thresholds_K = np.append(np.unique(np.concatenate([hit_N, miss_N])), np.inf)
    thresholds_K = thresholds_K[np.isneginf(thresholds_K).sum() :]
    far_K, dir_K = (
        (values.size - np.searchsorted(np.sort(values), thresholds_K, side="left")) / values.size for values in (miss_N, hit_N)
    )
    return thresholds_K, far_K, dir_K


def dir_at_far(searches: Searches, far: float, rank: int = 1) -> float:
    """Return the highest detection and identification rate at thresholds where the false-alarm rate is at most `far`.

    A step rule: nothing is interpolated. With n non-mated searches a `far` under 1 / n allows no false alarm.

    Raises:
        ValueError: `far` outside 0..1, a rank under 1, or searches of one kind only.
    """
    _check_far(far)
    _, far_K, dir_K = open_set_rates(searches, rank)
    # Both fall as the threshold rises: the first that is low enough.
    return float(dir_K[np.argmax(far_K <= far)])


def fnir_at_fpir(searches: Searches, fpir: float, rank: int = 1) -> float:
    """Return the lowest false-negative identification rate at an FPIR of at most `fpir`: 1 - `dir_at_far`."""
    return 1.0 - dir_at_far(searches, fpir, rank)


def thinned_curve(far: npt.ArrayLike, dirs: npt.ArrayLike, max_points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return no more than about `max_points` corners of an open-set curve, FAR ascending, to draw as steps.

    Of each FAR the highest DIR is kept; where these are still too many, they are taken evenly in the logarithm of the FAR.

    Raises:
        ValueError: `max_points` under 2.
    """
    if max_points < 2:
        raise ValueError(f"max_points: expected at least 2, found {max_points}")
    far_K, first = np.unique(np.asarray(far)[::-1], return_index=True)
    dir_K = np.maximum.reduceat(np.asarray(dirs)[::-1], first)
    if far_K.size > max_points:
        place_K = np.log(np.maximum(far_K, far_K[far_K > 0][0] / 2))
        chosen = np.unique(np.searchsorted(place_K, np.linspace(place_K[0], place_K[-1], max_points)).clip(0, far_K.size - 1))
        far_K, dir_K = far_K[chosen], dir_K[chosen]
    return far_K, dir_K


def bootstrap_dir_at_far(
    searches: Searches,
    speaker_index: npt.ArrayLike,
    fars: Sequence[float],
    *,
    rng: np.random.Generator,
    num_replicates: int = 1000,
    rank: int = 1,
) -> np.ndarray:
    """Return `dir_at_far` of bootstrap replicates over the speakers of test items, [R, len(fars)].

    Each replicate draws as many of them as there are, with replacement, enrolled or not, and takes all searches of those
    drawn; the enrolled speakers stay as they are. One without searches of both kinds is drawn again.

    Args:
        searches: mated and non-mated.
        speaker_index: `[N]` speaker of each search's test item, anything that numpy can sort.
        fars: false-alarm rates, as fractions.
        rng: source of the draws.
        num_replicates: how many replicates.
        rank: as in `dir_at_far`.

    Raises:
        ValueError: as `dir_at_far`, not one speaker a search, `num_replicates` under 1.
    """
    for far in fars:
        _check_far(far)
    if num_replicates < 1:
        raise ValueError(f"num_replicates: expected at least 1, found {num_replicates}")
    speaker_N = np.asarray(speaker_index)
    if speaker_N.shape != (len(searches),):
        raise ValueError(f"speaker_index: expected one for each of {len(searches)} searches, found shape {speaker_N.shape}")
    ids_S, code_N = np.unique(speaker_N, return_inverse=True)
    mated_N = searches.mated_N
    hit_N, miss_N = _kinds(searches, rank)
    weights_RS = _both_kinds_drawn(ids_S.size, code_N, mated_N, rng, num_replicates)
    order = np.argsort(miss_N, kind="stable")[::-1]
    score_K, first_K = np.unique(miss_N[order][::-1], return_index=True)
    # Non-mated weight at or above each distinct best score, from the highest.
    weight_RN = weights_RS[:, code_N[~mated_N][order]]
    at_or_above_RK = np.cumsum(weight_RN, axis=1)[:, miss_N.size - 1 - first_K][:, ::-1]
    far_RK = at_or_above_RK / at_or_above_RK[:, -1:]
    hit_order = np.argsort(hit_N, kind="stable")[::-1]
    hit_RN = np.cumsum(weights_RS[:, code_N[mated_N][hit_order]], axis=1)
    hit_R1N = np.concatenate([np.zeros((num_replicates, 1)), hit_RN], axis=1)
    # Accepting down to just above the highest best score that is one too many.
    fence_K = np.concatenate([score_K[::-1], [-np.inf]])
    above_K = np.searchsorted(-hit_N[hit_order], -fence_K, side="left")
    columns = [(far_RK <= far).sum(axis=1) for far in fars]
    values = [hit_R1N[np.arange(num_replicates), above_K[column]] / hit_RN[:, -1] for column in columns]
    return np.stack(values, axis=1)


def _kinds(searches: Searches, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores that detect and identify mated searches (-inf where the rank is too low), best scores of the others."""
    _check_rank(rank)
    mated_N = searches.mated_N
    if mated_N.all() or not mated_N.any():
        raise ValueError(
            "open set: expected searches of enrolled speakers and of others, "
            f"found {int(mated_N.sum())} of enrolled speakers in {mated_N.size}"
        )
    hit_N = np.where(searches.rank_N <= rank, searches.own_N, -np.inf)
    return hit_N[mated_N], searches.best_N[~mated_N]


def _both_kinds_drawn(
    num_speakers: int, code_N: np.ndarray, mated_N: np.ndarray, rng: np.random.Generator, num_replicates: int
) -> np.ndarray:
    mated_S, other_S = (np.bincount(code_N[kind], minlength=num_speakers) > 0 for kind in (mated_N, ~mated_N))
    kept: list[np.ndarray] = []
    for _ in range(num_replicates):
        for _ in range(MAX_DRAWS):
            counts_S = draw_speaker_counts(num_speakers, rng)
            if counts_S[mated_S].any() and counts_S[other_S].any():
                break
        else:
            raise ValueError(f"open set: no replicate of {num_speakers} speakers had searches of both kinds")
        kept.append(counts_S)
    return np.stack(kept).astype(np.float64)


def _check_rank(rank: int) -> None:
    if rank < 1:
        raise ValueError(f"rank: expected at least 1, found {rank}")


def _check_far(far: float) -> None:
    if not 0 <= far <= 1:
        raise ValueError(f"false-alarm rate: expected a fraction from 0 to 1, found {far}")
