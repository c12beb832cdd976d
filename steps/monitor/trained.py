"""What a training run leaves beside its weights: its log, and what others need to know of the model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steps.core import config, files
from steps.core.stage import Job

# The sections that another corpus needs to be run through the network, and to be told what the head says of it.
USED_ELSEWHERE = ("features", "model", "head")


def write_log(folder: Path, history: list[dict[str, Any]]) -> None:
    """Writes log.jsonl, a record a line."""
    with files.atomic_write(folder / "log.jsonl") as file:
        file.writelines(json.dumps(record) + "\n" for record in history)


def write_tensorboard(folder: Path, record: dict[str, Any]) -> None:
    """Writes one event file per record: a run that is killed leaves whole ones, and its successor writes no step twice."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=record["epoch"]) as writer:
        for name, value in record.items():
            if name != "epoch" and isinstance(value, int | float):
                writer.add_scalar(name, value, record["epoch"])


def write_known(job: Job, speakers: Sequence[str], **facts: Any) -> None:
    """Writes speakers (class index -> speaker id), settings.toml (features, network, head) and training.json (`facts`)."""
    with files.atomic_write(job.out / "speakers") as file:
        file.writelines(f"{speaker}\n" for speaker in speakers)
    tables = {name: config.deciding(getattr(job.settings, name)) for name in USED_ELSEWHERE}
    with files.atomic_write(job.out / "settings.toml") as file:
        file.write(config.to_toml(tables))
    files.write_json(job.out / "training.json", {"num_speakers": len(speakers), **facts})
