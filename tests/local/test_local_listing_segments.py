"""Claims about parts of recordings: what a list says of start, end and channel is what is read."""

import numpy as np
import pytest
import soundfile

from local import folder
from local.folder import Settings
from local.listing import segments
from local.listing.files import Row
from steps.core.errors import RecipeError
from steps.data import audio_parts
from steps.data.manifests import read_set, read_utt2spk
from steps.examples.recordings import Sounds, read_utterance
from tests.local.listed_corpora import RATE, prepare, write_audio

HEAD = "path,speaker,id,start,end"


@pytest.fixture
def calls(tmp_path):
    """Four calls of 2 s, of two channels; return (folder, samples of each)."""
    root = tmp_path / "calls"
    return root, {f"c{n}.wav": write_audio(root / f"c{n}.wav", n, 2.0, channels=2) for n in range(4)}


def table(root, lines, name="list.csv"):
    (root / name).write_text("\n".join(lines) + "\n")
    return {"table": name}


def test_a_table_cuts_recordings_to_the_sample(calls, tmp_path):
    root, samples = calls
    lines = [f"{HEAD},channel"]
    lines += [f"c{n}.wav,{'ab'[k % 2]},c{n}-{k},{k * 0.4},{k * 0.4 + 0.3:.3f},{'AB'[k % 2]}" for n in range(4) for k in range(5)]
    lines += ["c0.wav,a,c0-open,1.9,,1", "c1.wav,b,c1-open,1.9,-1,2"]
    out = prepare(root, tmp_path / "x", **table(root, lines))
    found = read_set(out, "test")
    assert len(found) == 22
    sounds = Sounds(out, "test", {"corpus": str(root)}, sampling_rate=RATE, resample=False)
    for each in found:
        name, _, part = each.id.partition("-")
        start = 1.9 if part == "open" else int(part) * 0.4
        channel = {"a": 0, "b": 1}[each.speaker]
        first, last = round(start * RATE), 2 * RATE if part == "open" else round((start + 0.3) * RATE)
        expected_W = samples[f"{name}.wav"][first:last, channel]
        np.testing.assert_array_equal(read_utterance(each, root), expected_W)
        assert each.duration == pytest.approx((last - first) / RATE)
        assert sounds.num_rows(each.id) == last - first
        np.testing.assert_array_equal(sounds.load_rows(each.id, 100, 200), expected_W[100:300] * 32768)


def test_a_duration_serves_for_an_end_and_must_fit_it(calls, tmp_path):
    root, _ = calls
    lines = ["path,speaker,start,duration", "c0.wav,a,0.5,0.25", "c0.wav,a,1,0.5", "c1.wav,b,0,1", "c1.wav,b,1.5,"]
    out = prepare(root, tmp_path / "x", channel="first", **table(root, lines))
    assert {each.id: each.num_samples for each in read_set(out, "test")} == {
        "c0-0000500-0000750": 2000, "c0-0001000-0001500": 4000, "c1-0000000-0001000": 8000, "c1-0001500-end": 4000,
    }  # fmt: skip
    lines = ["path,speaker,start,end,duration", "c0.wav,a,0.5,1,0.75", "c1.wav,b,0,1,1"]
    with pytest.raises(RecipeError, match=r"list.csv:2: start 0.5 s, end 1 s and duration 0.75 s; expected a duration of 0.5 s"):
        prepare(root, tmp_path / "y", channel="first", **table(root, lines))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ("1,1", r"list.csv:3: start 1 s, end 1 s; expected a start before the end"),
        ("1.5,1", r"list.csv:3: start 1.5 s, end 1 s"),
        ("-0.5,1", r"list.csv:3: start '-0.5'; expected seconds, 0 or more"),
        ("0,nan", r"list.csv:3: end 'nan'"),
        ("x,1", r"list.csv:3: start 'x'"),
        ("0,-2", r"list.csv:3: end '-2'"),
        ("0,0", r"list.csv:3: start 0 s, end 0 s"),
        ("1,2.1", r"c0.wav .*the part ends at 2.1 s, the file at 2 s \(.*list.csv:3\)"),
        ("1,2.001", r"the part ends at 2.001 s, the file at 2 s"),
        ("2,2.5", r"the file at 2 s \(.*list.csv:3\)"),
        ("3,", r"the part begins at 3 s, the file ends at 2 s \(.*list.csv:3\)"),
    ],
)
def test_times_that_cannot_be_are_refused_with_their_line(calls, tmp_path, times, words):
    root, _ = calls
    lines = [HEAD, "c1.wav,b,x,0,1", f"c0.wav,a,y,{times}", "c2.wav,a,z,0,1", "c3.wav,b,w,0,1"]
    with pytest.raises(RecipeError, match=words):
        prepare(root, tmp_path / "x", channel="first", min_utterances=1, **table(root, lines))


