"""The run of an i-vector extractor in stage 4: its data, its log, its checkpoints."""

from collections.abc import Iterable
from typing import Any

from steps.core.errors import RecipeError
from steps.core.log import progress
from steps.core.stage import Job
from steps.examples.training_set import TrainingSet
from steps.examples.whole import Chunk, WholeUtterances
from steps.monitor.dev import dev_figures
from steps.monitor.trained import write_known, write_log, write_tensorboard
from steps.nnet import checkpoint
from steps.nnet.ivector.mixture import CHUNK
from steps.nnet.ivector.training import ExtractorTraining
from steps.nnet.models import build_model, num_parameters

CHECKPOINT = "checkpoint.pt"
TITLES = {"begin": "UBM on random frames", "diagonal": "diagonal UBM", "full": "full UBM", "extractor": "extractor"}


def train_extractor(job: Job, data: TrainingSet, device: Any) -> None:
    """EM from the last checkpoint, if there is one, to the end; a checkpoint after each iteration.

    Raises:
        RecipeError: a checkpoint that cannot be read, or too few frames for the model.
    """
    s = job.settings
    model = build_model(s.model, s.features.num_bins)
    title = ""

    def watch(chunks: Iterable[Chunk], num: int) -> Iterable[Chunk]:
        return progress(chunks, title=title, total=num, logger=job.log)

    source = WholeUtterances(
        data, every=s.model.ubm_every, longest=s.model.longest_utterances, chunk_frames=CHUNK[device.type], seed=s.train.seed,
        workers=s.train.workers, watch=watch,
    )  # fmt: skip
    training = ExtractorTraining(s.train, model, s.model, source, device)
    job.log.info(
        "%d utterances of %d speakers, %d frames; extractor: %d utterances; %d parameters, %s",
        len(data.utterances), len(data.speakers), sum(source.num_frames.values()), len(source.longest),
        num_parameters(model), device,
    )  # fmt: skip
    if (job.out / CHECKPOINT).is_file():
        try:
            training.load_state_dict(checkpoint.load(job.out / CHECKPOINT))
        except ValueError as error:
            raise RecipeError(f"{job.out / CHECKPOINT}: {error}; delete it to begin again") from None
        job.log.info("resuming after %d of %d iterations", training.done, len(training.plan))
    while not training.is_done:
        phase, number = training.next()
        title = f"{TITLES[phase]} {number}"
        _iterate(job, training, data)
    checkpoint.save_model(job.out / "model.safetensors", model)
    write_log(job.out, training.history)
    write_known(
        job, data.speakers, num_parameters=num_parameters(model), train_seconds=round(training.seconds, 1), how=f"{device}, EM",
    )  # fmt: skip


def _iterate(job: Job, training: ExtractorTraining, data: TrainingSet) -> None:
    """One iteration, its dev EER, its record and its checkpoint."""
    try:
        record = training.iterate()
    except ValueError as error:
        raise RecipeError(f"{error}; set [model] to a smaller one, or train on more speech") from None
    figures: dict[str, float] = {}
    if record["phase"] == "extractor":
        figures = dev_figures(job, training)
    record |= {"dev_eer": None} | figures
    checkpoint.save(job.out / CHECKPOINT, training.state_dict())
    write_log(job.out, training.history)
    write_tensorboard(job.out / "tensorboard", record)
    eer = record["dev_eer"]
    job.log.info(
        "%s, iteration %d: %d Gaussians, log-likelihood %.4f a frame over %d frames%s, %.0f s",
        TITLES[record["phase"]], record["iteration"], record["num_gaussians"], record["log_likelihood"], record["num_frames"],
        "" if eer is None else f", dev EER (cosine) {100 * eer:.2f} %", record["seconds"],
    )  # fmt: skip
