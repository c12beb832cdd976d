"""benchmarks/data.py: its tree is taken for VoxCeleb, its programs find as much as lhotse's, and no file starts a process."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks import data_scale, data_speech
from benchmarks.data_tree import LISTS, PARTS, make_tree
from local import voxceleb
from local.celebrities import known
from local.listing import shards
from local.listing.files import Row
from local.voxceleb import Settings
from steps.data.manifests import read_set
from steps.data.trials import read_trials

REPOSITORY = Path(__file__).parents[2]
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
STARTED: list[str] = []
WATCHING: list[bool] = []


def _watch(event: str, arguments: tuple) -> None:  # for good, as hooks are
    if WATCHING and event in STARTS:
        STARTED.append(event)


sys.addaudithook(_watch)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A tree of some 1,500 utterances, prepared here, every start of a process on record."""
    folder = tmp_path_factory.mktemp("scale")
    make_tree(folder / "corpus", 1500)
    names = {"noise": "", "music": "", "rir": "", "babble": "", "other_lists": "warn", "calibration": "pairs"}
    settings, site = Settings(**names, dev_speakers=2.0), {"corpus": str(folder / "corpus")}
    WATCHING.append(True)
    voxceleb.inventory(settings, site)
    units = voxceleb.list_units(settings, site)
    for unit in units:
        (folder / "units" / unit).mkdir(parents=True)
        voxceleb.prepare_unit(settings, site, unit, folder / "units" / unit)
    (folder / "manifests").mkdir()
    voxceleb.merge(settings, site, {unit: folder / "units" / unit for unit in units}, folder / "manifests")
    WATCHING.clear()
    return folder


def test_the_tree_is_voxceleb_in_small(prepared):
    sets = {name: read_set(prepared / "manifests", name) for name in ("train", "dev", "test")}
    files = [path for part in PARTS for path in (prepared / "corpus" / part.folder).rglob(f"*.{part.suffix}")]
    assert 1200 < len(files) < 1800
    used = Counter(path.relative_to(prepared / "corpus").parts[0] for path in files if path.parts[-5:-3] != ("vox2", "test"))
    in_vox2_test = sum(1 for _ in (prepared / "corpus" / "vox2" / "test").rglob("*.flac"))
    assert len(sets["train"]) + len(sets["dev"]) == used["vox2"] - in_vox2_test
    for name in LISTS:
        trials = read_trials(prepared / "manifests" / "trials" / f"{known.LIST_NAMES[name]}.txt")
        assert {*trials.enrol_ids, *trials.test_ids} <= set(sets["test"].ids)
        assert 0.3 < trials.num_target / len(trials) < 0.7


def test_no_file_starts_a_process(prepared):
    assert (prepared / "manifests" / "utt2spk").is_file()
    assert STARTED == []


def test_records_wait_one_at_a_time_for_their_files(prepared):
    folders = sorted((prepared / "units").glob("vox2.*"))
    lines = (json.loads(line) for each in folders for line in shards._lines(each / "utterances.jsonl"))
    rows = [Row(id=line["id"], path=line["path"], speaker="") for line in lines]
    records = shards._Records(folders)
    most = 0
    for row in rows[:5] + rows[7:]:  # two files have gone since
        assert records.pop(row)["sampling_rate"] == 16000
        most = max(most, len(records._waiting))
    assert most == 2
    assert records.pop(Row(id="new", path="new.flac", speaker="")) is None


def test_our_epochs_have_the_utterances_of_lhotse(prepared):
    ours, theirs = (getattr(data_scale, name)(prepared)() for name in ("open_set", "cuts"))
    num = len(read_set(prepared / "manifests", "train"))
    assert theirs == f"{num:,} examples"
    assert ours == f"{2 * (num // 128 * 128):,} examples"
    there = sum(1 for part in PARTS if part.folder != "vox2/test/flac" for _ in (prepared / "corpus" / part.folder).rglob("*.*"))
    assert data_scale.lhotse(prepared)() == f"{there:,} utterances"


def test_features_of_both_are_as_many(tmp_path):
    data_speech.make_speech(tmp_path, 24, "")
    ours, theirs = (getattr(data_speech, name)(tmp_path)() for name in ("bare", "lhotse"))
    assert ours == theirs == f"{24 * 800:,} frames"


def test_speech_is_taken_from_a_folder(tmp_path):
    data_speech.make_speech(tmp_path / "x", 4, "")
    made = list(data_speech._speech(str(tmp_path / "x"), 3))
    assert [len(samples_W) for samples_W in made] == [int(data_speech.SECONDS * data_speech.RATE)] * 3
    assert np.abs(made[0] - made[1]).max() > 0.01


def test_unknown_tasks_and_programs_are_refused():
    for arguments in (["--tasks", "none"], ["--programs", "none"]):
        command = [sys.executable, "-m", "benchmarks.data", *arguments]
        refused = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "expected some of" in refused.stderr
