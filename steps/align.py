"""Stage 7, for two systems: profiles made by one are tested with embeddings of the other.

Reads manifests and the embeddings of both systems (stage 5, the old one first). Methods are fitted on embeddings of the same
utterances by both systems; each is tried in four cells: the old or the new system on both sides, enrol new + run old, enrol
old + run new. Writes alignment.json (all figures, intervals and gain shares), table.md, mappers.safetensors (what was fitted
for two systems), and for each size of profiles enrolment/<size>.txt (`<profile> <utterance> ...`) and trials/<size>.txt
(`<1|0> <profile> <test utterance>`); with align.write_scores also scores/<method>/<cell>/<size>.txt. A unit is a method.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from steps.backend.alignment.settings import Alignment, parse_method
from steps.core import files
from steps.core.errors import RecipeError
from steps.core.files import place_tree
from steps.core.rng import generator, seed_of
from steps.core.stage import Input, Job, Stage
from steps.core.stamp import run_record

if TYPE_CHECKING:
    from steps.backend.alignment.protocol import ProfileTrials
    from steps.data.manifests import Utterance
    from steps.metrics.curve import ErrorCurve
    from steps.metrics.replicates import Replicates

PLAIN = "none"  # the method whose cells with one system are what an update is worth
REFERENCE = "logit"  # the baseline that the paper names
_METHODS = (
    "none", "logit", "logit_z", "procrustes", "cca", "nessa_linear_two_ge2e", "nessa_mlp_two_ge2e", "nessa_mlp_one_ge2e",
    "nessa_residual_two_ge2e", "nessa_mlp_two_aam", "nessa_mlp_one_regression",
)  # fmt: skip
_ERRORS = ("eer", "frr")


@dataclass(frozen=True, kw_only=True)
class Align(Alignment):
    """Which systems are put together, how, and how that is measured."""

    name: str  # of the alignment; its folder
    old: str  # system
    new: str  # system that takes its place
    methods: tuple[str, ...] = _METHODS  # see `parse_method` in steps/backend/alignment/settings.py
    train_set: Literal["train", "dev"] = "train"  # whose embeddings the methods are fitted on
    train_utterances: int = 0  # of each training speaker at most, drawn; 0 = all
    test_set: str = "test"
    centre: bool = True  # whether the mean of the training embeddings is taken away before unit length, in each space
    profiles: tuple[int, ...] = (1, 3, 5)  # utterances of a profile, of different sessions where these are known
    repeats: int = 1  # profiles of each speaker and size, drawn anew; their trials are pooled
    nontargets: int = 0  # tests by other speakers for each profile, drawn; 0 = all
    within_one: bool = True  # whether methods other than "none" are also tried where both sides are one system
    far: float = 0.01  # false-acceptance rate at which false rejections are counted
    replicates: int = 1000  # of the bootstrap over speakers
    same_speaker: Literal["square", "once"] = "square"  # what a trial between a speaker and himself weighs in a replicate
    write_scores: bool = False  # a file for each method, cell and size
    seed: int = 0  # of profiles, first weights, batches and replicates

    def __post_init__(self) -> None:
        super().__post_init__()
        for method in self.methods:
            parse_method(method)
        if PLAIN not in self.methods or len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods: expected different ones, {PLAIN!r} among them, found {', '.join(self.methods)}")
        if self.old == self.new:
            raise ValueError(f"new: expected another system than old, found {self.new!r}")
        if not self.profiles or min(self.profiles) < 1 or list(self.profiles) != sorted(set(self.profiles)):
            raise ValueError(f"profiles: expected numbers of utterances, rising from 1 or more, found {self.profiles}")
        for name, least in (("repeats", 1), ("nontargets", 0), ("replicates", 2), ("train_utterances", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        if not 0 < self.far < 1:
            raise ValueError(f"far: expected a rate between 0 and 1, found {self.far}")


@dataclass(frozen=True, eq=False)
class Space:
    """Unit embeddings of a system, less the mean of its training embeddings."""

    mean_D: np.ndarray
    train_ND: np.ndarray
    test_ND: np.ndarray


@dataclass(frozen=True, eq=False)
class Data:
    """Embeddings of the same utterances by both systems."""

    spaces: dict[str, Space]  # "old", "new"
    train_speakers: list[str]
    num_dropped: int  # training utterances that not both systems have
    test: "list[Utterance]"


def units(job: Job) -> list[str]:
    """The methods."""
    return list(job.settings.align.methods)


def work(job: Job, unit: str) -> None:
    """Fit one method in each cell, and score all sizes of profiles."""
    from steps.backend.alignment.methods import make_aligner
    from steps.backend.alignment.protocol import ASYMMETRIC, CELLS
    from steps.backend.estimator import get_state
    from steps.data.archive import save_arrays

    s, data = job.settings.align, _read(job)
    lists = {size: _trials(job, data, size) for size in s.profiles}
    draws = {size: _replicates(s, data, trials) for size, trials in lists.items()}
    rows, trained, states, replicates = [], {}, {}, {}
    for cell, (enrol, run) in CELLS.items():
        if unit != PLAIN and not s.within_one and cell not in ASYMMETRIC:
            continue
        began, space = time.monotonic(), (data.spaces[enrol], data.spaces[run])
        # The same seed in all cells: between two equal systems all cells are then alike.
        aligner = make_aligner(unit, s, seed_of(s.seed, "align", unit))
        try:
            aligner.fit(space[0].train_ND, space[1].train_ND, data.train_speakers)
        except ValueError as error:
            raise RecipeError(f"align.methods: {unit}, {cell}: {error}") from None
        state = get_state(aligner)
        trained[cell] = {"seconds": round(time.monotonic() - began, 2), "best_epoch": getattr(aligner, "best_epoch_", None)}
        if cell in ASYMMETRIC:
            states |= {f"{cell}.{name}": value for name, value in state.items()}
        for size, trials in lists.items():
            scores_P = _scores(aligner, space, trials)
            if s.write_scores:
                _write_scores(job.out / "scores" / unit / cell / f"{size}.txt", data, trials, scores_P)
            row, arrays = _figures(scores_P, trials, draws[size], s.far)
            job.log.info("%s, %s: profiles of %d: EER %.2f %%, FRR %.2f %%", unit, cell, size, 100 * row["eer"], 100 * row["frr"])
            rows.append({"profile": size, "method": unit, "cell": cell} | row)
            replicates |= {f"{size}.{cell}.{name}": array for name, array in arrays.items()}
    files.write_json(job.out / "rows.json", {"figures": rows, "trained": trained})
    save_arrays(job.out / "mappers.safetensors", states)
    save_arrays(job.out / "replicates.safetensors", replicates)


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """Put the methods together: gain shares, tables, lists of trials."""
    from steps.data.archive import load_arrays, save_arrays
    from steps.tables.alignment import render_markdown

    s, data = job.settings.align, _read(job)
    parts = {method: files.read_json(folder / "rows.json") for method, folder in units.items()}
    rows = [row for method in s.methods for row in parts[method]["figures"]]
    replicates = {
        f"{method}.{name}": array
        for method in s.methods
        for name, array in load_arrays(units[method] / "replicates.safetensors").items()
    }
    _add_comparisons(rows, replicates)
    states = {f"mean.{name}": space.mean_D for name, space in data.spaces.items()}
    for method, folder in units.items():
        states |= {f"{method}.{name}": array for name, array in load_arrays(folder / "mappers.safetensors").items()}
        if s.write_scores:
            place_tree(folder / "scores", job.out / "scores")
    save_arrays(job.out / "mappers.safetensors", states)
    record = {
        "recipe": job.input("manifests").resolve().parent.name,
        **{name: getattr(s, name) for name in ("name", "old", "new", "train_set", "test_set", "far", "replicates", "seed")},
        "dims": {name: space.mean_D.size for name, space in data.spaces.items()},
        "num_train": len(data.train_speakers),
        "num_train_speakers": len(set(data.train_speakers)),
        "num_train_dropped": data.num_dropped,
        "profiles": [_write_lists(job, data, size) for size in s.profiles],
        "figures": rows,
        "trained": {method: parts[method]["trained"] for method in s.methods},
        "fingerprint": job.fingerprint,
    }
    files.write_json(job.out / "alignment.json", record | run_record())
    with files.atomic_write(job.out / "table.md") as file:
        file.write(render_markdown(record))


def frr_at_far(curve: "ErrorCurve", far: float) -> float:
    """Return the lowest miss rate at a threshold whose false-alarm rate is at most `far` (step rule, no interpolation)."""
    p_miss, p_fa = curve.rates()
    return float(p_miss[np.argmax(p_fa <= far)])  # thresholds rise: the first such is the lowest, the last accepts nobody


def _scores(aligner: Any, space: tuple[Space, Space], trials: "ProfileTrials") -> np.ndarray:
    """The scores as single floats: nine digits keep those, so that a score file gives the figures that are printed."""
    from steps.backend.alignment.protocol import score_profiles

    return score_profiles(aligner, space[0].test_ND, space[1].test_ND, trials).astype(np.float32).astype(np.float64)


def _figures(
    scores_P: np.ndarray, trials: "ProfileTrials", draws: "Replicates", far: float
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The figures of one method, cell and size, and their replicates."""
    from steps.metrics.curve import error_curve
    from steps.metrics.error_rates import eer_of_curve
    from steps.metrics.intervals import interval
    from steps.metrics.replicates import bootstrap_curves, bootstrap_eer

    curve = error_curve(scores_P[trials.is_target_P], scores_P[~trials.is_target_P])
    rejected = partial(frr_at_far, far=far)
    arrays = {"eer": bootstrap_eer(scores_P, draws), "frr": bootstrap_curves(scores_P, draws, rejected)}
    figures = {"eer": eer_of_curve(curve), "frr": rejected(curve)}
    return figures | {f"{key}_ci95": list(interval(array)) for key, array in arrays.items()}, arrays


