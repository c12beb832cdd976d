"""Stage 4 in several processes: how they are started, what each begins with, and how their end is told.

The process that runs the stage computes nothing then. It keeps a store, in which it lays the job, by which the ranks find one
another, and in which each says how it ended.
"""

import dataclasses
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from steps.core import config, files
from steps.core.errors import EXIT_BUG, EXIT_USER, RecipeError
from steps.core.interrupts import end_on_sigterm
from steps.core.launch import PartsFailed, ending
from steps.core.log import configure
from steps.core.ranks import Place, on_several_hosts, place, run_ranks
from steps.core.stage import Job
from steps.nnet.distributed import RankLost, World
from steps.nnet.precision import chosen_device

# Exit statuses of a rank beside 0, 1 (a bug) and 2 (the user can repair it).
EXIT_LOST = 3  # another rank was gone
EXIT_INTERRUPTED = 4
LOGS = "ranks"  # folder of the logs of all ranks but the first, whose messages are those of the stage
TAIL_LINES = 20  # of a rank's log


def train_in_ranks(job: Job) -> None:
    """Runs `python -m steps.train --rank` in as many processes as the settings say, until they have trained the network.

    Raises:
        KeyboardInterrupt: they were stopped; a rerun goes on from their checkpoint.
        RecipeError: one of them met what the user can repair, was killed, or did not answer.
        PartsFailed: one of them met a bug.
    """
    logs = job.out / LOGS
    logs.mkdir(exist_ok=True)
    for log in logs.iterdir():
        log.unlink()
    statuses, ends, interrupted = _run(job)
    _conclude(statuses, ends, interrupted, logs)


def _run(job: Job) -> tuple[dict[int, int], list[dict[str, Any] | None], bool]:
    """Exit statuses of the ranks where they are known, what each said at its end, and whether there was an interrupt."""
    s = job.settings.train
    host = socket.gethostname() if on_several_hosts() else "127.0.0.1"
    store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
    store.set("job", _as_text(job))
    job.log.info("%d ranks, each with %d threads; their logs: %s", s.ranks, s.threads, job.out / LOGS)
    command = [sys.executable, "-m", "steps.train", "--rank", f"{host}:{store.port}"]
    statuses, interrupted = run_ranks(command, s.ranks, threads=s.threads)
    return statuses, [_end_of(store, rank) for rank in range(s.ranks)], interrupted


def _end_of(store: Any, rank: int) -> dict[str, Any] | None:
    """What a rank said at its end; None if it had no time to say anything."""
    key = f"end {rank}"
    return json.loads(store.get(key)) if store.check([key]) else None


def _conclude(statuses: Mapping[int, int], ends: Sequence[dict[str, Any] | None], interrupted: bool, logs: Path) -> None:
    """Return if all ranks ended well; otherwise raise what the first cause was: those that lost another one come last."""
    num = len(ends)
    said = {status: [rank for rank, end in enumerate(ends) if end and end["status"] == status] for status in range(5)}
    if len(said[0]) == num:
        return
    if interrupted or said[EXIT_INTERRUPTED]:
        raise KeyboardInterrupt
    goes_on = "the last checkpoint is kept, and a rerun goes on from it"
    if said[EXIT_USER]:
        raise RecipeError(ends[said[EXIT_USER][0]]["message"])
    if said[EXIT_BUG]:
        rank = said[EXIT_BUG][0]
        raise PartsFailed(f"rank {rank} of {num} failed:\n{ends[rank]['message']}\n{goes_on}", EXIT_BUG)
    silent = [rank for rank, end in enumerate(ends) if end is None]
    if silent:
        rank = next((rank for rank in silent if statuses.get(rank, 0) < 0), silent[0])
        how = ending(statuses[rank]) if rank in statuses else "ended without a word"
        raise RecipeError(f"rank {rank} of {num} {how} (killed, or out of memory?){_tail(logs, rank)}; {goes_on}")
    rank = said[EXIT_LOST][0]
    raise RecipeError(
        f"rank {rank} of {num} waited in vain for another one ({ends[rank]['message']}); {goes_on}: if a rank is only slow, "
        "raise train.rank_timeout"
    )


