"""Claims about folders: which one is the speaker and the split, and what is read that has no name of audio."""

import json

import numpy as np
import pytest
import soundfile

from local import audiomnist, folder, vctk
from local.celebrities.metadata import read_speakers
from local.folder import Settings
from local.listing.files import split_of
from local.listing.first_bytes import files_of, kind_of
from steps.core.errors import RecipeError
from steps.core.stamp import fingerprint
from steps.data.manifests import has_set, read_set, read_utt2spk
from steps.prepare import STAGE
from tests.local.listed_corpora import RATE, people, prepare, write_audio


def tree(root, splits, num_speakers=3, num_utterances=4):
    for number, split in enumerate(splits):
        for speaker in range(num_speakers):
            for utterance in range(num_utterances):
                write_audio(
                    root / split / f"{number}{speaker}" / f"u{utterance}.wav", seed=100 * number + 10 * speaker + utterance
                )


def sets_of(out):
    return {
        name: sorted({each.speaker for each in read_set(out, name)}) for name in ("train", "dev", "test") if has_set(out, name)
    }


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), {"train": ["00", "01", "02"], "test": ["10", "11", "12"]}),
        (("training", "valid", "eval"), {"train": ["00", "01", "02"], "dev": ["10", "11", "12"], "test": ["20", "21", "22"]}),
        (("Train", "TEST"), {"train": ["00", "01", "02"], "test": ["10", "11", "12"]}),
        (("train-clean", "test-other"), {"train": ["00", "01", "02"], "test": ["10", "11", "12"]}),
        (("all/train", "all/test"), {"train": ["00", "01", "02"], "test": ["10", "11", "12"]}),
        (("a/train", "b/test", "b/train"), {"train": ["00", "01", "02", "20", "21", "22"], "test": ["10", "11", "12"]}),
    ],
)
def test_folders_that_are_a_split_are_used(tmp_path, folders, expected):
    tree(tmp_path / "c", folders)
    out = prepare(tmp_path / "c", tmp_path / "x", split="auto", dev_speakers=0)
    assert sets_of(out) == expected
    assert not any(split_of(part) for name in read_utt2spk(out / "utt2spk") for part in name.split("/"))


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("train", "test", "anna"), r"folders test, train, beside 1 other folders \(anna\).*--set prepare.split=made"),
        (("dev", "test"), r"folders dev, test: expected train/ and test/"),
        (("test",), r"folders test: expected train/ and test/.*--set prepare.split=test"),
        (("train", "dev"), r"folders dev, train: expected"),
    ],
)
def test_folders_that_may_be_a_split_are_not_drawn_over_in_silence(tmp_path, folders, words):
    tree(tmp_path / "c", folders)
    with pytest.raises(RecipeError, match=words):
        prepare(tmp_path / "c", tmp_path / "x", split="auto")
    assert len(sets_of(prepare(tmp_path / "c", tmp_path / "y", split="made", dev_speakers=0, test_speakers=2))["test"]) == 2


def test_files_that_lie_in_train_and_test_themselves_have_no_speaker(tmp_path):
    for split in ("train", "test"):
        for number in range(3):
            write_audio(tmp_path / "c" / split / f"s{number}.wav", seed=number)
    with pytest.raises(RecipeError, match=r"all files lie in test, train themselves.*--set prepare.table=FILE"):
        prepare(tmp_path / "c", tmp_path / "x", split="auto")


def test_a_few_names_below_all_folders_are_said(tmp_path, caplog):
    for speaker in range(4):
        for day in ("monday", "tuesday"):
            for number in range(2):
                write_audio(tmp_path / "c" / f"s{speaker}" / day / f"{number}.wav", seed=number)
    prepare(tmp_path / "c", tmp_path / "x")
    assert "2 speakers (monday, tuesday), who are all in each of 4 folders" in caplog.text
    assert "take it as the speaker with --set prepare.speaker_level=-2" in caplog.text
    caplog.clear()
    prepare(tmp_path / "c", tmp_path / "y", speaker_level=0)
    assert "speaker_level" not in caplog.text


def test_a_speaker_in_train_and_test_is_refused_with_the_way_out(tmp_path):
    for split in ("train", "test"):
        for speaker in "abc":
            write_audio(tmp_path / "c" / split / speaker / "1.wav")
    with pytest.raises(
        RecipeError, match=r"3 speakers are in two sets, first 'a' \(test: test/a/1.wav, train: .*prepare.split=made"
    ):
        prepare(tmp_path / "c", tmp_path / "x", split="auto")


