"""Who may import whom, in every file, also inside functions; and that planning a stage loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
VERBS = ("prepare", "extract", "augment", "train", "embed", "score", "fuse", "align", "sweep", "report")
CORPORA = sorted(path.stem for path in (REPOSITORY / "local").glob("*.py") if path.stem != "__init__")
HEAVY = {"torch", "torchaudio", "lhotse", "scipy", "sklearn", "matplotlib"}

# Package or module -> what it may import beside itself and the standard library. The most exact name counts.
TABLE = {
    "steps.metrics": {"numpy", "scipy"},
    "steps.signal": {"numpy", "scipy", "torch", "torchaudio"},
    "steps.signal.settings": set(),
    "steps.signal.feature_settings": set(),
    "steps.backend": {"numpy", "scipy", "sklearn", "torch"},
    "steps.backend.settings": set(),
    "steps.nnet": {"numpy", "torch"},
    "steps.nnet.settings": set(),
    "steps.nnet.train_settings": set(),
    "steps.nnet.checkpoint": {"numpy", "torch", "safetensors"},
    "steps.nnet.keras": {"numpy", "torch", "h5py"},
    "steps.core": {"numpy"},
    "steps.core.log": {"tqdm"},
    "steps.core.threads": {"threadpoolctl"},
    "steps.data": {"numpy", "lhotse", "kaldiio", "torch", "soundfile", "torchcodec", "safetensors", "steps.core"},
    "steps.examples": {"numpy", "torch", "steps.core", "steps.data", "steps.signal"},
    "steps.monitor": {
        "numpy",
        "torch",
        "steps.core",
        "steps.data",
        "steps.examples",
        "steps.nnet",
        "steps.backend",
        "steps.metrics",
    },
    "steps.plots": {"numpy", "scipy", "matplotlib"},
    "steps.tables": set(),
    "steps.results": {"numpy", "steps.core", "steps.data", "steps.metrics", "steps.plots", "steps.backend.settings"},
    "steps.results.pictures": {"numpy", "steps.metrics", "steps.plots", "steps.backend.projection"},
    "steps.results.tasks": {"numpy", "steps.core", "steps.metrics", "steps.backend"},
    "steps.results.list_tasks": {"numpy", "steps.core", "steps.metrics", "steps.backend"},
    "steps.results.gender": {"numpy", "steps.core", "steps.backend"},
    "steps.results.settings": {"steps.core", "steps.backend.settings"},
    "steps.scoring": {"numpy", "steps.core", "steps.data", "steps.backend"},
    "steps.documents": {
        "numpy",
        "matplotlib",
        "steps.core",
        "steps.data",
        "steps.metrics",
        "steps.plots",
        "steps.results",
        "steps.tables",
    },
    "local": {"numpy", "scipy", "soundfile", "lhotse", "steps.core", "steps.data"},
}
NOUNS = {name for name in TABLE if name.count(".") == 1}
TABLE |= {f"steps.{verb}": {"numpy", "torch", "matplotlib", "safetensors", *NOUNS} for verb in VERBS}
TABLE["steps.prepare"] |= {"local"}
TABLE["steps.check"] = {"steps.core", *(f"steps.{verb}" for verb in VERBS)}
TABLE["steps.download"] = {"steps.core", "local"}
TABLE["steps.transcode"] = {"numpy", "soundfile", "steps.core", "steps.data", "local"}
TABLE["steps.convert"] = {"steps.core", "steps.nnet", "steps.signal"}

# Arrays in, arrays out: these open no files.
PURE = ("steps.metrics", "steps.signal", "steps.backend", "steps.nnet", "steps.tables")
KEEPS_FILES = ("steps.nnet.checkpoint", "steps.nnet.keras")


def _modules():
    paths = [path for top in ("steps", "local") for path in sorted((REPOSITORY / top).rglob("*.py"))]
    return {".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path for path in paths if path.stem != "__init__"}


MODULES = _modules()


def _is_below(name, package):
    return name == package or name.startswith(package + ".")


def _rule(module):
    """The name in TABLE that governs a module."""
    return max((name for name in TABLE if _is_below(module, name)), key=len)


def _imports(source):
    """Every imported module in a source text; `from steps.core import files` imports steps.core.files."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = node.module.split(".")[0] in ("steps", "local")
            modules = {name for name in names if name in MODULES or (REPOSITORY / name.replace(".", "/")).is_dir()}
            found |= (modules or {node.module}) if inside else {node.module}
    return found


def _violations(module, source):
    rule = _rule(module)
    home = rule if rule in NOUNS else module.rpartition(".")[0]
    bad = []
    for name in sorted(_imports(source)):
        own = _is_below(name, home) and home not in ("steps", "local")
        if name.split(".")[0] in sys.stdlib_module_names or own or any(_is_below(name, allowed) for allowed in TABLE[rule]):
            continue
        bad.append(name)
    return bad


