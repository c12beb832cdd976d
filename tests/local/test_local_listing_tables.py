"""Claims about tables: columns of ours and of known tools are understood, all others refused, and no id has two values."""

import gzip
import json

import pytest

from local.folder import Settings
from local.listing import columns
from local.listing.tables import rows_of_table
from steps.core.config import deciding
from steps.core.errors import RecipeError
from steps.data.manifests import read_set
from tests.local.listed_corpora import RATE, people, prepare, write_audio

PATHS = [(f"s{speaker}/u{number}.wav", f"s{speaker}") for speaker in range(4) for number in range(3)]


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    people(root)
    return root


def table(root, header, line=lambda path, speaker: f"{path},{speaker}", sep="\n", name="list.csv"):
    (root / name).write_text(sep.join([header, *(line(path, speaker) for path, speaker in PATHS)]) + sep)
    return {"table": name}


def found(out):
    return {each.id: (each.path, each.speaker, each.gender, each.session) for each in read_set(out, "test")}


PLAIN = {path.removesuffix(".wav"): (path, speaker, "", "") for path, speaker in PATHS}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("path,speaker,sesion", r"unknown column 'sesion' \(did you mean 'session'\?\).*prepare.other_columns=\[\"sesion\"\]'"),
        ("path,speaker,gendre", r"unknown column 'gendre' \(did you mean 'gender'\?\)"),
        ("path,speaker,strat", r"unknown column 'strat' \(did you mean 'start'\?\)"),
        ("path,speaker,subset", r"unknown column 'subset' \(did you mean 'split'\?\)"),
        ("path,speaker,mood", r"unknown column 'mood';"),
        ("path,speaker,", r"unknown column '';"),
        ("path,speaker,path", r"2 columns 'path'"),
        ("path,speaker,wav", r"columns path and wav, which both say path.*or let one of them be: .*other_columns=\[\"wav\"\]'$"),
        ("path,people,x", r"no column speaker; unknown column 'people'.*; correct the header$"),
        ("path,speaker,Spk_ID", r"columns speaker and spk_id, which both say speaker"),
        ("file,speaker,x", r"list.csv:1: no column path; unknown column 'file' \(did you mean 'path'\?\); unknown column 'x'"),
    ],
)
def test_columns_that_nobody_knows_are_refused_as_settings_are(corpus, tmp_path, header, words):
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", **table(corpus, header, lambda path, speaker: f"{path},{speaker},x"))


def test_the_repair_that_is_named_lets_a_column_be(corpus, tmp_path, caplog):
    caplog.set_level("INFO", "prepare")
    changes = table(corpus, "path,speaker,Mood,text", lambda path, speaker: f"{path},{speaker},m,t")
    assert found(prepare(corpus, tmp_path / "x", other_columns=("mood",), **changes)) == PLAIN
    assert "columns that are not used: mood, text" in caplog.text
    assert "other_columns" not in deciding(Settings())


def test_common_voice_is_understood(tmp_path):
    root = tmp_path / "cv"
    for path, _ in PATHS:
        write_audio(root / "clips" / f"{path.replace('/', '_')}", seed=hash(path) % 99)
    names = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
    genders = {"s0": "female_feminine", "s1": "male_masculine", "s2": "", "s3": "do_not_wish_to_say"}
    lines = ["\t".join(names.split())]
    for path, speaker in PATHS:
        sentence = '"So be it, he said' if path.endswith("1.wav") else "it's\u2028so"
        lines.append(
            "\t".join([speaker, path.replace("/", "_"), "7", sentence, "", "2", "0", "twenties", genders[speaker]] + 4 * [""])
        )
    (root / "validated.tsv").write_text("\n".join(lines) + "\n")
    out = found(prepare(root, tmp_path / "x", table="validated.tsv"))
    assert len(out) == len(PATHS)
    assert out["s0_u1"] == ("clips/s0_u1.wav", "s0", "f", "")
    assert [out[f"s{n}_u0"][2] for n in range(4)] == ["f", "m", "", ""]


