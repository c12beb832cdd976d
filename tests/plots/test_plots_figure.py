"""Pictures are files whose bytes depend on the picture alone."""

import io
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

import steps.plots
from steps.plots.bayes_error import BayesErrors, bayes_error_figure
from steps.plots.dendrogram import Tree, dendrogram_figure
from steps.plots.det import det_figure
from steps.plots.few_shot import few_shot_figure
from steps.plots.figure import checked_numbers, checked_rates, inline_svg, line_style, save, save_inline, write
from steps.plots.forest import forest_figure
from steps.plots.histogram import score_histogram
from steps.plots.ranks import cmc_figure, open_set_figure
from steps.plots.reliability import reliability_figure
from steps.plots.scatter import embedding_scatter
from steps.plots.sweep import heat_map, sweep_figure
from steps.plots.tippett import tippett_figure
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


def _more_figures():
    """The other kinds of pictures, by the name of their module."""
    rng = np.random.default_rng(0)
    pair = rng.normal(2, 2, 40), rng.normal(-2, 2, 60)
    yield "tippett", lambda: tippett_figure(*pair, "t", before=pair)
    yield "reliability", lambda: reliability_figure({"a": pair}, "t")
    costs = BayesErrors(actual=[0.5, 0.4], minimum=[0.3, 0.2], trusted=(-0.5, 0.5))
    yield "bayes_error", lambda: bayes_error_figure([-1.0, 1.0], {"a": costs}, "t", marked={"here": 0.0})
    yield "ranks", lambda: cmc_figure({"a": [0.5, 1.0]}, "t")
    yield "open_set", lambda: open_set_figure({"a": ([0.1, 0.5], [0.5, 1.0])}, "t")
    tree = Tree(linkage=linkage(rng.normal(size=(5, 2)), "average"), is_test=[0, 0, 1, 1, 1], title="a")
    yield "dendrogram", lambda: dendrogram_figure([tree], "t")
    yield "scatter", lambda: embedding_scatter([[0, 1], [2, 3], [1, 1]], ["a", "b", "b"], "t", genders=["m", "f", "f"])
    yield "forest", lambda: forest_figure({"o": {"a": (0.1, (0.05, 0.2))}}, "t", reference="a")
    yield "sweep", lambda: sweep_figure({"o": [("a", 0.1, (0.05, 0.2)), ("b", 0.2, None)]}, "t", axis_name="x")
    yield "heat_map", lambda: heat_map([[0.1, 0.2]], ["r"], ["a", "b"], "t")


@pytest.mark.parametrize(("name", "make"), list(_more_figures()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_picture_has_the_bytes_of_its_content_whatever_the_user_set(name, make):
    first, second = io.BytesIO(), io.BytesIO()
    write(make(), first, "svg")
    with matplotlib.rc_context({"axes.grid": False, "font.size": 20, "svg.hashsalt": "other", "image.cmap": "jet"}):
        write(make(), second, "svg")
    assert first.getvalue() == second.getvalue()
    assert b">t<" in first.getvalue()  # its title, as text


def test_a_picture_is_saved_and_inlined_at_once(tmp_path):
    figure = det_figure({"a": ([0, 0.5, 1], [1, 0.5, 0])}, "DET")
    element = save_inline(figure, tmp_path / "both", "name", "words")
    save(figure, tmp_path / "saved")
    assert element == inline_svg(figure, "name", "words")
    for kind in ("png", "svg"):
        assert (tmp_path / f"both.{kind}").read_bytes() == (tmp_path / f"saved.{kind}").read_bytes()


def test_numbers_and_rates_are_checked_by_name():
    assert checked_numbers([1, 2], "n").dtype == np.float64
    with pytest.raises(ValueError, match="n: expected finite"):
        checked_numbers([np.inf], "n")
    with pytest.raises(ValueError, match=r"n: expected fractions in 0..1, found 0.5 to 1.5"):
        checked_rates([0.5, 1.5], "n")


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
    others = ", ".join(f"steps.plots.{path.stem}" for path in Path(steps.plots.__file__).parent.glob("[a-z]*.py"))
    code = f"import sys, {others}, steps.plots.training as t; "
    code += "t.training_figure({'a': [{'epoch': 1, 'loss': 1.0}]}, 'x'); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("number", [1, 20, 40])
def test_a_legend_beside_the_picture_fits_its_height(number):
    names = [f"system {index}" for index in range(number)]
    points = [(2, 0.9, None), (5, 0.7, None)]
    x = np.linspace(0, 1, 5)
    for figure in (
        few_shot_figure({name: {1: points} for name in names}, "t"),
        cmc_figure({name: x for name in names}, "t"),
        open_set_figure({name: (x, x) for name in names}, "t"),
        det_figure({name: (x[::-1], x) for name in names}, "t"),
    ):
        [legend] = figure.legends
        box = legend.get_window_extent()
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height
