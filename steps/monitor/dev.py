"""Figures of a network on held-out training speakers, between two epochs."""

from pathlib import Path

import numpy as np

from steps.backend.cosine import cosine_pairs
from steps.backend.few_shot import Tasks, draw_tasks, task_accuracy
from steps.core.rng import generator
from steps.core.stage import Job
from steps.data.archive import Archive
from steps.data.manifests import read_set
from steps.data.trials import read_trials
from steps.examples.recordings import Features, open_features
from steps.examples.training_set import frames_of
from steps.metrics.error_rates import eer
from steps.nnet.inference import BATCH_SECONDS, embed, length_batches
from steps.nnet.train_settings import Train
from steps.nnet.training import Training


def dev_trials(manifests: Path) -> Path:
    """Returns where trials of held-out training speakers are, if the corpus has any."""
    return manifests / "calibration" / "dev.txt"


def embeddings_of(training: Training, archive: Archive | Features, batch_frames: int) -> np.ndarray:
    """Returns embeddings_ND of all utterances of an archive of features, in the order of its ids."""
    ids = archive.ids
    embeddings_ND = np.zeros((len(ids), training.model.embedding_dim))
    batches = length_batches([archive.num_rows(name) for name in ids], batch_frames)
    load = lambda index: archive.load(ids[index])  # noqa: E731
    for row, embedding_D in embed(training.model, batches, load, device=training.device, autocast=training.autocast):
        embeddings_ND[row] = embedding_D
    return embeddings_ND


def dev_figures(job: Job, training: Training) -> dict[str, float]:
    """Returns `dev_eer` of mean-subtracted cosine scores and, where it is monitored, `dev_one_shot`; nothing without trials.

    Args:
        job: of stage 4.
        training: whose network is judged.
    """
    manifests, features = job.input("manifests"), job.settings.features
    if not dev_trials(manifests).is_file():
        return {}
    archive = open_features(job.input("features") / "dev", features, manifests=manifests, site=job.site)
    embeddings_ND = embeddings_of(training, archive, frames_of(features, BATCH_SECONDS))
    trials = read_trials(dev_trials(manifests))
    place = {name: row for row, name in enumerate(archive.ids)}
    enrol, test = ([place[name] for name in names] for names in (trials.enrol_ids, trials.test_ids))
    scores = cosine_pairs(embeddings_ND - embeddings_ND.mean(axis=0), enrol, test)
    figures = {"dev_eer": float(eer(scores[trials.is_target], scores[~trials.is_target]))}
    if training.settings.monitor == "one_shot":
        figures["dev_one_shot"] = _one_shot(training, manifests, place, embeddings_ND)
    return figures


def one_shot_tasks(settings: Train, manifests: Path) -> tuple[list[str], Tasks]:
    """Returns the held-out utterances and the 1-shot tasks among them, which are the same after every epoch.

    Raises:
        ValueError: there are too few speakers with two utterances.
    """
    held_out = sorted(read_set(manifests, "dev"), key=lambda utterance: utterance.id)
    tasks = draw_tasks(
        generator(settings.seed, "one-shot"), [utterance.speaker for utterance in held_out],
        ways=settings.one_shot_ways, shots=1, num_tasks=settings.one_shot_tasks,
    )  # fmt: skip
    return [utterance.id for utterance in held_out], tasks


def _one_shot(training: Training, manifests: Path, place: dict[str, int], embeddings_ND: np.ndarray) -> float:
    """Accuracy of the 1-shot tasks by Euclidean distance."""
    ids, tasks = one_shot_tasks(training.settings, manifests)
    return task_accuracy(tasks, embeddings_ND[[place[name] for name in ids]], "euclidean")
