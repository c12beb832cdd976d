"""Runs systems of recipes/voxceleb through all stages on a miniature of VoxCeleb, in this process.

    python -m tests.recipes.voxceleb_systems [SYSTEM ...]      # the networks at full size, two updates each; an hour for all

The tests run the same with networks of a few channels. What run.sh does is done here without it, since importing torch anew for
each stage would take most of the time; `tests/recipes/test_toy.py` and others run run.sh itself.
"""

import contextlib
import logging
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from steps import augment, check, embed, extract, prepare, score, train
from steps.core import config, stage
from steps.core.files import read_json
from tests.recipes.voxceleb_miniature import Miniature, can_write_m4a, make_miniature

ROOT = Path(__file__).parents[2]
RECIPE = Path("recipes/voxceleb")
STAGES = {module.STAGE.name: module.STAGE for module in (prepare, extract, augment, train, embed, score)}
# Six training speakers and two updates: what would need more is set to less, whatever the system asks for.
SHORT = (
    "prepare.dev_speakers=2", "prepare.dev_min_utterances=2", "prepare.other_lists=warn",
    "prepare.calibration=pairs", "train.epochs=1", "train.examples_per_epoch=8",
    "train.batch_size=4",
    "train.average=1", "train.warmup_epochs=0", "train.margin_start_epoch=0", "train.margin_end_epoch=0", "train.threads=1",
    "train.patience=0", "score.replicates=10", "embed.threads=1",
)  # fmt: skip
# Set only where the system's own value is larger.
AT_MOST = {
    "train.min_crop": 1.0, "train.max_crop": 1.5, "train.min_utterances": 2, "train.mined_pairs": 50, "score.norm_top": 3,
    "score.lda_dim": 3, "score.plda_rank": 3, "train.plateau_patience": 1,
}  # fmt: skip
SHRUNK: dict[str, dict[str, Any]] = {
    "ftdnn": {"first_channels": 16, "channels": 16, "bottleneck": 8, "penultimate": 16},
    "ecapa": {"channels": 32, "joined_channels": 32, "attention_dim": 8, "se_dim": 8},
    "campplus": {"front_channels": 8, "init_channels": 16, "layers": [2, 2, 2], "growth": 8},
    "resnet": {"blocks": [1, 1, 1, 1], "channels": 16},
    "vggm": {"channels": [16, 16, 16, 16, 16], "fc_dims": [32, 16]},
    "vgg_resnet": {"blocks": [1, 1, 1, 1], "channels": 16, "fc1_dim": 16},
    "thin_resnet": {
        "stem_channels": 16, "blocks": [1, 1, 1, 1], "inner_channels": [16] * 4, "outer_channels": [16] * 4, "feature_dim": 16,
    },
    "preact_resnet": {"blocks": [1, 1, 1, 1], "channels": 16},
    "bilstm": {"width": 16, "dense_dims": [16, 16]},
}  # fmt: skip
# Also at full size: a few thousand frames are no more than this many Gaussians can be made of.
IVECTOR = ("model.num_gaussians=16", "model.init_gaussians=8", "model.init_iterations=4", "model.iterations=2")


def launch_here(command, num_parts, log_folder, *, threads, watch) -> None:
    """All parts of a stage, one after the other in this process."""
    name = command[2].removeprefix("steps.")
    for part in range(num_parts):
        stage.run(STAGES[name], [word.replace("{part}", str(part)) for word in command[3:]], logging.getLogger("voxceleb"))


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """Stages run in here, in the repository's root, without this machine's conf/site.toml; torch's settings are put back."""
    threads, before = torch.get_num_threads(), Path.cwd()
    os.chdir(ROOT)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(stage.LAUNCHERS, "local", launch_here)
            patch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))
            yield
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def systems() -> list[str]:
    """All systems of the recipe."""
    return tomllib.loads((ROOT / RECIPE / "recipe.toml").read_text())["recipe"]["systems"]


def covering_systems() -> list[str]:
    """Systems of which each makes a choice (of words, yes or no) that none before it has made; the rest differ in sizes."""
    seen: set[tuple[str, str, str]] = set()
    found = []
    for system in systems():
        tables = config.load_layers([ROOT / RECIPE / f"{system}.toml"]).tables
        chosen = {
            (section, key, repr(value))
            for section, table in tables.items()
            if section not in ("recipe", "report", "site", "system")
            for key, value in table.items()
            if (isinstance(value, str | bool) and key not in ("name", "init")) or (section, key) == ("score", "transforms")
        }
        if tables.get("system", {}).get("data") in ("male", "female"):
            continue  # only who is trained on differs, of which tests/local speaks
        if not chosen <= seen:
            found.append(system)
        seen |= chosen
    return found


