"""What a job of Slurm runs: a part's command, and then a file with its exit status. `python -m steps.core.slurm_task FOLDER`.

Reads FOLDER/job.json (see slurm_array.py) and the number of its task. Two signals matter:

- USR1, sent by Slurm some time before the time limit: the command is told to stop (SIGTERM: training saves a checkpoint), then
  the job puts itself into the queue again and goes on from there. It keeps its number, so whoever waits for it need not know.
- TERM (scancel, preemption): handed on. Whether the task runs again is then for squeue to say, and the status file says so.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steps.core import files
from steps.core.launch import die_with_parent, ending, line_of

STATUS_BYTES = 512  # a status file has this length from the start: a full disk does not keep a task from saying that it is full
_REQUEUE_SECONDS = 300  # within which Slurm ends a job that it has put into the queue again


def status_path(folder: Path, part: int) -> Path:
    """Where a task says how it ended."""
    return folder / f"status.{part}.json"


def reserve(folder: Path, part: int) -> None:
    """Take the room of a task's status file, before anything runs that could fill the disk."""
    _reserved(folder, part).write_bytes(b" " * STATUS_BYTES)


def _reserved(folder: Path, part: int) -> Path:
    return folder / f"reserved.{part}"


def write_status(folder: Path, part: int, status: Mapping[str, Any]) -> None:
    """Write a task's status file: whole or not at all, in the room that was reserved for it."""
    content = json.dumps(status).encode().ljust(STATUS_BYTES - 1) + b"\n"
    handle = os.open(_reserved(folder, part), os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(handle, content, 0)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(_reserved(folder, part), status_path(folder, part))


def main() -> None:
    """Run the command of one task, and exit with its status."""
    folder = Path(sys.argv[1])
    part = int(os.environ["SLURM_ARRAY_TASK_ID"])
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    task = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{part}"
    host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    began = time.monotonic()
    job = _read_job(folder)
    _say(f"task {task} on {host}{f', start {restart + 1}' if restart else ''}")
    status_path(folder, part).unlink(missing_ok=True)  # of an earlier start
    heard: list[int] = []
    code = _run(job, part, heard)
    about = {"task": task, "host": host, "restart": restart, "seconds": round(time.monotonic() - began, 1)}
    about |= {"stopped": bool(heard) and code != 0}
    if code != 0 and signal.SIGUSR1 in heard:
        if restart < job["requeues"]:
            _requeue(task)  # does not come back, unless Slurm refuses
        else:
            _say(f"stopped by its time limit for the {restart + 1}th time; launch.requeues = {job['requeues']}")
        about |= {"stopped": False, "out_of_time": True}
    write_status(folder, part, {"status": code} | about)
    _say(f"{ending(code)} after {about['seconds']:.1f} s")
    sys.exit(code if code >= 0 else 128 - code)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} slurm: {text}", file=sys.stderr, flush=True)


def _read_job(folder: Path) -> dict[str, Any]:
    """What to run, once this host sees it and all files that it builds on; a network file system may show them late."""
    deadline, job = time.monotonic() + 600, None
    while True:
        late = [str(folder / "job.json")]
        if job is None and (folder / "job.json").is_file():
            job = files.read_json(folder / "job.json")
            deadline = time.monotonic() + job["late_seconds"]
        if job is not None:
            late = [name for name, expected in job["expects"].items() if _file_hash(Path(name)) != expected]
        if not late:
            return job
        if time.monotonic() > deadline:
            _say(
                f"error: this host does not see {late[0]} as it was written, {job['late_seconds'] if job else 600} s after it was"
            )
            _say("is it on a file system that all hosts of the cluster share? launch.late_seconds says how long to wait")
            sys.exit(1)
        time.sleep(0.5)


def _file_hash(path: Path) -> str:
    import hashlib

    try:
        os.listdir(path.parent)  # makes a network file system look again
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _run(job: Mapping[str, Any], part: int, heard: list[int]) -> int:
    """The exit status of the part's command; `heard` gets the signals that came meanwhile."""
    process: subprocess.Popen | None = None

    def pass_on(number: int, frame: Any) -> None:
        if not heard and process is not None and process.poll() is None:
            _stop(process, job, number)
        heard.append(number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    process = subprocess.Popen(
        line_of(job["command"], part),
        stdin=subprocess.DEVNULL,
        cwd=job["cwd"],
        env=os.environ | job["environment"],
        start_new_session=True,
        preexec_fn=functools.partial(_prepare_child, os.getpid()),
    )
    if heard:  # between the two lines above
        _stop(process, job, heard[0])
    code = process.wait()
    if job["submits"]:
        _await_group(process.pid)
    return code


def _await_group(group: int) -> None:
    """Return when a program's helpers have ended too: what a cancelled run.sh leaves still cancels its arrays."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def _stop(process: subprocess.Popen, job: Mapping[str, Any], number: int) -> None:
    if not job["submits"]:
        process.terminate()  # the part itself: its helpers end when it has no more use for them
    elif number == signal.SIGUSR1:
        # A run.sh that submits others: killed, it leaves them at work, and its next start finds them. SIGTERM would cancel them.
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGTERM)


def _prepare_child(parent: int) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(parent)


def _requeue(task: str) -> None:
    """Put this task into the queue again; Slurm then ends it. Returns if Slurm refuses."""
    _say("near its time limit: goes back into the queue, and on from here when it is its turn")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is what comes then
    try:
        subprocess.run(["scontrol", "requeue", task], capture_output=True, text=True, check=True)
    except OSError as error:  # in a container that lacks it
        _say(f"it could not: scontrol: {error.strerror}")
        return
    except subprocess.CalledProcessError as error:
        _say(f"it could not: {error.stderr.strip()}")
        return
    time.sleep(_REQUEUE_SECONDS)
    sys.exit(1)


if __name__ == "__main__":
    main()
