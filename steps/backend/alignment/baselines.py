"""What NESSA is compared with: no map, a shared space of speaker logits, orthogonal Procrustes, canonical correlations.

Each has `fit(enrol, run, speakers)` on embeddings of the same utterances by both models, `map_enrol` and `map_run`, which return
rows of unit length whose dot product is the score. Suffixes: N items, D dimensions (of a space), E of the shared one, K anchors.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, svd

from steps.backend.alignment.protocol import checked_parallel
from steps.backend.estimator import checked_embeddings, class_means, require_fitted, speaker_codes, unit_rows


class ZeroPadding:
    """Plain cosine across two models, the smaller space padded with zeros.

    Within one model it is the usual cosine. Between models that were trained apart it is chance (EER 50%): their dimensions have
    nothing in common. It is not where one began with the other's weights.
    """

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any = None) -> Self:
        """Return self with the dimensions of both spaces; nothing else is learnt."""
        enrol_ND, run_ND = checked_parallel(enrol, run)
        self.enrol_dim_, self.run_dim_ = enrol_ND.shape[1], run_ND.shape[1]
        return self

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return the rows, padded, of unit length."""
        require_fitted(self, "enrol_dim_")
        rows_ND = checked_embeddings(profiles, "profiles", dim=self.enrol_dim_)
        return unit_rows(_padded(rows_ND, max(self.enrol_dim_, self.run_dim_)), "profiles")

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the rows, padded, of unit length."""
        require_fitted(self, "enrol_dim_")
        rows_ND = checked_embeddings(embeddings, "embeddings", dim=self.run_dim_)
        return unit_rows(_padded(rows_ND, max(self.enrol_dim_, self.run_dim_)), "embeddings")


class SpeakerLogits:
    """Cosine in a shared space of speaker logits: l = [cos(e, a_k)]_k, with anchor a_k the mean embedding of training speaker k.

    The anchors of both spaces are the same speakers, so that dimension k means the same thing in both.

    Args:
        num_anchors: K speakers, drawn by `seed`; 0 = all.
        standardise: whether each logit is made mean 0 and deviation 1 over the training embeddings (in each space). Without it
            what all embeddings share makes all scores nearly alike.
        temperature: T of softmax(l / T), after standardisation; 0 = no softmax.
        seed: of the choice of anchors.

    Source: the baseline named in Gao et al., arXiv 2401.12440 (abstract); its anchors, scaling and number are not known to us.
    """

    def __init__(self, num_anchors: int = 0, *, standardise: bool = False, temperature: float = 0.0, seed: int = 0) -> None:
        self.num_anchors = num_anchors
        self.standardise = standardise
        self.temperature = temperature
        self.seed = seed

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any) -> Self:
        """Return self with anchors [K, D], and mean and deviation [K] of the training logits, of each space.

        Raises:
            ValueError: more anchors asked for than speakers, fewer than two, or a logit that never changes.
        """
        enrol_ND, run_ND = checked_parallel(enrol, run)
        names, code_N = speaker_codes(speakers, len(enrol_ND))
        wanted = self.num_anchors or len(names)
        if not 2 <= wanted <= len(names):
            raise ValueError(f"num_anchors: expected 2 to {len(names)} (the training speakers), found {wanted}")
        if self.temperature < 0:
            raise ValueError(f"temperature: expected 0 (no softmax) or more, found {self.temperature}")
        chosen_K = np.sort(np.random.default_rng(self.seed).permutation(len(names))[:wanted])
        for side, rows_ND in (("enrol", enrol_ND), ("run", run_ND)):
            unit_ND = unit_rows(rows_ND, f"embeddings ({side})")
            anchors_KD = unit_rows(class_means(unit_ND, code_N, len(names))[0][chosen_K], "anchors")
            setattr(self, f"{side}_anchors_KD_", anchors_KD)
            mean_K, deviation_K = _mean_and_deviation(unit_ND, anchors_KD)
            if self.standardise and not (deviation_K > 1e-12).all():
                raise ValueError(f"logits ({side}): expected each to vary, found one that does not; use other anchors")
            setattr(self, f"{side}_mean_K_", mean_K)
            setattr(self, f"{side}_deviation_K_", deviation_K)
        return self

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return the logits [N, K] of profiles of the enrolment model, scaled to unit length."""
        return self._logits("enrol", profiles)

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the logits [N, K] of embeddings of the run-time model, scaled to unit length."""
        return self._logits("run", embeddings)

    def _logits(self, side: str, rows: npt.ArrayLike) -> np.ndarray:
        require_fitted(self, f"{side}_anchors_KD_")
        anchors_KD = getattr(self, f"{side}_anchors_KD_")
        rows_ND = checked_embeddings(rows, "embeddings", dim=anchors_KD.shape[1])
        logits_NK = unit_rows(rows_ND, "embeddings") @ anchors_KD.T
        if self.standardise:
            logits_NK = (logits_NK - getattr(self, f"{side}_mean_K_")) / getattr(self, f"{side}_deviation_K_")
        if self.temperature:
            logits_NK = logits_NK / self.temperature
            logits_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
            logits_NK /= logits_NK.sum(axis=1, keepdims=True)
        return unit_rows(logits_NK, "logits")


class Procrustes:
    """The orthogonal map (turn or reflection) of the run-time space that best meets the enrolment space, both centred.

    The smaller space is padded with zeros. R minimises sum |x - y R|^2 over orthogonal R; with U S V' = svd(Y'X), R = U V'.

    Attributes:
        enrol_mean_D_, run_mean_D_: what is taken away. rotation_EE_: R, for the padded rows.

    Source: Schoenemann, "A generalized solution of the orthogonal Procrustes problem", 1966.
    """

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any = None) -> Self:
        """Return self; speakers are not used."""
        enrol_ND, run_ND = checked_parallel(enrol, run)
        self.enrol_mean_D_, self.run_mean_D_ = enrol_ND.mean(axis=0), run_ND.mean(axis=0)
        dim = max(enrol_ND.shape[1], run_ND.shape[1])
        enrol_NE, run_NE = _padded(enrol_ND - self.enrol_mean_D_, dim), _padded(run_ND - self.run_mean_D_, dim)
        left_EE, _, right_EE = svd(run_NE.T @ enrol_NE)
        self.rotation_EE_ = left_EE @ right_EE
        return self

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return the rows less their space's mean, padded, of unit length [N, E]."""
        require_fitted(self, "rotation_EE_")
        rows_ND = checked_embeddings(profiles, "profiles", dim=self.enrol_mean_D_.size) - self.enrol_mean_D_
        return unit_rows(_padded(rows_ND, len(self.rotation_EE_)), "centred profiles")

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the rows less their space's mean, padded, turned, of unit length [N, E]."""
        require_fitted(self, "rotation_EE_")
        rows_ND = checked_embeddings(embeddings, "embeddings", dim=self.run_mean_D_.size) - self.run_mean_D_
        return unit_rows(_padded(rows_ND, len(self.rotation_EE_)) @ self.rotation_EE_, "centred embeddings")


