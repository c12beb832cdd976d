"""Times what a launcher costs beside the work that it starts, and prints tables.

    python -m benchmarks.launch [--launcher slurm] [--tasks 1,4,16] [--seconds 2] [--turns 5]

The work of a task is to sleep for so many seconds, which takes no processor: what is above that is the launcher's. Arrays of
`--launcher` and of the local one take turns, so that a busy machine slows both alike. Seconds an array: those of one with a
single task; seconds a task: how much longer each further one takes (least squares over all sizes; on a cluster with fewer free
processors than tasks some of them wait for others, which is then counted). Figures are medians over turns.

What ranks of a training cost is measured by `python -m benchmarks.train --ranks 2`.
"""

import argparse
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

from steps.core.launch import Local, launch_local
from steps.core.launchers import read_launcher
from steps.core.slurm import Slurm
from steps.core.slurm_array import Request, launch_slurm


def overhead(launcher: Local | Slurm, num_tasks: int, seconds: float, folder: Path) -> float:
    """Returns the seconds that an array takes longer than its tasks' work."""
    command = [sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"]
    began = time.perf_counter()
    if isinstance(launcher, Local):
        launch_local(command, num_tasks, folder / "log", threads=1)
    else:
        log = logging.getLogger("launch")  # says nothing unless something goes wrong
        request = Request(name="benchmark", resources="cpu", work=folder, expects=(), log=log)
        launch_slurm(command, num_tasks, folder / "log", threads=1, settings=launcher, request=request)
    return time.perf_counter() - began - seconds


def slope(sizes: list[int], values: list[float]) -> float:
    """Returns by how much a value grows with each task."""
    return statistics.linear_regression(sizes, values).slope if len(set(sizes)) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time what launchers cost.")
    parser.add_argument("--launcher", default="slurm", help="a file conf/launch/NAME.toml (slurm)")
    parser.add_argument("--tasks", default="1,4,16", help="sizes of arrays (1,4,16)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of work of each task (2)")
    parser.add_argument("--turns", type=int, default=5, help="how often each array is run (5)")
    parser.add_argument("--exp", type=Path, default=Path("exp"), help="a folder that all hosts see (exp)")
    options = parser.parse_args()
    sizes = [int(each) for each in options.tasks.split(",")]
    launchers = {name: read_launcher(name) for name in ("local", options.launcher)}
    options.exp.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, int], list[float]] = {(name, size): [] for name in launchers for size in sizes}
    for _ in range(options.turns):
        for name, size in found:
            with tempfile.TemporaryDirectory(dir=options.exp) as folder:
                found[name, size].append(overhead(launchers[name], size, options.seconds, Path(folder)))
    print(f"seconds beyond {options.seconds:g} s of work a task; median (least - most) of {options.turns} turns\n")
    print("| launcher | " + " | ".join(f"{size} task{'s' * (size > 1)}" for size in sizes) + " | a further task |")
    print("|---|" + "---|" * (len(sizes) + 1))
    for name in launchers:
        medians = [statistics.median(found[name, size]) for size in sizes]
        cells = [
            f"{middle:.2f} ({min(found[name, size]):.2f} - {max(found[name, size]):.2f})"
            for size, middle in zip(sizes, medians, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} | {slope(sizes, medians):.3f} |")


if __name__ == "__main__":
    main()
