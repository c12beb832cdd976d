"""Stage 4: train a network, or an i-vector extractor.

Reads manifests (labels, dev trials), features, the copies or the bank of stage 3, and with train.init the trained network
to begin with.
Writes model.safetensors (network), head.safetensors (not of an i-vector extractor), speakers (class index -> speaker id),
settings.toml (all that stages 2 and 5 need to use the network elsewhere), pair_head.json (of a siamese network), log.jsonl
(one record per epoch, or EM iteration), training.json, tensorboard/.

On the way it keeps in its work folder: checkpoint.pt (everything, so that a killed run goes on to the same bytes) and
epochs/ (the weights of each finished epoch, for averaging).
"""

import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from steps.core import config, files
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.log import configure, progress
from steps.core.rng import seed_of
from steps.core.stage import Input, Job, Stage
from steps.monitor.agreement import check_together
from steps.nnet.settings import HEAD_SETTINGS, MODEL_SETTINGS
from steps.nnet.train_settings import Train
from steps.signal.settings import FEATURES, Augment, SpecAugment

if TYPE_CHECKING:
    import torch

    from steps.monitor.batches import EpochBatches
    from steps.nnet.training import Training

CHECKPOINT = "checkpoint.pt"
HEAD = "head.safetensors"  # of all that are trained by gradients
PAIR_HEAD = "pair_head.json"  # of a siamese network: how two embeddings become a score


def work(job: Job, unit: str) -> None:
    """Train from the last checkpoint, if there is one, to the end."""
    import torch

    from steps.nnet.models import num_parameters

    settings: Train = job.settings.train
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    _check(job)
    data = _training_set(job)
    if settings.method == "em":
        from steps.monitor.extractor import train_extractor

        train_extractor(job, data, _device(settings.device))
        return
    training, batches_of = _start(job, data)
    job.log.info(
        "%d utterances of %d speakers, %d updates an epoch, %d parameters, %s",
        len(data.utterances), len(data.speakers), training.steps_per_epoch, num_parameters(training.model), _how(training),
    )  # fmt: skip
    if (job.out / CHECKPOINT).is_file():
        from steps.nnet import checkpoint

        try:
            state = checkpoint.load(job.out / CHECKPOINT)
            training.load_state_dict(state)
            batches_of.load_state_dict(state)
        except ValueError as error:
            raise RecipeError(f"{job.out / CHECKPOINT}: {error}; go on on the machine where it was begun, or delete it") from None
        job.log.info("resuming at epoch %d, update %d of it", training.epoch, training.step)
    while not training.should_stop():
        _train_epoch(job, training, data, batches_of)
    _finish(job, training, data.speakers)


def _training_set(job: Job):
    from steps.examples.training_set import TrainingSet

    s = job.settings
    data = TrainingSet.open(
        manifests=job.input("manifests"), features=job.input("features"), augmented=job.input("augmented"), settings=s
    )
    if data.num_left_out:
        job.log.info(
            "%d speakers have fewer than train.min_utterances = %d utterances and are left out, %d stay",
            data.num_left_out, s.train.min_utterances, data.num_people,
        )  # fmt: skip
    return data


def _check(job: Job) -> None:
    """Raises RecipeError for settings that do not go together."""
    from steps.monitor.dev import dev_trials, one_shot_tasks

    check_together(job.settings)
    s: Train = job.settings.train
    path = dev_trials(job.input("manifests"))
    monitored = s.patience or s.average_of == "best" or s.decay == "plateau" or s.monitor == "one_shot"
    if monitored and not path.is_file():
        raise RecipeError(
            f"{path}: there are no trials of held-out training speakers, which train.patience, train.average_of = 'best', "
            "train.decay = 'plateau' and train.monitor = 'one_shot' look at; set prepare.dev_speakers, or do without these"
        )
    if s.monitor == "one_shot":
        try:
            one_shot_tasks(s, job.input("manifests"))
        except ValueError as error:
            raise RecipeError(f"train.monitor = 'one_shot': {error}; hold out more (prepare.dev_speakers)") from None
    if bool(s.init) != (job.inputs["init"] is not None):
        raise RecipeError(
            f"train.init = {s.init!r}: expected --init DIR (the model folder of that system) exactly if a system is named"
        )


def _device(name: str) -> "torch.device":
    from steps.nnet.precision import chosen_device

    try:
        return chosen_device(name)
    except ValueError as error:
        raise RecipeError(f"train.{error}; set train.device = cpu") from None


