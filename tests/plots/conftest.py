"""Tests of pictures look at what is drawn; only those of whole files need the layout, which takes most of the time."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture(autouse=True)
def _without_layout(request, monkeypatch):
    if request.path.stem != "test_plots_figure":
        monkeypatch.setattr(Figure, "draw_without_rendering", lambda figure: None)
