"""Gender in embeddings: a prediction for each utterance, and how far embeddings of men and of women lie apart.

How the gender separability of embeddings was measured is not published; these are the usual measures: accuracy of a linear
probe on unseen speakers, silhouette, and the share of the first principal component's variance that gender explains.

Suffixes: N utterances, D dimensions, S speakers, R replicates. Genders are "f" and "m"; "" (not documented) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

from steps.backend.estimator import checked_embeddings, require_fitted, speaker_codes, unit_rows

CHUNK_NUMBERS = 4_000_000  # float64 numbers at a time, 32 MB
KEPT_COMPONENTS = 32  # principal components among which that of a replicate is looked for
Labels = Sequence[str] | np.ndarray


@dataclass(frozen=True)
class Measure:
    """A figure and its 95 % interval, by a bootstrap over speakers."""

    value: float
    low: float
    high: float


class GenderClassifier:
    """Log odds of "female" of an embedding, by logistic regression with a ridge.

    Dimensions are standardised. Each gender counts one half, and within a gender each speaker the same, so that the log odds
    assume neither gender to be more frequent, and no talkative speaker decides.

    Args:
        strength: of the ridge, as |w|^2 * strength / 2 beside the mean loss in nats, for standardised dimensions.
    """

    def __init__(self, strength: float = 1e-2) -> None:
        self.strength = strength

    def fit(self, embeddings: npt.ArrayLike, genders: Labels, speakers: Labels) -> Self:
        """Return self, trained on the embeddings [N, D] whose gender is documented.

        Raises:
            ValueError: one gender only, a gender that is not "f", "m" or "", a speaker of two genders, not one label an
                embedding, or a strength that is not above 0.
        """
        if not 0 < self.strength < np.inf:
            raise ValueError(f"strength: expected a number above 0, found {self.strength}")
        data = _known(embeddings, genders, speakers)
        self.mean_D_, std_D = data.x_ND.mean(axis=0), data.x_ND.std(axis=0)
        self.std_D_ = np.where(np.ptp(data.x_ND, axis=0) > 0, std_D, 1.0)
        self.weights_D_, self.offset_ = self._solve((data.x_ND - self.mean_D_) / self.std_D_, data)
        return self

    def log_odds(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return ln(p(female) / p(male)) [N] of embeddings [N, D]."""
        require_fitted(self, "weights_D_")
        x_ND = checked_embeddings(embeddings, "embeddings", dim=self.mean_D_.size)
        return ((x_ND - self.mean_D_) / self.std_D_) @ self.weights_D_ + self.offset_

    def _solve(self, z_ND: np.ndarray, data: _Known) -> tuple[np.ndarray, float]:
        num_S = np.bincount(data.code_N)
        speakers_of = {gender: np.count_nonzero(data.female_S == gender) for gender in (True, False)}
        weight_N = np.array([0.5 / speakers_of[bool(gender)] for gender in data.female_S])[data.code_N] / num_S[data.code_N]
        model = LogisticRegression(C=1.0 / self.strength, solver="lbfgs", tol=1e-8, max_iter=2000)
        model.fit(z_ND, data.female_N, sample_weight=weight_N)
        return model.coef_[0], float(model.intercept_[0])


def probe_accuracy(
    embeddings: npt.ArrayLike,
    genders: Labels,
    speakers: Labels,
    *,
    rng: np.random.Generator,
    num_folds: int = 5,
    num_replicates: int = 1000,
    strength: float = 1e-2,
) -> Measure:
    """Return the share of utterances whose gender a `GenderClassifier` finds that has not heard their speaker.

    Each speaker is in one of `num_folds` folds, the speakers of each gender dealt out evenly. The interval draws speakers with
    replacement; the predictions stay.

    Raises:
        ValueError: as `GenderClassifier.fit`, or fewer than `num_folds` speakers of a gender, or under 2 folds.
    """
    data = _known(embeddings, genders, speakers)
    fold_S = _folds(data, num_folds, rng)
    correct_N = np.empty(data.code_N.size, dtype=bool)
    for fold in range(num_folds):
        test_N = (fold_S == fold)[data.code_N]
        classifier = GenderClassifier(strength)
        classifier.fit(data.x_ND[~test_N], np.where(data.female_N[~test_N], "f", "m"), data.code_N[~test_N])
        correct_N[test_N] = (classifier.log_odds(data.x_ND[test_N]) > 0) == data.female_N[test_N]
    num_S, hits_S = np.bincount(data.code_N), np.bincount(data.code_N, weights=correct_N)
    count_RS = _draws(data, num_replicates, rng)
    return _measure(correct_N.mean(), (count_RS @ hits_S) / (count_RS @ num_S))