def test_an_end_that_was_rounded_up_is_that_of_the_file(tmp_path):
    root = tmp_path / "c"
    for name in "ab":
        write_audio(root / f"{name}0.wav", 1, 0.503)
        write_audio(root / f"{name}1.wav", 2, 0.5)
    lines = [HEAD] + [f"{name}0.wav,{name},{name}0,0,0.51" for name in "ab"]
    with pytest.raises(RecipeError, match="2 of 2 audio files .*the part ends at 0.51 s, the file at 0.503 s"):  # 7 ms
        prepare(root, tmp_path / "x", min_utterances=1, **table(root, lines))
    lines = [HEAD] + [f"{name}0.wav,{name},{name}0,0.1,0.505" for name in "ab"]  # 2 ms, but it was not rounded so
    with pytest.raises(RecipeError, match="2 of 2 audio files"):
        prepare(root, tmp_path / "y", min_utterances=1, **table(root, lines))
    for name in "ab":
        write_audio(root / f"{name}0.wav", 1, 0.506)
    lines = [HEAD] + [f"{name}{n}.wav,{name},{name}{n},0.1,{(0.51, 0.5001)[n]}" for name in "ab" for n in range(2)]
    found = read_set(prepare(root, tmp_path / "z", **table(root, lines)), "test")
    assert {each.id: each.num_samples for each in found} == {"a0": 3248, "a1": 3200, "b0": 3248, "b1": 3200}


def test_parts_are_judged_by_their_own_samples(tmp_path):
    root = tmp_path / "c"
    samples = np.concatenate([np.zeros((RATE, 1)), write_audio(root / "b.wav", 1, 1.0)])
    for name in ("a", "b"):
        soundfile.write(root / f"{name}.wav", samples, RATE)
    lines = [HEAD] + [f"{name}.wav,{name},{name}{n},{n},{n + 0.9}" for name in "ab" for n in range(2)]
    with pytest.raises(RecipeError, match=r"2 of 4 audio files .*a.wav has only zero samples from 0 s to 0.9 s \(.*list.csv:2\)"):
        prepare(root, tmp_path / "x", **table(root, lines))
    lines = [HEAD] + [f"{name}.wav,{name},{name}{n},{1 + n / 2},{1 + n / 2 + 0.01}" for name in "ab" for n in range(2)]
    with pytest.raises(RecipeError, match=r"is too short: 0.01 s"):
        prepare(root, tmp_path / "y", **table(root, lines))


def test_each_file_is_decoded_once_for_all_its_parts(calls, tmp_path, monkeypatch):
    root, _ = calls
    opened = []
    blocks = audio_parts.audio_blocks
    monkeypatch.setattr(audio_parts, "audio_blocks", lambda path: opened.append(path.name) or blocks(path))
    lines = [HEAD] + [f"c{n}.wav,{'ab'[n % 2]},c{n}-{k},{k / 10},{(k + 1) / 10}" for n in range(4) for k in range(15)]
    prepare(root, tmp_path / "x", channel="second", **table(root, lines))
    assert sorted(opened) == [f"c{n}.wav" for n in range(4)]


