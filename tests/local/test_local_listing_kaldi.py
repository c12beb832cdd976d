"""Claims about Kaldi's data folders: every file beside wav.scp is read, or named."""

import numpy as np
import pytest

from local.listing.kaldi import rows_of_kaldi
from steps.core.errors import RecipeError
from steps.data.manifests import read_set, read_utt2spk
from steps.examples.recordings import read_utterance
from tests.local.listed_corpora import RATE, people, prepare, write_audio

NAMES = [(f"s{speaker}-u{number}", f"s{speaker}/u{number}.wav") for speaker in range(4) for number in range(3)]


def scp(names=NAMES, sep=" ", root=""):
    return "".join(f"{name}{sep}{root}{path}\n" for name, path in names)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    people(root)
    write(root, {"wav.scp": scp(), "utt2spk": "".join(f"{name} {name[:2]}\n" for name, _ in NAMES)})
    return root


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def found(out, name="test"):
    return [(each.id, each.speaker, each.path, each.gender, each.session) for each in read_set(out, name)]


@pytest.mark.parametrize("sep", [" ", "\t", " \t", "\t ", "   ", " \t \t"])
def test_any_run_of_blanks_and_tabs_parts_fields(data, tmp_path, sep):
    write(data, {"wav.scp": scp(sep=sep), "utt2spk": "".join(f"{name}{sep}{name[:2]} \n" for name, _ in NAMES)})
    write(data, {"spk2gender": f"s0{sep}f\ns1{sep}m\n\n"})
    out = prepare(data, tmp_path / "x")
    assert [each[:2] for each in found(out)] == [(name, name[:2]) for name, _ in NAMES]
    assert [each[3] for each in found(out)[::3]] == ["f", "m", "", ""]


def test_spk2utt_alone_is_enough_and_beside_utt2spk_it_must_agree(data, tmp_path):
    expected = read_utt2spk(prepare(data, tmp_path / "x") / "utt2spk")
    of_speakers = [f"s{speaker} " + " ".join(f"s{speaker}-u{number}" for number in range(3)) for speaker in range(4)]
    write(data, {"spk2utt": "\n".join(of_speakers) + "\n"})
    assert read_utt2spk(prepare(data, tmp_path / "y") / "utt2spk") == expected
    (data / "utt2spk").rename(data / ".hidden")
    assert read_utt2spk(prepare(data, tmp_path / "z") / "utt2spk") == expected
    (data / ".hidden").rename(data / "utt2spk")
    write(data, {"spk2utt": "\n".join(of_speakers).replace("s0-u1", "s1-u1") + "\n"})
    with pytest.raises(RecipeError, match=r"'s1-u1' has speaker 's1' \(.*utt2spk:5\) and 's0' \(.*spk2utt:1\)"):
        prepare(data, tmp_path / "w")
    write(data, {"spk2utt": "\n".join(of_speakers[:3]) + "\n"})
    with pytest.raises(RecipeError, match=r"spk2utt: 's3-u0' is not there, but in the other .*3 such"):
        prepare(data, tmp_path / "v")
    (data / "utt2spk").unlink()
    with pytest.raises(RecipeError, match=r"wav.scp:10: 's3-u0' has no speaker in .*spk2utt"):
        prepare(data, tmp_path / "u")
    (data / "spk2utt").unlink()
    with pytest.raises(RecipeError, match="neither utt2spk nor spk2utt"):
        prepare(data, tmp_path / "t")


