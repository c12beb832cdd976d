"""Sounds and features made of the recordings whenever they are wanted, instead of being stored.

They are made on one thread, as stages 2 and 3 make them: some have other last bits on several.
"""

import contextlib
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps.core.errors import RecipeError
from steps.core.files import atomic_write, content_hash
from steps.core.rng import generator
from steps.data.archive import FEATS_SCP, Archive
from steps.data.audio import read_audio
from steps.data.audio_content import SAMPLED, known_content
from steps.data.audio_parts import read_part
from steps.data.manifests import Utterance, audio_root, read_roots, read_set
from steps.data.strings import Strings
from steps.signal.frontend import extract
from steps.signal.resample import resample, resampled_length

NUM_FRAMES = "utt2num_frames"  # beside no features: how many there are, lines `<id> <frames>` as in Kaldi
CHECKSUMS = "utt2checksum"  # beside them: of which bytes, lines `<id> <begin of the SHA-256 of the file>`
CHECKSUM_DIGITS = 16  # hexadecimal
DITHER_SEED = 1  # of features.dither, the only randomness in features of whole utterances


def read_utterance(utterance: Utterance, root: Path, start: int = 0, num_samples: int = -1) -> np.ndarray:
    """Returns float32 samples in +-1 of an utterance from `start` on (-1: all), at the rate of its file."""
    path = root / utterance.path
    first = utterance.start_sample + start
    num = utterance.num_samples - start if num_samples < 0 else num_samples
    # The parts of a compressed recording come one after the other, and each would be decoded from its begin.
    read = read_part if first and num == utterance.num_samples else read_audio
    samples_W, found = read(path, first, num, utterance.channel)
    if found != utterance.sampling_rate:
        raise RecipeError(
            f"{path}: expected {utterance.sampling_rate} Hz as the manifest says, found {found} Hz; the file was changed after "
            "the manifest was made: run stage 1 (prepare) again"
        )
    return samples_W


def check_content(utterance: Utterance, root: Path, manifests: Path, set_name: str) -> str:
    """Returns the begin of the SHA-256 of the file of an utterance of a set as stage 1 recorded it; "" where it did not.

    Raises:
        RecipeError: the file has other content now.
    """
    return known_content(manifests).content(read_roots(manifests).get(set_name, ""), utterance.path, root / utterance.path)


def features_of(utterance: Utterance, root: Path, settings: Any) -> np.ndarray:
    """Returns features `[T, F]` of a whole utterance.

    Raises:
        RecipeError: the file is gone, damaged, or not what the features take.
    """
    path = root / utterance.path
    samples_W = read_utterance(utterance, root)
    rng = generator(DITHER_SEED, "extract", utterance.id) if settings.is_random else None
    try:
        with _one_thread():
            feats_TF = extract(samples_W, utterance.sampling_rate, settings, rng=rng)
    except ValueError as error:
        raise RecipeError(f"{path}: utterance '{utterance.id}': {error}") from None
    if not np.isfinite(feats_TF).all():
        raise RecipeError(
            f"{path}: utterance '{utterance.id}': its features are NaN or infinite; expected samples in +-1, found some "
            f"up to {abs(samples_W).max():.3g}; convert the file, or remove it and run stage 1 again"
        )
    return feats_TF


def num_frames_of(utterance: Utterance, root: Path, settings: Any) -> int:
    """Returns the number of rows of `features_of`, of which only a VAD, or something wrong, makes it read the file."""
    to_rate = settings.sampling_rate
    known = getattr(settings, "vad", "none") == "none" and (utterance.sampling_rate == to_rate or settings.resample)
    num = settings.num_frames(resampled_length(utterance.num_samples, utterance.sampling_rate, to_rate)) if known else 0
    return num or len(features_of(utterance, root, settings))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def checksum_of(path: Path) -> str:
    """Returns 16 hexadecimal digits for the content of a file."""
    try:
        return content_hash(path)[:CHECKSUM_DIGITS]
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be opened ({error.strerror}); repair the file, or run stage 1 (prepare) again"
        ) from None


