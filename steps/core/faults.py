"""All that is wrong, in one message, with the command line that repairs it."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from steps.core import config
from steps.core.errors import RecipeError, together

COMMAND = "SIDAMO_COMMAND"  # what the user typed, as run.sh leaves it for its stages
_BETWEEN = "\x1f"  # its words


class Faults:
    """What is wrong with one thing, such as a corpus: collected while it is looked at as if the faults before were repaired."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.found: list[RecipeError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a RecipeError of the block; what stands after the block is done all the same."""
        try:
            yield
        except RecipeError as error:
            self.found.append(error)

    def add(self, error: RecipeError | None) -> None:
        """Keep a fault, if there is one."""
        if error is not None:
            self.found.append(error)

    def check(self) -> None:
        """Raise one RecipeError about all of them, if there are any."""
        self.found = list({str(error): error for error in self.found}.values())
        if not self.found:
            return
        repairs = {name: value for error in self.found for name, value in error.repairs}
        raise RecipeError(together(self.where, self.found) + _advice(self.found, repairs), repairs=repairs.items())


def command_with(repairs: Iterable[tuple[str, Any]]) -> str:
    """Return the command line that the user typed, with these settings; without run.sh the options alone."""
    repairs = dict(repairs)
    options = " ".join(config.option(name, value) for name, value in repairs.items())
    words = os.environ.get(COMMAND, "").split(_BETWEEN)
    return f"{shlex.join(_without(words, repairs))} {options}" if words[0] else options


def _advice(found: Sequence[RecipeError], repairs: Mapping[str, Any]) -> str:
    """Return the lines at the end: what no setting repairs, and the command for all that one does."""
    if not repairs:
        return ""
    by_hand = [str(number) for number, error in enumerate(found, start=1) if not error.repairs]
    what = "this repairs it" if len(found) == 1 else "this repairs all of it"
    if by_hand:
        what = f"no setting repairs {', '.join(by_hand)}: change the files or lists; this repairs the others"
    how = "" if os.environ.get(COMMAND) else " (add it to the command line)"
    return f"\n{what}, and goes on with what is finished{how}:\n    {command_with(repairs.items())}"


def _without(words: Sequence[str], repairs: Mapping[str, Any]) -> list[str]:
    """Return the words without the `--set` of settings that are set anew."""
    kept: list[str] = []
    for word in words:
        is_value = kept[-1:] == ["--set"]
        if (word if is_value else word.removeprefix("--set=")).partition("=")[0].strip() not in repairs:
            kept.append(word)
        elif is_value:
            kept.pop()
    return kept
