"""What is said of lists while they are read: once, by the process that plans, though workers read them, too."""

import logging

_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning
_said: set[tuple[int, str]] = set()
_PLANS = (0, "this process plans")


def begin() -> None:
    """Note that this process plans; workers list a corpus only for their own part of it."""
    _said.add(_PLANS)


def say(text: str, *, is_expected: bool = True) -> None:
    """Log a line, as a warning unless it is expected; nothing where it was said, or in a worker."""
    line = (logging.INFO if is_expected else logging.WARNING, text)
    if _PLANS in _said and line not in _said:
        _said.add(line)
        _LOG.log(line[0], "%s", text)