def _tail(logs: Path, rank: int) -> str:
    log = _log_of(logs, rank)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:] if log.is_file() else []
    return f"; the end of {log}:\n" + "".join(f"    {line}\n" for line in lines) + "so" if lines else ""


def _log_of(logs: Path, rank: int) -> Path:
    return logs / f"rank.{rank}.log"


def run_rank(address: str, sections: Mapping[str, config.Section], train: Callable[[Job, World, torch.device], None]) -> None:
    """What a rank does from its start to its exit: `train(job, world, device)`, and it says how that ended.

    Only rank 0 hears of interrupts, and decides for all when to stop: others that stopped on their own would take from it
    the update under way.
    """
    where = place()
    end_on_sigterm()
    if where.rank:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
    host, _, port = address.rpartition(":")
    store = dist.TCPStore(host, int(port), is_master=False)
    job = _from_text(store.get("job").decode(), sections)
    if where.rank:
        _to_file(_log_of(job.out / LOGS, where.rank))
        job.log.setLevel(logging.WARNING)
    status, message = _attempt(where, store, job, train)
    store.set(f"end {where.rank}", json.dumps({"status": status, "message": message}))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a rank that lost another one could wait for it until the end of time


def _attempt(where: Place, store: Any, job: Job, train: Callable[[Job, World, torch.device], None]) -> tuple[int, str]:
    """Exit status and message."""
    s = job.settings.train
    try:
        device = _device(s.device, where, s.ranks)
        store_of_all = dist.PrefixStore("ranks", store)
        world = World.join(store_of_all, rank=where.rank, size=s.ranks, device=device, timeout=s.rank_timeout)
        train(job, world, device)
        world.leave()
    except RankLost as error:
        return EXIT_LOST, str(error)
    except RecipeError as error:
        return EXIT_USER, str(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED, ""
    except OSError as error:
        known = files.as_recipe_error(error)
        if known is not None:
            return EXIT_USER, str(known)
        return EXIT_BUG, traceback.format_exc()
    except Exception:  # the process that started this one shows it
        return EXIT_BUG, traceback.format_exc()
    return 0, ""


def _device(name: str, where: Place, num: int) -> torch.device:
    """The GPU of this rank, or the CPU."""
    try:
        device = chosen_device(name)
    except ValueError as error:
        raise RecipeError(f"train.{error}; add --set train.device=cpu") from None
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count()
    if not where.by_srun and count < num:
        raise RecipeError(
            f"train.ranks = {num}: expected as many GPUs, found {count}; add --set train.ranks={count}, or --set train.device=cpu"
        )
    # Where Slurm shows each task only its own GPU, that is number 0.
    device = torch.device("cuda", where.local_rank if where.local_rank < count else 0)
    torch.cuda.set_device(device)
    return device


def _to_file(log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)


def _as_text(job: Job) -> str:
    inputs = {name: None if folder is None else str(folder.absolute()) for name, folder in job.inputs.items()}
    settings = {name: dataclasses.asdict(value) for name, value in vars(job.settings).items()}
    known = {"settings": settings, "site": job.site, "inputs": inputs, "out": str(job.out.absolute())}
    return json.dumps(known | {"fingerprint": job.fingerprint})


def _from_text(text: str, sections: Mapping[str, config.Section]) -> Job:
    known = json.loads(text)
    layers = config.Layers()
    layers.merge(known["settings"], "the settings of this run")
    settings = SimpleNamespace(**{name: config.build(name, kind, layers) for name, kind in sections.items()})
    inputs = {name: None if folder is None else Path(folder) for name, folder in known["inputs"].items()}
    return Job(
        settings=settings, site=known["site"], inputs=inputs, input_lists={}, out=Path(known["out"]), jobs=1,
        log=configure("train"), fingerprint=known["fingerprint"],
    )  # fmt: skip
