"""The training loop: one update after another, and everything that has to be saved to go on as if nothing had happened."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steps.nnet import schedule
from steps.nnet.distributed import ALONE, World
from steps.nnet.heads.base import Head
from steps.nnet.layers import at_least_float32
from steps.nnet.precision import autocast_for, chosen_precision, get_rng_state, set_rng_state
from steps.nnet.synchronised import GradientSum, synchronise_batch_norms
from steps.nnet.train_settings import Train

# Keras' defaults, with which the pairwise KL networks were trained.
ADADELTA_RHO = 0.95
ADADELTA_EPSILON = 1e-6


def make_optimizer(settings: Train, modules: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """Returns the optimiser over all parameters; weight decay spares vectors (biases, normalisation layers)."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.optimizer == "sgd":
        nesterov = settings.nesterov and settings.momentum > 0
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=nesterov)
    if settings.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=rate, rho=ADADELTA_RHO, eps=ADADELTA_EPSILON)
    if settings.optimizer == "amsgrad":
        return torch.optim.Adam(groups, lr=rate, amsgrad=True)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](groups, lr=rate)


@dataclass
class Sums:
    """Running sums of the epoch under way."""

    loss: float = 0.0
    correct: int = 0
    decisions: int = 0  # losses, one per utterance, pair or triplet
    examples: int = 0


def hardest(losses_K: Tensor, share: float) -> Tensor:
    """Returns the largest losses, this share of them and at least one."""
    if share >= 1.0:
        return losses_K
    return losses_K.topk(max(1, round(share * len(losses_K)))).values