def to_int16(samples_W: np.ndarray) -> np.ndarray:
    """Returns samples in +-1 as 16-bit integers, clipped."""
    return np.clip(np.rint(samples_W * 32768.0), -32768, 32767).astype(np.int16)


class _OfRecordings(Mapping[str, np.ndarray]):
    """What an archive of a set would hold, by id; every read opens the recording anew."""

    def __init__(self, manifests: Path, set_name: str, site: Mapping[str, str]) -> None:
        self.path, self.manifests = manifests / set_name, manifests
        self.utterances = read_set(manifests, set_name)
        self.root = audio_root(set_name, manifests, site)

    @property
    def ids(self) -> Strings:
        """The utterances, sorted."""
        return self.utterances.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, utterance_id: object) -> bool:
        return utterance_id in self.ids

    def __getitem__(self, utterance_id: str) -> np.ndarray:
        return self.load(utterance_id)

    def unchanged(self, utterance_id: str) -> Utterance:
        """Returns an utterance. Raises RecipeError if it is not there, or its file has other content than stage 1 read."""
        utterance = self.utterances[self.number(utterance_id)]
        check_content(utterance, self.root, self.manifests, self.path.name)
        return utterance

    def number(self, utterance_id: str) -> int:
        """Returns the place of an utterance among the ids. Raises RecipeError if it is none of them."""
        number = self.ids.find(utterance_id)
        if number < 0:
            raise RecipeError(f"{self.path}: no utterance '{utterance_id}' there; run stage 1 (prepare) again")
        return number

    @abstractmethod
    def num_rows(self, utterance_id: str) -> int:
        """Returns the number of samples or frames."""

    @abstractmethod
    def load(self, utterance_id: str) -> np.ndarray:
        """Returns all of an utterance."""

    @abstractmethod
    def load_rows(self, utterance_id: str, start: int, num_rows: int) -> np.ndarray:
        """Returns `num_rows` samples or frames from `start` on."""


class Sounds(_OfRecordings):
    """Int16 waveforms `[W]` of a set at a sampling rate, as stage 3 would store them in a bank.

    Args:
        manifests: the output of stage 1.
        set_name: of the set.
        site: where corpora lie.
        sampling_rate: Hz.
        resample: convert recordings of another sampling rate, which takes the whole utterance for a crop; false: it is an error.
    """

    def __init__(self, manifests: Path, set_name: str, site: Mapping[str, str], *, sampling_rate: int, resample: bool) -> None:
        super().__init__(manifests, set_name, site)
        self.sampling_rate, self.may_convert = sampling_rate, resample

    def num_rows(self, utterance_id: str) -> int:
        """Returns the number of samples."""
        utterance = self.utterances[self.number(utterance_id)]
        return resampled_length(utterance.num_samples, utterance.sampling_rate, self.sampling_rate)

    def load(self, utterance_id: str) -> np.ndarray:
        """Returns all samples."""
        utterance = self.unchanged(utterance_id)
        return to_int16(read_sound(utterance, self.root, self.sampling_rate, may_convert=self.may_convert))

    def load_rows(self, utterance_id: str, start: int, num_rows: int) -> np.ndarray:
        """Returns `num_rows` samples from `start` on."""
        utterance = self.unchanged(utterance_id)
        if utterance.sampling_rate != self.sampling_rate:
            return self.load(utterance_id)[start : start + num_rows]
        return to_int16(read_utterance(utterance, self.root, start, num_rows))


def read_sound(utterance: Utterance, root: Path, sampling_rate: int, *, may_convert: bool) -> np.ndarray:
    """Returns float32 samples in +-1 of a sound at a sampling rate.

    Raises:
        RecipeError: the file is gone or damaged, or of another rate where it may not be converted.
    """
    if utterance.sampling_rate != sampling_rate and not may_convert:
        raise RecipeError(
            f"{root / utterance.path}: {utterance.sampling_rate} Hz, expected augment.sampling_rate = {sampling_rate} Hz; "
            "convert it, or add --set features.resample=true"
        )
    samples_W = read_utterance(utterance, root)
    if utterance.sampling_rate == sampling_rate:
        return samples_W
    with _one_thread():
        return resample(samples_W, utterance.sampling_rate, sampling_rate)


