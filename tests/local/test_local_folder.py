"""Claims about local.folder, on small corpora made here and, where it is there, on real speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from local import folder
from local.folder import Settings
from local.listing import corpus as listed
from local.listing.files import audio_files
from steps.core.errors import RecipeError
from steps.data.audio import read_audio
from steps.data.manifests import audio_root, has_set, read_roots, read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.local import listed_corpora

VOICES = Path(__file__).parents[3] / "shared" / "data" / "voices"
RATE = 8000
SPEAKERS, UTTERANCES = 12, 5
GIVEN = {"trials": "t.txt", "split": "test"}


def write_audio(path: Path, seed: int = 0, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (rate // 40 + seed, channels))  # prepare.min_duration and more
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def corpus(tmp_path) -> Path:
    root = tmp_path / "corpus"
    for speaker in range(SPEAKERS):
        for number in range(UTTERANCES):
            write_audio(root / f"s{speaker:02d}" / f"u{number}.wav", seed=10 * speaker + number)
    return root


def prepare(root: Path, out: Path, site: dict[str, str] | None = None, **changes) -> Path:
    return listed_corpora.prepare(root, out, site, **{"split": "auto"} | changes)


def contents(folder_: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder_.rglob("*")) if path.is_file() and path.parent.name != "opened")  # which has times
    return {str(path.relative_to(folder_)): path.read_bytes() for path in files}


def speakers(out: Path, name: str) -> set[str]:
    return {item.speaker for item in read_set(out, name)}


def test_a_folder_of_speakers_becomes_disjoint_sets_and_trials(corpus, tmp_path):
    out = prepare(corpus, tmp_path / "x", test_speakers=3, dev_speakers=0.25, made_trials=("balanced", "all_pairs"))
    sizes = {name: len(speakers(out, name)) for name in ("train", "dev", "test")}
    assert sizes == {"train": 7, "dev": 2, "test": 3}
    assert len(set().union(*(speakers(out, name) for name in sizes))) == SPEAKERS
    assert read_roots(out) == {"train": "corpus", "dev": "corpus", "test": "corpus"}
    assert read_utt2spk(out / "utt2spk")["s03/u4"] == "s03"
    item = read_set(out, "test")[0]
    samples_W, rate = read_audio(audio_root("test", out, {"corpus": str(corpus)}) / item.path)
    assert (len(samples_W), rate) == (item.num_samples, item.sampling_rate)
    everything, half = (read_trials(out / "trials" / f"{name}.txt") for name in ("all_pairs", "balanced"))
    assert (len(everything), everything.num_target) == (15 * 14 // 2, 3 * 5 * 4 // 2)
    assert half.num_target == half.num_nontarget
    calibration = read_trials(out / "calibration" / "dev.txt")
    assert (len(calibration), calibration.num_target) == (45, 20)
    assert {name.split("/")[0] for name in calibration.enrol_ids} == speakers(out, "dev")
    assert not (out / "problems.tsv").exists()


def test_the_same_corpus_elsewhere_gives_the_same_bytes_and_another_seed_others(corpus, tmp_path):
    first = contents(prepare(corpus, tmp_path / "x", test_speakers=4))
    moved = corpus.rename(tmp_path / "moved")
    assert contents(prepare(moved, tmp_path / "y", test_speakers=4)) == first
    assert not any(str(tmp_path).encode() in content for content in first.values())
    assert contents(prepare(moved, tmp_path / "z", test_speakers=4, seed=2)) != first


def test_size_of_shards_and_order_of_units_change_nothing(corpus, tmp_path, monkeypatch):
    first = contents(prepare(corpus, tmp_path / "x"))
    monkeypatch.setattr(listed, "SHARD_SIZE", 7)
    settings, site = Settings(), {"corpus": str(corpus)}
    units = folder.list_units(settings, site)
    assert len(units) == -(-SPEAKERS * UTTERANCES // 7)
    for unit in reversed(units):
        (tmp_path / "y" / unit).mkdir(parents=True)
        folder.prepare_unit(settings, site, unit, tmp_path / "y" / unit)
    (tmp_path / "out").mkdir()
    folder.merge(settings, site, {unit: tmp_path / "y" / unit for unit in reversed(units)}, tmp_path / "out")
    assert contents(tmp_path / "out") == first


def test_split_folders_corpora_and_sessions_are_read_from_the_path(tmp_path):
    root = tmp_path / "c"
    for split, corpus_, speaker in (("train", "x", "a"), ("train", "y", "a"), ("test", "x", "b"), ("test", "y", "b")):
        for number in range(3):
            write_audio(root / split / corpus_ / speaker / f"day{number}" / "u.flac", seed=number)
    changes = {"split": "folders", "speaker_level": 1, "corpus_level": 0, "session_level": -1, "dev_speakers": 0}
    out = prepare(root, tmp_path / "o", trials_per_corpus=True, made_trials=("all_pairs",), within_corpus=False, **changes)
    assert speakers(out, "train") == {"x/a", "y/a"}
    first = read_set(out, "test")[0]
    assert (first.id, first.corpus, first.session, first.path) == ("x/b/day0/u", "x", "day0", "test/x/b/day0/u.flac")
    assert not has_set(out, "dev")
    assert not (out / "calibration").exists()
    # Within x or y there is one speaker: no list of non-targets could be made.
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["all_pairs.txt"]


def test_a_table_gives_speakers_sessions_genders_and_splits(corpus, tmp_path):
    lines = ["path,speaker,session,gender,split"]
    for speaker in range(6):
        split = "train" if speaker < 2 else "dev" if speaker < 4 else "test"
        lines += [f"s{speaker:02d}/u{n}.wav,p{speaker},d{n % 2},{'female' if speaker % 2 else 'M'},{split}" for n in range(4)]
    (corpus / "list.csv").write_text("\ufeff" + "\r\n".join(lines))
    changes = {"table": "list.csv", "split": "column", "made_trials": ("all_pairs",), "cross_session": True}
    out = prepare(corpus, tmp_path / "x", **changes)
    assert speakers(out, "test") == {"p4", "p5"}
    trials = read_trials(out / "trials" / "all_pairs.txt")
    assert (trials.num_target, trials.num_nontarget) == (2 * 4, 16)
    assert (out / "spk2gender").read_text() == "".join(f"p{n} {'f' if n % 2 else 'm'}\n" for n in range(6))
    (corpus / "list.tsv").write_text("\n".join(lines).replace(",", "\t"))
    assert contents(prepare(corpus, tmp_path / "y", **changes | {"table": str(corpus / "list.tsv")})) == contents(out)


def test_kaldi_files_are_read_and_their_commands_are_not_run(corpus, tmp_path):
    names = [(f"s{speaker:02d}-u{number}", f"s{speaker:02d}/u{number}.wav") for speaker in range(4) for number in range(3)]
    # One path absolute, as Kaldi's mostly are.
    (corpus / "wav.scp").write_text(
        "".join(f"{name} {corpus / path if n == 0 else path}\n" for n, (name, path) in enumerate(names))
    )
    (corpus / "utt2spk").write_text("".join(f"{name} {name[:3]}\n" for name, _ in names))
    (corpus / "spk2gender").write_text("s00 f\ns01 m\n")
    out = prepare(corpus, tmp_path / "x", split="test")
    assert [(item.id, item.path, item.gender) for item in read_set(out, "test")][::3] == [
        ("s00-u0", "s00/u0.wav", "f"), ("s01-u0", "s01/u0.wav", "m"), ("s02-u0", "s02/u0.wav", ""), ("s03-u0", "s03/u0.wav", ""),
    ]  # fmt: skip
    kaldi = tmp_path / "data"
    kaldi.mkdir()
    for name in ("wav.scp", "utt2spk"):
        (kaldi / name).write_text((corpus / name).read_text())
    with pytest.raises(RecipeError, match=r"wav.scp:1: .*audio_root_name"):
        prepare(kaldi, tmp_path / "y", split="test")
    out = prepare(kaldi, tmp_path / "z", {"audio": str(corpus)}, split="test", audio_root_name="audio")
    assert read_roots(out) == {"test": "audio"}
    (corpus / "wav.scp").write_text(f"s00-u0 touch {tmp_path}/ran; cat x |\n")
    with pytest.raises(RecipeError, match=r"wav.scp:1: 's00-u0' is a command"):
        prepare(corpus, tmp_path / "v", split="test")
    assert not (tmp_path / "ran").exists()


def test_draws_are_the_same_share_of_every_corpus_and_gender(tmp_path):
    root, lines = tmp_path / "c", ["speaker\tcorpus\tgender"]
    for corpus_, gender, num in (("x", "f", 10), ("x", "m", 20), ("y", "", 10)):
        for speaker in range(num):
            lines.append(f"{gender}{speaker}\t{corpus_}\t{gender}")
            for number in range(2):
                write_audio(root / corpus_ / f"{gender}{speaker}" / f"{number}.wav", seed=number)
    (root / "speakers.tsv").write_text("\n".join(lines))
    out = prepare(root, tmp_path / "o", corpus_level=0, metadata="speakers.tsv", test_speakers=0.2, dev_speakers=0)
    drawn = {(item.corpus, item.gender, item.speaker) for item in read_set(out, "test")}
    counts = {key: sum(found[:2] == key for found in drawn) for key in (("x", "f"), ("x", "m"), ("y", ""))}
    assert counts == {("x", "f"): 2, ("x", "m"): 4, ("y", ""): 2}


@pytest.mark.parametrize(
    "form", ["1 {0}.wav {1}.wav\n0 {0}.wav {2}.wav\n", "test/{0} test/{1} target\ntest/{0} ./test/{2} nontarget\n"]
)
def test_given_lists_are_brought_to_the_ids(corpus, tmp_path, form):
    (tmp_path / "mine.txt").write_text(form.format("s00/u0", "s00/u1", "s01/u0"))
    out = prepare(corpus, tmp_path / "x", split="test", trials=str(tmp_path / "mine.txt"), trials_root="test")
    assert (out / "trials" / "mine.txt").read_text() == "1 s00/u0 s00/u1\n0 s00/u0 s01/u0\n"
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["mine.txt"]


def test_lists_may_enrol_models_of_several_utterances(corpus, tmp_path):
    (corpus / "models.txt").write_text("m0 s00/u0.wav s00/u1.wav\nm1 s01/u0 s01/u1 s01/u2\nunused s02/u0\n")
    (corpus / "t.txt").write_text("1 m0 s00/u3.wav\n0 m1 s00/u3.wav\n1 s01/u0.wav s01/u4\n")
    out = prepare(corpus, tmp_path, enrolment="models.txt", made_enrolment=(2,), **GIVEN)
    assert (out / "enrolment" / "t.txt").read_text() == "m0 s00/u0 s00/u1\nm1 s01/u0 s01/u1 s01/u2\n"
    assert read_trials(out / "trials" / "t.txt").enrol_ids == ["m0", "m1", "s01/u0"]
    drawn = read_trials(out / "trials" / "enrol2.txt")
    assert (len(drawn), drawn.num_target) == (SPEAKERS * SPEAKERS * (UTTERANCES - 2), SPEAKERS * (UTTERANCES - 2))
    assert len((out / "enrolment" / "enrol2.txt").read_text().splitlines()) == SPEAKERS


def test_labels_of_models_are_checked_too(corpus, tmp_path):
    (corpus / "models.txt").write_text("m0 s00/u0\n")
    (corpus / "t.txt").write_text("1 m0 s01/u3.wav\n0 m0 s02/u3.wav\n")
    with pytest.raises(RecipeError, match=r"1 of 2 labels contradict the corpus; first, 'm0' \(speaker s00\)"):
        prepare(corpus, tmp_path, enrolment="models.txt", **GIVEN)


def test_noises_and_rooms_become_sets_where_the_site_has_them(corpus, tmp_path):
    write_audio(tmp_path / "noise" / "train" / "wind.wav", rate=16000)
    write_audio(tmp_path / "rir" / "room.wav", channels=4)
    changes = {"noise": "noise", "noise_subfolder": "train", "rir": "rir", "music": "music"}
    out = prepare(corpus, tmp_path / "x", {"noise": str(tmp_path / "noise"), "rir": str(tmp_path / "rir")}, **changes)
    assert {name: read_roots(out).get(name) for name in ("noise", "rir", "music")} == {
        "noise": "noise",
        "rir": "rir",
        "music": None,
    }
    item = read_set(out, "noise")[0]
    assert (item.id, item.path, item.speaker) == ("wind", "train/wind.wav", "wind")
    assert read_set(out, "rir")[0].num_channels == 4
    assert "wind" not in read_utt2spk(out / "utt2spk")


def test_links_are_followed_but_not_in_circles(corpus, tmp_path):
    write_audio(tmp_path / "other" / "u9.wav")
    (corpus / "s99").symlink_to(tmp_path / "other")
    (corpus / "s00" / "loop").symlink_to(corpus)
    (corpus / "s00" / "._u0.wav").write_bytes(b"hidden")
    found = audio_files(corpus)
    assert len(found) == SPEAKERS * UTTERANCES + 1
    assert "s99/u9.wav" in found


def broken(corpus: Path, kind: str) -> str:
    """Spoil a corpus; return the file to be named."""
    path = corpus / "s05" / "u1.wav"
    if kind == "missing":
        path.unlink()
        path.symlink_to(corpus / "gone.wav")
    elif kind == "unreadable":
        path.write_text("no audio")
    elif kind == "zero_length":
        soundfile.write(path, np.zeros(0), RATE)
    elif kind == "all_zero":
        soundfile.write(path, np.zeros(100), RATE)
    elif kind == "nan":
        soundfile.write(path, np.full(100, np.nan), RATE, subtype="FLOAT")
    elif kind == "stereo":
        write_audio(path, channels=2)
    return "s05/u1.wav"


@pytest.mark.parametrize("kind", ["missing", "unreadable", "zero_length", "all_zero", "nan", "stereo"])
def test_bad_audio_is_named_and_can_be_excluded(corpus, tmp_path, kind):
    name = broken(corpus, kind)
    with pytest.raises(RecipeError, match=rf"1 of 60 audio files cannot be used: {name}") as error:
        prepare(corpus, tmp_path / "x")
    assert str(tmp_path / "x" / "out" / "problems.tsv") in str(error.value)
    assert (tmp_path / "x" / "out" / "problems.tsv").read_text().startswith(f"speech\t{name}\t")
    out = prepare(corpus, tmp_path / "y", bad_audio="exclude", max_bad=0.02)
    assert "s05/u1" not in read_utt2spk(out / "utt2spk")
    assert len(read_utt2spk(out / "utt2spk")) == 59
    assert name in (out / "problems.tsv").read_text()
    with pytest.raises(RecipeError, match=r"max_bad = 0\.01"):
        prepare(corpus, tmp_path / "z", bad_audio="exclude", max_bad=0.01)


def test_a_file_repaired_after_its_shard_was_done_is_good(corpus, tmp_path):
    good = (corpus / "s05" / "u1.wav").read_bytes()
    broken(corpus, "unreadable")
    with pytest.raises(RecipeError):
        prepare(corpus, tmp_path / "x")
    (corpus / "s05" / "u1.wav").write_bytes(good)
    site = {"corpus": str(corpus)}
    folder.merge(Settings(), site, {unit.name: unit for unit in (tmp_path / "x" / "units").iterdir()}, tmp_path / "x" / "out")
    assert len(read_utt2spk(tmp_path / "x" / "out" / "utt2spk")) == 60


def test_the_second_channel_can_be_chosen(corpus, tmp_path):
    for path in corpus.rglob("*.wav"):
        write_audio(path, channels=2)
    item = read_set(prepare(corpus, tmp_path / "x", channel="second"), "test")[0]
    assert (item.channel, item.num_channels) == (1, 2)


@pytest.mark.parametrize(
    ("spoil", "changes", "words"),
    [
        (lambda c: write_audio(c / "s01" / "u1.wav", rate=16000), {}, r"s01/u1.wav has 16000 Hz.*mixed_sampling_rates"),
        (lambda c: None, {"sampling_rate": 16000}, r"expected 16000 Hz in all files, found 8000 Hz in 60 files"),
        (lambda c: write_audio(c / "s01" / "u1.flac"), {}, r"'s01/u1', from s01/u1.flac and s01/u1.wav"),
        (lambda c: write_audio(c / "new" / "u1.flac"), {}, r"1 speakers .* new \(1\).*min_utterances"),
        (lambda c: write_audio(c / "s01" / "u 7.wav"), {}, r"'s01/u 7'.*replace_spaces"),
        (lambda c: write_audio(c / "top.wav"), {}, r"top.wav; expected folders for speaker_level = -1"),
        (lambda c: None, {"speaker_level": 3}, r"60 of 60 files .*speaker_level = 3"),
        (lambda c: None, {"split": "folders"}, r"lies in 's00', expected the folders train, dev, test"),
        (lambda c: None, {"split": "column"}, r"split ''; expected train, dev, test"),
        (lambda c: None, {"dev_speakers": 1.0}, r"calibration trials of the dev speakers: .*1 speakers"),
        (lambda c: None, {"test_speakers": 50.0}, r"asks for 50 of 12 speakers"),
        (lambda c: None, {"test_speakers": 12.0}, r"asks for 12 of 12 speakers"),
        (lambda c: None, {"test_speakers": 0.0}, r"no utterance is test data"),
        (lambda c: None, {"trials": "none.txt"}, r"no file 'none.txt'; looked for"),
        (lambda c: (c / "t.txt").write_text("1 s00/u0 s00/ux\n"), GIVEN, r"t.txt:1: 1 utterances.*'s00/ux'.*such as 's00/u"),
        (lambda c: (c / "t.txt").write_text(""), GIVEN, r"t.txt: the trial list is empty"),
        (lambda c: (c / "t.txt").write_text("1 s00/u0 s01/u0\n"), GIVEN, r"1 of 1 labels contradict"),
        (lambda c: (c / "t.csv").write_text("file,speaker\n"), {"table": "t.csv"}, r"t.csv:1: no column path"),
        (lambda c: (c / "t.csv").write_text("path,speaker\na.wav\n"), {"table": "t.csv"}, r"t.csv:2: 1 fields"),
        (lambda c: (c / "t.csv").write_text("path,speaker\n../a.wav,b\n"), {"table": "t.csv"}, r"t.csv:2: '../a.wav' does"),
        (lambda c: (c / "t.csv").write_text("path,speaker\n"), {"table": "t.csv"}, r"recordings is empty"),
        (lambda c: (c / "m.tsv").write_text("speaker\tgender\nx\tf\n"), {"metadata": "m.tsv"}, r"none of its 1 speakers"),
        (lambda c: (c / "m.tsv").write_text("speaker\tgender\ns00\tq\n"), {"metadata": "m.tsv"}, r"m.tsv:2: gender 'q'"),
        (lambda c: None, {"made_trials": ("same_gender",)}, r"genders"),
        (lambda c: None, {"root_name": "vox"}, r"site\.vox"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place(corpus, tmp_path, spoil, changes, words):
    spoil(corpus)
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", **changes)


def test_an_empty_folder_says_what_is_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"no audio file there; expected .*<speaker>/<utterance>"):
        prepare(tmp_path / "empty", tmp_path / "x")
    with pytest.raises(RecipeError, match="no such folder"):
        prepare(tmp_path / "none", tmp_path / "y")


def test_a_speaker_in_two_sets_is_refused(tmp_path):
    for split in ("train", "test"):
        for speaker in "ab":
            for number in range(2):
                write_audio(tmp_path / "c" / split / speaker / f"{split}{number}.wav", seed=number)
    with pytest.raises(RecipeError, match=r"2 speakers are in two sets, first 'a' \(.*test/a/test0.wav"):
        prepare(tmp_path / "c", tmp_path / "x", split="folders")


def test_what_is_allowed_by_a_setting_is_allowed(corpus, tmp_path):
    write_audio(corpus / "s01" / "u1.wav", rate=16000)
    write_audio(corpus / "new one" / "u 1.flac")
    out = prepare(
        corpus, tmp_path / "x", mixed_sampling_rates="allow", replace_spaces="_", few_utterances="exclude", split="test"
    )  # fmt: skip
    assert len(read_set(out, "test")) == 60
    assert "new one/u 1.flac\tits speaker has fewer" in (out / "problems.tsv").read_text()
    out = prepare(corpus, tmp_path / "y", mixed_sampling_rates="allow", replace_spaces="_", min_utterances=1, split="test")
    assert read_set(out, "test")[0].id == "new_one/u_1"


@pytest.mark.parametrize(
    "changes", [{"split": "x"}, {"made_trials": ("x",)}, {"made_trials": ()}, {"dev_speakers": -1.0}, {"trials_per_utterance": 3}]
)
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expected"):
        Settings(**changes)


def test_inventory_notices_files_and_lists(corpus, tmp_path):
    (corpus / "t.txt").write_text("1 s00/u0 s00/u1\n0 s00/u0 s01/u1\n")
    settings, site = Settings(trials="t.txt"), {"corpus": str(corpus)}
    found = [folder.inventory(settings, site)]
    assert found[0] == folder.inventory(settings, site)
    write_audio(corpus / "s01" / "u7.wav")
    found.append(folder.inventory(settings, site))
    write_audio(corpus / "s01" / "u7.wav", seed=9)  # another length
    found.append(folder.inventory(settings, site))
    (corpus / "t.txt").write_text("1 s00/u0 s00/u1\n0 s00/u0 s02/u1\n")
    found.append(folder.inventory(settings, site))
    assert len(set(found)) == 4


@pytest.mark.skipif(not VOICES.is_dir(), reason="needs the real speech of ../shared/data/voices")
def test_the_real_corpus_has_the_documented_numbers(tmp_path):
    lists = [f"trials_voices_{name}.txt" for name in "oeh"]
    # Headers only: decoding all of it takes half a minute.
    out = prepare(
        VOICES, tmp_path, split="folders", corpus_level=0, metadata="speakers.tsv", min_utterances=1, trials=";".join(lists),
        trials_root="test", trials_per_corpus=True, check_audio="header",
    )  # fmt: skip
    sets = {name: read_set(out, name) for name in ("train", "dev", "test")}
    assert len(sets["train"]) + len(sets["dev"]) == 5475
    assert len(speakers(out, "train") | speakers(out, "dev")) == 444
    assert len(speakers(out, "dev")) == 19  # a tenth of the 193 who have four utterances
    assert (len(sets["test"]), len(speakers(out, "test"))) == (469, 59)
    counts = {name: read_trials(out / "trials" / name) for name in lists}
    assert {name: len(trials) for name, trials in counts.items()} == dict(zip(lists, (3752, 55802, 24966), strict=True))
    assert counts[lists[0]].num_target == 1876
    parts = [read_trials(path) for path in (out / "trials").glob("trials_voices_e-*.txt")]
    assert sum(map(len, parts)) == 55802  # "every pair within a corpus"
    assert all({item.gender for item in items if item.corpus == "speechocean762"} == {"f", "m"} for items in sets.values())
