"""Stage 6: embeddings become scores and figures.

Reads manifests (trial lists, enrolment, lists of items to cluster and of speakers to identify, utt2spk), embeddings, and with
`--backend DIR` the output of this stage for another corpus, whose fitted back end and calibration are then used instead of
fitting them on this corpus's training set.
Writes <trial list>.txt (raw scores), llr/<trial list>.txt (calibrated), calibration/dev.txt (scores of trials of held-out
training speakers), backend.safetensors, calibration.json (fitted on these), threshold.json (best on these), gender.txt,
result.json, plots/.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.backend.settings import Score
from steps.core import config, files
from steps.core.errors import RecipeError
from steps.core.parts import finished_name
from steps.core.rng import generator
from steps.core.stage import Input, Job, Stage
from steps.results.settings import System, TaskSettings

if TYPE_CHECKING:
    from steps.backend.scorer import Scorer
    from steps.results.verification import Decisions
    from steps.scoring.calibrate import Calibrator
    from steps.scoring.embedded import Embedded
    from steps.scoring.lists import TrialRows


# Settings that may differ from those that a back end was fitted with: they decide no score of a pair of utterances and no LLR.
_OF_FIGURES = ("enrolment", "calibrate", "priors", "pictures", "allow_missing", "replicates", "seed", "predict_gender")
LEAST_SHOWN = 3  # points, of which t-SNE and two principal components can be made


def work(job: Job, unit: str) -> None:
    """Fit or load the back end, score every list, compute every figure."""
    from steps.results.record import write_result

    began, s = time.monotonic(), job.settings.score
    scorer, source, apart = _scorer(job)
    held_out = None if source is not None else _held_out(job, scorer, apart)
    calibrator, decisions = _calibrator(job, scorer, source, held_out), _decisions(job, source, held_out)
    test = _read(job, "test")
    figures = _lists(job, scorer, calibrator, decisions, test)
    tasks = _tasks(job, scorer, test) if job.settings.tasks.run else {}
    if s.predict_gender:
        _write_genders(job, test)
    model = files.read_json(job.input("embeddings") / "model.json")
    tables = {"embed": model["embed"]} if "embed" in model else {}
    with files.atomic_write(job.out / "settings.toml") as file:  # for whoever tries this back end on another corpus
        file.write(config.to_toml({**tables, "score": config.deciding(s)}))
    write_result(
        job.out, job.input("manifests"), system=job.settings.system.name, backend=s.text, figures=figures, tasks=tasks,
        model=model, fingerprint=job.fingerprint, seconds=time.monotonic() - began,
    )  # fmt: skip


def _lists(
    job: Job, scorer: "Scorer", calibrator: "Calibrator | None", decisions: "Decisions", test: "Embedded"
) -> dict[str, Any]:
    """Score every trial list; its figures by name."""
    from steps.results.figures import list_figures, one_line

    lists = sorted((job.input("manifests") / "trials").glob("*.txt"))
    if not lists:
        raise RecipeError(f"{job.input('manifests') / 'trials'}: no trial list; see the settings of [prepare] that make some")
    utt2spk, figures = _speakers(job), {}
    for path in lists:
        rows = _rows(job, test, path, utt2spk)
        scores = _write_scores(job.out / path.name, rows, _scored(scorer, test, rows))
        llrs = None
        if calibrator is not None:
            llrs = _write_scores(job.out / "llr" / path.name, rows, calibrator.transform(rows, scores, test, "test"))
        figures[path.stem] = list_figures(
            path.stem, rows.trials, scores, llrs, utt2spk | rows.speakers, settings=job.settings.score, plots=job.out / "plots",
            decisions=decisions,
        ) | {"num_missing": rows.num_missing}  # fmt: skip
        if "pictures" in job.settings.tasks.run and "no_figures" not in figures[path.stem]:
            _draw_trials(job, scorer, test, rows, scores)
        job.log.info("%s: %s", path.stem, one_line(figures[path.stem], finished_name(job.out) / path.name))
    return figures


def _read(job: Job, set_name: str) -> "Embedded":
    from steps.scoring.embedded import read_embedded

    s = job.settings.score
    return read_embedded(job.input("embeddings") / set_name, windows=s.needs_windows)


def _speakers(job: Job) -> dict[str, str]:
    from steps.data.manifests import read_utt2spk

    return read_utt2spk(job.input("manifests") / "utt2spk")


def _labels(job: Job, embedded: "Embedded") -> np.ndarray:
    utt2spk = _speakers(job)
    return np.array([utt2spk[name] for name in embedded.ids])


def _scorer(job: Job) -> tuple["Scorer", Path | None, set[str]]:
    """The fitted back end, the folder it came from if it was not fitted here, and dev speakers that it was fitted on."""
    from steps.backend.scorer import Scorer
    from steps.data.archive import load_arrays, save_arrays

    s, head = job.settings.score, job.input("embeddings") / "pair_head.json"
    elsewhere, apart = job.inputs["backend"], set()
    try:
        scorer = Scorer(s, files.read_json(head) if head.is_file() else None, threads=len(os.sched_getaffinity(0)))
    except ValueError as error:
        raise RecipeError(f"[score]: {error}") from None
    if elsewhere is not None:
        _check_same_scoring(s, elsewhere)
        try:
            return scorer.load(load_arrays(elsewhere / "backend.safetensors")), elsewhere, apart
        except ValueError as error:
            raise RecipeError(f"--backend {elsewhere}: {error}; use the [score] of its settings.toml") from None
    try:
        if scorer.needs_training:
            train = _training_set(job, "train")
            in_domain = None if s.adaptation == "none" else _training_set(job, s.adaptation_set).vectors()
            scorer.fit(train.vectors(), _labels(job, train), in_domain=in_domain)
        if s.backend == "learned":
            apart = _fit_learned(job, scorer)
    except ValueError as error:
        raise RecipeError(f"[score]: {error}") from None
    for note in scorer.notes():
        job.log.warning("%s", note)
    save_arrays(job.out / "backend.safetensors", scorer.state())
    return scorer, None, apart


def _check_same_scoring(settings: Score, elsewhere: Path) -> None:
    """Refuse to use a fitted back end and its calibration under other settings than they were fitted with."""
    there = config.deciding(config.build("score", Score, config.load_layers([elsewhere / "settings.toml"])))
    here = config.deciding(settings)
    changed = [f"score.{key}: {there[key]} -> {here[key]}" for key in here if key not in _OF_FIGURES and here[key] != there[key]]
    if changed:
        raise RecipeError(
            f"--backend {elsewhere}: was fitted with other settings: {'; '.join(changed)}; use the [score] of its settings.toml, "
            "or score without --backend"
        )


def _training_set(job: Job, name: str) -> "Embedded":
    if not (job.input("embeddings") / name).is_dir():
        raise RecipeError(
            f"{job.input('embeddings')}: no embeddings of the set '{name}', which score.transforms, score.backend, score.norm or "
            "score.adaptation need; put the folder scores of the corpus that the model was trained on beside the folder "
            "model (or give it with --backend DIR), or add --set 'score.transforms=[]' --set score.backend=cosine "
            "--set score.norm=none"
        )
    return _read(job, name)


def _fit_learned(job: Job, scorer: "Scorer") -> set[str]:
    """Train the scorer of pairs; return the speakers that the calibration must do without."""
    s = job.settings.score
    known = _training_set(job, s.learned_set)
    speakers_N, apart = _labels(job, known), set()
    if s.learned_set == "dev":
        names = np.unique(speakers_N)
        apart = set(generator(s.seed, "learned").permutation(names)[: max(2, round(s.learned_share * names.size))].tolist())
        rows = np.flatnonzero(np.isin(speakers_N, sorted(apart)))
        known, speakers_N = known.part(rows), speakers_N[rows]
    scorer.fit_learned(known.items, speakers_N)
    return apart


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Trials of held-out training speakers, and their scores."""

    dev: "Embedded"
    rows: "TrialRows"
    scores: np.ndarray