@pytest.mark.parametrize(
    ("channels", "expected", "word"),
    [("12", (0, 1), ""), ("AB", (0, 1), ""), ("ab", (0, 1), ""), ("01", (0, 1), "counts from 0"), ("LR", (0, 1), "")],
)
def test_a_column_says_the_channel(calls, tmp_path, caplog, channels, expected, word):
    root, _ = calls
    lines = ["path,speaker,channel"]
    lines += [f"c{n}.wav,{speaker},{channels[k]}" for n in range(4) for k, speaker in enumerate("ab")]
    out = prepare(root, tmp_path / "x", **table(root, lines))
    found = {each.id: (each.speaker, each.channel) for each in read_set(out, "test")}
    assert found == {f"c{n}-ch{k + 1}": ("ab"[k], expected[k]) for n in range(4) for k in range(2)}
    assert ("counts from 0" in caplog.text) == bool(word)


@pytest.mark.parametrize(
    ("channels", "setting", "words"),
    [
        ("12", "first", r"list.csv:3: channel 2, and prepare.channel = first says channel 1 of every file \(4 such lines\)"),
        ("0A", "mono", r"list.csv:2: channel 0, and letters in other lines"),
        ("1C", "mono", r"list.csv:3: channel 'C'; expected 1, 2 ... or A, B"),
        ("13", "mono", r"has 2 channels, and channel 3 is asked for \(.*list.csv:3\)"),
        ("1-", "mono", r"list.csv:3: channel '-'"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(calls, tmp_path, channels, setting, words):
    root, _ = calls
    lines = ["path,speaker,channel"]
    lines += [f"c{n}.wav,{speaker},{channels[k]}" for n in range(4) for k, speaker in enumerate("ab")]
    with pytest.raises(RecipeError, match=words):
        prepare(root, tmp_path / "x", channel=setting, **table(root, lines))


def test_the_same_audio_of_two_speakers_is_an_error_and_overlaps_are_said(calls, tmp_path, caplog):
    root, _ = calls
    whole = ["path,speaker,id", "c0.wav,a,a0", "c0.wav,b,b0", "c1.wav,a,a1", "c1.wav,b,b1"]
    with pytest.raises(RecipeError, match=r"list.csv:3: all of c0.wav is given to 'b', and all of c0.wav to 'a' in .*list.csv:2"):
        prepare(root, tmp_path / "x", channel="first", **table(root, whole))
    same = [HEAD, "c0.wav,a,a0,0,1", "c0.wav,b,b0,0,1", "c1.wav,a,a1,0,1", "c1.wav,b,b1,1,2"]
    with pytest.raises(RecipeError, match=r"0 s to 1 s of c0.wav is given to 'b', and 0 s to 1 s of c0.wav to 'a'.*1 such"):
        prepare(root, tmp_path / "y", channel="first", **table(root, same))
    rounded = [HEAD, "c0.wav,a,a0,0.1,1", "c0.wav,b,b0,0.1,1.0004", "c1.wav,a,a1,0,1", "c1.wav,b,b1,1,2"]
    with pytest.raises(RecipeError, match=r"0.1 s to 1.0004 s of c0.wav is given to 'b', and 0.1 s to 1 s of c0.wav to 'a'"):
        prepare(root, tmp_path / "r", channel="first", **table(root, rounded))
    beside = [HEAD, "c0.wav,a,a0,,", "c0.wav,b,b0,0.5,1", "c1.wav,a,a1,0,1", "c1.wav,b,b1,1,2"]
    with pytest.raises(RecipeError, match=r"list.csv:3: 0.5 s to 1 s of c0.wav is given to 'b', and all of c0.wav to 'a'"):
        prepare(root, tmp_path / "z", channel="first", **table(root, beside))
    over = [HEAD, "c0.wav,a,a0,0,1", "c0.wav,b,b0,0.75,1.5", "c1.wav,a,a1,0,1", "c1.wav,b,b1,1,2"]
    prepare(root, tmp_path / "w", channel="first", **table(root, over))
    assert "overlap with those of another speaker: 1 pairs, 0.2 s in all" in caplog.text


def test_overlaps_are_those_of_all_pairs():
    rng = np.random.default_rng(3)
    rows = [
        Row(id=f"u{n}", path=f"c{n % 3}", speaker=f"s{rng.integers(4)}", start=float(start), end=float(start + length))
        for n, (start, length) in enumerate(zip(rng.uniform(0, 20, 200), rng.uniform(0.1, 3, 200), strict=True))
    ]
    expected = sorted(
        min(one.end, other.end) - max(one.start, other.start)
        for k, one in enumerate(rows)
        for other in rows[:k]
        if one.path == other.path and one.speaker != other.speaker and min(one.end, other.end) > max(one.start, other.start)
    )
    assert sorted(length for _, _, length in segments.shared(rows)) == pytest.approx(expected)


def test_other_times_are_another_corpus_and_are_looked_at_anew(calls, tmp_path):
    root, _ = calls
    lines = [HEAD] + [f"c{n}.wav,{'ab'[n % 2]},u{n},0,0.5" for n in range(4)]
    changes = {"split": "test", "channel": "first", **table(root, lines)}
    site = {"corpus": str(root)}
    before = folder.inventory(Settings(**changes), site)
    prepare(root, tmp_path / "x", **changes)
    table(root, [HEAD] + [f"c{n}.wav,{'ab'[n % 2]},u{n},0,0.75" for n in range(4)])
    assert folder.inventory(Settings(**changes), site) != before
    units = {unit.name: unit for unit in (tmp_path / "x" / "units").iterdir()}
    (tmp_path / "out").mkdir()
    folder.merge(Settings(**changes), site, units, tmp_path / "out")
    assert {each.num_samples for each in read_set(tmp_path / "out", "test")} == {6000}


def test_the_line_of_a_row_decides_nothing(calls, tmp_path):
    root, _ = calls
    lines = [f"c{n}.wav,{'ab'[n % 2]},u{n},0,0.5" for n in range(4)]
    found = []
    for order in (lines, lines[::-1]):
        changes = {"split": "test", "channel": "first", **table(root, [HEAD, *order])}
        found.append(folder.inventory(Settings(**changes), {"corpus": str(root)}))
    assert found[0] == found[1]


def test_trials_name_parts_by_their_ids(calls, tmp_path):
    root, _ = calls
    lines = ["path,speaker,start,end"] + [f"c{n}.wav,{'ab'[n % 2]},{k},{k + 0.5}" for n in range(4) for k in range(2)]
    (root / "t.txt").write_text("1 c0-0000000-0000500 c2-0001000-0001500\n0 c0-0000000-0000500 c1-0001000-0001500\n")
    out = prepare(root, tmp_path / "x", channel="first", trials="t.txt", **table(root, lines))
    assert (out / "trials" / "t.txt").read_text() == (root / "t.txt").read_text()
    assert len(read_utt2spk(out / "utt2spk")) == 8


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ("0.5,0.50001", r"c0.wav has no sample from 0.5 s to 0.50001 s \(.*list.csv:2\)"),
        ("0.5,0.51", r"c0.wav is too short: 0.01 s, expected .* or more \(.*list.csv:2\)"),
        ("2.5,-1", r"c0.wav ends too early for a part: the part begins at 2.5 s, the file ends at 2 s \(.*list.csv:2\)"),
    ],
)
def test_parts_of_next_to_nothing_are_named_with_their_line(calls, tmp_path, times, words):
    root, _ = calls
    lines = [HEAD, f"c0.wav,a,a0,{times}", "c0.wav,b,b0,0.75,1.5", "c1.wav,a,a1,0,1", "c1.wav,b,b1,1,2"]
    with pytest.raises(RecipeError, match=words):
        prepare(root, tmp_path / "x", channel="first", min_utterances=1, **table(root, lines))


def test_parts_of_a_file_that_cannot_be_read_are_refused_or_left_out(calls, tmp_path):
    root, _ = calls
    rows = [f"c{n}.wav,{'ab'[n % 2]},c{n}-{k},{k * 0.4},{k * 0.4 + 0.3:.3f}" for n in range(4) for k in range(5)]
    given = table(root, [HEAD, *rows])
    (root / "c3.wav").write_text("no audio")
    with pytest.raises(RecipeError, match=r"5 of 20 audio files cannot be used: c3\.wav cannot be read as audio"):
        prepare(root, tmp_path / "x", channel="first", **given)
    out = prepare(root, tmp_path / "y", channel="first", bad_audio="exclude", max_bad=1.0, **given)
    assert len(read_set(out, "test")) == 15
