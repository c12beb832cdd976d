"""Settings of scoring. Standard library only, so that planning a stage loads nothing heavy."""

from dataclasses import dataclass

TRANSFORMS = ("mean", "whiten", "lda", "length_norm")
BACKENDS = ("cosine", "dot", "euclidean", "siamese", "plda")


@dataclass(frozen=True, kw_only=True)
class Score:
    """From embeddings to scores: transforms, back end, score normalisation, calibration; and how figures are made."""

    transforms: tuple[str, ...] = ("mean",)  # in this order, fitted on the training set: mean, whiten, lda, length_norm
    lda_dim: int = 200  # dimensions that LDA keeps
    lda_form: str = "kaldi"  # "kaldi" or "but" (see LDA in transforms.py)
    # "cosine", "dot", "euclidean" (minus the distance), "siamese" (the network's own decision about a pair) or "plda"
    backend: str = "cosine"
    plda_iterations: int = 10  # of EM
    plda_length_norm: str = "kaldi"  # "kaldi", "simple" or "none": scaling in the space of the PLDA
    plda_smoothing: float = 0.0  # share of the between-speaker covariance added to the within-speaker one
    norm: str = "none"  # "none", "s_norm" (whole cohort) or "as_norm" (the norm_top nearest of the cohort)
    norm_top: int = 300  # cohort speakers, of "as_norm"
    calibrate: bool = True  # LLRs by logistic regression on trials of held-out training speakers
    calibration_prior: float = 0.05  # probability of a target trial that the calibration is made for
    priors: tuple[float, ...] = (0.01, 0.05)  # of minDCF and actDCF
    allow_missing: bool = False  # trials without embeddings are counted instead of being an error
    replicates: int = 1000  # of the bootstrap over speakers behind the intervals
    seed: int = 1  # of the bootstrap

    def __post_init__(self) -> None:
        for name in self.transforms:
            _expect("transforms", name, TRANSFORMS)
        if len(set(self.transforms)) != len(self.transforms):
            raise ValueError(f"transforms: expected each at most once, found {self.transforms}")
        _expect("lda_form", self.lda_form, ("kaldi", "but"))
        _expect("backend", self.backend, BACKENDS)
        _expect("plda_length_norm", self.plda_length_norm, ("kaldi", "simple", "none"))
        _expect("norm", self.norm, ("none", "s_norm", "as_norm"))
        for name, value in (("lda_dim", self.lda_dim), ("plda_iterations", self.plda_iterations)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, found {value}")
        if not 0 <= self.plda_smoothing <= 1:
            raise ValueError(f"plda_smoothing: expected 0 to 1, found {self.plda_smoothing}")
        if self.norm_top < 2:
            raise ValueError(f"norm_top: expected at least 2, found {self.norm_top}")
        if self.replicates < 2:
            raise ValueError(f"replicates: expected at least 2, found {self.replicates}")
        for name, values in (("priors", self.priors), ("calibration_prior", (self.calibration_prior,))):
            if not values or not all(0 < value < 1 for value in values):
                raise ValueError(f"{name}: expected probabilities between 0 and 1, found {values}")

    @property
    def text(self) -> str:
        """The scoring in one line, for tables."""
        names = {"mean": "mean", "whiten": "whitening", "lda": f"LDA {self.lda_dim}", "length_norm": "length norm"}
        norm = {"none": [], "s_norm": ["s-norm"], "as_norm": [f"AS-norm {self.norm_top}"]}[self.norm]
        backend = {"plda": "PLDA", "dot": "dot product", "euclidean": "Euclidean", "siamese": "siamese head"}
        return ", ".join([*(names[name] for name in self.transforms), backend.get(self.backend, self.backend), *norm])


def _expect(name: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {found!r}")