def test_lines_of_several_fields_may_mix_blanks_and_tabs(data, tmp_path):
    (data / "utt2spk").unlink()
    write(data, {"spk2utt": "".join(f"s{n} s{n}-u0\ts{n}-u1  s{n}-u2\n" for n in range(4))})
    write(data, {"segments": "".join(f"{name} {name}\t0.1 \t 0.4\n" for name, _ in NAMES)})
    parts = read_set(prepare(data, tmp_path / "x"), "test")
    assert {(each.speaker, each.start, each.num_samples) for each in parts} == {(f"s{n}", 0.1, 2400) for n in range(4)}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"spk2gender": "s0 f\ns1 m\ns0 m\n"}, r"spk2gender:3: 's0' is 'm', and 'f' in .*spk2gender:1"),
        ({"utt2spk": f"{NAMES[0][0]} s0\n{NAMES[0][0]} s1\n"}, r"utt2spk:2: 's0-u0' is 's1', and 's0' in .*utt2spk:1"),
        ({"wav.scp": scp() + "s0-u0 s0/u1.wav\n"}, r"wav.scp:13: 's0-u0' is 's0/u1.wav', and 's0/u0.wav' in .*wav.scp:1"),
        ({"spk2age": "s0 20\ns0 30\n"}, r"spk2age:2: 's0' is '30', and '20'"),
        ({"spk2gender": "s0 f\n", "utt2gender": "s0-u0 m\n"}, r"'s0' has gender 'f' \(.*spk2gender:1\) and 'm' \(.*utt2gender:1"),
        ({"utt2gender": "s0-u0 m\ns0-u1 f\n"}, r"speaker 's0' has gender 'm' \(.*utt2gender:1\) and 'f' \(.*utt2gender:2\)"),
        ({"utt2sess": "s0-u0 a\ns0-u0 b\n"}, r"utt2sess:2: 's0-u0' is 'b', and 'a'"),
        ({"wav.scp": scp() + "s0-u9 x.ark:17\n"}, r"wav.scp:13: 's0-u9' lies within an archive"),
        ({"segments": "s0-u0 nobody 0 1\n"}, r"segments:1: recording 'nobody' is not in"),
        ({"segments": "s0-u0 s0-u0 0\n"}, r"segments:1: expected '<utterance> <recording> <start> <end>'"),
        ({"segments": "s0-u0 s0-u0 0.3 0.2\n"}, r"segments:1: start 0.3 s, end 0.2 s"),
        ({"segments": "s0-u0 s0-u0 0 1\n"}, r"utt2spk: 's0-u1' has no audio in .*segments \(11 such"),
        ({"segments": scp([(name, f"{name} 0 0.7") for name, _ in NAMES])}, r"12 of 12 .*ends at 0.7 s, .*at 0.5 s \(.*s:1\)"),
        ({"wav.scp": scp([(name, "s0/u0.wav") for name, _ in NAMES])}, r"wav.scp:4: all of s0/u0.wav is given to 's1'"),
        ({"wav.scp": scp(root="/elsewhere/x/")}, r"--set prepare.audio_root_name=audio --set site.audio=/elsewhere/x$"),
    ],
)  # fmt: skip
def test_contradictions_and_lists_that_cannot_be_are_refused_with_both_lines(data, tmp_path, files, words):
    write(data, files)
    with pytest.raises(RecipeError, match=words):
        prepare(data, tmp_path / "x")


def test_blanks_in_names_are_replaced(data, tmp_path):
    write(data, {"utt2spk": "".join(f"{name}\tanna {name[:2]}\n" for name, _ in NAMES), "spk2gender": "anna s0\tf\n"})
    with pytest.raises(RecipeError, match="'anna s0'.*replace_spaces"):
        prepare(data, tmp_path / "x")
    names = [(name.replace("-", " "), path) for name, path in NAMES]
    write(data, {"wav.scp": scp(names, "\t"), "utt2spk": "".join(f"{name}\tanna {name[:2]}\n" for name, _ in names)})
    out = prepare(data, tmp_path / "y", replace_spaces="_")
    assert found(out)[0] == ("s0_u0", "anna_s0", "s0/u0.wav", "f", "")


def test_where_nobody_needs_to_know_who_speaks_an_utterance_is_its_own_speaker(data):
    (data / "utt2spk").unlink()
    rows = rows_of_kaldi(data, data, may_lack_speaker=True)
    assert [(row.id, row.speaker) for row in rows] == [(name, name) for name, _ in NAMES]
    write(data, {"segments": "a s0-u0 0 0.2\nb s0-u0 0.2 -1\n"})
    assert [row.speaker for row in rows_of_kaldi(data, data, may_lack_speaker=True)] == ["a", "b"]


