"""Faults that are built into lists are found, each by its factor, and lists without one are not remarked on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.data.list_sides import list_sides
from steps.data.listening import Listener
from steps.data.manifests import Utterance, Utterances
from steps.data.score_files import TrialIndex
from steps.results.list_design import has_drift, list_design

NUM = 40  # speakers


def people(seconds=lambda speaker, number: 3.0, session=lambda number: f"s{number}", start=lambda number: 0.0, path=None):
    """The utterances of 40 speakers, four each, women and men, two corpora."""
    rng = np.random.default_rng(1)
    found = Utterances()
    for speaker in range(NUM):
        for number in range(4):
            duration = seconds(speaker, number) * rng.uniform(0.8, 1.25)
            name = f"{speaker:02d}/{number}"
            found.append(
                Utterance(
                    id=name,
                    speaker=f"{speaker:02d}",
                    gender="fm"[speaker % 2],
                    session=session(number),
                    corpus="xy"[speaker // 20],
                    path=path(speaker, number) if path else f"{name}.wav",
                    sampling_rate=1000,
                    num_samples=round(1000 * duration),
                    start=start(number),
                )  # fmt: skip
            )
    return found


def pairs(utterances, keep, numbers=(0, 1, 2, 3)):
    """Every pair of some utterances of each speaker for which keep(one, other) holds."""
    items = [each for each in utterances if int(each.id[-1]) in numbers]
    rows = [(a.id, b.id, a.speaker == b.speaker) for n, a in enumerate(items) for b in items[n + 1 :] if keep(a, b)]
    enrol, test, truth = zip(*rows, strict=True)
    return TrialIndex.of(enrol, test, np.array(truth))


def alike(a, b):
    """A sound list: of one gender and one corpus, targets of two sessions."""
    return a.gender == b.gender and a.corpus == b.corpus and (a.speaker != b.speaker or a.session != b.session)


def design_of(utterances, trials, root=Path("/none")):
    listener = Listener(utterances, root)
    return list_design("list", list_sides(trials, {}, utterances), utterances, listener)


def told(design):
    return {factor for factor, found in design["factors"].items() if found["tells"]}


def test_a_sound_list_stays_quiet():
    utterances = people()
    design = design_of(utterances, pairs(utterances, alike))
    assert told(design) == set()
    assert set(design["factors"]) == {"duration_alike", "duration"}  # the others are the same in all trials
    assert not any(has_drift(design["drift"][groups]) for groups in ("speakers", "corpora"))


def test_gender_alone_is_found_with_its_closed_form():
    utterances = people()
    trials = pairs(utterances, lambda a, b: a.corpus == b.corpus and (a.speaker != b.speaker or a.session != b.session))
    design = design_of(utterances, trials)
    assert told(design) == {"gender"}
    share = 9 / 19  # of the others of a corpus so many are of one's own gender
    assert design["factors"]["gender"]["eer"] == pytest.approx(share / (1 + share), abs=1e-6)
    assert design["factors"]["gender"]["target"] == trials.num_target


def test_sessions_alone_are_found_with_their_closed_form():
    utterances = people(session=lambda number: f"s{number // 3}")
    trials = pairs(utterances, lambda a, b: a.gender == b.gender and a.corpus == b.corpus)
    design = design_of(utterances, trials)
    assert told(design) == {"session"}
    share = 3 / 6  # of the target trials within a session: the hull's line to "accept all" meets the diagonal
    assert design["factors"]["session"]["eer"] == pytest.approx((1 - share) / (2 - share), abs=1e-6)


def test_corpora_alone_are_found():
    utterances = people()
    trials = pairs(utterances, lambda a, b: a.gender == b.gender and (a.speaker != b.speaker or a.session != b.session))
    assert told(design_of(utterances, trials)) == {"corpus"}


def test_durations_alone_are_found():
    utterances = people(seconds=lambda speaker, number: 2.0 + speaker % 10)
    assert told(design_of(utterances, pairs(utterances, alike))) == {"duration_alike"}
    longer = people(seconds=lambda speaker, number: 8.0 if number < 2 else 2.0)
    trials = pairs(longer, lambda a, b: alike(a, b) and (a.speaker == b.speaker) == (int(a.id[-1]) < 2 and int(b.id[-1]) < 2))
    assert "duration" in told(design_of(longer, trials))


def test_parts_of_one_file_are_found():
    utterances = people(start=lambda number: 10.0 * number, path=lambda speaker, number: f"{speaker}.{number // 3}.wav")
    assert told(design_of(utterances, pairs(utterances, alike))) == {"recording"}


def test_only_trials_whose_gender_is_documented_on_both_sides_count():
    utterances = people()
    of_unknown = [name for name in utterances.labels["speaker"].names if int(name) // 10 != 1]
    known = Utterances()
    for each in utterances:
        known.append(replace(each, gender="") if each.speaker in of_unknown else each)
    trials = pairs(known, lambda a, b: True)
    found = design_of(known, trials)["factors"]["gender"]
    assert (found["target"], found["nontarget"]) == (10 * 6, 45 * 16)


def test_what_is_not_documented_tells_nothing():
    utterances = people(session=lambda number: "")
    design = design_of(utterances, pairs(utterances, lambda a, b: a.gender == b.gender and a.corpus == b.corpus))
    assert "session" not in design["factors"]


@pytest.mark.parametrize(("spread", "expected"), [(30.0, {"level_alike"}), (0.0, set())])
def test_levels_alone_are_found_in_the_audio(tmp_path, spread, expected):
    utterances = people()
    rng = np.random.default_rng(2)
    for each in utterances:
        gain = 10 ** (-(20 + spread * (int(each.speaker) % 10) / 10 + rng.uniform(0, 3)) / 20)
        (tmp_path / each.path).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / each.path, gain * rng.uniform(-1, 1, each.num_samples), 1000, subtype="FLOAT")
    design = design_of(utterances, pairs(utterances, alike), tmp_path)
    assert told(design) == expected
    assert {"level", "level_alike"} <= set(design["factors"])
    assert design["factors"]["level"]["target"] == 240


def test_levels_that_cannot_be_measured_are_not_there():
    utterances = people()
    assert not {"level", "level_alike"} & set(design_of(utterances, pairs(utterances, alike))["factors"])


def test_a_share_of_targets_that_drifts_is_found_by_corpus_and_along_the_list():
    utterances = people()
    trials = pairs(
        utterances, lambda a, b: alike(a, b) and (a.corpus == "x" or a.speaker == b.speaker or a.id[-1] == b.id[-1] == "0")
    )
    drift = design_of(utterances, trials)["drift"]
    of = {each.id: each for each in utterances}
    shares = []
    for corpus in "xy":
        rows = [t for b, t in zip(trials.test_ids, trials.is_target.tolist(), strict=True) if of[b].corpus == corpus]
        shares.append(sum(rows) / len(rows))
    assert drift["corpora"] == pytest.approx(sorted(shares), abs=1e-6)
    assert has_drift(drift["corpora"])
    tenth = [part.mean() for part in np.array_split(trials.is_target, 10)]
    assert drift["along"] == pytest.approx([min(tenth), max(tenth)], abs=0.02)


@pytest.mark.parametrize(
    ("shares", "drifts"), [([0.1, 0.2], False), ([0.1, 0.26], True), ([0.0, 0.1], True), ([0.5, 1.0], True), ([0.0, 0.0], False)]
)
def test_odds_that_differ_threefold_are_a_drift(shares, drifts):
    assert has_drift(shares) == drifts
