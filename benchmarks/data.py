"""Times what corpora cost at their full size, against lhotse's own way, and prints tables.

    python -m benchmarks.data [--tasks scale,extract,input] [--utterances 20000,40000,80000] [--files 3000] [--speech DIR]

    scale     stage 1 on a tree of VoxCeleb's shape (hard links to tiny files, see data_tree.py) with lists E and H in
              proportion, and opening the training set and drawing epochs of it; 1281762 utterances are VoxCeleb1 and 2
    extract   stage 2 on FLAC files of eight seconds, against a bare loop of decoding and fbank, and lhotse's
              compute_and_store_features
    input     crops for a training: of features on disk, in each way to store them; and of the waveforms of a bank and of FLAC
              files, features made on the way

Every program runs in a process of its own, and those of a task take turns, so that a busy machine slows all of them alike;
where it is busy, read seconds of CPU. Memory is the largest of any of its processes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCALE = ("prepare", "headers", "rerun", "lhotse", "open_set", "cuts", "worker")
EXTRACT = ("bare", "begin", "extract", "extract2", "extract8bit", "lhotse")
INPUT = ("float32", "two_byte", "speech_feature", "from_bank", "from_flac")
TASKS = ("scale", "extract", "input")
FEW = 160  # utterances of the program `begin`
CROPS = 20 * 64  # of a turn of the task input


def program(task: str, name: str):
    """Returns what makes ready a program."""
    from benchmarks import data_scale, data_speech

    if task == "input" and name in INPUT[:3]:
        return data_speech.stored(name)
    return getattr(data_scale if task == "scale" else data_speech, name)


def work(task: str, name: str, folder: Path) -> None:
    """Runs one program, and prints a line of JSON."""
    made = program(task, name)(folder)
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

    def cpu() -> float:
        return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, usages))

    before, began = cpu(), time.perf_counter()
    if callable(made):
        said = made()
    else:
        done = subprocess.run(made, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(made)}\n{done.stderr}")
        said = ""
    seconds, used = time.perf_counter() - began, cpu() - before
    memory = max(resource.getrusage(which).ru_maxrss for which in usages) / 1e6
    print(json.dumps({"seconds": seconds, "cpu": used, "memory": memory, "said": said}))


def start(task: str, name: str, folder: Path) -> dict:
    """Returns what a program in a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.data", "--work", task, name, str(folder)]
    one = {each: "1" for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    found = subprocess.run(command, env=os.environ | one, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(found.splitlines()[-1])


def turns(task: str, names: tuple[str, ...], folder: Path, repeats: int) -> dict[str, dict]:
    """Returns the medians of the programs of a task, which take turns."""
    found: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            found[name].append(start(task, name, folder))
    keys = ("seconds", "cpu", "memory")
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in keys} | {"said": runs[0]["said"]}
        for name, runs in found.items()
    }


def scale(options: argparse.Namespace) -> None:
    """Prints a row for each program and number of utterances."""
    print("| utterances | program | s | CPU s | times that of the size before | GB | |\n|---|---|---|---|---|---|---|")
    before: dict[str, float] = {}
    for num in options.utterances:
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            from benchmarks.data_tree import make_tree

            folder = Path(name)
            make_tree(folder / "corpus", num)
            for each in options.programs or SCALE:
                run = start("scale", each, folder)
                ratio = f"{run['cpu'] / before[each]:.2f}" if each in before else ""
                before[each] = run["cpu"]
                figures = f"{run['seconds']:.1f} | {run['cpu']:.1f} | {ratio} | {run['memory']:.2f}"
                print(f"| {num:,} | {each} | {figures} | {run['said']} |", flush=True)


def extract(options: argparse.Namespace, folder: Path) -> None:
    """Prints a row for each way to make features."""
    found = turns("extract", EXTRACT, folder, options.repeats)
    print("| features by | utterances per CPU s | share of the bare loop's | without the start | s | GB | |")
    print("|---|---|---|---|---|---|---|")
    bare = found["bare"]["cpu"] / options.files
    start_up = found["begin"]["cpu"] - FEW * bare  # of one process that works, and one that waits for it
    for name, run in found.items():
        num = FEW if name == "begin" else options.files
        starts = {"extract": 1, "extract8bit": 1, "extract2": 2}.get(name, 0)
        shares = (bare * num / (run["cpu"] - each * start_up) for each in (0, starts))
        figures = f"{num / run['cpu']:.0f} | {' | '.join(f'{share:.0%}' for share in shares)} | {run['seconds']:.1f}"
        print(f"| {name} | {figures} | {run['memory']:.2f} | {run['said']} |", flush=True)


def feed(options: argparse.Namespace, folder: Path) -> None:
    """Prints a row for each way to feed a training."""
    from benchmarks.data_speech import BATCH, bank
    from benchmarks.data_speech import extract as features

    for command in (*(features(folder, 1, storage) for storage in INPUT[:3]), bank(folder)):
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)
    found = turns("input", INPUT, folder, options.repeats)
    print("| crops of | batches of 64 per CPU s | times float32 | GB | |\n|---|---|---|---|---|")
    for name, run in found.items():
        rate, times = CROPS / BATCH / run["cpu"], found["float32"]["cpu"] / run["cpu"]
        print(f"| {name} | {rate:.1f} | {times:.2f} | {run['memory']:.2f} | {run['said']} |", flush=True)


def sizes(text: str) -> list[int]:
    """Returns the numbers of a list with commas."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time what corpora cost at their full size, against lhotse's own way.")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"which ({','.join(TASKS)})")
    parser.add_argument("--utterances", type=sizes, default=[20_000, 40_000, 80_000], help="of scale (20000,40000,80000)")
    parser.add_argument("--programs", type=lambda text: text.split(","), help=f"of scale ({','.join(SCALE)})")
    parser.add_argument("--files", type=int, default=3000, help="of extract and input (3000)")
    parser.add_argument("--speech", default="", help="folder of recordings to take speech from (made of noise)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each program of extract and input (3)")
    parser.add_argument("--scratch", help="folder for the data (the system's)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)  # of a process that this one starts
    options = parser.parse_args()
    if options.work:
        work(options.work[0], options.work[1], Path(options.work[2]))
        return
    tasks = options.tasks.split(",")
    if unknown := set(tasks) - set(TASKS) | set(options.programs or ()) - set(SCALE):
        parser.error(f"--tasks, --programs: expected some of {', '.join(TASKS)}; {', '.join(SCALE)}; found {', '.join(unknown)}")
    if "scale" in tasks:
        scale(options)
    if set(tasks) == {"scale"}:
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        from benchmarks.data_speech import make_speech, manifests

        folder = Path(name)
        make_speech(folder, options.files, options.speech)
        subprocess.run(manifests(folder), stderr=subprocess.DEVNULL, check=True)
        for task, show in (("extract", extract), ("input", feed)):
            if task in tasks:
                show(options, folder)


if __name__ == "__main__":
    main()