class Training:
    """A run: network, head, optimiser, and where it stands.

    `state_dict` and `load_state_dict` hold all of it, random state included, so that on a CPU a run that is cut off after
    any update and goes on from its state ends in the same bytes as one that was never cut off.

    With several ranks each is given its share of every batch and makes the same update as the others: losses, batch norms
    and gradients are those of the whole batch. What is counted (`sums`, `frames_seen`) is of all ranks.
    """

    def __init__(
        self, settings: Train, model: nn.Module, head: Head, *, steps_per_epoch: int, device: torch.device,
        world: World = ALONE,
    ) -> None:  # fmt: skip
        self.settings, self.model, self.head, self.device = settings, model.to(device), head.to(device), device
        self.steps_per_epoch, self.world = steps_per_epoch, world
        self.whole_batch = head.whole_batch or settings.hardest_share < 1.0  # whether a rank needs all embeddings
        if not world.alone:
            synchronise_batch_norms(self.model, world)
            self.gradients = self._gradient_sum()
        self.optimizer = make_optimizer(settings, (model, head))
        self.full_margin = head.margin
        self.epoch, self.step = 1, 0  # the epoch under way, and its updates done
        self.updates_before = 0  # of finished epochs
        self.frames_seen = 0  # rows of features in all that was learnt from
        self.sums = Sums()
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []  # one record per finished epoch
        self.precision = chosen_precision(device, settings.precision, model.bf16_layers)
        self.network: Callable[[Tensor], Tensor] = self._classifier_input
        if settings.compile:
            self.network = torch.compile(self._classifier_input, dynamic=settings.min_crop != settings.max_crop)

    def _gradient_sum(self) -> GradientSum:
        """Of the network, and of a head that is the same on all ranks; where all see the whole batch, its gradient is, too."""
        network = [p for p in self.model.parameters() if p.requires_grad]
        head = [] if self.head.partial else list(self.head.parameters())
        share = 1.0 / self.world.size if self.whole_batch else 1.0
        return GradientSum([*network, *head], [1.0] * len(network) + [share] * len(head), self.world)

    def _classifier_input(self, feats_BTF: Tensor) -> Tensor:
        return self.model.classifier_input(self.model(feats_BTF))

    def autocast(self) -> AbstractContextManager:
        """Returns the context of the forward pass at the settings' precision."""
        return autocast_for(self.device, self.precision)

    @property
    def update(self) -> int:
        """Updates done since the beginning."""
        return self.updates_before + self.step

    @property
    def place(self) -> int:
        """Where schedules stand: the updates done, had all epochs as many as the one under way.

        Where epochs grow (active learning), each takes the same part of a schedule all the same.
        """
        return (self.epoch - 1) * self.steps_per_epoch + self.step

    def current_learning_rate(self) -> float:
        """Returns the learning rate of the next update."""
        s, per_epoch = self.settings, self.steps_per_epoch
        by_factor = s.decay in ("steps", "plateau")
        peak, final = s.learning_rate * s.rate_factor, s.final_learning_rate * s.rate_factor
        rate = schedule.learning_rate(
            self.update if s.decay == "inverse" else self.place,
            peak=peak,
            final=peak if by_factor else final,
            num_steps=s.epochs * per_epoch,
            warmup_steps=round(s.warmup_epochs * per_epoch),
            decay="constant" if by_factor else s.decay,
            decay_start=s.decay_start,
            inverse_decay=s.inverse_decay,
        )
        if s.decay == "steps":
            return rate * schedule.stepwise_factor(self.place / per_epoch, s.rate_epochs, s.rate_factors)
        if s.decay == "plateau":
            factor = schedule.plateau_factor(
                self.figures(), factor=s.plateau_factor, patience=s.plateau_patience, delta=s.plateau_delta
            )
            return max(rate * factor, final)
        return rate

    def figures(self) -> list[float]:
        """Returns what is monitored of each finished epoch, lower being better; empty where there are no dev trials."""
        if self.settings.monitor == "one_shot":
            return [1.0 - record["dev_one_shot"] for record in self.history if record.get("dev_one_shot") is not None]
        return [record["dev_eer"] for record in self.history if record["dev_eer"] is not None]

    def margin_at(self, place: int) -> float:
        """Returns the head's margin at a place in the schedule, counted from 0."""
        s = self.settings
        return schedule.margin(
            place / self.steps_per_epoch,
            initial=0.0,
            final=self.full_margin,
            start_epoch=s.margin_start_epoch,
            end_epoch=s.margin_end_epoch,
            growth=s.margin_growth,
        )

    def train_batch(self, feats_BTF: Tensor, labels_B: Tensor) -> None:
        """One update of all weights; features and labels are this rank's share of the batch.

        Raises:
            FloatingPointError: the loss is not finite.
            RankLost: another rank does not answer.
        """
        began = time.monotonic()
        self._to_training_mode()
        self.head.update = self.update
        for group in self.optimizer.param_groups:
            group["lr"] = self.current_learning_rate()
        if self.full_margin:
            self.head.margin = self.margin_at(self.place)
        feats_BTF, labels_B = feats_BTF.to(self.device), labels_B.to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        if not self.world.alone:
            self.gradients.begin()
        losses_K, hits_K, num_examples = self._losses(feats_BTF, labels_B)
        value, num_decisions, num_correct = self._counted(losses_K, hits_K)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at update {self.update} (epoch {self.epoch})")
        if self.world.alone or self.whole_batch:
            hardest(losses_K, self.settings.hardest_share).mean().backward()
        else:
            (losses_K.sum() / num_decisions).backward()
        self._step()
        self.model.after_update(self.update + 1)
        self.sums.loss += value * num_decisions
        self.sums.correct += num_correct
        self.sums.decisions += num_decisions
        self.sums.examples += num_examples
        self.frames_seen += num_examples * feats_BTF.shape[1]
        self.step += 1
        self.seconds += time.monotonic() - began

    def _losses(self, feats_BTF: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor, int]:
        """losses_K and hits_K of this rank's share of the batch, or of all of it where they belong together; its size."""
        with self.autocast():
            x_BD = self.network(feats_BTF)
        sizes = self.world.sizes(len(labels_B))
        if self.whole_batch and not self.world.alone:
            x_BD = self.world.together(at_least_float32(x_BD), sizes, split_loss=self.head.partial)
            labels_B = self.world.stacked(labels_B, sizes)
        return *self.head(x_BD, labels_B), sum(sizes)

    def _counted(self, losses_K: Tensor, hits_K: Tensor) -> tuple[float, int, int]:
        """The mean loss, the number of decisions, and that of hits, of all ranks."""
        if self.world.alone or self.whole_batch:
            return float(losses_K.detach().mean()), len(losses_K), int(hits_K.sum())
        counts = [losses_K.detach().double().sum(), hits_K.double().sum(), torch.ones_like(losses_K, dtype=torch.float64).sum()]
        loss, correct, decisions = self.world.add_(torch.stack(counts)).tolist()
        return loss / decisions, int(decisions), int(correct)

    def _step(self) -> None:
        """Adds up gradients over ranks, limits them and changes the weights."""
        if not self.world.alone:
            self.gradients.finish()
        self._limit_gradients()
        if self.head.partial:
            self.head.step(self.optimizer)
        else:
            self.optimizer.step()

    def _to_training_mode(self) -> None:
        self.model.train()
        self.head.train()
        if self.settings.freeze == "frames":
            for part in self.model.frame_part():
                part.eval()

    def _limit_gradients(self) -> None:
        s = self.settings
        limits = [s.max_gradient_norm] if s.max_gradient_norm > 0 else []
        if s.max_change > 0:
            limits.append(s.max_change / max(self.optimizer.param_groups[0]["lr"], 1e-30))
        if limits:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            if self.head.partial:
                nn.utils.clip_grads_with_norm_(parameters, min(limits), self._norm_of_gradients(parameters))
            else:
                nn.utils.clip_grad_norm_(parameters, min(limits))

    def _norm_of_gradients(self, parameters: list[nn.Parameter]) -> Tensor:
        """With the class vectors of all ranks."""
        elsewhere = {id(p) for p in self.head.parameters()}
        squares = [p.grad.square().sum() for p in parameters if p.grad is not None and id(p) not in elsewhere]
        own = [p.grad.square().sum() for p in self.head.parameters() if p.grad is not None]
        return (sum(squares) + self.world.add_(sum(own))).sqrt()

    def end_epoch(self, dev_eer: float | None, dev_one_shot: float | None = None, **facts: Any) -> dict[str, Any]:
        """Closes the epoch under way and returns its record (a line of log.jsonl), which ends with `facts`."""
        record = {
            "epoch": self.epoch,
            "loss": self.sums.loss / self.sums.decisions,
            "accuracy": self.sums.correct / self.sums.decisions,
            "dev_eer": dev_eer,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "margin": float(self.margin_at(self.place - 1)),  # the head of a run resumed at this very place has none yet
            "num_examples": self.sums.examples,
            "seconds": round(self.seconds, 1),
        }
        if dev_one_shot is not None:
            record["dev_one_shot"] = dev_one_shot
        record |= facts
        self.history.append(record)
        self.updates_before += self.step
        self.epoch, self.step, self.sums = self.epoch + 1, 0, Sums()
        return record

    def should_stop(self) -> bool:
        """Whether the epochs, or the patience with a dev figure that does not get better, are used up."""
        if self.epoch > self.settings.epochs:
            return True
        figures = self.figures()
        if not self.settings.patience or not figures:
            return False
        best = figures.index(min(figures))
        return len(figures) - 1 - best >= self.settings.patience

    def epochs_to_average(self) -> list[int]:
        """Returns the numbers of the epochs whose weights make the final model."""
        epochs, figures = [record["epoch"] for record in self.history], self.figures()
        if self.settings.average_of == "best" and figures:
            order = sorted(range(len(epochs)), key=lambda place: (figures[place], -epochs[place]))
            return sorted(epochs[place] for place in order[: self.settings.average])
        return epochs[-self.settings.average :]

    def ranks_agree(self) -> bool:
        """Whether all ranks still have the same weights; they do, on processors of one kind. All ranks call it."""
        kept = [*self.model.state_dict().values(), *([] if self.head.partial else self.head.state_dict().values())]
        sums = torch.stack([each.double().sum() for each in kept if each.is_floating_point()])
        sums_R = self.world.stacked(sums[None], [1] * self.world.size)
        return bool((sums_R == sums_R[0]).all())

    def whole_head(self) -> Head:
        """Returns the head as one process would have it; with several ranks all call it."""
        return self.head.whole() if self.head.partial else self.head

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that decides how the run goes on: with several ranks all call it, and each gets all of it."""
        return {
            "model": self.model.state_dict(),
            "head": self.head.state_of_all() if self.head.partial else self.head.state_dict(),
            "optimizer": (self.head.optimizer_state_of_all(self.optimizer) if self.head.partial else self.optimizer.state_dict()),
            "epoch": self.epoch,
            "step": self.step,
            "updates_before": self.updates_before,
            "frames_seen": self.frames_seen,
            "sums": vars(self.sums).copy(),
            "seconds": self.seconds,
            "history": self.history,
            "rng": get_rng_state() if self.world.alone else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was called; of several ranks each update of each has a random state of its own."""
        self.model.load_state_dict(state["model"])
        if self.head.partial:
            self.head.load_state_of_all(state["head"])
            self.head.load_optimizer_state_of_all(self.optimizer, state["optimizer"])
        else:
            self.head.load_state_dict(state["head"])
            self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        # A checkpoint of an older program has neither: its epochs had equally many updates, and its frames were not counted.
        self.updates_before = state.get("updates_before", (self.epoch - 1) * self.steps_per_epoch)
        self.frames_seen = state.get("frames_seen", 0)
        self.sums, self.history = Sums(**state["sums"]), list(state["history"])
        if self.world.alone and state["rng"] is not None:
            set_rng_state(state["rng"])
