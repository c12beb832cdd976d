"""Names of files and speakers as people and file systems write them: what prints, and what only looks the same."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches

MAX_BYTES = 1000  # of an id: readers of lists take none that is longer (`columns.MAX_FIELD`)

_MAX_COMPARED, _SHARED = 20_000, 3  # ids that are compared letter by letter, and letters that these share if there are more


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


def nearest(name: str, known: Collection[str], num: int = 3) -> list[str]:
    """Return the known ids that a name may have meant, the likeliest first: of the same last part, or spelt like it.

    Of very many ids only those that begin as the name does are compared letter by letter.
    """
    tail = _plain(re.split(r"[/\\]", name)[-1])
    whole = _plain(name)
    same = [each for each in known if _plain(each) == whole] or [
        each for each in known if _plain(each.rpartition("/")[2]) == tail
    ]
    if same:
        return _closest(name, same, num, 0.0)
    pool = known if len(known) <= _MAX_COMPARED else [each for each in known if each[:_SHARED] == name[:_SHARED]]
    return _closest(name, pool, num, 0.6)


def _closest(name: str, pool: Collection[str], num: int, least: float) -> list[str]:
    """Those that are spelt most like a name, of equally like ones the first by the alphabet."""
    found = get_close_matches(name, sorted(pool)[:_MAX_COMPARED], 10 * num, least)
    return sorted(found, key=lambda each: (-SequenceMatcher(None, each, name).ratio(), each))[:num]


def said_nearest(name: str, known: Collection[str]) -> str:
    """Return " (like it: 'a', 'b')" of the known ids that a name may have meant, for a message; "" where there are none."""
    found = nearest(name, known)
    return f" (like it: {', '.join(map(repr, found))})" if found else ""


def _plain(name: str) -> str:
    """Letters and digits of a name without an extension, in lower case."""
    return re.sub(r"[\W_]", "", re.sub(r"\.[A-Za-z]\w{0,4}$", "", name)).lower()