def _start(job: Job, data: Any) -> tuple["Training", "EpochBatches"]:
    """A run at its first update, and the function that gives the batches of the epoch under way."""
    import torch

    from steps.monitor.batches import EpochBatches
    from steps.nnet.models import build_head, build_model
    from steps.nnet.training import Training

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
    return Training(s, model, head, steps_per_epoch=batches_of.steps_per_epoch, device=_device(s.device)), batches_of


def _begin_with(job: Job, model: Any, head: Any, speakers: list[str]) -> None:
    """Fill the network, and with train.init_head the head, from the trained system that train.init names."""
    from steps.nnet import checkpoint
    from steps.nnet.transfer import freeze, transfer

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


def _how(training: "Training") -> str:
    from steps.nnet.precision import chosen_precision

    precision = chosen_precision(training.device, training.settings.precision)
    return f"{training.device}, {precision}{', compiled' if training.settings.compile else ''}"


def _train_epoch(job: Job, training: "Training", data: Any, batches_of: "EpochBatches") -> None:
    """The rest of one epoch, its dev EER, its record, its weights and what is trained on in the next."""
    from steps.examples.training_set import seconds_of
    from steps.monitor.dev import dev_figures
    from steps.monitor.trained import write_log, write_tensorboard
    from steps.nnet import checkpoint
    from steps.nnet.inference import BATCH_SECONDS

    batches = batches_of(training)
    training.steps_per_epoch = len(batches)  # of a pool that grows; otherwise always the same
    saved, rest = time.monotonic(), batches[training.step :]
    loader = data.loader(rest, job.settings.train.workers)
    shown = progress(loader, title=f"epoch {training.epoch}", total=len(rest), logger=job.log)
    for batch, (feats_BTF, labels_B) in zip(rest, shown, strict=True):
        try:
            training.train_batch(feats_BTF, labels_B)
        except FloatingPointError as error:
            raise RecipeError(
                f"{error}, which learnt from {_names(data, batch)}; the last good state is kept in {job.out / CHECKPOINT} and "
                "epochs/: lower train.learning_rate, or set train.max_gradient_norm"
            ) from None
        except ValueError as error:
            raise RecipeError(f"update {training.update} of epoch {training.epoch}: {error}") from None
        if time.monotonic() - saved > job.settings.train.checkpoint_seconds:
            checkpoint.save(job.out / CHECKPOINT, training.state_dict() | batches_of.state_dict())
            saved = time.monotonic()
    figures = dev_figures(training, job.input("manifests"), job.input("features"), data.frames_of(BATCH_SECONDS))
    facts = {"seconds_seen": seconds_of(job.settings.features, training.frames_seen)}
    if batches_of.pool is not None:
        facts |= batches_of.pool.facts()
    record = training.end_epoch(**{"dev_eer": None} | figures | facts)
    _grow(job, training, batches_of, record["epoch"])
    (job.out / "epochs").mkdir(exist_ok=True)
    checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.safetensors", training.model)
    checkpoint.save_model(job.out / "epochs" / f"{record['epoch']:04d}.head.safetensors", training.head)
    checkpoint.save(job.out / CHECKPOINT, training.state_dict() | batches_of.state_dict())
    write_log(job.out, training.history)
    write_tensorboard(job.out / "tensorboard", record)
    job.log.info(
        "epoch %d of %d: loss %.3f, accuracy %.1f %%, dev EER %s, learning rate %.2g, margin %.2f, %.0f s",
        record["epoch"], training.settings.epochs, record["loss"], 100 * record["accuracy"],
        "-" if record["dev_eer"] is None else f"{100 * record['dev_eer']:.2f} %",
        record["learning_rate"], record["margin"], record["seconds"],
    )  # fmt: skip


def _grow(job: Job, training: "Training", batches_of: "EpochBatches", epoch: int) -> None:
    """With active learning, take in more utterances, if another epoch comes."""
    if batches_of.pool is None or training.should_stop():
        return
    try:
        added = batches_of.pool.grow(training, epoch)
    except FloatingPointError as error:
        raise RecipeError(f"{error}; lower train.learning_rate, or set train.max_gradient_norm") from None
    job.log.info("%d utterances taken in, now %d of %d", added, len(batches_of.pool.utterances), len(batches_of.data.utterances))