def _add_comparisons(rows: list[dict[str, Any]], replicates: Mapping[str, np.ndarray]) -> None:
    """Add to the rows of cells with two systems their gain share and their difference from the logit baseline.

    All cells and methods share their replicates, so these are paired.
    """
    from steps.backend.alignment.protocol import ASYMMETRIC, gain_share
    from steps.metrics.intervals import interval

    known = {(row["profile"], row["method"], row["cell"]): row for row in rows}
    for (size, method, cell), row in known.items():
        if cell not in ASYMMETRIC:
            continue
        for error in _ERRORS:
            keys = [(size, PLAIN, "old_old"), (size, PLAIN, "new_new"), (size, method, cell)]
            point = float(gain_share(*(known[key][error] for key in keys)))
            shares_R = gain_share(*(replicates[f"{key[1]}.{size}.{key[2]}.{error}"] for key in keys))
            defined = shares_R[np.isfinite(shares_R)]
            row[f"{error}_gain"] = {
                "share": point if np.isfinite(point) else None,
                "ci95": list(interval(defined)) if defined.size else None,  # over the replicates in which it is defined
                "undefined": float(np.mean(~np.isfinite(shares_R))),  # share of those in which the new system is not better
            }
            if (size, REFERENCE, cell) in known and method != REFERENCE:
                arrays = [replicates[f"{each}.{size}.{cell}.{error}"] for each in (method, REFERENCE)]
                row[f"{error}_minus_{REFERENCE}"] = {
                    "difference": row[error] - known[size, REFERENCE, cell][error],
                    "ci95": list(interval(arrays[0] - arrays[1])),
                }


