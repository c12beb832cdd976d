"""A table as a value, and its three forms: Markdown, HTML, plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

_ABSENT = "–"
_ABSENT_ASCII = "-"  # a terminal may know no more than ASCII


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text under a title; None is a figure that does not exist."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    num_left: int = 2  # columns that hold names and stand to the left; the others are numbers and stand to the right
    note: str = ""  # a line under the table

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: expected {len(self.columns)} cells in each row, found {row}")


def without_empty_columns(table: Table) -> Table:
    """Return the table less its number columns in which no row has a cell."""
    kept = [i for i in range(len(table.columns)) if i < table.num_left or any(row[i] is not None for row in table.rows)]
    return Table(
        title=table.title,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
        num_left=table.num_left,
        note=table.note,
    )


def to_markdown(table: Table) -> str:
    """Return a Markdown table (GitHub's form), without its title, and its note as a paragraph."""
    marks = [":--" if i < table.num_left else "--:" for i in range(len(table.columns))]
    rows = [[_ABSENT if cell is None else markdown_text(cell) for cell in row] for row in table.rows]
    lines = [[markdown_text(column) for column in table.columns], marks, *rows]
    note = f"\n{markdown_text(table.note)}\n" if table.note else ""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + note


def markdown_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is: no emphasis, code, cell border or HTML."""
    return re.sub(r"[\\`*<>|]|\b_\B|\B_\b", r"\\\g<0>", " ".join(text.split()))


def to_html(table: Table) -> str:
    """Return a <table> element with the title as its caption, inside a box that scrolls if it is too wide."""
    head = "".join(f'<th scope="col"{_side(table, i)}>{html.escape(name)}</th>' for i, name in enumerate(table.columns))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(table, i)}>{_html_cell(cell)}</td>" for i, cell in enumerate(row)) + "</tr>\n"
        for row in table.rows
    )
    caption = f"<caption>{html.escape(table.title)}</caption>"
    note = f'<p class="note">{html.escape(table.note)}</p>\n' if table.note else ""
    return f'<div class="wide"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n{note}'


def to_text(table: Table) -> str:
    """Return the title and aligned columns, in ASCII where the names are."""
    cells = [[_ABSENT_ASCII if cell is None else cell for cell in row] for row in table.rows]
    lines: Sequence[Sequence[str]] = [table.columns, *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    aligned = [
        "  ".join(
            cell.ljust(width) if i < table.num_left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", aligned[0], rule, *aligned[1:], *(["", table.note] if table.note else [])]) + "\n"


def _side(table: Table, column: int) -> str:
    return "" if column < table.num_left else ' class="number"'


def _html_cell(cell: str | None) -> str:
    return _ABSENT if cell is None else html.escape(cell)
