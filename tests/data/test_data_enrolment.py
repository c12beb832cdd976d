"""Models of several utterances: files, and what is drawn."""

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data.enrolment import draw_models, model_speakers, read_models, write_models
from steps.data.manifests import Utterance


def utterance(speaker: str, session: str, number: int, corpus: str = "c") -> Utterance:
    return Utterance(
        id=f"{speaker}/{session}/{number}", path=f"{speaker}/{session}/{number}.wav", speaker=speaker, gender="", corpus=corpus,
        session=session, sampling_rate=16000, num_samples=16000,
    )  # fmt: skip


TEST = [utterance(f"s{s}", f"v{v}", n, "ab"[s % 2]) for s in range(6) for v in range(3) for n in range(2)]


def test_what_is_written_is_read(tmp_path):
    models = {"m1": ("a", "b"), "m2": ("c",)}
    write_models(tmp_path / "m.txt", models)
    assert read_models(tmp_path / "m.txt") == models


@pytest.mark.parametrize(
    "text",
    [
        "modelid\tsegmentid\tside\nm1\ta\ta\nm1\tb\ta\nm2\tc\ta\n",  # NIST: a line a segment
        "model-id enroll-file-id1 enroll-file-id2\nm1 a b\nm2 c\n",  # SdSV
        "model-id phrase-id enroll-file-id1 enroll-file-id2\nm1 07 a b\nm2 07 c\n",
        "modelid segmentid\n\nm1 a\nm2 c\nm1 b\n",
    ],
)
def test_headers_of_others_are_understood(tmp_path, text):
    (tmp_path / "m.txt").write_text(text)
    assert read_models(tmp_path / "m.txt") == {"m1": ("a", "b"), "m2": ("c",)}
    (tmp_path / "m.txt").write_text(text + "m1 07 b\n")
    what = "side 'b'" if "side" in text else "found 'm1 07 b'"  # another channel, or an utterance for the second time
    with pytest.raises(RecipeError, match=f":{text.count(chr(10)) + 1}: .*{what}"):
        read_models(tmp_path / "m.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [("m a\nm b\n", ":2: .*'m' is there already"), ("m\n", ":1: .*found 'm'"), ("m a b a\n", ":1: "), ("\n", "is empty")],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_models(tmp_path / "m.txt")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"m": ("a", "x")}, "'x' is not known; correct"),
        ({"m": ("a", "b")}, "speakers s, t"),
        ({"a": ("a",)}, "is that of an utterance"),
    ],
)
def test_a_model_is_of_one_known_speaker(models, message):
    with pytest.raises(RecipeError, match=message):
        model_speakers(models, {"a": "s", "b": "t"}, "list")


def test_a_model_of_utterances_of_whom_nobody_knows_who_speaks_is_one():
    assert model_speakers({"m": ("a", "b")}, {"a": "a", "b": "b"}, "list") == {"m": "a"}
    with pytest.raises(RecipeError, match=r"'so1/u-1' is not known \(like it: 'so1/u1'\); correct"):
        model_speakers({"m": ("so1/u-1",)}, {"so1/u1": "a", "b": "b"}, "list")


def test_drawn_models_are_tried_with_other_sessions_of_everybody():
    models, trials = draw_models(TEST, np.random.default_rng(0), 2)
    assert sorted(models) == [f"s{s}/enrol2" for s in range(6)]
    sessions = {name: {each.split("/")[1] for each in theirs} for name, theirs in models.items()}
    assert all(len(theirs) == 2 and len(sessions[name]) == 1 for name, theirs in models.items())
    # Each speaker has four utterances of other sessions; every model meets all 24 of them.
    assert len(trials) == 6 * 24
    for name, test, is_target in zip(trials.enrol_ids, trials.test_ids, trials.is_target, strict=True):
        assert is_target == (name.split("/")[0] == test.split("/")[0])
        assert test.split("/")[1] not in sessions[f"{test.split('/')[0]}/enrol2"]


def test_within_a_corpus_models_meet_its_speakers_only():
    _, trials = draw_models(TEST, np.random.default_rng(0), 2, within_corpus=True)
    assert len(trials) == 6 * 12
    assert all(int(a[1]) % 2 == int(b[1]) % 2 for a, b in zip(trials.enrol_ids, trials.test_ids, strict=True))


def test_speakers_without_another_session_keep_other_utterances():
    few = [utterance("s", "", n) for n in range(3)] + [utterance("t", "", n) for n in range(3)] + [utterance("u", "", 0)]
    models, trials = draw_models(few, np.random.default_rng(0), 2)
    assert sorted(models) == ["s/enrol2", "t/enrol2"]
    assert len(trials) == 4
    assert trials.num_target == 2


def test_too_few_speakers_are_an_error():
    with pytest.raises(RecipeError, match="found 0 among 6"):
        draw_models(TEST, np.random.default_rng(0), 6)
