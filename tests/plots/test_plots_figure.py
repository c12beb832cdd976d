"""Pictures are files whose bytes depend on the picture alone."""

import io
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from steps.plots.det import det_figure
from steps.plots.figure import inline_svg, line_style, save, write
from steps.plots.histogram import score_histogram
from steps.plots.training import training_figure


def _figures():
    rng = np.random.default_rng(0)
    rates = np.linspace(0, 1, 50)
    yield "det", lambda: det_figure({"a": (rates**2, (1 - rates) ** 2), "b": (rates, 1 - rates)}, "DET")
    scores = rng.normal(2, 1, 60), rng.normal(0, 1, 90)
    yield "histogram", lambda: score_histogram(*scores, "Scores", thresholds={"EER": 1.0})
    log = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5, "learning_rate": 0.1**e} for e in range(1, 5)]
    yield "training", lambda: training_figure({"a": log}, "Training")


@pytest.mark.parametrize(("name", "make"), list(_figures()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_same_figure_gives_the_same_bytes_in_both_formats_whatever_the_user_set(tmp_path, name, make):
    save(make(), tmp_path / "first")
    with matplotlib.rc_context({"axes.grid": False, "font.size": 20, "svg.hashsalt": "other", "savefig.dpi": 33}):
        again = make()
        save(again, tmp_path / "second")
        save(again, tmp_path / "third")  # writing a figure does not change it
    for kind in ("png", "svg"):
        first, second, third = ((tmp_path / f"{which}.{kind}").read_bytes() for which in ("first", "second", "third"))
        assert first == second == third
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert b"Software" not in (tmp_path / "first.png").read_bytes()
    svg = (tmp_path / "first.svg").read_text()
    assert "<metadata>" not in svg
    assert "dc:date" not in svg
    assert ">Epoch<" in svg or name != "training"  # text stays text


def test_a_style_leaves_the_settings_of_matplotlib_as_they_were(tmp_path):
    before = dict(matplotlib.rcParams)
    save(det_figure({"a": ([0, 0.5, 1], [1, 0.5, 0])}, "DET"), tmp_path / "det")
    assert dict(matplotlib.rcParams) == before


def test_write_takes_a_file_object_and_refuses_other_kinds():
    figure = det_figure({"a": ([0, 0.5, 1], [1, 0.5, 0])}, "DET")
    buffer = io.BytesIO()
    write(figure, buffer, "svg")
    assert buffer.getvalue().startswith(b"<?xml")
    with pytest.raises(ValueError, match="expected one of png, svg, found 'gif'"):
        write(figure, buffer, "gif")


def test_inline_svgs_share_a_page_without_sharing_an_id():
    figure = det_figure({"a": ([0, 0.5, 1], [1, 0.5, 0])}, "DET")
    one, two = inline_svg(figure, "one", 'a "picture" <1>'), inline_svg(figure, "two", "another")
    ids = [re.findall(r'\bid="([^"]*)"', svg) for svg in (one, two)]
    assert ids[0]
    assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])
    for svg, own in zip((one, two), ids, strict=True):
        used = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', svg)
        assert used
        assert {a or b for a, b in used} <= set(own)
        assert svg.startswith("<svg ")
        assert svg.endswith("</svg>")
    assert 'aria-label="a &quot;picture&quot; &lt;1>"' in one


def test_28_lines_can_be_told_apart():
    assert len({tuple(line_style(i).values()) for i in range(28)}) == 28
    assert line_style(28) == line_style(0)


def test_pyplot_is_never_imported():
    code = "import sys, steps.plots.det, steps.plots.histogram, steps.plots.training as t; "
    code += "t.training_figure({'a': [{'epoch': 1, 'loss': 1.0}]}, 'x'); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
