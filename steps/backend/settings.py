"""Settings of scoring. Standard library only, so that planning a stage loads nothing heavy."""

from dataclasses import dataclass

TRANSFORMS = ("mean", "whiten", "lda", "length_norm")
LINKAGES = ("single", "complete", "average", "weighted", "centroid", "median", "ward")
PLAIN = ("cosine", "dot", "euclidean")
OF_WINDOWS = ("linkage", "dominant_sets", "pairwise")  # back ends that compare windows, not utterances
TRAINED = ("plda", "ht_plda", "learned")
BACKENDS = (*PLAIN, "siamese", *TRAINED, *OF_WINDOWS)
NORMS = ("none", "z_norm", "t_norm", "s_norm", "as_norm")
PICTURES = ("det", "scores", "tippett", "reliability", "bayes_error")
QUALITIES = ("duration", "magnitude", "cohort_mean")

_CHOICES = {
    "lda_form": ("kaldi", "but"),
    "backend": BACKENDS,
    "enrolment": ("mean", "by_the_book", "scores"),
    "plda_length_norm": ("kaldi", "simple", "none"),
    "adaptation": ("none", "kaldi", "coral", "coral_plus"),
    "adaptation_set": ("train", "dev"),
    "linkage": LINKAGES,
    "dominant_cut": ("absolute", "relative"),
    "learned_set": ("train", "dev"),
    "norm": NORMS,
    "calibration_form": ("linear", "isotonic"),
}
_AT_LEAST = {
    "lda_dim": 1, "plda_iterations": 1, "plda_rank": 0, "ht_dim": 1, "ht_iterations": 1, "norm_top": 2, "replicates": 2,
    "learned_width": 1, "learned_layers": 1, "learned_epochs": 1, "learned_batches": 1, "learned_pairs": 1,
}  # fmt: skip
_SHARES = ("plda_smoothing", "learned_share", "learned_dropout")


