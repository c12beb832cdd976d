"""Long lists and score files: the same as short ones by the ways of `trials.py`, and every kind of bad file by its message."""

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data import columns, score_files
from steps.data.score_files import TrialIndex, read_score_index, read_trial_index, write_score_index, write_trial_index
from steps.data.score_matching import ScoreChunks, match_scores
from steps.metrics.error_rates import eer
from steps.metrics.streaming import stream_figures


def make(num=3000, num_ids=200, seed=0) -> TrialIndex:
    rng = np.random.default_rng(seed)
    ids = sorted({f"s{rng.integers(10)}/{'é' * rng.integers(3)}{n}" for n in range(num_ids)})
    enrol_P, test_P = rng.integers(len(ids), size=(2, num)).astype(np.int32)
    pairs = np.unique(np.sort(np.stack([enrol_P, test_P]), axis=0), axis=1).astype(np.int32)
    pairs = rng.permuted(pairs, axis=0)[:, rng.permutation(pairs.shape[1])]
    speakers = np.array([name.partition("/")[0] for name in ids])
    return TrialIndex(ids, *pairs, speakers[pairs[0]] == speakers[pairs[1]])


def text_of(trials, scores) -> str:
    rows = zip(trials.enrol_ids, trials.test_ids, scores.tolist(), strict=True)
    return "".join(f"{enrol} {test} {score:.9g}\n" for enrol, test, score in rows)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_BYTES", 700)
    monkeypatch.setattr(score_files, "_WRITE_LINES", 33)


@pytest.mark.usefixtures("small_blocks")
def test_files_have_the_bytes_of_plain_loops_and_are_read_again(tmp_path):
    trials = make()
    scores = np.random.default_rng(1).normal(size=len(trials)).astype(np.float32)
    write_trial_index(tmp_path / "t.txt", trials)
    held = write_score_index(tmp_path / "s.txt", trials, scores)
    rows = zip(trials.is_target.astype(int), trials.enrol_ids, trials.test_ids, strict=True)
    assert (tmp_path / "t.txt").read_text() == "".join(f"{label} {enrol} {test}\n" for label, enrol, test in rows)
    assert (tmp_path / "s.txt").read_text() == text_of(trials, scores)
    found = read_trial_index(tmp_path / "t.txt")
    assert found.ids == sorted({*trials.enrol_ids, *trials.test_ids})
    assert (found.enrol_ids, found.test_ids) == (trials.enrol_ids, trials.test_ids)
    np.testing.assert_array_equal(found.is_target, trials.is_target)
    ids, enrol_P, test_P, values = read_score_index(tmp_path / "s.txt")
    assert ([ids[i] for i in enrol_P], [ids[i] for i in test_P]) == (trials.enrol_ids, trials.test_ids)
    np.testing.assert_array_equal(values, held)
    np.testing.assert_array_equal(values.astype(np.float32), scores)


def test_an_index_knows_its_rows():
    trials = TrialIndex.of(["b", "a", "b"], ["c", "b", "a"], [True, False, False])
    assert (trials.ids, trials.num_target, trials.num_nontarget) == (["b", "a", "c"], 1, 2)
    rows = trials.rows_of({"b": 7, "a": 4})
    assert [side.tolist() for side in rows] == [[7, 4, 7], [-1, 7, 4]]
    part = trials.select(np.array([2, 0]))
    assert (part.enrol_ids, part.test_ids, part.is_target.tolist()) == (["b", "b"], ["a", "c"], [False, True])
    with pytest.raises(ValueError, match="2 enrolment ids, 1 test ids"):
        TrialIndex(["a"], np.zeros(2, int), np.zeros(1, int), np.zeros(2, bool))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a b\n\n0 a c\n0 b a\n", r"t.txt:4: the trial of 'b' and 'a' is a non-target trial, and in line 1 a target trial"),
        (
            "a b target\na c nontarget\n1 a d\n",
            r"t.txt:3: malformed trial '1 a d'.*the lines above have the form '<enrolment id> <test id> <target",
        ),
        (
            "1 a b\na c nontarget\n",
            r"t.txt:2: malformed trial 'a c nontarget'.*the lines above have the form '<1.0> <enrolment id>",
        ),
        ("1 a b\n01 a c\n", r"t.txt:2: malformed trial '01 a c'"),
        ("a b target\na c targets\n", r"t.txt:2: malformed trial 'a c targets'"),
    ],
)
def test_bad_lists_are_named_by_their_line(tmp_path, text, message):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_trial_index(tmp_path / "t.txt")


def test_a_pair_may_be_listed_twice(tmp_path):
    (tmp_path / "t.txt").write_text("1 a b\n0 a c\n1 a b\n1 b a\n")
    assert read_trial_index(tmp_path / "t.txt").num_target == 3


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("shuffled", [False, True])
def test_scores_are_matched_in_any_order(tmp_path, shuffled):
    trials = make()
    scores = np.round(np.random.default_rng(2).normal(size=len(trials)), 4)
    order = np.random.default_rng(3).permutation(len(trials)) if shuffled else np.arange(len(trials))
    write_score_index(tmp_path / "s.txt", trials.select(order), scores[order])
    found, kept = match_scores(trials, tmp_path / "s.txt")
    np.testing.assert_array_equal(found, scores)
    np.testing.assert_array_equal(kept, np.arange(len(trials)))


