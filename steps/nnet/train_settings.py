"""Settings of a training run. Standard library only, so that planning a stage never imports torch."""

from dataclasses import dataclass, field

_FREE = {"decides": False}  # changes no number: stays out of the fingerprint


@dataclass(frozen=True, kw_only=True)
class Train:
    """Data order, optimiser, schedules and what is kept."""

    seed: int = 1
    epochs: int
    batch_size: int  # examples
    min_crop: float = 2.0  # s; each batch draws the length of its examples evenly from min_crop to max_crop
    max_crop: float = 2.0  # s
    sampling: str = "utterance"  # "utterance" (each as often as any other) or "speaker" (speaker first, then utterance)
    examples_per_epoch: int = 0  # 0: as many as there are training utterances
    min_utterances: int = 1  # speakers with fewer training utterances are left out, and the log says how many

    optimizer: str = "sgd"  # "sgd" (Nesterov), "adam" or "adamw"
    momentum: float = 0.9  # of sgd
    learning_rate: float  # at its highest
    final_learning_rate: float  # at the end
    warmup_epochs: float = 0.0  # linear rise from 0
    decay: str = "exponential"  # "exponential", "cosine" or "constant"
    weight_decay: float = 1e-4  # not applied to biases and normalisation layers
    max_gradient_norm: float = 0.0  # gradients longer than this are scaled down to it; 0: never

    margin_start_epoch: float = 0.0  # the margin of the head is 0 until here
    margin_end_epoch: float = 0.0  # and has its full value from here on
    margin_growth: str = "linear"  # "linear" or "exponential"

    patience: int = 0  # epochs without a better dev EER after which training stops; 0: never
    average: int = 1  # the model is the mean of the weights of so many epochs
    average_of: str = "last"  # "last" epochs or "best" epochs by dev EER

    precision: str = "auto"  # "auto" (bf16 where the hardware has it), "bf16" or "float32"
    compile: bool = False  # torch.compile; needs a C++ compiler at run time
    device: str = "auto"  # "auto" (the first GPU, if any), "cpu" or "cuda"
    threads: int = 2  # of the training process on a CPU; part of what decides the last bits
    workers: int = field(default=1, metadata=_FREE)  # processes that make batches, each on one thread
    checkpoint_seconds: float = field(default=120.0, metadata=_FREE)  # longest time between two checkpoints

    def __post_init__(self) -> None:
        for name, choices in (
            ("sampling", ("utterance", "speaker")),
            ("optimizer", ("sgd", "adam", "adamw")),
            ("decay", ("exponential", "cosine", "constant")),
            ("margin_growth", ("linear", "exponential")),
            ("average_of", ("last", "best")),
            ("precision", ("auto", "bf16", "float32")),
            ("device", ("auto", "cpu", "cuda")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {getattr(self, name)!r}")
        for name, least in (
            ("epochs", 1), ("batch_size", 2), ("threads", 1), ("average", 1), ("min_utterances", 1),
            ("examples_per_epoch", 0), ("workers", 1), ("patience", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        self._check_rates()
        if not 0 < self.min_crop <= self.max_crop:
            raise ValueError(f"min_crop, max_crop: expected 0 < min <= max seconds, found {self.min_crop}, {self.max_crop}")
        if not 0 <= self.warmup_epochs <= self.epochs or not 0 <= self.margin_start_epoch <= self.margin_end_epoch:
            raise ValueError(
                "warmup_epochs, margin_start_epoch, margin_end_epoch: expected a warm-up within the epochs and a ramp that "
                f"ends after it starts, found {self.warmup_epochs}, {self.margin_start_epoch}, {self.margin_end_epoch}"
            )
        if self.average > self.epochs:
            raise ValueError(f"average: expected at most epochs = {self.epochs}, found {self.average}")
        if self.checkpoint_seconds < 0:
            raise ValueError(f"checkpoint_seconds: expected 0 or more, found {self.checkpoint_seconds}")

    def _check_rates(self) -> None:
        rates = f"found {self.learning_rate} to {self.final_learning_rate}"
        if self.learning_rate <= 0 or self.final_learning_rate < 0:
            raise ValueError(f"learning_rate, final_learning_rate: expected rates above 0, {rates}")
        if self.decay == "exponential" and self.final_learning_rate == 0:
            raise ValueError(f"final_learning_rate: expected a rate above 0, which an exponential decay can reach, {rates}")
        if self.decay == "constant" and self.final_learning_rate != self.learning_rate:
            raise ValueError(f"final_learning_rate: expected that of the start, as the decay is constant, {rates}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected 0 to below 1, found {self.momentum}")
        for name in ("weight_decay", "max_gradient_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