class CCA:
    """Canonical correlation analysis: the directions of both spaces that go together most, each of variance 1.

    Args:
        dim: pairs of directions kept, most correlated first; 0 = all (the dimensions of the smaller space).
        ridge: share of the mean variance that is added to every direction's, so that directions of hardly any variance, which
            correlate by chance, do not count; above 0 where there are fewer embeddings than dimensions.
        power: each direction is weighted by its correlation to this power: 0 = plain CCA.

    Attributes:
        enrol_mean_D_, run_mean_D_, enrol_map_DE_, run_map_DE_; correlations_E_: canonical correlations, descending.

    Source: Hotelling, "Relations between two sets of variates", 1936; ridge: Vinod, "Canonical ridge", 1976.
    """

    def __init__(self, dim: int = 0, ridge: float = 1e-3, power: float = 0.0) -> None:
        self.dim = dim
        self.ridge = ridge
        self.power = power

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any = None) -> Self:
        """Return self; speakers are not used.

        Raises:
            ValueError: too many directions, a negative ridge, or a singular covariance without ridge.
        """
        enrol_ND, run_ND = checked_parallel(enrol, run)
        most = min(enrol_ND.shape[1], run_ND.shape[1])
        if not 0 <= self.dim <= most:
            raise ValueError(f"dim: expected 0 (all) to {most}, found {self.dim}")
        if self.ridge < 0 or self.power < 0:
            raise ValueError(f"ridge and power: expected 0 or more, found {self.ridge} and {self.power}")
        self.enrol_mean_D_, self.run_mean_D_ = enrol_ND.mean(axis=0), run_ND.mean(axis=0)
        enrol_ND, run_ND = enrol_ND - self.enrol_mean_D_, run_ND - self.run_mean_D_
        enrol_DD, run_DD = (_inverse_root(rows, self.ridge) for rows in (enrol_ND, run_ND))
        left, correlations_E, right = svd(enrol_DD @ (enrol_ND.T @ run_ND / len(run_ND)) @ run_DD, full_matrices=False)
        kept = self.dim or most
        weight_E = correlations_E[:kept] ** (self.power / 2)  # on both sides
        self.correlations_E_ = correlations_E[:kept]
        self.enrol_map_DE_, self.run_map_DE_ = enrol_DD @ left[:, :kept] * weight_E, run_DD @ right[:kept].T * weight_E
        return self

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return the canonical variates of profiles, of unit length [N, E]."""
        require_fitted(self, "enrol_map_DE_")
        rows_ND = checked_embeddings(profiles, "profiles", dim=self.enrol_mean_D_.size)
        return unit_rows((rows_ND - self.enrol_mean_D_) @ self.enrol_map_DE_, "canonical variates")

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the canonical variates of embeddings, of unit length [N, E]."""
        require_fitted(self, "run_map_DE_")
        rows_ND = checked_embeddings(embeddings, "embeddings", dim=self.run_mean_D_.size)
        return unit_rows((rows_ND - self.run_mean_D_) @ self.run_map_DE_, "canonical variates")


def _padded(rows_ND: np.ndarray, dim: int) -> np.ndarray:
    return np.pad(rows_ND, ((0, 0), (0, dim - rows_ND.shape[1])))


def _mean_and_deviation(unit_ND: np.ndarray, anchors_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation [K] of the logits, from mean and covariance of the rows: no array [N, K]."""
    mean_D = unit_ND.mean(axis=0)
    covariance_DD = (unit_ND - mean_D).T @ (unit_ND - mean_D) / len(unit_ND)
    return anchors_KD @ mean_D, np.sqrt(np.maximum(np.einsum("kd,kd->k", anchors_KD @ covariance_DD, anchors_KD), 0.0))


def _inverse_root(centred_ND: np.ndarray, ridge: float) -> np.ndarray:
    """Return the symmetric inverse square root of the covariance with its ridge."""
    covariance_DD = centred_ND.T @ centred_ND / len(centred_ND)
    value_D, vector_DD = eigh(covariance_DD)
    value_D = value_D + ridge * value_D.mean()
    if value_D[0] <= 1e-12 * value_D[-1]:
        raise ValueError(
            f"covariance: expected full rank, found smallest and largest eigenvalue {value_D[0]:.3g} and {value_D[-1]:.3g} of "
            f"{len(centred_ND)} embeddings in {len(value_D)} dimensions; give more embeddings or a larger ridge"
        )
    return vector_DD / np.sqrt(value_D) @ vector_DD.T