def test_segments_are_cut(tmp_path):
    root = tmp_path / "data"
    samples = {name: write_audio(root / f"{name}.wav", seed, 2.0) for seed, name in enumerate(("r0", "r1", "idle"))}
    times = [(0, 0.5), (0.5, 1.25), (1.3, -1)]
    lines = [f"s{k % 2}-{rec}-{k} {rec} {start:.2f} {end:.2f}\n" for rec in ("r0", "r1") for k, (start, end) in enumerate(times)]
    write(root, {"wav.scp": "r0 r0.wav\nr1 r1.wav\nidle idle.wav\n", "segments": "".join(lines)})
    write(root, {"utt2spk": "".join(f"{line.split()[0]} {line[:2]}\n" for line in lines)})
    parts = read_set(prepare(root, tmp_path / "x"), "test")
    assert len(parts) == 6
    for each in parts:
        _, rec, k = each.id.split("-")
        start, end = times[int(k)]
        last = 2 * RATE if end == -1 else round(end * RATE)
        np.testing.assert_array_equal(read_utterance(each, root), samples[rec][round(start * RATE) : last, 0])


def test_recordings_without_a_segment_are_said(tmp_path, caplog):
    test_segments_are_cut(tmp_path)
    assert "1 of 3 recordings of wav.scp have no segment and are not used, first idle" in caplog.text


@pytest.mark.parametrize("called", ["{}", "{}.wav", "/disk/{}.sph", "call-{}"])
def test_channels_of_reco2file_and_channel_are_those_of_the_file_that_wav_scp_names(tmp_path, called):
    root = tmp_path / "data"
    calls = {f"c{n}": write_audio(root / f"c{n}.wav", n, 1.0, channels=2) for n in range(3)}
    write_audio(root / "c9-B.wav", 9, 1.0)  # cut out of c9 by somebody: it has one channel
    sides = [(name, side) for name in calls for side in "AB"]
    write(root, {"wav.scp": "".join(f"{name}-{side} {name}.wav\n" for name, side in sides) + "c9-B c9-B.wav\n"})
    lines = [f"{name}-{side} {called.format(name)} {side}\n" for name, side in sides]
    write(root, {"reco2file_and_channel": "".join(lines) + "c9-B c9 B\n"})
    write(root, {"utt2spk": "".join(f"{name}-{side} s{side}\n" for name, side in [*sides, ("c9", "B")])})
    for each in read_set(prepare(root, tmp_path / "x"), "test"):
        if each.id != "c9-B":
            name, _, side = each.id.partition("-")
            np.testing.assert_array_equal(read_utterance(each, root), calls[name][:, "AB".index(side)])
    (root / "reco2file_and_channel").unlink()
    with pytest.raises(RecipeError, match=r"all of c0.wav is given to 'sB', and all of c0.wav to 'sA'"):
        prepare(root, tmp_path / "y")


@pytest.mark.parametrize("below", ["", "data/"])
def test_folders_train_and_test_are_the_split(data, tmp_path, below):
    for name in ("wav.scp", "utt2spk"):
        lines = (data / name).read_text().splitlines(keepends=True)
        (data / name).unlink()
        write(data, {f"{below}train/{name}": "".join(lines[:6]), f"{below}test_clean/{name}": "".join(lines[6:])})
    out = prepare(data, tmp_path / "x", split="auto", dev_speakers=0)
    assert {each[1] for each in found(out, "train")} == {"s0", "s1"}
    assert {each[1] for each in found(out)} == {"s2", "s3"}
    out = prepare(data, tmp_path / "y", split="made", dev_speakers=0, test_speakers=3)
    assert len({each[1] for each in found(out)}) == 3
    (data / below / "train").rename(data / below / "mine")
    with pytest.raises(RecipeError, match=rf"found {below}mine; give one of them with --data .*{below}mine.*prepare.split=made"):
        prepare(data, tmp_path / "z", split="auto")


def test_files_that_are_not_used_are_named(data, tmp_path, caplog):
    write(data, {name: "x" for name in ("feats.scp", "vad.scp", "text", "utt2dur", "mine.lst", "spk2mood", "s9.wav")})
    write(data, {"trials": "s0-u0 s0-u1 target\ns0-u0 s1-u1 nontarget\n", "wav.scp": scp()})
    caplog.set_level("INFO", "prepare")
    prepare(data, tmp_path / "x")
    assert "not used, as features and lengths come from the audio: feats.scp, text, utt2dur, vad.scp" in caplog.text
    assert "2 other files are not read: mine.lst, spk2mood" in caplog.text
    assert "trials: not used; for these trials add --set prepare.trials=trials" in caplog.text
    caplog.clear()
    prepare(data, tmp_path / "y", trials="trials")
    assert "for these trials" not in caplog.text


