"""The back end of a system, as its settings put it together: transforms, scoring, score normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from steps.backend.cosine import cosine_matrix, cosine_pairs
from steps.backend.estimator import class_means, get_state, require_fitted, set_state, speaker_codes
from steps.backend.pairs import dot, negative_euclidean, score_matrix, score_trials, siamese
from steps.backend.plda import PLDA
from steps.backend.score_norm import cohort_statistics_in_batches, s_norm, speaker_means
from steps.backend.settings import Score
from steps.backend.transforms import LDA, Chain, LengthNorm, MeanSubtraction, Speakers, Whitening


class Scorer:
    """Scores trials between embeddings; fitted on embeddings of training speakers.

    Args:
        settings: what to do.
        pair_head: of a siamese network, for the back end "siamese": see pairs.py.
    """

    def __init__(self, settings: Score, pair_head: Mapping[str, Any] | None = None) -> None:
        if settings.backend == "siamese" and pair_head is None:
            raise ValueError("backend = 'siamese': expected the network of a siamese head (pair_head.json), found another one")
        self.settings, self.pair_head = settings, pair_head
        self.chain = Chain([_transform(name, settings) for name in settings.transforms])
        self.plda = PLDA(settings.plda_iterations, settings.plda_length_norm)

    @property
    def needs_training(self) -> bool:
        """Whether any part is fitted: plain cosine needs nothing."""
        fitted = [name for name in self.settings.transforms if name != "length_norm"]
        return bool(fitted) or self.settings.backend == "plda" or self.settings.norm != "none"

    def fit(self, embeddings_ND: npt.ArrayLike, speakers: Speakers) -> Self:
        """Return self, fitted on training embeddings with one speaker each.

        Raises:
            ValueError: as the parts do: too few speakers for LDA, a cohort smaller than norm_top, ...
        """
        x_ND = self.chain.fit(embeddings_ND, speakers).transform(embeddings_ND)
        if self.settings.backend == "plda":
            self.plda = self.plda.fit(x_ND, speakers)
            if self.settings.plda_smoothing:
                self.plda = self.plda.smooth_within(self.settings.plda_smoothing)
        if self.settings.norm != "none":
            self.cohort_CD_ = self._cohort(x_ND, speakers)
        return self

    def _cohort(self, x_ND: np.ndarray, speakers: Speakers) -> np.ndarray:
        """One vector for each training speaker: of unit length for cosine, for PLDA the mean as it is.

        PLDA takes its own mean off, and a vector scaled to another length than embeddings have would point elsewhere then.
        """
        if self.settings.backend == "cosine":
            cohort_CD, _ = speaker_means(x_ND, speakers, mean=np.zeros(x_ND.shape[1]))
        else:
            ids_S, code_N = speaker_codes(speakers, len(x_ND))
            cohort_CD, _ = class_means(x_ND, code_N, ids_S.size)
        if self.settings.norm == "as_norm" and self.settings.norm_top > len(cohort_CD):
            raise ValueError(
                f"norm_top: expected at most {len(cohort_CD)}, the number of training speakers, found {self.settings.norm_top}"
            )
        return cohort_CD

    def score(self, embeddings_ND: npt.ArrayLike, enrol_P: np.ndarray, test_P: np.ndarray) -> np.ndarray:
        """Return the score of each trial `[P]`, given as rows of the embeddings."""
        x_ND = self.chain.transform(embeddings_ND)
        if self.settings.backend == "plda":
            scores_P = self.plda.score_trials(x_ND, x_ND, enrol_P, test_P)
        elif self.settings.backend == "cosine":
            scores_P = cosine_pairs(x_ND, enrol_P, test_P)
        else:
            scores_P = score_trials(self._pair_score(x_ND.shape[1]), x_ND, enrol_P, test_P)
        if self.settings.norm == "none":
            return scores_P
        require_fitted(self, "cohort_CD_")
        matrices = {"plda": self.plda.score_matrix, "cosine": cosine_matrix}
        matrix = matrices.get(self.settings.backend) or partial(score_matrix, self._pair_score(x_ND.shape[1]))
        top_n = "all" if self.settings.norm == "s_norm" else self.settings.norm_top
        statistics = cohort_statistics_in_batches(matrix, x_ND, self.cohort_CD_, top_n=top_n)
        return s_norm(scores_P, enrol_P, test_P, statistics, statistics)

    def _pair_score(self, dim: int) -> Any:
        if self.settings.backend == "siamese":
            assert self.pair_head is not None
            return siamese(self.pair_head, dim)
        return {"dot": dot, "euclidean": negative_euclidean}[self.settings.backend]

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `fit` has learnt, as named arrays."""
        parts = {"chain": get_state(self.chain), "plda": get_state(self.plda), "scorer": get_state(self)}
        return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}

    def load(self, state: Mapping[str, np.ndarray]) -> Self:
        """Return self in the state of a scorer of the same settings."""
        for part, estimator in (("chain", self.chain), ("plda", self.plda), ("scorer", self)):
            prefix = f"{part}/"
            set_state(
                estimator,
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)},
            )
        return self


def _transform(name: str, settings: Score) -> MeanSubtraction | Whitening | LDA | LengthNorm:
    if name == "lda":
        return LDA(settings.lda_dim, settings.lda_form)
    return {"mean": MeanSubtraction, "whiten": Whitening, "length_norm": LengthNorm}[name]()
