"""Ctrl-C, SIGTERM and SIGUSR1: they end a stage at once, and where that would lose work they wait for the next good moment.

SIGUSR1 is what clusters send before a time limit (Slurm's --signal): by default it would end a process without a word.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGUSR1)
_NUMBERS = (signal.SIGINT, *_ENDING)


def end_on_sigterm() -> None:
    """From now on SIGTERM and SIGUSR1 raise KeyboardInterrupt, as Ctrl-C does; once: a second one leaves the tidying alone."""
    for number in _ENDING:
        signal.signal(number, _raise_once)
    sys.unraisablehook = _raise_again


def _raise_again(lost: Any) -> None:
    """Python drops an exception that comes in a destructor or a hook of os.fork: an interrupt comes again a moment later."""
    if issubclass(lost.exc_type, KeyboardInterrupt) and not sys.is_finalizing():
        end_on_sigterm()
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(lost)


def _raise_once(number: int, frame: Any) -> None:
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Within the block a first Ctrl-C, SIGTERM or SIGUSR1 only makes the given function return True; a second Ctrl-C raises.

    For a loop that can stop between two steps and not within one:

        with held_interrupts() as asked_to_stop:
            for batch in batches:
                train(batch)
                if asked_to_stop():
                    save()
                    raise KeyboardInterrupt

    Leaving the block after a signal that nobody asked for raises KeyboardInterrupt. Only of use in the main thread.
    """
    heard: list[int] = []

    def note(number: int, frame: Any) -> None:
        if number == signal.SIGINT and signal.SIGINT in heard:
            raise KeyboardInterrupt
        heard.append(number)

    asked = False

    def asked_to_stop() -> bool:
        nonlocal asked
        asked = asked or bool(heard)
        return bool(heard)

    before = {number: signal.signal(number, note) for number in _NUMBERS}
    try:
        yield asked_to_stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if number in _ENDING and heard else handler)
    if heard and not asked:
        raise KeyboardInterrupt
