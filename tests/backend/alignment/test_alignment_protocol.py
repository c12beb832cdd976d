"""Profiles, trials and scores are those of the protocol, found again by loops."""

import numpy as np
import pytest

from steps.backend.alignment.baselines import Procrustes, SpeakerLogits, ZeroPadding
from steps.backend.alignment.methods import make_aligner
from steps.backend.alignment.protocol import CELLS, centred_units, gain_share, profile_trials, score_profiles
from steps.backend.alignment.settings import Alignment, parse_method
from tests.backend.alignment.synthetic import rng_of, spaces

SPEAKERS = [name for name, num in (("a", 6), ("b", 4), ("c", 2), ("d", 1)) for _ in range(num)]
SESSIONS = ["s1", "s1", "s2", "s2", "s3", "s4", "", "", "", "", "x", "x", "y"]


def _draw(size, **more):
    return profile_trials(SPEAKERS, SESSIONS, size, rng_of=rng_of, **more)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_profiles_take_different_sessions_and_tests_take_others(size):
    trials = _draw(size, repeats=20)
    assert {name.partition("#")[0] for name in trials.names} == {"a", "b"}  # c and d have one session
    assert trials.num_left_out == 2
    assert len(trials.names) == len(set(trials.names)) == 40
    for profile, rows in enumerate(trials.rows_VM):
        name = trials.names[profile].partition("#")[0]
        keys = [(SPEAKERS[row], SESSIONS[row] or row) for row in rows]
        assert {key[0] for key in keys} == {name}
        assert len(set(keys)) == size
        tests = trials.test_P[(trials.enrol_P == profile) & trials.is_target_P]
        own = [row for row in range(13) if SPEAKERS[row] == name and (name, SESSIONS[row] or row) not in keys]
        assert sorted(tests) == own
        others = trials.test_P[(trials.enrol_P == profile) & ~trials.is_target_P]
        assert sorted(others) == [row for row in range(13) if SPEAKERS[row] != name]


def test_any_utterance_of_a_session_may_be_drawn():
    assert set(_draw(1, repeats=60).rows_VM[:60, 0]) == set(range(6))


def test_larger_profiles_contain_smaller_ones_and_a_seed_decides():
    one, three = _draw(1, repeats=5), _draw(3, repeats=5)
    assert np.array_equal(three.rows_VM[:, :1], one.rows_VM)
    assert np.array_equal(_draw(3, repeats=5).rows_VM, three.rows_VM)
    other = profile_trials(SPEAKERS, SESSIONS, 3, rng_of=lambda *names: rng_of("other", *names), repeats=5)
    assert not np.array_equal(other.rows_VM, three.rows_VM)
    # Another speaker's presence changes nobody's profile.
    without = profile_trials(SPEAKERS[6:], SESSIONS[6:], 3, rng_of=rng_of, repeats=5)
    assert np.array_equal(without.rows_VM + 6, three.rows_VM[5:])


def test_nontargets_may_be_drawn():
    trials = _draw(1, repeats=3, nontargets=4)
    for profile in range(6):
        others = trials.test_P[(trials.enrol_P == profile) & ~trials.is_target_P]
        assert len(set(others)) == 4
        assert all(SPEAKERS[row] != trials.names[profile][0] for row in others)
    assert np.array_equal(trials.test_P[trials.is_target_P], _draw(1, repeats=3).test_P[_draw(1, repeats=3).is_target_P])


def test_what_makes_no_trials_is_refused():
    with pytest.raises(ValueError, match="with 5 sessions or more"):
        _draw(4)
    with pytest.raises(ValueError, match="two or more"):
        profile_trials(["a", "a"], ["", ""], 1, rng_of=rng_of)
    with pytest.raises(ValueError, match="sizes of 1"):
        _draw(0)
    with pytest.raises(ValueError, match="one for each of 13"):
        profile_trials(SPEAKERS, SESSIONS[1:], 1, rng_of=rng_of)


