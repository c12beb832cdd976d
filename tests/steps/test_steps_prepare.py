"""Stage 1 says what it understood: on the log, in remarks.tsv and in summary.json, whatever the corpus."""

import json

import numpy as np
import pytest
import soundfile

from steps import prepare
from steps.core.log import configure
from steps.core.stage import run
from steps.core.stamp import read_stamp
from steps.results.data_summary import FILE


@pytest.fixture
def prepared(tmp_path, monkeypatch, capfd):
    """A function that runs stage 1 with some settings, and returns its output and what it said."""
    monkeypatch.setattr("steps.core.config.SITE_FILE", tmp_path / "no-site.toml")

    def run_with(*assignments, out="m"):
        words = [word for each in assignments for word in ("--set", each)]
        assert run(prepare.STAGE, ["--out", str(tmp_path / out), *words], configure("prepare")) == 0
        return tmp_path / out, capfd.readouterr().err

    return run_with


def corpus(folder, paths, rate=16000, **options):
    rng = np.random.default_rng(1)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, 0.1 * rng.standard_normal(rate), rate, **options)
    return f"site.corpus={folder}"


TWO = [f"corpus{c}/spk{s:02d}/{u}.wav" for c in "AB" for s in range(1, 9) for u in range(4)]
FOLDER = ('prepare.type="folder"', "prepare.test_speakers=2", "prepare.dev_speakers=2")


def test_two_people_of_one_name_are_said_everywhere_with_the_setting_that_keeps_them_apart(tmp_path, prepared):
    site = corpus(tmp_path / "data", TWO)
    out, said = prepared(*FOLDER, site)
    text = "8 speaker names stand in two or more folders (spk01: corpusA/spk01, corpusB/spk01; "
    assert f"folders: {text}" in said
    assert f"speakers\tfolders\t{text}" in (out / "remarks.tsv").read_text()
    assert json.loads((out / FILE).read_text())["sets"]["train"]["speakers"] == 4
    out, said = prepared(*FOLDER, site, "prepare.corpus_level=0", out="apart")
    assert json.loads((out / FILE).read_text())["sets"]["train"]["speakers"] == 12
    assert "speaker names stand" not in said + (out / "remarks.tsv").read_text()


def test_sets_and_lists_stand_in_tables_on_the_log(tmp_path, prepared):
    _, said = prepared(*FOLDER, corpus(tmp_path / "data", TWO), "prepare.corpus_level=0")
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line[:1].isalpha() or line.startswith("calibration")}
    assert rows["train"][1:3] == ["12", "48"]
    assert rows["all_pairs"][0] == "all_pairs"
    lines = [line.split() for line in said.splitlines() if line.startswith("all_pairs ")]
    assert lines[0][1:3] == ["12", "16"]  # two speakers with four utterances each


def test_a_table_says_itself_who_speaks(tmp_path, prepared):
    site = corpus(tmp_path / "data", TWO)
    rows = "".join(f"{path},{path.split('/')[1]}\n" for path in TWO)
    (tmp_path / "data" / "list.csv").write_text(f"path,speaker\n{rows}")
    _, said = prepared(*FOLDER, site, "prepare.table=list.csv")
    assert "speaker names stand" not in said


def test_folders_above_that_are_sessions_are_no_other_people(tmp_path, prepared):
    site = corpus(tmp_path / "data", [f"day{d}/spk{s:02d}/{u}.wav" for d in range(2) for s in range(8) for u in range(3)])
    assert "8 speaker names stand in two or more folders" in prepared(*FOLDER, site)[1]
    assert "speaker names stand" not in prepared(*FOLDER, site, "prepare.session_level=0", out="sessions")[1]


def test_the_remarks_on_files_stay_beside_those_on_data(tmp_path, prepared):
    site = corpus(tmp_path / "data", TWO)
    soundfile.write(tmp_path / "data" / TWO[0], np.full(16000, 0.5), 16000)
    lines = (prepared(*FOLDER, site)[0] / "remarks.tsv").read_text().splitlines()
    assert lines == sorted(lines)
    assert {line.split("\t")[0] for line in lines} >= {"speech", "speakers", "trials"}


def test_what_is_said_decides_nothing(tmp_path, prepared):
    site = corpus(tmp_path / "data", TWO)
    out, _ = prepared(*FOLDER, site)
    assert not {FILE, "remarks.tsv", "same_content"} & set(read_stamp(out)["outputs"])
    _, said = prepared(*FOLDER, site)
    assert "up to date" in said


def test_the_toy_corpus_is_summarised_too(prepared):
    sizes = {"num_train_voices": 6, "num_dev_voices": 2, "num_test_voices": 4, "num_noises": 1, "num_music": 1, "num_rirs": 1}
    out, said = prepared('prepare.type="toy"', *(f"prepare.{name}={number}" for name, number in sizes.items()))
    found = json.loads((out / FILE).read_text())
    assert found["sets"]["test"]["genders"] == {"f": 2, "m": 2}
    assert found["sets"]["test"]["heard"] == 20
    assert found["lists"]["toy_e"]["target_sessions"]["same"] == 0
    assert "list toy_o: only 4 speakers: too few to tell" in said