def _read(job: Job) -> Data:
    """Embeddings of both systems, in the order of ids."""
    from steps.backend.alignment.protocol import centred_units

    s = job.settings.align
    if len(job.input_lists["embeddings"]) != 2:
        raise RecipeError(
            f"--embeddings: expected two folders, of {s.old} and of {s.new}, found {len(job.input_lists['embeddings'])}"
        )
    test, test_sides, missing = _read_set(job, s.test_set, most=0)
    if missing:
        raise RecipeError(
            f"--embeddings: expected embeddings of the same test utterances by {s.old} and {s.new}, those of "
            f"{job.input('manifests') / s.test_set}, found {missing} that one lacks; run stage 5 of both systems again"
        )
    train, train_sides, num_dropped = _read_set(job, s.train_set, most=s.train_utterances)
    if num_dropped:
        job.log.warning("%s: %d utterances are left out: not both systems have them", s.train_set, num_dropped)
    spaces = {}
    for name, train_ND, test_ND in zip(("old", "new"), train_sides, test_sides, strict=True):
        mean_D = train_ND.mean(axis=0, dtype=np.float64) if s.centre else np.zeros(train_ND.shape[1])
        try:
            spaces[name] = Space(mean_D, centred_units(train_ND, mean_D), centred_units(test_ND, mean_D))
        except ValueError as error:
            raise RecipeError(f"--embeddings of {getattr(s, name)}: {error}; run stage 5 (embed) of it again") from None
    return Data(spaces, [each.speaker for each in train], num_dropped, test)


