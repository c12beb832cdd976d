"""Drawn protocols: enrolment and probes are apart, in utterances and in sessions, and nobody is lost silently."""

import numpy as np
import pytest

from steps.backend.protocols import draw_protocol, draw_protocols

SPEAKERS = np.repeat(["a", "b", "c", "d", "e"], [4, 6, 5, 3, 2])


def draw(seed=0, speakers=SPEAKERS, **settings):
    return draw_protocol(np.random.default_rng(seed), speakers, **{"num_enrol": 2} | settings)


def test_closed_set_enrols_all_and_probes_with_the_rest():
    for seed in range(20):
        protocol = draw(seed)
        assert protocol.speaker_M.tolist() == ["a", "b", "c", "d"]
        assert protocol.num_left_out == 1  # e has two utterances, and none is left to probe with
        assert protocol.enrol_MK.shape == (4, 2)
        for rows, speaker in zip(protocol.enrol_MK, protocol.speaker_M, strict=True):
            assert set(SPEAKERS[rows]) == {speaker}
        used = [*protocol.enrol_MK.ravel(), *protocol.probe_P]
        assert sorted(used) == list(range(18))  # each utterance of a to d once
        np.testing.assert_array_equal(protocol.speaker_M[protocol.answer_P], SPEAKERS[protocol.probe_P])


def test_open_set_leaves_speakers_out_of_the_enrolled():
    seen = set()
    for seed in range(30):
        protocol = draw(seed, open_share=0.5)
        assert len(protocol.speaker_M) == 2
        strangers = SPEAKERS[protocol.probe_P[protocol.answer_P < 0]]
        assert not set(strangers) & {*protocol.speaker_M, "e"}
        for name in set(strangers):  # with all their utterances
            assert (strangers == name).sum() == (name == SPEAKERS).sum()
        known = protocol.answer_P >= 0
        np.testing.assert_array_equal(protocol.speaker_M[protocol.answer_P[known]], SPEAKERS[protocol.probe_P[known]])
        seen.add(tuple(protocol.speaker_M))
    assert len(seen) > 3
    assert len(draw(open_share=0.01).speaker_M) == 3  # one stranger at least
    assert len(draw(open_share=0.99).speaker_M) == 1  # one enrolled at least


def test_probes_are_of_other_sessions():
    speakers = np.repeat(["a", "b"], [6, 4])
    sessions = ["x", "x", "x", "y", "y", "z", "x", "x", "y", "y"]  # the names of b's are not those of a's
    for seed in range(30):
        protocol = draw(seed, speakers=speakers, sessions=sessions)
        named = np.array([f"{speaker}{session}" for speaker, session in zip(speakers, sessions, strict=True)])
        assert not set(named[protocol.enrol_MK.ravel()]) & set(named[protocol.probe_P])
        assert len(set(named[protocol.enrol_MK[1]])) == 1  # b: one session holds two
        left = set(range(10)) - set(protocol.enrol_MK.ravel()) - set(protocol.probe_P)
        assert all(named[row] in set(named[protocol.enrol_MK.ravel()]) for row in left)


def test_a_speaker_of_one_session_is_left_out_and_unknown_sessions_are_no_bar():
    speakers = np.repeat(["a", "b"], 4)
    protocol = draw(speakers=speakers, sessions=["x"] * 4 + [""] * 4)
    assert protocol.speaker_M.tolist() == ["b"]
    assert protocol.num_left_out == 1
    assert protocol.probe_P.size == 2


def test_the_same_generator_gives_the_same_protocol():
    one, again, other = (draw(seed, open_share=0.3) for seed in (1, 1, 2))
    for name in ("enrol_MK", "speaker_M", "probe_P", "answer_P"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.enrol_MK, other.enrol_MK)
    several = draw_protocols([np.random.default_rng(seed) for seed in (1, 2)], SPEAKERS, num_enrol=2, open_share=0.3)
    np.testing.assert_array_equal(several[1].enrol_MK, other.enrol_MK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_enrol": 0}, "num_enrol >= 1"),
        ({"open_share": 1.0}, "open_share < 1, found 2 and 1.0"),
        ({"num_enrol": 6}, "at least 1 speakers with more than 6 utterances .*found 0 of 5"),
        ({"num_enrol": 5, "open_share": 0.5}, "at least 2 speakers .*found 1 of 5"),
        ({"sessions": ["x"]}, "sessions: expected one for each of 20 utterances"),
        ({"speakers": []}, "speakers: expected a list"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        draw(**change)
