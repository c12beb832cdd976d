"""Stage 8 on a small experiment: what it writes, what it publishes, what it refuses."""

import dataclasses
import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from steps import report
from steps.core.errors import RecipeError
from steps.core.files import tree_hashes, write_json
from steps.core.stage import Job, run
from steps.core.stamp import write_stamp
from steps.data.trials import Trials, read_trials, write_scores, write_trials
from steps.documents.records import Records, folders_by_system, read_record
from steps.metrics.summary import trial_figures
from steps.plots import figure

LOG = logging.getLogger("test")
LISTS = {"demo_e": 200, "demo_e-air": 60, "demo_e-sea": 80}
PAPER = """
[[published]]
system = "xvector"
list = "demo_e"
eer = 0.10
min_dcf = { "0.01" = 0.9 }
source = "Somebody 2019, Table 3"
"""


def _stamp(folder):
    (folder / "stamp.json").unlink(missing_ok=True)
    write_stamp(folder, {"stage": "made by a test"}, tree_hashes(folder, ("**/*",)), 1.0)


def _make_trials(manifests):
    rng = np.random.default_rng(1)
    for name, num in LISTS.items():
        truth = np.arange(num) % 3 == 0
        trials = Trials([f"e{i % 7}" for i in range(num)], [f"t{i}" for i in range(num)], rng.permutation(truth))
        (manifests / "trials").mkdir(parents=True, exist_ok=True)
        write_trials(manifests / "trials" / f"{name}.txt", trials)
    speakers = "".join(f"e{i} s{i % 4}\nt{3 * i} s{i % 4}\nt{3 * i + 1} s9\nt{3 * i + 2} s{i % 5}\n" for i in range(80))
    (manifests / "utt2spk").write_text(speakers)
    _stamp(manifests)


def _make_scores(folder, manifests, system, *, separation, calibrated=True, **changes):
    rng = np.random.default_rng(2)
    (folder / "llr").mkdir(parents=True)
    figures = {}
    for name in LISTS:
        trials = read_trials(manifests / "trials" / f"{name}.txt")
        scores = rng.normal(size=len(trials)) + separation * trials.is_target
        llrs = separation * (scores - separation / 2) if calibrated else None
        write_scores(folder / f"{name}.txt", trials.enrol_ids, trials.test_ids, scores)
        if calibrated:
            write_scores(folder / "llr" / f"{name}.txt", trials.enrol_ids, trials.test_ids, llrs)
        figures[name] = trial_figures(scores, trials.is_target, llrs=llrs)
        figures[name] |= {"num_target": trials.num_target, "num_nontarget": trials.num_nontarget, "num_missing": 0}
        figures[name] |= {"eer_ci95": [figures[name]["eer"] - 0.01, figures[name]["eer"] + 0.01]}
    figures["demo_e"]["eer_rocch"] = 0.9 * figures["demo_e"]["eer"]
    record = {
        "recipe": "demo", "system": system, "backend": "cosine", "num_parameters": 1234, "train_seconds": 60.0,
        "trials": figures, "fingerprint": "f" * 64, "commit": "c" * 40, "dirty": False, "seconds": 1.0,
        "command": f"python -m steps.score --out {folder}", "machine": "m", "date": "2025-03-01T00:00:00Z", "packages": {},
    }  # fmt: skip
    write_json(folder / "result.json", record | changes)
    _stamp(folder)


def _stub(figure, stem, name, description):
    """Files and an element in no time, for tests that are not about pictures."""
    for kind in ("png", "svg"):
        Path(f"{stem}.{kind}").write_text(name)
    return f'<svg id="{name}-figure"></svg>'


@pytest.fixture(autouse=True)
def _cheap_pictures(request, monkeypatch):
    if "real_pictures" not in request.fixturenames:
        monkeypatch.setattr(figure, "save_inline", _stub)
        monkeypatch.setattr(Figure, "draw_without_rendering", lambda picture: None)


