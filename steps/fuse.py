"""Stage 7: several systems become one.

Reads manifests and the scores of the systems that `fuse.systems` names (stage 6).
Writes under the fusion's name what stage 6 writes for a system: <trial list>.txt (fused scores, which are LLRs),
llr/<trial list>.txt (the same), fusion.json (weights), result.json, plots/. Weights are trained on trials of held-out
training speakers, never on a list that is reported.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.backend.settings import Score
from steps.core import files
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """Which systems are fused, and how."""

    name: str  # of the fusion; its folder
    systems: tuple[str, ...]  # at least two
    prior: float = 0.05  # probability of a target trial that the logistic regression is made for

    def __post_init__(self) -> None:
        if len(self.systems) < 2 or len(set(self.systems)) != len(self.systems):
            raise ValueError(f"systems: expected two or more different ones, found {self.systems}")
        if not 0 < self.prior < 1:
            raise ValueError(f"prior: expected a probability between 0 and 1, found {self.prior}")


def work(job: Job, unit: str) -> None:
    """Fit the weights on dev trials, fuse every list, compute every figure."""
    from steps.backend.fusion import LinearFusion
    from steps.data.manifests import read_utt2spk
    from steps.data.trials import read_scores, write_scores
    from steps.results.figures import list_figures, one_line
    from steps.results.record import write_result

    began, s, folders = time.monotonic(), job.settings.fuse, job.input_lists["scores"]
    if len(folders) != len(s.systems):
        raise RecipeError(f"--scores: expected one folder for each of {', '.join(s.systems)}, found {len(folders)}")
    manifests = job.input("manifests")
    trials, scores_NK, _ = _stack(manifests / "calibration" / "dev.txt", [folder / "calibration" for folder in folders])
    fusion = LinearFusion(s.prior).fit(scores_NK, trials.is_target)
    weights = dict(zip(s.systems, map(float, fusion.weights_K_), strict=True))
    job.log.info("weights %s, offset %.3f", ", ".join(f"{k} {v:.3f}" for k, v in weights.items()), fusion.offset_)
    files.write_json(job.out / "fusion.json", {"weights": weights, "offset": float(fusion.offset_), "num_trials": len(trials)})
    utt2spk, figures = read_utt2spk(manifests / "utt2spk"), {}
    (job.out / "llr").mkdir()
    for path in sorted((manifests / "trials").glob("*.txt")):
        trials, scores_NK, num_missing = _stack(path, folders)
        for target in (job.out / path.name, job.out / "llr" / path.name):
            write_scores(target, trials.enrol_ids, trials.test_ids, fusion.transform(scores_NK))
        llrs = read_scores(job.out / path.name)[2]
        figures[path.stem] = list_figures(
            path.stem, trials, llrs, llrs, utt2spk, settings=job.settings.score, plots=job.out / "plots"
        ) | {"num_missing": num_missing}
        job.log.info("%s: %s", path.stem, one_line(figures[path.stem]))
    write_result(
        job.out, manifests, system=s.name, backend=f"logistic fusion of {', '.join(s.systems)}", figures=figures, model={},
        fingerprint=job.fingerprint, seconds=time.monotonic() - began,
    )  # fmt: skip


def _stack(path: Path, folders: list[Path]):
    """The trials of a list that every system has scored, their scores `[N, K]`, and how many trials that leaves out."""
    from steps.data.trials import Trials, read_scores, read_trials

    if not path.is_file():
        raise RecipeError(f"{path}: not found; a fusion is trained on trials of held-out speakers: set prepare.dev_speakers")
    tables = []
    for folder in folders:
        enrol, test, scores = read_scores(folder / path.name)
        tables.append(dict(zip(zip(enrol, test, strict=True), scores, strict=True)))
    trials = read_trials(path)
    pairs = list(zip(trials.enrol_ids, trials.test_ids, strict=True))
    kept = [i for i, pair in enumerate(pairs) if all(pair in table for table in tables)]
    if not kept:
        raise RecipeError(f"{path}: no trial has been scored by all systems; run stage 6 of each again")
    scores_NK = np.array([[table[pairs[i]] for table in tables] for i in kept])
    scored = Trials([pairs[i][0] for i in kept], [pairs[i][1] for i in kept], trials.is_target[kept])
    return scored, scores_NK, len(pairs) - len(kept)


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
