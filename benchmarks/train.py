"""Times our training loop against a plain float32 eager loop on the same network, head, batches and threads; prints tables.

    python -m benchmarks.train [--models resnet34_thin,xvector] [--steps 12] [--threads 2] [--compile]
    python -m benchmarks.train --config recipes/voices/resnet_aam.toml --exp exp/voices     # the loader's rate beside it
    python -m benchmarks.train --head 100000                                                # a head of so many speakers
    python -m benchmarks.train --ranks 2                     # so many processes with a thread each, against as many threads

The plain loop is what a first version would be: float32, ordinary memory layout, eager. Both see the same batches and take
turns step by step, so that a busy machine slows both alike. Figures are medians over steps; the loss of both stands beside
them after the last step, since speed bought with another loss curve is none.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from steps.core import config
from steps.examples.training_set import TrainingSet, frames_of
from steps.monitor.batches import EpochBatches
from steps.nnet.distributed import ALONE, World, share_of
from steps.nnet.models import build_head, build_model
from steps.nnet.settings import AAM, MODEL_SETTINGS
from steps.nnet.train_settings import Train
from steps.nnet.training import Training

MODELS = "resnet34_thin,resnet34,xvector,ecapa512"
NUM_SPEAKERS, NUM_BINS = 1000, 80


def model_settings(name: str) -> object:
    """Returns the settings of conf/model/<name>.toml."""
    table = tomllib.loads((Path("conf/model") / f"{name}.toml").read_text())["model"]
    return MODEL_SETTINGS[table["type"]](**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})


class PlainLoop:
    """Float32, contiguous, eager: forward, loss, backward, SGD."""

    def __init__(self, model: torch.nn.Module, head: torch.nn.Module, settings: Train) -> None:
        self.model, self.head = model.to(memory_format=torch.contiguous_format), head
        parameters = [*model.parameters(), *head.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)
        model.train()

    def step(self, feats_BTF: Tensor, labels_B: Tensor) -> float:
        """One update; the loss."""
        self.optimizer.zero_grad()
        loss = self.head(self.model.classifier_input(self.model(feats_BTF)), labels_B)[0].mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def compare(name: str, options: argparse.Namespace) -> None:
    """Prints a row of the table: seconds of a step of both loops, and their losses after the last one."""
    settings = Train(
        epochs=1000, batch_size=options.batch, learning_rate=0.01, decay="constant", weight_decay=0.0, compile=options.compile
    )
    loops = []
    for _ in range(2):
        torch.manual_seed(1)
        model = build_model(model_settings(name), NUM_BINS)
        loops.append((model, build_head(AAM(), model.classifier_dim, NUM_SPEAKERS)))
    plain = PlainLoop(*loops[0], settings)
    ours = Training(settings, *loops[1], steps_per_epoch=10**6, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(2)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    losses = [0.0, 0.0]
    for step in range(2 + options.steps):
        feats_BTF = torch.randn(options.batch, options.frames, NUM_BINS, generator=generator)
        labels_B = torch.randint(NUM_SPEAKERS, (options.batch,), generator=generator)
        began = time.perf_counter()
        losses[0] = plain.step(feats_BTF, labels_B)
        middle = time.perf_counter()
        before = ours.sums.loss
        ours.train_batch(feats_BTF, labels_B)
        ended = time.perf_counter()
        losses[1] = (ours.sums.loss - before) / options.batch
        if step >= 2:  # the first ones warm up, and compile
            seconds["plain"].append(middle - began)
            seconds["ours"].append(ended - middle)
    a, b = (statistics.median(seconds[key]) for key in ("plain", "ours"))
    print(
        f"| {name} | {1 / a:.2f} | {1 / b:.2f} | {options.batch / b:.0f} | {a / b:.2f} | {losses[0]:.3f} | {losses[1]:.3f} |",
        flush=True,
    )


def loader_rate(options: argparse.Namespace) -> None:
    """Prints the batches a second that the data side of a real system makes, and the steps a second of its training."""
    from steps.train import STAGE

    settings, site = config.load_settings(STAGE.sections, [options.config], options.assignments)
    features, augment = settings.features, settings.augment
    augmented = augment.name if augment.mode == "online" else f"{augment.name}-{features.name}"
    data = TrainingSet.open(
        manifests=options.exp / "manifests", features=options.exp / "features" / features.name,
        augmented=options.exp / "augmented" / augmented, settings=settings, site=site,
    )  # fmt: skip
    s: Train = settings.train
    frames = [frames_of(features, seconds) for seconds in (s.min_crop, s.max_crop)]
    batches = EpochBatches(s, data, min_frames=frames[0], max_frames=frames[1], folder=Path("."))(SimpleNamespace(epoch=1))
    batches = batches[: options.steps + 8]
    began, count, made = 0.0, 0, []
    for number, batch in enumerate(data.loader(batches, s.workers)):
        made.append(batch)
        if number == 7:  # the workers have started, and their queue has been emptied
            began = time.perf_counter()
        count = number - 7
    loader = count / (time.perf_counter() - began)
    torch.set_num_threads(s.threads)
    model = build_model(settings.model, features.num_bins)
    head = build_head(settings.head, model.classifier_dim, len(data.speakers))
    training = Training(s, model, head, steps_per_epoch=10**6, device=torch.device("cpu"))
    seconds = []
    for feats_BTF, labels_B in made:
        began = time.perf_counter()
        training.train_batch(feats_BTF, labels_B)
        seconds.append(time.perf_counter() - began)
    steps = 1 / statistics.median(seconds[2:])
    print(f"{options.config}: loader {loader:.1f} batches/s with {s.workers} worker(s), training {steps:.2f} steps/s on its own")


def large_head(options: argparse.Namespace) -> None:
    """Prints seconds and memory of forward and backward through an AAM head over very many speakers."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = build_head(AAM(), 192, options.head)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    seconds = []
    for _ in range(5):
        x_BD = torch.randn(256, 192, requires_grad=True)
        labels_B = torch.randint(options.head, (256,))
        began = time.perf_counter()
        optimizer.zero_grad()
        head(x_BD, labels_B)[0].mean().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    step = statistics.median(seconds)
    print(f"AAM head, {options.head:,} speakers x 192, batch 256: {step:.2f} s a step, {peak:.1f} GiB above torch")


