"""Which failures of a machine a user can repair, whichever library reports them, and in which words."""

import errno
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from logging import Logger
from pathlib import Path

from steps.core import files
from steps.core.errors import EXIT_USER, RecipeError

# How libraries say that a file could not be written, where they keep the system's number for themselves: the system's own words
# (safetensors), those of numpy, of libsndfile, and of torch.save.
_FULL = re.compile(
    "No space left on device|Disk quota exceeded|File too large|Not enough free space to write|requested and [0-9]+ written"
)
_NOT_WRITTEN = {
    "soundfile": re.compile("System error"),
    "builtins": re.compile("iostream error|unexpected pos [0-9]+ vs|PytorchStreamWriter failed"),
}
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_recipe_error(error: BaseException) -> RecipeError | None:
    """Return the message for a failure that the user can repair (full disk, quota, rights), None for another one."""
    if isinstance(error, RecipeError):
        return error
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, OSError) and each.errno in _FULL_NUMBERS:
            each.filename = each.filename or _where()
            return files.as_recipe_error(each)
    for each in chain:
        if _FULL.search(str(each)) or _NOT_WRITTEN.get(type(each).__module__, _FULL).search(str(each)):
            return RecipeError(
                f"{_where()}: a file could not be written ({type(each).__name__}: {str(each).strip()}); is the disk or the quota "
                f"full{_free(_where())}? Nothing finished was lost: make room and rerun"
            )
    return files.as_recipe_error(error) if isinstance(error, OSError) else None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if they are not there.

    Raises:
        RecipeError: the place takes no folders (as /proc), or a file lies there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RecipeError(f"{folder}: is a file, expected a folder; choose another place, with --exp that of results") from None
    except FileNotFoundError as error:  # though the folders above were to be made, too
        raise RecipeError(
            f"{folder}: no folder can be made there ({error.filename}: {error.strerror}); expected a file system that takes "
            "folders; choose another place, with --exp that of results"
        ) from None


@contextmanager
def reported(log: Logger) -> Iterator[None]:
    """End the process with one message and status 2 where the block fails for a reason that the user can repair."""
    try:
        yield
    except Exception as error:
        known = as_recipe_error(error)
        if known is None:
            raise
        log.error("error: %s", known)
        sys.exit(EXIT_USER)


def quiet_threads() -> None:
    """Let threads that fail for such a reason end without a traceback: what they were to do fails in the main thread, too."""
    shown = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is None or as_recipe_error(failure.exc_value) is None:
            shown(failure)

    threading.excepthook = hook


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised for or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _where() -> str:
    """The folder that this process makes, as its command line says."""
    return next((after for word, after in pairwise(sys.argv) if word == "--out"), "a file")


def _free(folder: str) -> str:
    """What is free on the disk of a folder, in brackets; "" where that is not known."""
    there = next((path for path in (Path(folder), *Path(folder).parents) if path.exists()), None)
    if there is None or folder == "a file":
        return ""
    state = os.statvfs(there)
    return f" ({state.f_bavail * state.f_frsize / 1e6:.1f} MB and {state.f_favail} files are free)"