def _held_out(job: Job, scorer: "Scorer", apart: set[str]) -> HeldOut | None:
    """The scored dev trials, without those of speakers that the back end was fitted on; None where there are none."""
    path = job.input("manifests") / "calibration" / "dev.txt"
    if not path.is_file():
        return None
    dev, utt2spk = _read(job, "dev"), _speakers(job)
    rows = _rows(job, dev, path, utt2spk)
    if apart:  # a fusion is trained on these scores too, and must not hear whom the back end has heard
        of_apart = np.array([utt2spk[name] in apart for name in rows.trials.ids])
        rows = rows.taken(~(of_apart[rows.trials.enrol_P] | of_apart[rows.trials.test_P]))
    return HeldOut(dev, rows, _write_scores(job.out / "calibration" / path.name, rows, _scored(scorer, dev, rows)))


def _decisions(job: Job, elsewhere: Path | None, held_out: HeldOut | None) -> "Decisions":
    """What decides about trials: the threshold that is best on held-out trials, or is known from elsewhere."""
    from steps.results.verification import Decisions, Threshold, load_threshold

    chosen = load_threshold(elsewhere) if elsewhere is not None else None
    if held_out is not None:
        try:
            chosen = Threshold.chosen_on(held_out.scores, held_out.rows.trials.is_target)
        except ValueError as error:
            raise RecipeError(f"{held_out.rows.path}: {error}") from None
        chosen.save(job.out)
    return Decisions.of(job.settings.score, chosen)


