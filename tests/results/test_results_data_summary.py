"""summary.json: read from manifests as they are written, said in words and tables."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from steps.data.enrolment import write_models
from steps.data.list_summary import FEW
from steps.data.manifests import Utterance, write_roots, write_set, write_utt2spk
from steps.data.same_content import write_groups
from steps.data.trials import Trials, all_pairs, write_trials
from steps.results.data_remarks import few_remarks, rate_remarks, set_remarks
from steps.results.data_summary import FILE, Reading, read_summary, summarise
from steps.results.record import write_result
from steps.tables import results as tables
from steps.tables.data import data_tables, remark_lines


def utterance(set_name, speaker, number, rate=16000):
    name = f"{set_name}{speaker:02d}/{number}"
    return Utterance(
        id=name, speaker=f"{set_name}{speaker:02d}", gender="fm"[speaker % 2], session=f"s{number}", corpus="c",
        path=f"{name}.wav", sampling_rate=rate, num_samples=rate,
    )  # fmt: skip


@pytest.fixture
def manifests(tmp_path):
    """Train and test of white noise, one list of all pairs and one of models, in which a test is enrolled."""
    folder, rng = tmp_path / "toy" / "manifests", np.random.default_rng(1)
    sets = {name: [utterance(name, speaker, number) for speaker in range(4) for number in range(3)] for name in ("train", "test")}
    for name, utterances in sets.items():
        write_set(folder / name, utterances)
        for each in utterances:
            path = tmp_path / "audio" / each.path
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
    write_roots(folder, dict.fromkeys(sets, "corpus"))
    write_utt2spk(folder / "utt2spk", [each for utterances in sets.values() for each in utterances])
    (folder / "trials").mkdir()
    (folder / "enrolment").mkdir()
    write_trials(folder / "trials" / "pairs.txt", all_pairs(sets["test"]))
    tests = ["test00/0", "test00/2", "test01/2", "test01/2"]
    write_trials(folder / "trials" / "models.txt", Trials(["A", "A", "A", "A"], tests, np.array([1, 1, 0, 0], bool)))
    write_models(folder / "enrolment" / "models.txt", {"A": ("test00/0", "test00/1")})
    write_groups(folder, [["test00/2", "test01/2"], ["test02/0", "test03/0"]])
    return folder


def summary(manifests, **reading):
    return summarise(manifests, {"corpus": str(manifests.parent.parent / "audio")}, Reading(**reading))


def test_all_of_the_manifests_is_in_the_summary(manifests):
    found = summary(manifests)
    assert {name: (each["speakers"], each["utterances"]) for name, each in found["sets"].items()} == {
        "train": (4, 12),
        "test": (4, 12),
    }
    assert found["sets"]["test"]["band"] == 8000
    assert found["sets"]["test"]["heard"] == 12
    assert {name: (each["target"], each["nontarget"]) for name, each in found["lists"].items()} == {
        "pairs": (12, 54),
        "models": (2, 2),
    }
    assert found["lists"]["models"]["enrolled_and_tested"] == 1
    assert found["lists"]["pairs"]["equal_content"] == 2
    assert {"level", "duration_alike"} - set(found["lists"]["pairs"]["design"]["factors"]) == {"duration_alike"}  # all are of 1 s
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_remarks_say_numbers_and_the_list(manifests):
    lines = remark_lines(summary(manifests, makes_lists=True))
    assert (
        "list models: 1 of 4 trials test a model with an utterance that it was enrolled with, which makes the error rates too low"
        in lines
    )
    assert "list models: 1 of 3 test utterances are also enrolled, in some model" in lines
    assert "list models: 1 of 4 trials are there a second time, and count twice" in lines
    assert "list pairs: 2 of 66 trials compare recordings that are equal to the last bit" in lines
    assert "list pairs: only 12 target trials and 4 speakers: too few to tell (an interval needs 20 of both)" in lines
    assert not [line for line in lines if str(manifests.parent.parent) in line]


def test_equal_recordings_are_said_by_whose_they_are_and_where(manifests):
    write_groups(
        manifests, [["test00/0", "test00/1"], ["test01/0", "test02/0", "gone"], ["test03/0", "train00/0"], ["gone", "test03/1"]]
    )
    texts = [text for kind, _, text in summary(manifests)["remarks"] if kind == "speech"]
    assert texts == [
        "2 recordings are equal to another of the same speaker (test00/0 = test00/1): they count twice",
        "4 recordings are equal to one of ANOTHER speaker (test01/0 = test02/0): a wrong label, or one recording given to two "
        "people",
        "2 recordings are equal across the sets test and train (test03/0 = train00/0)",
    ]


def test_the_same_manifests_have_the_same_summary(manifests):
    assert summary(manifests) == summary(manifests)


def test_audio_that_is_not_there_is_said(manifests):
    (manifests.parent.parent / "audio" / "test00" / "0.wav").unlink()
    found = summary(manifests)
    assert ["set", "test", "band and levels are not measured: test00/0.wav cannot be read"] in found["remarks"]
    assert "band" not in found["sets"]["test"]
    assert "band" in found["sets"]["train"]


def test_a_list_of_recordings_that_are_all_gone_is_summarised(manifests):
    write_trials(manifests / "trials" / "gone.txt", Trials(["x", "y"], ["y", "z"], np.array([True, False])))
    found = summary(manifests)
    numbers = found["lists"]["gone"]
    assert (numbers["target"], numbers["missing"], numbers["speakers"], numbers["enrolled"]) == (1, 2, 0, 0)
    assert numbers["design"] == {"factors": {}, "drift": {}}
    assert ["trials", "gone", "2 of 2 trials have no recordings, and are not among the counts of genders"] in found["remarks"]


def test_a_list_of_targets_only_is_summarised(manifests):
    write_trials(manifests / "trials" / "targets.txt", Trials(["test00/0"], ["test00/1"], np.array([True])))
    assert summary(manifests)["lists"]["targets"]["design"]["factors"] == {}


def test_a_list_without_labels_has_no_kinds_and_no_design(manifests, monkeypatch):
    (manifests / "trials" / "models.txt").unlink()
    pairs = SimpleNamespace(ids=["test00/0", "test01/0", "test02/0"], enrol_P=np.array([0, 0, 1]), test_P=np.array([1, 1, 0]))
    pairs.is_target = None
    monkeypatch.setattr("steps.results.data_summary.read_trial_index", lambda path: pairs)
    found = summary(manifests, makes_lists=True)
    numbers = found["lists"]["pairs"]
    assert (numbers["target"], numbers["nontarget"], numbers["unlabelled"]) == (0, 0, 3)
    assert (numbers["doubled"], numbers["mirrored"], numbers["nontarget_genders"]) == (1, 1, {})
    assert numbers["design"] == {"factors": {}, "drift": {}}
    lines = [line for line in remark_lines(found) if line.startswith("list pairs: ")]
    assert lines[0] == "list pairs: 1 of 3 trials are there a second time, and count twice"
    assert not [line for line in lines if "too few" in line or "in one trial only" in line]
    assert [table.title for table in data_tables(found)] == ["Sets", "Trial lists"]
    shown = dict(zip(data_tables(found)[1].columns, data_tables(found)[1].rows[0], strict=True))
    assert shown["No label"] == "3"
    assert "Target" not in shown


def test_folders_are_looked_at_only_where_they_say_who_speaks(manifests):
    assert not [kind for kind, _, _ in summary(manifests)["remarks"] if kind == "speakers"]
    for name in ("train", "test"):
        write_set(manifests / name, [utterance(name, speaker, 0) for speaker in range(12)])
    texts = [text for kind, _, text in summary(manifests, levels=True)["remarks"] if kind == "speakers"]
    assert len(texts) == 1
    assert texts[0].startswith("24 of 24 speakers have one or two utterances")


def test_the_record_of_a_system_holds_the_summary_and_says_a_rate_below_the_network_s(manifests, tmp_path):
    common = {"system": "x", "backend": "cosine", "figures": {}, "fingerprint": "0", "seconds": 1.0}
    write_result(tmp_path, manifests, **common, model={"sampling_rate": 48000})
    assert "data" not in json.loads((tmp_path / "result.json").read_text())
    found = summary(manifests)
    (manifests / FILE).write_text(json.dumps(found))
    assert read_summary(manifests) == found
    write_result(tmp_path, manifests, **common, model={"sampling_rate": 16000})
    assert json.loads((tmp_path / "result.json").read_text())["data"] == found
    write_result(tmp_path, manifests, **common, model={"sampling_rate": 48000})
    remarks = json.loads((tmp_path / "result.json").read_text())["data"]["remarks"]
    assert len(remarks) == len(found["remarks"]) + 1
    assert remarks[-1][:2] == ["set", "test"]


def numbers(rates, band=None, **more):
    return {"rates": rates, "utterances": sum(rates.values()), **({"band": band, "heard": 20} if band else {}), **more}


def test_files_below_the_rate_of_the_features_are_said():
    sets = {"train": numbers({"16000": 5}), "test": numbers({"8000": 3, "16000": 1}), "noise": numbers({"8000": 3})}
    assert [name for name, _ in rate_remarks(sets, 16000)] == ["test"]
    assert rate_remarks(sets, 16000)[0][1].startswith(
        "3 of 4 files have 8000 Hz, the features are made at 16000 Hz: nothing above 4 kHz"
    )
    assert rate_remarks(sets, 8000) == []


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (numbers({"16000": 5}, 7800), numbers({"16000": 5}, 7900), []),
        (numbers({"16000": 5}, 7800), numbers({"16000": 5}, 4400), ["test", "test"]),  # itself, and against train
        (numbers({"16000": 5}, 4400), numbers({"16000": 5}, 4400), ["train", "test"]),
        (numbers({"8000": 5}, 4000), numbers({"8000": 5}, 3400), []),  # 8 kHz promise no more
        (numbers({"16000": 5}, 7800), numbers({"8000": 5}, 3400), ["test"]),
        (numbers({"16000": 5}), numbers({"16000": 5}), []),  # not measured
    ],
)
def test_bands_that_the_rate_does_not_tell_are_said(train, test, said):
    assert [name for name, _ in set_remarks({"train": train, "test": test})] == said


@pytest.mark.parametrize(
    ("target", "speakers", "text"),
    [
        (20, 20, None),
        (19, 20, "only 19 target trials: "),
        (20, 5, "only 5 speakers: "),
        (1, 2, "only 1 target trials and 2 speakers: "),
    ],
)
def test_few_trials_or_speakers_are_too_few_to_tell(target, speakers, text):
    found = few_remarks({"target": target, "speakers": speakers, "unlabelled": 0})
    assert len(found) == (text is not None)
    assert not found or found[0].startswith(text)


def test_tables_and_remarks_know_one_limit():
    assert tables.FEW == FEW


def test_tables_show_sets_lists_and_design(manifests):
    sets, lists, design = data_tables(summary(manifests))
    shown = dict(zip(sets.columns, sets.rows[1], strict=True))
    assert [row[0] for row in sets.rows] == ["train", "test"]
    assert (shown["Speakers"], shown["Utterances"], shown["Seconds"], shown["f"], shown["m"]) == (
        "4",
        "12",
        "1.00 / 1.00 / 1.00",
        "2",
        "2",
    )
    assert (shown["Sessions"], shown["Band kHz"], shown["Rates Hz"]) == ("12", "8.0", "16000")
    shown = {row[0]: dict(zip(lists.columns, row, strict=True)) for row in lists.rows}
    assert (shown["pairs"]["Target"], shown["pairs"]["f-m"], shown["pairs"]["in one session"]) == ("12", "36", "0")
    assert (shown["models"]["of them models"], shown["models"]["Doubled"], shown["pairs"]["Doubled"]) == ("1", "1", None)
    assert [row[0] for row in design.rows] == ["models", "pairs"]
