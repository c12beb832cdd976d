"""Stage 6: embeddings become scores and figures.

Reads manifests (trial lists, utt2spk), embeddings, and with `--backend DIR` the output of this stage for another corpus,
whose fitted back end and calibration are then used instead of fitting them on this corpus's training set.
Writes <trial list>.txt (raw scores), llr/<trial list>.txt (calibrated), calibration/dev.txt (scores of the trials that the
calibration was fitted on), backend.safetensors, calibration.json, result.json, plots/.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steps.backend.settings import Score
from steps.core import config, files
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage
from steps.results.settings import System

if TYPE_CHECKING:
    from steps.backend.calibration import LinearCalibration
    from steps.backend.scorer import Scorer
    from steps.data.trials import Trials


@dataclass
class Embeddings:
    """Embeddings of a set, and the row of each utterance."""

    ids: list[str]
    matrix_ND: np.ndarray

    def __post_init__(self) -> None:
        self.row = {name: row for row, name in enumerate(self.ids)}


def work(job: Job, unit: str) -> None:
    """Fit or load the back end, score every list, compute every figure."""
    from steps.results.figures import list_figures, one_line
    from steps.results.record import write_result

    began = time.monotonic()
    scorer, source = _scorer(job)
    calibration = _calibration(job, scorer, source)
    test = _read(job, "test")
    lists = sorted((job.input("manifests") / "trials").glob("*.txt"))
    if not lists:
        raise RecipeError(f"{job.input('manifests') / 'trials'}: no trial list; see the settings of [prepare] that make some")
    utt2spk = _speakers(job)
    figures = {}
    for path in lists:
        trials, scores, num_missing = _score_list(job, scorer, test, path)
        llrs = None if calibration is None else _llrs(job, path.stem, trials, scores, calibration)
        figures[path.stem] = list_figures(
            path.stem, trials, scores, llrs, utt2spk, settings=job.settings.score, plots=job.out / "plots"
        ) | {"num_missing": num_missing}
        job.log.info("%s: %s", path.stem, one_line(figures[path.stem]))
    model = files.read_json(job.input("embeddings") / "model.json")
    tables = {"embed": model["embed"]} if "embed" in model else {}
    with files.atomic_write(job.out / "settings.toml") as file:  # for whoever tries this back end on another corpus
        file.write(config.to_toml({**tables, "score": config.deciding(job.settings.score)}))
    write_result(
        job.out, job.input("manifests"), system=job.settings.system.name, backend=job.settings.score.text, figures=figures,
        model=model, fingerprint=job.fingerprint, seconds=time.monotonic() - began,
    )  # fmt: skip


def _read(job: Job, set_name: str) -> Embeddings:
    from steps.data.archive import read_embeddings

    return Embeddings(*read_embeddings(job.input("embeddings") / set_name))


def _speakers(job: Job) -> dict[str, str]:
    from steps.data.manifests import read_utt2spk

    return read_utt2spk(job.input("manifests") / "utt2spk")


def _scorer(job: Job) -> tuple["Scorer", Path | None]:
    """The fitted back end, and the folder it came from if it was not fitted here."""
    from steps.backend.scorer import Scorer
    from steps.data.archive import load_arrays

    head = job.input("embeddings") / "pair_head.json"
    try:
        scorer = Scorer(job.settings.score, files.read_json(head) if head.is_file() else None)
    except ValueError as error:
        raise RecipeError(f"[score]: {error}") from None
    elsewhere = job.inputs["backend"]
    if elsewhere is not None:
        try:
            return scorer.load(load_arrays(elsewhere / "backend.safetensors")), elsewhere
        except ValueError as error:
            raise RecipeError(f"--backend {elsewhere}: {error}; use the [score] of its settings.toml") from None
    if scorer.needs_training:
        if not (job.input("embeddings") / "train").is_dir():
            raise RecipeError(
                f"{job.input('embeddings')}: no embeddings of a training set, which score.transforms, score.backend or "
                "score.norm need; give --backend DIR (the scores folder of the corpus the model was trained on), or set "
                "score.transforms=[], score.backend=cosine and score.norm=none"
            )
        train, utt2spk = _read(job, "train"), _speakers(job)
        speakers = np.array([utt2spk[name] for name in train.ids])
        try:
            scorer.fit(train.matrix_ND, speakers)
        except ValueError as error:
            raise RecipeError(f"[score]: {error}") from None
    from steps.data.archive import save_arrays

    save_arrays(job.out / "backend.safetensors", scorer.state())
    return scorer, None


def _calibration(job: Job, scorer: "Scorer", elsewhere: Path | None) -> "LinearCalibration | None":
    """The calibration, fitted on trials of held-out training speakers or taken from elsewhere; None without."""
    from steps.backend.calibration import LinearCalibration

    s = job.settings.score
    calibration = LinearCalibration(s.calibration_prior)
    if not s.calibrate:
        return None
    if elsewhere is not None:
        if not (elsewhere / "calibration.json").is_file():
            return None
        known = files.read_json(elsewhere / "calibration.json")
        calibration.scale_, calibration.offset_ = known["scale"], known["offset"]
        return calibration
    path = job.input("manifests") / "calibration" / "dev.txt"
    if not path.is_file():
        raise RecipeError(
            f"{path}: there are no trials of held-out training speakers to calibrate on; "
            "set prepare.dev_speakers, or score.calibrate = false (then actDCF and Cllr stay empty)"
        )
    trials, scores, _ = _score_list(job, scorer, _read(job, "dev"), path)
    calibration.fit(scores, trials.is_target)
    write = {
        "scale": calibration.scale_,
        "offset": calibration.offset_,
        "prior": s.calibration_prior,
        "num_trials": len(trials),
    }
    files.write_json(job.out / "calibration.json", write)
    return calibration


def _score_list(job: Job, scorer: "Scorer", embeddings: Embeddings, path: Path) -> tuple["Trials", np.ndarray, int]:
    """The scored trials of a list, their scores as the file holds them, and the number of trials left out."""
    from steps.data.trials import Trials, read_scores, read_trials, write_scores

    trials = read_trials(path)
    known = np.array(
        [a in embeddings.row and b in embeddings.row for a, b in zip(trials.enrol_ids, trials.test_ids, strict=True)]
    )
    num_missing = int((~known).sum())
    if num_missing:
        _refuse_missing(job, path, trials, embeddings, known)
        kept = np.flatnonzero(known)
        trials = Trials([trials.enrol_ids[i] for i in kept], [trials.test_ids[i] for i in kept], trials.is_target[kept])
    enrol_P, test_P = (np.array([embeddings.row[name] for name in side]) for side in (trials.enrol_ids, trials.test_ids))
    try:
        scores = scorer.score(embeddings.matrix_ND, enrol_P, test_P)
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None
    target = job.out / path.name if path.parent.name == "trials" else job.out / "calibration" / path.name
    target.parent.mkdir(exist_ok=True)
    write_scores(target, trials.enrol_ids, trials.test_ids, scores)
    # Figures are those of the written scores, so that whoever reads the file finds the same.
    return trials, read_scores(target)[2], num_missing


def _refuse_missing(job: Job, path: Path, trials: "Trials", embeddings: Embeddings, known: np.ndarray) -> None:
    first = int((~known).argmax())
    pair = (trials.enrol_ids[first], trials.test_ids[first])
    name, side = next((n, s) for n, s in zip(pair, ("enrolment", "test"), strict=True) if n not in embeddings.row)
    if not job.settings.score.allow_missing or not known.any():
        raise RecipeError(
            f"{path}:{first + 1}: {side} utterance '{name}' has no embedding in {job.input('embeddings')} ({len(known)} "
            f"trials, {int((~known).sum())} missing); run stage 5, or set score.allow_missing = true"
        )
    job.log.warning("%s: %d of %d trials have no embedding and are left out", path, (~known).sum(), len(known))


def _llrs(job: Job, name: str, trials: "Trials", scores: np.ndarray, calibration: "LinearCalibration") -> np.ndarray:
    """The calibrated scores of a list, as the file that this writes holds them."""
    from steps.data.trials import read_scores, write_scores

    path = job.out / "llr" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    write_scores(path, trials.enrol_ids, trials.test_ids, calibration.transform(scores))
    return read_scores(path)[2]


STAGE = Stage(
    name="score",
    version=1,
    sections={"system": System, "score": Score},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="embeddings", help="the output of stage 5"),
        Input(name="backend", required=False, help="the output of this stage for the corpus that the model was trained on"),
    ),
    outputs=("*.txt", "settings.toml", "result.json"),
    optional=("llr/*.txt", "calibration/*.txt", "backend.safetensors", "calibration.json"),
    work=work,
)

if __name__ == "__main__":
    STAGE.main()