def test_training_data_alone_are_drawn_from_and_that_is_said(tmp_path, caplog):
    tree(tmp_path / "c", ["train"], num_speakers=6)
    out = prepare(tmp_path / "c", tmp_path / "x", split="auto", test_speakers=2)
    assert len(sets_of(out)["test"]) == 2
    assert "all lies in train: test speakers are drawn from it" in caplog.text


@pytest.mark.parametrize(
    ("of_speaker", "words"),
    [
        (("train", "train", "", "test"), r"3 of 12 utterances have no split, first .*list.csv:8.*prepare.split=made"),
        (("train", "train", "dev", "dev"), r"the split has dev, train only"),
        (("test",) * 4, r"the split has test only"),
        (("train", "train", "eval", "test"), {"train": ["s0", "s1"], "test": ["s2", "s3"]}),
        (("trn", "valid", "valid", "Test"), None),
    ],
)
def test_a_column_split_is_used_where_it_is_complete(tmp_path, of_speaker, words):
    root = tmp_path / "c"
    people(root)
    lines = [f"s{speaker}/u{n}.wav,s{speaker},{of_speaker[speaker]}" for speaker in range(4) for n in range(3)]
    (root / "list.csv").write_text("\n".join(["path,speaker,split", *lines]))
    changes = {"table": "list.csv", "dev_speakers": 0, "min_utterances": 1}
    if isinstance(words, str):
        with pytest.raises(RecipeError, match=words):
            prepare(root, tmp_path / "x", split="auto", **changes)
        out = prepare(root, tmp_path / "y", split="made", test_speakers=2, **changes)
        assert len(sets_of(out)["test"]) == 2
    elif words:
        assert sets_of(prepare(root, tmp_path / "x", split="auto", **changes)) == words


def test_what_was_made_before_stays_up_to_date_where_no_split_is_given(tmp_path):
    root = tmp_path / "c"
    people(root)
    lines = [f"s{speaker}/u{n}.wav,s{speaker},{'train' if speaker < 2 else 'test'}" for speaker in range(4) for n in range(3)]
    (root / "list.csv").write_text("\n".join(["path,speaker,split", *lines]))

    def plan(**changes):
        settings = Settings(**changes)
        tables = STAGE.narrow({"prepare": {"split": settings.split}})
        return fingerprint({"tables": tables, "corpus": folder.inventory(settings, {"corpus": str(root)})})

    assert plan() == plan(split="made")
    site = {"corpus": str(root)}  # what the code before parts, channels and splits "auto" found
    assert folder.inventory(Settings(), site) == "12 files, sha256 896574c9729f692c"
    assert folder.inventory(Settings(split="column", table="list.csv"), site) == "12 files, sha256 ace2bbbd322e703c"
    assert plan(table="list.csv") != plan(table="list.csv", split="made")
    assert plan(table="list.csv", split="column") != plan(table="list.csv", split="made")


def test_one_name_for_all_speakers_names_the_level_that_is_meant(tmp_path):
    for speaker in range(3):
        for number in range(3):
            write_audio(tmp_path / "c" / f"s{speaker}" / "audio" / f"u{number}.wav", seed=speaker * 10 + number)
    with pytest.raises(
        RecipeError, match=r"one speaker, 'audio'.*level -2 has 3 names \(s0, s1, s2\).*--set prepare.speaker_level=-2"
    ):
        prepare(tmp_path / "c", tmp_path / "x", split="auto")
    out = prepare(tmp_path / "c", tmp_path / "y", speaker_level=-2)
    assert sets_of(out) == {"test": ["s0", "s1", "s2"]}


FORMS = {
    ".aiff": ("AIFF", "PCM_16"), ".aif": ("AIFF", "PCM_24"), ".au": ("AU", "ULAW"), ".snd": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"), ".w64": ("W64", "PCM_16"), ".sph": ("NIST", "PCM_16"), ".nist": ("NIST", "ULAW"),
    ".rf64": ("RF64", "PCM_16"), ".dat": ("FLAC", "PCM_16"), ".bak": ("WAV", "PCM_16"), "": ("OGG", "VORBIS"),
    ".voc": ("VOC", "PCM_16"), ".x y": ("WAVEX", "PCM_16"),
}  # fmt: skip


