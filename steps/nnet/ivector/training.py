"""The EM run of an i-vector extractor, iteration by iteration, and everything that has to be saved to go on with it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from steps.nnet.ivector import total_variability, ubm
from steps.nnet.ivector.mixture import Densities, Mixture
from steps.nnet.ivector.statistics import Statistics, baum_welch
from steps.nnet.ivector.total_variability import Extractor, Posterior
from steps.nnet.networks.ivector import IVectorNet
from steps.nnet.settings import IVector
from steps.nnet.train_settings import Train

UTTERANCES_AT_ONCE = 128  # in an E-step of the extractor: 128 covariances of 400 dimensions are 160 MB
PHASES = ("begin", "diagonal", "full", "extractor")

Chunk = tuple[Tensor, list[int]]  # frames of whole utterances behind one another, and how many each has


class Source(Protocol):
    """Where frames come from: the same in every call."""

    def random_frames(self, num: int) -> np.ndarray:
        """Returns frames `[N, F]` drawn from the training set."""
        ...

    def chunks(self, phase: str) -> Iterable[Chunk]:
        """Returns the utterances of a phase, for the UBM with the frames that it is trained on."""
        ...

    def generator(self, *names: str | int) -> np.random.Generator:
        """Returns the randomness of a thing."""
        ...


class ExtractorTraining:
    """A run: UBM, extractor, and where it stands.

    `state_dict` and `load_state_dict` hold all of it between two iterations, so that on a CPU a run that is cut off and goes
    on from its state ends in the same bytes as one that was never cut off.
    """

    def __init__(self, settings: Train, model: IVectorNet, em: IVector, source: Source, device: torch.device) -> None:
        self.settings, self.model, self.em, self.source, self.device = settings, model.to(device), em, source, device
        counts = (em.init_iterations, em.diagonal_iterations, em.full_iterations, em.iterations)
        self.plan = [(phase, number) for phase, count in zip(PHASES, counts, strict=True) for number in range(1, count + 1)]
        self.done = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []  # one record per iteration
        self.mixture: Mixture | None = None
        self.extractor: Extractor | None = None
        self.floor_F: Tensor | None = None
        self.scatter_CFF: Tensor | None = None  # of the utterances that the extractor is trained on
        self._frames_TF: Tensor | None = None
        self._kept: list[Statistics] | None = None  # all statistics, where they fit into memory

    def autocast(self) -> AbstractContextManager:
        """Returns the context of the forward pass: nothing to do."""
        return nullcontext()

    @property
    def is_done(self) -> bool:
        """Whether all iterations are done."""
        return self.done == len(self.plan)

    def next(self) -> tuple[str, int]:
        """Returns phase and number, from 1, of the iteration that comes next."""
        return self.plan[self.done]

    def iterate(self) -> dict[str, Any]:
        """One EM iteration; returns its record (a line of log.jsonl), whose likelihood is that of the model before it.

        Raises:
            ValueError: there are too few frames, or they do not vary.
        """
        began = time.monotonic()
        phase, number = self.next()
        likelihood, num_frames = {
            "begin": self._begin, "diagonal": self._diagonal, "full": self._full, "extractor": self._extract,
        }[phase](number)  # fmt: skip
        self.done += 1
        self.seconds += time.monotonic() - began
        if phase == "extractor":
            self.model.fill(self.mixture, self.extractor)
        record = {
            "epoch": self.done, "phase": phase, "iteration": number, "num_gaussians": self.mixture.num_components,
            "log_likelihood": likelihood, "num_frames": num_frames, "seconds": round(self.seconds, 1),
        }  # fmt: skip
        self.history.append(record)
        return record

    def _begin(self, number: int) -> tuple[float, int]:
        """An iteration on frames in memory, and a split after it in the first half of them."""
        em, rng = self.em, self.source.generator("ubm", number)
        if self._frames_TF is None:
            self._frames_TF = torch.from_numpy(self.source.random_frames(em.init_frames)).to(self.device)
        if self.mixture is None:
            self.floor_F = em.variance_floor * ubm.global_moments(self._frames_TF)[1]
            self.mixture = ubm.begin(self._frames_TF, em.init_gaussians or em.num_gaussians, self.source.generator("ubm", 0))
        sums = ubm.Sums.zero(self.mixture)
        ubm.diagonal_sums(self.mixture, self._frames_TF, sums)
        self.mixture = ubm.update(self.mixture, sums, self.floor_F)
        wanted = self._num_gaussians(number)
        if wanted > self.mixture.num_components:
            self.mixture = ubm.split(self.mixture, wanted, rng)
        if number == em.init_iterations:
            self._frames_TF = None
        return sums.log_likelihood / sums.num_frames, sums.num_frames

    def _num_gaussians(self, number: int) -> int:
        """Components after iteration `number`: evenly more in each of the first half."""
        em = self.em
        first = em.init_gaussians or em.num_gaussians
        half = max(1, em.init_iterations // 2)
        return first + (em.num_gaussians - first) * min(number, half) // half

    def _diagonal(self, number: int) -> tuple[float, int]:
        sums = ubm.Sums.zero(self.mixture)
        for feats_TF, _ in self.source.chunks("diagonal"):
            ubm.diagonal_sums(self.mixture, feats_TF.to(self.device), sums, self.em.diagonal_gselect)
        self.mixture = ubm.update(self.mixture, sums, self.floor_F)
        return sums.log_likelihood / sums.num_frames, sums.num_frames

    def _full(self, number: int) -> tuple[float, int]:
        self.mixture = self.mixture.full()
        sums = ubm.Sums.zero(self.mixture)
        densities = Densities(self.mixture, self.em.gselect)
        for feats_TF, _ in self.source.chunks("full"):
            ubm.full_sums(self.mixture, feats_TF.to(self.device), sums, densities=densities)
        self.mixture = ubm.update(self.mixture, sums, self.floor_F)
        return sums.log_likelihood / sums.num_frames, sums.num_frames

    def _extract(self, number: int) -> tuple[float, int]:
        em, tv = self.em, total_variability
        if self.extractor is None:
            self.extractor = tv.begin(self.mixture, em.embedding_dim, self.source.generator("loadings"))
        posterior = Posterior(self.extractor, self.mixture.means_CF)
        sums = tv.Sums.zero(posterior)
        scatter_CFF = torch.zeros_like(self.extractor.covariances_CFF) if self.scatter_CFF is None else None
        for statistics in self._statistics(scatter_CFF):
            sums.add(posterior, statistics.to(self.device, torch.float64))
        self.scatter_CFF = scatter_CFF if self.scatter_CFF is None else self.scatter_CFF
        likelihood = tv.log_likelihood(self.extractor, posterior, sums, self.scatter_CFF)
        self.extractor = tv.update(
            self.extractor, posterior, sums, self.scatter_CFF, update_covariances=em.update_covariances,
            covariance_floor=em.covariance_floor, diagonal=em.full_iterations == 0,
        )  # fmt: skip
        return likelihood, round(float(sums.count_C.sum()))

    def _statistics(self, scatter_CFF: Tensor | None) -> Iterator[Statistics]:
        """The statistics of UTTERANCES_AT_ONCE utterances after the other, from memory if all of them fit into it.

        They are rounded to float32, whether they are kept or not, so that memory changes no number.
        """
        if self._kept is not None:
            yield from self._kept
            return
        densities = Densities(self.mixture, self.em.gselect)
        room, kept = self.em.statistics_memory * 2**30, []
        for statistics in self._batches(densities, scatter_CFF):
            room -= 4 * (statistics.count_UC.numel() + statistics.first_UCF.numel())
            kept = [*kept, statistics.to(torch.device("cpu"))] if room >= 0 else []
            yield statistics
        self._kept = kept if room >= 0 else None

    def _batches(self, densities: Densities, scatter_CFF: Tensor | None) -> Iterator[Statistics]:
        waiting: list[Statistics] = []
        for feats_TF, lengths in self.source.chunks("extractor"):
            owner_T = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).to(self.device)
            made = baum_welch(
                densities, feats_TF.to(self.device), owner_T, len(lengths), floor=self.em.posterior_floor,
                scale=self.em.posterior_scale, scatter_CFF=scatter_CFF,
            )  # fmt: skip
            waiting.append(made.to(torch.float32))
            if sum(len(each.count_UC) for each in waiting) >= UTTERANCES_AT_ONCE:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that decides how the run goes on, on the CPU."""
        parts = {"floor_F": self.floor_F, "scatter_CFF": self.scatter_CFF}
        for name in ("mixture", "extractor"):
            value = getattr(self, name)
            parts[name] = None if value is None else {key: tensor.cpu() for key, tensor in vars(value).items()}
        parts |= {name: value.cpu() for name, value in parts.items() if isinstance(value, Tensor)}
        return {**parts, "done": self.done, "seconds": self.seconds, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was called."""
        self.mixture = None if state["mixture"] is None else Mixture(**state["mixture"]).to(self.device)
        self.extractor = None if state["extractor"] is None else Extractor(**state["extractor"]).to(self.device)
        for name in ("floor_F", "scatter_CFF"):
            setattr(self, name, None if state[name] is None else state[name].to(self.device))
        self.done, self.seconds, self.history = state["done"], state["seconds"], list(state["history"])
        if self.extractor is not None:
            self.model.fill(self.mixture, self.extractor)


def _joined(parts: list[Statistics]) -> Statistics:
    return Statistics(torch.cat([each.count_UC for each in parts]), torch.cat([each.first_UCF for each in parts]))
