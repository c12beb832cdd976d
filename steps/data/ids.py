"""Ids of utterances and speakers: what can be one, and what is wrong with those of a corpus."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from steps.core.errors import RecipeError
from steps.data.names import MAX_BYTES, is_text, lookalikes, printable

_NUM_SHOWN = 5


def check_ids(rows: Iterable[tuple[str, str, str]], where: str) -> None:
    """Raise a RecipeError if among rows (utterance id, speaker id, path) an id is there twice or cannot be used."""
    for error in id_faults(rows, where):
        raise error


def id_faults(rows: Iterable[tuple[str, str, str]], where: str) -> Iterator[RecipeError]:
    """Yield what is wrong with the ids of rows (utterance id, speaker id, path), an error for each kind of fault."""
    rows = list(rows)
    counts = Counter(utterance_id for utterance_id, _, _ in rows)
    duplicates = [name for name, count in counts.items() if count > 1]
    if duplicates:
        paths = [path for utterance_id, _, path in rows if utterance_id == duplicates[0]]
        yield RecipeError(
            f"{where}: {len(duplicates)} utterance ids are there more than once; the first is '{printable(duplicates[0])}', from "
            f"{' and '.join(map(printable, paths))}; expected each id once; rename or remove one of the files"
        )
    yield from _name_faults(rows, where)
    for column, kind in ((0, "utterance"), (1, "speaker")):
        wrong = [row for row in rows if is_text(row[2]) and not is_valid_id(row[column])]
        if wrong:
            path_of = {row[column]: row[2] for row in reversed(wrong)}  # of each id the first
            names = list(dict.fromkeys(row[column] for row in wrong))
            shown = ", ".join(f"'{printable(name)}' ({printable(path_of[name])})" for name in names[:_NUM_SHOWN])
            are_blanks = all(is_valid_id(re.sub(r"\s", "_", name)) for name in names)
            yield RecipeError(
                f"{where}: {len(names)} {kind} ids have blanks, control characters, or a part that is empty, '.' or "
                f"'..': {shown}{', ...' if len(names) > _NUM_SHOWN else ''}; expected printable parts joined by '/'; rename the "
                "files or folders (blanks: or add --set prepare.replace_spaces=_)",
                repairs=[("prepare.replace_spaces", "_")] if are_blanks else [],
            )


def is_valid_id(text: str) -> bool:
    """Return whether a text can be an id: printable, no blank, no part that is empty, '.' or '..'."""
    is_plain = text.isprintable() and not any(character.isspace() for character in text)
    return is_plain and not any(part in ("", ".", "..") for part in text.split("/"))


def _name_faults(rows: Iterable[tuple[str, str, str]], where: str) -> Iterator[RecipeError]:
    """Yield an error for ids that are too long or that only look the same, and for paths that are no text: the first of each."""
    no_text = next((path for _, _, path in rows if not is_text(path)), None)
    if no_text is not None:
        yield RecipeError(f"{where}: the name of '{printable(no_text)}' is not UTF-8 text; rename the file (see convmv)")
    long = next((name for name, _, _ in rows if len(name) > MAX_BYTES // 4 and _num_bytes(name) > MAX_BYTES), None)
    if long is not None:
        yield RecipeError(f"{where}: the id '{long[:40]}...' has more than {MAX_BYTES} bytes; give the file a shorter name")
    zero = next((path for _, _, path in rows if "\0" in path), None)
    if zero is not None:
        yield RecipeError(f"{where}: the path '{printable(zero)}' holds a zero byte, as no name of a file does; correct it")
    for column, kind in ((0, "utterance"), (1, "speaker")):
        twins = lookalikes(row[column] for row in rows)
        if twins:
            one, other = (ascii(name) for name in twins[0])
            yield RecipeError(
                f"{where}: {len(twins)} {kind} ids look like others and are not the same, first {one} and {other}: accents "
                "written in two ways (Unicode NFC and NFD); expected one way; rename the files or folders (convmv --nfc)"
            )


def _num_bytes(name: str) -> int:
    return len(name.encode(errors="replace"))
