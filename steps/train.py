"""Stage 4: train a network.

Reads manifests (labels, dev trials), features, and the copies or the bank of stage 3.
Writes model.safetensors (network), head.safetensors, speakers (class index -> speaker id), settings.toml (all that
stages 2 and 5 need to use the network elsewhere), log.jsonl (one record per epoch), training.json, tensorboard/.

On the way it keeps in its work folder: checkpoint.pt (everything, so that a killed run goes on to the same bytes) and
epochs/ (the weights of each finished epoch, for averaging).
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from steps.core import config, files
from steps.core.errors import RecipeError
from steps.core.log import progress
from steps.core.rng import seed_of
from steps.core.stage import Input, Job, Stage
from steps.nnet.settings import HEAD_SETTINGS, MODEL_SETTINGS
from steps.nnet.train_settings import Train
from steps.signal.settings import FEATURES, Augment, SpecAugment

if TYPE_CHECKING:
    import torch

    from steps.nnet.training import Training

CHECKPOINT = "checkpoint.pt"
USED_ELSEWHERE = ("features", "model")  # the sections that another corpus needs to be run through the network


def work(job: Job, unit: str) -> None:
    """Train from the last checkpoint, if there is one, to the end."""
    import torch

    from steps.nnet.models import num_parameters

    settings: Train = job.settings.train
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    _check_dev(job)
    data = _training_set(job)
    device = _device(settings.device)
    training, batches_of = _start(job, data, device)
    job.log.info(
        "%d utterances of %d speakers, %d updates an epoch, %d parameters, %s",
        len(data.utterances), len(data.speakers), training.steps_per_epoch, num_parameters(training.model), _how(training),
    )  # fmt: skip
    if (job.out / CHECKPOINT).is_file():
        from steps.nnet import checkpoint

        try:
            training.load_state_dict(checkpoint.load(job.out / CHECKPOINT))
        except ValueError as error:
            raise RecipeError(f"{job.out / CHECKPOINT}: {error}; go on on the machine where it was begun, or delete it") from None
        job.log.info("resuming at epoch %d, update %d of it", training.epoch, training.step)
    while not training.should_stop():
        _train_epoch(job, training, data, batches_of(training.epoch))
    _finish(job, training, data.speakers)


def _training_set(job: Job):
    from steps.examples.training_set import TrainingSet

    s = job.settings
    if s.augment.mode == "online" and getattr(s.features, "vad", "none") != "none":
        raise RecipeError(
            f"augment.mode = 'online' with features.vad = {s.features.vad!r}: the VAD of whole utterances is unknown to a crop "
            'that is augmented in training; set features.vad = "none", or augment.mode = "copies"'
        )
    data = TrainingSet.open(
        manifests=job.input("manifests"), features=job.input("features"), augmented=job.input("augmented"), settings=s
    )
    if data.num_left_out:
        job.log.info(
            "%d speakers have fewer than train.min_utterances = %d utterances and are left out, %d stay",
            data.num_left_out, s.train.min_utterances, data.num_people,
        )  # fmt: skip
    return data


def _check_dev(job: Job) -> None:
    s: Train = job.settings.train
    if (s.patience or s.average_of == "best") and not _dev_trials(job).is_file():
        raise RecipeError(
            f"{_dev_trials(job)}: there are no trials of held-out training speakers, which train.patience and "
            "train.average_of = 'best' look at; set prepare.dev_speakers, or patience = 0 and average_of = 'last'"
        )


def _dev_trials(job: Job) -> Path:
    return job.input("manifests") / "calibration" / "dev.txt"


def _device(name: str) -> "torch.device":
    from steps.nnet.precision import chosen_device

    try:
        return chosen_device(name)
    except ValueError as error:
        raise RecipeError(f"train.{error}; set train.device = cpu") from None


def _start(job: Job, data: Any, device: "torch.device"):
    """A run at its first update, and the function epoch -> its batches."""
    import torch

    from steps.data.sampling import epoch_batches
    from steps.nnet.models import build_head
    from steps.nnet.models import build_model
    from steps.nnet.training import Training

    s: Train = job.settings.train
    min_frames, max_frames = (data.frames_of(seconds) for seconds in (s.min_crop, s.max_crop))
    torch.manual_seed(seed_of(s.seed, "weights") % 2**63)
    model = build_model(job.settings.model, job.settings.features.num_bins)
    if min_frames < model.min_frames:
        raise RecipeError(f"train.min_crop = {s.min_crop} s: {min_frames} frames; the network needs at least {model.min_frames}")
    head = build_head(job.settings.head, model.classifier_dim, len(data.speakers))

    def batches_of(epoch: int) -> list:
        return epoch_batches(
            seed=s.seed, epoch=epoch, labels=data.labels, sampling=s.sampling, examples_per_epoch=s.examples_per_epoch,
            batch_size=s.batch_size, min_frames=min_frames, max_frames=max_frames,
        )  # fmt: skip

    training = Training(s, model, head, steps_per_epoch=len(batches_of(1)), device=device)
    return training, batches_of


def _how(training: "Training") -> str:
    from steps.nnet.precision import chosen_precision

    precision = chosen_precision(training.device, training.settings.precision)
    return f"{training.device}, {precision}{', compiled' if training.settings.compile else ''}"


def _train_epoch(job: Job, training: "Training", data: Any, batches: list) -> None:
    """The rest of one epoch, its dev EER, its record and its weights."""
    from steps.nnet import checkpoint

    saved, rest = time.monotonic(), batches[training.step :]
    loader = data.loader(rest, job.settings.train.workers)
    for feats_BTF, labels_B in progress(loader, title=f"epoch {training.epoch}", total=len(rest), logger=job.log):
        try:
            training.train_batch(feats_BTF, labels_B)
        except FloatingPointError as error:
            raise RecipeError(f"{error}; lower train.learning_rate, or set train.max_gradient_norm") from None
        if time.monotonic() - saved > job.settings.train.checkpoint_seconds:
            checkpoint.save(job.out / CHECKPOINT, training.state_dict())
            saved = time.monotonic()
    record = training.end_epoch(_dev_eer(job, training))
    (job.out / "epochs").mkdir(exist_ok=True)
    checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.safetensors", training.model)
    checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.head.safetensors", training.head)
    checkpoint.save(job.out / CHECKPOINT, training.state_dict())
    _write_log(job.out, training.history)
    _write_tensorboard(job.out / "tensorboard", record)
    job.log.info(
        "epoch %d of %d: loss %.3f, accuracy %.1f %%, dev EER %s, learning rate %.2g, margin %.2f, %.0f s",
        record["epoch"], training.settings.epochs, record["loss"], 100 * record["accuracy"],
        "-" if record["dev_eer"] is None else f"{100 * record['dev_eer']:.2f} %",
        record["learning_rate"], record["margin"], record["seconds"],
    )  # fmt: skip


def _dev_eer(job: Job, training: "Training") -> float | None:
    """EER of mean-subtracted cosine scores on trials of held-out training speakers; None if the corpus has none."""
    import numpy as np

    from steps.backend.cosine import cosine_pairs
    from steps.data.archive import Archive
    from steps.data.trials import read_trials
    from steps.metrics.error_rates import eer
    from steps.nnet.inference import embed, length_batches

    if not _dev_trials(job).is_file():
        return None
    trials = read_trials(_dev_trials(job))
    archive = Archive(job.input("features") / "dev")
    ids = archive.ids
    embeddings_ND = np.zeros((len(ids), training.model.embedding_dim))
    batches = length_batches([archive.num_rows(name) for name in ids])
    load = lambda index: archive.load(ids[index])  # noqa: E731
    for row, embedding_D in embed(training.model, batches, load, device=training.device, autocast=training.autocast):
        embeddings_ND[row] = embedding_D
    place = {name: row for row, name in enumerate(ids)}
    enrol, test = ([place[name] for name in names] for names in (trials.enrol_ids, trials.test_ids))
    scores = cosine_pairs(embeddings_ND - embeddings_ND.mean(axis=0), enrol, test)
    return float(eer(scores[trials.is_target], scores[~trials.is_target]))


def _write_log(folder: Path, history: list[dict[str, Any]]) -> None:
    with files.atomic_write(folder / "log.jsonl") as file:
        file.writelines(json.dumps(record) + "\n" for record in history)


def _finish(job: Job, training: "Training", speakers: list[str]) -> None:
    from steps.nnet import checkpoint
    from steps.nnet.models import num_parameters

    chosen = training.epochs_to_average()
    for name, module in (("model", training.model), ("head", training.head)):
        suffix = "" if name == "model" else ".head"
        states = [_weights(job.out / "epochs" / f"{epoch:04d}{suffix}.safetensors") for epoch in chosen]
        module.load_state_dict(checkpoint.average(states))
        checkpoint.save_model(job.out / f"{name}.safetensors", module)
    _write_log(job.out, training.history)
    with files.atomic_write(job.out / "speakers") as file:
        file.writelines(f"{speaker}\n" for speaker in speakers)
    tables = {name: config.deciding(getattr(job.settings, name)) for name in USED_ELSEWHERE}
    with files.atomic_write(job.out / "settings.toml") as file:
        file.write(config.to_toml(tables))
    files.write_json(
        job.out / "training.json",
        {
            "epochs_averaged": chosen, "num_parameters": num_parameters(training.model), "num_speakers": len(speakers),
            "train_seconds": round(training.seconds, 1), "how": _how(training),
        },
    )  # fmt: skip


def _weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def _write_tensorboard(folder: Path, record: dict[str, Any]) -> None:
    """One event file per epoch: a run that is killed leaves whole ones, and its successor writes no step twice."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=record["epoch"]) as writer:
        for name, value in record.items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, value, record["epoch"])


def merge(job: Job, units: dict[str, Path]) -> None:
    """The finished files; checkpoints stay behind."""
    from steps.core.stage import place, place_tree

    for folder in units.values():
        for name in (
            "model.safetensors",
            "head.safetensors",
            "speakers",
            "settings.toml",
            "log.jsonl",
            "training.json",
        ):
            place(folder / name, job.out / name)
        place_tree(folder / "tensorboard", job.out / "tensorboard")


def _threads(settings: SimpleNamespace) -> int:
    return settings.train.threads


STAGE = Stage(
    name="train",
    version=1,
    sections={
        "features": FEATURES, "augment": Augment, "specaugment": SpecAugment, "model": MODEL_SETTINGS,
        "head": HEAD_SETTINGS, "train": Train,
    },
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="features", help="the output of stage 2"),
        Input(name="augmented", help="the output of stage 3"),
    ),
    outputs=("model.safetensors", "head.safetensors", "speakers", "settings.toml"),
    work=work,
    merge=merge,
    resumes=True,
    threads=_threads,
)  # fmt: skip

if __name__ == "__main__":
    STAGE.main()
