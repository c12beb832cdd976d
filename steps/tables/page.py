"""report.html: tables and pictures in one file that needs no other and no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; background: #fff;
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid #444; }
tbody tr { border-bottom: 1px solid #e4e4e4; }
tbody tr:hover { background: #f3f7fa; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.note { font-size: .8rem; color: #444; margin-top: -.6rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; }
figure { margin: 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; }
details { margin: .6rem 0; }
summary { cursor: pointer; }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto; font-size: .85rem; }
@media print { body { max-width: none; font-size: 11px; } .wide { overflow: visible; } }
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it, as HTML."""

    title: str
    body: str
    folded: bool = False  # shut until somebody opens it


def render_page(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML page; `title` and `introduction` are text, the bodies HTML. Empty sections are left out."""
    body = "".join(_render(section) for section in sections if section.body)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(introduction)}</p>\n{body}</body>\n</html>\n"
    )


def pictures(svgs: Sequence[str]) -> str:
    """Return inline SVG elements side by side where there is room."""
    return '<div class="pictures">' + "".join(f"<figure>{svg}</figure>\n" for svg in svgs) + "</div>\n" if svgs else ""


def folded(summary: str, body: str) -> str:
    """Return HTML that is shut until somebody opens it; nothing if there is none."""
    return f"<details><summary>{html.escape(summary)}</summary>\n{body}</details>\n" if body else ""


def listing(lines: Sequence[str]) -> str:
    """Return lines of text as an HTML list."""
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>\n" if lines else ""


def commands(lines: Sequence[str]) -> str:
    """Return command lines to copy."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>\n" if lines else ""


def _render(section: Section) -> str:
    head = f"<h2>{html.escape(section.title)}</h2>\n"
    return head + (folded("Show", section.body) if section.folded else section.body)
