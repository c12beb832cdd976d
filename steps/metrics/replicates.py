"""Replicates of a joint bootstrap over speakers: what each makes trials weigh, and figures of all of them at once.

The draws depend on the trials and not on the scores: `draw_replicates` makes them once, and any number of
systems is weighed with them (which is also what pairs them, see paired.py). Weights are whole numbers and
their sums exact, so that no figure depends on the order of summation, and a search by blocks (`_Ranked`) finds
the very value that walking along all thresholds finds.
Suffixes: P trials, S speakers, R replicates (r of them at a time), K systems, U cells (pairs of speakers that have
trials), B blocks of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from steps.metrics.cllr import min_cllr_of_curve
from steps.metrics.costs import bayes_threshold
from steps.metrics.curve import ErrorCurve, checked_scores, checked_truth, cumulate, order_scores

Statistic = Callable[[ErrorCurve], float]

FIGURES = ("eer", "min_dcf", "min_cllr", "act_dcf", "cllr")  # the last two are of LLRs
CHUNK_NUMBERS = 4_000_000  # weights held at a time, 32 MB


@dataclass(frozen=True, eq=False)
class Cells:
    """Trials of one kind, target or non-target, put together by the (unordered) pair of their speakers."""

    trial_P: np.ndarray  # [P of this kind] whole numbers: index of each such trial in the list
    cell_P: np.ndarray  # [P of this kind] cell of each such trial
    speakers_2U: np.ndarray  # [2, U]
    size_U: np.ndarray  # [U] trials of each cell
    same_speaker: str  # what a trial between a speaker and himself weighs: see `draw_replicates`

    def weights(self, counts_SR: np.ndarray) -> np.ndarray:
        """Return the weight of a trial of each cell in each replicate, [U, R]."""
        first_U, second_U = self.speakers_2U
        if self.same_speaker == "square":
            return counts_SR[first_U] * counts_SR[second_U]
        return counts_SR[first_U] * np.where((first_U == second_U)[:, None], 1.0, counts_SR[second_U])

    def any_drawn(self, counts_S: np.ndarray) -> bool:
        """Return whether any trial weighs more than nothing in a replicate."""
        drawn_S = counts_S > 0
        # The first thousand cells nearly always hold one, and a long list has hundreds of thousands.
        return any(drawn_S[self.speakers_2U[:, part]].all(axis=0).any() for part in (slice(1000), slice(1000, None)))


@dataclass(frozen=True, eq=False)
class Replicates:
    """How often each replicate of a joint bootstrap drew each speaker, and which speakers the trials have.

    Attributes:
        counts_SR: times that a replicate drew a speaker, as float64.
        targets: cells of the target trials.
        nontargets: cells of the non-target trials.
    """

    counts_SR: np.ndarray
    targets: Cells
    nontargets: Cells

    @property
    def num_trials(self) -> int:
        """Trials of both kinds."""
        return self.targets.trial_P.size + self.nontargets.trial_P.size

    def chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield (replicates, weights of target cells [U, r], of non-target cells [U, r]), so many as memory allows."""
        step = max(1, CHUNK_NUMBERS // (self.targets.size_U.size + self.nontargets.size_U.size))
        for start in range(0, self.counts_SR.shape[1], step):
            part = slice(start, start + step)
            counts_Sr = self.counts_SR[:, part]
            yield part, self.targets.weights(counts_Sr), self.nontargets.weights(counts_Sr)


def draw_replicates(
    is_target: npt.ArrayLike,
    enrol_speaker_index: npt.ArrayLike,
    test_speaker_index: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    num_replicates: int = 1000,
    same_speaker: str = "square",
) -> Replicates:
    """Return the replicates of a joint bootstrap over the speakers of a list of trials.

    Each replicate draws as many speakers as the trials have, with replacement; one without targets or without
    non-targets is drawn again.

    Args:
        is_target: truth of each trial.
        enrol_speaker_index: as in `speaker_bootstrap`.
        test_speaker_index: as in `speaker_bootstrap`.
        rng: source of the draws.
        num_replicates: how many replicates.
        same_speaker: weight of a trial between a speaker and himself. "square": of how often he was drawn, as in
            `speaker_bootstrap`; intervals are then wider than need be, for the square of a count varies much more than
            the count. "once": how often he was drawn, the bootstrap of a mean over speakers; see paired.py for
            what that makes of the size of a test. The draws are the same.

    Raises:
        ValueError: arrays of different length, no target or no non-target trial, `num_replicates` under 1, another
            `same_speaker`.
    """
    if same_speaker not in ("square", "once"):
        raise ValueError(f"same_speaker: expected square or once, found {same_speaker!r}")
    is_target_P, speakers_2P = _checked_trials(is_target, enrol_speaker_index, test_speaker_index)
    if num_replicates < 1:
        raise ValueError(f"num_replicates: expected at least 1, found {num_replicates}")
    ids_S, dense_2P = np.unique(speakers_2P, return_inverse=True)
    dense_2P = dense_2P.reshape(2, -1)
    targets, nontargets = (_cells(dense_2P, kind_P, ids_S.size, same_speaker) for kind_P in (is_target_P, ~is_target_P))
    kept: list[np.ndarray] = []
    while len(kept) < num_replicates:
        # Drawn one by one, as many as are missing: the same stream as drawing each again until it serves.
        draws = [draw_speaker_counts(ids_S.size, rng) for _ in range(num_replicates - len(kept))]
        kept += [counts_S for counts_S in draws if targets.any_drawn(counts_S) and nontargets.any_drawn(counts_S)]
    return Replicates(np.stack(kept, axis=1).astype(np.float64), targets, nontargets)


def draw_speaker_counts(num_speakers: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each speaker occurs among `num_speakers` draws with replacement."""
    return np.bincount(rng.integers(num_speakers, size=num_speakers), minlength=num_speakers)


def bootstrap_eer(scores: npt.ArrayLike, replicates: Replicates) -> np.ndarray:
    """Return the equal error rate (step rule) of each replicate, [R]; [K, R] for scores [K, P] of several systems.

    Raises:
        ValueError: not one finite score for each trial that the replicates were drawn for.
    """
    return _each_system(scores, replicates, _Ranked.eer)


def bootstrap_min_dcf(scores: npt.ArrayLike, replicates: Replicates, p_target: float) -> np.ndarray:
    """Return the minimum detection cost of each replicate, [R]; [K, R] for scores [K, P] of several systems.

    Raises:
        ValueError: as `bootstrap_eer`, or a prior outside (0, 1).
    """
    if not 0.0 < p_target < 1.0:
        raise ValueError(f"p_target: expected a probability between 0 and 1, both excluded, found {p_target}")
    return _each_system(scores, replicates, partial(_Ranked.min_dcf, p_target=p_target))


def bootstrap_curves(scores: npt.ArrayLike, replicates: Replicates, statistic: Statistic) -> np.ndarray:
    """Return any statistic of the error curve of each replicate, [R]; makes one curve for each, so it takes a while.

    Raises:
        ValueError: not one finite score for each trial that the replicates were drawn for.
    """
    scores_P = _checked_row(scores, replicates)
    targets, nontargets = replicates.targets, replicates.nontargets
    order = order_scores(scores_P[targets.trial_P], scores_P[nontargets.trial_P])
    target_cell, nontarget_cell = targets.cell_P[order.target_order], nontargets.cell_P[order.nontarget_order]
    result_R = np.empty(replicates.counts_SR.shape[1])
    for part, target_Ur, nontarget_Ur in replicates.chunks():
        for index, (target_U, nontarget_U) in enumerate(zip(target_Ur.T, nontarget_Ur.T, strict=True), start=part.start):
            curve = ErrorCurve(order, cumulate(target_U[target_cell]), cumulate(nontarget_U[nontarget_cell]))
            result_R[index] = statistic(curve)
    return result_R


def bootstrap_means(values: npt.ArrayLike, replicates: Replicates) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean of a value of each trial over targets and over non-targets, each [R] (or [K, R]).

    What Cllr and actual costs are made of: their replicates are sums of such means.

    Raises:
        ValueError: not one number for each trial.
    """
    values_KP = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values_KP.ndim != 2 or values_KP.shape[1] != replicates.num_trials or np.isnan(values_KP).any():
        raise ValueError(f"values: expected one number for each of {replicates.num_trials} trials, found {values_KP.shape}")
    means = np.empty((2, len(values_KP), replicates.counts_SR.shape[1]))
    kinds = (replicates.targets, replicates.nontargets)
    sums_KU = [
        np.stack([np.bincount(kind.cell_P, row_P[kind.trial_P], kind.size_U.size) for row_P in values_KP]) for kind in kinds
    ]
    for part, *weights in replicates.chunks():
        for mean_KR, kind, sum_KU, weights_Ur in zip(means, kinds, sums_KU, weights, strict=True):
            mean_KR[:, part] = (sum_KU @ weights_Ur) / (kind.size_U @ weights_Ur)
    one = np.ndim(values) == 1
    return (means[0, 0], means[1, 0]) if one else (means[0], means[1])


def figure_replicates(figure: str, scores: npt.ArrayLike, replicates: Replicates, *, p_target: float = 0.01) -> np.ndarray:
    """Return a figure of each replicate, [K, R], for scores (or LLRs) [K, P].

    Raises:
        ValueError: an unknown figure, or scores that are not finite or not one a trial.
    """
    scores_KP = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    truth_P = np.zeros(replicates.num_trials, dtype=bool)
    truth_P[replicates.targets.trial_P] = True
    if figure == "eer":
        return bootstrap_eer(scores_KP, replicates)
    if figure == "min_dcf":
        return bootstrap_min_dcf(scores_KP, replicates, p_target)
    if figure == "min_cllr":
        return np.stack([bootstrap_curves(row_P, replicates, min_cllr_of_curve) for row_P in scores_KP])
    if figure == "act_dcf":
        missed, accepted = bootstrap_means((scores_KP >= bayes_threshold(p_target)) != truth_P, replicates)
        return (p_target * missed + (1.0 - p_target) * accepted) / min(p_target, 1.0 - p_target)
    if figure == "cllr":
        nats_KP = np.logaddexp(0.0, np.where(truth_P, -scores_KP, scores_KP))
        return sum(bootstrap_means(nats_KP, replicates)) / (2.0 * np.log(2.0))
    raise ValueError(f"figure: expected one of {', '.join(FIGURES)}, found {figure!r}")


class _Ranked:
    """Trials of one system sorted by score and cut into blocks, between which replicates are weighed at once.

    A replicate needs the masses below a threshold only at the edges of blocks, and then within the block or the few
    blocks where its figure lies. Equal scores are never parted.
    """

    def __init__(self, scores_P: np.ndarray, replicates: Replicates) -> None:
        order_P = np.argsort(scores_P, kind="stable")
        sorted_P = scores_P[order_P]
        self.group_start = np.flatnonzero(np.concatenate([[True], sorted_P[1:] != sorted_P[:-1]]))
        wanted = np.linspace(0, scores_P.size, int(2 * np.sqrt(scores_P.size)) + 2)[:-1]
        edges = np.unique(self.group_start[np.searchsorted(self.group_start, wanted, side="right") - 1])
        self.edges_B = np.append(edges, scores_P.size)
        self.kinds = replicates.targets, replicates.nontargets
        kind_P, cell_P = np.empty(scores_P.size, dtype=bool), np.empty(scores_P.size, dtype=np.int64)
        for is_nontarget, kind in enumerate(self.kinds):
            kind_P[kind.trial_P], cell_P[kind.trial_P] = is_nontarget, kind.cell_P
        self.is_nontarget_P, self.cell_P = kind_P[order_P], cell_P[order_P]
        block_P = np.repeat(np.arange(edges.size), np.diff(self.edges_B))
        self.histograms = [
            csr_matrix((np.ones(mine.sum()), (block_P[mine], self.cell_P[mine])), shape=(edges.size, kind.size_U.size))
            for mine, kind in ((~self.is_nontarget_P, self.kinds[0]), (self.is_nontarget_P, self.kinds[1]))
        ]

    def eer(self, weights: list[np.ndarray]) -> np.ndarray:
        """Return the equal error rate (see `steps.metrics.error_rates.eer`) of each replicate."""
        missed_Br, accepted_Br = self._at_edges(weights)
        total_t, total_n = missed_Br[-1], accepted_Br[0]
        block_r = np.argmax(missed_Br * total_n >= accepted_Br * total_t, axis=0) - 1
        result_r = np.empty(block_r.size)
        for block in np.unique(block_r):
            mine = np.flatnonzero(block_r == block)
            missed, accepted = self._within(block, mine, weights, missed_Br, accepted_Br)
            difference = missed * total_n[mine] - accepted * total_t[mine]
            above = np.argmax(difference >= 0, axis=0)
            column = np.arange(mine.size)
            nearest = above - (-difference[above - 1, column] <= difference[above, column])
            result_r[mine] = 0.5 * (missed[nearest, column] / total_t[mine] + accepted[nearest, column] / total_n[mine])
        return result_r

    def min_dcf(self, weights: list[np.ndarray], p_target: float) -> np.ndarray:
        """Return the minimum detection cost (see `steps.metrics.costs.min_dcf`) of each replicate."""
        missed_Br, accepted_Br = self._at_edges(weights)
        total_t, total_n = missed_Br[-1].copy(), accepted_Br[0].copy()

        def cost(missed: np.ndarray, accepted: np.ndarray, mine: np.ndarray | slice = slice(None)) -> np.ndarray:
            p_miss, p_fa = missed / total_t[mine], accepted / total_n[mine]
            return (p_target * p_miss + (1.0 - p_target) * p_fa) / min(p_target, 1.0 - p_target)

        best_r = cost(missed_Br, accepted_Br).min(axis=0)
        # Within a block misses are at least those at its lower edge, false alarms those at its upper edge.
        promising_Br = cost(missed_Br[:-1], accepted_Br[1:]) < best_r
        for block in np.flatnonzero(promising_Br.any(axis=1)):
            mine = np.flatnonzero(promising_Br[block])
            missed, accepted = self._within(block, mine, weights, missed_Br, accepted_Br)
            best_r[mine] = np.minimum(best_r[mine], cost(missed, accepted, mine).min(axis=0))
        return best_r

    def _at_edges(self, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return weight of targets missed and of non-targets accepted at each edge of blocks, [B + 1, r]."""
        below = []
        for histogram, weights_Ur in zip(self.histograms, weights, strict=True):
            mass_Br = np.zeros((self.edges_B.size, weights_Ur.shape[1]))
            np.cumsum(histogram @ weights_Ur, axis=0, out=mass_Br[1:])
            below.append(mass_Br)
        return below[0], below[1][-1] - below[1]

    def _within(
        self, block: int, mine: np.ndarray, weights: list[np.ndarray], missed_Br: np.ndarray, accepted_Br: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same at every threshold of a block, both edges included, for the replicates `mine`."""
        low, high = self.edges_B[block], self.edges_B[block + 1]
        is_nontarget_p, cell_p = self.is_nontarget_P[low:high], self.cell_P[low:high]
        first, last = np.searchsorted(self.group_start, (low, high))
        ends = np.append(self.group_start[first + 1 : last], high) - low - 1
        rates = []
        for kind, mass_Br, sign in ((False, missed_Br, 1.0), (True, accepted_Br, -1.0)):
            rows = is_nontarget_p == kind
            moved = np.zeros((high - low, mine.size))
            moved[rows] = weights[int(kind)][cell_p[rows]][:, mine]
            start_1r = mass_Br[block, mine][None]
            rates.append(np.concatenate([start_1r, start_1r + sign * np.cumsum(moved, axis=0)[ends]]))
        return rates[0], rates[1]


def _each_system(
    scores: npt.ArrayLike, replicates: Replicates, figure: Callable[[_Ranked, list[np.ndarray]], np.ndarray]
) -> np.ndarray:
    rows = [_checked_row(row, replicates) for row in np.atleast_2d(np.asarray(scores, dtype=np.float64))]
    ranked = [_Ranked(row_P, replicates) for row_P in rows]
    result_KR = np.empty((len(rows), replicates.counts_SR.shape[1]))
    for part, *weights in replicates.chunks():
        for row_R, system in zip(result_KR, ranked, strict=True):
            row_R[part] = figure(system, weights)
    return result_KR[0] if np.ndim(scores) == 1 else result_KR


def _checked_row(scores: npt.ArrayLike, replicates: Replicates) -> np.ndarray:
    scores_P = checked_scores(scores, "scores")
    if scores_P.size != replicates.num_trials:
        raise ValueError(f"scores: expected one for each of {replicates.num_trials} trials, found {scores_P.size}")
    return scores_P


def _cells(dense_2P: np.ndarray, kind_P: np.ndarray, num_speakers: int, same_speaker: str) -> Cells:
    trial_P = np.flatnonzero(kind_P)
    low_P, high_P = np.sort(dense_2P[:, trial_P], axis=0).astype(np.int64)
    key_U, cell_P, size_U = np.unique(low_P * num_speakers + high_P, return_inverse=True, return_counts=True)
    return Cells(trial_P, cell_P, np.stack(np.divmod(key_U, num_speakers)), size_U.astype(np.float64), same_speaker)


def _checked_trials(
    is_target: npt.ArrayLike, enrol_index: npt.ArrayLike, test_index: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    is_target_P = checked_truth(is_target, np.size(is_target))
    speakers = [np.asarray(index) for index in (enrol_index, test_index)]
    for name, index in zip(("enrol_speaker_index", "test_speaker_index"), speakers, strict=True):
        if index.shape != is_target_P.shape or not np.issubdtype(index.dtype, np.integer):
            raise ValueError(
                f"{name}: expected {is_target_P.size} whole numbers, found {index.dtype} of shape {index.shape}"
            )  # fmt: skip
    return is_target_P, np.stack(speakers)
