"""What all pictures share: one style, one palette, and files whose bytes depend on the figure alone."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

# Seven colours that stay apart for colour-blind readers; the eighth of the set, a yellow, is too faint on white.
# Source: Okabe and Ito, "Color Universal Design", 2008.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
GREY = "#6E6E6E"
TARGET, NONTARGET = "#0072B2", "#D55E00"

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so every machine lays out alike
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "svg.hashsalt": "sidamo",  # element names from the content instead of from a random number
}

# Without these a file holds the time and the version of the program that wrote it.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Make matplotlib draw in the house style inside the block, whatever a matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def line_style(index: int) -> dict[str, str]:
    """Return colour and dashes of the index-th line: 28 that differ, then from the start again."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
    }


def height_for(num_lines: int, least: float) -> float:
    """Return the height in inches, at least `least`, of a picture whose legend of that many lines stands beside it."""
    return max(least, 0.2 * num_lines + 0.3)


def many_colours(number: int) -> list[str]:
    """Return that many colours: the palette while it lasts, else even steps of a map whose lightness rises and falls."""
    if number <= len(_COLOURS):
        return list(_COLOURS[:number])
    spread = matplotlib.colormaps["turbo"](np.linspace(0.02, 0.98, number))
    return [matplotlib.colors.to_hex(colour) for colour in spread]


def checked_numbers(values: npt.ArrayLike, name: str) -> np.ndarray:
    """Return numbers as a float64 array.

    Raises:
        ValueError: empty, not one-dimensional or not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers in one dimension, at least one, found shape {array.shape}")
    return array


def checked_rates(values: npt.ArrayLike, name: str) -> np.ndarray:
    """Return rates as a float64 array.

    Raises:
        ValueError: as `checked_numbers`, or a rate outside 0..1.
    """
    array = checked_numbers(values, name)
    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"{name}: expected fractions in 0..1, found {array.min()} to {array.max()}")
    return array


def settle(figure: Figure, rounds: int = 1) -> None:
    """Lay the figure out for good, so that writing it does not move anything.

    Where the axes are a square, the constrained layout needs about four rounds until labels and box agree.
    """
    figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
    for _ in range(rounds):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def write(figure: Figure, file: IO[bytes], kind: str) -> None:
    """Write a figure to a binary file as "png" or "svg": the same figure gives the same bytes.

    Raises:
        ValueError: another kind.
    """
    if kind not in _METADATA:
        raise ValueError(f"kind: expected one of {', '.join(_METADATA)}, found {kind!r}")
    with style():
        figure.savefig(file, format=kind, metadata=_METADATA[kind])


def save(figure: Figure, stem: Path | str) -> None:
    """Write `<stem>.png` and `<stem>.svg`."""
    for kind in _METADATA:
        with open(f"{stem}.{kind}", "wb") as file:
            write(figure, file, kind)


def save_inline(figure: Figure, stem: Path | str, name: str, description: str) -> str:
    """Write `<stem>.png` and `<stem>.svg`, and return the <svg> element of `inline_svg`; draws the SVG only once."""
    with open(f"{stem}.png", "wb") as file:
        write(figure, file, "png")
    buffer = io.BytesIO()
    write(figure, buffer, "svg")
    with open(f"{stem}.svg", "wb") as file:
        file.write(buffer.getvalue())
    return inline_element(buffer.getvalue().decode(), name, description)


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return an <svg> element to stand inside an HTML page, with a text for those who cannot see it.

    Every id in it begins with `name`, so that several pictures can share a page.
    """
    buffer = io.BytesIO()
    write(figure, buffer, "svg")
    return inline_element(buffer.getvalue().decode(), name, description)


def inline_element(text: str, name: str, description: str) -> str:
    """Return the <svg> element of an SVG file's text, as `inline_svg` does of a figure."""
    text = text[text.index("<svg") :].strip()  # the XML head and the address of a DTD have no place in HTML
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
