"""NESSA: neural embedding speaker space alignment, a small map for each of two frozen models to a shared space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from steps.backend.alignment.draws import Batch, SpeakerDraws, hold_out_speakers
from steps.backend.alignment.losses import aam_loss, ge2e_loss, regression_loss
from steps.backend.alignment.mapper import Mapper, TrainableMapper
from steps.backend.alignment.protocol import checked_parallel
from steps.backend.alignment.settings import MapperTraining, check_variant
from steps.backend.estimator import class_means, speaker_codes, unit_rows

_MIN_SCALE = 1e-6  # of GE2E, which is defined for w > 0
_VALIDATION_DRAWS = 8  # of each held-out speaker: the few queries of one draw are noisy
_VALIDATION_SCALE = 10.0  # the same for all losses, so that their epochs are chosen alike


class Nessa:
    """Two maps trained on embeddings of the same utterances by an enrolment model (X) and a run-time model (Y).

    A voice profile is the mean of unit embeddings and is mapped after the mean, in training as in use. "one": g_Y maps into
    the enrolment space and g_X is the identity, so that stored profiles stay as they are; "two": both map to a new space.
    Each epoch is judged by held-out speakers: the GE2E loss at w = 10 of their profiles and queries, in the same draws; the
    maps of the best epoch are kept. Losses: "ge2e" of profiles by X and queries by Y; "aam" with one class matrix for both
    models (mean of the two losses); "regression", 1 - cosine of both embeddings of an utterance, which needs no labels.
    Speakers with a single utterance take part in "aam" and "regression" only.

    Args:
        mapper: "linear", "mlp" or "residual" (see `mapper`).
        sides: "one" or "two".
        loss: "ge2e", "aam" or "regression" ("one" only).
        training: sizes, batches, epochs.
        seed: of first weights, held-out speakers and batches. The same seed gives the same maps; torch's global generator and
            thread count are left alone (another number of threads may change last bits).

    Attributes:
        best_epoch_: from 1. losses_E_, validation_E_: mean training loss and validation loss of each epoch.
        scale_: w of GE2E in the end.

    Source: Gao et al., arXiv 2401.12440 (abstract: a lightweight network maps the embeddings of two independent models to a
        shared space). Its layers and loss are not known to us; see `MapperTraining`.
    """

    def __init__(
        self,
        mapper: str = "mlp",
        sides: str = "two",
        loss: str = "ge2e",
        *,
        training: MapperTraining | None = None,
        seed: int = 0,
    ) -> None:
        self.mapper = mapper
        self.sides = sides
        self.loss = loss
        self.training = training
        self.seed = seed
        self.steps = (Mapper("identity" if sides == "one" else mapper), Mapper(mapper))  # of X, of Y

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any) -> Self:
        """Return self, trained.

        Args:
            enrol: embeddings [N, D_X] by the enrolment model.
            run: embeddings [N, D_Y] of the same utterances by the run-time model.
            speakers: speaker of each utterance.

        Raises:
            ValueError: unknown settings, arrays that do not go together, too few speakers, or a loss that is not finite.
        """
        check_variant(self.mapper, self.sides, self.loss)
        settings = self.training or MapperTraining()
        enrol_ND, run_ND = checked_parallel(enrol, run)
        _, code_N = speaker_codes(speakers, len(enrol_ND))
        rng = np.random.default_rng(self.seed)
        is_held_N = hold_out_speakers(code_N, settings.validation, rng)
        held_rows = np.flatnonzero(is_held_N)
        draws = SpeakerDraws(code_N[held_rows], settings.enrol_utterances, settings.query_utterances)
        held = [_rows_of(batch, held_rows) for batch in draws.batches(len(draws.codes_S), _VALIDATION_DRAWS, rng)]
        data = _Data(_tensor(enrol_ND), _tensor(run_ND), code_N)
        self._train(_Work(self, settings, data, np.flatnonzero(~is_held_N), rng), held, settings.epochs)
        return self

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return profiles or embeddings [N, D_X] of the enrolment model in the shared space, of unit length [N, E]."""
        return self.steps[0].transform(profiles)

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return embeddings [N, D_Y] of the run-time model in the shared space, of unit length [N, E]."""
        return self.steps[1].transform(embeddings)

    def _train(self, work: _Work, held: list[Batch], epochs: int) -> None:
        losses, validation = [], []
        for epoch in range(1, epochs + 1):
            losses.append(work.epoch())
            validation.append(work.validate(held))
            if not np.isfinite([losses[-1], validation[-1]]).all():
                raise ValueError(f"epoch {epoch}: the loss is {losses[-1]}; choose a smaller learning_rate")
            if validation[-1] <= min(validation):
                self.best_epoch_ = epoch
                self.scale_ = float(work.scale.detach())
                for step, trained, dim in zip(self.steps, work.mappers, work.dims, strict=True):
                    step.take(trained.arrays(), dim)
        self.losses_E_, self.validation_E_ = np.array(losses), np.array(validation)


@dataclass(frozen=True)
class _Data:
    """Unit embeddings of the same utterances by both models, and their speakers."""

    enrol_ND: Tensor
    run_ND: Tensor
    code_N: np.ndarray


class _Work:
    """What changes while maps are trained."""

    def __init__(self, nessa: Nessa, settings: MapperTraining, data: _Data, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.loss, self.settings, self.data, self.rows, self.rng = nessa.loss, settings, data, rows, rng
        self.dims = (data.enrol_ND.shape[1], data.run_ND.shape[1])
        out = self.dims[0] if nessa.sides == "one" else settings.dim
        kinds = [step.kind for step in nessa.steps]
        self.mappers = [
            TrainableMapper(kind, (dim, settings.hidden, out), rng) for kind, dim in zip(kinds, self.dims, strict=True)
        ]
        self.scale = torch.tensor(settings.ge2e_scale, requires_grad=True)
        self.draws = SpeakerDraws(
            data.code_N[rows], settings.enrol_utterances, settings.query_utterances, settings.split
        )  # fmt: skip
        _, self.class_N = np.unique(data.code_N[rows], return_inverse=True)
        self.class_SE = self._first_classes(nessa.sides, out).requires_grad_(nessa.loss == "aam")
        trained = [tensor for mapper in self.mappers for tensor in mapper.parameters()]
        trained += {"ge2e": [self.scale], "aam": [self.class_SE], "regression": []}[nessa.loss]
        self.optimiser = torch.optim.Adam(trained, lr=settings.learning_rate)

    def _first_classes(self, sides: str, out: int) -> Tensor:
        num_classes = int(self.class_N.max()) + 1
        if sides == "two":
            return torch.from_numpy(self.rng.standard_normal((num_classes, out)) / np.sqrt(out)).float()
        # The enrolment space stays as it is, so its classes are known.
        means_SE, _ = class_means(self.data.enrol_ND.numpy()[self.rows].astype(np.float64), self.class_N, num_classes)
        return torch.from_numpy(means_SE).float()

    def epoch(self) -> float:
        """Train for one epoch; the mean loss."""
        losses = []
        for loss in self._ge2e_losses() if self.loss == "ge2e" else self._item_losses():
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            if self.loss == "ge2e":
                with torch.no_grad():
                    self.scale.clamp_(min=_MIN_SCALE)
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def validate(self, held: list[Batch]) -> float:
        """Return the mean GE2E loss of held-out speakers at a fixed scale."""
        with torch.no_grad():
            return float(np.mean([float(self._ge2e(batch, _VALIDATION_SCALE, training=False)) for batch in held]))

    def _ge2e_losses(self):
        s, draws = self.settings, self.draws
        per_batch = min(s.batch_speakers, len(draws.codes_S))
        size = per_batch * (s.enrol_utterances + s.query_utterances)
        for batch in draws.batches(per_batch, s.batches_per_epoch or -(-draws.num_items // size), self.rng):
            yield self._ge2e(_rows_of(batch, self.rows), self.scale, training=True)

    def _ge2e(self, batch: Batch, scale: Tensor | float, *, training: bool) -> Tensor:
        enrol_SM, query_SQ = (torch.from_numpy(rows) for rows in batch)
        embedding_SMD = self.data.enrol_ND[enrol_SM]
        query_SQE = self.mappers[1](self.data.run_ND[query_SQ].flatten(0, 1), training=training).unflatten(0, query_SQ.shape)
        profile_SD = embedding_SMD.mean(dim=1)
        if self.settings.split == "disjoint" or not training:
            return ge2e_loss(query_SQE, self.mappers[0](profile_SD, training=training), scale)
        own_SMD = _means_of_others(embedding_SMD, enrol_SM)
        mapped = self.mappers[0](torch.cat([profile_SD, own_SMD.flatten(0, 1)]), training=training)
        num = len(profile_SD)
        return ge2e_loss(query_SQE, mapped[:num], scale, mapped[num:].unflatten(0, query_SQ.shape))

    def _item_losses(self):
        s, num = self.settings, len(self.rows)
        size = min(num, s.batch_speakers * (s.enrol_utterances + s.query_utterances))
        left = s.batches_per_epoch or -(-num // size)
        while left > 0:
            order = self.rng.permutation(num)
            for start in range(0, num - size + 1, size)[:left]:
                yield self._items(order[start : start + size])
                left -= 1

    def _items(self, places: np.ndarray) -> Tensor:
        rows = torch.from_numpy(self.rows[places])
        enrol_NE, run_NE = (
            mapper(embeddings[rows], training=True)
            for mapper, embeddings in zip(self.mappers, (self.data.enrol_ND, self.data.run_ND), strict=True)
        )
        if self.loss == "regression":
            return regression_loss(enrol_NE, run_NE)
        target_N, s = torch.from_numpy(self.class_N[places]), self.settings
        both = (aam_loss(e, self.class_SE, target_N, scale=s.aam_scale, margin=s.aam_margin) for e in (enrol_NE, run_NE))
        return sum(both) / 2


def _tensor(embeddings_ND: np.ndarray) -> Tensor:
    return torch.from_numpy(unit_rows(embeddings_ND, "embeddings").astype(np.float32))


def _rows_of(batch: Batch, rows: np.ndarray) -> Batch:
    """Return a batch drawn among some rows as rows of the whole."""
    return rows[batch[0]], rows[batch[1]]


def _means_of_others(embedding_SMD: Tensor, rows_SM: Tensor) -> Tensor:
    """Return for each utterance the mean of its speaker's other ones [S, M, D]; repetitions of itself are left out too."""
    other_SMM = (rows_SM[:, :, None] != rows_SM[:, None, :]).to(embedding_SMD.dtype)
    return other_SMM @ embedding_SMD / other_SMM.sum(dim=2, keepdim=True)
