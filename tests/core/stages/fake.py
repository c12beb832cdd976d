"""A stage for tests: six units, each a file made of the input's word; misbehaves as the variable FAKE says.

FAKE is `<trick>:<unit>`. Every unit that is begun is written down, with its process, in calls.txt of the current folder.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from steps.core import config, files
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much to write."""

    repeat: int = 1  # times the word
    workers: int = config.field(1, decides=False)

    def __post_init__(self) -> None:
        if self.repeat < 0:
            raise ValueError(f"repeat: expected 0 or more, found {self.repeat}")


def units(job: Job) -> list[str]:
    """Six names."""
    return [f"u{number}" for number in range(6)]


def work(job: Job, unit: str) -> None:
    """Half of the file, then the trick, then the rest."""
    assert not list(job.out.iterdir()), "the folder of a unit must be empty"
    with open("calls.txt", "a") as calls:
        calls.write(f"{unit} {os.getpid()}\n")
    word = (job.input("source") / "word.txt").read_text()
    with open(job.out / f"{unit}.txt", "w") as file:
        file.write(f"{unit} ")
        file.flush()
        _misbehave(unit, job)
        file.write(f"{word * job.settings.embed.repeat}\n")


def merge(job: Job, units: dict) -> None:
    """All files, and one that lists them."""
    for folder in units.values():
        files.place_tree(folder, job.out)
    _misbehave("merge", job)
    if os.environ.get("FAKE") != "forget":
        files.write_json(job.out / "units.json", list(units))


def recover(job: Job, unit: str, old: Path, wrong: dict) -> bool:
    """The file of a unit from a finished output."""
    if f"{unit}.txt" not in wrong:
        files.place(old / f"{unit}.txt", job.out / f"{unit}.txt")
    return f"{unit}.txt" not in wrong


def _misbehave(here: str, job: Job) -> None:
    trick, _, where = os.environ.get("FAKE", "").partition(":")
    if where != here:
        return
    if trick == "refuse":
        raise RecipeError(f"{here}: the recording is empty")
    if trick == "crash":
        raise KeyError(here)
    if trick == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if trick == "full":
        with open("/dev/full", "w") as file:
            file.write("x")
    if trick == "big":
        (job.out / "big").write_bytes(bytes(1 << 20))
    if trick == "swap":  # somebody else makes the input anew
        stamp = files.read_json(job.input("source") / "stamp.json")
        files.write_json(job.input("source") / "stamp.json", stamp | {"content": "other"})
    if trick == "hang":
        time.sleep(60)


STAGE = Stage(
    name="fake",
    version=1,
    sections={"embed": Settings},
    inputs=(Input(name="source", help="the output of source"),),
    outputs=("*.txt", "units.json"),
    work=work,
    units=units,
    merge=merge,
    recover=recover,
)

if __name__ == "__main__":
    STAGE.main()
