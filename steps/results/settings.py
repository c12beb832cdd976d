"""Settings of results. Standard library only, so that planning a stage loads nothing heavy."""

from dataclasses import dataclass

from steps.backend.settings import LINKAGES
from steps.core.config import field

TASKS = ("identification", "few_shot", "clustering", "pictures", "gender")
DISTANCES = ("euclidean", "cosine", "dot")
CLUSTERINGS = ("ahc", "spectral", "dominant_sets")


@dataclass(frozen=True, kw_only=True)
class System:
    """What a system is called."""

    name: str = field(decides=False)  # of the system whose scores these are; its folder
    model: str = field("", decides=False)  # the system whose network it uses, if not its own
    # the name of the preparation that it is trained on, where the systems of a recipe are trained on several: its manifests,
    # features and sounds lie in folders that end in "-<data>"
    data: str = field("", decides=False)


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """Further experiments on the test set (gender: on the training set): which, and how many of each."""

    # identification, few_shot, clustering; pictures: embeddings in the plane, and dendrograms where there are windows;
    # gender: how far embeddings tell genders apart. Lists of manifests/clustering and identification: beside what is drawn
    run: tuple[str, ...] = ()
    enrol_utterances: int = 3  # that a speaker is enrolled with, in identification
    draws: int = 10  # of who is enrolled with what; their searches are put together
    open_share: float = 0.5  # share of the speakers that is not enrolled in the open set; 0: closed set only
    ranks: tuple[int, ...] = (1, 5)  # of identification rates
    fars: tuple[float, ...] = (0.01, 0.1)  # false-alarm rates of detection and identification rates
    ways: tuple[int, ...] = (5, 20)  # speakers of a few-shot task
    shots: tuple[int, ...] = (1, 5)  # support utterances of each of them
    few_shot_tasks: int = 1000  # of each number of speakers and of utterances
    few_shot_weights: str = "even"  # chances of utterances in the draw: "even", or "length", in proportion to it, as in voicemap
    few_shot_seconds: float = 0.0  # s; utterances that are not longer take no part, in voicemap those of a fragment's length
    distances: tuple[str, ...] = DISTANCES  # to prototypes; the system's own score is compared besides
    linkages: tuple[str, ...] = ("average", "complete")  # of agglomerative clustering
    clusterings: tuple[str, ...] = CLUSTERINGS  # ahc, spectral, dominant_sets
    max_items: int = 2000  # to cluster; of a larger set whole speakers are drawn
    gender_speakers: int = 1000  # at most, whose embeddings are measured for gender; drawn, each gender in proportion
    gender_utterances: int = 10  # at most, of each of them; drawn
    picture_set: str = "test"  # "test", "dev" or "train": whose embeddings are shown in the plane
    picture_speakers: int = 0  # of that set at most, drawn; 0: all, or where these are more than max_items, as many as fit
    picture_utterances: int = 0  # of each of them at most, drawn; 0: all
    replicates: int = 1000  # of the bootstrap over speakers
    seed: int = 1

    def __post_init__(self) -> None:
        for name, choices in (("run", TASKS), ("distances", DISTANCES), ("linkages", LINKAGES), ("clusterings", CLUSTERINGS)):
            unknown = [each for each in getattr(self, name) if each not in choices]
            if unknown:
                raise ValueError(f"{name}: expected some of {', '.join(choices)}, found {', '.join(unknown)}")
        least = {"enrol_utterances": 1, "draws": 1, "few_shot_tasks": 1, "max_items": 2, "replicates": 2, "gender_utterances": 1}
        least |= {"gender_speakers": 10}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name}: expected at least {value}, found {getattr(self, name)}")
        if self.picture_set not in ("test", "dev", "train") or min(self.picture_speakers, self.picture_utterances) < 0:
            raise ValueError(
                "picture_set, picture_speakers, picture_utterances: expected 'test', 'dev' or 'train', and 0 or more, found "
                f"{self.picture_set!r}, {self.picture_speakers} and {self.picture_utterances}"
            )
        for name, value in (("ranks", 1), ("ways", 2), ("shots", 1)):
            if not getattr(self, name) or min(getattr(self, name)) < value:
                raise ValueError(f"{name}: expected numbers from {value}, found {getattr(self, name)}")
        if self.few_shot_weights not in ("even", "length") or self.few_shot_seconds < 0:
            raise ValueError(
                "few_shot_weights, few_shot_seconds: expected 'even' or 'length', and 0 or more, found "
                f"{self.few_shot_weights!r} and {self.few_shot_seconds}"
            )
        if not 0 <= self.open_share < 1 or not all(0 <= far <= 1 for far in self.fars):
            raise ValueError(f"open_share, fars: expected fractions, found {self.open_share} and {self.fars}")