@pytest.fixture
def real_pictures():
    """Asks for pictures that are drawn."""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A folder like the repository's root, with the recipe demo and two scored systems; it is the current one."""
    monkeypatch.chdir(tmp_path)
    home = Path("recipes/demo")
    home.mkdir(parents=True)
    systems = '[recipe]\ndefault = "xvector"\nsystems = ["xvector", "ecapa", "resnet"]\nnot_run = { resnet = "needs a GPU" }\n'
    (home / "recipe.toml").write_text(systems + '[report]\ntitle = "A demo"\n')
    (home / "paper.toml").write_text(PAPER)
    exp = Path("exp/demo")
    _make_trials(exp / "manifests")
    _make_scores(exp / "xvector/scores", exp / "manifests", "xvector", separation=2.0)
    _make_scores(exp / "ecapa/scores", exp / "manifests", "ecapa", separation=3.0, calibrated=False)
    (exp / "xvector/model").mkdir()
    lines = [json.dumps({"epoch": e, "loss": 3 / e, "accuracy": 0.5, "dev_eer": None}) + "\n" for e in (1, 2, 3)]
    (exp / "xvector/model/log.jsonl").write_text("".join(lines))
    _stamp(exp / "xvector/model")
    return exp


def _report(exp, *more, systems=("xvector", "ecapa"), out="report"):
    scores = [word for system in systems for word in ("--scores", str(exp / system / "scores"))]
    inputs = ["--manifests", str(exp / "manifests"), "--model", str(exp / "xvector/model"), *scores]
    inputs += ["--sweep", str(exp / "sweeps/length/summary")] if (exp / "sweeps").is_dir() else []
    return run(
        report.STAGE,
        [*inputs, "--set", "report.recipe=demo", "--set", "report.replicates=20", "--out", str(exp / out), *more],
        LOG,
    )


def _job(exp, *, publish=False, systems=("xvector", "ecapa")):
    settings = SimpleNamespace(report=report.ReportSettings(recipe="demo", publish=publish))
    lists = {"scores": [exp / system / "scores" for system in systems], "model": [], "sweep": [], "alignment": []}
    inputs = {"manifests": exp / "manifests"}
    return Job(
        settings=settings, site={}, inputs=inputs, input_lists=lists, out=exp / "report", jobs=1, log=LOG, fingerprint=""
    )  # fmt: skip


def _publish(*folders):
    found = folders_by_system([folder / "scores" for folder in folders], "demo")
    report.publish(Records(systems=[read_record(folder / "result.json") for folder in found.values()]), "demo")


def _make_sweep(exp, **changes):
    folder = exp / "sweeps/length/summary"
    folder.mkdir(parents=True)
    trials = json.loads((exp / "xvector/scores/result.json").read_text())["trials"]
    sweep = {
        "name": "length", "recipe": "demo", "title": "Segment length", "form": "table", "note": "", "lists": [],
        "figures": ["eer"], "axes": [{"name": "segment, s", "values": ["1", "2"], "numbers": [1.0, 2.0]}],
        "points": [{"values": [value], "system": value, "trials": trials} for value in ("1", "2")],
        "command": "./run.sh --sweep x", "commit": "c" * 40, "dirty": False, "date": "2025-03-01", "machine": "host, a CPU",
    }  # fmt: skip
    write_json(folder / "sweep.json", sweep | changes)
    _stamp(folder)