def test_audio_is_read_whatever_its_suffix(tmp_path):
    root = tmp_path / "c"
    for speaker in range(2):
        for number, (suffix, (form, subtype)) in enumerate(FORMS.items()):
            path = root / f"s{speaker}" / f"u{number}.1{suffix}"
            write_audio(path, seed=number + 100 * speaker, format=form, subtype=subtype)
    out = prepare(root, tmp_path / "x")
    assert len(read_utt2spk(out / "utt2spk")) == 2 * len(FORMS)
    expected = {
        f"s0/u{number}.1" if suffix else f"s0/u{number}": f"s0/u{number}.1{suffix}" for number, suffix in enumerate(FORMS)
    }
    assert {each.id: each.path for each in read_set(out, "test") if each.speaker == "s0"} == expected


def test_what_is_not_read_is_counted_by_suffix(tmp_path, caplog):
    root = tmp_path / "c"
    people(root, 2, 3)
    for name, content in {
        "a.txt": b"Hello", "b.txt": b"", "c.md": b"x", "README": b"x", "d.wma": b"\x30\x26\xb2\x75\x8e\x66\xcf", "e.raw": b"\1\2",
        "f.bin": b"#!AMR\n", "g.doc": "\ufeffHello".encode("utf-16-le"), "u0.sph": (root / "s0" / "u0.wav").read_bytes(),
        "u1.wav.bak": (root / "s0" / "u1.wav").read_bytes(),
    }.items():  # fmt: skip
        (root / "s0" / name).write_bytes(content)
    caplog.set_level("INFO", "prepare")
    assert len(read_utt2spk(prepare(root, tmp_path / "x") / "utt2spk")) == 6
    assert "files that may be audio and are not read: 1 x .bin, 1 x .raw, 1 x .wma; convert them" in caplog.text
    assert "audio of the same name lies beside it: 1 x .bak, 1 x .sph" in caplog.text
    assert "files that do not begin as audio does, not read: 1 x (no suffix), 1 x .doc, 1 x .md, 2 x .txt" in caplog.text


def test_lists_beside_folders_that_are_not_read_are_named(tmp_path, caplog):
    root = tmp_path / "c"
    people(root, 2, 3)
    for name, text in {"spk2gender": "s0 f\n", "list.csv": "path,speaker\n", "who.tsv": "speaker\tgender\ns0\tf\n"}.items():
        (root / name).write_text(text)
    prepare(root, tmp_path / "x", metadata="who.tsv")
    assert (
        "not read, as there is no wav.scp: spk2gender; genders are taken from a table with the header speaker,gender"
        in caplog.text
    )
    assert "tables that are not read: list.csv; --set prepare.table=FILE takes one" in caplog.text


def test_audio_that_libsndfile_cannot_read_is_a_problem_and_not_passed_over(tmp_path):
    root = tmp_path / "c"
    people(root, 2, 3)
    header = (
        b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nsample_rate -i 8000\nsample_count -i 9\nend_head\n"
    )
    (root / "s0" / "x.sph").write_bytes(header.ljust(1024) + b"ajkg\2" + bytes(500))
    with pytest.raises(RecipeError, match=r"1 of 7 audio files cannot be used: s0/x.sph"):
        prepare(root, tmp_path / "x")


def test_noises_are_read_by_their_content_too(tmp_path):
    people(tmp_path / "c", 2, 3)
    write_audio(tmp_path / "noise" / "wind.aiff", format="AIFF")
    write_audio(tmp_path / "noise" / "rain.wav")
    out = prepare(tmp_path / "c", tmp_path / "x", {"noise": str(tmp_path / "noise")}, noise="noise")
    assert {each.path for each in read_set(out, "noise")} == {"wind.aiff", "rain.wav"}


def test_first_bytes_tell_what_soundfile_writes(tmp_path):
    for form in soundfile.available_formats():
        path = tmp_path / form
        if form in ("RAW", "SD2", "HTK", "MAT4", "MAT5", "XI", "WVE", "SDS", "MPC2K"):
            continue  # without a begin to tell them by, or nothing that people record speech in
        soundfile.write(path, np.zeros(RATE), RATE, format=form)
        assert kind_of(path.read_bytes()[:16]) == "read", form


def test_files_of_a_folder_are_sorted_and_hidden_ones_left_out(tmp_path):
    people(tmp_path, 2, 2)
    write_audio(tmp_path / ".cache" / "x.wav")
    write_audio(tmp_path / "s0" / ".u9.wav")
    assert files_of(tmp_path).read == ["s0/u0.wav", "s0/u1.wav", "s1/u0.wav", "s1/u1.wav"]


