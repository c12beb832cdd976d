"""Names of files and speakers as people and file systems write them: what prints, and what only looks the same."""

import unicodedata
from collections.abc import Iterable

MAX_BYTES = 1000  # of an id: readers of lists take none that is longer (`columns.MAX_FIELD`)


def printable(text: str) -> str:
    r"""Return the text with what does not print (tabs, ends of lines, bytes that are no UTF-8) as Python writes it: \n."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def is_text(name: str) -> bool:
    """Return whether a name can be written as UTF-8: the name of a file may hold other bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def composed(name: str) -> str:
    """Return a name in Unicode's form NFC: macOS writes an accent behind its letter (NFD), others one sign for both."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def decomposed(name: str) -> str:
    """Return a name in Unicode's form NFD."""
    return name if name.isascii() else unicodedata.normalize("NFD", name)


def lookalikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different names that are one in form NFC."""
    seen: dict[str, str] = {}
    foreign = sorted({name for name in names if not name.isascii()})
    return [(seen[composed(name)], name) for name in foreign if seen.setdefault(composed(name), name) != name]