def trained_on_vox1(system: str) -> bool:
    """Whether a system is trained on VoxCeleb1, and so may be tested on the list of its test speakers only."""
    return config.load_layers([ROOT / RECIPE / f"{system}.toml"]).tables["prepare"].get("train") in ("vox1_dev", "both")


def make_data(folder: Path) -> Miniature:
    """A miniature, with m4a files where they can be written."""
    return make_miniature(folder, num_vox1_dev=6, durations=(2.0, 3.0), m4a=can_write_m4a())


def assignments_of(system: str, data: Path, *, shrink: bool) -> list[str]:
    """What is set beside the system's own file."""
    tables = config.load_layers([RECIPE / f"{system}.toml"]).tables
    by_em = tables["model"]["type"] == "ivector"
    short = [each for each in SHORT if not by_em or not each.startswith("train.") or each.startswith("train.threads")]
    found = [*short, *(IVECTOR if by_em else ()), f"site.corpus={data}"]
    for name, most in AT_MOST.items():
        section, key = name.split(".")
        if tables[section].get(key, 0) > most:
            found.append(f"{name}={most}")
    model = tables["model"]
    if not shrink:
        found.append("score.lda_form=but")  # Kaldi's needs as many embeddings as they have dimensions
    if shrink:
        smaller = SHRUNK.get(model["type"], {})
        if model["type"] == "xvector":
            smaller = {"channels": [16] * (len(model.get("channels", "12345")) - 1) + [24]}
        if model["type"] == "redimnet":
            smaller = {"blocks": [1] * len(model["blocks"])}
        found += [f"model.{key}={value}" for key, value in smaller.items()]
        if model["type"] != "bilstm" and model.get("embedding_dim", 512):
            found.append("model.embedding_dim=16")
    return found


def run_system(system: str, data: Path, exp: Path, *, shrink: bool) -> dict[str, Any]:
    """All stages of a system, and of those it begins with; its result.json."""
    with in_this_process():
        for plan in check.plan_systems(RECIPE, [system], [f"site.corpus={data}"]):
            options, name = assignments_of(plan.system, data, shrink=shrink), plan.system
            paths = {
                "manifests": exp / plan.manifests, "features": exp / "features" / plan.features,
                "augmented": exp / "augmented" / plan.augmented, "model": exp / plan.model, "embeddings": exp / plan.embeddings,
                "scores": exp / plan.scores,
            }  # fmt: skip
            init = [] if plan.begins == "-" else ["--init", str(exp / plan.begins)]
            _stage(name, options, paths, "prepare", "manifests")
            _stage(name, options, paths, "extract", "features", "manifests")
            _stage(name, options, paths, "augment", "augmented", "manifests")
            _stage(name, options, paths, "train", "model", "manifests", "features", "augmented", extra=init)
            if plan.last > 4:
                _stage(name, options, paths, "embed", "embeddings", "features", "model")
                _stage(name, options, paths, "score", "scores", "manifests", "embeddings")
    return read_json(exp / system / "scores" / "result.json")


def _stage(system: str, options: list[str], paths: dict[str, Path], verb: str, out: str, *inputs: str, extra=()) -> None:
    words = ["--config", str(RECIPE / f"{system}.toml"), *(word for each in options for word in ("--set", each))]
    words += ["--set", f"system.name={system}", *(word for name in inputs for word in (f"--{name}", str(paths[name])))]
    log = logging.getLogger("voxceleb")
    assert stage.run(STAGES[verb], [*words, *extra, "--out", str(paths[out])], log) == 0


def main() -> None:
    """Run systems at full size and print a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder) / "data")
        for system in sys.argv[1:] or systems():
            began = time.monotonic()
            result = run_system(system, data.folder, Path(folder) / "exp", shrink=False)
            eers = " ".join(f"{name} {100 * figures['eer']:.1f} %" for name, figures in sorted(result["trials"].items()))
            print(f"{system}: {time.monotonic() - began:.0f} s, {result.get('num_parameters', '')} {eers}", flush=True)


if __name__ == "__main__":
    main()