def test_every_package_has_a_row_in_the_table():
    packages = {".".join(module.split(".")[:2]) for module in MODULES if module.startswith("steps.")}
    assert packages == {name for name in TABLE if name.startswith("steps.") and name.count(".") == 1}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_layer_may(module):
    source = MODULES[module].read_text(encoding="utf-8")
    bad = _violations(module, source)
    if module.startswith("local."):  # own helper packages, but no other corpus
        others = {f"local.{corpus}" for corpus in CORPORA}
        bad = [name for name in bad if not name.startswith("local.") or name in others]
    assert not bad, f"{module} may import {sorted(TABLE[_rule(module)])}, and imports {bad}"


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("steps.metrics.cllr", "def f():\n    import torch.nn\n", ["torch.nn"]),
        ("steps.metrics.cllr", "from steps.metrics.pav import pav\nimport numpy.typing\nimport json\n", []),
        ("steps.signal.settings", "import numpy\n", ["numpy"]),
        ("steps.signal.feature_settings", "import torch\n", ["torch"]),
        ("steps.signal.vad", "from steps.core import rng\n", ["steps.core.rng"]),
        ("steps.train", "from steps.embed import cut\n", ["steps.embed"]),
        ("steps.train", "from steps import score\n", ["steps.score"]),
        ("steps.train", "from steps.core.stage import Job\nfrom local import toy\n", ["local.toy"]),
        ("steps.core.stage", "if 1:\n    import lhotse\n", ["lhotse"]),
        ("steps.results.figures", "from steps.backend.plda import PLDA\n", ["steps.backend.plda"]),
        ("local.folder", "from local import toy\nfrom steps.nnet import models\n", ["local.toy", "steps.nnet.models"]),
    ],
)
def test_the_check_itself_finds_what_is_forbidden(module, source, bad):
    assert _violations(module, source) == bad


@pytest.mark.parametrize("module", [name for name in MODULES if any(_is_below(name, pure) for pure in PURE)])
def test_library_code_opens_no_files(module):
    if module in KEEPS_FILES:
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    assert not names & {"pathlib", "Path", "os", "shutil"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert not (isinstance(node.func, ast.Name) and node.func.id == "open"), f"{module}:{node.lineno}"


def _loaded(*command):
    """Names of the heavy packages that a Python command loads, and its exit status."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    names = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in names, f"no import times were found in:\n{process.stderr}"
    return {name for name in names if name.split(".")[0] in HEAVY}, process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize("verb", [*VERBS, "check", "convert"])
def test_help_loads_nothing_heavy(verb):
    heavy, status, text = _loaded("-m", f"steps.{verb}", "--help")
    assert status == 0, text
    assert not heavy


OPTIONS = {
    "prepare": (), "extract": ("manifests",), "augment": ("manifests",), "train": ("manifests", "features", "augmented"),
    "embed": ("features", "model"), "score": ("manifests", "embeddings"), "fuse": ("manifests", "scores", "scores"),
    "align": ("manifests", "embeddings", "embeddings"), "sweep": ("scores",), "report": ("manifests", "scores"),
}  # fmt: skip
OTHER = {
    "prepare": "prepare.seed=7", "extract": "features.num_mel_bins=23", "augment": "augment.mode=none", "train": "train.seed=7",
    "embed": "embed.window=3.0", "score": "score.seed=7", "fuse": "fuse.prior=0.2", "align": "align.far=0.1",
    "report": "report.title=Other",
}  # fmt: skip
FINISHED = """
import importlib, sys
from pathlib import Path
from steps.core.config import load_settings
from steps.core.stage import make_plan, parse
from steps.core.stamp import write_stamp
verb, arguments = sys.argv[1], sys.argv[2:]
stage = importlib.import_module(f"steps.{verb}").STAGE
options = parse(stage, arguments)
settings, site = load_settings(stage.sections, options.config, options.assignments)
given = {each.name: getattr(options, each.name) for each in stage.inputs}
for folder in [Path(f) for value in given.values() if value for f in (value if isinstance(value, list) else [value])]:
    folder.mkdir(exist_ok=True)
    write_stamp(folder, {}, {}, 0.0)
lists = {each.name: given[each.name] for each in stage.inputs if each.many}
single = {each.name: given[each.name] for each in stage.inputs if not each.many}
options.out.mkdir()
(options.out / "table.txt").write_text("")
write_stamp(options.out, make_plan(stage, settings, site, single, lists), {}, 0.0)
"""


@pytest.mark.parametrize("verb", VERBS)
def test_up_to_date_and_refusal_load_nothing_heavy(verb, tmp_path):
    name = {"fuse": "toy/fusion", "align": "voices/align"}.get(verb, "toy/xvector")
    arguments = ["--config", f"recipes/{name}.toml", "--set", "system.name=x", "--out", str(tmp_path / "out")]
    arguments += {"report": ["--set", "report.recipe=toy"], "sweep": ["--set", "sweep.file=none.toml"]}.get(verb, [])
    for option in OPTIONS[verb]:
        arguments += [f"--{option}", str(tmp_path / option)]
    subprocess.run([sys.executable, "-c", FINISHED, verb, *arguments], cwd=REPOSITORY, check=True)
    heavy, status, text = _loaded("-m", f"steps.{verb}", *arguments)
    assert status == 0, text
    assert "up to date" in text
    assert not heavy
    if verb in ("report", "sweep"):  # they take seconds, and replace their output unasked
        return
    heavy, status, text = _loaded("-m", f"steps.{verb}", *arguments, "--set", OTHER[verb])
    assert status == 2, text
    assert OTHER[verb].partition("=")[0] + ": " in text
    assert not heavy
