"""Stage 7: several systems become one.

Reads manifests and the scores of the systems that `fuse.systems` names (stage 6); for fuse.method = "gender_gated" also
gender.txt of the first of them, lines `<utterance id> <log odds of female>` for test and dev utterances (score.predict_gender).
Writes under the fusion's name what stage 6 writes for a system: <trial list>.txt (fused scores), llr/<trial list>.txt (LLRs:
the same for fuse.method = "logistic", elsewhere the fused scores after linear calibration), fusion.json (weights, order in which
systems were selected, criteria), result.json, plots/. Everything is trained on trials of held-out training speakers, never on a
list that is reported.
"""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps.backend.settings import Score
from steps.core import files
from steps.core.errors import RecipeError
from steps.core.parts import finished_name
from steps.core.stage import Input, Job, Stage

if TYPE_CHECKING:
    from steps.data.score_files import TrialIndex

METHODS = ("logistic", "mean", "gender_gated")
CRITERIA = ("cllr", "min_dcf", "act_dcf", "eer")
ROLES = ("all", "male", "female")


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Which systems are fused, and how."""

    name: str  # of the fusion; its folder
    systems: tuple[str, ...]  # at least two; of "gender_gated" three: trained on everybody, on men, on women
    # "logistic" (regression), "mean" (of standardised scores), or "gender_gated": mean of everybody's model and that of the
    # gender predicted of both sides, or everybody's alone where the predictions differ
    method: str = "logistic"
    prior: float = 0.05  # probability of a target trial that the logistic regression is made for
    select: str = "all"  # "all" systems, or "greedy": those that help on held-out speakers, added one at a time
    max_systems: int = 0  # that "greedy" takes; 0: as many as help
    criterion: str = "cllr"  # that "greedy" lowers: "cllr", "min_dcf" and "act_dcf" (at `prior`) or "eer"
    folds: int = 5  # of the held-out speakers, in the cross-validation of "greedy"

    def __post_init__(self) -> None:
        if len(self.systems) < 2 or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems: expected two or more different ones, found {self.systems}")
        if not 0 < self.prior < 1:
            raise ValueError(f"prior: expected a probability between 0 and 1, found {self.prior}")
        choices = {"method": METHODS, "select": ("all", "greedy"), "criterion": CRITERIA}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, found {getattr(self, name)!r}")
        if self.max_systems < 0 or self.folds < 3:
            raise ValueError(f"max_systems, folds: expected 0 or more, and 3 or more, found {self.max_systems} and {self.folds}")
        if self.method == "gender_gated" and (len(self.systems) != 3 or self.select != "all"):
            raise ValueError(
                "systems: expected three with method = 'gender_gated' (trained on everybody, men, women) and select = 'all', "
                f"found {self.systems} and select = {self.select!r}"
            )
        changed = [f.name for f in fields(self) if f.name in _OF_GREEDY and getattr(self, f.name) != f.default]
        if self.select == "all" and changed:
            raise ValueError(f"{changed[0]}: has no effect with select = 'all'; leave it out, or set select = 'greedy'")


_OF_GREEDY = ("max_systems", "criterion", "folds")


@dataclass(frozen=True)
class Scored:
    """The trials of a list that every system has scored."""

    trials: "TrialIndex"
    scores_NK: np.ndarray
    num_missing: int
    speakers: dict[str, str]  # of utterances, and of models enrolled with several
    log_odds_N2: np.ndarray | None  # predicted of both sides, for "gender_gated"


def work(job: Job, unit: str) -> None:
    """Fit the fusion on dev trials, fuse every list, compute every figure."""
    from steps.data.manifests import read_utt2spk
    from steps.data.score_files import write_score_index
    from steps.results.figures import list_figures, one_line
    from steps.results.record import write_result
    from steps.results.verification import Decisions, Threshold

    began, s, folders = time.monotonic(), job.settings.fuse, job.input_lists["scores"]
    if len(folders) != len(s.systems):
        raise RecipeError(f"--scores: expected one folder for each of {', '.join(s.systems)}, found {len(folders)}")
    manifests = job.input("manifests")
    utt2spk = read_utt2spk(manifests / "utt2spk")
    genders = read_genders(folders[0] / "gender.txt") if s.method == "gender_gated" else None
    dev = manifests / "calibration" / "dev.txt"
    if not dev.is_file():
        raise RecipeError(
            f"{dev}: not found; a fusion is trained on trials of held-out speakers: hold some out (prepare.dev_speakers)"
        )
    held_out = _scored(job, dev, [folder / "calibration" for folder in folders], utt2spk, genders)
    fuse, about, text = _fit(job, held_out)
    decisions = Decisions(chosen=Threshold.chosen_on(fuse(held_out)[0], held_out.trials.is_target))
    files.write_json(job.out / "fusion.json", about)
    figures = {}
    (job.out / "llr").mkdir()
    for path in sorted((manifests / "trials").glob("*.txt")):
        scored = _scored(job, path, folders, utt2spk, genders)
        written = []
        for target, values in zip((job.out / path.name, job.out / "llr" / path.name), fuse(scored), strict=True):
            written.append(write_score_index(target, scored.trials, values))
        figures[path.stem] = list_figures(
            path.stem,
            scored.trials,
            *written,
            scored.speakers,
            settings=job.settings.score,
            plots=job.out / "plots",
            decisions=decisions,
        ) | {"num_missing": scored.num_missing}
        job.log.info("%s: %s", path.stem, one_line(figures[path.stem], finished_name(job.out) / path.name))
    write_result(
        job.out, manifests, system=s.name, backend=text, figures=figures, model={},
        fingerprint=job.fingerprint, seconds=time.monotonic() - began,
    )  # fmt: skip


def _fit(job: Job, dev: Scored):
    """(function from `Scored` to fused scores [N] and LLRs [N], what fusion.json says, the fusion in words)."""
    s = job.settings.fuse
    about: dict[str, Any] = {"method": s.method, "select": s.select, "num_trials": len(dev.trials)}
    try:
        if s.method == "gender_gated":
            fuse, more = _fit_gated(job, dev)
            return fuse, about | more, f"gender-gated fusion of {', '.join(s.systems)}"
        fuse, more = _fit_selected(job, dev)
    except ValueError as error:
        raise RecipeError(f"[fuse], on {len(dev.trials)} trials of held-out speakers: {error}") from None
    kind = {"logistic": "logistic fusion", "mean": "mean of the standardised scores"}[s.method]
    names = more.get("order", s.systems)
    return fuse, about | more, f"{kind} of {', '.join(names)}" + (f", selected from {len(s.systems)}" if "order" in more else "")


def _fit_selected(job: Job, dev: Scored):
    """Logistic regression or mean, on all systems or on those that help."""
    from steps.backend.fusion import CalibratedMeanFusion, GreedyFusion, LinearFusion

    s = job.settings.fuse
    fusion = LinearFusion(s.prior) if s.method == "logistic" else CalibratedMeanFusion(s.prior)
    columns, more = np.arange(len(s.systems)), {}
    if s.select == "greedy":
        greedy = GreedyFusion(fusion, max_systems=s.max_systems or None, num_folds=s.folds, criterion=_criterion(s))
        greedy.fit(dev.scores_NK, dev.trials.is_target, *_of_sides(dev.speakers, dev.trials, "speaker in utt2spk; run stage 1"))
        columns = greedy.order_
        more = {"criterion": s.criterion, "criteria": greedy.criteria_.tolist(), "order": [s.systems[k] for k in columns]}
        for name, value in zip(more["order"], more["criteria"], strict=True):
            job.log.info("selected %s: %s %.4f on unseen held-out speakers", name, s.criterion, value)
    else:
        fusion.fit(dev.scores_NK, dev.trials.is_target)
    names = [s.systems[k] for k in columns]
    if isinstance(fusion, LinearFusion):
        weights = dict(zip(names, map(float, fusion.weights_K_), strict=True))
        job.log.info("weights %s, offset %.3f", ", ".join(f"{k} {v:.3f}" for k, v in weights.items()), fusion.offset_)
        more |= {"weights": weights, "offset": float(fusion.offset_)}
    else:
        more |= _standardisation(names, fusion.mean_K_, fusion.std_K_) | _calibration(fusion.scale_, fusion.offset_)

    def fuse(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
        scores_NK = scored.scores_NK[:, columns]
        llrs_N = fusion.transform(scores_NK)
        return (llrs_N if isinstance(fusion, LinearFusion) else fusion.means(scores_NK)), llrs_N

    return fuse, more


def _fit_gated(job: Job, dev: Scored):
    from steps.backend.calibration import LinearCalibration
    from steps.backend.fusion import GenderGatedFusion

    s = job.settings.fuse
    fusion = GenderGatedFusion().fit(dev.scores_NK)

    def fused(scored: Scored) -> np.ndarray:
        assert scored.log_odds_N2 is not None
        return fusion.transform(scored.scores_NK, *scored.log_odds_N2.T)

    calibration = LinearCalibration(s.prior).fit(fused(dev), dev.trials.is_target)
    same = (dev.log_odds_N2 > 0).all(axis=1) | (dev.log_odds_N2 <= 0).all(axis=1)
    job.log.info("both sides are predicted to be of one gender in %d of %d trials of held-out speakers", same.sum(), same.size)
    more = {"roles": dict(zip(ROLES, s.systems, strict=True))} | _standardisation(s.systems, fusion.mean_K_, fusion.std_K_)
    more |= _calibration(calibration.scale_, calibration.offset_) | {"num_same_gender": int(same.sum())}
    return lambda scored: (fused(scored), calibration.transform(fused(scored))), more


def _standardisation(names, mean_K: np.ndarray, std_K: np.ndarray) -> dict[str, Any]:
    rows = zip(names, mean_K.tolist(), std_K.tolist(), strict=True)
    return {"standardised": {name: {"mean": mean, "std": std} for name, mean, std in rows}}


def _calibration(scale: float, offset: float) -> dict[str, Any]:
    return {"calibration": {"scale": float(scale), "offset": float(offset)}}


def _criterion(s: Fuse):
    from steps.metrics.cllr import cllr
    from steps.metrics.costs import act_dcf, min_dcf
    from steps.metrics.error_rates import eer

    return {
        "cllr": cllr,
        "min_dcf": lambda target, nontarget: min_dcf(target, nontarget, s.prior),
        "act_dcf": lambda target, nontarget: act_dcf(target, nontarget, s.prior),
        "eer": eer,
    }[s.criterion]


def read_genders(path: Path) -> dict[str, float]:
    """The log odds of "female" by utterance id. Raises RecipeError for a file that is missing, empty or malformed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise RecipeError(
            f'{path}: not found; fuse.method = "gender_gated" needs predicted genders: for the '
            "first system run stage 6 again with --set score.predict_gender=true"
        ) from None
    genders: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        try:
            name, value = line.split()
            odds = float(value)
        except ValueError:
            odds, name = np.nan, ""
        if not np.isfinite(odds) or name in genders:
            raise RecipeError(
                f"{path}:{number}: expected '<utterance id> <log odds of female>', each utterance once, the number finite, "
                f"found {line!r}; run stage 6 again"
            )
        genders[name] = odds
    if not genders:
        raise RecipeError(f"{path}: is empty; expected a line for each test and dev utterance; run stage 6 again")
    return genders


