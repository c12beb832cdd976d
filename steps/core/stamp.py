"""What an output folder was made of: plan, fingerprint, stamp."""

import hashlib
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.log import command_line

STAMP = "stamp.json"
_HASH_LENGTH = 64  # of a SHA-256 in hex: the content of an input folder; what a stage observes by itself is text
_KEYS = {"fingerprint": str, "plan": dict, "content": str, "outputs": dict}  # of a stamp, whatever its age
_BROUGHT = ("*.safetensors", "*.toml", "*.json", "speakers")  # files of a model, or of a back end, that somebody brings
_LOGS = ("log.jsonl", "training.json")  # of a training, which nobody wants to do again for the sake of its log
_PACKAGES = ("torch", "torchaudio", "lhotse", "numpy", "scipy", "soundfile", "kaldiio", "scikit-learn")


def fingerprint(plan: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of all that decides the output: stage, version, deciding settings, content of the inputs."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def read_stamp(folder: Path) -> dict[str, Any] | None:
    """The stamp of a finished output folder, or None where there is no folder.

    Raises RecipeError for a folder without a stamp: something else than a stage made it.
    """
    if not folder.exists():
        return None
    if not (folder / STAMP).is_file():
        raise RecipeError(
            f"{folder}: is there but has no {STAMP}, so no stage made it; move it away or choose another --exp (or --out)"
        )
    try:
        stamp = files.read_json(folder / STAMP)
        is_whole = all(isinstance(stamp[name], kind) for name, kind in _KEYS.items())
    except (RecipeError, TypeError, KeyError):
        is_whole = False
    if not is_whole:
        raise RecipeError(
            f"{folder / STAMP}: is damaged, not as a stage writes it; move {folder} away and rerun, which makes it anew (of a "
            f"model that is brought with --model, or of the scores beside it, remove {STAMP} alone)"
        )
    return stamp


def input_content(name: str, folder: Path, *, from_elsewhere: bool = False) -> str:
    """The content hash of an input folder. Raises RecipeError if its stage has not finished.

    One that may come `from_elsewhere` needs no stamp: it is then known by the content of its files.
    """
    if from_elsewhere and folder.is_dir() and not (folder / STAMP).is_file():
        return _hash_of(files.tree_hashes(folder, _BROUGHT))
    stamp = read_stamp(folder)
    if stamp is None:
        partial = folder.with_name(folder.name + ".partial")
        state = "was begun but not finished" if partial.exists() else "does not exist"
        raise RecipeError(f"input {name}: {folder} {state}; run the stage that makes it first (see ./run.sh --help)")
    return stamp["content"]


def write_stamp(folder: Path, plan: Mapping[str, Any], outputs: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Write and return the stamp: what decides (plan, content), and what is only recorded (commit, packages, time)."""
    outputs = {name: found for name, found in outputs.items() if name != STAMP}  # of a folder that is stamped anew
    content = _hash_of(outputs)
    # Also of what lies beside them without deciding anything (model.json, summary.json): later stages read it.
    beside = {path.name for path in folder.iterdir() if path.is_file()} - {STAMP, *_LOGS}
    sizes = {name: (folder / name).stat().st_size for name in sorted(beside | outputs.keys()) if (folder / name).is_file()}
    stamp = {"fingerprint": fingerprint(plan), "plan": plan, "content": content, "outputs": outputs, "sizes": sizes}
    stamp |= run_record() | {"seconds": round(seconds, 2)}
    files.write_json(folder / STAMP, stamp)
    return stamp


def _hash_of(outputs: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


def run_record() -> dict[str, Any]:
    """Commit, command, machine, packages and date of this run: recorded beside results, never hashed."""
    from importlib import metadata  # which takes as long as half of planning a stage

    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": command_line(),
        "machine": f"{platform.node()}, {_processor()}, Python {platform.python_version()}",
        "packages": packages,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def completed(old: Mapping[str, Any], new: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An old plan with the settings that did not exist then, where the new plan has them at their default.

    A setting that is added to a stage thus leaves finished outputs valid: its default must be what was done before.
    """
    settings = {section: dict(table) for section, table in old.get("settings", {}).items()}
    for section, table in settings.items():
        for key, value in new.get("settings", {}).get(section, {}).items():
            if key not in table and key in defaults.get(section, {}) and value == defaults[section][key]:
                table[key] = value
    return {**old, "settings": settings}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lines `key: old -> new` for every leaf in which two plans differ."""
    before, after = _flatten(old), _flatten(new)
    lines = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            lines.append(f"{key}: {_show(before, key)} -> {_show(after, key)}")
    return lines


def _show(leaves: Mapping[str, Any], key: str) -> str:
    if key not in leaves:
        return "(absent)"
    value = leaves[key]
    if key.startswith("input ") and isinstance(value, str):
        return value[:12] if len(value) == _HASH_LENGTH else value
    return json.dumps(value, ensure_ascii=False)


def _flatten(plan: Mapping[str, Any]) -> dict[str, Any]:
    leaves: dict[str, Any] = {"stage": plan.get("stage"), "version": plan.get("version")}
    for section, table in plan.get("settings", {}).items():
        leaves |= {f"{section}.{key}": value for key, value in table.items()}
    leaves |= {f"input {name}": value for name, value in plan.get("inputs", {}).items()}
    return leaves
