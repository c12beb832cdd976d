"""Which example comes when: pure functions of seed and epoch, so that there is no state to save.

An example is one crop of one utterance; a batch is a list of examples of one length.
"""

from dataclasses import dataclass

import numpy as np

from steps.core.rng import generator


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
) -> list[Batch]:
    """The batches of one epoch.

    Args:
        seed: of the run.
        epoch: counted from 1.
        labels: `[N]` speaker index of each utterance.
        sampling: "utterance": every utterance as often as any other; "speaker": the speaker drawn uniformly, then one of
            their utterances (each comes round before any comes again).
        examples_per_epoch: 0 means as many as there are utterances.
        batch_size: examples in each batch; the incomplete last one is left out unless it is the only one.
        min_frames: shortest crop; each batch draws its length evenly from min_frames to max_frames.
        max_frames: longest crop.

    Raises:
        ValueError: unknown sampling, or no utterance.
    """
    if sampling not in ("utterance", "speaker"):
        raise ValueError(f"sampling: expected 'utterance' or 'speaker', found {sampling!r}")
    if len(labels) == 0:
        raise ValueError("training set: expected at least one utterance, found none")
    rng = generator(seed, "order", epoch)
    count = examples_per_epoch or len(labels)
    order = _by_speaker(rng, labels, count) if sampling == "speaker" else _round_robin(rng, np.arange(len(labels)), count)
    examples = [Example(int(utterance), draw) for draw, utterance in enumerate(order)]
    size = min(batch_size, len(examples))
    lengths = rng.integers(min_frames, max_frames + 1, size=len(examples) // size)
    return [
        Batch(epoch, number, int(length), tuple(examples[number * size : (number + 1) * size]))
        for number, length in enumerate(lengths)
    ]


def _round_robin(rng: np.random.Generator, items: np.ndarray, count: int) -> np.ndarray:
    """`count` items in random order, each coming round before any comes again."""
    rounds = [rng.permutation(items) for _ in range(-(-count // len(items)))]
    return np.concatenate(rounds)[:count]


def _by_speaker(rng: np.random.Generator, labels: np.ndarray, count: int) -> np.ndarray:
    speakers = _round_robin(rng, np.unique(labels), count)
    chosen = np.empty(count, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.unique(labels))
    ends = np.append(bounds[1:], len(labels))
    for speaker, first, end in zip(np.unique(labels), bounds, ends, strict=True):
        places = np.flatnonzero(speakers == speaker)
        if len(places):
            chosen[places] = _round_robin(rng, order[first:end], len(places))
    return chosen


def crop_start(rng: np.random.Generator, available: int, wanted: int) -> int:
    """A start drawn evenly from all that let `wanted` frames fit; 0 if there are not that many."""
    return int(rng.integers(available - wanted + 1)) if available > wanted else 0


def tile(array: np.ndarray, wanted: int) -> np.ndarray:
    """The array repeated along its first axis until it has `wanted` rows."""
    if len(array) >= wanted:
        return array[:wanted]
    repeats = -(-wanted // len(array))
    return np.concatenate([array] * repeats)[:wanted]