def _scored(job: Job, path: Path, folders: list[Path], utt2spk: dict[str, str], genders: dict[str, float] | None) -> Scored:
    """The trials of a list that every system has scored.

    Raises:
        RecipeError: a trial of a list to be reported that a system has not scored (without score.allow_missing), no trial that
            all have scored, a score of no trial, or one trial scored twice.
    """
    from steps.data.enrolment import model_speakers, read_models
    from steps.data.score_files import read_trial_index
    from steps.data.score_matching import match_scores

    trials = read_trial_index(path)
    # Trials to train on may be fewer: a back end that is itself trained on held-out speakers leaves out those it has heard.
    may_miss = job.settings.score.allow_missing or path.parent.name == "calibration"
    columns_KN = np.full((len(folders), len(trials)), np.nan)
    for column_N, folder in zip(columns_KN, folders, strict=True):
        if not (folder / path.name).is_file() and path.parent.name == "calibration":
            raise RecipeError(
                f"{folder / path.name}: not found; a fusion is trained on these scores of held-out speakers, which stage 6 "
                "writes with --set score.calibrate=true: run it again so"
            )
        scores, rows = match_scores(trials, folder / path.name, allow_missing=may_miss, list_name=str(path))
        column_N[rows] = scores
    kept = np.isfinite(columns_KN).all(axis=0)
    if not kept.any():
        raise RecipeError(f"{path}: no trial has been scored by all systems; run stage 6 of each again")
    if not kept.all():
        job.log.warning("%s: %d of %d trials are not scored by all systems and are left out", path, (~kept).sum(), kept.size)
    models_file = path.parents[1] / "enrolment" / path.name
    models = read_models(models_file) if path.parent.name == "trials" and models_file.is_file() else {}
    trials = trials.select(kept)
    odds = None
    if genders is not None:
        # A speaker enrolled with several utterances is predicted by the mean of their log odds.
        known = {name: [genders[each] for each in ids] for name, ids in models.items() if all(each in genders for each in ids)}
        predicted = {name: float(np.mean(values)) for name, values in known.items()} | genders
        odds = np.array(_of_sides(predicted, trials, f"line in {folders[0] / 'gender.txt'}; run stage 6")).T
    speakers = utt2spk | model_speakers(models, utt2spk, str(models_file))
    return Scored(trials, columns_KN[:, kept].T, int((~kept).sum()), speakers, odds)


def _of_sides(values: dict[str, Any], trials: "TrialIndex", what: str) -> list[list[Any]]:
    """The value of both sides of each trial."""
    used = {trials.ids[number] for number in np.unique([trials.enrol_P, trials.test_P]).tolist()}
    lost = sorted(used - values.keys())
    if lost:
        raise RecipeError(f"fusion: {len(lost)} utterances, such as '{lost[0]}', have no {what} again")
    return [[values[name] for name in side] for side in (trials.enrol_ids, trials.test_ids)]


STAGE = Stage(
    name="fuse",
    version=1,
    sections={"fuse": Fuse, "score": Score},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="scores", many=True, help="the output of stage 6 of each system, in the order of fuse.systems"),
    ),
    outputs=("*.txt", "llr/*.txt", "fusion.json", "result.json"),
    work=work,
)

if __name__ == "__main__":
    STAGE.main()
