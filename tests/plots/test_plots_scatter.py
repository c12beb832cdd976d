"""Scatter plots: a colour a speaker, a shape a gender."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.markers import MarkerStyle

from steps.plots.figure import many_colours
from steps.plots.scatter import embedding_scatter

POINTS = np.arange(12.0).reshape(6, 2)
SPEAKERS = ["b", "a", "b", "c", "c", "a"]


def _groups(figure):
    """(colour, number of corners) -> points of the collections."""
    return {
        (to_hex(each.get_facecolor()[0]), len(each.get_paths()[0].vertices)): each.get_offsets().tolist()
        for each in figure.axes[0].collections
    }


def _corners(marker):
    return len(MarkerStyle(marker).get_path().vertices)


def test_speakers_have_colours_and_genders_shapes():
    figure = embedding_scatter(POINTS, SPEAKERS, "t", genders=["M", "female", "m", "", None, "f"])
    blue, orange, green = (colour.lower() for colour in many_colours(3))
    groups = _groups(figure)
    assert groups[orange, _corners("o")] == [[0, 1], [4, 5]]
    assert groups[blue, _corners("^")] == [[2, 3], [10, 11]]
    assert groups[green, _corners("s")] == [[6, 7], [8, 9]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["male", "female", "unknown gender", "a", "b", "c"]


def test_without_genders_all_are_circles_and_many_speakers_are_not_listed():
    speakers = [f"s{i}" for i in range(40)]
    figure = embedding_scatter(np.random.default_rng(0).normal(size=(40, 2)), speakers, "t")
    assert {corners for _, corners in _groups(figure)} == {_corners("o")}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["40 speakers, a colour each"]
    assert len(set(many_colours(40))) == 40


def test_axes_without_a_name_have_no_numbers():
    plain = embedding_scatter(POINTS, SPEAKERS, "t").axes[0]
    assert not any(label.get_text() for label in plain.get_xticklabels())
    assert embedding_scatter(POINTS, SPEAKERS, "t", axis_names=("x", "y")).axes[0].get_ylabel() == "y"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POINTS[:, :1], SPEAKERS), "points: expected finite numbers"),
        ((POINTS * np.nan, SPEAKERS), "points: expected finite numbers"),
        ((POINTS, SPEAKERS[:2]), "speakers: expected one for each of 6"),
        ((POINTS, SPEAKERS, ["f"]), "genders: expected one for each of 6"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        embedding_scatter(*arguments[:2], "t", genders=arguments[2] if len(arguments) > 2 else None)
