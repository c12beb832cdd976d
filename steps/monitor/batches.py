"""The batches of each epoch: drawn, made of the pairs that the network finds hardest, or of a pool that grows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps.core import files
from steps.core.rng import generator
from steps.data.mining import mine_hard_negatives
from steps.data.sampling import Batch, Example, epoch_batches
from steps.examples.training_set import TrainingSet
from steps.monitor.active import ActivePool
from steps.nnet.train_settings import Train
from steps.nnet.training import Training

MOST_MINED = 100_000  # utterances that are embedded to find hard pairs among, drawn anew for each epoch
MINING_BATCH = 32


class EpochBatches:
    """Gives the batches of the epoch under way; `steps_per_epoch` is their number, in the first epoch where a `pool` grows.

    The draw is that of one process whatever the number of ranks, each of which takes its share of each batch.
    """

    def __init__(self, settings: Train, data: TrainingSet, *, min_frames: int, max_frames: int, folder: Path) -> None:
        """Prepares the draw.

        Raises:
            ValueError: the training set cannot be sampled as the settings say.
        """
        self.settings, self.data, self.folder = settings, data, folder
        self.min_frames, self.max_frames = min_frames, max_frames
        self.lengths_N = None
        if settings.sampling == "whole" or settings.pair_weights == "length":
            self.lengths_N = np.array([data.num_frames(name) for name in data.utterances])
        self.pool = ActivePool(settings, data, num_frames=max_frames) if settings.active != "none" else None
        first = self._drawn(1)
        self.steps_per_epoch = len(first)
        self.least_examples = min(len(batch.examples) for batch in first)  # of a batch

    def __call__(self, training: Training) -> list[Batch]:
        """Returns the batches of the epoch under way."""
        if not self.settings.mined_pairs:
            return self._drawn(training.epoch)
        pairs = self._mined(training) if training.world.is_first else None
        return self._drawn(training.epoch, np.array(training.world.from_first(pairs), dtype=np.int64))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint needs beside the state of the training: the pool, if there is one."""
        return {} if self.pool is None else {"pool": self.pool.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was called.

        Raises:
            ValueError: a pool of another training set.
        """
        if self.pool is not None:
            self.pool.load_state_dict(state["pool"])

    def _drawn(self, epoch: int, mined_P2: np.ndarray | None = None) -> list[Batch]:
        s = self.settings
        return epoch_batches(
            seed=s.seed, epoch=epoch, labels=self.data.labels, sampling=s.sampling, examples_per_epoch=s.examples_per_epoch,
            batch_size=s.batch_size, min_frames=self.min_frames, max_frames=self.max_frames, group_size=s.group_size,
            pair_weights=s.pair_weights, pair_same_file=s.pair_same_file, mined_P2=mined_P2, lengths_N=self.lengths_N,
            among_K=None if self.pool is None else self.pool.utterances,
        )  # fmt: skip

    def _mined(self, training: Training) -> list[list[int]]:
        """The pairs of the epoch under way, from a file where it was begun before: it goes on with what it began with."""
        path = self.folder / "pairs" / f"{training.epoch:04d}.json"
        if path.is_file():
            return files.read_json(path)
        pairs = self._mine(training).tolist()
        path.parent.mkdir(exist_ok=True)
        files.write_json(path, pairs)
        return pairs

    def _mine(self, training: Training) -> np.ndarray:
        """Rows (two utterances of different speakers) that one crop of each makes nearest, of many random pairs."""
        s, rng = self.settings, generator(self.settings.seed, "mining", training.epoch)
        count = min(MOST_MINED, len(self.data.utterances))
        chosen_N = np.sort(rng.choice(len(self.data.utterances), size=count, replace=False))
        embeddings = []
        training.model.eval()
        for start in range(0, count, MINING_BATCH):
            examples = tuple(Example(int(n), -1 - int(n)) for n in chosen_N[start : start + MINING_BATCH])
            feats_BTF, _ = self.data.make_batch(Batch(training.epoch, -1, self.max_frames, examples))
            with torch.inference_mode(), training.autocast():
                embeddings.append(training.model(feats_BTF.to(training.device)).float().cpu().numpy())
        rows_P2 = mine_hard_negatives(
            rng, self.data.labels[chosen_N], np.concatenate(embeddings), num_pairs=s.mined_pairs, share=s.mined_share
        )
        return chosen_N[rows_P2]