def _read_set(job: Job, set_name: str, *, most: int) -> "tuple[list[Utterance], list[np.ndarray], int]":
    """Utterances that manifests and both systems have, their embeddings by each, and how many are not in all three.

    At most `most` utterances of each speaker, drawn; 0 = all.
    """
    from steps.data.archive import Archive, read_embeddings
    from steps.data.manifests import read_set

    known = {each.id: each for each in read_set(job.input("manifests"), set_name)}
    folders = [folder / set_name for folder in job.input_lists["embeddings"]]
    sides = [Archive(folder).ids for folder in folders]
    common = set(known).intersection(*sides)
    if not common:
        raise RecipeError(
            f"--embeddings: expected embeddings of the same utterances ({set_name}) by both systems, found none; choose systems "
            "that were trained on the same data, or align.train_set"
        )
    chosen = _drawn([known[each] for each in sorted(common)], most, job.settings.align.seed)
    matrices = []
    for folder in folders:  # one after the other: those of a large corpus take gigabytes
        ids, matrix_ND = read_embeddings(folder)
        row = {name: place for place, name in enumerate(ids)}
        matrices.append(matrix_ND[[row[each.id] for each in chosen]])
    return chosen, matrices, len(set(known).union(*sides)) - len(common)


def _drawn(utterances: "list[Utterance]", most: int, seed: int) -> "list[Utterance]":
    """At most `most` utterances of each speaker (0 = all), in the same order."""
    rows_of: dict[str, list[int]] = {}
    for row, each in enumerate(utterances):
        rows_of.setdefault(each.speaker, []).append(row)
    for speaker, rows in rows_of.items():
        if most and len(rows) > most:
            rows_of[speaker] = generator(seed, "align", "train", speaker).permutation(rows)[:most].tolist()
    return [utterances[row] for row in sorted(row for rows in rows_of.values() for row in rows)]


def _trials(job: Job, data: Data, size: int) -> "ProfileTrials":
    from steps.backend.alignment.protocol import profile_trials

    s = job.settings.align
    try:
        return profile_trials(
            [each.speaker for each in data.test], [each.session for each in data.test], size,
            rng_of=lambda *names: generator(s.seed, "align", *names), repeats=s.repeats, nontargets=s.nontargets,
        )  # fmt: skip
    except ValueError as error:
        raise RecipeError(f"{job.input('manifests') / s.test_set}: align.profiles {size}: {error}") from None


def _replicates(settings: Align, data: Data, trials: "ProfileTrials") -> "Replicates":
    """The replicates for one size of profiles: the same for all methods and cells."""
    from steps.metrics.replicates import draw_replicates

    _, test_N = np.unique([each.speaker for each in data.test], return_inverse=True)
    return draw_replicates(
        trials.is_target_P, trials.speaker_V[trials.enrol_P], test_N[trials.test_P],
        rng=generator(settings.seed, "align", "bootstrap"), num_replicates=settings.replicates,
        same_speaker=settings.same_speaker,
    )  # fmt: skip


def _write_scores(path: Path, data: Data, trials: "ProfileTrials", scores_P: np.ndarray) -> None:
    from steps.data.trials import write_scores

    path.parent.mkdir(parents=True, exist_ok=True)
    write_scores(path, [trials.names[i] for i in trials.enrol_P], [data.test[i].id for i in trials.test_P], scores_P)


def _write_lists(job: Job, data: Data, size: int) -> dict[str, int]:
    """Write the profiles and trials of one size; their numbers."""
    from steps.data.trials import Trials, write_trials

    trials, ids = _trials(job, data, size), [each.id for each in data.test]
    for folder in ("enrolment", "trials"):
        (job.out / folder).mkdir(exist_ok=True)
    with files.atomic_write(job.out / "enrolment" / f"{size}.txt") as file:
        for name, rows in zip(trials.names, trials.rows_VM, strict=True):
            file.write(f"{name} {' '.join(ids[row] for row in rows)}\n")
    enrol, test = [trials.names[i] for i in trials.enrol_P], [ids[i] for i in trials.test_P]
    write_trials(job.out / "trials" / f"{size}.txt", Trials(enrol, test, trials.is_target_P))
    num_target = int(trials.is_target_P.sum())
    return {
        "num_utterances": size,
        "num_profiles": len(trials.names),
        "num_speakers": len(set(trials.speaker_V.tolist())),
        "num_left_out": trials.num_left_out,
        "num_target": num_target,
        "num_nontarget": len(test) - num_target,
    }


STAGE = Stage(
    name="align",
    version=1,
    sections={"align": Align},
    inputs=(
        Input(name="manifests", help="the output of stage 1"),
        Input(name="embeddings", many=True, help="the output of stage 5 of the old system, then of the new one"),
    ),
    outputs=("alignment.json", "table.md", "mappers.safetensors", "enrolment/*.txt", "trials/*.txt"),
    optional=("scores/*/*/*.txt",),
    units=units,
    work=work,
    merge=merge,
)

if __name__ == "__main__":
    STAGE.main()