def _calibrator(job: Job, scorer: "Scorer", elsewhere: Path | None, held_out: HeldOut | None) -> "Calibrator | None":
    """The calibration, fitted on trials of held-out training speakers or taken from elsewhere; None without."""
    from steps.scoring.calibrate import Calibrator

    if not job.settings.score.calibrate:
        return None
    calibrator = Calibrator(job.settings.score, scorer, job.input("manifests"))
    if elsewhere is not None:
        return calibrator if calibrator.load(elsewhere) else None
    if held_out is None:
        raise RecipeError(
            f"{job.input('manifests') / 'calibration' / 'dev.txt'}: there are no trials of held-out training speakers to "
            "calibrate on; hold some out (prepare.dev_speakers), or add --set score.calibrate=false (actDCF and Cllr stay empty)"
        )
    try:
        calibrator.fit(held_out.rows, held_out.scores, held_out.dev, "dev")
    except ValueError as error:
        raise RecipeError(f"{held_out.rows.path}: {error}") from None
    calibrator.save(job.out, len(held_out.rows.trials))
    return calibrator


def _rows(job: Job, embedded: "Embedded", path: Path, utt2spk: dict[str, str]) -> "TrialRows":
    from steps.scoring.lists import read_rows

    enrolment = path.parent.parent / "enrolment" / path.name if path.parent.name == "trials" else None
    return read_rows(
        path, embedded, enrolment=enrolment, utt2spk=utt2spk, allow_missing=job.settings.score.allow_missing,
        where=job.input("embeddings"), log=job.log,
    )  # fmt: skip


def _scored(scorer: "Scorer", embedded: "Embedded", rows: "TrialRows") -> np.ndarray:
    try:
        return scorer.score(embedded.items, rows.enrol_P, rows.test_P, enrol=rows.enrol)
    except ValueError as error:
        raise RecipeError(f"{rows.path}: {error}") from None


def _write_scores(path: Path, rows: "TrialRows", scores: np.ndarray) -> np.ndarray:
    """Write a score file; the scores as it holds them, so that whoever reads it finds the figures that are reported."""
    from steps.data.score_files import write_score_index

    path.parent.mkdir(exist_ok=True)
    return write_score_index(path, rows.trials, scores)


def _tasks(job: Job, scorer: "Scorer", test: "Embedded") -> dict[str, Any]:
    """Identification, few-shot tasks and clustering of the test set and of lists; gender in the training set."""
    from steps.results.gender import gender_line
    from steps.results.list_tasks import list_lines
    from steps.results.tasks import system_tasks, task_lines
    from steps.scoring.embedded import utterances

    known = utterances(job.input("manifests"), "test", test.ids)
    figures = system_tasks(scorer, test.items, known, job.settings.tasks)
    if "pictures" in job.settings.tasks.run:
        _draw(job, scorer, test)
    listed = _list_tasks(job, scorer)
    genders = _gender_task(job, test) if "gender" in job.settings.tasks.run else {}
    for line in [*task_lines(figures), *list_lines(listed), *map(gender_line, genders.values())]:
        job.log.info("%s", line)
    return figures | listed | genders


def _list_tasks(job: Job, scorer: "Scorer") -> dict[str, Any]:
    """Clustering and identification by the corpus's own lists, where these tasks are run; see steps/data/item_lists.py."""
    from steps.results.list_tasks import classifier_figures, clustering_list_figures, identification_list_figures
    from steps.results.tasks import scorer_trials
    from steps.scoring.item_lists import class_scores, clustering_lists, identification_lists

    s, found = job.settings.tasks, {}
    places, utt2spk = (job.input("manifests"), job.input("embeddings")), _speakers(job)
    options = {"windows": job.settings.score.needs_windows, "utt2spk": utt2spk}
    if "identification" in s.run:
        for name, roles, items in identification_lists(*places, **options):
            columns = [each.role for each in roles], [each.speaker for each in roles]
            figures = identification_list_figures(*columns, scorer_trials(scorer, items), s)
            found.setdefault("identification_lists", {})[name] = figures
            by_class = class_scores(job.input("embeddings"), roles, f"identification list {name}")
            if by_class is not None:
                found.setdefault("identification_by_classifier", {})[name] = classifier_figures(*by_class, s)
            elif (job.input("embeddings") / "class_scores").is_dir():
                job.log.info("identification list %s: not by the classifier, which does not know all of its speakers", name)
    if "clustering" in s.run:
        for name, entries, items in clustering_lists(*places, **options):
            ids, speakers = [each.id for each in entries], [each.speaker for each in entries]
            vectors_MD = items.mapped(scorer.chain.transform).vectors()
            score = scorer_trials(scorer, items)
            figures = clustering_list_figures(name, ids, vectors_MD, speakers, score=score, settings=s)
            found.setdefault("clustering_lists", {})[name] = figures
    return found


