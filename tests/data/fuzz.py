"""Damaged inputs for every reader of what people and other programs write: a value or a RecipeError comes out, or it is a defect.

    python -m tests.data.fuzz --examples 100000 [--reader trials ...] [--seed 1] [--list]

An example takes a good file and damages it: bytes, lines and words are lost, doubled, moved or replaced by what has broken
readers elsewhere. Whatever else than a value or a RecipeError comes out, takes more than `SECONDS` or more memory than
`MEMORY_BYTES` is shown, with the folder that holds the example, and the exit status is 1. The example that is being read
stays in its folder if the process dies of it.
"""

import argparse
import contextlib
import gzip
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import RecipeError
from steps.core.files import as_recipe_error
from tests.data import fuzz_readers

SECONDS = 10.0  # for one example
MEMORY_BYTES = 3 << 30  # of address space beyond what is taken at the start

WORDS = [
    b"", b" ", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", "é".encode(), "e\u0301".encode(),
    "\u2028".encode(), "\u00a0".encode(), "\x85".encode(), "\ufeff".encode(), "漢😀".encode(), "²".encode(), b"\x1c", b"\x0b",
    b'"', b"'", b"\\", b",", b";", b":", b"=", b"|", b"/", b"..", b"../x", b"/etc/passwd", b"~", b"*", b"%s", b"{0}", b"{", b"}",
    b"[", b"]", b"#", b"-", b"-1", b"0", b"1", b"2", b"00", b"nan", b"NaN", b"inf", b"-Infinity", b"1e999", b"1e-999", b"1_000",
    b"0x10", b"1.5", b"true", b"null", b"[]", b"{}", b"9" * 30, b"-" + b"9" * 30, b"9" * 5000, b"x" * 1001, b"a b" * 700,
    b"[" * 3000, b'{"a":' * 3000, b"2147483648", b"4294967295", b"-2147483649", b"18446744073709551616",
    b"target", b"nontarget", b"enrol", b"test", b"f", b"m",
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What is damaged and who reads it."""

    files: Mapping[str, bytes]  # good ones, by name
    read: Callable[[Path], object]  # takes the folder
    is_text: bool = True
    zipped: tuple[str, ...] = ()  # files that are damaged before they are packed


class TooSlowError(Exception):
    """An example took too long."""


def damaged(content: bytes, rng: random.Random, *, is_text: bool) -> bytes:
    """Return the content with one to five things done to it."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5])):
        content = rng.choice(_TEXT if is_text and rng.random() < 0.85 else _BYTES)(content, rng)
    return content


def _place(content: bytes, rng: random.Random) -> int:
    """Somewhere, and in the first bytes as often as in all the others: headers stand there."""
    return rng.randint(0, min(len(content), 64) if rng.random() < 0.5 else len(content))


def _change_byte(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])]) + content[place + 1 :]


def _change_number(content: bytes, rng: random.Random) -> bytes:
    """Four or eight bytes become a number that headers should not hold."""
    place, width = _place(content, rng), rng.choice([2, 4, 8])
    value = rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, rng.getrandbits(64)]) % 2 ** (8 * width)
    return content[:place] + value.to_bytes(width, rng.choice(["little", "big"])) + content[place + width :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _lose(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.choice([1, 2, 7, 64]) :]


def _double(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted((_place(content, rng), _place(content, rng)))
    return content[:stop] + content[start:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.choice(WORDS) + content[place:]


def _replace_word(content: bytes, rng: random.Random) -> bytes:
    """A word becomes another of the file, or an odd one; what is between words stays."""
    words = content.split(b" ") if rng.random() < 0.5 else content.replace(b"\n", b" \n").split(b" ")
    words[rng.randrange(len(words))] = rng.choice(WORDS) if rng.random() < 0.6 else rng.choice(words)
    return b" ".join(words)


def _replace_field(content: bytes, rng: random.Random) -> bytes:
    for mark in rng.sample([b",", b"\t", b'"', b":", b"=", b"|", b"/"], 7):
        if mark in content:
            parts = content.split(mark)
            parts[rng.randrange(len(parts))] = rng.choice(WORDS)
            return mark.join(parts)
    return content


def _change_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(4):
        case 0:
            del lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case _:
            lines[one] += lines[other]
    return b"\n".join(lines)


def _change_ends(content: bytes, rng: random.Random) -> bytes:
    return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b" \n", b"\n ", b"\0\n", "\u2028".encode()]))


