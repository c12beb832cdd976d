"""result.json: the figures of a system, and what made them."""

from pathlib import Path
from typing import Any

from steps.core import files
from steps.core.stamp import run_record


def write_result(
    out: Path,
    manifests: Path,
    *,
    system: str,
    backend: str,
    figures: dict[str, Any],
    tasks: dict[str, Any] | None = None,
    model: dict[str, Any],
    fingerprint: str,
    seconds: float,
) -> None:
    """Write result.json.

    Args:
        out: the folder it goes into.
        manifests: of the recipe; its parent folder is called after the recipe.
        system: name of the system or fusion.
        backend: how it scores, in one line.
        figures: by trial list.
        tasks: figures of further experiments, if any.
        model: what is known of the network (num_parameters, train_seconds); may be empty.
        fingerprint: of the stage that writes this.
        seconds: that scoring took.
    """
    record = {
        "recipe": manifests.resolve().parent.name,
        "system": system,
        "backend": backend,
        "num_parameters": model.get("num_parameters"),
        "train_seconds": model.get("train_seconds"),
        "trials": figures,
        "fingerprint": fingerprint,
        "seconds": round(seconds, 2),
    }
    files.write_json(out / "result.json", record | ({"tasks": tasks} if tasks else {}) | run_record())
