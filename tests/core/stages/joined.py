"""A stage for tests: one unit, which writes the words of several inputs."""

from steps.core import files
from steps.core.stage import Input, Job, Stage


def work(job: Job, unit: str) -> None:
    """Write the words."""
    with files.atomic_write(job.out / "words.txt") as file:
        file.writelines((folder / "word.txt").read_text() + "\n" for folder in job.input_lists["source"])


STAGE = Stage(
    name="joined",
    version=1,
    sections={},
    inputs=(Input(name="source", many=True, help="outputs of source"),),
    outputs=("words.txt",),
    work=work,
)

if __name__ == "__main__":
    STAGE.main()
