"""Which pictures a report has, and what of a sweep goes where."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from steps.documents.comparison import Scored
from steps.documents.drawing import Canvas, calibration_plots, difference_plots, forest_plots, sweep_plots, task_plots
from steps.plots import figure


@pytest.fixture
def canvas(tmp_path, monkeypatch):
    """A canvas on which figures are kept instead of written: name -> figure."""
    board = Canvas(tmp_path / "figures")
    board.drawn = {}
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda picture: None)  # the layout takes most of the time
    monkeypatch.setattr(board, "add", lambda picture, name, description: board.drawn.setdefault(name, picture) and f"<svg>{name}")
    return board


def _point(eer, *values):
    return {
        "values": list(values),
        "system": "x",
        "trials": {name: {"eer": eer, "eer_ci95": None} for name in ("o", "e", "e-sea")},
    }


def _sweep(axes, points, **more):
    named = [{"name": name, "values": values, "numbers": numbers} for name, values, numbers in axes]
    return {"name": "s", "title": "S", "form": "table", "lists": [], "figures": ["eer"], "axes": named, "points": points} | more


def _labels(picture):
    return [text.get_text() for legend in picture.legends for text in legend.get_texts()]


def test_one_numeric_axis_has_a_line_a_list(canvas):
    axes = [("segment, s", ["1", "2"], [1.0, 2.0])]
    assert sweep_plots(canvas, _sweep(axes, [_point(0.1, "1"), _point(0.05, "2")])) == ["<svg>sweep.s"]
    assert _labels(canvas.drawn["sweep.s"]) == ["e", "o"]
    assert canvas.drawn["sweep.s"].axes[0].get_xlabel() == "segment, s"


def test_a_numeric_axis_beside_another_has_a_picture_a_list_and_a_line_a_value(canvas):
    axes = [("network", ["lstm", "resnet"], [None, None]), ("segment, s", ["1", "2"], [1.0, 2.0])]
    points = [
        _point(0.1 * (i + 1), a, b) for i, (a, b) in enumerate([("lstm", "1"), ("lstm", "2"), ("resnet", "1"), ("resnet", "2")])
    ]
    assert sweep_plots(canvas, _sweep(axes, points)) == ["<svg>sweep.s.e", "<svg>sweep.s.o"]
    picture = canvas.drawn["sweep.s.o"]
    assert _labels(picture) == ["lstm", "resnet"]
    lines = {line.get_label(): line for line in picture.axes[0].get_lines()}
    np.testing.assert_allclose(lines["resnet"].get_data(), [[1, 2], [30, 40]])


def test_two_axes_of_names_make_a_map_a_list(canvas):
    axes = [("back end", ["cosine", "plda"], [None] * 2), ("system", ["a", "b", "c"], [None] * 3)]
    sweep_plots(canvas, _sweep(axes, [_point(0.1, "cosine", "b"), _point(0.2, "plda", "c")], lists=["o"]))
    cells = {text.get_position(): text.get_text() for text in canvas.drawn["sweep.s.o"].axes[0].texts}
    assert cells == {(1.5, 0.5): "10.00", (2.5, 1.5): "20.00"}


def test_a_figure_of_tasks_is_drawn_once_and_without_points_nothing_is(canvas):
    axes = [("segment, s", ["1", "2"], [1.0, 2.0])]
    tasks = {"clustering": {"ahc_average": {"best": {"mr": 0.25}}}}
    points = [_point(0.1, "1") | {"tasks": tasks}, _point(0.1, "2")]
    assert sweep_plots(canvas, _sweep(axes, points, figures=["tasks.clustering.ahc_average.best.mr"])) == ["<svg>sweep.s"]
    assert canvas.drawn["sweep.s"].axes[0].get_lines()[0].get_ydata().tolist() == [25.0]
    assert sweep_plots(canvas, _sweep(axes, [])) == []


def test_forest_plots_show_pooled_lists_and_then_their_parts(canvas):
    record = {"system": "a", "trials": {n: {"eer": 0.1, "eer_ci95": [0.05, 0.2]} for n in ("o", "e", "e-sea", "e-air")}}
    assert forest_plots(canvas, [record], "a") == ["<svg>forest", "<svg>forest.e"]
    titles = {name: [axes.get_title(loc="left") for axes in picture.axes] for name, picture in canvas.drawn.items()}
    assert titles == {"forest": ["e", "o"], "forest.e": ["e-air", "e-sea"]}


def test_differences_and_tasks_are_drawn_where_there_are_some(canvas):
    record = {"system": "a", "trials": {}}
    assert difference_plots(canvas, [record], "b") == task_plots(canvas, [record]) == []
    eer = {"difference": -0.01, "ci95": [-0.02, 0.01]}
    tasks = {"identification": {"closed": {"cmc": [0.5, 1.0]}, "open": {"curve": {"far": [0.1, 1.0], "dir": [0.5, 1.0]}}}}
    record |= {"comparison": {"trials": {"o": {"eer": eer}}}, "tasks": tasks}
    assert difference_plots(canvas, [record], "b") == ["<svg>differences"]
    assert task_plots(canvas, [record]) == ["<svg>cmc", "<svg>open_set"]


def test_only_a_calibrated_system_has_pictures_of_its_calibration(canvas):
    truth = np.arange(40) % 2 == 0
    scores = truth + np.random.default_rng(0).normal(size=40)
    assert calibration_plots(canvas, "o", "a", Scored(truth, scores, None)) == ["<svg>scores.a.o"]
    names = [f"<svg>{kind}.a.o" for kind in ("scores", "tippett", "reliability", "bayes_error")]
    assert calibration_plots(canvas, "o", "a", Scored(truth, scores, 2 * scores)) == names


def test_a_picture_goes_into_the_folder_and_into_the_page(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(figure, "save_inline", lambda *arguments: written.append(arguments) or "<svg>")
    assert Canvas(tmp_path / "figures").add("picture", "name", "words") == "<svg>"
    assert written == [("picture", tmp_path / "figures/name", "name", "words")]


def test_points_with_logs_are_drawn_over_the_hours_learnt_from_a_line_for_all_repeats(canvas):
    axes = [("way", ["a", "b"], [None, None]), ("seed", ["1", "2"], [1.0, 2.0])]
    log = [{"epoch": 1, "seconds_seen": 3600.0, "dev_eer": 0.2}, {"epoch": 2, "seconds_seen": 7200.0, "dev_eer": 0.1}]
    worse = [{**record, "dev_eer": record["dev_eer"] + 0.1} for record in log]
    points = [{**_point(0.1, "a", "1"), "log": log}, {**_point(0.3, "a", "2"), "log": worse}, _point(0.2, "b", "1")]
    assert sweep_plots(canvas, _sweep(axes, points, repeats="seed", lists=["o"])) == ["<svg>hours.s", "<svg>sweep.s"]
    lines = [line.get_xydata().tolist() for line in canvas.drawn["hours.s"].axes[0].lines]
    assert [[1.0, pytest.approx(25.0)], [2.0, pytest.approx(15.0)]] in lines  # the mean of both seeds
    assert len(lines) == 3
    picture = canvas.drawn["sweep.s"]
    assert picture.axes[0].lines[0].get_ydata() == pytest.approx([20.0, 20.0])
