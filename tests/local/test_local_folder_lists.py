"""Claims about the trial lists that a folder's user gives: without labels, of one kind, with names of every kind."""

from pathlib import Path

import pytest

from local import folder
from local.folder import Settings
from steps.core.errors import RecipeError
from steps.data.manifests import read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.local import miniatures
from tests.local.miniatures import write_audio

GIVEN = {"trials": "t.txt", "split": "test"}


@pytest.fixture
def corpus(tmp_path) -> Path:
    for seed in range(60):
        write_audio(tmp_path / "corpus" / f"s{seed // 5:02d}" / f"u{seed % 5}.wav", seed=seed)
    return tmp_path / "corpus"


def prepare(root: Path, out: Path, **changes) -> Path:
    return miniatures.prepare(folder, Settings(**changes), root, out)


def test_pairs_of_whom_nobody_knows_who_speaks_are_lists_too(tmp_path, caplog):
    root = tmp_path / "two"
    for seed, name in enumerate(("a", "b", "c")):
        write_audio(root / f"{name}.wav", seed=seed)
    (root / "t.txt").write_text("a.wav b.wav\n")
    (root / "m.txt").write_text("both a.wav c\n")
    (root / "u.csv").write_text(f"enrol,test\nboth,{root}/b.wav\ntwo/a,b.wav\n")
    with caplog.at_level("INFO", logger="prepare"):
        out = prepare(root, tmp_path / "x", trials="t.txt;u.csv", enrolment="m.txt", split="test")
    assert (out / "trials" / "t.txt").read_text() == "- a b\n"
    assert (out / "trials" / "u.txt").read_text() == "- both b\n- a b\n"
    assert (out / "enrolment" / "u.txt").read_text() == "both a c\n"
    assert read_utt2spk(out / "utt2spk") == {"a": "a", "b": "b", "c": "c"}  # nobody known: each its own
    assert "trial list t: no labels: 1 trial is scored, and has no figures" in caplog.text
    assert "trials\tu\tno labels: 2 trials are scored, and have no figures\n" in (out / "remarks.tsv").read_text()
    # As soon as somebody says who is who, everybody must.
    (root / "v.txt").write_text("1 a b\n")
    with pytest.raises(RecipeError, match=r"3 of 3 files do not lie deep enough.*--model DIR, and --set prepare.trials=FILE"):
        prepare(root, tmp_path / "y", trials="t.txt;v.txt", split="test")
    with pytest.raises(RecipeError, match="3 of 3 files do not lie deep enough") as error:
        prepare(root, tmp_path / "z", trials="t.txt")  # to train on some
    assert "speaker_level=-1" not in str(error.value)  # which it is
    with pytest.raises(RecipeError, match="3 of 3 files do not lie deep enough.*prepare.speaker_level=-1"):
        prepare(root, tmp_path / "z", speaker_level=2)


@pytest.mark.parametrize(
    ("name", "text", "changes"),
    [
        ("wav.scp", "x s00/u0.wav\ny s01/u0.wav\nz s00/u1.wav\n", {}),
        ("t.csv", "path,id\ns00/u0.wav,x\ns01/u0.wav,y\ns00/u1.wav,z\n", {"table": "t.csv"}),
        ("t.csv", "path,id,speaker\ns00/u0.wav,x,\ns01/u0.wav,y,\ns00/u1.wav,z,\n", {"table": "t.csv"}),
    ],
)
def test_kaldi_files_and_tables_need_no_speakers_either(corpus, tmp_path, name, text, changes):
    (corpus / name).write_text(text)
    (corpus / "t.txt").write_text("x y\n")
    out = prepare(corpus, tmp_path / "x", **GIVEN, **changes)
    assert (out / "trials" / "t.txt").read_text() == "- x y\n"
    assert read_utt2spk(out / "utt2spk") == {"x": "x", "y": "y", "z": "z"}
    (corpus / "t.txt").write_text("1 x y\n")
    with pytest.raises(RecipeError, match="neither utt2spk nor spk2utt there|no column speaker|empty speaker"):
        prepare(corpus, tmp_path / "y", **GIVEN, **changes)


