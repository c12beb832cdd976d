"""Messages on stderr, results on stdout, progress where somebody is watching."""

import logging
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def configure(name: str) -> logging.Logger:
    """The logger of one stage, writing `HH:MM:SS name: message` to stderr. Called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return logger


def command_line() -> str:
    """The command that started this process, quoted so that a shell would read it back."""
    return shlex.join(sys.orig_argv)


def progress(items: Iterable[Item], *, title: str, total: int, logger: logging.Logger) -> Iterator[Item]:
    """The items again, with a progress bar if stderr is a terminal, else with a line every 30 seconds."""
    if sys.stderr.isatty():
        from tqdm import tqdm  # only where a person watches

        yield from tqdm(items, desc=title, total=total, leave=False, file=sys.stderr)
        return
    last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > 30:
            last = time.monotonic()
            logger.info("%s: %d of %d", title, count, total)
