"""A stage for tests: one unit, which writes the word that it is told."""

from dataclasses import dataclass

from steps.core import files
from steps.core.stage import Job, Stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to write."""

    name: str = "sound"


def work(job: Job, unit: str) -> None:
    """Write the word."""
    with files.atomic_write(job.out / "word.txt") as file:
        file.write(job.settings.system.name)


STAGE = Stage(name="source", version=1, sections={"system": Settings}, outputs=("word.txt",), work=work)

if __name__ == "__main__":
    STAGE.main()
