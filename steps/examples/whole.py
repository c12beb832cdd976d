"""Whole training utterances from disk, many frames at a time: what a model that is trained by EM reads."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.examples.training_set import TrainingSet, made_by_workers

Chunk = tuple[torch.Tensor, list[int]]  # frames of utterances behind one another, and how many each has


class WholeUtterances:
    """The utterances of a training set in the order of their ids, in chunks that the data fix.

    Args:
        data: augmented copies on disk included.
        every: for the UBM, frames 0, every, 2 every, ... of an utterance are taken (Kaldi's subsample-feats).
        longest: so many utterances, the longest ones, are for the extractor; of equally long ones those whose ids come first;
            0: all.
        chunk_frames: a chunk ends with the utterance that brings it to so many frames.
        seed: of what is drawn.
        workers: processes that read.
        watch: wraps the chunks of a phase, given with their number, to show how far they are.
    """

    def __init__(
        self,
        data: TrainingSet,
        *,
        every: int,
        longest: int,
        chunk_frames: int,
        seed: int,
        workers: int,
        watch: Callable[[Iterable[Chunk], int], Iterable[Chunk]] = lambda chunks, num: chunks,
    ) -> None:
        self.data, self.every, self.chunk_frames = data, every, chunk_frames
        self.seed, self.workers, self.watch = seed, workers, watch
        self.num_frames = {name: data.num_frames(name) for name in data.utterances}
        ranked = sorted(data.utterances, key=lambda name: (-self.num_frames[name], name))
        self.longest = sorted(ranked[:longest]) if longest else list(data.utterances)

    def generator(self, *names: str | int) -> np.random.Generator:
        """Returns the randomness of a thing."""
        return generator(self.seed, "em", *names)

    def random_frames(self, num: int) -> np.ndarray:
        """Returns frames `[N, F]` drawn without replacement from all of them, in their order; all if there are no more."""
        ends = np.cumsum([self.num_frames[name] for name in self.data.utterances])
        total = int(ends[-1])
        chosen = np.arange(total) if num >= total else np.sort(self.generator("frames").choice(total, num, replace=False))
        parts = []
        for name, end, some in zip(self.data.utterances, ends, np.split(chosen, np.searchsorted(chosen, ends[:-1])), strict=True):
            if len(some):
                within = some - (end - self.num_frames[name])
                parts.append(self._read(name, within[0], within[-1] + 1)[within - within[0]])
        return np.concatenate(parts)

    def chunks(self, phase: str) -> Iterable[Chunk]:
        """Returns the utterances for "extractor", or for the UBM with the frames that it is trained on."""
        of_ubm = phase != "extractor"
        every = self.every if of_ubm else 1
        plan = self._plan(self.data.utterances if of_ubm else self.longest, every)
        return self.watch(made_by_workers(_Chunks(self, plan, every), self.workers), len(plan))

    def _plan(self, names: Sequence[str], every: int) -> list[list[str]]:
        plan, filled = [], self.chunk_frames
        for name in names:
            if filled >= self.chunk_frames:
                plan.append([])
                filled = 0
            plan[-1].append(name)
            filled += -(-self.num_frames[name] // every)
        return plan

    def _read(self, name: str, start: int, stop: int) -> np.ndarray:
        return self.data.archive_of(name).load_rows(name, int(start), int(stop - start))

    def read_chunk(self, names: Sequence[str], every: int) -> Chunk:
        """Returns every so many frames of some utterances."""
        feats = [self.data.archive_of(name).load(name)[::every] for name in names]
        return torch.from_numpy(np.concatenate(feats)), [len(each) for each in feats]


class _Chunks(Dataset):
    """Chunks as a dataset of which one item is one chunk."""

    def __init__(self, source: WholeUtterances, plan: list[list[str]], every: int) -> None:
        self.source, self.plan, self.every = source, plan, every

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> Chunk | RecipeError:
        try:
            return self.source.read_chunk(self.plan[number], self.every)
        except RecipeError as error:
            return error
