"""Times scoring and figures at full size against the usual ways, and prints a table with the memory each one takes.

    python -m benchmarks.score [--tasks list,metrics,...] [--repeats 3] [--threads 2] [--quick] [--huge]

    list      Vox1-H's size: cosine and adaptive s-norm from Kaldi arks to a score file, against full matrices, np.sort and
              loops over the trials, as WeSpeaker's scripts do it (their cosine_similarity of scikit-learn replaced by a dot
              product, which is kinder)
    metrics   EER and minDCF of 10 million trials in memory, against scikit-learn's roc_curve (100 million with --huge)
    files     the same from a trial list and a score file, block by block, against reading all lines into lists
    pairs     the scores of all pairs of 100,000 utterances as a histogram, against the bare matrix products of the blocks
    plda      PLDA scores of 10 million trials, against gathering both sides with numpy
    linkage   linkage scores of 37,611 trials of eight windows a side, against a loop over scipy
    identify  the ten nearest of a million enrolled embeddings, against a full score matrix (and FAISS, if installed)

Data are generated. Every program runs in a process of its own, and they take turns, so that a busy machine slows all of
them alike: seconds are medians, without imports and without making the data; memory is the largest of the process. Where
both compute figures or scores, the largest difference stands beside them.
"""

import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = {
    "utterances": 137_924, "cohort": 5994, "trials": 550_894, "dim": 256, "top_n": 300, "metric_trials": 10_000_000,
    "file_trials": 2_000_000, "pair_utterances": 100_000, "plda_trials": 10_000_000, "linkage_trials": 37_611,
    "linkage_utterances": 4708, "enrolled": 1_000_000, "queries": 256,
}  # fmt: skip
QUICK = {
    "utterances": 600, "cohort": 120, "trials": 3000, "dim": 16, "top_n": 20, "metric_trials": 40_000, "file_trials": 3000,
    "pair_utterances": 1500, "plda_trials": 4000, "linkage_trials": 60, "linkage_utterances": 30, "enrolled": 6000, "queries": 20,
}  # fmt: skip
PROGRAMS = {  # our own way first; the last one is what the others are compared with
    "list": ("ours", "usual"),
    "metrics": ("counted", "sorted", "usual"),
    "files": ("ours", "usual"),
    "pairs": ("ours", "bare"),
    "plda": ("ours", "usual"),
    "linkage": ("ours", "usual"),
    "identify": ("ours", "faiss", "usual"),
}
OWN_THREADS = {"list_ours", "pairs_ours", "pairs_bare", "identify_ours"}  # one thread for each product, several products


def peak_memory() -> float:
    """Returns the most memory (GB) that this process has had; not what its parent had, as getrusage may say."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6


def work(options: argparse.Namespace) -> None:
    """Makes data, or runs one program and prints a line of JSON."""
    from benchmarks import score_programs

    size = json.loads(options.size)
    task, program = options.work
    if program == "make":
        getattr(score_programs, f"make_{task}")(options.folder, size)
        return
    run = getattr(score_programs, f"{task}_{program}")(options.folder, size, options.threads)
    began = time.perf_counter()
    numbers = run()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "memory": peak_memory(), "numbers": numbers}))


def start(options: argparse.Namespace, task: str, program: str, folder: Path, size: dict) -> dict:
    """Returns what a program of its own process prints."""
    threads = 1 if f"{task}_{program}" in OWN_THREADS else options.threads
    command = [sys.executable, "-m", "benchmarks.score", "--work", task, program, "--folder", str(folder)]
    command += ["--size", json.dumps(size), "--threads", str(options.threads)]
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(found) if found else {}


def compare(options: argparse.Namespace, task: str, size: dict) -> None:
    """Prints a row for each program of a task."""
    programs = [name for name in PROGRAMS[task] if name != "faiss" or importlib.util.find_spec("faiss")]
    found: dict[str, list[dict]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        start(options, task, "make", Path(folder), size)
        for _ in range(options.repeats):
            for name in programs:
                found[name].append(start(options, task, name, Path(folder), size))
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    memory = {name: max(run["memory"] for run in runs) for name, runs in found.items()}
    peer = programs[-1]
    for name in programs:
        pairs = zip(found[name][0]["numbers"], found[peer][0]["numbers"], strict=True)
        difference = max(abs(one - other) for one, other in pairs)
        ratio = seconds[peer] / seconds[name]
        print(f"| {task} | {name} | {seconds[name]:.3g} | {ratio:.3g} | {memory[name]:.2f} | {difference:.1e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time scoring and figures against the usual ways.")
    parser.add_argument("--tasks", default=",".join(PROGRAMS), help=f"which ({','.join(PROGRAMS)})")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each program (3)")
    parser.add_argument("--threads", type=int, default=2, help="of each program (2)")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether everything runs, not how fast")
    parser.add_argument("--huge", action="store_true", help="100 million trials for the tasks metrics and files")
    parser.add_argument("--scratch", help="folder for the data (the system's)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help=f"a size ({', '.join(SIZES)})")
    for name in ("--work", "--folder", "--size"):  # of a process that this one starts
        parser.add_argument(name, nargs=2 if name == "--work" else None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        options.folder = Path(options.folder)
        work(options)
        return
    size = QUICK if options.quick else SIZES | ({"metric_trials": 10**8, "file_trials": 10**8} if options.huge else {})
    for assignment in options.set:
        name, _, number = assignment.partition("=")
        if name not in SIZES or not number.isdigit():
            parser.error(f"--set: expected one of {', '.join(SIZES)} = a whole number, found {assignment!r}")
        size = size | {name: int(number)}
    tasks = options.tasks.split(",")
    if unknown := set(tasks) - set(PROGRAMS):
        parser.error(f"--tasks: expected some of {', '.join(PROGRAMS)}, found {', '.join(sorted(unknown))}")
    print(f"{options.threads} threads, median of {options.repeats}; {', '.join(f'{n} {v:,}' for n, v in size.items())}")
    print("| task | program | seconds | times as fast as the last | GB | largest difference from the last |")
    print("|---|---|---|---|---|---|")
    for task in tasks:
        compare(options, task, size)


if __name__ == "__main__":
    main()
