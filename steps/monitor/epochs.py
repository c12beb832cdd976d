"""The run of a network in stage 4: its updates, epoch after epoch, its log, its checkpoints, and when it stops.

With several ranks each runs all of this. Rank 0 writes files, measures the dev EER and decides when to save and when to stop;
the others are told.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

import torch

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.interrupts import held_interrupts
from steps.core.log import progress
from steps.core.rng import generator, seed_of
from steps.core.stage import Job
from steps.data.sampling import Batch
from steps.examples.training_set import TrainingSet, seconds_of
from steps.monitor import dev
from steps.monitor.batches import EpochBatches
from steps.monitor.trained import write_known, write_log, write_tensorboard
from steps.nnet import checkpoint
from steps.nnet.distributed import World, share_of
from steps.nnet.heads.partial import PartialHead
from steps.nnet.models import build_head, build_model, num_parameters
from steps.nnet.train_settings import Train
from steps.nnet.training import Training
from steps.nnet.transfer import freeze, transfer

CHECKPOINT = "checkpoint.pt"
PAIR_HEAD = "pair_head.json"  # of a siamese network: how two embeddings become a score
_WORKER_SECONDS = 2.0  # within which a signal that ended a loader's worker has come here, too


def train_network(job: Job, data: TrainingSet, world: World, device: torch.device) -> None:
    """Updates from the last checkpoint, if there is one, to the finished model.

    Raises:
        KeyboardInterrupt: it was told to stop; all updates that were done are in the checkpoint.
        RecipeError: settings that do not go together, a checkpoint of another machine, or a loss that is not finite.
        RankLost: another rank does not answer.
    """
    training, batches_of = _start(job, data, world, device)
    job.log.info(
        "%d utterances of %s, %d updates an epoch, %d parameters, %s",
        len(data.utterances), speakers_text(data), training.steps_per_epoch, num_parameters(training.model), _how(training),
    )  # fmt: skip
    state = _saved(job, world)
    if state is not None:
        try:
            training.load_state_dict(state)
            batches_of.load_state_dict(state)
        except ValueError as error:
            raise RecipeError(f"{job.out / CHECKPOINT}: {error}; go on on the machine where it was begun, or delete it") from None
        job.log.info("resuming at epoch %d, update %d of it", training.epoch, training.step)
    while not training.should_stop():
        _train_epoch(job, training, data, batches_of)
    _finish(job, training, data.speakers)


def _saved(job: Job, world: World) -> dict[str, Any] | None:
    """The last checkpoint, which rank 0 reads for all: a file server could show another host an older one."""
    state = None
    if world.is_first and (job.out / CHECKPOINT).is_file():
        try:
            state = checkpoint.load(job.out / CHECKPOINT)
        except ValueError as error:
            raise RecipeError(f"{job.out / CHECKPOINT}: {error}; go on on the machine where it was begun, or delete it") from None
    return world.from_first(state)


def _start(job: Job, data: TrainingSet, world: World, device: torch.device) -> tuple[Training, EpochBatches]:
    """A run at its first update, and the function that gives the batches of the epoch under way."""
    s: Train = job.settings.train
    min_frames, max_frames = (data.frames_of(seconds) for seconds in (s.min_crop, s.max_crop))
    torch.manual_seed(seed_of(s.seed, "weights") % 2**63)
    try:
        model = build_model(job.settings.model, job.settings.features.num_bins)
        head = build_head(job.settings.head, model.classifier_dim, len(data.speakers))
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if min_frames < model.min_frames:
        raise RecipeError(f"train.min_crop = {s.min_crop} s: {min_frames} frames; the network needs at least {model.min_frames}")
    if s.init:
        _begin_with(job, model, head, data.speakers)
    try:
        batches_of = EpochBatches(s, data, min_frames=min_frames, max_frames=max_frames, folder=job.out)
    except ValueError as error:
        raise RecipeError(f"[train]: {error}") from None
    if s.partial_head:
        head = PartialHead(
            head, world, share=s.class_share, draws=lambda update: generator(s.seed, "class vectors", world.rank, update)
        )
    training = Training(s, model, head, steps_per_epoch=batches_of.steps_per_epoch, device=device, world=world)
    if len(data.speakers) < s.ranks or batches_of.least_examples < s.ranks:
        raise RecipeError(
            f"train.ranks = {s.ranks}: expected at least as many speakers and examples of a batch, found {len(data.speakers)} "
            f"and {batches_of.least_examples}; set fewer ranks"
        )
    return training, batches_of


def _begin_with(job: Job, model: Any, head: Any, speakers: list[str]) -> None:
    """Fill the network, and with train.init_head the head, from the trained system that train.init names."""
    s: Train = job.settings.train
    folder = job.input("init")
    try:
        done = transfer(model, checkpoint.load_tensors(folder / "model.safetensors"))
        if s.init_head:
            if (folder / "speakers").read_text(encoding="utf-8").splitlines() != speakers:
                raise ValueError(f"init_head: {folder / 'speakers'} are not the {len(speakers)} speakers of this training set")
            checkpoint.load_model(folder / "head.safetensors", head)
    except ValueError as error:
        raise RecipeError(f"train.init = {s.init!r}: {error}; begin with a system of the same network and head") from None
    if s.freeze == "frames":
        freeze(model.frame_part())
    fresh = ", ".join(done.fresh[:6]) + (", ..." if len(done.fresh) > 6 else "")
    job.log.info(
        "begins with %s: %d tensors taken over, fresh: %s%s",
        s.init, len(done.taken), fresh or "none", "" if s.init_head else " and the head",
    )  # fmt: skip


def speakers_text(data: TrainingSet) -> str:
    """Return how many people there are, and how many classes if these are more."""
    people, classes = data.num_people or len(data.speakers), len(data.speakers)
    return f"{people} speakers" + ("" if classes == people else f" ({classes} classes, as each counts anew at another speed)")


def _how(training: Training) -> str:
    s = training.settings
    text = f"{training.device}, {training.precision}{', compiled' if s.compile else ''}"
    if s.ranks == 1:
        return text
    most = -(-s.batch_size // s.ranks)
    return f"{text}, {s.ranks} ranks x {most if s.batch_size % s.ranks == 0 else f'{most - 1} to {most}'} examples"


class _Keeper:
    """Saves checkpoints, and stops the run where somebody asks for it. All ranks call the same methods."""

    def __init__(self, job: Job, training: Training, batches_of: EpochBatches) -> None:
        self.job, self.training, self.batches_of = job, training, batches_of
        self.saved_at, self.saved_update = time.monotonic(), training.update

    def save(self) -> None:
        """Everything up to the last update."""
        state = self.training.state_dict() | self.batches_of.state_dict()
        if self.training.world.is_first:
            checkpoint.save(self.job.out / CHECKPOINT, state)
        self.saved_at, self.saved_update = time.monotonic(), self.training.update

    def after_update(self, asked_to_stop: Callable[[], bool]) -> None:
        """Save if it is time, or if this is the end."""
        training = self.training
        due = time.monotonic() - self.saved_at > training.settings.checkpoint_seconds
        stop, due = training.world.agreed(asked_to_stop(), due)
        if stop:
            self.stop()
        if due:
            self.save()

    def stop(self) -> None:
        """Save, and raise KeyboardInterrupt."""
        self.save()
        self.training.world.agreed(True)  # nobody ends, and is the end of the others, before the file is there
        self.job.log.info(
            "asked to stop: epoch %d goes on after update %d of %d",
            self.training.epoch, self.training.step, self.training.steps_per_epoch,
        )  # fmt: skip
        raise KeyboardInterrupt


def _train_epoch(job: Job, training: Training, data: TrainingSet, batches_of: EpochBatches) -> None:
    """The rest of one epoch, its dev EER, its record, its weights and what is trained on in the next."""
    world = training.world
    batches = batches_of(training)
    training.steps_per_epoch = len(batches)  # of a pool that grows; otherwise always the same
    keeper = _Keeper(job, training, batches_of)
    _do_updates(job, training, data, batches[training.step :], keeper)
    if not training.ranks_agree():
        raise RecipeError(
            f"epoch {training.epoch}: the weights of the ranks differ; they need processors and libraries of one kind "
            f"(launch.*.constraint): delete {job.out / CHECKPOINT} and begin again"
        )
    figures = dev.dev_figures(job, training) if world.is_first else {}
    figures = world.from_first(figures)
    facts = {"seconds_seen": seconds_of(job.settings.features, training.frames_seen)}
    if batches_of.pool is not None:
        facts |= batches_of.pool.facts()
    record = training.end_epoch(**{"dev_eer": None} | figures | facts)
    _grow(job, training, batches_of, record["epoch"])
    head = training.whole_head()
    if world.is_first:
        (job.out / "epochs").mkdir(exist_ok=True)
        checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.safetensors", training.model)
        checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.head.safetensors", head)
    keeper.save()
    if world.is_first:
        write_log(job.out, training.history)
        write_tensorboard(job.out / "tensorboard", record)
    job.log.info(
        "epoch %d of %d: loss %.3f, accuracy %.1f %%, dev EER %s, learning rate %.2g, margin %.2f, %.0f s",
        record["epoch"], training.settings.epochs, record["loss"], 100 * record["accuracy"],
        "-" if record["dev_eer"] is None else f"{100 * record['dev_eer']:.2f} %",
        record["learning_rate"], record["margin"], record["seconds"],
    )  # fmt: skip


def _do_updates(job: Job, training: Training, data: TrainingSet, rest: list[Batch], keeper: _Keeper) -> None:
    """The updates of these batches, with checkpoints, one of them at the end; an interrupt waits for the update under way."""
    s, world = training.settings, training.world
    shares = rest if world.alone else [_share(batch, world) for batch in rest]
    with (
        held_interrupts() if world.is_first else nullcontext(lambda: False) as asked_to_stop,
        closing(_until_stopped(data.loader(shares, s.workers), asked_to_stop)) as loader,
    ):
        shown = progress(loader, title=f"epoch {training.epoch}", total=len(rest), logger=job.log)
        for batch, made in zip(rest, shown, strict=True):
            if made is None:
                keeper.stop()
            if not world.alone:  # whoever draws (dropout) draws its own, which no checkpoint has to keep
                torch.manual_seed(seed_of(s.seed, "rank", world.rank, "update", training.update) % 2**63)
            try:
                training.train_batch(*made)
            except FloatingPointError as error:
                raise RecipeError(
                    f"{error}, which learnt from {_names(data, batch)}; the last good state is kept in {job.out / CHECKPOINT} "
                    "and epochs/: lower train.learning_rate, or add --set train.max_gradient_norm=5"
                ) from None
            except ValueError as error:
                raise RecipeError(f"update {training.update} of epoch {training.epoch}: {error}") from None
            keeper.after_update(asked_to_stop)
        if keeper.saved_update != training.update:
            keeper.save()  # what comes now takes time, and can be interrupted


def _share(batch: Batch, world: World) -> Batch:
    return replace(batch, examples=batch.examples[share_of(len(batch.examples), world)])


def _until_stopped(loader: Iterator[Any], asked_to_stop: Callable[[], bool]) -> Iterator[Any]:
    """The batches; None where a worker of the loader was ended by the signal that this process got as well."""
    try:
        yield from loader
    except RuntimeError as error:
        deadline = time.monotonic() + _WORKER_SECONDS
        while "DataLoader worker" in str(error) and not asked_to_stop() and time.monotonic() < deadline:
            time.sleep(0.05)
        if "DataLoader worker" not in str(error) or not asked_to_stop():
            raise
        yield None


def _grow(job: Job, training: Training, batches_of: EpochBatches, epoch: int) -> None:
    """With active learning, take in more utterances, if another epoch comes."""
    pool, world = batches_of.pool, training.world
    if pool is None or training.should_stop():
        return
    added = 0
    if world.is_first:
        try:
            added = pool.grow(training, epoch)
        except FloatingPointError as error:
            raise RecipeError(f"{error}; lower train.learning_rate, or add --set train.max_gradient_norm=5") from None
    pool.load_state_dict(world.from_first(pool.state_dict()))
    job.log.info("%d utterances taken in, now %d of %d", added, len(pool.utterances), len(batches_of.data.utterances))


def _names(data: TrainingSet, batch: Batch) -> str:
    names = [data.utterances[example.utterance] for example in batch.examples]
    return f"{len(names)} utterances: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


def _finish(job: Job, training: Training, speakers: list[str]) -> None:
    head = training.whole_head()
    if not training.world.is_first:
        return
    chosen = training.epochs_to_average()
    for name, module in (("model", training.model), ("head", head)):
        suffix = "" if name == "model" else ".head"
        states = [checkpoint.load_tensors(job.out / "epochs" / f"{epoch:04d}{suffix}.safetensors") for epoch in chosen]
        module.load_state_dict(checkpoint.average(states))
        checkpoint.save_model(job.out / f"{name}.safetensors", module)
    if hasattr(head, "pair_head"):
        files.write_json(job.out / PAIR_HEAD, head.pair_head())
    write_log(job.out, training.history)
    write_known(
        job, speakers, epochs_averaged=chosen, num_parameters=num_parameters(training.model),
        train_seconds=round(training.seconds, 1), how=_how(training),
    )  # fmt: skip
