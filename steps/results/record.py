"""result.json: the figures of a system, and what made them."""

from pathlib import Path
from typing import Any

from steps.core import files
from steps.core.stamp import run_record
from steps.results.data_remarks import rate_remarks
from steps.results.data_summary import read_summary


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
    """Write result.json; what stage 1 understood of the data goes into it too.

    Args:
        out: the folder it goes into.
        manifests: of the recipe; its parent folder is called after the recipe.
        system: name of the system or fusion.
        backend: how it scores, in one line.
        figures: by trial list.
        tasks: figures of further experiments, if any.
        model: what is known of the network (num_parameters, train_seconds, sampling_rate of its features); may be empty.
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
    further = {"tasks": tasks, "data": _data(manifests, model.get("sampling_rate", 0))}
    files.write_json(out / "result.json", record | {key: value for key, value in further.items() if value} | run_record())


def _data(manifests: Path, sampling_rate: int) -> dict[str, Any]:
    """What stage 1 understood of the data, and whether they are of the band that the network takes."""
    data = read_summary(manifests)
    if not data:
        return {}
    low = [["set", name, text] for name, text in rate_remarks(data["sets"], sampling_rate) if name == "test"]
    return data | {"remarks": data["remarks"] + low}
