"""Figures of a network on held-out training speakers, between two epochs."""

from pathlib import Path

import numpy as np

from steps.backend.cosine import cosine_pairs
from steps.backend.few_shot import draw_tasks, task_accuracy
from steps.core.rng import generator
from steps.data.archive import Archive
from steps.data.manifests import read_set
from steps.data.trials import read_trials
from steps.metrics.error_rates import eer
from steps.nnet.inference import embed, length_batches
from steps.nnet.training import Training

ONE_SHOT_WAYS = 5  # speakers of a 1-shot task


def dev_trials(manifests: Path) -> Path:
    """Returns where trials of held-out training speakers are, if the corpus has any."""
    return manifests / "calibration" / "dev.txt"


def embeddings_of(training: Training, archive: Archive) -> np.ndarray:
    """Returns embeddings_ND of all utterances of an archive of features, in the order of its ids."""
    ids = archive.ids
    embeddings_ND = np.zeros((len(ids), training.model.embedding_dim))
    batches = length_batches([archive.num_rows(name) for name in ids])
    load = lambda index: archive.load(ids[index])  # noqa: E731
    for row, embedding_D in embed(training.model, batches, load, device=training.device, autocast=training.autocast):
        embeddings_ND[row] = embedding_D
    return embeddings_ND


def dev_figures(training: Training, manifests: Path, features: Path) -> dict[str, float]:
    """Returns `dev_eer` of mean-subtracted cosine scores and, where it is monitored, `dev_one_shot`; nothing without trials."""
    if not dev_trials(manifests).is_file():
        return {}
    archive = Archive(features / "dev")
    embeddings_ND = embeddings_of(training, archive)
    trials = read_trials(dev_trials(manifests))
    place = {name: row for row, name in enumerate(archive.ids)}
    enrol, test = ([place[name] for name in names] for names in (trials.enrol_ids, trials.test_ids))
    scores = cosine_pairs(embeddings_ND - embeddings_ND.mean(axis=0), enrol, test)
    figures = {"dev_eer": float(eer(scores[trials.is_target], scores[~trials.is_target]))}
    if training.settings.monitor == "one_shot":
        figures["dev_one_shot"] = _one_shot(training, manifests, archive.ids, embeddings_ND)
    return figures


def _one_shot(training: Training, manifests: Path, ids: list[str], embeddings_ND: np.ndarray) -> float:
    """Accuracy of 1-shot tasks among five speakers, by Euclidean distance; the same tasks in every epoch."""
    speaker_of = {utterance.id: utterance.speaker for utterance in read_set(manifests, "dev")}
    speakers = np.array([speaker_of[name] for name in ids])
    tasks = draw_tasks(
        generator(training.settings.seed, "one-shot"),
        speakers,
        ways=ONE_SHOT_WAYS,
        shots=1,
        num_tasks=training.settings.one_shot_tasks,
    )
    return task_accuracy(tasks, embeddings_ND, "euclidean")
