"""Settings of a training run. Standard library only, so that planning a stage never imports torch."""

from dataclasses import dataclass, field, fields

_FREE = {"decides": False}  # changes no number: stays out of the fingerprint
_OF_GRADIENTS = ("epochs", "batch_size", "learning_rate")  # what method "sgd" cannot do without
_OF_EM = ("method", "seed", "device", "threads", "workers", "checkpoint_seconds")  # of which method "em" sees anything


@dataclass(frozen=True, kw_only=True)
class Train:
    """Data order, optimiser, schedules and what is kept."""

    # "sgd" (gradients; needs epochs, batch_size and learning_rate), or "em": an i-vector extractor (model.type = "ivector"),
    # whose iterations are settings of the model; of those below it uses seed, device, threads and workers only
    method: str = "sgd"
    seed: int = 1
    epochs: int = 0
    batch_size: int = 0  # examples
    min_crop: float = 2.0  # s; each batch draws the length of its examples evenly from min_crop to max_crop
    max_crop: float = 2.0  # s
    # "utterance" (each as often as any other), "speaker" (speaker first, then utterance), "pairs" (half alike, half different),
    # "groups" (group_size utterances of each speaker of a batch), "whole" (whole recordings up to max_crop, of like length)
    sampling: str = "utterance"
    group_size: int = 0  # utterances of each speaker in a batch of "groups"
    pair_weights: str = "uniform"  # "pairs": utterances are drawn "uniform"ly or by "length"
    pair_same_file: bool = False  # "pairs": a pair that is alike may be two crops of one recording although there are others
    mined_pairs: int = 0  # "pairs": random pairs of different speakers compared before each epoch; 0: differing pairs are drawn
    mined_share: float = 0.01  # share of them, the nearest, of which the epoch's differing pairs are
    p_reverse: float = 0.0  # probability that an example runs backwards in time
    examples_per_epoch: int = 0  # 0: as many as there are training utterances
    min_utterances: int = 1  # speakers with fewer training utterances are left out, and the log says how many
    num_speakers: int = 0  # of the others so many are drawn to train on; 0: all
    minutes: float = (
        0.0  # of speech in all, an equal share of each of num_speakers, who have at least that; 0: all that they have
    )

    # Active learning: training begins with a part of each speaker's utterances and takes in more of them after each epoch: those
    # where the head's largest output is smallest ("one_minus_max"), where that of the true speaker is smallest
    # ("one_minus_target"), or any ("random", the control). "none": all utterances from the beginning
    active: str = "none"
    active_share: float = 0.1  # of each speaker's utterances, rounded up, that it begins with
    active_add: int = 0  # utterances taken in after each epoch
    active_speakers: int = 0  # speakers, drawn anew after each epoch, whose utterances are tried; 0: all
    active_per_speaker: int = (
        0  # most utterances of one speaker taken in at once (published: an eighth of active_add); 0: no limit
    )

    init: str = ""  # the system whose trained network this one begins with; layers behind the pooling may differ
    init_head: bool = False  # begin with its head, too: the same speakers and the same type of head
    freeze: str = "none"  # "frames": the layers before the pooling stay as they are, batch norms included

    optimizer: str = "sgd"  # "sgd", "adam", "amsgrad", "adamw" or "adadelta" (rho 0.95, epsilon 1e-6)
    momentum: float = 0.9  # of sgd
    nesterov: bool = True  # of sgd
    learning_rate: float = 0.0  # at its highest; what decay_start = "first_update" decays from
    final_learning_rate: float = 0.0  # at the end (exponential, cosine); the lowest (plateau)
    # batch size that these two rates are of: both are multiplied by batch_size / rate_batch_size; 0: they hold for any batch size
    rate_batch_size: int = 0  # examples
    warmup_epochs: float = 0.0  # linear rise from 0
    # "exponential", "cosine", "constant", "inverse" (over 1 + inverse_decay * update), "steps" (rate_factors from
    # rate_epochs on) or "plateau" (times plateau_factor after plateau_patience epochs without a better monitored figure)
    decay: str = "exponential"
    # "after_warmup", or "first_update": an exponential or cosine decay runs under the warm-up, too, so that the rate is highest
    # at the warm-up's end and never learning_rate itself
    decay_start: str = "after_warmup"
    inverse_decay: float = 0.0  # per update
    rate_epochs: tuple[float, ...] = ()  # finished epochs after which the factor of the same place holds, rising
    rate_factors: tuple[float, ...] = ()  # of the learning rate
    plateau_factor: float = 0.1
    plateau_patience: int = 10  # epochs
    plateau_delta: float = 1e-4  # a figure counts as better if it is so by more than this
    weight_decay: float = 1e-4  # not applied to biases and normalisation layers
    max_gradient_norm: float = 0.0  # gradients longer than this are scaled down to it; 0: never
    max_change: float = 0.0  # learning rate times gradient is scaled down to this length (Kaldi's max-change); 0: never
    hardest_share: float = 1.0  # share of a batch's losses, the largest, that are learnt from (OHEM)

    margin_start_epoch: float = 0.0  # the margin of the head is 0 until here
    margin_end_epoch: float = 0.0  # and has its full value from here on
    margin_growth: str = "linear"  # "linear" or "exponential"

    monitor: str = "eer"  # what patience, plateau and "best" look at: dev "eer", or "one_shot" accuracy
    one_shot_tasks: int = 500  # tasks of that accuracy: whose voice is it, of the held-out speakers' one utterance each
    one_shot_ways: int = 5  # speakers of a task
    patience: int = 0  # epochs without a better monitored figure after which training stops; 0: never
    average: int = 1  # the model is the mean of the weights of so many epochs
    average_of: str = "last"  # "last" epochs or "best" epochs by the monitored figure

    precision: str = "auto"  # "auto" (bf16 where the hardware has it for this network), "bf16" or "float32"
    compile: bool = False  # torch.compile; needs a C++ compiler at run time
    device: str = "auto"  # "auto" (the first GPU, if any), "cpu" or "cuda"
    threads: int = 2  # of the training process on a CPU; part of what decides the last bits
    workers: int = field(default=1, metadata=_FREE)  # processes that make batches, each on one thread
    checkpoint_seconds: float = field(default=120.0, metadata=_FREE)  # longest time between two checkpoints

    # Several processes ("ranks"), each with a GPU or `threads` of its own and its share of every batch: batch_size stays that of
    # all of them together, and an update is the same one up to the last bits. On a cluster they may be on several hosts
    # (launch.gpu.nodes)
    ranks: int = 1
    rank_timeout: float = field(default=1800.0, metadata=_FREE)  # s that ranks wait for one another (also for the dev EER)
    # "softmax", "am", "aam" and "combined" heads over very many speakers (Partial FC): each rank holds the class vectors of its
    # share of the speakers
    shard_head: bool = False
    class_share: float = 1.0  # of the class vectors an update compares, those of the batch's speakers among them

    @property
    def rate_factor(self) -> float:
        """What learning_rate and final_learning_rate are multiplied by: the batch size over the one that they are of."""
        return self.batch_size / self.rate_batch_size if self.rate_batch_size else 1.0

    @property
    def partial_head(self) -> bool:
        """Whether the head is spread over ranks, or compares a part of the speakers."""
        return self.shard_head or self.class_share < 1

    def __post_init__(self) -> None:
        for name, choices in (
            ("method", ("sgd", "em")),
            ("sampling", ("utterance", "speaker", "pairs", "groups", "whole")),
            ("pair_weights", ("uniform", "length")),
            ("active", ("none", "one_minus_max", "one_minus_target", "random")),
            ("freeze", ("none", "frames")),
            ("optimizer", ("sgd", "adam", "amsgrad", "adamw", "adadelta")),
            ("decay", ("exponential", "cosine", "constant", "inverse", "steps", "plateau")),
            ("decay_start", ("after_warmup", "first_update")),
            ("margin_growth", ("linear", "exponential")),
            ("monitor", ("eer", "one_shot")),
            ("average_of", ("last", "best")),
            ("precision", ("auto", "bf16", "float32")),
            ("device", ("auto", "cpu", "cuda")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {getattr(self, name)!r}")
        if self.method == "em":
            self._check_em()
            return
        missing = [name for name in _OF_GRADIENTS if getattr(self, name) == 0]
        if missing:
            raise ValueError(f"{', '.join(missing)}: expected a value in the system's file or with --set, found none")
        for name, least in (
            ("epochs", 1), ("batch_size", 2), ("threads", 1), ("average", 1), ("min_utterances", 1), ("examples_per_epoch", 0),
            ("workers", 1), ("patience", 0), ("group_size", 0), ("mined_pairs", 0), ("plateau_patience", 1),
            ("num_speakers", 0), ("minutes", 0),
            ("active_add", 0), ("active_speakers", 0), ("active_per_speaker", 0),
            ("one_shot_tasks", 1), ("one_shot_ways", 2), ("weight_decay", 0), ("max_gradient_norm", 0), ("max_change", 0),
            ("plateau_delta", 0), ("checkpoint_seconds", 0), ("ranks", 1), ("rank_timeout", 1), ("rate_batch_size", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        self._check_rates()
        self._check_sampling()
        self._check_active()
        self._check_ranks()
        if not 0 < self.min_crop <= self.max_crop:
            raise ValueError(f"min_crop, max_crop: expected 0 < min <= max seconds, found {self.min_crop}, {self.max_crop}")
        if not 0 <= self.warmup_epochs <= self.epochs or not 0 <= self.margin_start_epoch <= self.margin_end_epoch:
            raise ValueError(
                "warmup_epochs, margin_start_epoch, margin_end_epoch: expected a warm-up within the epochs and a ramp that "
                f"ends after it starts, found {self.warmup_epochs}, {self.margin_start_epoch}, {self.margin_end_epoch}"
            )
        if self.num_speakers == 1 or (self.minutes and not self.num_speakers):
            raise ValueError(
                "num_speakers, minutes: expected at least 2 speakers, or 0 for all and no minutes then, "
                f"found {self.num_speakers}, {self.minutes}"
            )
        if self.average > self.epochs:
            raise ValueError(f"average: expected at most epochs = {self.epochs}, found {self.average}")
        if self.init_head and not self.init:
            raise ValueError("init_head: expected a system in init whose head it is, found none")
        if self.freeze != "none" and not self.init:
            raise ValueError("freeze: expected a system in init whose trained layers stay as they are, found none")

    def _check_em(self) -> None:
        unused = [each.name for each in fields(self) if each.name not in _OF_EM and getattr(self, each.name) != each.default]
        if unused:
            raise ValueError(f"{', '.join(unused)}: expected the default, as method = 'em' has no use for it")
        for name in ("threads", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, found {getattr(self, name)}")

    def _check_rates(self) -> None:
        rates = f"found {self.learning_rate} to {self.final_learning_rate}"
        if self.learning_rate <= 0 or self.final_learning_rate < 0:
            raise ValueError(f"learning_rate, final_learning_rate: expected rates above 0, {rates}")
        if self.decay == "exponential" and self.final_learning_rate == 0:
            raise ValueError(f"final_learning_rate: expected a rate above 0, which an exponential decay can reach, {rates}")
        if self.decay in ("constant", "inverse", "steps") and self.final_learning_rate not in (0, self.learning_rate):
            raise ValueError(f"final_learning_rate: expected none (0), as decay = {self.decay!r} does not use it, {rates}")
        if self.decay_start == "first_update" and self.decay not in ("exponential", "cosine"):
            raise ValueError(f"decay_start: expected 'after_warmup' with decay = {self.decay!r}, found 'first_update'")
        if (self.decay == "inverse") != (self.inverse_decay > 0):
            raise ValueError(f"inverse_decay: expected above 0 exactly if decay = 'inverse', found {self.inverse_decay}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: expected 0 to below 1, found {self.momentum}")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor: expected between 0 and 1, found {self.plateau_factor}")
        epochs, factors = self.rate_epochs, self.rate_factors
        fits = len(epochs) == len(factors) and list(epochs) == sorted(set(epochs)) and min((0, *factors)) >= 0
        if not fits or (self.decay == "steps") != bool(epochs):
            raise ValueError(
                "rate_epochs, rate_factors: expected as many rising epochs as factors exactly if decay = 'steps', "
                f"found {epochs}, {factors}"
            )

    def _check_sampling(self) -> None:
        for name in ("p_reverse", "mined_share", "hardest_share"):
            if not 0 <= getattr(self, name) <= 1 or (name != "p_reverse" and getattr(self, name) == 0):
                raise ValueError(f"{name}: expected a share of at most 1, found {getattr(self, name)}")
        if (self.sampling == "groups") != (self.group_size > 0):
            raise ValueError(f"group_size: expected above 0 exactly if sampling = 'groups', found {self.group_size}")
        if self.sampling == "groups" and self.batch_size % self.group_size:
            raise ValueError(f"batch_size: expected a multiple of group_size = {self.group_size}, found {self.batch_size}")
        if self.sampling == "pairs" and self.batch_size % 4:
            raise ValueError(f"batch_size: expected a multiple of 4 (half the pairs alike), found {self.batch_size}")
        unused = [
            name for name, used in (("mined_pairs", self.mined_pairs > 0), ("pair_weights", self.pair_weights != "uniform"),
                                    ("pair_same_file", self.pair_same_file)) if used and self.sampling != "pairs"
        ]  # fmt: skip
        if unused:
            raise ValueError(f"{', '.join(unused)}: only with sampling = 'pairs', found {self.sampling!r}")

    def _check_ranks(self) -> None:
        if self.batch_size < self.ranks:
            raise ValueError(f"batch_size: expected an example for each of {self.ranks} ranks, found {self.batch_size}")
        if self.ranks > 1 and self.compile:
            raise ValueError(
                f"compile: expected false with ranks = {self.ranks}, whose batch norms torch.compile cannot see through"
            )
        if not 0 < self.class_share <= 1:
            raise ValueError(f"class_share: expected a share above 0 and of at most 1, found {self.class_share}")
        if self.shard_head and self.ranks == 1:
            raise ValueError("shard_head: expected false with ranks = 1, as there is nobody to share the class vectors with")
        if self.class_share < 1 and self.ranks > 1 and not self.shard_head:
            raise ValueError(f"class_share: expected shard_head = true with ranks = {self.ranks}, found false")
        if self.partial_head and self.active != "none":
            raise ValueError(f"active: expected 'none' with shard_head or class_share, found {self.active!r}")

    def _check_active(self) -> None:
        if self.active == "none":
            names = ("active_share", "active_add", "active_speakers", "active_per_speaker")
            unused = [each.name for each in fields(self) if each.name in names and getattr(self, each.name) != each.default]
            if unused:
                raise ValueError(f"{', '.join(unused)}: expected the default, as active = 'none' has no use for it")
            return
        if self.sampling not in ("utterance", "speaker"):
            raise ValueError(
                f"active: expected 'none' with sampling = {self.sampling!r}, as utterances are taken in one by one only for "
                f"'utterance' and 'speaker'; found {self.active!r}"
            )
        if not 0 < self.active_share < 1:
            raise ValueError(f"active_share: expected between 0 and 1, found {self.active_share}")
        if self.active_add < 1:
            raise ValueError(f"active_add: expected at least 1 with active = {self.active!r}, found {self.active_add}")
        if self.active_per_speaker >= self.active_add:
            raise ValueError(
                f"active_per_speaker: expected fewer than active_add = {self.active_add}, or 0 for no limit, "
                f"found {self.active_per_speaker}"
            )
        if self.epochs < 2:
            raise ValueError(f"epochs: expected at least 2, as active utterances come in between epochs, found {self.epochs}")
