"""The one exception that means: the user can repair this."""

from collections.abc import Iterable, Sequence
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


def together(what: str, errors: Sequence[RecipeError]) -> str:
    """Return the text of one error, or of several under a line that counts them; one that is there twice is told once."""
    texts = list(dict.fromkeys(str(error).replace("\n", "\n   ") if len(errors) > 1 else str(error) for error in errors))
    if len(texts) == 1:
        return texts[0]
    return f"{what}: {len(texts)} faults" + "".join(f"\n  {number}. {text}" for number, text in enumerate(texts, start=1))
