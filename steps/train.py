"""Stage 4: train a network, or an i-vector extractor.

Reads manifests (labels, dev trials), features, the copies or the bank of stage 3, and with train.init the trained network
to begin with.
Writes model.safetensors (network), head.safetensors (not of an i-vector extractor), speakers (class index -> speaker id),
settings.toml (all that stages 2 and 5 need to use the network elsewhere), pair_head.json (of a siamese network), log.jsonl
(one record per epoch, or EM iteration), training.json, tensorboard/.

On the way it keeps in its work folder: checkpoint.pt (everything, so that a killed run goes on to the same bytes), epochs/
(the weights of each finished epoch, for averaging) and ranks/ (the logs of the processes of a training in several).

Told to stop (Ctrl-C, SIGTERM, SIGUSR1) it finishes the update under way, saves, and ends with status 2; a rerun goes on.
"""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from steps.core import config
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.log import configure
from steps.core.stage import Input, Job, Stage
from steps.core.threads import pin_threads
from steps.monitor.agreement import check_together
from steps.nnet.settings import HEAD_SETTINGS, MODEL_SETTINGS
from steps.nnet.train_settings import Train
from steps.signal.settings import FEATURES, Augment, SpecAugment

if TYPE_CHECKING:
    import torch

    from steps.nnet.distributed import World

HEAD = "head.safetensors"  # of all that are trained by gradients
PAIR_HEAD = "pair_head.json"  # of a siamese network: how two embeddings become a score


def work(job: Job, unit: str) -> None:
    """Train from the last checkpoint, if there is one, to the end: here, or in as many processes as train.ranks says."""
    _check(job)
    device = _device(job.settings.train.device)
    _check_precision(job, device)
    if job.settings.train.ranks > 1:
        from steps.monitor.ranks import train_in_ranks

        train_in_ranks(job)
        return
    from steps.nnet.distributed import ALONE

    _train(job, ALONE, device)


def _train(job: Job, world: "World", device: "torch.device") -> None:
    """What one process does."""
    import torch

    settings: Train = job.settings.train
    _check_precision(job, device)  # of each rank, which may be on another host
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    data = _training_set(job)
    if settings.method == "em":
        from steps.monitor.extractor import train_extractor

        train_extractor(job, data, device)
        return
    from steps.monitor.epochs import train_network

    train_network(job, data, world, device)


def _training_set(job: Job):
    from steps.examples.training_set import TrainingSet

    s = job.settings
    data = TrainingSet.open(
        manifests=job.input("manifests"), features=job.input("features"), augmented=job.input("augmented"), settings=s,
        site=job.site,
    )  # fmt: skip
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
            "train.decay = 'plateau' and train.monitor = 'one_shot' look at; hold some out (prepare.dev_speakers), or do without"
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
        raise RecipeError(f"train.{error}; add --set train.device=cpu") from None


def _check_precision(job: Job, device: "torch.device") -> None:
    """Raises RecipeError for a precision that this network cannot have on this hardware."""
    from steps.nnet.models import network_precision

    try:
        network_precision(job.settings.model, device, job.settings.train.precision)
    except ValueError as error:
        raise RecipeError(f"train.{error}; add --set train.precision=float32, or auto") from None


def merge(job: Job, units: dict[str, Path]) -> None:
    """The finished files; checkpoints stay behind."""
    from steps.core.files import place, place_tree

    names = ("model.safetensors", "speakers", "settings.toml", "log.jsonl", "training.json")
    for folder in units.values():
        for name in (*names, *(each for each in (HEAD, PAIR_HEAD) if (folder / each).is_file())):
            place(folder / name, job.out / name)
        place_tree(folder / "tensorboard", job.out / "tensorboard")


def _threads(settings: SimpleNamespace) -> int:
    return settings.train.threads


def _ranks(settings: SimpleNamespace) -> int:
    return settings.train.ranks


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
    ranks=_ranks,
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
    """Run the stage, or be one of its ranks, or print what its network is made of."""
    if sys.argv[1:2] == ["--rank"]:  # started by steps.monitor.ranks, and by nobody else
        pin_threads()
        from steps.monitor.ranks import run_rank

        run_rank(sys.argv[2], STAGE.sections, _train)
    if "--describe" not in sys.argv:
        STAGE.main()
    try:
        print(describe(sys.argv[1:]))
    except RecipeError as error:
        configure("train").error("error: %s", error)
        sys.exit(EXIT_USER)


if __name__ == "__main__":
    main()