def _gender_task(job: Job, test: "Embedded") -> dict[str, Any]:
    """Gender in the embeddings of the training set, or of the test set where the training set has not both genders."""
    from steps.results.gender import FOLDS, chosen_rows, gender_figures, has_genders
    from steps.scoring.embedded import utterances

    s = job.settings.tasks
    for name in ("train", "test"):
        if name == "train" and not (job.input("embeddings") / name).is_dir():
            continue
        embedded = test if name == "test" else _read(job, name)
        known = utterances(job.input("manifests"), name, embedded.ids)
        genders, speakers = ([getattr(each, what) for each in known] for what in ("gender", "speaker"))
        if has_genders(genders, speakers):
            rows = chosen_rows(embedded.ids, genders, speakers, s)
            chosen = [genders[row] for row in rows], [speakers[row] for row in rows]
            return {"gender": {"set": name} | gender_figures(embedded.vectors()[rows], *chosen, s)}
    raise RecipeError(
        f"tasks.run: gender: expected at least {FOLDS} speakers of each gender in the training set or the test set, whose "
        "genders the corpus documents (spk2gender of the manifests); leave it out, or give the genders to stage 1"
    )


def _draw(job: Job, scorer: "Scorer", test: "Embedded") -> None:
    """Write pictures of a set, or of some of its speakers: embeddings of windows, or else of utterances, in the plane."""
    from steps.results.pictures import write_embedding_pictures
    from steps.results.tasks import shown_rows
    from steps.scoring.embedded import utterances

    settings = job.settings.tasks
    embedded = test if settings.picture_set == "test" else _read(job, settings.picture_set)
    known = utterances(job.input("manifests"), settings.picture_set, embedded.ids)
    mapped = embedded.items.mapped(scorer.chain.transform)
    rows_N = shown_rows(np.array([utterance.speaker for utterance in known]), settings)
    shown = mapped.joined([np.array([row]) for row in rows_N])
    windows = shown.windows or shown.utterances
    if len(windows.rows_RD) < LEAST_SHOWN:
        raise RecipeError(
            f"tasks.run: pictures: expected at least {LEAST_SHOWN} embeddings of the set '{settings.picture_set}', found "
            f"{len(windows.rows_RD)}; raise tasks.picture_speakers or picture_utterances, or leave pictures out"
        )
    speakers, genders = (
        np.repeat([getattr(known[row], name) for row in rows_N], windows.counts_N) for name in ("speaker", "gender")
    )
    write_embedding_pictures(job.out / "plots", job.settings.system.name, windows.rows_RD, speakers, genders=genders)


def _draw_trials(job: Job, scorer: "Scorer", test: "Embedded", rows: "TrialRows", scores: np.ndarray) -> None:
    """Write dendrograms of some trials of a list between utterances that have windows."""
    from steps.results.pictures import write_dendrograms

    windows = test.items.mapped(scorer.chain.transform).windows
    if windows is None or rows.enrol is not None:
        return
    trials = rows.trials
    by_id = {test.ids[row]: windows.item(row) for row in np.unique(np.concatenate([rows.enrol_P, rows.test_P]))}
    write_dendrograms(job.out / "plots", rows.path.stem, trials.enrol_ids, trials.test_ids, trials.is_target, scores, by_id)


def narrow(tables: dict[str, Any]) -> dict[str, Any]:
    """Where no task is run, what is said of them decides nothing."""
    return tables if tables.get("tasks", {}).get("run") else tables | {"tasks": {"run": []}}


def _write_genders(job: Job, test: "Embedded") -> None:
    """Write gender.txt: how a probe of training embeddings takes each test utterance, and each of the dev speakers'."""
    from steps.scoring.genders import fitted_probe, load_probe, write_log_odds

    elsewhere = job.inputs["backend"]
    if elsewhere is not None:
        probe = load_probe(elsewhere)
    else:
        probe = fitted_probe(_training_set(job, "train"), job.input("manifests"), job.out)
    has_dev = (job.input("embeddings") / "dev").is_dir()  # where a fusion gated by gender is fitted
    write_log_odds(job.out / "gender.txt", probe, (*([_read(job, "dev")] if has_dev else []), test))


STAGE = Stage(
    name="score",
    version=4,
    sections={"system": System, "score": Score, "tasks": TaskSettings},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="embeddings", help="the output of stage 5"),
        Input(name="backend", required=False, from_elsewhere=True, help="the output of this stage for the model's own corpus"),
    ),
    outputs=("*.txt", "settings.toml", "result.json"),
    optional=("llr/*.txt", "calibration/*.txt", "*.safetensors", "calibration.json", "threshold.json"),
    work=work,
    narrow=narrow,
    own_job=True,
)

if __name__ == "__main__":
    STAGE.main()