def test_nemo_manifests_are_understood(corpus, tmp_path):
    lines = [json.dumps({"audio_filepath": path, "duration": 0.5, "label": speaker, "text": "-"}) for path, speaker in PATHS]
    (corpus / "all.json").write_text("\n".join(lines) + "\n")
    assert found(prepare(corpus, tmp_path / "x", table="all.json")) == PLAIN
    lines = [
        json.dumps({"audio_filepath": str(corpus / path), "offset": 0.125, "duration": 0.25, "label": speaker})
        for path, speaker in PATHS
    ]
    with gzip.open(corpus / "parts.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    parts = read_set(prepare(corpus, tmp_path / "y", table="parts.jsonl.gz"), "test")
    assert {(each.start, each.num_samples) for each in parts} == {(0.125, RATE // 4)}
    (corpus / "bad.json").write_text(lines[0] + "\n{]\n")
    with pytest.raises(RecipeError, match=r"bad.json:2: expected a JSON object a line"):
        prepare(corpus, tmp_path / "z", table="bad.json")


def test_lists_of_wespeaker_are_understood(corpus, tmp_path):
    lines = [json.dumps({"key": path[:-4], "wav": str(corpus / path), "spk": speaker}) for path, speaker in PATHS]
    (corpus / "raw.list").write_text("\n".join(lines) + "\n")
    assert found(prepare(corpus, tmp_path / "x", table="raw.list")) == PLAIN


def test_speechbrain_counts_samples(corpus, tmp_path):
    lines = ["ID,duration,wav,start,stop,spk_id"]
    lines += [f"{path[:2]}-{path[3:5]},0.5,$data_root/{path},800,2800,{speaker}" for path, speaker in PATHS]
    (corpus / "train.csv").write_text("\n".join(lines) + "\n")
    parts = read_set(prepare(corpus, tmp_path / "x", table="train.csv"), "test")
    assert {(each.start, each.num_samples) for each in parts} == {(0.1, 2000)}
    assert parts[0].id == "s0-u0"


@pytest.mark.parametrize("form", ["cuts", "trimmed", "supervisions"])
def test_manifests_that_lhotse_writes_are_understood(tmp_path, form):
    import lhotse

    root = tmp_path / "calls"
    recordings, supervisions = [], []
    for number in range(3):
        write_audio(root / f"c{number}.wav", number, 2.0, channels=2)
        recordings.append(lhotse.Recording.from_file(root / f"c{number}.wav", recording_id=f"c{number}"))
        for channel in range(2):
            for start, duration in ((0.0, 2.0), (0.5, 0.25)):
                supervisions.append(
                    lhotse.SupervisionSegment(
                        id=f"c{number}-{channel}-{start}", recording_id=f"c{number}", start=start, duration=duration,
                        channel=channel, speaker="ab"[channel], gender="fm"[channel], text="x",
                    )
                )  # fmt: skip
    recordings, supervisions = lhotse.RecordingSet.from_recordings(recordings), lhotse.SupervisionSet.from_segments(supervisions)
    if form != "supervisions":
        cuts = lhotse.CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
        cuts = cuts.trim_to_supervisions(keep_overlapping=False) if form == "trimmed" else cuts
        cuts.to_file(root / "cuts.jsonl.gz")
    else:
        recordings.to_file(root / "x_recordings.jsonl.gz")
        supervisions.to_file(root / "x_supervisions.jsonl.gz")
    name = "x_supervisions.jsonl.gz" if form == "supervisions" else "cuts.jsonl.gz"
    items = {each.id: each for each in read_set(prepare(root, tmp_path / "x", table=name), "test")}
    assert len(items) == 12
    assert {(each.speaker, each.gender, each.channel) for each in items.values()} == {("a", "f", 0), ("b", "m", 1)}
    part, whole = items["c1-1-0.5"], items["c1-1-0.0"]
    assert (part.start, part.num_samples, whole.start, whole.num_samples) == (0.5, RATE // 4, 0.0, 2 * RATE)
    if form == "supervisions":
        with pytest.raises(RecipeError, match="which name no speaker"):
            prepare(root, tmp_path / "y", table="x_recordings.jsonl.gz")
        (root / "x_recordings.jsonl.gz").unlink()
        with pytest.raises(RecipeError, match=r"no file x_recordings.jsonl.gz beside them"):
            prepare(root, tmp_path / "z", table=name)


def cuts_of_lhotse(root):
    import lhotse

    names = [f"c{number}" for number in range(4)]
    for number, name in enumerate(names):
        write_audio(root / f"{name}.wav", number, 2.0)
    recordings = [lhotse.Recording.from_file(root / f"{name}.wav", recording_id=name) for name in names]
    spans = [
        lhotse.SupervisionSegment(id=f"{name}-x", recording_id=name, start=0.5, duration=1.0, speaker="ab"[number % 2])
        for number, name in enumerate(names)
    ]
    return lhotse.CutSet.from_manifests(
        recordings=lhotse.RecordingSet.from_recordings(recordings), supervisions=lhotse.SupervisionSet.from_segments(spans)
    )


def test_of_a_supervision_of_lhotse_only_what_lies_in_its_cut_is_used(tmp_path):
    root = tmp_path / "calls"
    cuts = cuts_of_lhotse(root)
    cuts.map(lambda cut: cut.truncate(offset=0.75, duration=0.5)).to_eager().to_file(root / "cuts.jsonl.gz")
    items = read_set(prepare(root, tmp_path / "x", table="cuts.jsonl.gz"), "test")
    assert {(each.start, each.num_samples) for each in items} == {(0.75, RATE // 2)}


@pytest.mark.parametrize("change", ["perturb_speed", "perturb_tempo", "perturb_volume", "resample"])
def test_recordings_that_lhotse_would_change_are_refused_unless_only_their_rate_is(tmp_path, change):
    root = tmp_path / "calls"
    factor = 2 * RATE if change == "resample" else 1.1
    getattr(cuts_of_lhotse(root), change)(factor).to_eager().to_file(root / "cuts.jsonl.gz")
    if change == "resample":
        items = read_set(prepare(root, tmp_path / "x", table="cuts.jsonl.gz"), "test")
        assert {(each.start, each.num_samples) for each in items} == {(0.5, RATE)}
        return
    with pytest.raises(
        RecipeError, match=r"cuts.jsonl.gz:1: recording 'c0.*' is to be changed as it is read \((Speed|Tempo|Volume)\)"
    ):
        prepare(root, tmp_path / "x", table="cuts.jsonl.gz")


def test_a_supervision_without_a_speaker_is_named(tmp_path):
    root = tmp_path / "calls"
    cuts = cuts_of_lhotse(root)
    with open(root / "recordings.jsonl", "w") as file:
        file.writelines(json.dumps(cut.recording.to_dict()) + "\n" for cut in cuts)
    with open(root / "supervisions.jsonl", "w") as file:
        for cut in cuts:
            file.write(
                json.dumps({name: value for name, value in cut.supervisions[0].to_dict().items() if name != "speaker"}) + "\n"
            )
    with pytest.raises(RecipeError, match=r"supervisions.jsonl:1: empty speaker"):
        prepare(root, tmp_path / "x", table="supervisions.jsonl")


def test_a_supervision_that_is_longer_than_its_recording_is_a_problem(tmp_path):
    root = tmp_path / "calls"
    cuts = list(cuts_of_lhotse(root))
    for name, line in (("recordings", lambda cut: cut.recording), ("supervisions", lambda cut: cut.supervisions[0])):
        changes = {"start": 0.0, "duration": 9.0} if name == "supervisions" else {}
        lines = [json.dumps(line(cut).to_dict() | changes) + "\n" for cut in cuts]
        (root / f"{name}.jsonl").write_text("".join(lines))
    with pytest.raises(RecipeError, match=r"the part ends at 9 s, the file at 2 s \(.*supervisions.jsonl:1\)"):
        prepare(root, tmp_path / "x", table="supervisions.jsonl")


def test_start_and_stop_count_samples_which_is_said_and_seconds_there_are_refused(corpus, tmp_path, caplog):
    caplog.set_level("INFO", "prepare")
    changes = table(corpus, "wav,spk_id,start,stop,wrd", lambda path, speaker: f"{path},{speaker},800,3200,x")
    parts = read_set(prepare(corpus, tmp_path / "x", **changes), "test")
    assert {(each.start, each.num_samples) for each in parts} == {(0.1, 2400)}
    assert "start and stop count samples" in caplog.text
    assert "not used: wrd" in caplog.text
    changes = table(corpus, "path,speaker,start,stop", lambda path, speaker: f"{path},{speaker},1200.0,1500.5")
    with pytest.raises(RecipeError, match=r"list.csv:2: stop '1500.5'; expected a whole number.*call the column 'end'"):
        prepare(corpus, tmp_path / "y", **changes)


def test_metadata_of_voxceleb_are_understood(corpus, tmp_path):
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"] + [
        f"s{n}\tAnna_{n}\t{'fm'[n % 2]}\tUSA\tdev" for n in range(4)
    ]
    (corpus / "vox1_meta.csv").write_text("\n".join(lines))
    out = prepare(corpus, tmp_path / "x", metadata="vox1_meta.csv")
    assert (out / "spk2gender").read_text() == "s0 f\ns1 m\ns2 f\ns3 m\n"
    assert (out / "spk2nationality").read_text() == "s0 USA\ns1 USA\ns2 USA\ns3 USA\n"


def test_where_nobody_needs_to_know_who_speaks_a_recording_is_its_own_speaker(corpus):
    (corpus / "list.csv").write_text("path,id,speaker\ns0/u0.wav,,\ns0/u1.wav,x,\ns0/u2.wav,,a\n")
    rows = rows_of_table(corpus, corpus / "list.csv", "", may_lack_speaker=True)
    assert [(row.id, row.speaker) for row in rows] == [("s0/u0", "s0/u0"), ("x", "x"), ("s0/u2", "a")]
    (corpus / "list.csv").write_text("path\ns0/u0.wav\n")
    assert [row.speaker for row in rows_of_table(corpus, corpus / "list.csv", "", may_lack_speaker=True)] == ["s0/u0"]
    with pytest.raises(RecipeError, match="no column speaker"):
        rows_of_table(corpus, corpus / "list.csv", "")


def test_semicolons_may_part_fields_and_tables_of_old_are_read_as_they_were(corpus, tmp_path):
    changes = table(corpus, "path;speaker;gender", lambda path, speaker: f"{path};{speaker};f", "\r\n")
    assert {each[2] for each in found(prepare(corpus, tmp_path / "x", **changes)).values()} == {"f"}


LINES = "path,speaker,id,session,gender,nationality,split,age"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("s0/u1.wav,a,y,2,m,x,test,20", r"speaker 'a' has gender 'f' \(.*list.csv:2\) and 'm' \(.*list.csv:3\)"),
        ("s0/u1.wav,a,y,2,f,y,test,20", r"speaker 'a' has nationality 'x' \(.*list.csv:2\) and 'y' \(.*list.csv:3\)"),
        ("s0/u1.wav,a,y,2,f,x,test,30", r"speaker 'a' has age '20' \(.*list.csv:2\) and '30'.*other_columns=\[\"age\"\]'"),
        ("s0/u1.wav,a,x,2,f,x,test,20", r"'x' in .*list.csv:2 \(s0/u0.wav\) and .*list.csv:3 \(s0/u1.wav\)"),
        ("s0/u0.wav,b,y,2,f,x,test,20", r"list.csv:3: all of s0/u0.wav is given to 'b', and all of s0/u0.wav to 'a' in .*:2"),
        ("s0/u1.wav,a,y,2,f,x,train,20", r"'a' \(test: .*list.csv:2, train: .*list.csv:3\).*prepare.split=made"),
    ],
)  # fmt: skip
def test_an_id_with_two_values_is_refused_with_both_lines(corpus, tmp_path, second, words):
    lines = [LINES, "s0/u0.wav,a,x,1,f,x,test,20", second, "s1/u0.wav,c,z,1,m,x,train,20"]
    (corpus / "list.csv").write_text("\n".join(lines))
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", table="list.csv", split="auto")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("speaker,gender\ns0,m", r"speaker 's0' has gender 'm' \(.*m.csv:2\) and 'f' \(.*list.csv:2\)"),
        ("speaker,gender\ns0,f\ns0,m", r"speaker 's0' has gender 'f' \(.*m.csv:2\) and 'm' \(.*m.csv:3\)"),
        ("speaker,age\ns0,7\ns0,8", r"speaker 's0' has age '7' \(.*m.csv:2\) and '8' \(.*m.csv:3\)"),
        ("speaker,split\ns0,train\ns1,x", r"m.csv:3: split 'x'"),
        ("speaker,sex,gender\ns0,f,f", r"columns sex and gender, which both say gender"),
        ("speaker,gendr\ns0,f", r"m.csv:1: unknown column 'gendr' \(did you mean 'gender'\?\)"),
    ],
)
def test_metadata_that_contradict_the_table_or_themselves_are_refused(corpus, tmp_path, metadata, words):
    (corpus / "m.csv").write_text(metadata + "\n")
    changes = table(corpus, "path,speaker,gender", lambda path, speaker: f"{path},{speaker},{'f' if speaker == 's0' else ''}")
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", metadata="m.csv", **changes)


def test_a_gender_that_one_line_says_is_that_of_the_speaker(corpus, tmp_path):
    changes = table(corpus, "path,speaker,gender", lambda path, speaker: f"{path},{speaker},{'f' if path == 's0/u1.wav' else ''}")
    out = prepare(corpus, tmp_path / "x", **changes)
    assert {name for name, each in found(out).items() if each[2] == "f"} == {"s0/u0", "s0/u1", "s0/u2"}
    assert (out / "spk2gender").read_text() == "s0 f\n"


def test_names_of_other_tools_stand_for_columns_of_ours_alone():
    for name, ours in columns._SAME.items():
        assert ours in {*columns.OF_UTTERANCES, *columns.OF_SPEAKERS}
        assert name not in columns._UNUSED
    assert not columns._UNUSED & {*columns.OF_UTTERANCES, *columns.OF_SPEAKERS}


def test_speakers_whom_metadata_do_not_have_are_said(corpus, tmp_path, caplog):
    (corpus / "people.csv").write_text("speaker,gender\nS0,f\ns1,m\ns2,f\nzz,m\n")
    prepare(corpus, tmp_path / "x", metadata="people.csv")
    assert (
        "people.csv: 2 of 4 speakers of the corpus are not in it, first s0, s3; 2 of its own are not in the corpus, first S0, zz"
        in (caplog.text)
    )
    caplog.clear()
    (corpus / "people.csv").write_text("speaker,gender\n" + "".join(f"s{n},f\n" for n in range(9)))  # of a larger corpus
    prepare(corpus, tmp_path / "y", metadata="people.csv")
    assert "are not in it" not in caplog.text


def test_paths_may_go_up_and_down_again_below_the_corpus(corpus, tmp_path):
    (corpus / "lists").mkdir()
    changes = table(corpus / "lists", "path,speaker", lambda path, speaker: f"../{path},{speaker}")
    assert found(prepare(corpus, tmp_path / "x", table=f"lists/{changes['table']}")) == PLAIN
    changes = table(corpus, "path,speaker", lambda path, speaker: f"../{path},{speaker}")
    with pytest.raises(RecipeError, match=r"'../s0/u0.wav' does not lie below"):
        prepare(corpus, tmp_path / "y", **changes)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"path": "s0/u0.wav", "speaker": "a", "speaker": "b"}',
            r"list.jsonl:1: expected a JSON object a line \(two values of 'speaker'\)",
        ),
        ('{"path": "s0/u0.wav", "Path": "s0/u1.wav", "speaker": "b"}', r"list.jsonl:1: 'Path', and 'path' elsewhere"),
        ('{"path": "s0/u0.wav", "speaker": ["b"]}', r"list.jsonl:1: speaker \[\"b\"\]; expected a text or a number"),
    ],
)
def test_what_json_would_settle_in_silence_is_refused(corpus, tmp_path, line, words):
    (corpus / "list.jsonl").write_text(line + "\n")
    with pytest.raises(RecipeError, match=words):
        prepare(corpus, tmp_path / "x", table="list.jsonl")