def _names(data: Any, batch: Any) -> str:
    names = [data.utterances[example.utterance] for example in batch.examples]
    return f"{len(names)} utterances: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"


def _finish(job: Job, training: "Training", speakers: list[str]) -> None:
    from steps.monitor.trained import write_known, write_log
    from steps.nnet import checkpoint
    from steps.nnet.models import num_parameters

    chosen = training.epochs_to_average()
    for name, module in (("model", training.model), ("head", training.head)):
        suffix = "" if name == "model" else ".head"
        states = [_weights(job.out / "epochs" / f"{epoch:04d}{suffix}.safetensors") for epoch in chosen]
        module.load_state_dict(checkpoint.average(states))
        checkpoint.save_model(job.out / f"{name}.safetensors", module)
    if hasattr(training.head, "pair_head"):
        files.write_json(job.out / PAIR_HEAD, training.head.pair_head())
    write_log(job.out, training.history)
    write_known(
        job, speakers, epochs_averaged=chosen, num_parameters=num_parameters(training.model),
        train_seconds=round(training.seconds, 1), how=_how(training),
    )  # fmt: skip


def _weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def merge(job: Job, units: dict[str, Path]) -> None:
    """The finished files; checkpoints stay behind."""
    from steps.core.stage import place, place_tree

    names = ("model.safetensors", "speakers", "settings.toml", "log.jsonl", "training.json")
    for folder in units.values():
        for name in (*names, *(each for each in (HEAD, PAIR_HEAD) if (folder / each).is_file())):
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
        Input(name="init", required=False, help="the output of this stage for the system that train.init names"),
    ),
    outputs=("model.safetensors", "speakers", "settings.toml"),
    optional=(HEAD, PAIR_HEAD),
    work=work,
    merge=merge,
    resumes=True,
    threads=_threads,
)  # fmt: skip


def describe(arguments: list[str]) -> str:
    """The layer table of a system's network, or with --json its sizes; no data is touched.

    Raises:
        RecipeError: settings that are wrong, or a training crop that is too short for the network.
    """
    parser = argparse.ArgumentParser(prog="python -m steps.train", allow_abbrev=False)
    parser.add_argument("--describe", action="store_true", required=True)
    parser.add_argument("--config", action="append", default=[], type=Path, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="assignments")
    parser.add_argument("--json", action="store_true", help="parameters, trainable_without_head, embedding_dim, input")
    parser.add_argument(
        "--speakers", type=int, default=None, metavar="N", help="training speakers (default: recipe.num_speakers)"
    )
    options = parser.parse_args(arguments)
    settings, _ = config.load_settings(STAGE.sections, options.config, options.assignments)
    known = config.load_layers(config.with_site(options.config)).tables.get("recipe", {}).get("num_speakers")
    speakers = options.speakers or known
    from steps.examples.training_set import frames_of
    from steps.nnet.describe import layers_of, table
    from steps.nnet.models import build_head, build_model, num_parameters

    check_together(settings)
    shape = (frames_of(settings.features, settings.train.max_crop), settings.features.num_bins)
    try:
        model = build_model(settings.model, shape[1])
        has_head = speakers and settings.head.type != "none"
        head = num_parameters(build_head(settings.head, model.classifier_dim, speakers)) if has_head else 0
        layers = layers_of(model, *shape)
    except ValueError as error:
        raise RecipeError(f"{', '.join(map(str, options.config))}: {error}") from None
    own = num_parameters(model)
    if options.json:
        sizes = {"parameters": own + head, "trainable_without_head": own, "embedding_dim": model.embedding_dim}
        return json.dumps({**sizes, "input": list(shape), "num_speakers": speakers})
    text = table(layers, num_frames=shape[0], num_bins=shape[1], embedding_dim=model.embedding_dim, total=own)
    counted = f"{head:,} for {speakers:,} speakers" if speakers else "its size depends on the speakers: --speakers N"
    return f"{text}\nhead: none" if settings.head.type == "none" else f"{text}\nhead: {settings.head.type}, {counted}"


def main() -> None:
    """Run the stage, or print what its network is made of."""
    if "--describe" not in sys.argv:
        STAGE.main()
    try:
        print(describe(sys.argv[1:]))
    except RecipeError as error:
        configure("train").error("error: %s", error)
        sys.exit(EXIT_USER)


if __name__ == "__main__":
    main()