def a_run(name: str, options: argparse.Namespace, world: World = ALONE) -> Training:
    """Returns our loop, seeded."""
    torch.manual_seed(1)
    model = build_model(model_settings(name), NUM_BINS)
    head = build_head(AAM(), model.classifier_dim, NUM_SPEAKERS)
    settings = Train(epochs=1000, batch_size=options.batch, learning_rate=0.01, decay="constant", ranks=world.size)
    return Training(settings, model, head, steps_per_epoch=10**6, device=torch.device("cpu"), world=world)


def synthetic(options: argparse.Namespace, step: int) -> tuple[Tensor, Tensor]:
    """Returns the batch of a step."""
    generator = torch.Generator().manual_seed(step)
    feats_BTF = torch.randn(options.batch, options.frames, NUM_BINS, generator=generator)
    return feats_BTF, torch.randint(NUM_SPEAKERS, (options.batch,), generator=generator)


def work_as_rank(rank: int, name: str, options: argparse.Namespace, store: str, turn: Any) -> None:
    """A rank with one thread, whose steps begin and end at a barrier."""
    torch.set_num_threads(1)
    world = World.join(
        dist.FileStore(store, options.ranks), rank=rank, size=options.ranks, device=torch.device("cpu"), timeout=600.0
    )
    training = a_run(name, options, world)
    for step in range(2 + options.steps):
        feats_BTF, labels_B = synthetic(options, step)
        share = share_of(options.batch, world)
        turn.wait()
        training.train_batch(feats_BTF[share], labels_B[share])
        turn.wait()
    world.leave()


def compare_ranks(name: str, options: argparse.Namespace) -> None:
    """Prints a row: steps a second of one process with one thread, of one with as many as there are ranks, and of the ranks.

    All three take turns step by step.
    """
    context = multiprocessing.get_context("spawn")
    turn = context.Barrier(options.ranks + 1)
    with tempfile.TemporaryDirectory() as folder:
        arguments = (name, options, f"{folder}/store", turn)
        ranks = [context.Process(target=work_as_rank, args=(rank, *arguments), daemon=True) for rank in range(options.ranks)]
        for each in ranks:
            each.start()
        training, seconds = a_run(name, options), ([], [], [])
        for step in range(2 + options.steps):
            for threads, taken in zip((1, options.ranks), seconds[:2], strict=True):
                torch.set_num_threads(threads)
                began = time.perf_counter()
                training.train_batch(*synthetic(options, step))
                taken.append(time.perf_counter() - began)
            turn.wait()
            began = time.perf_counter()
            turn.wait()
            seconds[2].append(time.perf_counter() - began)
        for each in ranks:
            each.join()
    one, threads, split = (statistics.median(each[2:]) for each in seconds)
    efficiency = f"{one / threads / options.ranks:.2f} | {one / split / options.ranks:.2f}"
    print(f"| {name} | {1 / one:.2f} | {1 / threads:.2f} | {1 / split:.2f} | {efficiency} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the training loop against a plain one.")
    parser.add_argument("--models", default=MODELS, help=f"names of conf/model/*.toml ({MODELS})")
    parser.add_argument("--steps", type=int, default=12, help="steps measured (12)")
    parser.add_argument("--batch", type=int, default=32, help="clips of a batch (32)")
    parser.add_argument("--frames", type=int, default=200, help="frames of a clip (200)")
    parser.add_argument("--threads", type=int, default=2, help="of both loops (2)")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--head", type=int, default=0, help="only a head of so many speakers")
    parser.add_argument(
        "--ranks", type=int, default=0, help="only so many processes, against one with a thread, and with as many"
    )
    parser.add_argument("--config", type=Path, help="only the loader of this system")
    parser.add_argument("--exp", type=Path, help="of a recipe whose stages 1 to 3 have run")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.head:
        large_head(options)
    elif options.config:
        loader_rate(options)
    elif options.ranks:
        print(f"batch {options.batch} x {options.frames} frames x {NUM_BINS} bins")
        one, threads, split = "1 rank x 1 thread", f"1 x {options.ranks}", f"{options.ranks} x 1"
        print(f"| network | {one}, steps/s | {threads} | {split} | efficiency of {threads} | of {split} |")
        print("|---|---|---|---|---|---|")
        for name in options.models.split(","):
            compare_ranks(name, options)
    else:
        print(f"batch {options.batch} x {options.frames} frames x {NUM_BINS} bins, {options.threads} threads")
        print("| network | plain steps/s | our steps/s | our clips/s | ratio | plain loss | our loss |")
        print("|---|---|---|---|---|---|---|")
        for name in options.models.split(","):
            compare(name, options)


if __name__ == "__main__":
    main()