class Features(_OfRecordings):
    """Features `[T, F]` of a set, the same as stage 2 would store as float32.

    Args:
        folder: of the set in the output of stage 2, with `utt2num_frames`.
        manifests: the output of stage 1.
        site: where corpora lie.
        settings: of the features.

    Raises:
        RecipeError: the stages were made of different manifests.
    """

    def __init__(self, folder: Path, manifests: Path, site: Mapping[str, str], settings: Any) -> None:
        super().__init__(manifests, folder.name, site)
        self.settings = settings
        self.lengths = _read_num_frames(folder / NUM_FRAMES, self.ids, self.path)

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Yields the shapes of all utterances, in the order of the ids."""
        return ((length, self.settings.num_bins) for length in self.lengths)

    def num_rows(self, utterance_id: str) -> int:
        """Returns the number of frames."""
        return self.lengths[self.number(utterance_id)]

    def load(self, utterance_id: str) -> np.ndarray:
        """Returns all frames."""
        feats_TF = features_of(self.unchanged(utterance_id), self.root, self.settings)
        expected = self.num_rows(utterance_id)
        if len(feats_TF) != expected:
            raise RecipeError(
                f"{self.path}: utterance '{utterance_id}' has {len(feats_TF)} frames, and had {expected} in stage 2; the file "
                "was changed since: run stages 1 and 2 again"
            )
        return feats_TF

    def load_rows(self, utterance_id: str, start: int, num_rows: int) -> np.ndarray:
        """Returns `num_rows` frames from `start` on; what is subtracted as a mean is that of all."""
        return self.load(utterance_id)[start : start + num_rows]


def open_features(folder: Path, settings: Any, *, manifests: Path | None, site: Mapping[str, str]) -> Archive | Features:
    """Returns the features of a set: those stored, or with `storage = "none"` what is made of the recordings.

    Args:
        folder: of the set in the output of stage 2.
        settings: of the features.
        manifests: the output of stage 1; not needed for those stored.
        site: where corpora lie.

    Raises:
        RecipeError: the features are not there, or the stages were made of different manifests.
    """
    if settings.storage != "none":
        return Archive(folder, FEATS_SCP)
    assert manifests is not None
    return Features(folder, manifests, site, settings)


def name_of_list(settings: Any) -> str:
    """Returns the name of the file that lists the utterances of a set in the output of stage 2."""
    return NUM_FRAMES if settings.storage == "none" else FEATS_SCP


def write_facts(folder: Path, set_name: str, utterances: Sequence[Utterance], root: Path, manifests: Path, settings: Any) -> None:
    """Write what takes the place of features: their numbers of frames, and checksums of what they would be made of."""
    checksums: dict[str, str] = {}
    for each in utterances:
        if each.path not in checksums:
            known = check_content(each, root, manifests, set_name)
            checksums[each.path] = checksum_of(root / each.path) if known[:1] in ("", SAMPLED) else known[:CHECKSUM_DIGITS]
    with atomic_write(folder / NUM_FRAMES) as file:
        file.writelines(f"{each.id} {num_frames_of(each, root, settings)}\n" for each in utterances)
    with atomic_write(folder / CHECKSUMS) as file:
        file.writelines(f"{each.id} {checksums[each.path]}\n" for each in utterances)


def _read_num_frames(path: Path, ids: Strings, known: Path) -> array:
    """Numbers of frames in the order of the ids, which are those of the set `known`."""
    lengths = array("q")
    try:
        with open(path, encoding="utf-8") as file:
            for line, name in zip_longest(file, ids):
                found, _, num = (line or "").strip().partition(" ")
                if found != name or not num.isdecimal() or int(num) == 0:
                    raise RecipeError(
                        f"{path}: line {len(lengths) + 1}: expected '{name} <frames>', found {(line or '').strip()!r}; it was "
                        f"made of others than {known}: run stage 2 (extract) again"
                    )
                lengths.append(int(num))
    except FileNotFoundError:
        raise RecipeError(f"{path}: not found; run stage 2 (extract) with --set features.storage=none") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error}); run stage 2 (extract) again") from None
    return lengths
