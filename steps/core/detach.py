"""Start run.sh so that it outlives the shell: `./run.sh --detach ...` ends here.

On a cluster run.sh itself becomes a small job that submits the others. Not a chain of jobs with dependencies: what a stage has to
do, and whether it is up to date, is known only when the one before has ended; a dependency on a failed job waits for ever unless
somebody sets it not to; and a job can be put back into the queue, by its time limit or by a lost node, and go on.
"""

import argparse
import contextlib
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from steps.core import slurm
from steps.core.errors import RecipeError
from steps.core.failures import make_folder, reported
from steps.core.launch import log_path
from steps.core.launchers import read_launcher
from steps.core.log import configure
from steps.core.slurm import Slurm
from steps.core.slurm_array import record, write_job
from steps.core.slurm_task import reserve


def detach(launcher_name: str, folder: Path, start: Path, words: list[str]) -> tuple[str, Path]:
    """Start a command in the background of this host, or as a job; what it is called and its log.

    `folder` gets what is kept of it, `start` is the folder that relative paths among the words begin in.
    """
    launcher = read_launcher(launcher_name)
    name = f"run-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    own = folder / name
    make_folder(own)
    log = log_path(own, 0)
    if not isinstance(launcher, Slurm) or launcher.detach == "here":
        with open(log, "ab") as file:
            process = subprocess.Popen(
                words, cwd=start, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        return f"process {process.pid}", log
    reserve(own, 0)
    write_job(own, words, settings=launcher, threads=0, expects=(), submits=True, cwd=str(start))
    slurm.write_script(own / "job.sh", launcher, "steps.core.slurm_task", [str(own.absolute())], logs=own)
    record(own, name)
    try:
        job = slurm.submit(launcher, launcher.submitter, name=name, script=own / "job.sh", logs=own, parts=[0], threads=1)
    except RecipeError:
        _forget(own, name)
        raise
    record(own, name, job)
    return f"job {job}", log


def _forget(own: Path, name: str) -> None:
    """Remove what is kept of a run that Slurm refused; if it does not say, it may have taken it."""
    with contextlib.suppress(RecipeError, slurm.SlurmSilent):
        if not slurm.find(name):
            shutil.rmtree(own)


def main() -> None:
    """Called by run.sh."""
    parser = argparse.ArgumentParser(prog="python -m steps.core.detach", allow_abbrev=False)
    parser.add_argument("--launcher", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="what is kept of detached runs")
    parser.add_argument("--start", type=Path, required=True, help="the folder that run.sh was called in")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    log = configure("detach")
    with reported(log):
        name, path = detach(
            options.launcher, options.folder, options.start, [each for each in options.words if each != "--detach"]
        )
    print(f"{name}; log: {path}\n./run.sh --status shows how far it is (with the same --recipe and --exp)")


if __name__ == "__main__":
    main()
