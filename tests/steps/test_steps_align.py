"""The alignment of two systems: alignment.json as it is promised, its figures those of the files beside it."""

import json
import logging

import numpy as np
import pytest

from steps import align
from steps.align import STAGE, Align, frr_at_far
from steps.backend.alignment.methods import make_aligner
from steps.backend.alignment.protocol import ASYMMETRIC, CELLS
from steps.backend.estimator import set_state
from steps.core import stage
from steps.core.errors import RecipeError
from steps.core.stamp import write_stamp
from steps.data.archive import load_arrays, write_embeddings
from steps.data.manifests import Utterance, write_roots, write_set
from steps.data.trials import read_scores, read_trials
from steps.metrics.curve import error_curve
from steps.metrics.error_rates import eer
from tests.backend.alignment.synthetic import spaces

LOG = logging.getLogger("tests.align")
METHODS = ("none", "logit", "procrustes", "nessa_linear_two_ge2e")
SETTINGS = (
    "name=pair", "old=first", "new=second", f"methods={json.dumps(METHODS)}", "profiles=[1, 2]", "repeats=2", "replicates=40",
    "dim=8", "hidden=8", "epochs=2", "batches_per_epoch=4", "batch_speakers=8", "write_scores=true",
)  # fmt: skip


def _utterance(name, speaker, session):
    return Utterance(
        id=name, speaker=speaker, gender="", session=session, corpus="", path=f"{name}.wav", sampling_rate=8000, num_samples=8000
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Manifests, and embeddings of the same utterances by two models; of a test speaker two utterances share a session."""
    top = tmp_path_factory.mktemp("align")
    for number, (set_name, num_speakers) in enumerate((("train", 24), ("test", 10))):
        data = spaces(num_speakers=num_speakers, num_each=6, seed=number, spread=0.6)
        ids = [f"{set_name}/{speaker}/{row % 6}" for row, speaker in enumerate(data.speaker)]
        utterances = [_utterance(each, *each.split("/")[1:2], f"s{int(each[-1]) // 2}") for each in ids]
        write_set(top / "manifests" / set_name, utterances)
        rng = np.random.default_rng(number)
        for system, matrix in (("first", data.new + 0.9 * rng.standard_normal(data.new.shape)), ("second", data.old + 0.5)):
            write_embeddings(top / system / set_name, ids, matrix.astype(np.float32))
    write_roots(top / "manifests", {"train": "", "test": ""})
    for name in ("manifests", "first", "second"):
        write_stamp(top / name, {}, {}, 0.0)
    return top


def _launch_here(command, num_parts, log_folder, *, threads, watch):
    for part in range(num_parts):
        stage.run(STAGE, [word.replace("{part}", str(part)) for word in command[3:]], LOG)


def _run(inputs, out, *settings, jobs=1, systems=("first", "second")):
    words = [word for each in (*SETTINGS, *settings) for word in ("--set", f"align.{each}")]
    folders = [f"--embeddings={inputs / system}" for system in systems]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(stage.LAUNCHERS, "local", _launch_here)
        arguments = [f"--manifests={inputs / 'manifests'}", *folders, *words, "--out", str(out), "--jobs", str(jobs)]
        assert stage.run(STAGE, arguments, LOG) == 0
    return out


@pytest.fixture(scope="module")
def aligned(inputs, tmp_path_factory):
    return _run(inputs, tmp_path_factory.mktemp("aligned") / "alignment")


@pytest.fixture(scope="module")
def record(aligned):
    return json.loads((aligned / "alignment.json").read_text())


def _row(record, size, method, cell):
    return next(r for r in record["figures"] if (r["profile"], r["method"], r["cell"]) == (size, method, cell))


def test_every_cell_method_and_size_has_its_figures(record):
    keys = [(row["method"], row["cell"], row["profile"]) for row in record["figures"]]
    assert sorted(keys) == sorted((method, cell, size) for method in METHODS for cell in CELLS for size in (1, 2))
    assert all(("eer_gain" in row) == (row["cell"] in ASYMMETRIC) for row in record["figures"])
    assert record["dims"] == {"old": 24, "new": 16}
    # Three sessions of two utterances each: four tests of a profile of one, two of a profile of two; two profiles a speaker.
    assert [each["num_profiles"] for each in record["profiles"]] == [20, 20]
    assert [each["num_target"] for each in record["profiles"]] == [80, 40]
    assert [each["num_nontarget"] for each in record["profiles"]] == [20 * 54] * 2


def test_figures_are_those_of_the_written_scores(aligned, record):
    for row in record["figures"]:
        enrol, test, scores = read_scores(aligned / "scores" / row["method"] / row["cell"] / f"{row['profile']}.txt")
        trials = read_trials(aligned / "trials" / f"{row['profile']}.txt")
        assert (enrol, test) == (trials.enrol_ids, trials.test_ids)
        lines = (aligned / "scores" / row["method"] / row["cell"] / f"{row['profile']}.txt").read_text().splitlines()
        assert all(line.split()[2] == f"{np.float32(line.split()[2]):.9g}" for line in lines)  # nothing was lost in writing
        targets, others = scores[trials.is_target], scores[~trials.is_target]
        assert row["eer"] == eer(targets, others)
        threshold = min(t for t in [*scores, np.inf] if np.mean(others >= t) <= 0.01)
        assert row["frr"] == pytest.approx(np.mean(targets < threshold))
        assert row["eer_ci95"][0] <= row["eer_ci95"][1]


def test_profiles_and_tests_never_share_a_session(aligned):
    for size in (1, 2):
        lines = (line.split() for line in (aligned / "enrolment" / f"{size}.txt").read_text().splitlines())
        profiles = {name: ids for name, *ids in lines}
        trials = read_trials(aligned / "trials" / f"{size}.txt")
        for enrol, test, is_target in zip(trials.enrol_ids, trials.test_ids, trials.is_target, strict=True):
            speaker = enrol.partition("#")[0]
            assert is_target == (test.split("/")[1] == speaker)
            assert len(profiles[enrol]) == size
            sessions = {(each.split("/")[1], int(each[-1]) // 2) for each in profiles[enrol]}
            assert len(sessions) == size
            assert (test.split("/")[1], int(test[-1]) // 2) not in sessions


def test_without_a_method_it_is_chance_and_nessa_is_not(record):
    for cell in ASYMMETRIC:
        assert _row(record, 1, "none", cell)["eer"] > 0.35
        assert _row(record, 1, "procrustes", cell)["eer"] < 0.3
    difference = _row(record, 1, "procrustes", ASYMMETRIC[0])["eer_minus_logit"]["difference"]
    expected = _row(record, 1, "procrustes", ASYMMETRIC[0])["eer"] - _row(record, 1, "logit", ASYMMETRIC[0])["eer"]
    assert difference == expected
    assert "eer_minus_logit" not in _row(record, 1, "logit", ASYMMETRIC[0])


def test_gain_shares_are_of_the_plain_cells(record):
    old, new = (_row(record, 1, "none", cell) for cell in ("old_old", "new_new"))
    assert old["eer"] > new["eer"]
    for method in METHODS:
        for cell in ASYMMETRIC:
            row = _row(record, 1, method, cell)
            for error in ("eer", "frr"):
                share = (old[error] - row[error]) / (old[error] - new[error])
                assert row[f"{error}_gain"]["share"] == pytest.approx(share)
            assert 0 <= row["eer_gain"]["undefined"] < 0.5


def test_replicates_are_paired(inputs, tmp_path):
    """With the noisy system as the new one there is no gain to share: nearly all replicates are undefined."""
    swapped = _run(inputs, tmp_path / "a", "write_scores=false", "methods=['none']", systems=("second", "first"))
    record = json.loads((swapped / "alignment.json").read_text())
    gain = _row(record, 1, "none", "enrol_new_run_old")["eer_gain"]
    assert gain["share"] is None
    assert gain["undefined"] > 0.8
    assert not (swapped / "scores").exists()


def test_what_was_fitted_can_be_used_again(inputs, aligned):
    arrays, cell = load_arrays(aligned / "mappers.safetensors"), "enrol_new_run_old"
    settings = Align(name="pair", old="first", new="second")
    for method in METHODS:
        head = f"{method}.{cell}."
        aligner = make_aligner(method, settings, 0)
        set_state(aligner, {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)})
        assert aligner.map_enrol(np.ones((2, 16))).shape == aligner.map_run(np.ones((2, 24))).shape
    assert arrays["mean.old"].shape == (24,)


def test_two_jobs_give_the_same_bytes(inputs, aligned, tmp_path):
    again = _run(inputs, tmp_path / "alignment", jobs=2)
    names = [path.relative_to(aligned) for path in aligned.rglob("*.txt")] + ["mappers.safetensors", "table.md"]
    assert len(names) > 30
    assert all((aligned / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_fewer_training_utterances(inputs, tmp_path):
    few = _run(inputs, tmp_path / "a", "train_utterances=4", "methods=['none', 'procrustes']", "within_one=false", "profiles=[1]")
    record = json.loads((few / "alignment.json").read_text())
    assert record["num_train"] == 24 * 4
    assert [row["cell"] for row in record["figures"] if row["method"] == "procrustes"] == list(ASYMMETRIC)


def test_frr_at_far_by_hand():
    nontargets = np.arange(100.0)
    targets = [98.5, 99.0, 99.5, 50.0]
    curve = error_curve(targets, nontargets)
    assert frr_at_far(curve, 0.01) == 0.25  # 99 accepts one of a hundred, and so does what follows 98: 98.5
    assert frr_at_far(curve, 0.009) == 0.75  # above 99
    assert frr_at_far(curve, 0.5) == 0.0
    assert frr_at_far(curve, 0.49) == 0.25


def test_bad_inputs_are_named(inputs, tmp_path):
    with pytest.raises(RecipeError, match="expected two folders"):
        _run(inputs, tmp_path / "a", systems=("first",))
    with pytest.raises(RecipeError, match="with 4 sessions or more, found none"):
        _run(inputs, tmp_path / "b", "profiles=[3]", "methods=['none']")
    with pytest.raises(RecipeError, match="logit_25, .*expected 2 to 24"):
        _run(inputs, tmp_path / "c", "methods=['none', 'logit_25']")
    with pytest.raises(RecipeError, match="another system than old"):
        _run(inputs, tmp_path / "d", "old=second")
    with pytest.raises(RecipeError, match="'none' among them"):
        _run(inputs, tmp_path / "e", "methods=['logit']")


def test_test_utterances_that_one_system_lacks_are_refused(inputs, tmp_path):
    ids = [f"test/s{row // 6:03}/{row % 6}" for row in range(59)]
    write_embeddings(tmp_path / "third" / "test", ids, np.ones((59, 3), dtype=np.float32))
    write_stamp(tmp_path / "third", {}, {}, 0.0)
    with pytest.raises(RecipeError, match="found 1 that one lacks"):
        _run(inputs, tmp_path / "a", systems=("first", str(tmp_path / "third")))


def test_the_promised_methods_are_known():
    assert set(align._METHODS) <= set(Align(name="a", old="b", new="c").methods)
