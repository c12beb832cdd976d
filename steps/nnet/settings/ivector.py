"""Settings of i-vectors, which are trained without a head."""

from dataclasses import dataclass, field

from steps.nnet.settings.checks import expect, expect_above, expect_counts, expect_range


@dataclass(frozen=True, kw_only=True)
class IVector:
    """A universal background model (UBM) and a total-variability extractor, both trained by EM (`train.method = "em"`).

    The defaults are Kaldi's, but for the number of components and the splitting (`init_gaussians`).

    Source: Dehak et al., IEEE TASLP 2011; Kaldi egs/voxceleb/v1, sid/train_diag_ubm.sh, train_full_ubm.sh,
    train_ivector_extractor.sh.
    """

    type: str = "ivector"
    # Gaussian components of the UBM
    num_gaussians: int = 1024
    # dimensions of the i-vector
    embedding_dim: int = 400
    # frames, drawn at random, that the diagonal UBM is begun with; they are held in memory
    init_frames: int = 500_000
    # components at the start, each on a random frame; in the first half of init_iterations the heaviest ones are split until
    # there are num_gaussians; 0: all from the start
    init_gaussians: int = 0
    # EM iterations on these frames
    init_iterations: int = 20
    # EM iterations of the diagonal UBM on the training set
    diagonal_iterations: int = 4
    # components that a frame counts for in those, the most likely ones; 0 (or more than there are): all
    diagonal_gselect: int = 30
    # EM iterations with full covariances; 0: they stay diagonal, also those of the extractor
    full_iterations: int = 4
    # components that a frame counts for in those and in the statistics of i-vectors, chosen by the diagonal of the
    # covariances; 0 (or more than there are): all
    gselect: int = 20
    # of the training set every so many frames of an utterance are used for the UBM
    ubm_every: int = 5
    # variances of the UBM, along any direction, stay over this share of the variance of all frames
    variance_floor: float = 1e-3
    # statistics leave out posteriors below this, and the others of the frame are scaled to sum to 1
    posterior_floor: float = 0.025
    # factor of the statistics, below 1 because neighbouring frames are alike; Kaldi offers it, and uses 1
    posterior_scale: float = 1.0
    # EM iterations of the extractor
    iterations: int = 5
    # utterances that the extractor is trained on, the longest ones; 0: all
    longest_utterances: int = 0
    # whether the extractor's covariances are re-estimated; false: they stay those of the UBM
    update_covariances: bool = True
    # these stay over this share of their average, along any direction
    covariance_floor: float = 0.1
    # GiB of memory for the statistics, which are the same in every iteration: if they do not all fit, each computes them anew
    statistics_memory: float = field(default=4.0, metadata={"decides": False})

    def __post_init__(self) -> None:
        expect(self, "type", ("ivector",))
        for name in ("num_gaussians", "embedding_dim", "init_frames", "init_iterations", "ubm_every", "iterations"):
            expect_counts(self, name, getattr(self, name))
        for name in (
            "diagonal_iterations", "diagonal_gselect", "full_iterations", "gselect", "longest_utterances", "statistics_memory",
            "variance_floor",
        ):  # fmt: skip
            expect_range(self, name, 0, float("inf"))
        expect_range(self, "init_gaussians", 0, self.num_gaussians)
        expect_range(self, "posterior_floor", 0, 0.5)
        expect_range(self, "covariance_floor", 0, 1)
        expect_above(self, "posterior_scale", 0.0)
        if 0 < self.init_gaussians < self.num_gaussians and self.init_iterations < 2:
            raise ValueError(
                f"IVector.init_iterations: expected at least 2 where components are split, found {self.init_iterations}"
            )
        if self.diagonal_iterations == 0 and self.diagonal_gselect != type(self).diagonal_gselect:
            raise ValueError("IVector.diagonal_gselect: expected its default, as diagonal_iterations = 0 has no use for it")
        if not self.update_covariances and self.covariance_floor != type(self).covariance_floor:
            raise ValueError("IVector.covariance_floor: expected its default, as update_covariances = false has no use for it")


@dataclass(frozen=True, kw_only=True)
class NoHead:
    """What stands in [head] of a model that is trained without one."""

    type: str = "none"

    def __post_init__(self) -> None:
        expect(self, "type", ("none",))
