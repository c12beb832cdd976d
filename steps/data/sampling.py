"""Which example comes when: pure functions of seed and epoch, so that there is no state to save.

An example is one crop of one utterance; a batch is a list of examples of one length. Batches of pairs and groups have a
layout that training heads rely on: see `epoch_batches`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steps.core.rng import generator

SAMPLINGS = ("utterance", "speaker", "pairs", "groups", "whole")


@dataclass(frozen=True, slots=True)
class Example:
    """One crop to be made: which utterance, and a name of its own for the randomness that goes into it."""

    utterance: int  # index into the list of training utterances
    draw: int  # counts the examples of an epoch


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples that are cut to one length."""

    epoch: int
    number: int  # within the epoch
    num_frames: int
    examples: tuple[Example, ...]


class Batches(Sequence[Batch]):
    """The batches of an epoch, each made when it is asked for: a million examples as objects take 150 MB in each worker.

    Args:
        epoch: counted from 1.
        rows_NB: N batches of B utterances.
        lengths_N: frames of each batch.
        first: number of the first of them within the epoch.
    """

    def __init__(self, epoch: int, rows_NB: np.ndarray, lengths_N: np.ndarray, first: int = 0) -> None:
        self.epoch, self.rows_NB, self.lengths_N, self.first = epoch, rows_NB, lengths_N, first

    def __len__(self) -> int:
        return len(self.rows_NB)

    def __getitem__(self, place):  # an int: a Batch; a slice: the Batches there
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                raise ValueError(f"batches: expected a slice of neighbours, found steps of {step}")
            return Batches(self.epoch, self.rows_NB[start:stop], self.lengths_N[start:stop], self.first + start)
        place = range(len(self))[place]
        number, row = self.first + place, self.rows_NB[place].tolist()
        examples = tuple(map(Example, row, range(number * len(row), (number + 1) * len(row))))
        return Batch(self.epoch, number, int(self.lengths_N[place]), examples)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == each for one, each in zip(self, other, strict=True))

    __hash__ = None


