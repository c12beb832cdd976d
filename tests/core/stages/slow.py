"""A stage for tests that resumes: counts to `train.epochs` in its work folder, and is killed on the way where KILL_AT says."""

import os
import signal
from dataclasses import dataclass

from steps.core import files
from steps.core.stage import Job, Stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How far to count."""

    epochs: int = 5


def work(job: Job, unit: str) -> None:
    """Count on from where the last run was killed."""
    state = job.out / "state.json"
    history = files.read_json(state) if state.is_file() else []
    print("begins at", len(history))
    while len(history) < job.settings.train.epochs:
        history.append(len(history) ** 2)
        files.write_json(state, history)
        if os.environ.get("KILL_AT") == str(len(history)):
            os.kill(os.getpid(), signal.SIGKILL)


STAGE = Stage(
    name="slow", version=1, sections={"train": Settings}, outputs=("state.json",), work=work, resumes=True, replaces=True
)  # fmt: skip

if __name__ == "__main__":
    STAGE.main()
