"""Kill a whole run of the toy recipe at random moments, start it again, and compare with a run that nobody disturbed.

    python tests/recipes/kill_test.py --kills 20 --seed 1

After every kill each output folder must be whole or absent; at the end all must hold the same bytes. Exit status 0: all same.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))

from steps.core.files import content_hash, read_json  # noqa: E402

# The toy recipe, small enough for a minute, with a checkpoint after every update.
SMALL = (
    "prepare.num_train_voices=12", "prepare.num_dev_voices=4", "prepare.num_test_voices=4", "prepare.num_noises=4",
    "prepare.num_music=2", "prepare.num_rirs=4", "prepare.clip_duration=1.5", "prepare.sessions_per_voice=2",
    "train.epochs=3", "train.batch_size=8", "train.threads=1", "train.checkpoint_seconds=0.0", "score.replicates=50",
    "tasks.run=[]",
)  # fmt: skip
SMALL_SYSTEM = {
    "xvector": ("model.channels=[16, 16, 16, 16, 32]", "model.embedding_dim=16", "score.lda_dim=4"),
    "resnet_aam": ("model.channels=4", "model.embedding_dim=16", "score.norm_top=4"),
}
# A report says when and by which command its results were made: its content is another one each time.
TELLS_OF_THE_RUN = "report"


def start(exp: Path, system: str, jobs: int) -> subprocess.Popen:
    """A running ./run.sh, leader of its own process group."""
    words = ["./run.sh", "--system", system, "--jobs", str(jobs), "--exp", str(exp)]
    for assignment in (*SMALL, *SMALL_SYSTEM.get(system, ())):
        words += ["--set", assignment]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("VIRTUAL_ENV", None)
    with open(exp.with_name(exp.name + ".log"), "ab") as log:
        return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(exp: Path, system: str, jobs: int) -> float:
    """Seconds of a run to the end. Raises RuntimeError if it fails."""
    began = time.monotonic()
    if start(exp, system, jobs).wait() != 0:
        raise RuntimeError(f"the run failed; see {exp}.log")
    return time.monotonic() - began


def kill_after(seconds: float, number: int, process: subprocess.Popen) -> bool:
    """Whether the group was still at work after so many seconds; it is dead now. Raises RuntimeError if it failed by itself."""
    try:
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
        process.wait()
        return True
    if status != 0:
        raise RuntimeError(f"the run ended by itself with status {status}")
    return False


def damaged(exp: Path) -> list[str]:
    """Files of finished outputs that are not what their stamp says."""
    found = []
    for stamp in exp.rglob("stamp.json"):
        if ".partial" in str(stamp):
            continue
        for name, expected in read_json(stamp)["outputs"].items():
            path = stamp.parent / name
            if not path.is_file() or content_hash(path) != expected:
                found.append(str(path))
    return found


def differing(one: Path, other: Path) -> list[str]:
    """What is not the same in two finished runs: contents of stamps, bytes of models and scores; and what was left behind."""
    found = []
    stamps = {path.relative_to(exp) for exp in (one, other) for path in exp.rglob("stamp.json")}
    files = {path.relative_to(exp) for exp in (one, other) for path in exp.rglob("*.safetensors")}
    files |= {path.relative_to(exp) for exp in (one, other) for path in exp.glob("*/*/scores/**/*.txt")}
    for name in sorted(stamps):
        kinds = [read_json(exp / name)["content"] if (exp / name).is_file() else "" for exp in (one, other)]
        if len(set(kinds)) > 1 and (name.parent.name != TELLS_OF_THE_RUN or "" in kinds):
            found.append(f"{name}: content")
    for name in sorted(files):
        if not all((exp / name).is_file() for exp in (one, other)) or (one / name).read_bytes() != (other / name).read_bytes():
            found.append(f"{name}: bytes")
    left = [path for path in other.rglob("*") if path.name.endswith((".partial", ".lock", ".tmp")) or ".old-" in path.name]
    return found + [f"{path.relative_to(other)}: left behind" for path in sorted(left)]


def main(arguments: Sequence[str]) -> int:
    """Run, kill, run, compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the signals")
    parser.add_argument("--signals", default="KILL", help="of these one is drawn each time, as in KILL,TERM,INT")
    parser.add_argument("--system", default="xvector", help="of the toy recipe")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where to work; default: a temporary folder")
    options = parser.parse_args(arguments)
    signals = [signal.Signals[f"SIG{name}"] for name in options.signals.split(",")]
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        seconds = finish(folder / "undisturbed", options.system, options.jobs)
        print(f"undisturbed: {seconds:.1f} s", flush=True)
        kills, turn, status = 0, 0, 0
        while kills < options.kills:
            turn, exp = turn + 1, folder / f"killed.{turn + 1}"
            # Up to half of a whole run at a time: a run that ends before it is killed begins another turn.
            while kills < options.kills:
                delay, number = rng.uniform(0, seconds / 2), rng.choice(signals)
                if not kill_after(delay, number, start(exp, options.system, options.jobs)):
                    break
                kills += 1
                stages = sorted(str(path.relative_to(exp)) for path in exp.rglob("*.partial"))
                bad = damaged(exp)
                print(f"{number.name} after {delay:.2f} s, at work: {', '.join(stages) or '-'}", *bad, flush=True)
                status |= bool(bad)
            finish(exp, options.system, options.jobs)
            bad = differing(folder / "undisturbed", exp) + damaged(exp)
            print(f"turn {turn}:", "same" if not bad else "\n    ".join(["DIFFERS", *bad]), flush=True)
            status |= bool(bad)
    print(f"{kills} kills, {turn} runs to the end, {'all the same' if not status else 'NOT THE SAME'}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
