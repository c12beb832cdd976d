"""Active learning: a pool of utterances that grows after each epoch by those that the network is least sure of.

Source: Lehmann and Stadelmann (ZHAW) begin with 10 % of each speaker's utterances and add those "furthest from the desired
output"; their program, stdm/ZHAW_deep_voice, takes 1 - max_j output_j of one random crop ("one_minus_max"), tries the utterances
of 128 speakers and takes at most an eighth from one speaker. "one_minus_target" is what the paper's words say; "random", a
control with the same draw of speakers and the same limit, is in neither.
"""

from typing import Any

import numpy as np
import torch

from steps.core.rng import generator
from steps.data.pool import candidates, first_pool, most_uncertain
from steps.data.sampling import Batch, Example
from steps.examples.training_set import TrainingSet, seconds_of
from steps.nnet.heads.outputs import class_outputs
from steps.nnet.train_settings import Train
from steps.nnet.training import Training

SCORING_BATCH = 64


class ActivePool:
    """The utterances that are trained on so far. What it takes in depends on seed, epoch and weights, not on workers."""

    def __init__(self, settings: Train, data: TrainingSet, *, num_frames: int) -> None:
        """The pool of the first epoch; crops of `num_frames` are what utterances are judged by."""
        self.settings, self.data, self.num_frames = settings, data, num_frames
        self.in_pool_N = first_pool(generator(settings.seed, "pool"), data.labels, settings.active_share)

    @property
    def utterances(self) -> np.ndarray:
        """Indices of the utterances in the pool, rising."""
        return np.flatnonzero(self.in_pool_N)

    def facts(self) -> dict[str, Any]:
        """Returns `pool_utterances` and `pool_hours` for the log (hours of features, where VAD has left some out)."""
        pool = self.utterances
        num_frames = sum(self.data.num_frames(self.data.utterances[n]) for n in pool)
        return {"pool_utterances": len(pool), "pool_hours": seconds_of(self.data.settings.features, num_frames) / 3600}

    def grow(self, training: Training, epoch: int) -> int:
        """Takes in what the network of the end of `epoch` is least sure of; returns how many utterances that is.

        Raises:
            FloatingPointError: an output is not a number.
        """
        s = self.settings
        tried_K = candidates(generator(s.seed, "tried", epoch), self.data.labels, self.in_pool_N, s.active_speakers)
        if len(tried_K) == 0:
            return 0
        if s.active == "random":
            uncertainty_K = generator(s.seed, "uncertainty", epoch).random(len(tried_K))
        else:
            uncertainty_K = self.uncertainties(training, epoch, tried_K)
        if not np.isfinite(uncertainty_K).all():
            raise FloatingPointError(
                f"after epoch {epoch} the head's outputs are not numbers for some utterances outside the pool"
            )
        chosen = most_uncertain(uncertainty_K, self.data.labels[tried_K], s.active_add, s.active_per_speaker)
        self.in_pool_N[tried_K[chosen]] = True
        return len(chosen)

    def uncertainties(self, training: Training, epoch: int, tried_K: np.ndarray) -> np.ndarray:
        """Returns uncertainty_K, by one random crop of each utterance that is made as a training example is.

        1 - max_j output_j or 1 - output of the speaker, where the outputs are the cosines before the margin (margin heads) or the
        softmax's probabilities (softmax heads): see `class_outputs`.
        """
        batches = [
            # Draws of training examples count from 0: these have crops of their own.
            Batch(epoch, -1, self.num_frames, tuple(Example(int(n), -1 - int(n)) for n in tried_K[start : start + SCORING_BATCH]))
            for start in range(0, len(tried_K), SCORING_BATCH)
        ]
        training.model.eval()
        training.head.eval()
        found = []
        for feats_BTF, labels_B in self.data.loader(batches, self.settings.workers):
            with torch.inference_mode():
                with training.autocast():
                    x_BD = training.model.classifier_input(training.model(feats_BTF.to(training.device)))
                outputs_BS = class_outputs(training.head, x_BD)
                if self.settings.active == "one_minus_max":
                    sure_B = outputs_BS.max(dim=1).values
                else:
                    sure_B = outputs_BS.gather(1, labels_B.to(outputs_BS.device)[:, None]).squeeze(1)
                found.append(1.0 - sure_B.double().cpu().numpy())
        return np.concatenate(found)

    def state_dict(self) -> dict[str, Any]:
        """Returns the pool for a checkpoint."""
        return {"in_pool_N": torch.from_numpy(self.in_pool_N.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was called.

        Raises:
            ValueError: a pool of another number of utterances.
        """
        in_pool_N = state["in_pool_N"].numpy()
        if in_pool_N.shape != self.in_pool_N.shape:
            raise ValueError(f"pool of {len(in_pool_N)} utterances, expected {len(self.in_pool_N)} as in this training set")
        self.in_pool_N = in_pool_N.astype(bool)
