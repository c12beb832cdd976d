"""The one exception that means: the user can repair this."""

from collections.abc import Iterable
from typing import Any

EXIT_USER = 2
EXIT_BUG = 1


class RecipeError(Exception):
    """What a user did, or what their data or machine lacks: shown as one message, exit status 2.

    The message says what happened and where (file, line, key, id), what was expected and what was found,
    and what to do next. A setting that it advises is written as the option to type: `--set section.key=value`.

    Args:
        message: the text.
        repairs: ("section.key", value) of settings that together repair it, if any do; see `faults.py`.
    """

    def __init__(self, message: str, *, repairs: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__(message)
        self.repairs = tuple(repairs)