def silhouette(
    embeddings: npt.ArrayLike,
    genders: Labels,
    speakers: Labels,
    *,
    rng: np.random.Generator,
    metric: str = "cosine",
    num_replicates: int = 1000,
) -> Measure:
    """Return the mean silhouette of utterances grouped by gender: from -1 to 1, and 0 where the groups lie in one another.

    Of an utterance it is (b - a) / max(a, b), with the mean distance a to the others of its gender and b to the other gender.
    The interval is of the silhouettes of data sets made of speakers drawn with replacement. A speaker drawn twice is twice in
    the set, but no utterance is compared with copies of its own speaker: at distances as small as those within a speaker they
    would make every replicate's silhouette too high.

    Args:
        embeddings: [N, D].
        genders: [N].
        speakers: [N].
        rng: of the bootstrap.
        metric: distance: "cosine" (1 - cosine) or "euclidean".
        num_replicates: of the bootstrap.

    Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.

    Raises:
        ValueError: an unknown metric, a gender with one utterance only, or as `GenderClassifier.fit`.
    """
    data = _known(embeddings, genders, speakers)
    if min(np.bincount(data.female_N)) < 2:
        raise ValueError("genders: expected two utterances or more of each for a silhouette, found one")
    distance_NS = _distances_to_speakers(data, metric)
    num_S = np.bincount(data.code_N)
    value = _weighted_silhouette(distance_NS, data, num_S, np.ones(num_S.size))
    replicates = [_weighted_silhouette(distance_NS, data, num_S, count_S) for count_S in _draws(data, num_replicates, rng)]
    return _measure(value, np.array(replicates))


def explained_on_pc1(
    embeddings: npt.ArrayLike, genders: Labels, speakers: Labels, *, rng: np.random.Generator, num_replicates: int = 1000
) -> tuple[Measure, float]:
    """Return (share of the variance along the first principal component that lies between genders, PC1's share of all variance).

    The first is the correlation ratio: 1 where gender alone decides the coordinate, 0 where both genders have the same mean.
    For its interval speakers are drawn with replacement and the component is found anew in each replicate, among the
    `KEPT_COMPONENTS` first of the data: where the first two components hold nearly as much, either may come first.

    Raises:
        ValueError: embeddings that are all the same, or as `GenderClassifier.fit`.
    """
    data = _known(embeddings, genders, speakers)
    centred_ND = data.x_ND - data.x_ND.mean(axis=0)
    power_D, direction_DD = np.linalg.eigh(centred_ND.T @ centred_ND)  # in rising order
    if power_D[-1] <= 0:
        raise ValueError("embeddings: expected several different ones, found all the same")
    along_NK = centred_ND @ direction_DD[:, : -KEPT_COMPONENTS - 1 : -1]
    count_RS = np.vstack([np.ones(data.female_S.size), _draws(data, num_replicates, rng)])
    shares_R = _shares_on_first(along_NK, data, count_RS)
    return _measure(shares_R[0], shares_R[1:]), float(power_D[-1] / power_D.sum())


def _shares_on_first(along_NK: np.ndarray, data: _Known, count_RS: np.ndarray) -> np.ndarray:
    """The correlation ratio of gender with the first principal component of `count_RS[r, s]` copies of each speaker, [R]."""
    order_N = np.argsort(data.code_N, kind="stable")
    num_S = np.bincount(data.code_N)
    of_speakers = np.split(along_NK[order_N], np.cumsum(num_S)[:-1])
    sum_SK = np.stack([each.sum(axis=0) for each in of_speakers])
    power_SKK = np.stack([each.T @ each for each in of_speakers])
    num_R, sum_RK = count_RS @ num_S, count_RS @ sum_SK
    mean_RK = sum_RK / num_R[:, None]
    power_RKK = np.tensordot(count_RS, power_SKK, axes=1) / num_R[:, None, None]
    variance_RK, direction_RKK = np.linalg.eigh(power_RKK - mean_RK[:, :, None] * mean_RK[:, None, :])
    female_RS, male_RS = count_RS * data.female_S, count_RS * ~data.female_S
    num_female_R, num_male_R = female_RS @ num_S, male_RS @ num_S
    apart_RK = female_RS @ sum_SK / num_female_R[:, None] - male_RS @ sum_SK / num_male_R[:, None]
    apart_R = np.einsum("rk,rk->r", apart_RK, direction_RKK[:, :, -1])
    return num_female_R * num_male_R / num_R**2 * apart_R**2 / variance_RK[:, -1]


@dataclass(frozen=True)
class _Known:
    """The utterances of documented gender."""

    x_ND: np.ndarray
    female_N: np.ndarray
    code_N: np.ndarray  # of the speaker
    female_S: np.ndarray