class _Page(HTMLParser):
    """Collects what a page refers to, and whether its tags are balanced."""

    VOID = ("meta", "link", "img", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [tag] * (tag not in self.VOID)
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [value for key, value in attrs if key in ("href", "xlink:href", "src", "action", "data")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_stage_writes_documents_and_pictures(experiment):
    assert _report(experiment) == 0
    out = experiment / "report"
    of_llrs = {f"{kind}.xvector.demo_e.png" for kind in ("tippett", "reliability", "bayes_error")}
    assert {path.name for path in (out / "figures").glob("*.png")} == of_llrs | {
        "det.demo_e.png", "scores.xvector.demo_e.png", "scores.ecapa.demo_e.png", "training.png",
        "forest.png", "forest.demo_e.png", "differences.png",
    }  # fmt: skip
    record = json.loads((experiment / "xvector/scores/result.json").read_text())
    eer = record["trials"]["demo_e"]["eer"]
    row = f"| demo_e | xvector | EER % | 10.00 | {100 * eer:.2f} | {100 * (eer - 0.1):+.2f} | "
    text = (out / "RESULTS.md").read_text()
    assert row + f"[{100 * eer - 1:.2f}, {100 * eer + 1:.2f}] | 200 | cccccccccc | 2025-03-01 |" in text
    assert "## demo_e by corpus\n\n| System | air | sea |" in text
    assert "Corpus air" in (out / "report.html").read_text()
    assert f"| {100 * eer:.2f} [{100 * eer - 1:.2f}, {100 * eer + 1:.2f}] | {90 * eer:.2f} | " in text
    assert "- resnet: needs a GPU" in text
    assert text.startswith("# A demo\n")
    assert f"{100 * eer:.2f}" in (out / "table.txt").read_text()
    assert str(experiment.resolve()) not in text


def test_the_page_needs_no_other_file_and_no_network(experiment, real_pictures):
    _report(experiment)
    text = (experiment / "report/report.html").read_text()
    page = _Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 10
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    for namespace in ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"):  # names, not addresses
        text = text.replace(f'="{namespace}"', "")
    assert "http" not in text
    assert "@import" not in text
    assert "<script" not in text


def test_two_runs_write_the_same_bytes(experiment):
    _report(experiment)
    _report(experiment, out="again")
    first, second = (
        tree_hashes(experiment / out, (*report.STAGE.outputs, *report.STAGE.optional)) for out in ("report", "again")
    )
    assert first == second
    assert len(first) == 4 + 2 * 10


def test_histograms_can_be_left_out_and_the_title_be_changed(experiment):
    _report(experiment, "--set", "report.histograms=false", "--set", "report.title=Another & longer")
    assert "<h1>Another &amp; longer</h1>" in (experiment / "report/report.html").read_text()
    assert not list((experiment / "report/figures").glob("*.xvector.*"))


def test_a_changed_published_figure_is_another_report(experiment):
    _report(experiment)
    Path("recipes/demo/paper.toml").write_text(PAPER.replace("0.10", "0.11"))
    _report(experiment)  # what takes seconds to make again is replaced unasked
    assert "11.00" in (experiment / "report" / "RESULTS.md").read_text()


def test_publishing_can_follow_a_finished_report_and_its_document_equals_the_records(experiment, capsys):
    _report(experiment)
    _report(experiment, "--set", "report.publish=true")  # the same plan: no refusal
    report.finish(_job(experiment, publish=True))
    home = Path("recipes/demo")
    assert sorted(path.name for path in (home / "results").glob("*.json")) == ["ecapa.json", "xvector.json"]
    text = (home / "RESULTS.md").read_text()
    assert text == report.recipe_markdown(home)
    assert text.replace("](results/figures/", "](figures/") == (experiment / "report/RESULTS.md").read_text()
    shown = [home / path for path in re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)]
    assert [path.name for path in shown] == ["forest.svg"]
    assert shown[0].read_bytes() == (experiment / "report/figures/forest.svg").read_bytes()
    assert capsys.readouterr().out.endswith((experiment / "report/table.txt").read_text())


def test_publishing_one_system_keeps_the_others(experiment):
    _publish(experiment / "ecapa")
    _publish(experiment / "xvector")
    text = Path("recipes/demo/RESULTS.md").read_text()
    assert "| demo_e | ecapa |" in text
    assert "| demo_e | xvector |" in text


def test_rewrite_follows_a_changed_paper(experiment):
    _publish(experiment / "xvector")
    Path("recipes/demo/paper.toml").write_text(PAPER.replace("0.10", "0.12"))
    assert Path("recipes/demo/RESULTS.md").read_text() != report.recipe_markdown(Path("recipes/demo"))
    report.rewrite(Path("recipes/demo"))
    assert "12.00" in Path("recipes/demo/RESULTS.md").read_text()


def test_without_publish_nothing_is_written_to_the_recipe(experiment, capsys):
    _report(experiment)
    report.finish(_job(experiment))
    assert sorted(path.name for path in Path("recipes/demo").iterdir()) == ["paper.toml", "recipe.toml"]
    assert "xvector" in capsys.readouterr().out


def test_publish_decides_no_number():
    fields = {field.name: field.metadata.get("decides", True) for field in dataclasses.fields(report.ReportSettings)}
    assert {name for name, decides in fields.items() if not decides} == {"publish"}


def test_differences_are_in_the_documents_and_travel_with_the_published_records(experiment):
    _report(experiment, "--set", "report.publish=true")
    found = json.loads((experiment / "report/comparison.json").read_text())
    assert list(found) == ["ecapa"]
    records = {name: json.loads(Path(f"recipes/demo/results/{name}.json").read_text()) for name in ("xvector", "ecapa")}
    assert records["ecapa"]["comparison"] == found["ecapa"]
    assert "comparison" not in records["xvector"]
    eers = {name: record["trials"]["demo_e"]["eer"] for name, record in records.items()}
    assert found["ecapa"]["trials"]["demo_e"]["eer"]["difference"] == pytest.approx(eers["ecapa"] - eers["xvector"])
    row = f"| demo_e | ecapa | {100 * eers['ecapa']:.2f} | {100 * (eers['ecapa'] - eers['xvector']):+.2f} | ["
    assert row in Path("recipes/demo/RESULTS.md").read_text()
    # A new run of the reference makes what was compared with the old one stale.
    write_json(Path("recipes/demo/results/xvector.json"), records["xvector"] | {"fingerprint": "e" * 64})
    report.rewrite(Path("recipes/demo"))
    assert row not in Path("recipes/demo/RESULTS.md").read_text()


def test_the_reference_is_a_setting_and_may_be_absent(experiment, capsys):
    _report(experiment, "--set", "report.reference=ecapa")
    assert list(json.loads((experiment / "report/comparison.json").read_text())) == ["xvector"]
    assert "## Differences from ecapa" in (experiment / "report/RESULTS.md").read_text()
    _report(experiment, "--set", "report.reference=resnet")
    assert json.loads((experiment / "report/comparison.json").read_text()) == {}
    assert "## Differences" not in (experiment / "report/RESULTS.md").read_text()


def test_sweeps_are_shown_drawn_and_published_without_the_name_of_the_machine(experiment):
    _make_sweep(experiment)
    _report(experiment, "--set", "report.publish=true", "--set", "report.histograms=false")
    text = Path("recipes/demo/RESULTS.md").read_text()
    assert "## Sweep: Segment length\n\n| segment, s | demo_e EER % |" in text
    assert text.replace("](results/figures/", "](figures/") == (experiment / "report/RESULTS.md").read_text()
    assert "![sweep.length](results/figures/sweep.length.svg)" in text
    assert (experiment / "report/figures/sweep.length.png").is_file()
    assert "sweep.length-" in (experiment / "report/report.html").read_text()
    assert json.loads(Path("recipes/demo/results/sweeps/length.json").read_text())["machine"] == "a CPU"


@pytest.mark.parametrize(
    ("changes", "message"), [({"form": "grid"}, "sweep.json: form"), ({"recipe": "x"}, "sweep 'length' of the recipe 'x'")]
)
def test_a_sweep_that_is_none_is_refused_by_its_file(experiment, changes, message):
    _make_sweep(experiment, **changes)
    with pytest.raises(RecipeError, match=message):
        _report(experiment)


def test_results_that_do_not_belong_together_are_refused(experiment):
    with pytest.raises(RecipeError, match="'xvector' was already given"):
        folders_by_system([experiment / "xvector/scores"] * 2, "demo")
    with pytest.raises(RecipeError, match="of the recipe 'demo'; expected 'other'"):
        folders_by_system([experiment / "xvector/scores"], "other")
    with pytest.raises(RecipeError, match="no such recipe"):
        report.publish(Records(systems=[]), "nowhere")
    with pytest.raises(RecipeError, match="--scores DIR is missing"):
        _report(experiment, systems=())


def test_damaged_records_are_refused_by_name(experiment):
    path = experiment / "xvector/scores/result.json"
    record = json.loads(path.read_text())
    del record["trials"]["demo_e"]["cllr"]
    write_json(path, record)
    with pytest.raises(RecipeError, match=r"xvector/scores/result.json: no value for trials.demo_e.cllr"):
        read_record(path)
    record["trials"], record["system"] = {}, "../x"
    write_json(path, record)
    with pytest.raises(RecipeError, match="no name for a system"):
        read_record(path)


def test_a_record_under_a_wrong_name_is_refused(experiment):
    _publish(experiment / "xvector")
    results = Path("recipes/demo/results")
    (results / "xvector.json").rename(results / "ecapa.json")
    with pytest.raises(RecipeError, match="expected 'ecapa' of 'demo'"):
        report.recipe_markdown(Path("recipes/demo"))


def test_the_recipe_is_a_name_and_no_path():
    with pytest.raises(ValueError, match="expected the name of a folder"):
        report.ReportSettings(recipe="../elsewhere")


def test_a_bootstrap_needs_replicates():
    with pytest.raises(ValueError, match="replicates: expected at least 2"):
        report.ReportSettings(recipe="demo", replicates=1)
