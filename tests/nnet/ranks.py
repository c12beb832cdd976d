"""Ranks for tests: forks of the test process, which talk by gloo and hand back what a function returns there."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from steps.nnet.distributed import World

SECONDS = 60


def in_ranks(num: int, work: Callable[..., Any], *arguments: Any, timeout: float = 30.0) -> list[Any]:
    """What `work(world, *arguments)` returns in each of `num` ranks; None where a rank ended without returning."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_rank, args=(Path(folder), rank, num, work, arguments, timeout)) for rank in range(num)
        ]
        for process in processes:
            process.start()
        deadline = time.monotonic() + SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            assert process.exitcode is not None, "a rank hangs"
        files = [Path(folder) / f"{rank}.pt" for rank in range(num)]
        return [torch.load(file, weights_only=False) if file.is_file() else None for file in files]


def _rank(folder: Path, rank: int, num: int, work: Callable[..., Any], arguments: tuple[Any, ...], timeout: float) -> None:
    torch.set_num_threads(1)  # the threads of the test process are not here
    store = dist.FileStore(str(folder / "store"), num)
    world = World.join(store, rank=rank, size=num, device=torch.device("cpu"), timeout=timeout)
    torch.save(work(world, *arguments), folder / f"{rank}.pt")
    world.leave()
