"""A stage for tests: six units, each a file made of the input's word; misbehaves as the variable FAULT says.

FAULT is `<trick>:<unit>`. Every unit that is begun is written down in calls.txt of the current folder, with its process.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from steps.core import files
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to write."""

    word: str = "word"


def units(job: Job) -> list[str]:
    """Six names."""
    return [f"u{number}" for number in range(6)]


def work(job: Job, unit: str) -> None:
    """Half of the file, then the trick, then the rest."""
    with open("calls.txt", "a") as calls:
        calls.write(f"{unit} {os.getpid()}\n")
    with open(job.out / f"{unit}.txt", "w") as file:
        file.write(f"{unit} ")
        file.flush()
        trick, _, where = os.environ.get("FAULT", "").partition(":")
        if where == unit:
            TRICKS[trick](job, unit)
        file.write(f"{job.settings.embed.word} {(job.input('source') / 'word.txt').read_text()}\n")


def _once(job: Job, unit: str) -> None:
    if not Path("tried").exists():
        Path("tried").touch()
        raise KeyError(unit)


def _always(job: Job, unit: str) -> None:
    raise RecipeError(f"{unit}: the recording is empty")


def _hang(job: Job, unit: str) -> None:
    for _ in range(1200):
        if Path("go").exists():
            return
        time.sleep(0.05)


def _fill(job: Job, unit: str) -> None:
    big = job.out / "big"
    big.write_bytes(bytes(8 << 20))
    big.unlink()


def _late(job: Job, unit: str) -> None:
    """Another process hides the unit as soon as it is there, and shows it again two seconds later: a slow file server."""
    target = job.out.with_suffix("")
    hidden = target.parent.parent / "hidden"
    script = 'until [ -d "$0" ]; do sleep 0.005; done; mv "$0" "$1"; sleep 2; mv "$1" "$0"'  # mv: of the whole folder, at once
    subprocess.Popen(["bash", "-c", script, str(target), str(hidden)], start_new_session=True, stdout=subprocess.DEVNULL)


TRICKS = {"once": _once, "always": _always, "hang": _hang, "fill": _fill, "late": _late}


def merge(job: Job, units: dict) -> None:
    """All files, and one that lists them."""
    for folder in units.values():
        files.place_tree(folder, job.out)
    files.write_json(job.out / "units.json", list(units))


STAGE = Stage(
    name="faulty",
    version=1,
    sections={"embed": Settings},
    inputs=(Input(name="source", help="the output of source"),),
    outputs=("*.txt", "units.json"),
    work=work,
    units=units,
    merge=merge,
)

if __name__ == "__main__":
    STAGE.main()
