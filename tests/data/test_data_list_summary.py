"""Numbers of sets and lists, against counting one by one; and the real list whose mirrored pairs are known."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from steps.data.list_sides import NONE, label_codes, list_sides
from steps.data.list_summary import pair_faults, summarise_list
from steps.data.manifests import Utterance, Utterances
from steps.data.same_content import content_codes, read_groups, write_groups
from steps.data.score_files import TrialIndex, read_trial_index
from steps.data.set_summary import summarise_set

LISTS = Path(__file__).parents[3] / "shared" / "data" / "voxceleb_lists"


def utterance(name, speaker, gender="", session="", corpus="", num_samples=16000, rate=16000, path=""):
    return Utterance(
        id=name, speaker=speaker, gender=gender, session=session, corpus=corpus, path=path or f"{name}.wav",
        sampling_rate=rate, num_samples=num_samples,
    )  # fmt: skip


def collected(each):
    found = Utterances()
    for one in sorted(each, key=lambda one: one.id):
        found.append(one)
    return found


def drawn(seed, num=60):
    """Utterances with some labels missing, and trials of them with all that can be odd."""
    rng = np.random.default_rng(seed)
    gender = {number: str(rng.choice(["f", "m", ""])) for number in range(8)}
    items = []
    for number in range(num):
        speaker = int(rng.integers(8))
        session = str(rng.choice(["a", "b", ""]))
        items.append(utterance(f"u{number:03d}", f"s{speaker}", gender[speaker], session, "xy"[speaker % 2]))
    pairs = rng.integers(num, size=(400, 2))
    speaker_of = {item.id: item.speaker for item in items}
    sides = [[items[row].id for row in column] for column in pairs.T]
    truth = np.array([speaker_of[one] == speaker_of[other] for one, other in zip(*sides, strict=True)])
    return items, TrialIndex.of(*sides, truth)


def summary_of(items, trials, models=None, groups=()):
    utterances = collected(items)
    sides = list_sides(trials, models or {}, utterances)
    return summarise_list(trials, sides, utterances, content_codes(groups, utterances))


@pytest.mark.parametrize("seed", range(4))
def test_kinds_of_trials_are_those_counted_one_by_one(seed):
    items, trials = drawn(seed)
    of = {item.id: item for item in items}
    rows = [(of[a], of[b], t) for a, b, t in zip(trials.enrol_ids, trials.test_ids, trials.is_target.tolist(), strict=True)]
    found = summary_of(items, trials)
    assert found["target_genders"] == Counter(a.gender for a, _, truth in rows if truth)
    kinds = ["-".join(sorted((a.gender, b.gender))) if a.gender and b.gender else "" for a, b, truth in rows if not truth]
    assert found["nontarget_genders"] == Counter(kinds)
    same = [a.session == b.session for a, b, truth in rows if truth and a.session and b.session]
    assert found["target_sessions"] == {"same": sum(same), "other": len(same) - sum(same)}
    assert found["across_corpora"] == sum(a.corpus != b.corpus for a, b, _ in rows)
    assert found["speakers"] == len({each.speaker for a, b, _ in rows for each in (a, b)})
    assert (found["enrolled"], found["tested"]) == (len({a.id for a, _, _ in rows}), len({b.id for _, b, _ in rows}))
    once = Counter(a.speaker for a, _, _ in rows)
    assert found["speakers_in_one_trial"] == sum(num == 1 for num in once.values())


@pytest.mark.parametrize("seed", range(4))
def test_odd_pairs_are_those_counted_one_by_one(seed):
    items, trials = drawn(seed, num=20)
    pairs = list(zip(trials.enrol_ids, trials.test_ids, strict=True))
    assert pair_faults(trials) == {
        "with_itself": sum(a == b for a, b in pairs),
        "doubled": len(pairs) - len(set(pairs)),
        "mirrored": sum(a < b and (b, a) in set(pairs) for a, b in set(pairs)),
    }


@pytest.mark.skipif(not LISTS.is_dir(), reason="the published lists are not here")
@pytest.mark.parametrize(("name", "mirrored"), [("veri_test2.txt", 337), ("veri_test.txt", None)])
def test_the_published_list_has_its_known_mirrored_pairs(name, mirrored):
    trials = read_trial_index(LISTS / name)
    pairs = set(zip(trials.enrol_ids, trials.test_ids, strict=True))
    found = pair_faults(trials)["mirrored"]
    assert found == sum(a < b and (b, a) in pairs for a, b in pairs)
    assert mirrored in (None, found)


def test_tests_that_are_enrolled_are_counted_by_model():
    items = [utterance(f"{speaker}{number}", speaker) for speaker in "ab" for number in range(4)]
    models = {"A": ("a0", "a1"), "B": ("b0", "b1")}
    trials = TrialIndex.of(["A", "A", "A", "B", "B"], ["a0", "a2", "b0", "a2", "b1"], np.array([True, True, False, False, True]))
    found = summary_of(items, trials, models)
    assert (found["models"], found["enrolled"], found["enrolled_and_tested"], found["tests_that_enrol"]) == (2, 2, 2, 3)
    assert found["with_itself"] == 0


def test_trials_of_two_parts_of_a_file_are_counted():
    items = [utterance(name, "a", path="one.wav") for name in ("a0", "a1")] + [utterance("a2", "a"), utterance("b0", "b")]
    trials = TrialIndex.of(["a0", "a0", "a0", "a1"], ["a1", "a0", "a2", "b0"], np.array([1, 1, 1, 0], bool))
    found = summary_of(items, trials)
    assert (found["one_file"], found["with_itself"]) == (1, 1)


def test_a_list_may_enrol_models_and_utterances():
    items = [utterance(f"{speaker}{number}", speaker) for speaker in "ab" for number in range(4)]
    trials = TrialIndex.of(["A", "b0", "b0", "a0"], ["a1", "b0", "b1", "b1"], np.array([1, 1, 1, 0], bool))
    found = summary_of(items, trials, {"A": ("a0", "a1")})
    assert (found["enrolled"], found["models"], found["enrolled_and_tested"], found["with_itself"]) == (3, 1, 1, 1)
    assert found["tests_that_enrol"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_code_is_shared_as_going_through_all_utterances_says(seed):
    """Also of models, and where some have no code."""
    rng = np.random.default_rng(seed)
    items = collected(utterance(f"u{number:02d}", "s") for number in range(12))
    models = {f"m{number}": tuple(rng.choice(list(items.ids), size=3, replace=False)) for number in range(5)}
    sides = [[str(name) for name in rng.choice(names, size=200)] for names in ([*models, *items.ids], list(items.ids))]
    trials = TrialIndex.of(*sides, np.ones(200, dtype=bool))
    code_N = rng.integers(-1, 3, size=12)
    code_of = dict(zip(items.ids, code_N.tolist(), strict=True))
    expected = [
        code_of[test] != NONE and code_of[test] in [code_of[each] for each in models.get(enrol, (enrol,))]
        for enrol, test in zip(*sides, strict=True)
    ]
    assert list_sides(trials, models, items).shares(code_N).tolist() == expected


def test_sessions_of_two_speakers_are_two_though_they_have_one_name():
    items = collected(utterance(f"{speaker}{name}", speaker, session=name) for speaker in "abc" for name in ("x", "y", ""))
    codes = label_codes(items, "session", within=label_codes(items, "speaker"))
    assert sorted(codes.tolist())[:3] == [NONE] * 3
    assert len(set(codes.tolist())) == 1 + 6


def test_one_enrolled_speaker_in_one_trial_is_counted():
    items = [utterance(f"{speaker}{number}", speaker) for speaker in "Aabc" for number in range(2)]  # A is only tested
    trials = TrialIndex.of(["a0", "a0", "b0", "b1", "c0"], ["a1", "A1", "b1", "a1", "c1"], np.array([1, 0, 1, 0, 1], bool))
    found = summary_of(items, trials)
    assert (found["speakers_in_one_trial"], found["speakers_enrolled"]) == (1, 3)


def test_equal_recordings_under_two_ids_are_counted_and_kept_in_a_file(tmp_path):
    items = [utterance(name, name[0]) for name in ("a0", "a1", "b0", "b1")]
    write_groups(tmp_path, [["b0", "a1"], ["a0", "b1"]])
    assert read_groups(tmp_path) == [["a0", "b1"], ["a1", "b0"]]
    assert read_groups(tmp_path / "none") == []
    trials = TrialIndex.of(["a0", "a0", "a1", "a1"], ["b1", "a1", "b0", "a1"], np.array([0, 1, 0, 1], bool))
    assert summary_of(items, trials, groups=read_groups(tmp_path))["equal_content"] == 2
    assert summary_of(items, trials)["equal_content"] == 0


def test_trials_without_recordings_are_counted_and_say_nothing():
    items = [utterance(name, name[0], "f") for name in ("a0", "a1", "b0")]
    trials = TrialIndex.of(["a0", "a0", "gone"], ["a1", "gone", "b0"], np.array([True, False, False]))
    found = summary_of(items, trials)
    assert (found["missing"], found["target"], found["nontarget"], found["nontarget_genders"]) == (2, 1, 2, {})


def test_a_set_is_what_counting_says():
    items = [
        utterance("a0", "a", "f", "1", "x", num_samples=16000), utterance("a1", "a", "f", "2", "x", num_samples=32000),
        utterance("b0", "b", "", "1", "y", num_samples=8000, rate=8000), utterance("c0", "c", "m", "", "y", num_samples=160_000),
    ]  # fmt: skip
    assert summarise_set(collected(items)) == {
        "utterances": 4, "speakers": 3, "hours": round(14 / 3600, 4), "seconds": [1.0, 1.5, 10.0], "per_speaker": [1, 1, 2],
        "rates": {"8000": 1, "16000": 3}, "genders": {"": 1, "f": 1, "m": 1}, "sessions": 3, "corpora": {"x": 2, "y": 2},
    }  # fmt: skip