def test_a_header_that_may_be_a_trial_is_asked_about(tmp_path):
    for seed, name in enumerate(("enrol", "test", "a", "b")):
        write_audio(tmp_path / "four" / f"{name}.wav", seed=seed)
    (tmp_path / "four" / "t.txt").write_text("enrol test\na b\n")
    with pytest.raises(RecipeError, match=r"t.txt:1: 'enrol' and 'test' are names of columns and of recordings"):
        prepare(tmp_path / "four", tmp_path / "x", **GIVEN)
    (tmp_path / "four" / "t.txt").write_text("- enrol test\n- a b\n")
    assert (prepare(tmp_path / "four", tmp_path / "y", **GIVEN) / "trials" / "t.txt").read_text() == "- enrol test\n- a b\n"


def test_speakers_with_one_recording_do_where_lists_have_no_labels(corpus, tmp_path):
    write_audio(corpus / "new" / "u0.wav")
    (corpus / "t.txt").write_text("s00/u0 new/u0\n")
    out = prepare(corpus, tmp_path / "x", **GIVEN)
    assert read_trials(out / "trials" / "t.txt").is_target is None
    assert len(read_set(out, "test")) == 61
    (corpus / "t.txt").write_text("0 s00/u0 new/u0\n")
    with pytest.raises(RecipeError, match=r"new \(1\).*min_utterances"):
        prepare(corpus, tmp_path / "y", **GIVEN)


@pytest.mark.parametrize("label", [0, 1])
def test_lists_of_one_kind_are_said_and_kept(corpus, tmp_path, caplog, label):
    (corpus / "t.txt").write_text(f"{label} s00/u0 s0{1 - label}/u1\n" * 2)
    out = prepare(corpus, tmp_path / "x", **GIVEN)
    kind = "non-target" if label else "target"
    assert f"trial list t: no {kind} trials: 2 trials are scored, and have no figures" in caplog.text
    assert len(read_trials(out / "trials" / "t.txt")) == 2


def test_a_list_of_no_form_is_refused_before_any_file_is_opened(corpus, tmp_path):
    (corpus / "t.txt").write_text("a b c d\n")
    with pytest.raises(RecipeError, match=r"t.txt:1: malformed trial 'a b c d'"):
        folder.list_units(Settings(**GIVEN), {"corpus": str(corpus)})


def test_columns_of_a_list_that_say_nothing_are_named(corpus, tmp_path, caplog):
    (corpus / "t.tsv").write_text("modelid\tsegmentid\tside\ttargettype\tgender\ns00/u0\ts00/u1.wav\ta\ttarget\tf\n")
    with caplog.at_level("INFO", logger="prepare"):
        out = prepare(corpus, tmp_path / "x", trials="t.tsv", split="test")
    assert "t.tsv: its columns 'gender' are not used" in caplog.text
    assert (out / "trials" / "t.txt").read_text() == "1 s00/u0 s00/u1\n"


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("1 /elsewhere/wav/s00/u0.wav /elsewhere/wav/s00/u1.wav\n", {}, "--set prepare.trials_root=/elsewhere/wav"),
        ("1 u0 u1\n", {}, "lack 's../', which ids begin with: --set prepare.trials_root=s.."),
        ("1 u0 u1\n1 u2 u1\n0 v0 u0\n", {}, "lack folders that ids begin with, not all the same one"),
        ("1 speaker u1\n", {}, "if it is a model of several utterances: --set prepare.enrolment=FILE"),
        ("1 s00/u0 s00/u1\n1 s01/u0 s02/u0\n", {}, r"t.txt:2: 1 of 2 labels contradict"),
    ],
)
def test_what_is_wrong_with_names_is_said_with_the_setting_that_repairs_it(corpus, tmp_path, text, changes, words):
    (corpus / "t.txt").write_text(text)
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", **GIVEN)


