"""Claims about steps.data.trials; made lists are compared with brute force over all pairs."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data import trials as lists
from steps.data.manifests import Utterance
from steps.data.trials import Trials


def make(num_speakers=6, num_utterances=5, **changes) -> list[Utterance]:
    return [
        Utterance(
            id=f"s{speaker}/u{number}", speaker=f"s{speaker}", gender="fm"[speaker % 2], session=f"x{number % 2}",
            corpus=f"c{speaker // 4}", path=f"s{speaker}/u{number}.wav", sampling_rate=16000, num_samples=1, **changes,
        )
        for speaker in range(num_speakers)
        for number in range(num_utterances)
    ]  # fmt: skip


def pairs(trials: Trials) -> set[tuple[str, str, bool]]:
    return set(zip(trials.enrol_ids, trials.test_ids, trials.is_target.tolist(), strict=True))


def brute_force(items, keep) -> set[tuple[str, str, bool]]:
    ordered = sorted(items, key=lambda item: item.id)
    return {(a.id, b.id, a.speaker == b.speaker) for a, b in combinations(ordered, 2) if keep(a, b)}


CONDITIONS = [
    ({}, lambda a, b: True),
    ({"cross_session": True}, lambda a, b: a.speaker != b.speaker or a.session != b.session),
    ({"same_gender": True}, lambda a, b: a.gender == b.gender),
    ({"within_corpus": True}, lambda a, b: a.corpus == b.corpus),
    ({"same_gender": True, "within_corpus": True}, lambda a, b: (a.gender, a.corpus) == (b.gender, b.corpus)),
]


@pytest.mark.parametrize(("conditions", "keep"), CONDITIONS)
def test_all_pairs_are_those_of_brute_force(conditions, keep):
    items = make()
    found = lists.all_pairs(items[::-1], **conditions)
    assert pairs(found) == brute_force(items, keep)
    assert len(found) == len(pairs(found))


@pytest.mark.parametrize(("conditions", "keep"), CONDITIONS)
def test_balanced_is_half_target_and_within_the_allowed_pairs(conditions, keep):
    items = make(num_speakers=12, num_utterances=11)
    found = lists.balanced(items, np.random.default_rng(3), 4, **conditions)
    assert found.num_target == found.num_nontarget
    assert pairs(found) <= {(a, b, t) for x, y, t in brute_force(items, keep) for a, b in ((x, y), (y, x))}
    assert len({frozenset(pair[:2]) for pair in pairs(found)}) == len(found)
    assert max(Counter(found.enrol_ids).values()) == 4
    # 11 utterances a speaker: only where half of them are of one's own session does anybody run out of partners.
    assert len(found) == 4 * len(items) or (conditions == {"cross_session": True} and len(found) > 3.5 * len(items))


def test_balanced_takes_every_target_pair_where_there_are_few():
    items = make(num_speakers=8, num_utterances=4)
    found = lists.balanced(items, np.random.default_rng(0), 8)
    targets = {frozenset(pair[:2]) for pair in pairs(found) if pair[2]}
    assert found.num_target == len(targets)
    assert targets == {frozenset(pair[:2]) for pair in brute_force(items, lambda a, b: a.speaker == b.speaker)}


def test_balanced_depends_on_the_generator_and_not_on_the_order():
    items = make(num_speakers=20, num_utterances=20)
    first = pairs(lists.balanced(items, np.random.default_rng(1)))
    assert first == pairs(lists.balanced(items[::-1], np.random.default_rng(1)))
    assert first != pairs(lists.balanced(items, np.random.default_rng(2)))


def test_balanced_copes_with_a_speaker_who_outnumbers_all_others():
    items = make(num_speakers=1, num_utterances=300) + make(num_speakers=2, num_utterances=2)[2:]
    found = lists.balanced(items, np.random.default_rng(1), 8)
    assert 0 < found.num_target == found.num_nontarget <= 600


def test_balanced_is_made_for_a_hundred_thousand_utterances():
    items = make(num_speakers=1000, num_utterances=100)
    found = lists.balanced(items, np.random.default_rng(1), 2)
    assert len(found) == 200_000


def test_unknown_gender_takes_no_part_in_same_gender_trials():
    items = make()
    items = [*items, Utterance(**{name: getattr(items[0], name) for name in Utterance.__slots__} | {"id": "z", "gender": ""})]
    assert "z" not in lists.all_pairs(items, same_gender=True).test_ids
    assert "z" in lists.all_pairs(items).test_ids


@pytest.mark.parametrize("items", [[], make(1, 5), make(5, 1)])
def test_lists_without_targets_or_without_nontargets_are_refused(items):
    with pytest.raises(RecipeError, match="expected some of both"):
        lists.all_pairs(items)
    with pytest.raises(RecipeError, match="expected some of both"):
        lists.balanced(items, np.random.default_rng(1))


def test_too_many_pairs_are_refused_before_they_are_made():
    with pytest.raises(RecipeError, match="4999950000 trials"):
        lists.all_pairs(make(num_speakers=1000, num_utterances=100))


@pytest.mark.parametrize(
    "text",
    ["1 a b\n0 a c\n", "a b target\na c nontarget\n", "\ufeff1 a b\r\n0 a c", "1\ta  b\n\n0 a c\n"],
    ids=["voxceleb", "kaldi", "bom_crlf_no_newline", "tabs_and_empty_lines"],
)
def test_both_forms_are_read(tmp_path, text):
    (tmp_path / "list.txt").write_bytes(text.encode())
    found = lists.read_trials(tmp_path / "list.txt")
    assert (found.enrol_ids, found.test_ids, found.is_target.tolist()) == (["a", "a"], ["b", "c"], [True, False])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 a b\n2 a c\n", "list.txt:2: .*'2 a c'"),
        ("1 a b\n0 a\n", "list.txt:2"),
        ("a b target\n1 a c\n", "list.txt:2"),
        ("1 a b c\n", "list.txt:1"),
        ("", "empty"),
        (" \n", "empty"),
    ],
)
def test_malformed_and_empty_lists_are_refused_with_their_line(tmp_path, text, words):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(RecipeError, match=words):
        lists.read_trials(tmp_path / "list.txt")


def test_missing_and_binary_lists_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="not found"):
        lists.read_trials(tmp_path / "none.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="UTF-8"):
        lists.read_trials(tmp_path / "x.txt")


def test_written_trials_are_read_again_in_their_order(tmp_path):
    trials = Trials(["b", "a"], ["c", "b"], np.array([True, False]))
    lists.write_trials(tmp_path / "t.txt", trials)
    assert (tmp_path / "t.txt").read_text() == "1 b c\n0 a b\n"
    assert pairs(lists.read_trials(tmp_path / "t.txt")) == pairs(trials)
    with pytest.raises(RecipeError, match="empty"):
        lists.write_trials(tmp_path / "e.txt", Trials([], [], np.zeros(0, bool)))


def test_float32_scores_survive_the_file_bit_for_bit(tmp_path):
    scores = np.random.default_rng(1).normal(size=2000).astype(np.float32) * np.float32(1e-3)
    ids = [f"u{number}" for number in range(2000)]
    lists.write_scores(tmp_path / "s.txt", ids, ids[::-1], scores)
    enrol_ids, test_ids, found = lists.read_scores(tmp_path / "s.txt")
    assert (enrol_ids, test_ids) == (ids, ids[::-1])
    np.testing.assert_array_equal(found.astype(np.float32), scores)


def test_bad_scores_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        lists.write_scores(tmp_path / "s.txt", ["a"], ["b"], np.array([np.nan]))
    for text, words in (("a b\n", ":1"), ("a b x\n", ":1"), ("a b nan\n", "finite"), ("", "empty")):
        (tmp_path / "s.txt").write_text(text)
        with pytest.raises(RecipeError, match=words):
            lists.read_scores(tmp_path / "s.txt")


def test_unknown_utterances_are_counted_and_named():
    trials = Trials(["a", "x", "x"], ["b", "b", "y"], np.array([True, False, False]))
    lists.check_known(trials, ["a", "b", "x", "y"], "here")
    with pytest.raises(RecipeError, match="here: 2 utterances in 2 of 3 trials are unknown: 'x', 'y'"):
        lists.check_known(trials, ["a", "b"], "here")


def test_sublists_hold_the_trials_of_one_gender_and_of_each_corpus():
    items = make()
    whole = lists.all_pairs(items)
    assert pairs(lists.same_gender_trials(whole, items)) == brute_force(items, lambda a, b: a.gender == b.gender)
    parts = lists.trials_by_corpus(whole, items)
    assert list(parts) == ["c0", "c1"]
    for name, part in parts.items():
        assert pairs(part) == brute_force(items, lambda a, b, name=name: a.corpus == b.corpus == name)