@dataclass(frozen=True, kw_only=True)
class Score:
    """From embeddings to scores: transforms, back end, score normalisation, calibration; and how figures are made."""

    transforms: tuple[str, ...] = ("mean",)  # in this order, fitted on the training set: mean, whiten, lda, length_norm
    lda_dim: int = 200  # dimensions that LDA keeps
    lda_form: str = "kaldi"  # "kaldi" or "but" (see LDA in transforms.py)
    # "cosine", "dot", "euclidean" (minus the distance), "siamese" (the network's own decision about a pair), "plda", "ht_plda"
    # (heavy-tailed), "learned" (a network for pairs of embeddings); of windows "linkage", "dominant_sets" or "pairwise" (mean
    # over all pairs of windows)
    backend: str = "cosine"
    # of a speaker enrolled with several utterances: "mean" (of the embeddings, as if it were one), "by_the_book" (PLDA: how many
    # they are counts) or "scores" (mean of the scores)
    enrolment: str = "mean"
    plda_iterations: int = 10  # of EM
    # mean variances of a dimension added to covariances (whiten, lda "kaldi", plda, ht_plda); 0: where they are singular, 0.1
    ridge: float = 0.0
    plda_rank: int = 0  # dimensions of the speaker's subspace (simplified PLDA); 0: all of them (two covariances)
    plda_length_norm: str = "kaldi"  # "kaldi", "simple" or "none": scaling in the space of the PLDA
    plda_smoothing: float = 0.0  # share of the between-speaker covariance added to the within-speaker one
    ht_degrees: float = 2.0  # degrees of freedom of the heavy tails; 0: Gaussian
    ht_dim: int = 150  # dimensions of the speaker's subspace
    ht_iterations: int = 50  # of variational Bayes
    adaptation: str = "none"  # to speech without labels: "none", "kaldi", "coral" or "coral_plus"
    adaptation_set: str = "dev"  # whose embeddings are like those to be tested
    # shares of the excess of the new covariance that within- and between-speaker covariance get; none: 0.75 and 0.25 for
    # "kaldi", 0.8 and 0.2 for "coral_plus". [0, 0] with "kaldi" takes only the mean over
    adaptation_shares: tuple[float, ...] = ()
    linkage: str = "average"  # of "linkage" and "dominant_sets": single, complete, average, weighted, centroid, median or ward
    dominant_epsilon: float = 1e-6  # change at which the replicator dynamics stop
    dominant_threshold: float = 0.1  # participation from which a window belongs to a set
    dominant_cut: str = "absolute"  # "absolute", or "relative" to the largest participation
    learned_set: str = "dev"  # whose pairs "learned" is trained on
    learned_share: float = 0.7  # of the dev speakers, for "learned"; the calibration gets the others
    learned_width: int = 1024  # units of a layer
    learned_layers: int = 4  # hidden layers
    learned_dropout: float = 0.5  # between layers
    learned_epochs: int = 10  # passes of learned_batches
    learned_batches: int = 1000  # batches in an epoch
    learned_pairs: int = 60  # target pairs in a batch, and as many others
    learned_rate: float = 1e-3  # learning rate
    learned_linkage: bool = False  # also give it the heights of all linkages of the two sides' windows
    norm: str = "none"  # "none", "z_norm", "t_norm", "s_norm" (whole cohort) or "as_norm" (the norm_top nearest of the cohort)
    norm_top: int = 300  # cohort speakers, of "as_norm" and of the quality "cohort_mean"
    calibrate: bool = True  # LLRs, fitted on trials of held-out training speakers
    calibration_form: str = "linear"  # "linear" (logistic regression) or "isotonic" (pool adjacent violators)
    calibration_prior: float = 0.05  # probability of a target trial that the calibration is made for
    quality: tuple[str, ...] = ()  # measures beside the score in a linear calibration: duration, magnitude, cohort_mean
    predict_gender: bool = False  # write gender.txt, from a probe of training embeddings
    priors: tuple[float, ...] = (0.01, 0.05)  # of minDCF and actDCF
    pictures: tuple[str, ...] = ("det", "scores")  # of each list: det, scores, tippett, reliability, bayes_error
    allow_missing: bool = False  # trials without embeddings are counted instead of being an error
    replicates: int = 1000  # of the bootstrap over speakers behind the intervals
    seed: int = 1  # of the bootstrap, and of what is drawn for "learned"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            _expect(name, getattr(self, name), choices)
        for name, choices in (("transforms", TRANSFORMS), ("quality", QUALITIES), ("pictures", PICTURES)):
            found = getattr(self, name)
            for each in found:
                _expect(name, each, choices)
            if len(set(found)) != len(found):
                raise ValueError(f"{name}: expected each at most once, found {found}")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for name in ("dominant_epsilon", "dominant_threshold", "learned_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, found {getattr(self, name)}")
        for name, values in (("priors", self.priors), ("calibration_prior", (self.calibration_prior,))):
            if not values or not all(0 < value < 1 for value in values):
                raise ValueError(f"{name}: expected probabilities between 0 and 1, found {values}")
        self._check_together()

    def _check_together(self) -> None:
        """Refuse what does not go together."""
        if self.backend in OF_WINDOWS and (self.norm != "none" or "cohort_mean" in self.quality):
            raise ValueError(f"norm, quality: expected no cohort with backend = {self.backend!r}, which has no vector a speaker")
        if self.enrolment == "by_the_book" and self.backend not in ("plda", "ht_plda"):
            raise ValueError(f"enrolment: 'by_the_book' is of plda and ht_plda, found backend = {self.backend!r}")
        if self.adaptation in ("kaldi", "coral_plus") and self.backend != "plda":
            raise ValueError(f"adaptation: {self.adaptation!r} adapts backend = 'plda', found {self.backend!r}")
        if len(self.adaptation_shares) not in (0, 2) or not all(0 <= share <= 1 for share in self.adaptation_shares):
            raise ValueError(f"adaptation_shares: expected two from 0 to 1 (within, between), found {self.adaptation_shares}")
        if self.adaptation_shares and self.adaptation in ("none", "coral"):
            raise ValueError(f"adaptation_shares: expected none with adaptation = {self.adaptation!r}, which has none")
        fitted = set(self.transforms) - {"length_norm"}
        if self.adaptation == "coral" and not (fitted or self.backend in ("plda", "ht_plda") or self.norm != "none"):
            raise ValueError(
                "adaptation: 'coral' maps training embeddings, and nothing here is fitted on them; found transforms, "
                f"backend and norm {self.transforms}, {self.backend!r}, {self.norm!r}"
            )
        if self.enrolment == "scores" and self.backend in (*OF_WINDOWS, "learned"):
            raise ValueError(f"enrolment: expected 'mean' with backend = {self.backend!r}, found 'scores'")
        if self.learned_linkage and (self.backend != "learned" or self.norm != "none" or "cohort_mean" in self.quality):
            raise ValueError(
                "learned_linkage: expected backend = 'learned' and no cohort, which has no windows; found "
                f"backend, norm and quality {self.backend!r}, {self.norm!r}, {self.quality}"
            )
        if self.backend == "learned" and self.learned_set == "dev" and self.calibrate and self.learned_share >= 1:
            raise ValueError("learned_share: expected below 1, as the other dev speakers are those to calibrate on; found 1")
        if self.quality and (not self.calibrate or self.calibration_form != "linear"):
            raise ValueError("quality: expected calibrate = true and calibration_form = 'linear' with it")
        for name in ("ht_degrees", "ridge"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")

    @property
    def needs_windows(self) -> bool:
        """Whether windows are compared, not only utterances."""
        return self.backend in OF_WINDOWS or (self.backend == "learned" and self.learned_linkage)

    @property
    def text(self) -> str:
        """The scoring in one line, for tables."""
        names = {"mean": "mean", "whiten": "whitening", "lda": f"LDA {self.lda_dim}", "length_norm": "length norm"}
        adapted = [] if self.adaptation == "none" else [f"adapted ({self.adaptation})"]
        norms = {"z_norm": "z-norm", "t_norm": "t-norm", "s_norm": "s-norm", "as_norm": f"AS-norm {self.norm_top}"}
        norm = [] if self.norm == "none" else [norms[self.norm]]
        isotonic = ["isotonic calibration"] if self.calibrate and self.calibration_form == "isotonic" else []
        quality = [f"calibrated with {', '.join(self.quality)}"] if self.quality else []
        return ", ".join([*(names[name] for name in self.transforms), *adapted, self._backend_text, *norm, *isotonic, *quality])

    @property
    def _backend_text(self) -> str:
        return {
            "plda": f"PLDA of rank {self.plda_rank}" if self.plda_rank else "PLDA",
            "ht_plda": f"heavy-tailed PLDA {self.ht_dim}" if self.ht_degrees else f"Gaussian PLDA {self.ht_dim}",
            "dot": "dot product",
            "euclidean": "Euclidean",
            "siamese": "siamese head",
            "learned": "learned scorer",
            "linkage": f"{self.linkage} linkage",
            "dominant_sets": f"dominant sets, {self.linkage} linkage",
            "pairwise": "pairs of windows",
        }.get(self.backend, self.backend)


def _expect(name: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {found!r}")
