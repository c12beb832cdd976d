"""The back end of a system, as its settings put it together: transforms, adaptation, scoring, score normalisation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from steps.backend.adaptation import Coral, adapt_coral_plus, adapt_kaldi
from steps.backend.cosine import cosine_pairs
from steps.backend.dominant_sets import DominantSetScoring
from steps.backend.enrolment import average_scores, plda_enrolment
from steps.backend.estimator import class_means, get_state, require_fitted, set_state, speaker_codes
from steps.backend.ht_plda import HTPLDA
from steps.backend.items import Items
from steps.backend.learned import LearnedScorer
from steps.backend.linkage import LinkageScoring, linkage_heights
from steps.backend.pairs import dot, negative_euclidean, score_matrix, score_trials, siamese
from steps.backend.pairwise import PairwiseScoring
from steps.backend.plda import PLDA
from steps.backend.score_norm import (
    CohortStatistics,
    cohort_statistics,
    cohort_statistics_in_batches,
    cosine_cohort_statistics,
    s_norm,
    speaker_means,
    t_norm,
    z_norm,
)
from steps.backend.settings import LINKAGES, OF_WINDOWS, TRAINED, Score
from steps.backend.simplified_plda import SimplifiedPLDA
from steps.backend.transforms import LDA, Chain, LengthNorm, MeanSubtraction, Speakers, Whitening
from steps.backend.windows import Windows


class Scorer:
    """Scores trials between embeddings; fitted on embeddings of training speakers.

    Args:
        settings: what to do.
        pair_head: of a siamese network, for the back end "siamese": see pairs.py.
        threads: at work on cohort scores at the same time; they change no number.
    """

    def __init__(self, settings: Score, pair_head: Mapping[str, Any] | None = None, *, threads: int = 1) -> None:
        if settings.backend == "siamese" and pair_head is None:
            raise ValueError("backend = 'siamese': expected the network of a siamese head (pair_head.json), found another one")
        self.settings, self.pair_head, self.threads = settings, pair_head, threads
        self.chain = Chain([_transform(name, settings) for name in settings.transforms])
        self.model = _model(settings)

    @property
    def needs_training(self) -> bool:
        """Whether any part is fitted on the training set: plain cosine needs nothing."""
        s = self.settings
        fitted = [name for name in s.transforms if name != "length_norm"]
        return bool(fitted) or s.backend in ("plda", "ht_plda") or self.has_cohort

    @property
    def has_cohort(self) -> bool:
        """Whether scores against a cohort of training speakers are used."""
        return self.settings.norm != "none" or "cohort_mean" in self.settings.quality

    def fit(self, embeddings_ND: npt.ArrayLike, speakers: Speakers, *, in_domain: npt.ArrayLike | None = None) -> Self:
        """Return self, fitted on training embeddings with one speaker each; the learned scorer has a fit of its own.

        Args:
            embeddings_ND: one an utterance.
            speakers: of each.
            in_domain: embeddings without labels, which the back end is adapted to, if the settings say so.

        Raises:
            ValueError: as the parts do: too few speakers for LDA, a cohort smaller than norm_top, ...
        """
        x_ND, speakers = np.asarray(embeddings_ND), np.asarray(speakers)
        if self.settings.adaptation == "coral":
            x_ND = Coral().fit(x_ND, in_domain).transform(x_ND)
        x_ND = self.chain.fit(x_ND, speakers).transform(x_ND)
        if self.settings.backend in ("plda", "ht_plda"):
            self.model = self._fitted_plda(x_ND, speakers, None if in_domain is None else self.chain.transform(in_domain))
        if self.has_cohort:
            self.cohort_CD_ = self._cohort(x_ND, speakers)
        return self

    def fit_learned(self, items: Items, speakers: Speakers) -> Self:
        """Return self with the learned scorer trained on items of speakers that the network should not know."""
        mapped = items.mapped(self.chain.transform)
        features = _WindowFeatures(mapped) if self.settings.learned_linkage else None
        self.model = self.model.fit(mapped.vectors(), speakers, pair_features=features)
        return self

    def notes(self) -> list[str]:
        """What the fit has to say, such as a regularisation that it needed."""
        return [note for part in (*self.chain.steps, self.model) if (note := getattr(part, "note", ""))]

    def score(
        self, test: Items | npt.ArrayLike, enrol_P: np.ndarray, test_P: np.ndarray, *, enrol: Items | None = None
    ) -> np.ndarray:
        """Return the score of each trial `[P]`.

        Args:
            test: test items, or embeddings [N, D] of utterances.
            enrol_P: enrolled item of each trial.
            test_P: test item of each trial.
            enrol: enrolled items; None: the test items.
        """
        tests = self._mapped(test)
        enrols = tests if enrol is None else self._mapped(enrol)
        scores_P = self._raw(enrols, tests, enrol_P, test_P)
        if self.settings.norm == "none":
            return scores_P
        of_test = self._against_cohort(tests)
        of_enrol = of_test if enrols is tests else self._against_cohort(enrols)
        if self.settings.norm == "z_norm":
            return z_norm(scores_P, enrol_P, of_enrol)
        if self.settings.norm == "t_norm":
            return t_norm(scores_P, test_P, of_test)
        return s_norm(scores_P, enrol_P, test_P, of_enrol, of_test)

    def of_mapped(self) -> Scorer:
        """Return the same scorer for items that its transforms have mapped already."""
        other = copy.copy(self)
        other.chain = Chain([])
        return other

    def cohort_means(self, items: Items | npt.ArrayLike) -> np.ndarray:
        """Return the mean score [N] of each item with the nearest of the cohort."""
        return self._against_cohort(self._mapped(items)).mean

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `fit` has learnt, as named arrays."""
        parts = {name: get_state(part) for name, part in self._parts()}
        return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> Self:
        """Return self in the state of a scorer of the same settings."""
        for part, estimator in self._parts():
            prefix = f"{part}/"
            set_state(
                estimator,
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)},
            )
        return self

    def _parts(self) -> list[tuple[str, Any]]:
        """What is fitted, by name."""
        parts = [("chain", self.chain), ("model", self.model), ("scorer", self)]
        return [(name, part) for name, part in parts if part is not None]

    def _mapped(self, items: Items | npt.ArrayLike) -> Items:
        found = items if isinstance(items, Items) else Items.single(items)
        return found.mapped(self.chain.transform)

    def _raw(self, enrol: Items, test: Items, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        """Scores before normalisation, of transformed items."""
        s = self.settings
        if s.backend in OF_WINDOWS:
            return self._of_windows(enrol, test, enrol_P, test_P)
        if s.backend == "learned":
            return self._learned(enrol, test, enrol_P, test_P)
        if s.enrolment == "scores" and not enrol.is_single:
            return average_scores(self._trials, enrol.utterances, test.vectors(), enrol_P, test_P)
        if s.backend in ("plda", "ht_plda") and not enrol.is_single:
            mean_MD, num_M = plda_enrolment(enrol.utterances, s.enrolment)
            if s.backend == "plda":
                return self.model.score_trials(mean_MD, test.vectors(), enrol_P, test_P, num_enrol=num_M)
            pooled = enrol.utterances if s.enrolment == "by_the_book" else mean_MD
            return self.model.score_trials(pooled, test.vectors(), enrol_P, test_P)
        return self._trials(enrol.vectors(), test.vectors(), enrol_P, test_P)

    def _trials(self, enrol_MD: np.ndarray, test_ND: np.ndarray, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        """Scores of trials between single vectors."""
        if self.settings.backend in ("plda", "ht_plda"):
            return self.model.score_trials(enrol_MD, test_ND, enrol_P, test_P)
        both_ND, test_P = _stacked(enrol_MD, test_ND, test_P)
        if self.settings.backend == "cosine":
            return cosine_pairs(both_ND, enrol_P, test_P)
        return score_trials(self._pair_score(both_ND.shape[1]), both_ND, enrol_P, test_P)

    def _learned(self, enrol: Items, test: Items, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        both_ND, stacked_P = _stacked(enrol.vectors(), test.vectors(), test_P)
        features = None
        if self.settings.learned_linkage:
            features = _WindowFeatures(enrol if enrol is test else enrol.followed_by(test))(enrol_P, stacked_P)
        return self.model.score_trials(both_ND, enrol_P, stacked_P, features)

    def _of_windows(self, enrol: Items, test: Items, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        if enrol is test:
            return self.model.score_trials(_windows(test), enrol_P, test_P)
        return self.model.score_trials(_windows(enrol.followed_by(test)), enrol_P, len(enrol) + test_P)

    def _against_cohort(self, items: Items) -> CohortStatistics:
        require_fitted(self, "cohort_CD_")
        top_n = "all" if self.settings.norm in ("z_norm", "t_norm", "s_norm") else self.settings.norm_top
        if not items.is_single and self.settings.enrolment != "mean":
            return self._models_against_cohort(items, top_n)
        if self.settings.backend == "cosine":
            return cosine_cohort_statistics(items.vectors(), self.cohort_CD_, top_n=top_n, threads=self.threads)
        return cohort_statistics_in_batches(self._matrix, items.vectors(), self.cohort_CD_, top_n=top_n)

    def _models_against_cohort(self, items: Items, top_n: Any) -> CohortStatistics:
        """The statistics of models of several utterances, scored as they are in trials."""
        cohort, cohort_C = Items.single(self.cohort_CD_), np.arange(len(self.cohort_CD_))
        rows_N = [self._raw(items, cohort, np.full(cohort_C.size, item), cohort_C) for item in range(len(items))]
        return cohort_statistics(np.stack(rows_N), top_n=top_n)

    def _matrix(self, items_ND: np.ndarray, cohort_CD: np.ndarray) -> np.ndarray:
        if self.settings.backend in TRAINED:
            return self.model.score_matrix(items_ND, cohort_CD)
        return score_matrix(self._pair_score(items_ND.shape[1]), items_ND, cohort_CD)

    def _pair_score(self, dim: int) -> Any:
        if self.settings.backend == "siamese":
            assert self.pair_head is not None
            return siamese(self.pair_head, dim)
        return {"dot": dot, "euclidean": negative_euclidean}[self.settings.backend]

    def _cohort(self, x_ND: np.ndarray, speakers: Speakers) -> np.ndarray:
        """One vector for each training speaker: of unit length for cosine, for others the mean as it is.

        PLDA takes its own mean off, and a vector scaled to another length than embeddings have would point elsewhere then.
        """
        if self.settings.backend == "cosine":
            cohort_CD, _ = speaker_means(x_ND, speakers, mean=np.zeros(x_ND.shape[1]))
        else:
            ids_S, code_N = speaker_codes(speakers, len(x_ND))
            cohort_CD, _ = class_means(x_ND, code_N, ids_S.size)
        uses_top = self.settings.norm == "as_norm" or self.settings.norm == "none"
        if uses_top and self.settings.norm_top > len(cohort_CD):
            raise ValueError(
                f"norm_top: expected at most {len(cohort_CD)}, the number of training speakers, found {self.settings.norm_top}"
            )
        return cohort_CD

    def _fitted_plda(self, x_ND: np.ndarray, speakers: Speakers, in_domain_ND: np.ndarray | None) -> PLDA | HTPLDA:
        s, model = self.settings, self.model.fit(x_ND, speakers)
        if s.backend == "plda" and s.plda_smoothing:
            model = model.smooth_within(s.plda_smoothing)
        shares = s.adaptation_shares
        if s.adaptation == "kaldi":
            return adapt_kaldi(model, in_domain_ND, **dict(zip(("within_share", "between_share"), shares, strict=False)))
        if s.adaptation == "coral_plus":
            return adapt_coral_plus(model, in_domain_ND, **dict(zip(("within_weight", "between_weight"), shares, strict=False)))
        return model


class _WindowFeatures:
    """The heights of all linkages of the windows of a pair's sides, [P, 7]."""

    def __init__(self, items: Items) -> None:
        self.windows = _windows(items)

    def __call__(self, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        return linkage_heights(self.windows, enrol_P, test_P, methods=LINKAGES)


def _windows(items: Items) -> Windows:
    if items.windows is None:
        raise ValueError("windows: expected several embeddings an utterance (embed.window), found one each")
    return items.windows


def _stacked(enrol_MD: np.ndarray, test_ND: np.ndarray, test_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as one matrix, and the rows of the test items in it."""
    if enrol_MD is test_ND:
        return test_ND, test_P
    return np.concatenate([enrol_MD, test_ND]), len(enrol_MD) + test_P


def _transform(name: str, settings: Score) -> MeanSubtraction | Whitening | LDA | LengthNorm:
    if name == "lda":
        return LDA(settings.lda_dim, settings.lda_form, ridge=settings.ridge)
    if name == "whiten":
        return Whitening(ridge=settings.ridge)
    return {"mean": MeanSubtraction, "length_norm": LengthNorm}[name]()


def _model(s: Score) -> Any:
    """What is fitted, or compares windows; None for plain comparisons."""
    if s.backend == "plda" and s.plda_rank:
        return SimplifiedPLDA(s.plda_rank, s.plda_iterations, s.plda_length_norm, s.ridge)
    if s.backend == "plda":
        return PLDA(s.plda_iterations, s.plda_length_norm, s.ridge)
    if s.backend == "ht_plda":
        return HTPLDA(s.ht_dim, s.ht_degrees or float("inf"), s.ht_iterations, seed=s.seed, ridge=s.ridge)
    if s.backend == "linkage":
        return LinkageScoring(s.linkage)
    if s.backend == "dominant_sets":
        cut = {"epsilon": s.dominant_epsilon, "threshold": s.dominant_threshold, "cut": s.dominant_cut}
        return DominantSetScoring(s.linkage, **cut)
    if s.backend == "pairwise":
        return PairwiseScoring()
    if s.backend == "learned":
        return LearnedScorer(
            width=s.learned_width, num_layers=s.learned_layers, dropout=s.learned_dropout, num_epochs=s.learned_epochs,
            batches_per_epoch=s.learned_batches, num_pairs=s.learned_pairs, learning_rate=s.learned_rate, seed=s.seed,
        )  # fmt: skip
    return None