def test_speakers_of_spk2gender_who_are_not_there_are_said(data, tmp_path, caplog):
    write(data, {"spk2gender": "s0 f\nS1 m\n"})
    prepare(data, tmp_path / "x")
    assert "spk2gender: 1 of its speakers have no utterance, first S1" in caplog.text


def test_a_table_is_read_instead_and_that_is_said(data, tmp_path, caplog):
    write(data, {"list.csv": "path,speaker\n" + "".join(f"{path},{name[:2]}\n" for name, path in NAMES)})
    caplog.set_level("INFO", "prepare")
    assert found(prepare(data, tmp_path / "x", table="list.csv"))[0][0] == "s0/u0"
    assert "wav.scp is not read: prepare.table says what there is" in caplog.text


def test_sessions_of_two_files_must_agree(data, tmp_path):
    write(data, {"utt2sess": "s0-u0 a\n", "utt2session": "s0-u1 b\n"})
    assert [each[4] for each in found(prepare(data, tmp_path / "x"))[:3]] == ["a", "b", ""]
    write(data, {"utt2session": "s0-u0 b\n"})
    with pytest.raises(RecipeError, match=r"'s0-u0' has session 'a' \(.*utt2sess:1\) and 'b' \(.*utt2session:1\)"):
        prepare(data, tmp_path / "y")


def test_a_list_that_lies_deeper_is_said_where_folders_are_taken_for_speakers(data, tmp_path, caplog):
    for name in ("wav.scp", "utt2spk"):
        write(data, {f"data/corpus/train/{name}": (data / name).read_text()})
        (data / name).unlink()
    prepare(data, tmp_path / "x")
    assert "1 wav.scp of Kaldi lie in folders that are not looked into, first data/corpus/train/wav.scp" in caplog.text


def calls(root):
    """Two-channel recordings c0 to c2, of the speakers sA and sB."""
    sides = [(f"c{n}", side) for n in range(3) for side in "AB"]
    for n in range(3):
        write_audio(root / f"c{n}.wav", n, 1.0, channels=2)
    write(root, {"wav.scp": "".join(f"c{n} c{n}.wav\n" for n in range(3))})
    write(root, {"utt2spk": "".join(f"{name}-{side} s{side}\n" for name, side in sides)})
    return sides


def test_channels_of_segments_that_files_do_not_have_are_a_fault_of_the_list_not_of_the_files(tmp_path, caplog):
    root = tmp_path / "data"
    sides = calls(root)
    write(root, {"segments": "".join(f"{name}-{side} {name} 0 0.5 {1 + 'AB'.index(side)}\n" for name, side in sides)})
    with pytest.raises(RecipeError, match=r"channel 3 is asked for .*correct the channels of the list") as refused:
        prepare(root, tmp_path / "x")
    assert "bad_audio=exclude" not in str(refused.value)
    assert "segments: no line has channel 0, which is the first one" in caplog.text
    write(root, {"segments": "".join(f"{name}-{side} {name} 0 0.5 {side}\n" for name, side in sides)})
    with pytest.raises(RecipeError, match=r"segments:1: channel 'A'; expected 0, 1 \.\.\."):
        prepare(root, tmp_path / "y")


def test_channels_of_files_that_wav_scp_does_not_name_are_not_passed_over_in_silence(data, tmp_path, caplog):
    write(data, {"reco2file_and_channel": "s0-u0 call1 A\ns0-u1 call1 B\n"})
    prepare(data, tmp_path / "x")
    assert "the channel of 1 recordings is not used" in caplog.text
    assert "first s0-u1: channel B of call1, s0/u1.wav in wav.scp" in caplog.text


def test_paths_that_begin_in_a_folder_above_are_said_with_the_settings_for_it(data, tmp_path):
    for name in ("wav.scp", "utt2spk"):
        write(data, {f"data/train/{name}": (data / name).read_text()})
    with pytest.raises(RecipeError, match=rf"wav.scp:1: 's0/u0.wav' is not in .*data/train, but in .*site.audio={data}$"):
        prepare(data / "data" / "train", tmp_path / "x")
    out = prepare(data / "data" / "train", tmp_path / "y", site={"audio": str(data)}, audio_root_name="audio")
    assert len(found(out)) == len(NAMES)