def test_a_trial_listed_twice_takes_two_scores_in_their_order(tmp_path):
    trials = TrialIndex.of(["a", "a", "a"], ["b", "c", "b"], [True, False, True])
    (tmp_path / "s.txt").write_text("a c 1\na b 2\na b 3\n")
    assert match_scores(trials, tmp_path / "s.txt")[0].tolist() == [2, 1, 3]
    (tmp_path / "s.txt").write_text("a c 1\na b 2\n")
    with pytest.raises(RecipeError, match=r"no score for 1 of 3 trials of the trial list, .*'a' and 'b' \(trial 3\)"):
        match_scores(trials, tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b c 1\n\na b 2\n", r"s.txt: no score for 1 of 3 trials of list, the first that of 'c' and 'a' \(trial 3\)"),
        ("a b 1\nb c 2\nc a 3\na b 4\n", r"s.txt:4: a second score of 'a' and 'b', after that in line 1"),
        ("a b 1\nb c 2\nc a 3\nc a 4\n", r"s.txt:4: a second score of 'c' and 'a', after that in line 3"),
        ("a b 1\nb c 2\nc a 3\nb a 4\n", r"s.txt:4: a score of 'b' and 'a', which is no trial of list"),
        ("a b 1\n\nb x 2\nc a 3\n", r"s.txt:3: a score of 'b' and 'x', which is no trial of list"),
        ("a b 1\nb c nan\nc a 3\n", r"s.txt:2: score nan for 'b' and 'c'; expected finite"),
        ("a b 1\nb c 1e999\nc a 3\n", r"s.txt:2: score inf"),
        ("a b 1\nb c\nc a 3\n", r"s.txt:2: malformed score 'b c'"),
        ("a b 1\nb c x\nc a 3\n", r"s.txt:2: malformed score 'b c x'"),
        ("", "s.txt: the score file is empty"),
    ],
)
def test_score_files_that_do_not_fit_are_named(tmp_path, text, message):
    trials = TrialIndex.of(["a", "b", "c"], ["b", "c", "a"], [True, False, False])
    (tmp_path / "s.txt").write_text(text)
    write_trial_index(tmp_path / "t.txt", trials)
    with pytest.raises(RecipeError, match=message):
        match_scores(trials, tmp_path / "s.txt", list_name="list")
    with pytest.raises(RecipeError, match=r"s\.txt"):  # the same file, read beside the list
        list(ScoreChunks(tmp_path / "t.txt", tmp_path / "s.txt"))


def test_missing_scores_may_be_left_out(tmp_path):
    trials = TrialIndex.of(["a", "b", "c"], ["b", "c", "a"], [True, False, False])
    (tmp_path / "s.txt").write_text("c a 3\na b 1\n")
    scores, kept = match_scores(trials, tmp_path / "s.txt", allow_missing=True)
    assert (scores.tolist(), kept.tolist()) == ([1, 3], [0, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1\n", r"s.txt: ends after 1 scores; expected one of 'b' and 'c' next, as line 3 of .*t.txt"),
        ("a b 1\nb c 2\nc a 3\n", r"s.txt:3: a score of 'c' and 'a'; expected no more than the 2 trials of .*t.txt"),
        ("b c 1\na b 2\n", r"s.txt:1: a score of 'b' and 'c'; expected that of 'a' and 'b', as line 1 of .*t.txt"),
        ("a b 1\nb d 2\n", r"s.txt:2: a score of 'b' and 'd'; expected that of 'b' and 'c', as line 3"),
        ("a b 1\nb cc 2\n", r"s.txt:2: a score of 'b' and 'cc'"),
        ("a b 1\nb c inf\n", r"s.txt:2: score inf"),
    ],
)
def test_chunks_of_files_that_do_not_fit_are_named(tmp_path, text, message):
    (tmp_path / "t.txt").write_text("1 a b\n\n0 b c\n")
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(RecipeError, match=message):
        list(ScoreChunks(tmp_path / "t.txt", tmp_path / "s.txt"))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kaldi", [False, True])
def test_figures_of_files_are_those_of_their_scores(tmp_path, kaldi):
    trials = make(num=4000)
    held = write_score_index(tmp_path / "s.txt", trials, np.random.default_rng(4).normal(size=len(trials)) + trials.is_target)
    write_trial_index(tmp_path / "t.txt", trials)
    if kaldi:
        lines = [line.split() for line in (tmp_path / "t.txt").read_text().splitlines()]
        (tmp_path / "t.txt").write_text("".join(f"{a} {b} {'target' if t == '1' else 'nontarget'}\n" for t, a, b in lines))
    chunks = ScoreChunks(tmp_path / "t.txt", tmp_path / "s.txt")
    assert stream_figures(chunks)["eer"] == eer(held[trials.is_target], held[~trials.is_target])
    assert sum(len(scores) for scores, _ in chunks) == len(trials)


def test_bad_scores_are_not_written(tmp_path):
    trials = TrialIndex.of(["a", "b"], ["b", "c"], [True, False])
    with pytest.raises(ValueError, match="score inf for 'b' and 'c'"):
        write_score_index(tmp_path / "s.txt", trials, np.array([0, np.inf]))
    with pytest.raises(ValueError, match="a score for each of 2 trials"):
        write_score_index(tmp_path / "s.txt", trials, np.zeros(3))
    with pytest.raises(RecipeError, match="empty"):
        write_trial_index(tmp_path / "t.txt", trials.select(np.zeros(2, dtype=bool)))
    assert list(tmp_path.iterdir()) == []
