"""A stage for tests that goes on where it was stopped: it counts, and saves how far it is only when it is told to stop."""

import time
from dataclasses import dataclass

from steps.core import files
from steps.core.interrupts import held_interrupts
from steps.core.stage import Job, Stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How far to count."""

    epochs: int = 8
    device: str = "cpu"


def work(job: Job, unit: str) -> None:
    """Count on from where the last run was stopped."""
    state = job.out / "state.json"
    history = files.read_json(state) if state.is_file() else []
    print("begins at", len(history), flush=True)
    with held_interrupts() as asked_to_stop:
        while len(history) < job.settings.train.epochs:
            history.append(len(history) ** 2)
            time.sleep(0.1)
            if asked_to_stop():
                files.write_json(state, history)
                raise KeyboardInterrupt
    files.write_json(state, history)


STAGE = Stage(name="counting", version=1, sections={"train": Settings}, outputs=("state.json",), work=work, resumes=True)

if __name__ == "__main__":
    STAGE.main()
