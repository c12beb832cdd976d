"""What a network is trained on: crops of features from disk, or of waveforms that are augmented on the way.

The randomness of an example belongs to (seed, epoch, draw, utterance), so it is the same in whatever process it is made.
"""

import atexit
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.launch import die_with_parent
from steps.core.rng import generator
from steps.data.archive import Archive
from steps.data.manifests import read_set, read_utt2spk
from steps.data.sampling import Batch, Example, crop_start, tile
from steps.data.strings import Strings
from steps.data.subset import draw_subset
from steps.examples.bank import ArchiveBank
from steps.examples.recordings import Features, Sounds, open_features
from steps.signal.frontend import extract
from steps.signal.policy import augment, check_bank, draw_speed
from steps.signal.specaugment import spec_augment
from steps.signal.speed import change_speed, speed_input_length

BANK_REPAIR = "set its weight to 0 in [augment], or prepare a corpus with such sounds (stage 1) and run stage 3 again"


@dataclass
class TrainingSet:
    """Utterances with labels, and how one example of them is made."""

    utterances: Sequence[str]
    labels: np.ndarray  # [N] index into `speakers`, at the original speed
    speakers: list[str]  # the classes; with speed changes as new speakers, three times the people, say
    settings: SimpleNamespace
    features: Archive | Features | None = None  # of clean utterances (mode none and copies)
    copies: Archive | None = None
    bank: ArchiveBank | None = None  # mode online
    num_people: int = 0  # speakers at the original speed
    num_left_out: int = 0  # speakers with fewer utterances than train.min_utterances

    @classmethod
    def open(
        cls, *, manifests: Path, features: Path, augmented: Path, settings: SimpleNamespace, site: Mapping[str, str]
    ) -> "TrainingSet":
        """The training set of a system.

        Args:
            manifests: the output of stage 1.
            features: the output of stage 2.
            augmented: the output of stage 3.
            settings: all sections of stage 4.
            site: where corpora lie, for what is not stored.

        Raises:
            RecipeError: stage 3 was made in another mode or lacks a kind of sound, stages were made of different manifests,
                or nothing is left to train on.
        """
        known = read_set(manifests, "train")
        clean = dict(zip(known.ids, known.speakers, strict=True))
        sources, copies = _open_sources(manifests, features, augmented, settings, site)
        _check_complete(clean, copies, sources, manifests)
        utt2spk, num_left_out = _enough_utterances(clean | copies, settings.train.min_utterances)
        if settings.train.num_speakers:
            utt2spk = _part(settings, utt2spk, {utterance.id: utterance.duration for utterance in known})
        people = sorted(set(utt2spk.values()))
        if len(people) < 2:
            raise RecipeError(f"{manifests}: training needs at least 2 speakers, found {len(people)}")
        factors = (
            settings.augment.speed_factors if settings.augment.mode == "online" and settings.augment.speed_as_new_speakers else ()
        )
        speakers = people + [f"speed{factor:g}-{speaker}" for factor in factors for speaker in people]
        index = {speaker: number for number, speaker in enumerate(people)}
        utterances = Strings(sorted(utt2spk))
        labels = np.array([index[utt2spk[name]] for name in utterances])
        return cls(
            utterances=utterances,
            labels=labels,
            speakers=speakers,
            settings=settings,
            num_people=len(people),
            num_left_out=num_left_out,
            **sources,
        )

    def frames_of(self, seconds: float) -> int:
        """Rows of features in so many seconds."""
        return frames_of(self.settings.features, seconds)

    def num_frames(self, utterance: str) -> int:
        """Rows of features of an utterance (of whole seconds of sound, where features are made on the way)."""
        if self.bank is None:
            return self.archive_of(utterance).num_rows(utterance)
        samples = self.bank.archives["speech"].num_rows(utterance)
        return max(1, self.frames_of(samples / self.settings.augment.sampling_rate))

    def archive_of(self, utterance: str) -> Archive | Features:
        """Where the features of an utterance, or of a copy on disk, are (mode none and copies)."""
        archive = self.features if self.features is not None and utterance in self.features else self.copies
        assert archive is not None
        return archive

    def loader(self, batches: Sequence[Batch], workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features `[B, T, F]` and labels `[B]` of each batch, in their order; see `made_by_workers`."""
        return made_by_workers(_Batches(self, batches), workers, prefetch=4)

    def make_batch(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Features `[B, T, F]` and labels `[B]` of one batch."""
        made = [self.make_example(example, batch) for example in batch.examples]
        return torch.from_numpy(np.stack([feats for feats, _ in made])), torch.tensor([label for _, label in made])

    def make_example(self, example: Example, batch: Batch) -> tuple[np.ndarray, int]:
        """Features `[T, F]` and label of one crop."""
        name, label = self.utterances[example.utterance], int(self.labels[example.utterance])
        rng = generator(self.settings.train.seed, "example", batch.epoch, example.draw, name)
        if self.bank is None:
            feats_TF = self._stored_crop(name, batch.num_frames, rng)
        else:
            feats_TF, label = self._augmented_crop(name, label, batch.num_frames, rng)
        if self.settings.train.p_reverse and rng.random() < self.settings.train.p_reverse:
            feats_TF = np.ascontiguousarray(feats_TF[::-1])
        return spec_augment(feats_TF, rng, self.settings.specaugment), label

    def _stored_crop(self, name: str, num_frames: int, rng: np.random.Generator) -> np.ndarray:
        archive = self.archive_of(name)
        available = archive.num_rows(name)
        start = crop_start(rng, available, num_frames)
        return tile(np.array(archive.load_rows(name, start, min(num_frames, available))), num_frames)

    def _augmented_crop(self, name: str, label: int, num_frames: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        assert self.bank is not None
        features, settings = self.settings.features, self.settings.augment
        factor = draw_speed(rng, settings)
        if factor != 1.0 and settings.speed_as_new_speakers:
            label += self.num_people * (1 + settings.speed_factors.index(factor))
        num_samples = crop_samples(features, num_frames, settings.sampling_rate)
        wanted = num_samples if factor == 1.0 else speed_input_length(num_samples, factor)
        speech = self.bank.archives["speech"]
        available = speech.num_rows(name)
        start = crop_start(rng, available, wanted)
        rows_W = np.asarray(speech.load_rows(name, start, min(wanted, available)), dtype=np.float32) / 32768.0
        signal_W = tile(rows_W, wanted)
        if factor != 1.0:
            signal_W = tile(change_speed(signal_W, factor), num_samples)
        signal_W, _ = augment(signal_W, rng, settings, self.bank)
        return extract(signal_W, settings.sampling_rate, features, rng=rng)[:num_frames], label


def frames_of(features: Any, seconds: float) -> int:
    """Rows of these features in so many seconds."""
    if features.type == "waveform":
        return round(seconds * features.sampling_rate) // features.decimate
    return round(seconds / features.frame_shift)


def seconds_of(features: Any, num_frames: int) -> float:
    """Seconds that so many rows of these features stand for: the reverse of `frames_of`."""
    if features.type == "waveform":
        return num_frames * features.decimate / features.sampling_rate
    return num_frames * features.frame_shift


def crop_samples(features: Any, num_frames: int, sampling_rate: int) -> int:
    """Samples at `sampling_rate` (Hz) that give `num_frames` rows of features.

    Exactly so many at the rate of the features, unless one frame of samples gives more; from another rate, which they are
    converted from, at least so many.
    """
    return -(-features.num_samples(num_frames) * sampling_rate // features.sampling_rate)


def _open_sources(
    manifests: Path, features: Path, augmented: Path, all_settings: SimpleNamespace, site: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What examples are made from, and utterance id -> speaker id of the augmented copies."""
    settings = all_settings.augment
    made = files.read_json(augmented / "mode.json")["mode"]
    if made != settings.mode:
        raise RecipeError(
            f"{augmented}: made with augment.mode = {made!r}, expected {settings.mode!r} as the settings say; "
            "run stage 3 (augment) with these settings"
        )
    if settings.mode == "online":
        speech = None
        if not settings.store_speech:
            may_convert = all_settings.features.resample
            speech = Sounds(manifests, "train", site, sampling_rate=settings.sampling_rate, resample=may_convert)
        bank = ArchiveBank(augmented, speech)
        if not bank.num("speech"):
            raise RecipeError(
                f"{augmented}: holds no training speech, expected some with augment.store_speech = true; set it to false as in "
                "stage 3, or run stage 3 (augment) with these settings"
            )
        try:
            check_bank(settings, bank)
        except ValueError as error:
            raise RecipeError(f"{augmented}: {error}; {BANK_REPAIR}") from None
        return {"bank": bank}, {}
    sources = {"features": open_features(features / "train", all_settings.features, manifests=manifests, site=site)}
    if settings.mode == "none":
        return sources, {}
    return sources | {"copies": Archive(augmented / "train")}, read_utt2spk(augmented / "train" / "utt2spk")


def _check_complete(clean: dict[str, str], copies: dict[str, str], sources: dict[str, Any], manifests: Path) -> None:
    """Raises RecipeError if a training utterance has no sound or features, or a copy the name of an utterance."""
    archive = sources["bank"].archives["speech"] if "bank" in sources else sources["features"]
    for names, known in ((clean, archive), (copies, sources.get("copies", ()))):
        there = set(known)
        missing = [name for name in names if name not in there]
        if missing:
            raise RecipeError(
                f"{manifests}: {len(missing)} of {len(names)} training utterances are not in {known.path}, first "
                f"'{missing[0]}'; run stages 2 (extract) and 3 (augment) on these manifests"
            )
    both = sorted(clean.keys() & copies.keys())
    if both:
        raise RecipeError(
            f"{manifests}: {len(both)} utterances have the id of an augmented copy, first '{both[0]}'; rename the recordings"
        )


def _enough_utterances(utt2spk: dict[str, str], least: int) -> tuple[dict[str, str], int]:
    """The utterances of speakers with at least so many, and the number of speakers left out."""
    counts = Counter(utt2spk.values())
    kept = {name: speaker for name, speaker in utt2spk.items() if counts[speaker] >= least}
    return kept, sum(count < least for count in counts.values())


def _part(settings: SimpleNamespace, utt2spk: dict[str, str], durations: dict[str, float]) -> dict[str, str]:
    """What of the training set train.num_speakers and train.minutes leave."""
    s = settings.train
    if s.minutes and settings.augment.mode == "copies":
        raise RecipeError(
            "train.minutes: expected 0 with augment.mode = 'copies', as copies of an utterance would count as more speech, "
            f"found {s.minutes:g}; add --set train.minutes=0, or --set augment.mode=online"
        )
    try:
        names = draw_subset(generator(s.seed, "subset"), utt2spk, durations, num_speakers=s.num_speakers, minutes=s.minutes)
    except ValueError as error:
        raise RecipeError(f"train.{error}; ask for less, or prepare more (stage 1)") from None
    return {name: utt2spk[name] for name in names}


class _Batches(Dataset):
    """Batches as a dataset of which one item is one batch."""

    def __init__(self, data: TrainingSet, batches: Sequence[Batch]) -> None:
        self.data, self.batches = data, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor] | RecipeError:
        try:
            return self.data.make_batch(self.batches[number])
        except RecipeError as error:
            return error


def made_by_workers(things: Dataset, workers: int, prefetch: int | None = None) -> Iterator[Any]:
    """Yields things in their order, made by so many processes (0: by this one); close it to end them.

    Args:
        things: those that the user can repair (a file that is torn) return a RecipeError: raised there, it would come with a
            traceback for its message.
        workers: processes.
        prefetch: things that each of them makes in advance; None: two.

    Raises:
        RecipeError: one of the things is one.
    """
    # A generator of its own: it would otherwise draw from torch's global one, also in the middle of a resumed epoch.
    loader = DataLoader(
        things, batch_size=None, num_workers=workers, prefetch_factor=prefetch, worker_init_fn=one_thread,
        generator=torch.Generator(),
    )  # fmt: skip
    made_in_order = iter(loader)
    # torch's handler would raise the end of a worker in the middle of an update; the loader finds it too, at its next look.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        for made in made_in_order:
            if isinstance(made, RecipeError):
                raise made
            yield made
    finally:
        del made_in_order  # ends the workers now, and not whenever a traceback lets go of this frame


def one_thread(worker: int) -> None:
    """Workers compute on one thread: their features, so the bits of a run, do not depend on the number of cores.

    A signal that comes to a whole group of processes (Ctrl-C, a cluster's SIGTERM) is for the training, which may still want
    a batch of them; they end when it has no more use for them, or with it.
    """
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))  # the loader itself says it twice
    die_with_parent(os.getppid())


def _end_workers() -> None:
    """Before multiprocessing waits at the exit for loaders that nobody closed: its one SIGTERM does not end their workers."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would speak of an error
    for worker in multiprocessing.active_children():
        worker.kill()


atexit.register(_end_workers)