def epoch_batches(
    *,
    seed: int,
    epoch: int,
    labels: np.ndarray,
    sampling: str,
    examples_per_epoch: int,
    batch_size: int,
    min_frames: int,
    max_frames: int,
    group_size: int = 0,
    group_with_repeats: bool = False,
    pair_weights: str = "uniform",
    pair_same_file: bool = False,
    mined_P2: np.ndarray | None = None,
    lengths_N: np.ndarray | None = None,
    among_K: np.ndarray | None = None,
) -> Batches:
    """The batches of one epoch.

    Args:
        seed: of the run.
        epoch: counted from 1.
        labels: `[N]` speaker index of each utterance.
        sampling: "utterance": every utterance as often as any other; "speaker": the speaker drawn uniformly, then one of
            their utterances (each comes round before any comes again); "pairs": examples 2i and 2i + 1 are a pair, the first
            half of a batch's pairs of one speaker each, the other half of two; "groups": batch_size // group_size speakers,
            each with group_size different utterances, one speaker after another, speakers equally often; "whole": utterances
            of like length together, cut to the shortest of their batch.
        examples_per_epoch: 0 means as many as there are utterances.
        batch_size: examples in each batch; the incomplete last one is left out unless it is the only one. Batches of pairs
            and groups are always complete, and there is at least one.
        min_frames: shortest crop; each batch draws its length evenly from min_frames to max_frames ("whole": a batch of
            shorter utterances has this length).
        max_frames: longest crop.
        group_size: utterances of each speaker in a batch of groups.
        group_with_repeats: speakers with fewer utterances than that come too, with all of them, some repeated.
        pair_weights: utterances of pairs are drawn "uniform"ly or with a probability in proportion to their "length".
        pair_same_file: the second utterance of a pair of one speaker is any of theirs, the first one included; otherwise
            another one wherever the speaker has another one.
        mined_P2: pairs of utterances of different speakers which the differing pairs of an epoch are taken from, each
            coming round before any comes again (Chung et al., Interspeech 2018: steps.data.mining); None: they are drawn.
        lengths_N: frames of each utterance ("whole", pair weights "length").
        among_K: the only utterances that come ("utterance", "speaker"), rising; None: all.

    Raises:
        ValueError: unknown sampling, no utterance, or data that such batches cannot be made of.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling: expected one of {', '.join(SAMPLINGS)}, found {sampling!r}")
    if len(labels) == 0:
        raise ValueError("training set: expected at least one utterance, found none")
    if among_K is not None:
        if sampling not in ("utterance", "speaker") or len(among_K) == 0:
            raise ValueError(
                f"some of the utterances: expected at least one, and sampling 'utterance' or 'speaker', "
                f"found {len(among_K)} and {sampling!r}"
            )
        labels = labels[among_K]
    rng = generator(seed, "order", epoch)
    count = examples_per_epoch or len(labels)
    if sampling == "whole":
        return Batches(epoch, *_whole(rng, _lengths(lengths_N, labels), count, batch_size, min_frames, max_frames))
    if sampling == "pairs":
        weights_N = _pair_weights(pair_weights, lengths_N, labels)
        rows = _pairs(rng, SpeakerIndex.of(labels), weights_N, count, batch_size, pair_same_file, mined_P2)
    elif sampling == "groups":
        rows = _groups(rng, SpeakerIndex.of(labels), count, batch_size, group_size, group_with_repeats)
    else:
        order = _by_speaker(rng, labels, count) if sampling == "speaker" else _round_robin(rng, np.arange(len(labels)), count)
        size = min(batch_size, len(order))
        rows = order[: len(order) // size * size].reshape(-1, size)
        rows = rows if among_K is None else among_K[rows]
    return Batches(epoch, rows, rng.integers(min_frames, max_frames + 1, size=len(rows)))


@dataclass(frozen=True, slots=True)
class SpeakerIndex:
    """Utterances by speaker; speakers are numbered as their labels are sorted."""

    order_N: np.ndarray  # utterances, those of one speaker together, rising
    speaker_N: np.ndarray  # number of the speaker of each utterance
    place_N: np.ndarray  # of each utterance in order_N
    first_S: np.ndarray  # place of each speaker's first utterance in order_N
    size_S: np.ndarray  # utterances of each speaker

    @classmethod
    def of(cls, labels: np.ndarray) -> "SpeakerIndex":
        """The index of `[N]` labels."""
        _, speaker_N, size_S = np.unique(labels, return_inverse=True, return_counts=True)
        order_N = np.argsort(speaker_N, kind="stable")
        place_N = np.empty(len(order_N), dtype=np.int64)
        place_N[order_N] = np.arange(len(order_N))
        return cls(order_N, speaker_N, place_N, np.cumsum(size_S) - size_S, size_S)

    def utterances(self, speaker: int) -> np.ndarray:
        """Indices of a speaker's utterances."""
        return self.order_N[self.first_S[speaker] : self.first_S[speaker] + self.size_S[speaker]]


def _round_robin(rng: np.random.Generator, items: np.ndarray, count: int) -> np.ndarray:
    """`count` items in random order, each coming round before any comes again."""
    rounds = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate(rounds)[:count]