@pytest.mark.parametrize(
    ("front", "root"), [("/elsewhere/wav/", "/elsewhere/wav"), ("wav/", "wav"), ("{corpus}/", ""), ("corpus/", ""), ("./", "")]
)
def test_names_may_begin_with_the_folder_of_the_recordings(corpus, tmp_path, front, root):
    front = front.format(corpus=corpus)
    (corpus / "t.txt").write_text(f"1 {front}s00/u0.wav {front}s00/u1.sph\n")
    out = prepare(corpus, tmp_path / "x", trials_root=root, **GIVEN)
    assert (out / "trials" / "t.txt").read_text() == "1 s00/u0 s00/u1\n"


def test_trials_of_what_is_trained_on_are_refused_with_its_set(corpus, tmp_path):
    (corpus / "t.txt").write_text("".join(f"1 s{n:02d}/u0.wav s{n:02d}/u1.wav\n" for n in range(12)))
    with pytest.raises(
        RecipeError, match=r"t.txt:\d+: .*is in the set '(train|dev)': trials are of test data; .*prepare.split=test"
    ):
        prepare(corpus, tmp_path / "x", trials="t.txt")


def test_labels_of_recordings_of_nobody_known_say_why_they_contradict(corpus, tmp_path):
    (corpus / "wav.scp").write_text("a s00/u0.wav\nb s00/u1.wav\n")
    (corpus / "utt2spk").write_text("a a\nb b\n")
    (corpus / "t.txt").write_text("1 a b\n")
    with pytest.raises(RecipeError, match="contradict the corpus.*nobody says who speaks in them"):
        prepare(corpus, tmp_path / "x", min_utterances=1, **GIVEN)
    (corpus / "t.txt").write_text("a b\n")
    assert (prepare(corpus, tmp_path / "y", **GIVEN) / "trials" / "t.txt").read_text() == "- a b\n"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("identification", "enrol s00 s00/u0\nenrol s01 s01/u0\ntest s01 s01/u1\ntest s00 s00/u0.wav\n"),
        ("clustering", "a s00 s00/u0\nb s01 s01/u0\nc s00 s00/u0.wav\n"),
        ("enrolment", "m s00/u0 s00/u0.wav\n"),
    ],
)
def test_an_utterance_is_named_once_however_it_is_written(corpus, tmp_path, setting, text):
    (corpus / "x.txt").write_text(text)
    (corpus / "t.txt").write_text(
        "m s00/u1 target\nm s01/u1 nontarget\n" if setting == "enrolment" else "s00/u0 s01/u1 nontarget\n"
    )
    with pytest.raises(RecipeError, match=r"x.txt.*: 's00/u0' and 's00/u0.wav' are one utterance, 's00/u0'; expected each once"):
        prepare(corpus, tmp_path / "x", **GIVEN, **{setting: "x.txt"})


def test_a_model_is_enrolled_not_tested_and_its_name_is_looked_at(corpus, tmp_path, caplog):
    (corpus / "e.txt").write_text("s01 s00/u0 s00/u1\n")
    (corpus / "t.txt").write_text("s00/u2 s01 target\ns01/u1 s01 nontarget\n")
    with pytest.raises(RecipeError, match=r"t.txt:1: 2 of 2 trials test a model, first 's01'; .*put the model first"):
        prepare(corpus, tmp_path / "x", enrolment="e.txt", **GIVEN)
    (corpus / "t.txt").write_text("s01 s00/u2 target\ns01 s01/u1 nontarget\n")
    prepare(corpus, tmp_path / "y", enrolment="e.txt", **GIVEN)
    assert "e.txt: 1 models are called as a speaker and are of another, first 's01' of 's00'" in caplog.text
