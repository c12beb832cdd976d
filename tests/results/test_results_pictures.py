"""Pictures of a list: the costs behind them by brute force, and which files are written."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from steps.metrics.costs import act_dcf, min_dcf
from steps.plots import figure
from steps.results import pictures
from steps.results.pictures import bayes_errors, write_dendrograms, write_embedding_pictures, write_list_pictures


@pytest.fixture
def saved(monkeypatch):
    """Figures by the name of their file, instead of files; without the layout, which takes most of the time."""
    found = {}
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda picture: None)
    monkeypatch.setattr(pictures, "save", lambda picture, stem: found.setdefault(stem.name, picture))
    return found


def _trials(num=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(num) % 4 == 0
    return truth, np.round(2.0 * truth + rng.normal(size=num), 1)  # rounded: some scores are equal


def test_costs_at_each_prior_are_those_of_the_plain_definitions():
    truth, scores = _trials()
    pair, odds = (scores[truth], scores[~truth]), np.array([-5.0, -1.3, 0.0, 0.7, 4.0])
    costs = bayes_errors(pair, pair, odds)
    priors = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(costs.minimum, [min_dcf(*pair, p) for p in priors], rtol=1e-9)
    np.testing.assert_allclose(costs.actual, [act_dcf(*pair, p) for p in priors], rtol=1e-9)
    assert bayes_errors(pair, None, odds).actual is None


def test_few_errors_are_left_only_beyond_the_ends_of_what_is_trusted():
    truth, scores = _trials(4000)
    pair, odds = (scores[truth], scores[~truth]), np.linspace(-7, 7, 57)
    low, high = bayes_errors(pair, None, odds).trusted
    thresholds = np.append(np.unique(scores), np.inf)
    missed = np.array([(pair[0] < t).sum() for t in thresholds])
    accepted = np.array([(pair[1] >= t).sum() for t in thresholds])
    for value in odds:
        p = 1 / (1 + np.exp(-value))
        best = (p * missed / pair[0].size + (1 - p) * accepted / pair[1].size).argmin()
        assert (accepted[best] >= 30) == (value >= low)
        assert (missed[best] >= 30) == (value <= high)
    assert bayes_errors((np.arange(5.0), np.arange(5.0)), None, odds).trusted is None


def test_a_calibrated_list_has_five_pictures_and_another_two(saved, tmp_path):
    truth, scores = _trials()
    kinds = write_list_pictures(tmp_path / "new", "o", truth, scores, llrs=2 * scores)
    assert kinds == ["det", "scores", "tippett", "reliability", "bayes_error"]
    assert set(saved) == {f"{kind}.o" for kind in kinds}
    assert (tmp_path / "new").is_dir()
    assert write_list_pictures(tmp_path, "e", truth, scores) == ["det", "scores"]
    assert write_list_pictures(tmp_path, "h", truth, scores, llrs=scores, only=("tippett",)) == ["tippett"]
    with pytest.raises(ValueError, match="no picture is called roc"):
        write_list_pictures(tmp_path, "o", truth, scores, only=("roc",))


def test_embeddings_are_drawn_by_both_projections(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("steps.backend.projection.tsne", lambda x, perplexity: np.asarray(x)[:, :2])
    rng = np.random.default_rng(0)
    write_embedding_pictures(tmp_path, "test", rng.normal(size=(9, 4)), list("aaabbbccc"), genders=list("fffmmm") + [""] * 3)
    assert set(saved) == {"pca.test", "tsne.test"}
    assert "% of the variance" in saved["pca.test"].axes[0].get_xlabel()
    assert saved["tsne.test"].axes[0].get_xlabel() == ""
    with pytest.raises(ValueError, match="no picture is called umap"):
        write_embedding_pictures(tmp_path, "test", rng.normal(size=(9, 4)), list("aaabbbccc"), kinds=("umap",))


def test_dendrograms_show_a_median_and_the_hardest_trial_of_each_kind(saved, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"u{i}" for i in range(6)]
    windows = {name: rng.normal(size=(i + 2, 5)) for i, name in enumerate(names)}
    enrol, test = ["u0", "u0", "u0", "u1", "u1", "u2"], ["u1", "u2", "u3", "u4", "u5", "u5"]
    truth, scores = np.array([True, True, True, False, False, False]), np.array([0.9, 0.5, 0.1, 0.2, 0.8, 0.4])
    write_dendrograms(tmp_path, "o", enrol, test, truth, scores, windows)
    titles = {name: [axes.get_title(loc="left") for axes in picture.axes] for name, picture in saved.items()}
    assert titles == {
        "dendrogram.o": ["Same speaker, score 0.5", "Different speakers, score 0.4"],
        "dendrogram_hard.o": ["Same speaker, score 0.1", "Different speakers, score 0.8"],
    }
    assert [axes.get_xlabel() for axes in saved["dendrogram_hard.o"].axes] == ["7 windows", "10 windows"]
    with pytest.raises(ValueError, match="expected target and non-target trials"):
        write_dendrograms(tmp_path, "o", enrol, test, np.ones(6, dtype=bool), scores, windows)


def test_files_are_written_as_png_and_svg(tmp_path):
    truth, scores = _trials(40)
    write_list_pictures(tmp_path, "o", truth, scores, only=("scores",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.o.png", "scores.o.svg"]
    assert pictures.save is figure.save