def _recode(content: bytes, rng: random.Random) -> bytes:
    text = content.decode(errors="replace")
    return text.encode(rng.choice(["utf-8-sig", "utf-16", "utf-32", "latin-1"]), errors="replace")


_BYTES = [_change_byte, _change_number, _cut, _lose, _double, _insert, _change_number, _change_byte]
_TEXT = [_replace_word, _replace_word, _replace_field, _replace_field, _change_lines, _change_lines, _insert, _change_ends, _recode, _cut, _change_byte]  # fmt: skip # noqa: E501


def try_one(reader: Reader, folder: Path, rng: random.Random) -> str:
    """Damage one of the files, read them, and return what came out: "value" or "refused". Anything else is raised."""
    name = rng.choice(sorted(reader.files))
    for each, content in reader.files.items():
        text = damaged(content, rng, is_text=reader.is_text) if each == name else content
        if each in reader.zipped:
            text = gzip.compress(text, mtime=0)
            text = damaged(text, rng, is_text=False) if each == name and rng.random() < 0.2 else text
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes(text)
    try:
        with _timed():
            reader.read(folder)
    except RecipeError:
        return "refused"
    except OSError as error:  # which a stage turns into a message, as a name that is too long
        if as_recipe_error(error) is None:
            raise
        return "refused"
    return "value"


@contextlib.contextmanager
def _timed() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError(f"took more than {SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_memory() -> None:
    """Let a header that announces gigabytes end in a MemoryError instead of a machine that swaps."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES,) * 2)


def fuzz(readers: Mapping[str, Reader], num_examples: int, seed: int, folder: Path) -> tuple[Counter[str], dict[str, Path]]:
    """Return (outcomes by reader, "<reader>: <what came out>" -> folder of the first such example)."""
    outcomes: Counter[str] = Counter()
    defects: dict[str, Path] = {}
    for number in range(num_examples):
        name = sorted(readers)[number % len(readers)]
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        try:
            outcomes[f"{name}: {try_one(readers[name], place, random.Random(f'{seed} {name} {number}'))}"] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{name}: {type(error).__name__} {error} at {Path(last.filename).name}:{last.lineno}"[:300]
            outcomes[f"{name}: DEFECT"] += 1
            if sum(each.startswith(f"{name}: {type(error).__name__}") for each in defects) < 5:
                kept = folder / f"defect-{name}-{number}"
                shutil.copytree(place, kept)
                (kept / "TRACEBACK").write_text("".join(traceback.format_exception(error)), errors="replace")
                defects[what] = kept
    return outcomes, defects


def main() -> None:
    """Fuzz from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.data.fuzz")
    parser.add_argument("--examples", type=int, default=10_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", default=[], metavar="NAME", help="default: all but m4a")
    parser.add_argument("--list", action="store_true", help="name the readers and stop")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="for examples (default: a new folder)")
    options = parser.parse_args()
    folder = options.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    known = {name: Reader(**each) for name, each in fuzz_readers.readers(folder, with_aac="m4a" in options.reader).items()}
    if options.list:
        print("\n".join(known))
        return
    limit_memory()
    outcomes, defects = fuzz({name: known[name] for name in options.reader or known}, options.examples, options.seed, folder)
    print("\n".join(f"{count:8} {outcome}" for outcome, count in sorted(outcomes.items())))
    print("\n".join(f"DEFECT {what}; see {place}" for what, place in defects.items()) or "no defect")
    sys.exit(bool(defects))


if __name__ == "__main__":
    main()
