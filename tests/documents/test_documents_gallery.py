"""Which pictures RESULTS.md shows, and what becomes of those that stage 6 made."""

from steps.documents import gallery
from steps.documents.records import Records


def _sweep(name, *lists):
    points = [{"values": ["1"], "trials": {each: {"eer": 0.1} for each in lists}}]
    return {"name": name, "axes": [{"name": "x", "values": ["1"]}], "points": points, "lists": []}


def test_of_a_sweep_three_lists_are_shown_and_of_systems_those_that_are_named():
    names = [
        "cmc", "det.o", "forest", "forest.o", "few_shot", "hours.a", "hours.b", "sweep.a.o1", "sweep.a.o4", "sweep.ab.o1",
        "sweep.b", "pca.x", "pca.xy", "tsne.x", "dendrogram.x.o", "dendrogram_hard.x.o", "dendrogram.xy.o", "scores.x.o",
    ]  # fmt: skip
    records = Records(systems=[], sweeps=[_sweep("a", "o1", "o2", "o3", "o4"), _sweep("b", "o")])
    assert gallery.shown(names, records, ("x",)) == sorted([
        "cmc", "forest", "few_shot", "hours.a", "hours.b", "sweep.a.o1", "sweep.b", "pca.x", "tsne.x", "dendrogram.x.o",
        "dendrogram_hard.x.o",
    ])  # fmt: skip


def test_pictures_of_stage_6_are_taken_over_under_the_name_of_their_system(tmp_path):
    plots, figures = tmp_path / "x" / "plots", tmp_path / "figures"
    plots.mkdir(parents=True)
    figures.mkdir()
    for stem in ("pca.x", "dendrogram.o", "scores.o"):
        (plots / f"{stem}.svg").write_text(f'<?xml version="1.0"?><svg><g id="a">{stem}</g></svg>')
        (plots / f"{stem}.png").write_bytes(stem.encode())
    found = gallery.take_over({"x": tmp_path / "x", "y": tmp_path / "y"}, figures)
    assert sorted(path.name for path in figures.iterdir()) == [
        "dendrogram.x.o.png",
        "dendrogram.x.o.svg",
        "pca.x.png",
        "pca.x.svg",
    ]
    assert (figures / "dendrogram.x.o.png").read_bytes() == b"dendrogram.o"
    assert list(found) == ["x"]
    assert [svg[:4] for svg in found["x"]] == ["<svg", "<svg"]
    assert 'id="pca.x-a"' in found["x"][0]  # several pictures share a page


def test_what_is_published_is_what_a_document_finds(tmp_path):
    figures, home = tmp_path / "report" / "figures", tmp_path / "demo"
    figures.mkdir(parents=True)
    (figures / "cmc.svg").write_text("<svg/>")
    (figures / "cmc.png").write_bytes(b"png")
    gallery.publish(figures, ["cmc"], home)
    assert gallery.paths_of(home / "results" / "figures", home) == {"cmc": "results/figures/cmc.svg"}
    assert gallery.paths_of(home / "nowhere", home) == {}