def test_scores_by_loops():
    data = spaces(num_speakers=12, num_each=5)
    trials = profile_trials(data.speaker, [""] * 60, 3, rng_of=rng_of, nontargets=9)
    turn = Procrustes().fit(data.old, data.new)
    scores_P = score_profiles(turn, 2.5 * data.old, data.new, trials)  # lengths of utterances have no influence on profiles
    unit = [row / np.linalg.norm(row) for row in data.old]
    for p in range(0, len(scores_P), 17):
        profile = np.mean([unit[row] for row in trials.rows_VM[trials.enrol_P[p]]], axis=0)
        mapped = turn.map_enrol(profile[None])[0] @ turn.map_run(data.new[trials.test_P[p]][None])[0]
        assert scores_P[p] == pytest.approx(mapped, rel=1e-12)


def test_scores_do_not_depend_on_blocks(monkeypatch):
    data = spaces(num_speakers=12, num_each=5)
    trials = profile_trials(data.speaker, [""] * 60, 1, rng_of=rng_of)
    plain = ZeroPadding().fit(data.old, data.old)
    whole = score_profiles(plain, data.old, data.old, trials)
    monkeypatch.setattr("steps.backend.alignment.protocol._TESTS_AT_ONCE", 7)
    monkeypatch.setattr("steps.backend.alignment.protocol._PAIRS_AT_ONCE", 5)
    np.testing.assert_allclose(score_profiles(plain, data.old, data.old, trials), whole, rtol=1e-12)


def test_one_space_twice_makes_all_cells_alike():
    data, settings = spaces(num_speakers=20), Alignment(dim=6, hidden=8, epochs=2, batches_per_epoch=2, batch_speakers=8)
    trials = profile_trials(data.speaker, [""] * 160, 3, rng_of=rng_of)
    both = {"old": data.old, "new": data.old}
    for method in ("none", "logit_z_10", "procrustes", "cca_4", "nessa_mlp_two_ge2e", "nessa_linear_one_aam"):
        cells = []
        for enrol, run in CELLS.values():
            aligner = make_aligner(method, settings, 3).fit(both[enrol], both[run], data.speaker)
            cells.append(score_profiles(aligner, both[enrol], both[run], trials))
        assert all(np.array_equal(cell, cells[0]) for cell in cells), method


def test_centred_units():
    rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    np.testing.assert_allclose(centred_units(rows, [0.0, 0.0]), [[0.6, 0.8], [1.0, 0.0]])
    np.testing.assert_allclose(centred_units(rows, [3.0, 0.0]), [[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(ValueError, match="length above 0"):
        centred_units(rows, [1.0, 0.0])


def test_gain_share_is_0_for_the_old_system_1_for_the_new_one_and_undefined_without_gain():
    assert gain_share(0.1, 0.04, [0.1, 0.04, 0.07, 0.13]).tolist() == pytest.approx([0.0, 1.0, 0.5, -0.5])
    assert np.isnan(gain_share([0.04, 0.04], [0.1, 0.04], [0.05, 0.04])).all()


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("none", ZeroPadding, {}),
        ("logit", SpeakerLogits, {"num_anchors": 0, "standardise": False, "temperature": 0.0}),
        ("logit_z_softmax_100", SpeakerLogits, {"num_anchors": 100, "standardise": True, "temperature": 0.1}),
        ("logit_softmax", SpeakerLogits, {"num_anchors": 0, "standardise": False, "temperature": 0.1}),
    ],
)
def test_names_of_methods(name, kind, settings):
    made = make_aligner(name, Alignment(), 5)
    assert isinstance(made, kind)
    assert {key: getattr(made, key) for key in settings} == settings
    cca, nessa = make_aligner("cca_50", Alignment(cca_ridge=0.5), 5), make_aligner("nessa_residual_one_aam", Alignment(), 5)
    assert (cca.dim, cca.ridge) == (50, 0.5)
    assert (nessa.mapper, nessa.sides, nessa.loss, nessa.seed) == ("residual", "one", "aam", 5)


@pytest.mark.parametrize("name", ["", "logits", "logit_softmax_z", "cca_z", "cca_0", "nessa_mlp_two", "nessa_mlp_two_softmax"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="expected"):
        parse_method(name)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_speakers": 1}, {"validation": 0.0}, {"learning_rate": 0.0}, {"aam_margin": 2.0}, {"cca_ridge": -1.0},
     {"logit_temperature": 0.0}, {"split": "shared", "enrol_utterances": 1, "query_utterances": 1}, {"batches_per_epoch": -1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Alignment(**wrong)