def _known(embeddings: npt.ArrayLike, genders: Labels, speakers: Labels) -> _Known:
    x_ND = checked_embeddings(embeddings, "embeddings")
    gender_N = np.asarray(genders)
    if gender_N.shape != (len(x_ND),) or not np.isin(gender_N, ("f", "m", "")).all():
        raise ValueError(f"genders: expected 'f', 'm' or '' for each of {len(x_ND)} embeddings, found {np.unique(gender_N)}")
    speaker_codes(speakers, len(x_ND))
    known_N = gender_N != ""
    female_N = gender_N[known_N] == "f"
    if not female_N.any() or female_N.all():
        raise ValueError(f"genders: expected both, found {female_N.sum()} female of {female_N.size} utterances of known gender")
    ids_S, code_N = speaker_codes(np.asarray(speakers)[known_N], female_N.size)
    num_female_S = np.bincount(code_N, weights=female_N)
    mixed_S = (num_female_S > 0) & (num_female_S < np.bincount(code_N))
    if mixed_S.any():
        raise ValueError(f"genders: expected one for each speaker, found both for '{ids_S[mixed_S.argmax()]}'")
    return _Known(x_ND[known_N], female_N, code_N, num_female_S > 0)


def _folds(data: _Known, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each speaker; those of each gender are dealt out evenly, in random order."""
    fewest = min(np.count_nonzero(data.female_S), np.count_nonzero(~data.female_S))
    if not 2 <= num_folds <= fewest:
        raise ValueError(f"num_folds: expected 2 to {fewest}, the speakers of the rarer gender, found {num_folds}")
    fold_S = np.empty(data.female_S.size, dtype=np.int64)
    for of_S in (data.female_S, ~data.female_S):
        fold_S[rng.permutation(np.flatnonzero(of_S))] = np.arange(np.count_nonzero(of_S)) % num_folds
    return fold_S


def _draws(data: _Known, num_replicates: int, rng: np.random.Generator) -> np.ndarray:
    """How often each speaker is drawn, [R, S]: within each gender as many as there are, so that no replicate lacks one."""
    if num_replicates < 2:
        raise ValueError(f"num_replicates: expected at least 2, found {num_replicates}")
    count_RS = np.zeros((num_replicates, data.female_S.size))
    for of_S in (data.female_S, ~data.female_S):
        num = int(np.count_nonzero(of_S))
        count_RS[:, of_S] = rng.multinomial(num, np.full(num, 1.0 / num), size=num_replicates)
    return count_RS


def _measure(value: float, replicates_R: np.ndarray) -> Measure:
    low, high = np.percentile(replicates_R, [2.5, 97.5])
    return Measure(float(value), float(low), float(high))


def _distances_to_speakers(data: _Known, metric: str) -> np.ndarray:
    """The sum of the distances of each utterance to all utterances of each speaker, [N, S]."""
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric: expected 'cosine' or 'euclidean', found {metric!r}")
    x_ND = unit_rows(data.x_ND, "embeddings") if metric == "cosine" else data.x_ND
    order_N = np.argsort(data.code_N, kind="stable")
    starts_S = np.concatenate([[0], np.cumsum(np.bincount(data.code_N))[:-1]])
    if metric == "cosine":  # sum over j of 1 - x.x_j is n - x.(sum over j of x_j)
        return np.bincount(data.code_N) - x_ND @ np.add.reduceat(x_ND[order_N], starts_S, axis=0).T
    step = max(1, CHUNK_NUMBERS // len(x_ND))
    parts = [
        np.add.reduceat(cdist(x_ND[start : start + step], x_ND[order_N]), starts_S, axis=1) for start in range(0, len(x_ND), step)
    ]
    return np.concatenate(parts)


def _weighted_silhouette(distance_NS: np.ndarray, data: _Known, num_S: np.ndarray, count_S: np.ndarray) -> float:
    """The mean silhouette of a set of speakers with `count_S[s]` copies of each; see `silhouette` about copies."""
    female_S = count_S * data.female_S
    male_S = count_S * ~data.female_S
    to_female_N, to_male_N = distance_NS @ female_S, distance_NS @ male_S
    num_female, num_male = female_S @ num_S, male_S @ num_S
    copies_N = count_S[data.code_N] - 1.0
    own_distance_N = np.take_along_axis(distance_NS, data.code_N[:, None], axis=1)[:, 0]
    # The distance of an utterance to itself is 0, and it does not count as one of the others.
    own_N = np.where(data.female_N, to_female_N, to_male_N) - copies_N * own_distance_N
    num_own_N = np.where(data.female_N, num_female, num_male) - copies_N * num_S[data.code_N] - 1.0
    # Where all draws of a gender are one speaker with one utterance, there are no others: silhouette 0, as scikit-learn has it.
    own_N = np.divide(own_N, num_own_N, out=np.zeros_like(own_N), where=num_own_N > 0)
    other_N = np.where(data.female_N, to_male_N / num_male, to_female_N / num_female)
    larger_N = np.maximum(own_N, other_N)
    each_N = np.divide(other_N - own_N, larger_N, out=np.zeros_like(own_N), where=(larger_N > 0) & (num_own_N > 0))
    return float(each_N @ count_S[data.code_N] / (num_female + num_male))
