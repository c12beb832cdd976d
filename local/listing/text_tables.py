"""Tables as they stand in files: CSV, TSV, and JSON lines (gzipped or not), each line as names and texts."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.listing.files import read_text
from steps.core.errors import RecipeError

_JSON = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".manifest")
_COMMON_VOICE = "client_id"

Line = tuple[int, dict[str, str]]  # its number in the file, and the values by column


@dataclass(frozen=True)
class Table:
    """A table: its header, names in lower case, and its lines."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[Line, ...]

    def where(self, number: int) -> str:
        """The place of a line."""
        return f"{self.path}:{number}"


def is_json(path: Path) -> bool:
    """Return whether a file has the name of JSON lines, or begins as they do."""
    if path.name.lower().endswith(_JSON) or not path.is_file():
        return path.name.lower().endswith(_JSON)
    with open(path, "rb") as file:
        return file.read(1) == b"{"


def read_table(path: Path, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (file:line, values by column) of a CSV or TSV file with a header; a tab in the header makes it a TSV.

    Raises:
        RecipeError: missing file, missing column, two of one name, or a line with another number of fields than the header.
    """
    table = read_lines(path)
    missing = [name for name in required if name not in table.header]
    twice = next((name for name in table.header if table.header.count(name) > 1), None)
    if missing or twice:
        what = f"no column {', '.join(missing)}" if missing else f"two columns '{twice}'"
        raise RecipeError(
            f"{path}:1: {what}; expected a header with {', '.join(required)}, found {list(table.header)}; correct the header"
        )
    for number, values in table.lines:
        yield table.where(number), values


def read_lines(path: Path) -> Table:
    """Return a CSV or TSV file with a header, its columns in lower case; a tab in it makes it a TSV, else ';' may part fields.

    Raises:
        RecipeError: missing file, or a line with another number of fields than the header.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    is_tabbed = "\t" in first
    # Common Voice writes sentences that begin with a quotation mark as they are.
    quoting = csv.QUOTE_NONE if is_tabbed and _COMMON_VOICE in first else csv.QUOTE_MINIMAL
    delimiter = "\t" if is_tabbed else ";" if ";" in first and "," not in first else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    header: tuple[str, ...] = ()
    lines = []
    try:
        header = tuple(name.strip().lower() for name in next(reader, []))
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise RecipeError(
                    f"{path}:{reader.line_num}: {len(fields)} fields, expected {len(header)} as in the header; correct the line"
                )
            lines.append((reader.line_num, dict(zip(header, (field.strip() for field in fields), strict=True))))
    except csv.Error as error:
        raise RecipeError(f"{path}:{reader.line_num}: cannot be read as a table ({error}); correct the line") from None
    return Table(path, header, tuple(lines))


def read_json_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return (number, object) of the lines of a file of JSON lines, gzipped where its name says so.

    Raises:
        RecipeError: missing file, a line that is no JSON object, or a file that is one JSON value of all recordings.
    """
    found = []
    whole = _text_of(path)
    for number, line in enumerate(whole.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            _refuse_one_value(path, whole)
            raise RecipeError(f"{path}:{number}: expected a JSON object a line ({error}); correct the line") from None
        if not isinstance(value, dict):
            _refuse_one_value(path, whole)
            raise RecipeError(f"{path}:{number}: expected a JSON object a line, found {line[:60]!r}; correct the line")
        found.append((number, value))
    if len(found) == 1:
        _refuse_one_value(path, whole)
    return found


def _refuse_one_value(path: Path, whole: str) -> None:
    """Raise a RecipeError if a file is one array, or one object by id as SpeechBrain writes it; say what makes lines of it."""
    try:
        value = json.loads(whole)
    except (ValueError, RecursionError):
        return
    by_id = isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values())
    if not isinstance(value, list) and not by_id:
        return
    program = "'.[]'" if isinstance(value, list) else "'to_entries[] | {id: .key} + .value'"
    raise RecipeError(
        f"{path}: is one JSON {'array' if isinstance(value, list) else 'object'} of {len(value)} entries; expected an object a "
        f"line, one for each recording; make lines of it: jq -c {program} {path.name} > lines.jsonl"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The names and values of a JSON object. Raises ValueError for a name that is there twice: the last would be taken."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two values of '{next(name for name in names if names.count(name) > 1)}'")
    return found


def table_of_json(path: Path, lines: Sequence[tuple[int, dict[str, Any]]]) -> Table:
    """Return JSON lines as a table, of all names that any line has. Raises RecipeError for names that differ in capitals only."""
    names: dict[str, str] = {}
    for number, each in lines:
        for name in each:
            if names.setdefault(str(name).strip().lower(), name) != name:
                other = names[str(name).strip().lower()]
                raise RecipeError(
                    f"{path}:{number}: '{name}', and '{other}' elsewhere; expected one spelling; rename one of them"
                )
    flat = [(number, {str(name).strip().lower(): text(value) for name, value in each.items()}) for number, each in lines]
    header = dict.fromkeys(name for _, each in flat for name in each)
    return Table(path, tuple(header), tuple(flat))


def text(value: Any) -> str:
    """Return a JSON value as it would stand in a table."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text_of(path: Path) -> str:
    if path.suffix.lower() != ".gz":
        return read_text(path)
    try:
        return gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file; correct the setting that names it") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RecipeError(f"{path}: cannot be read as gzipped UTF-8 text ({error}); write it anew") from None