def test_trials_across_sessions_of_nobody_say_so(corpus, tmp_path):
    with pytest.raises(
        RecipeError, match="cross_session = true: no recording has a session; .*prepare.session_level=NUMBER"
    ) as refused:
        prepare(corpus, tmp_path / "x", cross_session=True)
    assert "found 0 target" not in str(refused.value)


def test_a_duration_without_a_start_that_is_not_that_of_the_file_is_said(corpus, tmp_path, caplog):
    for seconds, name in ((0.5, "x"), (0.3, "y")):  # the files have half a second
        (corpus / "list.jsonl").write_text(
            "".join(json.dumps({"audio_filepath": path, "label": speaker, "duration": seconds}) + "\n" for path, speaker in PATHS)
        )
        assert found(prepare(corpus, tmp_path / name, table="list.jsonl")) == PLAIN
        text = "files are longer than their duration, first"
        assert (f"{text} {corpus / 'list.jsonl'}:1: 0.3, and 0.5 s of audio; all of a file is used" in caplog.text) == (
            seconds < 0.5
        )


def test_a_split_without_test_data_names_what_repairs_it(corpus, tmp_path):
    changes = table(corpus, "path,speaker,split", lambda path, speaker: f"{path},{speaker},train") | {"dev_speakers": 0}
    with pytest.raises(RecipeError, match=r"no utterance is test data; add --set prepare.split=made"):
        prepare(corpus, tmp_path / "x", split="column", **changes)
    prepare(corpus, tmp_path / "y", split="made", **changes)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("kind", ["array", "object"])
def test_one_json_value_of_all_recordings_is_told_what_makes_lines_of_it(corpus, tmp_path, kind, indent):
    every = [{"wav": path, "spk_id": speaker} for path, speaker in PATHS]
    value = every if kind == "array" else {f"u{number}": each for number, each in enumerate(every)}
    (corpus / "all.json").write_text(json.dumps(value, indent=indent))
    program = r"jq -c '\.\[\]'" if kind == "array" else r"jq -c 'to_entries\[\] \| \{id: \.key\} \+ \.value'"
    with pytest.raises(RecipeError, match=rf"all.json: is one JSON {kind} of 12 entries; .*{program} all.json > lines.jsonl"):
        prepare(corpus, tmp_path / "x", split="test", table="all.json")


@pytest.mark.parametrize("text", ["5\n", '{"path": "a.wav",\n'])
def test_other_json_is_refused_by_its_line(corpus, tmp_path, text):
    (corpus / "all.json").write_text(text)
    with pytest.raises(RecipeError, match=r"all.json:1: expected a JSON object a line"):
        prepare(corpus, tmp_path / "x", split="test", table="all.json")