def _blocks(rng: np.random.Generator, items: np.ndarray, num_blocks: int, size: int) -> np.ndarray:
    """`[num_blocks, size]`: items each of which comes round before any comes again, and none twice in a block.

    Where a block goes on into a new round, items that it has already are moved back behind the end of the block.
    """
    num = len(items)
    rounds = rng.permuted(np.tile(items, (-(-num_blocks * size // num), 1)), axis=1)
    for number in range(1, len(rounds)):
        begun = number * num % size
        if begun == 0:
            continue
        free = (rounds[number][:, None] != rounds[number - 1, num - begun :]).all(axis=1)
        if not free[: size - begun].all():
            ahead = np.flatnonzero(free)[: size - begun]
            rounds[number] = rounds[number][np.concatenate([ahead, np.delete(np.arange(num), ahead)])]
    return rounds.ravel()[: num_blocks * size].reshape(num_blocks, size)


def _places_of(speakers: np.ndarray, num_speakers: int) -> list[np.ndarray]:
    """For each speaker, where they stand in an array of speaker numbers, rising."""
    ends = np.cumsum(np.bincount(speakers, minlength=num_speakers))
    return np.split(np.argsort(speakers, kind="stable"), ends[:-1])


def _by_speaker(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    index = SpeakerIndex.of(labels)
    speakers = _round_robin(rng, np.arange(len(index.size_S)), count)
    chosen = np.empty(count, dtype=np.int64)
    for speaker, places in enumerate(_places_of(speakers, len(index.size_S))):
        if len(places):
            chosen[places] = _round_robin(rng, index.utterances(speaker), len(places))
    return chosen


def _groups(
    rng: np.random.Generator, index: SpeakerIndex, count: int, batch_size: int, group_size: int, with_repeats: bool
) -> np.ndarray:
    """Utterances `[batches, examples]`, speaker after speaker."""
    num, known = (batch_size // group_size if group_size > 0 else 0), len(index.size_S)
    if group_size < 2 or num < 2:
        raise ValueError(
            "train.group_size, train.batch_size: expected at least 2 utterances of at least 2 speakers in a batch, "
            f"found group_size = {group_size}, batch_size = {batch_size}"
        )
    if known < num:
        raise ValueError(f"batches of {num} speakers (train.batch_size / train.group_size): the training set has only {known}")
    short = int((index.size_S < group_size).sum())
    if short and not with_repeats:
        raise ValueError(
            f"groups of {group_size} utterances: {short} of {known} speakers have fewer (the fewest: {index.size_S.min()}); "
            f"add --set train.min_utterances={group_size} to leave them out, or lower train.group_size"
        )
    speakers = _blocks(rng, np.arange(known), max(1, count // (num * group_size)), num)
    chosen = np.empty((speakers.size, group_size), dtype=np.int64)
    for speaker, places in enumerate(_places_of(speakers.ravel(), known)):
        if len(places):
            own = index.utterances(speaker)
            # Of a speaker with too few, all come and then some of them again.
            blocks = _blocks(rng, own, len(places), min(group_size, len(own)))
            chosen[places] = blocks[:, np.arange(group_size) % blocks.shape[1]]
    return chosen.reshape(len(speakers), num * group_size)


def _whole(
    rng: np.random.Generator, lengths_N: np.ndarray, count: int, batch_size: int, min_frames: int, max_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Utterances `[batches, size]` of like length, and the length of each batch; batches in random order."""
    size = min(batch_size, count)
    # Left out at random, and utterances of one length in random order: otherwise it would be the same ones every epoch.
    chosen = _round_robin(rng, np.arange(len(lengths_N)), count)[: count // size * size]
    frames = np.clip(lengths_N[chosen], min_frames, max_frames)
    order = np.argsort(frames, kind="stable").reshape(-1, size)
    order = order[rng.permutation(len(order))]
    return chosen[order], frames[order[:, 0]]


def _lengths(lengths_N: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    """Lengths as an array, if they are usable."""
    if lengths_N is None or len(lengths_N) != len(labels) or np.min(lengths_N) <= 0:
        found = "none" if lengths_N is None else f"{len(lengths_N)}, the smallest {np.min(lengths_N, initial=np.inf)}"
        raise ValueError(f"lengths of utterances: expected {len(labels)} above 0, found {found}")
    return np.asarray(lengths_N)


def _pair_weights(pair_weights: str, lengths_N: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    if pair_weights not in ("uniform", "length"):
        raise ValueError(f"pair_weights: expected 'uniform' or 'length', found {pair_weights!r}")
    return (_lengths(lengths_N, labels) if pair_weights == "length" else np.ones(len(labels))).astype(np.float64)


def _pairs(
    rng: np.random.Generator,
    index: SpeakerIndex,
    weights_N: np.ndarray,
    count: int,
    batch_size: int,
    same_file: bool,
    mined_P2: np.ndarray | None,
) -> np.ndarray:
    """Utterances `[batches, batch_size]` of which 2i and 2i + 1 are a pair; first those of one speaker.

    First sides are drawn with these weights and put back. voicemap draws them without putting back within a batch, and twice
    as many, whose pairs with all files of their speaker it then thins out: there speakers with many files come more often.
    """
    if batch_size < 4 or batch_size % 4:
        raise ValueError(f"batch_size: expected a multiple of 4 (half the pairs of one speaker), found {batch_size}")
    if len(index.size_S) < 2:
        raise ValueError("pairs of two speakers: the training set has one speaker")
    num, num_batches = batch_size // 4, max(1, count // batch_size)
    rows = np.empty((num_batches, 2, num, 2), dtype=np.int64)
    first = _weighted(rng, np.cumsum(weights_N), num_batches * num)
    rows[:, 0] = np.stack([first, _same_speaker(rng, index, first, same_file)], axis=1).reshape(num_batches, num, 2)
    if mined_P2 is None:
        rows[:, 1] = _differing(rng, index, weights_N, num_batches, num)
    else:
        mined_P2 = _checked(mined_P2, index)
        rows[:, 1] = mined_P2[_round_robin(rng, np.arange(len(mined_P2)), num_batches * num)].reshape(num_batches, num, 2)
    return rows.reshape(num_batches, batch_size)


def _weighted(rng: np.random.Generator, sums: np.ndarray, count: int) -> np.ndarray:
    """Places drawn in proportion to weights, given as running sums; a weight of 0 is never drawn."""
    draws = np.minimum(rng.random(count) * sums[-1], np.nextafter(sums[-1], 0.0))
    return np.searchsorted(sums, draws, side="right")


def _same_speaker(rng: np.random.Generator, index: SpeakerIndex, first: np.ndarray, same_file: bool) -> np.ndarray:
    """A second utterance of each one's speaker, evenly drawn."""
    speakers = index.speaker_N[first]
    size, start = index.size_S[speakers], index.first_S[speakers]
    if same_file:
        return index.order_N[start + rng.integers(size)]
    # Drawn from one fewer, and the first utterance stepped over; speakers who have but one are paired with themselves.
    own = index.place_N[first] - start
    drawn = rng.integers(np.maximum(size - 1, 1))
    return index.order_N[start + np.where(size > 1, drawn + (drawn >= own), 0)]


def _differing(rng: np.random.Generator, index: SpeakerIndex, weights_N: np.ndarray, num_batches: int, num: int) -> np.ndarray:
    """Pairs `[batches, num, 2]` whose second sides are of speakers that no first side of their batch is of.

    Where the first sides could use up all speakers they are drawn from a random half of them.
    """
    weights_S = np.bincount(index.speaker_N, weights=weights_N)
    speakers = np.empty((num_batches, 2, num), dtype=np.int64)
    for batch in range(num_batches):
        free_S = weights_S.copy()
        if num >= len(free_S):
            free_S[rng.permutation(len(free_S))[len(free_S) // 2 :]] = 0.0
        speakers[batch, 0] = _weighted(rng, np.cumsum(free_S), num)
        free_S = weights_S.copy()
        free_S[speakers[batch, 0]] = 0.0
        speakers[batch, 1] = _weighted(rng, np.cumsum(free_S), num)
    # One of the speaker's utterances; clipped because sums over all utterances are rounded.
    start, size = index.first_S[speakers], index.size_S[speakers]
    sums_N = np.cumsum(weights_N[index.order_N])
    before = sums_N[start] - weights_N[index.order_N[start]]
    places = np.searchsorted(sums_N, before + rng.random(speakers.shape) * weights_S[speakers], side="right")
    return index.order_N[np.clip(places, start, start + size - 1)].transpose(0, 2, 1)


def _checked(mined_P2: np.ndarray, index: SpeakerIndex) -> np.ndarray:
    mined_P2 = np.asarray(mined_P2)
    num = len(index.speaker_N)
    if mined_P2.ndim != 2 or mined_P2.shape[1] != 2 or len(mined_P2) == 0 or mined_P2.min() < 0 or mined_P2.max() >= num:
        raise ValueError(f"mined pairs: expected at least one pair of indices below {num}, found shape {mined_P2.shape}")
    same = int((index.speaker_N[mined_P2[:, 0]] == index.speaker_N[mined_P2[:, 1]]).sum())
    if same:
        raise ValueError(f"mined pairs: expected pairs of two speakers, found {same} of {len(mined_P2)} of one")
    return mined_P2


def crop_start(rng: np.random.Generator, available: int, wanted: int) -> int:
    """A start drawn evenly from all that let `wanted` frames fit; 0 if there are not that many."""
    return int(rng.integers(available - wanted + 1)) if available > wanted else 0


def tile(array: np.ndarray, wanted: int) -> np.ndarray:
    """The array repeated along its first axis until it has `wanted` rows."""
    if len(array) >= wanted:
        return array[:wanted]
    repeats = -(-wanted // len(array))
    return np.concatenate([array] * repeats)[:wanted]