def test_speakers_of_published_corpora_have_one_gender_each(tmp_path):
    (tmp_path / "speaker-info.txt").write_text("ID AGE GENDER\np225 23 F\np226 22 M\np225 23 M\n")
    with pytest.raises(RecipeError, match=r"'p225' has gender 'f' \(.*:2\) and 'm' \(.*:4\)"):
        vctk.read_speaker_info(tmp_path)
    (tmp_path / "audioMNIST_meta.txt").write_text(
        '{"01": {"gender": "male"}, "02": {"gender": "male"}, "01": {"gender": "female"}}'
    )
    with pytest.raises(RecipeError, match=r"'01' is .*male.* and .*female"):
        audiomnist._read_genders(tmp_path)
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    (tmp_path / "vox1_meta.csv").write_text(f"{header}id1\tA\tf\tx\tdev\nid2\tB\tf\tx\tdev\nid1\tA\tm\tx\tdev\n")
    with pytest.raises(RecipeError, match=r"vox1_meta.csv:4: speaker 'id1' has two different entries \(the other: .*:2\)"):
        read_speakers(tmp_path / "vox1_meta.csv", "voxceleb1 id")
    (tmp_path / "vox1_meta.csv").write_text(f"{header}id1\tA\tf\tx\tdev\nid2\tA\tf\tx\tdev\n")
    with pytest.raises(RecipeError, match=r"person 'A' has the id 'id1' \(.*:2\) and 'id2' \(.*:3\)"):
        read_speakers(tmp_path / "vox1_meta.csv", "voxceleb1 id")
    assert json.loads('{"a": 1, "a": 2}') == {"a": 2}  # what Python does by itself


def test_trial_lists_beside_folders_of_speakers_are_named(tmp_path, caplog):
    people(tmp_path / "corpus")
    (tmp_path / "corpus" / "trials.csv").write_text("enrol,test,label\ns0/u0,s0/u1,1\ns0/u0,s1/u0,0\n")
    prepare(tmp_path / "corpus", tmp_path / "x")
    assert "trials.csv: not used; for these trials add --set prepare.trials=trials.csv" in caplog.text
    caplog.clear()
    prepare(tmp_path / "corpus", tmp_path / "y", trials="trials.csv")
    assert "not used" not in caplog.text


def test_the_folder_of_the_split_is_nobody(tmp_path):
    for name, speakers in (("train", range(4)), ("test", range(4, 6))):
        for speaker in speakers:
            for number in range(3):
                write_audio(tmp_path / "c" / name / f"s{speaker}" / f"v{number}" / "u.wav", 10 * speaker + number)
    with pytest.raises(
        RecipeError, match=r"prepare.speaker_level = 0 is the folder of the split .*--set prepare.speaker_level=1"
    ):
        prepare(tmp_path / "c", tmp_path / "x", split="auto", speaker_level=0)
    out = prepare(tmp_path / "c", tmp_path / "y", split="auto", speaker_level=1, dev_speakers=0)
    assert {each.speaker for each in read_set(out, "test")} == {"s4", "s5"}


def test_folders_train_and_test_that_part_no_speakers_are_said(tmp_path, caplog):
    for speaker in range(4):
        for name in ("train", "test"):
            write_audio(tmp_path / "c" / f"s{speaker}" / name / "u.wav", 10 * speaker + len(name))
    prepare(tmp_path / "c", tmp_path / "x", split="auto", speaker_level=0, dev_speakers=0)
    assert "folders test, train below others (such as s0/test) are not used as a split" in caplog.text
    people(tmp_path / "d")
    for name in ("train", "test"):
        (tmp_path / "d" / f"s{len(name) - 4}").rename(tmp_path / "d" / name)
    prepare(tmp_path / "d", tmp_path / "y", split="auto", dev_speakers=0)
    assert "folders test, train hold recordings themselves, and are taken for speakers" in caplog.text


def test_where_no_audio_is_found_what_is_there_is_counted(tmp_path):
    for name in ("s0/a.htk", "s1/b.htk", "README.md", "data/all/x/wav.scp"):
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text("a b")
    with pytest.raises(RecipeError, match=r"no audio file there \(2 x .htk, 1 x .md, 1 x .scp\); .*found data/all/x/wav.scp"):
        prepare(tmp_path / "c", tmp_path / "x")


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("form", ["IRCAM", "PAF"])
def test_rare_containers_are_known_in_either_order_of_bytes(tmp_path, form, endian):
    soundfile.write(tmp_path / "x", np.zeros(RATE), RATE, format=form, endian=endian, subtype="PCM_16")
    assert kind_of((tmp_path / "x").read_bytes()[:16]) == "read"
